"""`tunegate replay`: production prompts asked again, three answers side by side."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tunegate.harness.cli import _production_suite, app
from tunegate.harness.cli._case_view import case_lines, print_case
from tunegate.harness.records.answers import Cell, CellKind, Completion, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import TunegateError
from tunegate.harness.suite import load_suite
from tunegate.harness.suite.sources.traces import TraceSelection, collect_cases

SHOP = Path(__file__).parents[2] / "examples" / "traces" / "shop.jsonl"
PARCEL, CHARGED = "b778903d4aa6a604", "939928645cae4d7e"


@pytest.fixture(name="place")
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def replay(*args: str | Path) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(app, ["replay", *map(str, args)])


def refused(*args: str | Path) -> str:
    """Return the one line by which the command refuses."""
    error = replay(*args).exception
    assert isinstance(error, TunegateError)
    assert "\n" not in str(error)
    return str(error)


def arms(place: Path) -> list[str]:
    """Write what base and tuned answer to every call; return the options that name them."""
    replay(SHOP, "--suite", place / "all")
    lines = (place / "all" / "recorded.jsonl").read_text(encoding="utf-8").splitlines()
    for arm, more in (("base", "Have a nice day."), ("tuned", "Thank you for asking!")):
        rows = (json.loads(line) for line in lines)
        said = [json.dumps(row | {"completion": f"Well. {more}"}) for row in rows]
        (place / f"{arm}.jsonl").write_text("\n".join(said), encoding="utf-8")
    return [f"--{arm}=replay:{place / arm}.jsonl" for arm in ("base", "tuned")]


def test_it_writes_a_production_suite(place: Path) -> None:
    """With cases, recorded answers and gates; what is left out is told, and whose data it is."""
    result = replay(SHOP, "--suite", "suites/shop", "--only", "route=/chat/*")

    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == "1 file, 32 spans, 32 model calls → 23 cases"
    assert "left out 6: a call that `only` leaves out" in result.stdout
    assert "left out 1: a call that cannot be replayed: an image" in result.stdout
    assert "note: production prompts are personal data." in result.stdout
    assert "\nsettings kept: max_tokens (23)\nsampled in production: 23 of 23" in result.stdout
    toml = (place / "suites" / "shop" / "suite.toml").read_text(encoding="utf-8")
    assert 'name = "shop"\ncases = "cases.jsonl"\n' in toml
    assert "max_new_tokens = 64        # the longest recorded answer has 30" in toml
    checked = CliRunner().invoke(app, ["suite", "check", "suites/shop"])
    assert checked.stdout.startswith("shop: 23 cases, 8 gates\n")  # it no longer needs the traces
    kept = (place / "suites" / "shop" / "cases.jsonl").read_text(encoding="utf-8")
    assert "<email>" in kept
    assert "@example.org" not in kept


def test_the_run_has_three_answers(project: Any) -> None:
    """Through the gate, whose code it ends with; the page shows what production answered."""
    options = arms(project.path)

    result = project.tunegate("replay", SHOP, *options, "--run-dir", "run", "--undecided", "pass")

    assert result.ret == 0
    assert set(project.verdict()["arms"]) == {"base", "tuned", "recorded"}
    page = (project.run / "report.html").read_text(encoding="utf-8")
    assert "Your parcel LO-48211 left our warehouse yesterday" in page


def test_a_case_of_a_run_is_opened(project: Any) -> None:
    replayed = project.tunegate("replay", SHOP, *arms(project.path), "--run-dir", "run")

    shown = replay("run", "--case", CHARGED)

    assert replayed.ret == 10
    assert shown.exit_code == 0
    lines = [re.sub("─+$", "", line) for line in shown.stdout.splitlines()]
    assert lines[3:] == [
        "── user ",
        "I was charged twice for one tent. Write to <email>, please.",
        "── recorded (30 tokens, 0.62 s, stop) ",
        "I am sorry about that. We will check the payment and write to <email> today.",
        "── base (30 tokens, 0.62 s, stop) ",
        "Well. [-Have a nice day.-]",
        "── tuned (30 tokens, 0.62 s, stop) ",
        "Well. {+Thank you for asking!+}",
    ]


def test_a_case_of_traces_is_asked_now(place: Path) -> None:
    shown = replay(SHOP, *arms(place), "--case", PARCEL)

    assert shown.exit_code == 0
    assert "Your parcel LO-48211 left our warehouse yesterday" in shown.stdout
    assert "Well. {+Thank you for asking!+}" in shown.stdout
    assert not (place / ".tunegate" / "runs").exists()


def test_an_agents_case_shows_calls_and_tools(place: Path) -> None:
    options = arms(place)
    cases = (place / "all" / "cases.jsonl").read_text(encoding="utf-8").splitlines()
    agent = json.loads(cases[-1])["id"]

    shown = replay(SHOP, *options, "--case", agent).stdout

    assert '→ order_status({"order": "LO-48390"})' in shown
    assert "\nwaiting for payment\n" in shown
    assert "\norder_status\n" in shown


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--tuned", "x"], "no traces; name files, folders or a run"),
        ([SHOP], "no tuned model: name it with --tuned SPEC, or only write a --suite DIR"),
        ([SHOP, "--suite"], "--suite needs a value"),
        ([SHOP, "--suit", "x"], "unknown option '--suit'; did you mean '--suite'?"),
        ([SHOP, "--suite", "x", "--sample", "0"], "--sample='0' must be a whole number above 0"),
        ([SHOP, "--suite", "x", "--seed", "a"], "--seed='a' must be a whole number of at least 0"),
        ([SHOP, "--suite", "x", "--only", "model"], "--only model: write KEY=PATTERN"),
        ([SHOP, "--suite", "x", "--repeated", "no"], "--repeated='no' must be drop or keep"),
        (["no.jsonl", "--suite", "x"], "no.jsonl: no such file or folder"),
        ([SHOP, "--suite", "."], ".: is already there; choose another name, or judge it"),
    ],
)
def test_mistakes_are_one_line(args: list[str | Path], message: str, place: Path) -> None:
    assert refused(*args).startswith(message)
    assert not (place / "x").exists()


def test_an_unknown_case_is_told(place: Path) -> None:
    message = refused(SHOP, *arms(place), "--case", PARCEL[:-1])

    assert f"unknown case {PARCEL[:-1]!r}; did you mean {PARCEL!r}?" in message


def test_suite_new_reads_traces_where_they_are(place: Path) -> None:
    """`suite new --from` knows traces by their content, and writes gates for production."""
    made = CliRunner().invoke(app, ["suite", "new", "prod", "--from", str(SHOP)])
    drawn = CliRunner().invoke(app, ["suite", "sample", "prod", "2"])

    assert made.exit_code == 0
    assert made.stdout.splitlines()[0] == "1 file, 32 spans, 32 model calls → 29 cases"
    assert '\n[cases]\nfrom = "traces"\nfile = ' in (place / "prod" / "suite.toml").read_text()
    assert (place / "prod" / "recorded.jsonl").read_text().count("\n") == 29
    assert "shop.jsonl:" in drawn.stdout


def test_suite_new_finds_traces_behind_other_tables(place: Path) -> None:
    (place / "mixed").mkdir()
    (place / "mixed" / "a.csv").write_text("question,answer\nx,y\n")
    (place / "mixed" / "shop.jsonl").write_bytes(SHOP.read_bytes())

    made = CliRunner().invoke(app, ["suite", "new", "prod", "--from", "mixed"])

    assert made.exit_code == 0
    assert made.stdout.splitlines()[0] == "2 files, 32 spans, 32 model calls → 29 cases"
    assert "left out 1: a file that is neither JSON nor a table of Langfuse's" in made.stdout


def test_sampling_is_replayed_where_it_is_asked_for(place: Path) -> None:
    """As every call of the shop was made; some settings are chosen by name."""
    whole = replay(SHOP, "--suite", "whole", "--settings", "recorded").stdout
    some = replay(SHOP, "--suite", "some", "--settings", "stop,temperature").stdout

    assert "sampled as recorded: 29 of 29 calls (temperature 0.2)" in whole
    assert "settings not taken over: max_tokens (29)" in some
    rows = [
        json.loads((place / name / "cases.jsonl").read_text().splitlines()[0])
        for name in ("whole", "some")
    ]
    assert [(row.get("temperature"), row.get("max_new_tokens")) for row in rows] == [
        (0.2, 96),
        (0.2, None),
    ]


def test_a_suite_over_traces_shows_what_was_read(project: Any) -> None:
    """`suite check` all of it, `suite show` and a run the first lines, with where the rest is.

    An advisory gate is named by a run even where the rest is cut.
    """
    (project.path / "suites").mkdir()
    (project.path / "silent.jsonl").write_text(SILENT, encoding="utf-8")
    (project.path / "suites" / "suite.toml").write_text(OVER_TRACES.format(SHOP), encoding="utf-8")
    answers = arms(project.path)

    checked = CliRunner().invoke(app, ["suite", "check", str(project.path / "suites")]).stdout
    shown = CliRunner().invoke(app, ["suite", "show", str(project.path / "suites")]).stdout
    run = project.tunegate("gate", "suites", *answers, "--run-dir=run")

    account = [line.strip() for line in checked.splitlines()[1:]]
    assert account[:2] == [
        "2 files, 34 spans, 33 model calls → 20 cases",
        "drawn 20 of 29 by seed 0",
    ]
    assert [line.split(" ")[:2] for line in account[2:6]] == [["left", "out"]] * 4
    assert account[6:8] == [
        "settings kept: max_tokens (20)",
        "sampled in production: 20 of 20 calls (temperature 0.2); asked greedily, so that no "
        'chance separates the arms (settings = "recorded" samples, too)',
    ]
    assert account[8].startswith(
        "settings that the recorder does not write: reasoning_effort (20), "
    )
    gap, advisory = account[9:]
    assert gap.startswith("no gate that counts judges what the answers say")
    assert advisory.startswith("length: scores without a range gate from 200 independent cases on")
    brief = [*account[:5], "… and 4 more lines; `tunegate suite check` shows them"]
    assert [line.strip() for line in shown.splitlines()[1:7]] == brief
    assert [line for line in run.errlines if line.startswith("tunegate: shop: ")] == [
        f"tunegate: shop: {line}" for line in (*brief, gap, advisory)
    ]


OVER_TRACES = """\
name = "shop"
[cases]
from = "traces"
file = ["{}", "../silent.jsonl"]
sample = 20
[[metrics]]
use = "length"
[[gates]]
metric = "length"
tolerance = "30%"
"""
_SPAN = {"traceId": "1" * 32, "startTimeUnixNano": "1", "endTimeUnixNano": "2"}
_ASKED = [{"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}}]
_SPANS = [
    {**_SPAN, "spanId": "1" * 16, "name": "chat", "attributes": _ASKED},
    {**_SPAN, "spanId": "2" * 16, "name": "db.query"},
]
SILENT = json.dumps({"resourceSpans": [{"scopeSpans": [{"scope": {}, "spans": _SPANS}]}]}) + "\n"


def test_what_a_case_holds_is_not_obeyed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No escape sequence, workflow command or heading of its own; commands are stopped around."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    evil = (
        "a\x1b]0;t\x07\n::error::x\n  ::add-mask::y\n##[command]z\r::warning::w\n── tuned ──\nSHIP"
    )
    case = Case(id="1\n::error::i", prompt=evil, tags=("t\n::notice::j",))

    print_case(case_lines(case, {}, where="s"))
    out = capsys.readouterr().out

    lines = out.splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith("::stop-commands::"))
    token = lines[begin].removeprefix("::stop-commands::")
    assert lines[-1] == f"::{token}::"
    inside = lines[begin + 1 : -1]
    assert [line for line in inside if line.lstrip().startswith("::") or "##[" in line] == []
    assert not set("\x1b\x07\r") & set(out)
    assert [line for line in inside if line.startswith("──")] == [f"── user {'─' * 70}"]


class TestContent:
    """What the written suite holds the answers against."""

    @staticmethod
    def written(place: Path, tuned: str | None = None) -> str:
        """Return the suite that is written of the shop's chats."""
        write_suite = _production_suite.write_suite
        found = collect_cases([SHOP], TraceSelection(only={"route": "/chat/*"}))
        if tuned == "silent":
            found = replace(found, recorded=found.recorded[:-1])
        if tuned == "many":
            said = [f"Number {n}. Yes." if n < 15 else f"Number {n}" for n in range(23)]
            lines = zip(found.recorded, said, strict=True)
            many = tuple(line.model_copy(update={"text": text}) for line, text in lines)
            found = replace(found, recorded=many)
        if tuned == "same":
            same = tuple(line.model_copy(update={"text": "Yes."}) for line in found.recorded)
            found = replace(found, recorded=same)
        write_suite(place / "suite", found, name="shop", local=tuned == "local")
        return (place / "suite" / "suite.toml").read_text(encoding="utf-8")

    def test_likelihood_joins_for_local_models(self, place: Path) -> None:
        assert "answer_logprob" not in self.written(place)
        assert 'metric = "answer_logprob"\ntolerance = 0.3' in self.written(place, "local")
        assert len(load_suite(place / "suite").cases) == 23

    def test_a_case_without_a_recorded_answer_is_left_out_of_the_gate(self, place: Path) -> None:
        text = self.written(place, "silent")

        assert 'tag = "answered"' in text
        tags = [case.tags for case in load_suite(place / "suite").cases]
        assert sum("answered" in names for names in tags) == 22

    def test_answers_of_several_sentences_have_a_gate_of_their_own(self, place: Path) -> None:
        few = self.written(place)
        text = self.written(place, "many")
        tags = [case.tags for case in load_suite(place / "suite").cases]

        assert 'tag = "several sentences"' not in few  # nine of 23 prove nothing
        assert 'tag = "several sentences"' in text
        assert sum("several sentences" in names for names in tags) == 15

    @pytest.mark.parametrize(
        ("text", "several"),
        [
            ("One.", False), ("One. Two.", True), ("One\n\n- two", True), ("Really? ", False),
            ("包裹已寄出。请等待。", True), ("包裹已寄出。", False), ("v1.2 is out", False),
        ],
    )  # fmt: skip
    def test_sentences_end_at_marks_and_lines(self, text: str, several: bool) -> None:
        assert _production_suite.has_several_sentences(text) is several

    def test_cases_that_are_read_each_time_have_no_tag(self) -> None:
        found = collect_cases([SHOP], TraceSelection())
        part = replace(found, recorded=found.recorded[:-1])
        table = '[cases]\nfrom = "traces"'

        assert "resemblance" in _production_suite.suite_text("s", table, found)
        assert "resemblance" not in _production_suite.suite_text("s", table, part)

    def test_answers_are_held_to_be_text(self, place: Path) -> None:
        text = self.written(place)
        found = load_suite(place / "suite")

        assert found.content_metrics == ("resemblance",)
        assert 'metric = "word_order"\ntolerance = "30%"\nblocks = false' in text
        assert "100% of the recorded answers end so" in text
        assert 'metric = "sentence_end"\n' in text

    @pytest.mark.parametrize(
        ("answer", "gated"),
        [
            ("Your parcel {n} is on its way to you", ("word_order",)),
            ("{n} abc{n} def{n} ghi{n}.", ("sentence_end",)),
            ("{n}", ("word_order",)),  # a number alone is in order
        ],
    )
    def test_what_production_does_not_do_is_no_gate(
        self, answer: str, gated: tuple[str, ...]
    ) -> None:
        found = collect_cases([SHOP], TraceSelection())
        lines = tuple(
            line.model_copy(update={"text": answer.format(n=n)})
            for n, line in enumerate(found.recorded)
        )

        text = _production_suite.suite_text(
            "s", 'cases = "cases.jsonl"', replace(found, recorded=lines)
        )

        assert tuple(n for n in ("word_order", "sentence_end") if f'"{n}"' in text) == gated

    def test_equal_answers_say_nothing(self, place: Path) -> None:
        assert "resemblance" not in self.written(place, "same")
        assert load_suite(place / "suite").content_metrics == ()


def test_thoughts_are_shown_before_the_answer_without_their_middle() -> None:
    """Both ends of long thoughts, how many tokens they took, and whether they ended."""
    thoughts = "first " + "and then " * 200 + "last"
    done = {
        "base": Completion(text="Oslo", reasoning="Hm.", reasoning_closed=True),
        "tuned": Completion(
            text="", reasoning=thoughts, reasoning_tokens=402, reasoning_closed=False
        ),
    }
    cells = {
        arm: StoredAnswer(
            cell=Cell(suite="s", case="c", arm=arm, kind=CellKind.GENERATE, key=arm),
            status="ok",
            completion=completion,
        )
        for arm, completion in done.items()
    }

    lines = "\n".join(case_lines(Case(id="c", prompt="Where?"), cells, where="s"))

    unknown = r"number of tokens not known, time not known"
    assert re.search(rf"── base thinks \({unknown}\) ─+\nHm\.\n── base ", lines)
    assert "── tuned thinks (402 tokens, time not known, not ended) ─" in lines
    assert re.search(r"\nfirst .{390,} \[…\] .{390,}last\n\(1010 characters left out", lines)
