"""Hosted fine-tuning against the example's stand-in for a vendor, over real HTTP on loopback."""

from __future__ import annotations

import importlib.util
import json
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.contracts.model import PoolLimits
from tunegate.harness.records.errors import UsageError
from tunegate.trainers.vendor import job as vendor_job
from tunegate.trainers.vendor import run
from tunegate.trainers.vendor.api import VendorApi, VendorUnreachable
from tunegate.trainers.vendor.job import FILE, VendorJob

SERVER = Path(__file__).parents[3] / "examples" / "vendor" / "server.py"
BASE = "gpt-4o-mini-2024-07-18"
KEY = "sk-of-the-tests"


def load_server() -> Any:
    """Return the module of the example's server."""
    spec = importlib.util.spec_from_file_location("vendor_server", SERVER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["vendor_server"] = module  # its dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(name="vendor")
def _vendor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a vendor whose jobs take a fifth of a second."""
    module = load_server()
    vendor = module.Vendor(seconds=0.2, key=KEY)
    server = module.serve(vendor)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_address[1]}/v1")
    yield vendor
    server.shutdown()
    server.server_close()


class Job:
    """One call of `run`, with what it said."""

    def __init__(self, rows: Path, out: Path) -> None:
        self.lines: list[str] = []
        self.out = out
        self.start = ["--model_name_or_path", f"openai/{BASE}", "--train_files", str(rows)]

    def __call__(self, *more: str, ask: Any = None) -> int:
        self.lines.clear()
        argv = ["--output_dir", str(self.out), "--poll_seconds", "0.05", *more]
        return run(argv, say=self.lines.append, ask=ask)

    @property
    def said(self) -> str:
        return "\n".join(self.lines)

    @property
    def record(self) -> VendorJob:
        return VendorJob.model_validate_json((self.out / FILE).read_bytes())


@pytest.fixture(name="job")
def _job(write_rows: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """Return a job of twelve chats, without a terminal."""
    monkeypatch.setattr(sys, "stdin", None)
    return Job(write_rows(), tmp_path / "out")


def posts(vendor: Any, path: str) -> int:
    """Return how often something was posted there."""
    return int(vendor.asked.count(f"POST /v1/{path}"))


def once(fault: str, *where: str) -> Callable[[str, str], str | None]:
    """Return a fault that comes with the first request for each place, and never again."""
    left = list(where)

    def faults(method: str, path: str) -> str | None:
        name = f"{method} {path.removeprefix('/v1/')}"
        for place in left:
            if name.startswith(place):
                left.remove(place)
                return fault
        return None

    return faults


def test_a_job_ends_in_a_spec_and_a_record(vendor: Any, job: Job) -> None:
    """Rows arrive as they are; the record names base, fine-tune, bill, and the day of shutdown."""
    ask = ["--yes", "--num_train_epochs", "2", "--suffix", "queues", "--seed", "7"]

    assert job(*job.start, *ask, "--price_per_million_tokens", "3") == 0, job.said

    (content,) = vendor.files.values()
    sent = [json.loads(line)["messages"] for line in content.splitlines()]
    assert len(sent) == 12
    assert sent[1] == [
        {"role": "user", "content": "Question 1?"},
        {"role": "assistant", "content": "yes"},
    ]
    (made,) = vendor.jobs.values()
    assert made["method"]["supervised"]["hyperparameters"] == {"n_epochs": 2}
    assert (made["suffix"], made["seed"]) == ("queues", 7)
    record = job.record
    tuned = f"ft:{BASE}:loopback:queues:000001"
    assert (record.status, record.job, record.rows) == ("succeeded", "ftjob-000001", 12)
    assert record.spec == f"litellm:openai/{tuned}"
    assert record.trained_tokens == 3 * len(content) // 4
    assert record.cost == pytest.approx(record.trained_tokens * 3e-6)
    assert record.shutdown == {BASE: "2027-01-14", tuned: "unknown"}
    assert f"--base litellm:openai/{BASE} --tuned litellm:openai/{tuned}" in job.lines[-1]
    assert f"--training-data {record.files[0].path}" in job.lines[-1]


def test_tokens_and_prices_are_told_before_anything_is_sent(vendor: Any, job: Job) -> None:
    """Without --yes and without a terminal: exit 2, no request; what is unknown is never 0."""
    assert job(*job.start) == 2

    assert vendor.asked == []
    assert not (job.out / FILE).exists()
    assert "nothing was sent: add --yes" in job.said
    assert "training price: unknown" in job.said
    # 12 rows of "Question", " ", "i", "?" or "Question", " ", "10", "?" → 4 tokens in o200k_base,
    # role and answer one each; 3 around each of 2 messages and 3 before the answer: 4+1+1+1+6+3.
    assert "12 rows, about 192 tokens an epoch (tokenizer o200k_base: the model's own)" in job.said
    assert "US$ 0.3 a million tokens read, 1.2 written" in job.said


def test_a_model_that_nobody_knows_has_no_price_and_a_foreign_tokenizer(
    vendor: Any, job: Job
) -> None:
    job.start[1] = "openai/acme-9"

    job(*job.start)

    assert "tokenizer cl100k_base: not the model's" in job.said
    assert "price of the fine-tune's answers: unknown" in job.said


def test_the_price_of_the_training_is_tokens_times_epochs_times_price(
    vendor: Any, job: Job
) -> None:
    """192 tokens, 5 epochs, 1000 dollars a million: 96 cents; without epochs, an epoch's price."""
    job(*job.start, "--price_per_million_tokens", "1000", "--num_train_epochs", "5")
    assert "about US$ 0.96 for 5 epochs" in job.said

    job(*job.start, "--price_per_million_tokens", "1000")
    assert "about US$ 0.192 an epoch" in job.said


@pytest.mark.parametrize(("answer", "code", "sent"), [("y", 0, 1), ("no", 2, 0), ("", 2, 0)])
def test_consent_is_asked_for_at_a_terminal(
    vendor: Any, job: Job, answer: str, code: int, sent: int
) -> None:
    """The question names the rows and the place; only a yes sends them."""
    questions: list[str] = []

    def ask(question: str) -> str:
        questions.append(question)
        return answer

    assert job(*job.start, ask=ask) == code
    assert posts(vendor, "files") == sent
    assert "send 12 rows to 127.0.0.1:" in questions[0]


def test_consent_is_no_setting(vendor: Any, job: Job, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("yes: true\n")

    assert job("--config", str(tmp_path / "x.yaml"), *job.start) == 2
    assert "x.yaml:1: unknown key 'yes'" in job.said
    assert vendor.asked == []


@pytest.mark.parametrize("fault", ["500", "429:0.1", "reset"])
def test_faults_that_pass_are_waited_for(vendor: Any, job: Job, fault: str) -> None:
    places = ("POST files", "POST fine_tuning/jobs", "GET fine_tuning/jobs/", "GET models/")
    vendor.fault = once(fault, *places)

    assert job(*job.start, "--yes") == 0, job.said
    assert len(vendor.jobs) == 1
    assert posts(vendor, "files") == 2


def test_a_start_whose_answer_is_lost_is_not_paid_twice(vendor: Any, job: Job) -> None:
    vendor.fault = once("lost", "POST fine_tuning/jobs")

    assert job(*job.start, "--yes") == 0, job.said
    assert len(vendor.jobs) == 1
    assert posts(vendor, "fine_tuning/jobs") == 1


def test_rows_are_not_sent_twice(vendor: Any, job: Job) -> None:
    vendor.fault = lambda method, path: "400" if path == "/v1/fine_tuning/jobs" else None

    assert job(*job.start, "--yes") == 13
    assert "starting the job: HTTP 400: 'fault 400'" in job.lines[-1]

    vendor.fault = lambda method, path: None
    assert job(*job.start, "--yes") == 0, job.said
    assert posts(vendor, "files") == 1


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("failed", "the vendor's job failed (training_file): Row 7 is bad."),
        ("cancelled", "was cancelled at the vendor; there is no model"),
    ],
)
def test_a_job_that_leaves_no_model_is_one_line(
    vendor: Any, job: Job, end: str, words: str
) -> None:
    """With the vendor's words and exit code 13; the same command may begin another."""
    vendor.end = end

    assert job(*job.start, "--yes") == 13
    assert words in job.lines[-1]
    assert (job.record.status, job.record.spec) == (end, None)

    vendor.end = "succeeded"
    assert job(*job.start, "--yes") == 0, job.said
    assert job.record.job == "ftjob-000002"


def test_ctrl_c_leaves_the_job_and_resume_watches_it(
    vendor: Any, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """130 and the line that goes on; resumed, nothing is sent again."""

    def stop(seconds: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(vendor_job.time, "sleep", stop)
        assert job(*job.start, "--yes") == 130
    assert f"--output_dir {job.out} --resume ftjob-000001" in job.lines[-1]
    assert job.record.spec is None

    assert job(*job.start, "--yes") == 2
    assert "holds the job ftjob-000001 already" in job.lines[-1]
    assert job("--resume") == 0, job.said
    assert job.record.spec is not None
    assert job.record.rows == 12
    assert (posts(vendor, "files"), posts(vendor, "fine_tuning/jobs")) == (1, 1)


def test_a_job_is_watched_from_another_folder(vendor: Any, job: Job, tmp_path: Path) -> None:
    """By its id alone: base and fine-tune come from the vendor; without an id it is asked for."""
    job(*job.start, "--yes")
    job.out = tmp_path / "elsewhere"

    assert job("--resume") == 2
    assert "holds no job" in job.lines[-1]
    assert job("--resume", "ftjob-000001") == 0, job.said
    assert (job.record.base, job.record.rows) == (BASE, 0)
    assert job("--resume", "ftjob-7") == 13
    assert "Could not find fine tune: ftjob-7" in job.lines[-1]


def test_a_vendor_that_is_silent_for_long_is_left(
    vendor: Any, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 13 and the line that goes on, once patience is used up; a warning before."""
    monkeypatch.setattr(vendor_job, "_PATIENCE_S", 0.0)
    made = VendorApi.from_environment

    def hasty() -> VendorApi:
        api = made()
        api.limits = PoolLimits(concurrency=1, attempts=1)
        return api

    monkeypatch.setattr(VendorApi, "from_environment", hasty)
    vendor.fault = lambda method, path: "503" if method == "GET" and "ftjob" in path else None

    assert job(*job.start, "--yes") == 13
    assert "HTTP 503" in job.lines[-1]
    assert "--resume ftjob-000001 watches it" in job.lines[-1]


def test_a_wrong_key_is_one_line_without_the_key(
    vendor: Any, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is uploaded; a missing key is found before anything is sent."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-one")
    assert job(*job.start, "--yes") == 13
    assert "HTTP 401 (the key is missing or wrong)" in job.lines[-1]
    assert "sk-wrong-one" not in job.said
    assert vendor.files == {}

    monkeypatch.delenv("OPENAI_API_KEY")
    assert job(*job.start, "--yes") == 2
    assert "OPENAI_API_KEY" in job.lines[-1]


def test_a_redirect_is_not_followed(vendor: Any, job: Job) -> None:
    """It would carry the key and the rows to a place that nobody named."""
    vendor.fault = lambda method, path: "302" if path == "/v1/files" else None

    assert job(*job.start, "--yes") == 13
    assert "HTTP 302: redirects to" in job.lines[-1]
    assert vendor.files == {}


@pytest.mark.parametrize("reply", ["<html>maintenance</html>", ["ftjob-000001"], {"id": 7}])
def test_a_reply_that_is_no_job_is_one_line(
    vendor: Any, job: Job, monkeypatch: pytest.MonkeyPatch, reply: Any
) -> None:
    job(*job.start, "--yes")
    monkeypatch.setattr(vendor, "get", lambda path: reply)

    with VendorApi.from_environment() as api:
        api.limits = replace(api.limits, attempts=1)
        with pytest.raises(VendorUnreachable) as caught:
            api.job("ftjob-000001")

    assert "asking for ftjob-000001: the reply " in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--model_name_or_path", "anthropic/claude-3-haiku-20240307"], "OpenAI's API only"),
        (["--model_name_or_path", "acme"], "no provider that litellm knows"),
        (["--num_train_epochs", "0"], "'0' must be a whole number of at least 1"),
        (["--price_per_million_tokens", "nan"], "'nan' must be a number above 0"),
        (["--lora_r", "8"], "unrecognized arguments: --lora_r 8"),
        (["--train_files", "gone.jsonl"], "train_files=gone.jsonl: no such file"),
    ],
)
def test_wrong_options_are_one_line(
    vendor: Any, job: Job, monkeypatch: pytest.MonkeyPatch, argv: list[str], words: str
) -> None:
    """Exit code 2, and nothing was sent."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-x")

    assert job(*job.start, "--yes", *argv) == 2
    assert words in job.said
    assert vendor.asked == []


def test_a_damaged_record_is_not_written_over(vendor: Any, job: Job) -> None:
    job.out.mkdir()
    (job.out / FILE).write_text("{}")

    assert job(*job.start, "--yes") == 2
    assert "not a record of a hosted job" in job.lines[-1]
    assert vendor.asked == []


@pytest.mark.parametrize("address", ["http://[bad", "http://host:abc/v1", "nothing", "ftp://h/v1"])
def test_an_address_that_is_none_is_a_usage_error(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    monkeypatch.setenv("OPENAI_API_KEY", "k")

    with pytest.raises(UsageError, match=r"^OPENAI_BASE_URL: not an address"):
        VendorApi.from_environment()
