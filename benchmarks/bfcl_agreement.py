"""tool_calls and the Berkeley leaderboard: `python -m benchmarks.bfcl_agreement --python PATH`.

PATH is the Python of an environment with the leaderboard's package; it needs few of its
dependencies: `pip install --no-deps bfcl-eval`, then `pip install tree_sitter==0.21.3
tree_sitter_java==0.21.0 tree_sitter_javascript==0.21.4 tenacity filelock overrides tqdm openai
python-dotenv requests`.

The package holds tasks with the answers that are right, and no outputs of models. Outputs are made
from these answers: of each task one that is right and two with a mistake planted (name, count,
missing and extra arguments, types, values, order, parts of lists, and changes of writing that the
rules forgive), in every style.
Tasks of the two irrelevance categories get a call, and words without one.

Two comparisons are printed for each style. *handler*: our verdict on the text and that of the
leaderboard's handler and checker on the same text, where it has a handler for the style. *calls*:
our verdict with `extract = "prose"` and that of its checker on the calls that the text was made
of. Then the disagreements by cause, with an example of each.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._bfcl_styles import STYLES, Call
from tunegate.harness.metrics.tool_calls import tool_calls
from tunegate.harness.records.cases import Case, Completion, Score
from tunegate.harness.thinking import without_thoughts


def make_value(allowed: Any) -> Any:
    """Return one value of those that an answer allows; objects hold lists of allowed values."""
    if isinstance(allowed, dict):
        chosen = {key: _first(values) for key, values in allowed.items()}
        return {key: make_value(one) for key, one in chosen.items() if one != ""}
    return [make_value(one) for one in allowed] if isinstance(allowed, list) else allowed


def _first(values: Any) -> Any:
    """Return the first allowed value; some objects of the data set hold it without a list."""
    listed = values if isinstance(values, list) else [values]
    return next((value for value in listed if value != ""), "")


def make_calls(answer: Sequence[Mapping[str, Any]]) -> list[Call]:
    """Return the calls that are right, with every argument that has a value."""
    return [
        (name, {k: make_value(_first(v)) for k, v in arguments.items() if _first(v) != ""})
        for one in answer
        for name, arguments in one.items()
    ]


_OF_CALLS = ("name", "one more", "one less", "order")
_OF_ARGUMENTS = ("missing", "invented", "known extra", "value", "text")
_OF_TYPES = ("type", "number", "truth", "part")


def plant_mistake(
    calls: Sequence[Call], functions: Sequence[Any], chance: random.Random, *, typed: bool
) -> tuple[str, list[Call]]:
    """Return the name of a change, and the calls with it; some changes are no mistake."""
    kind = chance.choice([*_OF_CALLS, *_OF_ARGUMENTS, *(_OF_TYPES if typed else ())])
    place = chance.randrange(len(calls))
    changed = [(name, dict(arguments)) for name, arguments in calls]
    name, arguments = changed[place]
    if kind == "name":
        others = [one["name"] for one in functions if one["name"] != name]
        changed[place] = (chance.choice([*others, f"{name}_now"]), arguments)
    elif kind == "one more":
        changed.append((name, arguments))
    elif kind == "one less":
        del changed[place]
    elif kind == "order":
        chance.shuffle(changed)
    else:
        known = {one["name"]: one["parameters"]["properties"] for one in functions}
        _change_arguments(kind, arguments, list(known.get(name, {})), chance)
    return kind, changed


def _change_arguments(
    kind: str, arguments: dict[str, Any], known: Sequence[str], chance: random.Random
) -> None:
    """Change the arguments of a call in place."""
    unused = [name for name in known if name not in arguments]
    if kind == "invented":
        arguments["verbose_level"] = 3
    elif kind == "known extra":
        arguments[chance.choice(unused) if unused else "extra"] = "x"
    elif arguments:
        _change(kind, arguments, chance.choice(list(arguments)))


def _change(kind: str, arguments: dict[str, Any], key: str) -> None:
    """Change one argument in place."""
    value = arguments[key]
    if kind == "missing":
        del arguments[key]
    elif kind == "type":
        arguments[key] = json.dumps(value) if not isinstance(value, str) else [value]
    elif kind == "number" and isinstance(value, int | float):
        arguments[key] = float(value) if type(value) is int else int(value)
    elif kind == "truth" and isinstance(value, bool | int | float):
        arguments[key] = int(value) if isinstance(value, bool) else bool(value)
    elif kind == "part" and isinstance(value, list) and value:
        arguments[key] = [_other_part(value[0]), *value[1:]]
    elif kind == "text" and isinstance(value, str):
        arguments[key] = value.upper().replace(" ", "-")
    elif kind == "value":
        arguments[key] = _other_value(value)


def _other_part(value: Any) -> Any:
    """Return an element of a list with another type, or written differently."""
    if isinstance(value, str):
        return value.upper()
    if isinstance(value, dict):
        return {key: _other_part(one) for key, one in value.items()}
    return float(value) if type(value) is int else str(value)


def _other_value(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return f"other {value}"
    if isinstance(value, list):
        return value[:-1]
    return {**value, "more": "x"} if isinstance(value, dict) else "x"


@dataclass(frozen=True, slots=True)
class ModelOutput:
    """A text as a model of one style writes it."""

    entry: Mapping[str, Any]
    style: str
    change: str
    calls: Sequence[Call]
    text: str


def make_outputs(entries: Sequence[Mapping[str, Any]], seed: int) -> Iterator[ModelOutput]:
    """Yield the outputs: for each task and style a right one and two that are changed."""
    for entry in entries:
        chance = random.Random(f"{seed} {entry['id']}")
        for name, style in STYLES.items():
            for change, calls in _variants(entry, chance, typed=style.typed):
                text = style.write(calls).replace("\0", "ARGS") if calls else "I cannot do that."
                yield ModelOutput(entry, name, change, calls, text)


def _variants(
    entry: Mapping[str, Any], chance: random.Random, *, typed: bool
) -> Iterator[tuple[str, list[Call]]]:
    functions = entry["functions"]
    if entry["answer"] is None:
        yield "no call", []
        if functions:
            one = chance.choice(functions)
            texts = dict.fromkeys(one["parameters"]["properties"], "x")
            yield "a call", [(one["name"], texts)]
        return
    right = make_calls(entry["answer"])
    yield "right", right
    for _ in range(2):
        yield plant_mistake(right, functions, chance, typed=typed)


class BfclPeer:
    """The process that runs the leaderboard's checker."""

    def __init__(self, python: Path) -> None:
        self.process = subprocess.Popen(
            [python, Path(__file__).with_name("_bfcl_peer.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.entries: list[dict[str, Any]] = self._read()

    def _read(self) -> Any:
        assert self.process.stdout is not None, "the pipe is asked for in Popen"
        return json.loads(self.process.stdout.readline())

    def ask(self, **question: Any) -> dict[str, Any]:
        """Return `{"valid", "error"}` for the calls, or for what a decoder reads from a text."""
        assert self.process.stdin is not None, "the pipe is asked for in Popen"
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = self._read()
        return answer


def score_output(output: ModelOutput, extract: str) -> Score:
    """Return our score of an output."""
    answer = output.entry["answer"] or []
    case = Case(
        id="c",
        prompt="p",
        tools=tuple(output.entry["functions"]),
        expected_calls=tuple(
            {"name": name, "arguments": arguments}
            for one in answer
            for name, arguments in one.items()
        ),
    )
    return tool_calls.score(case, without_thoughts(Completion(text=output.text)), extract=extract)


class AgreementTable:
    """Counts of agreement, and the disagreements by cause."""

    def __init__(self) -> None:
        self.same: Counter[tuple[str, str]] = Counter()
        self.all: Counter[tuple[str, str]] = Counter()
        self.valid: Counter[str] = Counter()
        """Change → outputs that the leaderboard calls valid."""
        self.causes: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self.refused: dict[str, str] = {}

    def add(
        self, comparison: str, output: ModelOutput, ours: Score, theirs: Mapping[str, Any]
    ) -> None:
        """Count one pair of verdicts."""
        if ours.value is None:
            self.refused.setdefault(output.entry["id"], str(ours.reason))
            return
        same = (ours.value == 1.0) == theirs["valid"]
        self.valid[output.change] += theirs["valid"]
        for key in ("all", output.style, output.entry["category"], output.change):
            self.all[comparison, key] += 1
            self.same[comparison, key] += same
        if not same:
            parts = (ours.parts or {}).items()
            failed = ", ".join(part for part, value in parts if value < 1) or "nothing"
            verdict = theirs["error"] or "valid"
            cause = f"{comparison}: leaderboard {verdict}, tool_calls faults {failed}"
            self.causes[cause] += 1
            self.examples.setdefault(
                cause, f"{output.entry['id']}, {output.style}, {output.change}: {ours.reason}"
            )

    def show(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Print agreement by style and category, then the causes."""
        groups = ({"all"}, set(STYLES), {one["category"] for one in entries}, set(self.valid))
        seen = dict.fromkeys(key for _, key in self.all)
        keys = [key for group in groups for key in seen if key in group]
        print(f"{'':32}{'handler':>18}{'calls':>18}")
        for key in keys:
            cells = [self._cell(comparison, key) for comparison in ("handler", "calls")]
            count = self.all["handler", key] + self.all["calls", key]
            share = f"  {self.valid[key] / count:.0%} valid" if key in self.valid else ""
            print(f"{key:32}{cells[0]:>18}{cells[1]:>18}{share}")
        for cause, count in self.causes.most_common():
            print(f"{count:6} {cause}\n       {self.examples[cause][:300]}")
        print(f"{len(self.refused)} tasks are refused as no answer can meet them:")
        reasons: dict[str, list[str]] = defaultdict(list)
        for task, reason in self.refused.items():
            reasons[reason].append(task)
        for reason, tasks in reasons.items():
            print(f"  {', '.join(tasks[:3])}: {reason[:200]}")

    def _cell(self, comparison: str, key: str) -> str:
        count = self.all[comparison, key]
        return f"{self.same[comparison, key] / count:.2%} of {count}" if count else "-"


def main() -> int:
    """Print the tables; return 1 if agreement is below 98 % somewhere."""
    options = _options()
    peer, table = BfclPeer(options.python), AgreementTable()
    entries = peer.entries[:: options.every]
    for output in make_outputs(entries, options.seed):
        style = STYLES[output.style]
        question = {"id": output.entry["id"]}
        if style.decoder and not (style.decoder == "glm" and len(output.calls) > 1):
            theirs = peer.ask(**question, decoder=style.decoder, text=output.text)
            table.add("handler", output, score_output(output, style.extract), theirs)
        theirs = peer.ask(**question, calls=[{name: arguments} for name, arguments in output.calls])
        table.add("calls", output, score_output(output, "prose"), theirs)
    table.show(entries)
    return int(table.same["calls", "all"] < 0.98 * table.all["calls", "all"])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", type=Path, required=True, help="Python with bfcl-eval")
    parser.add_argument("--every", type=int, default=1, help="take every n-th task only")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
