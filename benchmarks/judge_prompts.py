"""How much of what judges are asked can be cached: `python -m benchmarks.judge_prompts`.

Each judge is asked about both arms' answers of a suite, by a server on this machine that keeps what
came in. A provider caches the beginning of a request: the reply's schema, the system turn, then the
user's turn. What of it an earlier request began with could be read from a cache; its share of all
characters is printed, with the number of calls, of system turns and of schemas, and the characters
that are new. Providers cache a beginning from about 1,024 tokens on; here every character counts.

The answers are the labelled ones of the demo's judge (good: tuned, bad: base), the reports of
`suites/summaries` with their first sentences, and the calls that `suites/tool_calls` expects.

With `--model FOLDER` a model of this machine answers the first questions of each judge instead,
greedily and without a grammar: how many of its replies have the form that was asked for?
"""

from __future__ import annotations

import argparse
import json
import re
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jsonschema

from tunegate.harness import lookup
from tunegate.harness.judge import Judge
from tunegate.harness.judging.backends.server import ServerJudge
from tunegate.harness.judging.contract import JudgementTask
from tunegate.harness.judging.conversation import ModelJuror
from tunegate.harness.model import PoolLimits
from tunegate.harness.records.cases import Case, Completion

ROOT = Path(__file__).resolve().parents[1]
BATCHED = ", batched"
"""End of the name of a judge that asks for several verdicts in a call: it sends less, of which a
smaller share is the same."""
GUIDE = """\
- Speak to the customer in the first person, as one of us: "I have asked the carrier", not "It was".
- Say sorry once, where something went wrong, and never for rules.
- Name what happens next and when, with a day or an hour.
- No exclamation marks, no emoji, no words in capitals.
- Use the customer's own words for the thing: a lamp is a lamp, not an item.
- Two sentences are enough, three are the most.
- Do not promise what somebody else must do.
"""


@dataclass
class PromptCounts:
    """What the server was asked by one judge."""

    bodies: list[dict[str, Any]] = field(default_factory=list)

    @property
    def systems(self) -> int:
        """How many system turns there were."""
        return len({body["messages"][0]["content"] for body in self.bodies})

    @property
    def schemas(self) -> int:
        """How many schemas there were."""
        return len({json.dumps(body.get("response_format")) for body in self.bodies})

    @property
    def cacheable(self) -> float:
        """Share of the characters with which an earlier request began, too."""
        shared, total = self.characters
        return shared / total

    @property
    def characters(self) -> tuple[int, int]:
        """Characters with which an earlier request began, too, and all."""
        known: list[str] = []
        shared = total = 0
        for body in self.bodies:
            text = request_text(body)
            place = bisect_left(known, text)
            near = known[max(0, place - 1) : place + 1]
            shared += max((_shared(text, other) for other in near), default=0)
            total += len(text)
            known.insert(place, text)
        return shared, total


def _shared(one: str, other: str) -> int:
    """Return with how many characters both begin."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def request_text(body: Mapping[str, Any]) -> str:
    """Return a request as a model reads it: the schema comes before the turns."""
    turns = "".join(f"\n[{turn['role']}]\n{turn['content']}" for turn in body["messages"])
    return json.dumps(body.get("response_format")) + turns


def main() -> int:
    """Ask every judge, print the table, and return 1 where less can be cached than is wanted."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.judge_prompts")
    parser.add_argument("--least", type=float, default=0.8, help="share that must be cacheable")
    parser.add_argument("--model", type=Path, help="folder of a model that is to be asked")
    options = parser.parse_args()
    if options.model is not None:
        return ask_model(options.model)
    least = options.least
    print(f"{'judge':<26}{'calls':>7}{'systems':>9}{'schemas':>9}{'cacheable':>11}{'new':>9}")
    missed = []
    with TemporaryDirectory() as folder:
        for name, counts in measured(Path(folder)):
            shared, total = counts.characters
            print(
                f"{name:<26}{len(counts.bodies):>7}{counts.systems:>9}{counts.schemas:>9}"
                f"{counts.cacheable:>11.1%}{total - shared:>9,}"
            )
            missed += [name] if counts.cacheable < least and BATCHED not in name else []
    print(*(f"MISSED: less than {least:.0%} of {name} is cacheable" for name in missed), sep="\n")
    return int(bool(missed))


QUESTIONS = 12
"""Questions of each judge that a model is asked."""
TOKENS = 160
"""Tokens of a reply: reason, evidence and verdict take a hundred."""


def ask_model(folder: Path) -> int:
    """Print of each judge's questions how many replies of a model have the form asked for."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    found = asked = 0
    with TemporaryDirectory() as place:
        for name, counts in measured(Path(place), most=QUESTIONS):
            bodies = counts.bodies[:: max(1, len(counts.bodies) // QUESTIONS)][:QUESTIONS]
            turns = [body["messages"] for body in bodies]
            texts = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
            inputs = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
            with torch.inference_mode():
                out = model.generate(
                    **inputs, max_new_tokens=TOKENS, do_sample=False,
                    pad_token_id=tokenizer.pad_token_id,
                )  # fmt: skip
            replies = tokenizer.batch_decode(
                out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
            )
            read = sum(map(has_form, bodies, replies))
            found, asked = found + read, asked + len(bodies)
            print(f"{name:<26}{read:>4} of {len(bodies)}   {replies[0][:60]!r}", flush=True)
    print(f"{'in all':<26}{found:>4} of {asked}")
    return 0


def has_form(body: Mapping[str, Any], reply: str) -> bool:
    """Return whether a reply is the JSON object that a request asks for, with its nonce."""
    number = re.search(r"Nonce: (\w+)", body["messages"][-1]["content"])
    schema = body["response_format"]["json_schema"]["schema"]
    try:
        value = json.loads(reply)
        jsonschema.validate(value, schema)
    except (ValueError, jsonschema.ValidationError):
        return False
    return number is None or value.get("nonce") == number[1]


def measured(folder: Path, most: int = 40) -> Iterator[tuple[str, PromptCounts]]:
    """Yield what each judge asks about `most` cases.

    Args:
        folder: Where a style guide is written.
        most: Cases of each judge.
    """
    guide = folder / "voice.md"
    guide.write_text(GUIDE, encoding="utf-8")
    tickets, reports, calls = _tickets()[:most], _reports()[:most], _calls()[:most]
    asked: tuple[tuple[str, list[JudgedPair], dict[str, Any]], ...] = (
        ("rubric", tickets, {"criteria": "Deals with the concern and says what happens next."}),
        ("tone", tickets, {}),
        ("brand_voice", tickets, {"guide": guide}),
        ("instruction_following", tickets, {}),
        ("pairwise", tickets, {}),
        ("faithfulness", reports, {}),
        ("faithfulness", reports, {"batched": True}),
        ("tool_use", calls, {}),
    )
    for name, pairs, options in asked:
        batched = BATCHED if options.get("batched") else ""
        yield name + batched, ask_judge(name, pairs, options)


JudgedPair = tuple[Case, str, str]
"""A case with base's and tuned's answers."""


def ask_judge(name: str, pairs: Sequence[JudgedPair], options: Mapping[str, Any]) -> PromptCounts:
    """Ask a judge about both answers of each case; return what the server saw."""
    found = lookup.find_object("tunegate.harness.judges", name, what="judge")
    assert isinstance(found, Judge)
    judge = replace(found, options=options)
    tasks = []
    for case, *texts in pairs:
        answers = tuple(Completion(text=text) for text in texts)
        for given in [answers] if judge.pairs else [(answer,) for answer in answers]:
            tasks.append(JudgementTask(name, judge, case, given))
    counts = PromptCounts()
    with serving(counts.bodies.append) as url:
        model = ServerJudge(url, "judge", limits=PoolLimits(concurrency=1))
        outcomes = [outcome for _, outcome in ModelJuror(model).judge(tasks)]
    failed = next((o.error for o in outcomes if o.error), None)
    if failed is not None:
        raise RuntimeError(f"{name}: {failed}")
    return counts


def _rows(path: str) -> list[dict[str, Any]]:
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line]


def _tickets() -> list[JudgedPair]:
    found: dict[str, dict[float, dict[str, Any]]] = {}
    for row in _rows("trainers/demo/judge/labels.jsonl"):
        found.setdefault(row["id"], {})[float(row["label"])] = row
    return [
        (Case(id=id_, prompt=by[0.0]["prompt"]), by[0.0]["completion"], by[1.0]["completion"])
        for id_, by in found.items()
    ]


def _reports() -> list[JudgedPair]:
    found = []
    for row in _rows("suites/summaries/cases.jsonl"):
        case = Case(id=row["id"], prompt=row["prompt"], context=row["context"])
        told = re.split(r"(?<=[.!?])\s+", row["context"])
        found.append((case, " ".join(told[:3]), " ".join(told[3:6])))
    return found


def _calls() -> list[JudgedPair]:
    found = []
    for row in _rows("suites/tool_calls/cases.jsonl"):
        case = Case.model_validate({k: v for k, v in row.items() if k not in ("tags", "cluster")})
        said = [f"<tool_call>{json.dumps(call)}</tool_call>" for call in row["expected_calls"]]
        found.append((case, "I cannot do that, sorry.", "\n".join(said) or "Which one?"))
    return found


def reply_text(body: Mapping[str, Any]) -> str:
    """Return a reply in the form that a request asks for: first choices, three sentences a list."""
    schema = body["response_format"]["json_schema"]["schema"]
    asked = body["messages"][-1]["content"]
    number = re.search(r"Nonce: (\w+)", asked)
    shown = re.findall(r"^<<\w+ \w+>>\n(.*?)\n<</", asked, re.DOTALL | re.MULTILINE)
    said = [part for part in re.split(r"(?<=[.!?])\s+|\n+", shown[-1]) if part][:3]
    listed = re.findall(r"^\d+\. .*", shown[-1], re.MULTILINE)
    fields = {
        name: _verdicts(form, listed)
        if "properties" in form.get("items", {})
        else _value(form, said)
        for name, form in schema["properties"].items()
    }
    return json.dumps({**fields, "nonce": number[1] if number else ""})


def _verdicts(form: Mapping[str, Any], listed: Sequence[str]) -> list[dict[str, Any]]:
    each = form["items"]["properties"]
    fields = {name: _value(own, ["x"]) for name, own in each.items() if name != "number"}
    return [{"number": number, **fields} for number, _ in enumerate(listed, start=1)]


def _value(form: Mapping[str, Any], said: Sequence[str]) -> Any:
    if "enum" in form:
        return form["enum"][0]
    if form["type"] == "array":
        return [f"It says: {text}" for text in said]
    return {"string": said[0] if said else "", "boolean": True}[form["type"]]


@contextmanager
def serving(
    note: Callable[[dict[str, Any]], None],
    reply: Callable[[Mapping[str, Any]], str] = reply_text,
) -> Iterator[str]:
    """Run a judge server; yield its address.

    Args:
        note: Called with the body of each request.
        reply: Returns the text that answers a request.
    """

    class PromptHandler(BaseHTTPRequestHandler):
        """Keeps each request, and answers it in the form asked for."""

        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            """Note the request and reply."""
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            note(body)
            text = reply(body)
            message = {"role": "assistant", "content": text}
            usage = {"prompt_tokens": len(request_text(body)) // 4,
                     "completion_tokens": len(text) // 4}  # fmt: skip
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            raw = json.dumps({"choices": [choice], "usage": usage}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), PromptHandler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    raise SystemExit(main())
