"""tool_calls on outputs of real models: `python -m benchmarks.bfcl_results --data DIR`.

DIR is a folder of a published run of the Berkeley leaderboard, with `result` and `score` (such as
`2024-08-11` of github.com/HuanzhiMao/BFCL-Result). Outputs that are texts go through the metric,
and the verdicts are compared with the published ones. Tasks and right answers are those in the
files of failed outputs; a task that no model failed is left out.

Each model's texts were read by a handler written for that model. The tables part the outputs by
what the handler did. *read*: it found calls, and the leaderboard's checker judged them; here the
verdict with `extract = "prose"` counts. *unread*: it found none, so the output is wrong where a
call is expected; here *strict* and *prose* say how many outputs the metric calls wrong, too. In
tasks without a right call, *unread* is right for the leaderboard, and *seen* counts the outputs in
which the metric sees a call.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.reasoning import without_thoughts
from tunegate.harness.metrics.tool_calls import tool_calls
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

CATEGORIES = (
    "simple", "multiple_function", "parallel_function", "parallel_multiple_function", "relevance",
)  # fmt: skip
EMPTY = "the handler found no call"
UNREAD = (EMPTY, "ast_decoder:decoder_failed", "ast_decoder:decoder_wrong_output_format")
PREFIX = "gorilla_openfunctions_v1_test"


@dataclass(frozen=True, slots=True)
class PublishedTask:
    """A task as the files of failed outputs have it."""

    functions: Sequence[Any]
    answer: Sequence[Mapping[str, Any]]

    def case(self) -> Case:
        """Return the case; the answers number calls of one function (`f_1`, `f_2`)."""
        names = {function["name"] for function in self.functions}
        calls = [
            {"name": name if name in names else re.sub(r"_\d+$", "", name), "arguments": allowed}
            for one in self.answer
            for name, allowed in one.items()
        ]
        return Case(id="c", prompt="p", tools=tuple(self.functions), expected_calls=tuple(calls))


def main() -> int:
    """Print the tables and the causes; return 1 if agreement on what was read is below 98 %."""
    options = _options()
    tasks, errors = _read_scores(options.data / "score")
    tasks |= _read_irrelevance(options.irrelevance)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    causes: dict[str, list[str]] = defaultdict(list)
    for place, (model, task, text) in enumerate(_read_texts(options.data / "result")):
        if task not in tasks or place % options.every:
            continue
        error = errors.get((model, task))
        for column, cause in _compare(tasks[task].case(), text, error):
            for key in ("all", model):
                counts[key][column] += 1
            if cause:
                causes[cause].append(f"{model}, {task}")
    for key, outcomes in counts.items():
        print(_row(key, outcomes))
    for cause, places in sorted(causes.items(), key=lambda item: -len(item[1])):
        print(f"{len(places):6} {cause}; {places[0]}")
    return int(counts["all"]["read same"] < 0.98 * counts["all"]["read"])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with result and score")
    parser.add_argument(
        "--irrelevance", type=Path, help="BFCL_v4_irrelevance.json, for the tasks without a call"
    )
    parser.add_argument("--every", type=int, default=1, help="take every n-th output only")
    return parser.parse_args()


def _read_scores(
    folder: Path,
) -> tuple[dict[str, PublishedTask], dict[tuple[str, str], str]]:
    """Return the tasks, and (model, task) → type of error of each failed output."""
    tasks: dict[str, PublishedTask] = {}
    errors: dict[tuple[str, str], str] = {}
    for path in sorted(folder.glob("*/*_score.json")):
        category = path.name.removesuffix("_score.json")
        if category not in CATEGORIES:
            continue
        for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()[1:]):
            prompt = row.get("prompt") or {}
            task = prompt.get("id", f"{category}_{row['id'] - 1}")
            empty = row.get("model_result_decoded") == []
            errors[path.parent.name, task] = EMPTY if empty else row["error_type"]
            if prompt:
                answer = row["possible_answer"]
                tasks[task] = PublishedTask(_listed(prompt["function"]), _listed(answer))
    return tasks, errors


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _read_irrelevance(path: Path | None) -> dict[str, PublishedTask]:
    lines = path.read_text(encoding="utf-8").splitlines() if path else []
    return {
        f"relevance_{place}": PublishedTask(json.loads(line)["function"], ())
        for place, line in enumerate(lines)
    }


def _read_texts(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Yield model, task and text; APIs' structured calls are no texts."""
    for path in sorted(folder.glob("*/*_result.json")):
        category = path.name.removeprefix(f"{PREFIX}_").removesuffix("_result.json")
        api = re.search(r"-FC\b|gemini|yi-large", path.parent.name)
        if category in CATEGORIES and not api:
            for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
                if isinstance(row["result"], str):
                    yield path.parent.name, row["id"], row["result"]


def _compare(case: Case, text: str, error: str | None) -> Iterator[tuple[str, str | None]]:
    """Yield the columns in which an output counts, with the cause of a disagreement."""
    prose = tool_calls.score(case, without_thoughts(Completion(text=text)), extract="prose")
    if prose.value is None:
        yield "refused", None
    elif not case.expected_calls and error is None:
        yield "silent", None
        if not prose.value:
            yield "seen", None
    elif error in UNREAD:
        strict = tool_calls.score(case, without_thoughts(Completion(text=text)))
        yield "unread", None
        yield from ((name, None) for name in _wrong(strict, prose))
    else:
        same = bool(prose.value) == (error is None)
        yield "read", None
        yield ("read same", None) if same else ("read differs", _cause(error, prose))


def _wrong(strict: Score, prose: Score) -> Iterator[str]:
    if not strict.value:
        yield "strict wrong"
    if not prose.value:
        yield "prose wrong"


def _cause(error: str | None, ours: Score) -> str:
    parts = (ours.parts or {}).items()
    failed = ", ".join(part for part, value in parts if value < 1) or "nothing"
    return f"leaderboard {error or 'valid'}, tool_calls faults {failed}"


def _row(key: str, outcomes: Counter[str]) -> str:
    def share(part: str, of: str) -> str:
        return f"{outcomes[part] / outcomes[of]:.1%} of {outcomes[of]}" if outcomes[of] else "-"

    return (
        f"{key:42} read: same {share('read same', 'read'):16} unread: strict wrong "
        f"{share('strict wrong', 'unread'):15} prose wrong {share('prose wrong', 'unread'):15} "
        f"silent: seen {share('seen', 'silent')}"
    )


if __name__ == "__main__":
    sys.exit(main())
