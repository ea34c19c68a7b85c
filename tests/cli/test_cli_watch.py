"""`tunegate watch` on trace files: exit codes, the state between calls, what a user gets to see."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.traced_calls import BAD, GOOD, SUITE, call, shipped, stream, write_traces
from tests.webhooks import Webhook, webhook
from tunegate.harness.cli import app
from tunegate.harness.cli import watch as command
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.telemetry.export import webhook as posting

__all__ = ["webhook"]
JUDGED = """
[[metrics]]
use = "rubric"
name = "polite"
criteria = "The answer is polite."
"""


@pytest.fixture
def gated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a run of 250 cases, 5 of them no JSON, and make it the one that is loaded."""
    monkeypatch.chdir(tmp_path)
    run, _ = shipped(tmp_path / "suite", [BAD] * 5 + [GOOD] * 245)
    monkeypatch.setattr(Run, "load", lambda folder: run)
    return run


def _watch(*args: str) -> tuple[int, str]:
    words = ["watch", "--run", "run", "--suite", "suite", *args]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    return result.exit_code, result.stdout


def _refused(*args: str) -> str:
    with pytest.raises(UsageError) as caught:
        _watch(*args)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_quiet(gated: Run, tmp_path: Path) -> None:
    """Exit code 0, a table, both files, and a word on false alarms without a state."""
    write_traces(tmp_path / "t.jsonl", stream(1, 600, bad_every=50))

    code, told = _watch("t.jsonl")

    assert code == 0
    assert "json_valid" in told
    assert told.splitlines()[-1].startswith("QUIET: no figure is worse than the gate's")
    assert "without --state FILE every call is a test of its own" in told
    record = json.loads(Path(".tunegate/watch/watch.json").read_text(encoding="utf-8"))
    assert (record["verdict"], record["counted"]) == ("QUIET", 600)
    summary = Path(".tunegate/watch/summary.md").read_text(encoding="utf-8")
    assert summary.startswith("### Watch: Quiet\n")
    assert "| json\\_valid | 2 % of 250 |" in summary
    assert "at most 5 %" in summary


def test_alarm(gated: Run, tmp_path: Path) -> None:
    """Exit code 1, and the commands that come next, in the summary too."""
    write_traces(tmp_path / "t.jsonl", stream(1, 700, bad_every=7))

    code, told = _watch("t.jsonl", "-o", "out")

    assert code == 1
    assert "ALARM: answers that fail json_valid: 14.3 % of 700 new units" in told
    assert "next: tunegate replay t.jsonl --base BASE --tuned TUNED" in told
    assert "    tunegate replay t.jsonl" in Path("out/summary.md").read_text(encoding="utf-8")


def test_weekly(gated: Run, tmp_path: Path) -> None:
    """With a state, weeks add up: the same calls again are not counted, new ones are."""
    week = [f"week{n}.jsonl" for n in range(1, 5)]
    for n, name in enumerate(week):
        write_traces(tmp_path / name, stream(1 + 200 * n, 200, bad_every=50 if n < 2 else 5))

    codes = [_watch(*week[: n + 1], "--state", "state.json")[0] for n in range(4)]
    state = json.loads(Path("state.json").read_text(encoding="utf-8"))

    assert codes == [10, 0, 1, 1]
    assert (state["looks"], state["calls"]) == (4, 800)
    assert state["figures"][0]["units"] == 800
    assert _watch(*week, "--state", "state.json")[0] == 1  # nothing new, and the alarm stands


def test_no_calls(gated: Run, tmp_path: Path) -> None:
    """Traces without a call in the window are told apart from a quiet week."""
    write_traces(tmp_path / "t.jsonl", stream(1, 30))

    code, told = _watch("t.jsonl", "--until", "2001-01-01")

    assert code == 10
    assert "no new calls: is production still traced?" in told
    assert "30 calls left out: not before --until" in told


def test_a_failed_write_keeps_the_state(gated: Run, tmp_path: Path) -> None:
    write_traces(tmp_path / "t.jsonl", stream(1, 30))
    (tmp_path / "out").write_text("a file", encoding="utf-8")

    assert "out: cannot be written" in _refused("t.jsonl", "-o", "out", "--state", "s.json")
    assert not Path("s.json").exists()


def test_another_test_in_the_same_state(gated: Run, tmp_path: Path) -> None:
    write_traces(tmp_path / "t.jsonl", stream(1, 30))
    _watch("t.jsonl", "--state", "s.json")

    assert "s.json: was begun with alpha=0.05, and this look has 0.01" in _refused(
        "t.jsonl", "--state", "s.json", "--alpha", "0.01"
    )
    assert "figures=" in _refused("t.jsonl", "--state", "s.json", "--figures", "loops")


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--alpha", "0.5"), "--alpha 0.5 must be between 0 and 0.5"),
        (("--drop", "0"), "--drop 0 must be between 0 and 1"),
        (("--since", "yesterday"), "--since 'yesterday' must be a time as 2026-11-25T08:00 (UTC)"),
        (("--where", "route"), "--where 'route' must be KEY=VALUE"),
        (("--figures", "json_vali"), "did you mean 'json_valid'"),
        (("--suite", "other"), "has no suite 'other' with answers; it has tickets"),
        (("--judge", "scripted:x"), "so --judge has nothing to do"),
    ],
)
def test_slips(gated: Run, tmp_path: Path, args: tuple[str, ...], told: str) -> None:
    """A user's mistake is one line, with what is allowed."""
    write_traces(tmp_path / "t.jsonl", stream(1, 3))

    assert told in _refused("t.jsonl", *args)


def test_a_missing_file(gated: Run) -> None:
    """Traces that are not there are named."""
    assert "nothere.jsonl" in _refused("nothere.jsonl")


def test_a_moved_suite(gated: Run, tmp_path: Path) -> None:
    """Its folder is given, wherever it is now; the run's own path to it is not read."""
    write_traces(tmp_path / "t.jsonl", stream(1, 3))
    (tmp_path / "suite").rename(tmp_path / "moved")

    refusal = _refused("t.jsonl", "--suite", "")
    assert "run: give the folder of 'tickets' with --suite DIR" in refusal
    assert _watch("t.jsonl", "--suite", "moved")[0] == 10


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7d", 1e9 - 604_800), ("12h", 1e9 - 43_200), ("2001-09-09T01:46:40", 1e9), ("", None)],
)
def test_moments(text: str, seconds: float | None) -> None:
    """An age, or a time in UTC: 2001-09-09T01:46:40 is a billion seconds."""
    assert command._moment("--since", text, 1e9) == seconds


class TestWatchJudge:
    """The gate's judge, on a sample of production."""

    @pytest.fixture
    def judged(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
        """Return a judge that dislikes `rude`; it gave every case of the run 0.75 or 1."""
        monkeypatch.chdir(tmp_path)
        rule = {"contains": "rude", "reply": {"score": 1}}
        script = {"rules": [rule], "default": {"score": 5}}
        (tmp_path / "judge.json").write_text(json.dumps(script), encoding="utf-8")
        rows = [
            ScoreRow(
                suite="tickets", metric="polite", case=f"c{n}", arm="tuned", value=1 - n % 2 / 4
            )
            for n in range(200)
        ]
        run, _ = shipped(tmp_path / "suite", [GOOD] * 200, toml=SUITE + JUDGED, scores=rows)
        judges = ({"spec": "scripted:judge.json"},)
        run = replace(run, manifest=run.manifest.model_copy(update={"judges": judges}))
        monkeypatch.setattr(Run, "load", lambda folder: run)
        return "scripted:judge.json"

    def test_polite(self, judged: str, tmp_path: Path) -> None:
        """A sample is judged, and as good as in the gate."""
        write_traces(tmp_path / "t.jsonl", stream(1, 100))

        told = _watch("t.jsonl", "--judge", judged, "--judge-sample", "30")[1]

        assert _judged() == {"gate": 0.125, "window": 0.0, "window_n": 30, "status": "too_few"}
        assert "polite" in told

    def test_rude(self, judged: str, tmp_path: Path) -> None:
        """Answers that the judge dislikes raise the alarm."""
        write_traces(tmp_path / "t.jsonl", (call(n, answer="rude") for n in range(1, 300)))

        code, told = _watch("t.jsonl", "--judge", judged, "--figures", "polite,failed")

        assert code == 1
        assert _judged()["status"] == "alarm"
        assert "loss of polite, as a share of its range: 100 % of 50 new units" in told

    def test_without_a_judge(self, judged: str, tmp_path: Path) -> None:
        """Nothing is asked, and nothing of it watched."""
        write_traces(tmp_path / "t.jsonl", stream(1, 3))

        assert "polite" not in _watch("t.jsonl")[1]

    def test_another_judge(self, judged: str, tmp_path: Path) -> None:
        """Scores of two judges are two units."""
        write_traces(tmp_path / "t.jsonl", stream(1, 3))

        assert f"was judged by {judged}; name that one" in _refused("t.jsonl", "--judge", "x:y")


def _judged() -> dict[str, Any]:
    record = json.loads(Path(".tunegate/watch/watch.json").read_text(encoding="utf-8"))
    figure = next(f for f in record["figures"] if f["name"] == "polite")
    return {key: figure[key] for key in ("gate", "window", "window_n", "status")}


def test_a_table_of_one_width(gated: Run, tmp_path: Path) -> None:
    write_traces(tmp_path / "t.jsonl", [call(n) for n in range(1, 40)])

    told = _watch("t.jsonl")[1]

    assert max(len(line) for line in told.splitlines() if "json_valid" in line) <= 120
    assert os.linesep + "TOO_LITTLE: " in told


def test_nothing_is_dropped_in_silence(gated: Run, tmp_path: Path) -> None:
    path = write_traces(tmp_path / "t.jsonl", stream(1, 30))
    path.write_text(path.read_text(encoding="utf-8") + '{"resourceSp\n', encoding="utf-8")
    seen: Any = _watch("t.jsonl")[1]

    assert "t.jsonl:31" in seen


def test_quiet_lists_what_it_cannot_see(gated: Run, tmp_path: Path) -> None:
    write_traces(tmp_path / "t.jsonl", stream(1, 900, bad_every=50))

    code, told = _watch("t.jsonl", "--figures", "json_valid")

    assert code == 0
    assert "not seen: whether answers are right: no figure reads what they say" in told
    assert "not seen: worsening by less than 10 points" in told
    record = json.loads(Path(".tunegate/watch/watch.json").read_text(encoding="utf-8"))
    assert len(record["not_seen"]) == 2
    assert "whether answers are right" in Path(".tunegate/watch/summary.md").read_text()
    assert "whether answers are right" in Path(".tunegate/watch/trend.html").read_text()


def test_the_trend_is_drawn_over_the_looks(gated: Run, tmp_path: Path) -> None:
    """A dot a look, a triangle at the alarm; nothing is fetched and nothing runs."""
    for week in range(3):
        calls = stream(1 + 300 * week, 300, bad_every=50 if week < 2 else 3)
        write_traces(tmp_path / f"{week}.jsonl", calls)
        _watch(f"{week}.jsonl", "--state", "s.json", "--figures", "json_valid,failed")

    page = Path(".tunegate/watch/trend.html").read_text(encoding="utf-8")

    assert page.count("<figure") == 2
    assert page.count("<circle") == 5
    assert page.count(": alarm</title>") == 1
    assert "33.3 % of 300 units: alarm" in page
    assert "<script" not in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")
    assert page.index("json_valid") < page.index(">failed<")


class TestAlerts:
    """A new alarm goes to a file or a webhook, once."""

    @pytest.fixture(autouse=True)
    def _hurried(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(posting, "WAITS_S", (0.0, 0.0))

    @staticmethod
    def look(tmp_path: Path, target: str, first: int, bad: int = 3) -> tuple[int, str]:
        """Look at 300 calls."""
        write_traces(tmp_path / "t.jsonl", stream(first, 300, bad_every=bad))
        return _watch("t.jsonl", "--state", "s.json", "--figures", "json_valid", "--alert", target)

    def test_a_file(self, gated: Run, tmp_path: Path) -> None:
        """A line for the first look with the alarm; none before, and none again."""
        self.look(tmp_path, "alerts.jsonl", 1, bad=50)
        assert not Path("alerts.jsonl").exists()

        assert [self.look(tmp_path, "alerts.jsonl", n)[0] for n in (400, 800)] == [1, 1]

        (line,) = Path("alerts.jsonl").read_text(encoding="utf-8").splitlines()
        told = json.loads(line)
        assert told["verdict"] == "ALARM"
        assert told["text"].startswith("tunegate watch: tickets of run r1: answers that fail")
        assert [figure["name"] for figure in told["figures"]] == ["json_valid"]

    def test_a_webhook(self, gated: Run, tmp_path: Path, webhook: Webhook) -> None:
        """The same as JSON, by POST."""
        codes = [self.look(tmp_path, webhook.url, n)[0] for n in (1, 400)]

        assert codes == [1, 1]
        assert [sent["figures"][0]["name"] for sent in webhook.bodies] == ["json_valid"]

    @pytest.mark.parametrize("target", ["http://127.0.0.1:9/hook", "no/such/folder/a.jsonl"])
    def test_what_cannot_be_sent_is_sent_by_the_next_look(
        self, gated: Run, tmp_path: Path, target: str
    ) -> None:
        code, told = self.look(tmp_path, target, 1)

        assert code == 1
        assert f"the alarm could not be sent to {target}" in told
        assert not Path("s.json").exists()
        assert self.look(tmp_path, "alerts.jsonl", 1)[0] == 1
        assert Path("alerts.jsonl").exists()


def test_feedback_is_watched(gated: Run, tmp_path: Path) -> None:
    """By the attribute that holds it, beside the share that is allowed."""
    calls = [
        call(n, attributes={"user.feedback": "down" if n % 2 else "up"}) for n in range(1, 500)
    ]
    write_traces(tmp_path / "t.jsonl", calls)

    code, printed = _watch(
        "t.jsonl", "--feedback", "user.feedback", "--unhappy", "0.3", "--figures", "feedback"
    )

    assert code == 1
    assert "calls with feedback about which users complained: 50.1 % of 499 new units" in printed
    assert "whether answers are right" not in printed
