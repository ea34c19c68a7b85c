"""After a gate: trackers and the webhook hear of it, and nothing that they do changes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.webhooks import Webhook, webhook
from tunegate.harness.plugin import delivery
from tunegate.harness.telemetry.export import webhook as posting

__all__ = ["webhook"]
TRACKER = """\
from pathlib import Path
import json

def log(run):
    told = {"name": run.name, "facts": run.facts, "numbers": run.numbers, "page": str(run.page)}
    Path("logged.json").write_text(json.dumps(told))
    return "http://me:pw@tracker/runs/1"

def failing(run):
    raise RuntimeError("no space at http://me:pw@tracker")

def leaving(run):
    raise SystemExit(0)

def stopped(run):
    raise KeyboardInterrupt
"""


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "WAITS_S", (0.0, 0.0))


@pytest.fixture
def own(project: Any) -> Any:
    """Return a project with trackers of its own."""
    (project.path / "mine.py").write_text(TRACKER, encoding="utf-8")
    project.suite()
    return project


def test_a_tracker_takes_verdict_intervals_and_page(own: Any) -> None:
    result = own.gate(*own.models(), "--gate-early-stop=off", "--gate-log-to=mine:log")

    told = json.loads(Path("logged.json").read_text(encoding="utf-8"))
    facts, numbers = told["facts"], told["numbers"]
    (floor, gain) = own.verdict()["suites"][0]["gates"]
    assert result.ret == 0
    assert "logged to mine:log: http://…@tracker/runs/1" in result.stdout.str()
    assert told["name"] == "run"
    assert (facts["verdict"], facts["exit_code"]) == ("SHIP", 0)
    assert facts["sentence"] == own.verdict()["sentence"]
    assert (facts["base"], facts["tuned"]) == tuple(
        own.verdict()["arms"][arm]["spec"] for arm in ("base", "tuned")
    )
    assert numbers["demo/exact_match::gain/delta"] == 0.65
    for gate, name in ((floor, "floor"), (gain, "gain")):
        for part in ("base", "tuned", "delta", "low", "high"):
            assert numbers[f"demo/exact_match::{name}/{part}"] == gate[part]
    assert Path(told["page"]).read_bytes() == (own.run / "report.html").read_bytes()


@pytest.mark.parametrize(
    ("tracker", "warning"),
    [
        ("failing", "run was not logged (RuntimeError: no space at http://…@tracker)"),
        ("leaving", "run was not logged (SystemExit: 0)"),
        ("stopped", "not everything was sent (KeyboardInterrupt)"),
    ],
)
def test_a_tracker_that_fails_is_a_warning(own: Any, tracker: str, warning: str) -> None:
    result = own.gate(*own.models(30, 20), f"--gate-log-to=mine:{tracker}")

    assert result.ret == 1
    assert own.verdict()["verdict"] == "BLOCK"
    assert warning in result.stdout.str()
    assert "Traceback" not in result.stdout.str()


def test_the_next_tracker_is_told_all_the_same(own: Any) -> None:
    result = own.gate(*own.models(), "--gate-log-to=mine:failing,mine:log")

    assert "try again: tunegate report run --log-to mine:failing" in result.stdout.str()
    assert "logged to mine:log" in result.stdout.str()


def test_a_stored_run_is_logged_by_report(own: Any) -> None:
    own.gate(*own.models())

    result = own.tunegate("report", "run", "--log-to", "mine:log")

    assert (result.ret, Path("logged.json").is_file()) == (0, True)
    assert result.outlines[-1].startswith("logged to mine:log")
    assert own.tunegate("report", "run", "--log-to", "mine:failing").ret == 13


def test_a_missing_library_is_named_before_the_run(
    own: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of that name, such as the one that wandb leaves, is no library."""
    monkeypatch.setattr("tunegate.harness.contracts.tracker.find_spec", lambda name: None)

    result = own.tunegate("gate", "suites", *_named(own), "--log-to", "wandb")

    assert result.ret == 2
    assert result.errlines == ["tunegate: --log-to: wandb is not installed: pip install wandb"]
    assert not own.run.exists()


def test_an_unknown_tracker_is_named(own: Any) -> None:
    result = own.tunegate("gate", "suites", *_named(own), "--log-to", "mlfow")

    assert result.ret == 2
    assert "unknown tracker 'mlfow'; did you mean 'mlflow'?" in result.errlines[0]


def _named(project: Any) -> tuple[str, ...]:
    return tuple(word.replace("--gate-", "--") for word in project.models())


def test_the_webhook_hears_the_verdict(own: Any, webhook: Webhook) -> None:
    result = own.gate(*own.models(30, 20), f"--gate-notify={webhook.url}")

    (told,) = webhook.bodies
    gate = own.verdict()["suites"][0]["gates"][0]
    assert result.ret == 1
    assert "notified 127.0.0.1" in result.stdout.str()
    assert (told["verdict"], told["exit_code"], told["run_id"]) == ("BLOCK", 1, "run")
    assert told["sentence"] == own.verdict()["sentence"]
    assert told["gates"][0] == {
        "suite": "demo", "gate": "exact_match::floor", "status": gate["status"],
        "delta": -0.1, "low": gate["low"], "high": gate["high"],
    }  # fmt: skip
    assert told["text"].startswith("tunegate: BLOCK (exit code 1): demo: ")
    assert "not passed: demo exact_match::" in told["text"]


def test_a_mistake_in_a_suite_is_told_without_a_verdict(project: Any, webhook: Webhook) -> None:
    project.suite(gates="florr = 0.2")

    result = project.tunegate("gate", "suites", *_named(project), "--notify", webhook.url)

    (told,) = webhook.bodies
    assert result.ret == 2
    assert (told["verdict"], told["exit_code"], told["gates"]) == (None, 2, [])
    assert "florr" in told["sentence"]
    assert told["text"].startswith("tunegate: no verdict (exit code 2): ")


def test_a_session_that_judged_nothing_is_not_told_as_a_success(own: Any, webhook: Webhook) -> None:
    own.gate(*own.models(), "--collect-only", f"--gate-notify={webhook.url}")

    assert (webhook.bodies[0]["verdict"], webhook.bodies[0]["exit_code"]) == (None, 13)


def test_an_interrupt_is_told_without_a_verdict(
    own: Any, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tunegate.harness.plugin.session.GateSession.evaluate", interrupted)

    own.gate(*own.models(), f"--gate-notify={webhook.url}")

    (told,) = webhook.bodies
    assert (told["verdict"], told["exit_code"]) == (None, 130)


def test_a_verdict_whose_report_failed_is_not_told_as_one(
    own: Any, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command ends in 13, so nobody must read SHIP."""

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tunegate.reports.page.write_all", full)

    result = own.gate(*own.models(), f"--gate-notify={webhook.url}")

    (told,) = webhook.bodies
    assert result.ret == 13
    assert (told["verdict"], told["exit_code"]) == (None, 13)
    assert "the reports cannot be written" in told["sentence"]


def test_a_failed_test_next_to_the_suites_is_told(own: Any, webhook: Webhook) -> None:
    own.pytester.makepyfile(test_own="def test_own(): assert False")

    result = own.gate(*own.models(), "test_own.py", f"--gate-notify={webhook.url}")

    (told,) = webhook.bodies
    assert result.ret == 1
    assert (told["verdict"], told["exit_code"]) == ("SHIP", 1)
    assert told["text"].startswith("tunegate: SHIP, but the command failed (exit code 1): ")


def test_options_are_spelled_as_they_were_typed(own: Any, webhook: Webhook) -> None:
    own.tunegate("gate", "suites", "--tuned", "replay:nowhere", "--notify", webhook.url)

    assert "give it with --base SPEC" in webhook.bodies[0]["sentence"]


def test_a_webhook_that_refuses_is_a_warning(own: Any, webhook: Webhook) -> None:
    webhook.statuses = [404]

    result = own.gate(*own.models(), f"--gate-notify={webhook.url}")

    assert result.ret == 0
    assert "warning: 127.0.0.1 was not notified (HTTP 404)" in result.stdout.str()


@pytest.mark.parametrize("separate", [False, True])
def test_the_address_stays_out_of_output_and_run_folder(
    own: Any, webhook: Webhook, monkeypatch: pytest.MonkeyPatch, separate: bool
) -> None:
    monkeypatch.setenv("TUNEGATE_NOTIFY_SECRET", "s3cret-key")
    webhook.statuses = [500, 500, 500]
    option = "--gate-notify"
    words = (option, webhook.url) if separate else (f"{option}={webhook.url}",)

    result = own.gate(*own.models(), *words)

    written = [path for path in own.path.rglob("*") if path.is_file()]
    assert own.run / "manifest.json" in written
    shown = result.stdout.str() + result.stderr.str()
    for secret in ("secret-token", "s3cret-key"):
        assert secret not in shown
        assert [path for path in written if secret.encode() in path.read_bytes()] == []


def test_two_addresses_are_refused_and_not_shown(own: Any) -> None:
    words = ("--notify", "https://a.test/token", "--notify", "https://b.test/token")

    result = own.tunegate("gate", "suites", *_named(own), *words)

    assert result.ret == 2
    assert "--notify is given twice; a run takes one" in result.errlines[0]
    assert "token" not in result.errlines[0]


def test_resume_takes_an_address_that_the_run_folder_does_not_hold(
    own: Any, webhook: Webhook
) -> None:
    words = ("suites", *_named(own), "--notify", webhook.url)
    own.tunegate("gate", *words, "--run-dir", "run")
    (own.run / "verdict.json").unlink()

    result = own.tunegate("resume", "run", *words)

    assert result.ret == 0
    assert [told["verdict"] for told in webhook.bodies] == ["SHIP", "SHIP"]


def test_workers_leave_the_sending_to_the_controller(own: Any, webhook: Webhook) -> None:
    own.gate(*own.models(), f"--gate-notify={webhook.url}", "--gate-log-to=mine:log", "-n", "2")

    assert len(webhook.bodies) == 1
    assert Path("logged.json").is_file()


def test_a_defect_of_ours_does_not_change_the_exit_code(
    own: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(delivery, "_notify", broken)

    result = own.gate(*own.models(), "--gate-notify=https://a.test/x")

    assert result.ret == 0
    assert "warning: not everything was sent (RuntimeError: a defect)" in result.stdout.str()
