"""How much of what judges are asked can be cached: `python -m benchmarks.judge_prompts`.

Each judge is asked about both arms' answers of a suite, by a server on this machine that keeps what
came in. A cache knows the beginning of a request: the reply's schema, the system turn, then the
user's turn. Printed are the calls, system turns, schemas and tokens of each judge, the tokens of
its static part, the shares that can be read from a cache, by character and by the rules of vLLM,
OpenAI and Anthropic (`benchmarks.cached_prompts`), and the tokens that OpenAI bills in full.
Providers are asked through litellm, 16 questions at once; Anthropic's share goes by the marks.

The answers are the labelled ones of the demo's judge (good: tuned, bad: base), the reports of
`suites/summaries` with their first sentences, the calls that `suites/tool_calls` expects, and
episodes of `suites/order_desk` in which the desk looks first or does not. What was retrieved is
eight reports, of which one is the right one.

With `--model FOLDER` a model of this machine answers some questions of each judge instead,
greedily and without a grammar: how many of its replies have the form that was asked for?
"""

from __future__ import annotations

import argparse
import json
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jsonschema

from benchmarks.cached_prompts import (
    PromptCounts,
    anthropic_read,
    blocks_read,
    openai_read,
    request_text,
)
from tunegate.harness import lookup
from tunegate.harness.judge import Judge
from tunegate.harness.judging.backends.server import ServerJudge
from tunegate.harness.judging.contract import JudgementTask, JudgeModel
from tunegate.harness.judging.conversation import ModelJuror
from tunegate.harness.model import PoolLimits
from tunegate.harness.records.cases import Case, Completion
from tunegate.harness.records.episodes import EpisodeCall, EpisodeEnd, EpisodeRecord, EpisodeTurn

ROOT = Path(__file__).resolve().parents[1]
BATCHED = ", batched"
"""End of the name of a judge that asks for several verdicts in a call."""
NOTHING_TWICE = ("context_recall", "context_precision", BATCHED)
"""Names, or their ends, of judges whose calls hold mostly data that is sent once: passages that are
the same for both arms, or all claims at once. They send less, of which a smaller share repeats."""
RETRIEVED = ", eight passages"
"""End of the name of a judge that is given eight reports."""
GUIDE = """\
- Speak to the customer in the first person, as one of us: "I have asked the carrier", not "It was".
- Say sorry once, where something went wrong, and never for rules.
- Name what happens next and when, with a day or an hour.
- No exclamation marks, no emoji, no words in capitals.
- Use the customer's own words for the thing: a lamp is a lamp, not an item.
- Two sentences are enough, three are the most.
- Do not promise what somebody else must do.
"""


def main() -> int:
    """Ask every judge, print the table, and return 1 where less can be cached than is wanted."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.judge_prompts")
    parser.add_argument("--least", type=float, default=0.8, help="share that must be cacheable")
    parser.add_argument("--model", type=Path, help="folder of a model that is to be asked")
    parser.add_argument("--judges", default="", help="names of judges that it is asked, by commas")
    options = parser.parse_args()
    if options.model is not None:
        return ask_model(options.model, [n for n in options.judges.split(",") if n])
    least = options.least
    print(
        f"{'judge':<38}{'calls':>6}{'systems':>9}{'schemas':>9}{'tokens':>9}{'static':>8}"
        f"{'characters':>12}{'vLLM':>7}{'OpenAI':>8}{'Anthropic':>11}{'full':>9}"
    )
    missed = []
    with TemporaryDirectory() as folder:
        asked, openai, anthropic = (
            dict(measured(Path(folder), by=by)) for by in ("server", "openai", "anthropic")
        )
    for name, counts in asked.items():
        tokens = counts.tokens
        total = sum(map(len, tokens))
        at_openai, at_anthropic = openai[name].tokens, anthropic_read(anthropic[name].bodies)
        read, blocks = openai_read(at_openai), blocks_read(tokens)
        print(
            f"{name:<38}{len(tokens):>6}{counts.systems:>9}{counts.schemas:>9}{total:>9,}"
            f"{counts.static_tokens:>8,}{counts.cacheable:>12.0%}{blocks / total:>7.0%}"
            f"{read / total:>8.0%}{at_anthropic.read / at_anthropic.total:>11.0%}"
            f"{total - read:>9,}"
        )
        few = counts.cacheable < least and not name.endswith(NOTHING_TWICE)
        missed += [name] if few else []
    print(*(f"MISSED: less than {least:.0%} of {name} is cacheable" for name in missed), sep="\n")
    return int(bool(missed))


QUESTIONS = 12
"""Questions of each judge that a model is asked."""
TOKENS = 160
"""Tokens of a reply: reason, evidence and verdict take a hundred."""


def ask_model(folder: Path, judges: Sequence[str] = ()) -> int:
    """Print of each judge's questions how many replies of a model have the form asked for.

    Args:
        folder: The model.
        judges: Names of the judges; all of them by default.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    found = asked = 0
    with TemporaryDirectory() as place:
        for name, counts in measured(Path(place), most=QUESTIONS):
            if judges and name not in judges:
                continue
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
            print(f"{name:<38}{read:>4} of {len(bodies)}   {replies[0][:60]!r}", flush=True)
    print(f"{'in all':<38}{found:>4} of {asked}")
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


def measured(
    folder: Path, most: int = 40, *, by: str = "server"
) -> Iterator[tuple[str, PromptCounts]]:
    """Yield what each judge asks about `most` cases.

    Args:
        folder: Where a style guide is written.
        most: Cases of each judge.
        by: Who asks: `server` one by one, `openai` and `anthropic` 16 at once through litellm.
    """
    guide = folder / "voice.md"
    guide.write_text(GUIDE, encoding="utf-8")
    tickets, reports, calls = _tickets()[:most], _reports()[:most], _calls()[:most]
    found, episodes = retrieved_answers()[:most], _episodes()[:most]
    asked: tuple[tuple[str, Sequence[JudgedAnswers], dict[str, Any]], ...] = (
        ("rubric", tickets, {"criteria": "Deals with the concern and says what happens next."}),
        ("tone", tickets, {}),
        ("safety", tickets, {}),
        ("toxicity", tickets, {}),
        ("brand_voice", tickets, {"guide": guide}),
        ("instruction_following", tickets, {}),
        ("pairwise", tickets, {}),
        ("faithfulness", reports, {}),
        ("faithfulness", reports, {"batched": True}),
        ("faithfulness", found, {}),
        ("faithfulness", found, {"batched": True}),
        ("citations", found, {}),
        ("context_recall", found, {}),
        ("context_precision", found, {}),
        ("tool_use", calls, {}),
        ("task_completion", episodes, {}),
        ("trajectory", episodes, {}),
    )
    for name, answers, options in asked:
        batched = BATCHED if options.get("batched") else ""
        retrieved = RETRIEVED if name == "faithfulness" and answers is found else ""
        yield name + retrieved + batched, ask_judge(name, answers, options, by=by)


JudgedAnswers = tuple[Case, Completion, Completion]
"""A case with base's and tuned's answers."""


def ask_judge(
    name: str,
    pairs: Sequence[JudgedAnswers],
    options: Mapping[str, Any],
    *,
    by: str = "server",
) -> PromptCounts:
    """Ask a judge about both answers of each case; return what the server saw."""
    found = lookup.find_object("tunegate.harness.judges", name, what="judge")
    assert isinstance(found, Judge)
    judge = replace(found, options=options)
    tasks = []
    for case, *answers in pairs:
        for given in [tuple(answers)] if judge.pairs else [(answer,) for answer in answers]:
            tasks.append(JudgementTask(name, judge, case, given))
    counts = PromptCounts()
    with serving(counts.bodies.append) as url:
        model = _opened(by, url)
        outcomes = [outcome for _, outcome in ModelJuror(model).judge(tasks)]
    failed = next((o.error for o in outcomes if o.error), None)
    if failed is not None:
        raise RuntimeError(f"{name}: {failed}")
    return counts


def _opened(by: str, url: str) -> JudgeModel:
    """Return a judge model that asks the server."""
    if by == "server":
        return ServerJudge(url, "judge", limits=PoolLimits(concurrency=1))
    from tunegate.harness.judging.backends.litellm import litellm

    name = by.upper()
    base = url if by == "openai" else url.removesuffix("/v1")
    os.environ |= {f"{name}_API_KEY": "none", f"{name}_API_BASE": base}
    return litellm({"openai": "openai/gpt-4o", "anthropic": "anthropic/claude-sonnet-4-5"}[by])


def _rows(path: str) -> list[dict[str, Any]]:
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line]


def _answered(case: Case, base: str, tuned: str) -> JudgedAnswers:
    return case, Completion(text=base), Completion(text=tuned)


def _tickets() -> list[JudgedAnswers]:
    found: dict[str, dict[float, dict[str, Any]]] = {}
    for row in _rows("trainers/demo/judge/labels.jsonl"):
        found.setdefault(row["id"], {})[float(row["label"])] = row
    return [
        _answered(
            Case(id=id_, prompt=by[0.0]["prompt"]), by[0.0]["completion"], by[1.0]["completion"]
        )
        for id_, by in found.items()
    ]


def _reports() -> list[JudgedAnswers]:
    found = []
    for row in _rows("suites/summaries/cases.jsonl"):
        case = Case(id=row["id"], prompt=row["prompt"], context=row["context"])
        told = _sentences(row["context"])
        found.append(_answered(case, " ".join(told[:3]), " ".join(told[3:6])))
    return found


def _sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.!?])\s+", text)


def retrieved_answers() -> list[JudgedAnswers]:
    """Return questions with eight reports as numbered passages; both answers cite the first."""
    rows = _rows("suites/summaries/cases.jsonl")
    found = []
    for at, row in enumerate(rows):
        near = [rows[(at + k) % len(rows)]["context"] for k in range(8)]
        told = _sentences(row["context"])
        case = Case(
            id=row["id"],
            prompt=f"What is reported on this: {told[0]}",
            context="\n".join(f"[{n}] {text}" for n, text in enumerate(near, start=1)),
            expected=" ".join(told[:3]),
        )
        answers = (" ".join(f"{text[:-1]} [1]." for text in told[k : k + 3]) for k in (0, 3))
        found.append(_answered(case, *answers))
    return found


def _calls() -> list[JudgedAnswers]:
    found = []
    for row in _rows("suites/tool_calls/cases.jsonl"):
        case = Case.model_validate({k: v for k, v in row.items() if k not in ("tags", "cluster")})
        said = [f"<tool_call>{json.dumps(call)}</tool_call>" for call in row["expected_calls"]]
        found.append(_answered(case, "I cannot do that, sorry.", "\n".join(said) or "Which one?"))
    return found


def _episodes() -> list[JudgedAnswers]:
    """Return orders that the desk pays back at once, and that it looks up before."""
    found = []
    for row in _rows("suites/order_desk/cases.jsonl"):
        case = Case(id=row["id"], prompt=row["prompt"])
        order = row["row"]["order"]
        looked = ("find", f"{order} {row['row']['state']}")
        base, tuned = (_episode(order, *calls) for calls in ([("refund", "done")], [looked]))
        found.append((case, base, tuned))
    return found


def _episode(order: str, *calls: tuple[str, str]) -> Completion:
    turns = [
        EpisodeTurn(
            prompt_sha256="0" * 64,
            text=json.dumps({"name": name, "arguments": {"order": order}}),
            calls=(EpisodeCall(name=name, arguments={"order": order}, result=result),),
        )
        for name, result in calls
    ]
    last = EpisodeTurn(prompt_sha256="0" * 64, text=f"Order {order} is dealt with.")
    end = EpisodeEnd.ANSWERED
    record = EpisodeRecord(turns=(*turns, last), reward=0.0, end=end)
    return Completion(text=last.text, episode=record)


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
            if self.path.endswith("/messages"):
                raw = json.dumps(_message(reply(_as_chat(body)))).encode()
            else:
                raw = json.dumps(_chat_reply(body, reply(body))).encode()
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


def _chat_reply(body: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Return a reply of the Chat Completions API."""
    usage = {"prompt_tokens": len(request_text(body)) // 4, "completion_tokens": len(text) // 4}
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    head = {"id": "c", "object": "chat.completion", "created": 1, "model": "judge"}
    return {**head, "choices": [choice], "usage": usage}


def _message(text: str) -> dict[str, Any]:
    """Return a reply of the Messages API."""
    return {
        "id": "m", "type": "message", "role": "assistant", "model": "judge",
        "stop_reason": "end_turn", "content": [{"type": "text", "text": text}],
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }  # fmt: skip


def _as_chat(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request of the Messages API as one of the Chat Completions API."""
    content = body["messages"][-1]["content"]
    text = content if isinstance(content, str) else "".join(part["text"] for part in content)
    schema = body["output_format"]["schema"]
    return {
        "messages": [{"role": "user", "content": text}],
        "response_format": {"json_schema": {"schema": schema}},
    }


if __name__ == "__main__":
    raise SystemExit(main())
