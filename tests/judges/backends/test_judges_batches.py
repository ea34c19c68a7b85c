"""A judge that asks in batches: one file, one batch, collected once, and after an interruption."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.fake_server import completion
from tunegate.harness.engine.answer_cache import AnswerCache
from tunegate.harness.judges.asking.conversation import AskedJudgeModel
from tunegate.harness.judges.asking.judge_model import JudgementTask
from tunegate.harness.judges.backends.litellm import litellm, price
from tunegate.harness.judges.backends.server import server
from tunegate.harness.models.remote import batches
from tunegate.harness.records.errors import ModelError


@dataclass
class BatchProvider:
    """OpenAI's files and batches on this machine."""

    files: dict[str, str] = field(default_factory=dict)
    batches: dict[str, str] = field(default_factory=dict)
    """Id → id of the input file."""
    paths: list[str] = field(default_factory=list)
    looks: int = 0
    ready_after: int = 1
    """Looks at a batch until it has ended."""
    status: str = "completed"
    lost: str | None = None
    """A text: requests with it are not answered."""

    def answer(self, method: str, path: str, body: bytes) -> dict[str, Any] | str:
        self.paths.append(path)
        path = path.split("?")[0]
        if method == "POST" and path.endswith("/files"):
            name = f"file-{len(self.files)}"
            self.files[name] = re.search(rb"\r\n\r\n(\{.*)\r\n--", body, re.DOTALL)[1].decode()  # type: ignore[index]
            return {"id": name, "object": "file", "bytes": 1, "created_at": 1,
                    "filename": "q.jsonl", "purpose": "batch", "status": "processed"}  # fmt: skip
        if method == "POST":
            name = f"batch-{len(self.batches)}"
            self.batches[name] = json.loads(body)["input_file_id"]
            return self._batch(name, "validating")
        if "/batches/" in path:
            self.looks += 1
            name = path.rsplit("/", 1)[1]
            return self._batch(
                name, self.status if self.looks > self.ready_after else "in_progress"
            )
        return self._output(path.split("/")[-2])

    def _batch(self, name: str, status: str) -> dict[str, Any]:
        ended = status in ("completed", "expired")
        errors = {"object": "list", "data": [{"code": "x", "message": "the file is too long"}]}
        return {
            "id": name, "object": "batch", "endpoint": "/v1/chat/completions", "status": status,
            "input_file_id": self.batches[name], "completion_window": "24h", "created_at": 1,
            "output_file_id": f"out-{self.batches[name]}" if ended else None,
            "errors": errors if status == "failed" else None,
        }  # fmt: skip

    def _output(self, name: str) -> str:
        lines = []
        for line in self.files[name.removeprefix("out-")].splitlines():
            asked = json.loads(line)
            text = asked["body"]["messages"][-1]["content"]
            if self.lost is not None and self.lost in text:
                continue
            nonce = re.search(r"Nonce: (\w+)", text)
            assert nonce is not None
            said = {"nonce": nonce[1], "reason": "r", "score": 5 if "sorry" in text else 1}
            bad = "unreadable" in text and "could not be used" not in text
            body = completion("prose" if bad else json.dumps(said))
            refused = "refused" in text
            response = {"status_code": 400 if refused else 200, "request_id": "r", "body": body}
            if refused:
                response["body"] = {"error": {"message": "no such model"}}
            if "no choice" in text:
                response["body"] = {"choices": []}
            lines.append(json.dumps({"id": "b", "custom_id": asked["custom_id"],
                                     "response": response, "error": None}))  # fmt: skip
        return "\n".join(reversed(lines)) + "\n"


@pytest.fixture(name="provider")
def _provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchProvider]:
    found = BatchProvider()

    class BatchHandler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            said = found.answer(self.command, self.path, body)
            raw = (said if isinstance(said, str) else json.dumps(said)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = reply

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    running = ThreadingHTTPServer(("127.0.0.1", 0), BatchHandler)
    threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
    address = f"http://127.0.0.1:{running.server_address[1]}/v1"
    monkeypatch.setenv("OPENAI_API_BASE", address)
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-tests")
    monkeypatch.setattr(batches, "POLL_S", 0.01)
    yield found
    running.shutdown()
    running.server_close()


def judge_model(store: AnswerCache | None = None) -> AskedJudgeModel:
    return AskedJudgeModel(litellm("openai/gpt-4o-mini?batch=true").keeping(store), store)


def test_a_round_is_one_batch(provider: BatchProvider, task: Callable[..., JudgementTask]) -> None:
    """Thirty answers, one file, at half the price; the replies come in any order."""
    tasks = [task(f"sorry {n}" if n % 2 else f"no {n}") for n in range(30)]

    found = {t.completions[0].text: o for t, o in judge_model().judge(tasks)}

    assert len(provider.batches) == 1
    assert {o.score.value for x, o in found.items() if "sorry" in x} == {1.0}
    assert {o.score.value for x, o in found.items() if "no" in x} == {0.0}
    (lines,) = provider.files.values()
    body = json.loads(lines.splitlines()[0])["body"]
    assert (body["model"], body["temperature"]) == ("gpt-4o-mini", 0.0)
    assert body["response_format"]["type"] == "json_schema"
    outcome = found["sorry 1"]
    tokens = outcome.output_tokens or 0
    # 0.075 and 0.30 dollars a million tokens in a batch
    assert outcome.cost == pytest.approx((5 * 0.075 + tokens * 0.30) / 1e6)
    assert outcome.attempts == 1


def test_what_was_paid_for_is_collected_after_an_interruption(
    provider: BatchProvider,
    task: Callable[..., JudgementTask],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = AnswerCache(tmp_path / "store.sqlite")
    provider.ready_after = 3

    def stop(seconds: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(batches, "sleep", stop)
        with pytest.raises(KeyboardInterrupt):
            list(judge_model(store).judge([task("sorry")]))
    ((_, outcome),) = judge_model(store).judge([task("sorry")])
    ((_, again),) = judge_model(store).judge([task("sorry")])
    store.close()

    assert len(provider.batches) == 1
    assert outcome.score is not None
    assert (outcome.score.value, outcome.attempts) == (1.0, 1)
    assert (again.score, again.attempts) == (outcome.score, 0)


def test_an_unreadable_reply_is_asked_again_in_another_batch(
    provider: BatchProvider, task: Callable[..., JudgementTask], tmp_path: Path
) -> None:
    store = AnswerCache(tmp_path / "store.sqlite")
    found = [o for _, o in judge_model(store).judge([task("sorry unreadable"), task("sorry")])]
    store.close()

    assert [o.score.value for o in found if o.score] == [1.0, 1.0]
    first, second = (lines.splitlines() for lines in provider.files.values())
    assert (len(first), len(second)) == (2, 1)
    assert "could not be used" in second[0]


def test_a_request_that_failed_or_was_lost_is_an_error_of_its_case(
    provider: BatchProvider, task: Callable[..., JudgementTask]
) -> None:
    """A batch that expired has some replies; the rest is unscored, and asked again next time."""
    provider.status, provider.lost = "expired", "never"
    tasks = [task("sorry"), task("refused"), task("no choice"), task("never")]

    found = {t.completions[0].text: o for t, o in judge_model().judge(tasks)}

    assert found["sorry"].score is not None
    assert found["refused"].error == "HTTP 400: 'no such model'"
    assert found["no choice"].error == "the reply does not have 1 choice: []"
    assert found["never"].error == "the judge left it unanswered"


def test_a_batch_that_is_refused_as_a_whole_says_why(
    provider: BatchProvider, task: Callable[..., JudgementTask]
) -> None:
    provider.status = "failed"

    found = [o for _, o in judge_model().judge([task("a"), task("b")])]

    assert all("the file is too long" in (o.error or "") for o in found)


def test_it_is_the_same_judge(provider: BatchProvider) -> None:
    """Stored replies and calibrations of single calls hold; the forecast has the batch's price."""
    plain, batch = litellm("openai/gpt-4o-mini"), litellm("openai/gpt-4o-mini?batch=true")

    assert plain.fingerprint == batch.fingerprint
    tokens = (1e6, 1e6)
    assert price("openai/gpt-4o-mini?batch=true", tokens) == pytest.approx(0.375)
    assert price("openai/gpt-4o-mini", tokens) == pytest.approx(0.75)


def test_batches_are_refused_where_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "x")
    with pytest.raises(ModelError, match="batches are for openai and azure, not groq"):
        litellm("groq/llama-3.1-8b-instant?batch=true")
    with pytest.raises(ModelError, match="must be true or false"):
        litellm("openai/gpt-4o-mini?batch=yes")
    with pytest.raises(ModelError, match="batches are for litellm"):
        server("http://localhost:1/v1?batch=true#m")


def test_azure_takes_the_same_questions_as_a_batch(
    provider: BatchProvider, task: Callable[..., JudgementTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    address = os.environ["OPENAI_API_BASE"].removesuffix("/v1")
    for name in ("OPENAI_API_BASE", "OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AZURE_API_BASE", address)
    monkeypatch.setenv("AZURE_API_KEY", "of-the-tests")
    monkeypatch.setenv("AZURE_API_VERSION", "2024-10-21")
    asked = AskedJudgeModel(litellm("azure/my-deployment?batch=true"))

    found = {t.completions[0].text: o for t, o in asked.judge([task("sorry"), task("no")])}

    assert {text: o.score and o.score.value for text, o in found.items()} == {
        "sorry": 1.0,
        "no": 0.0,
    }
    assert all("/openai/" in path for path in provider.paths)
    (lines,) = provider.files.values()
    line = json.loads(lines.splitlines()[0])
    assert (line["url"], line["body"]["model"]) == ("/chat/completions", "my-deployment")
