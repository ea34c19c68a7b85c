"""Further arms: a declaration is all that a run needs to ask one, show it and compare it."""

from __future__ import annotations

import importlib
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from benchmarks.start_up import write_project
from tunegate.harness import suite as suites
from tunegate.harness.contracts.further_arm import (
    ArmComparison,
    FurtherArm,
    arm_options,
    comparison_results,
    comparisons,
    further_arm,
    further_arms,
)
from tunegate.harness.decision.verdict.decide import ScoredRun
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.files import record_json
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.verdict import ArmResult, Verdict, VerdictRecord
from tunegate.harness.run import further_arms as room
from tunegate.harness.run.evaluate import evaluate
from tunegate.harness.run.options import RunOptions
from tunegate.reports.markdown import render_summary
from tunegate.reports.page import render_page

TOML = """
name = "s"
cases = "cases.jsonl"
[generation]
max_new_tokens = 4
samples = 2
temperature = 0.5
[[metrics]]
use = "exact_match"
[[gates]]
metric = "exact_match"
tolerance = 0.5
"""
CASES = [{"id": f"c{i:02}", "prompt": f"Q{i}", "expected": "yes"} for i in range(60)]


ROOT = Path(__file__).parents[2]

FILE = """
from tunegate.harness.contracts.further_arm import ArmComparison, FurtherArm
ORDER = 50
rival = {arm!r}
"""


def forget_arms() -> None:
    """Drop what was found in the room, so that it is read again."""
    sys.modules.pop(f"{room.__name__}.rival", None)
    importlib.invalidate_caches()
    further_arms.cache_clear()
    further_arm.cache_clear()


@pytest.fixture
def declare(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Path]]:
    """Return a function that declares the arm `rival` in a folder, for one test."""
    own = list(room.__path__)

    def add(**fields: Any) -> Path:
        folder = tmp_path_factory.mktemp("arms")
        arm = FurtherArm(name="rival", **fields)
        (folder / "rival.py").write_text(FILE.format(arm=arm), encoding="utf-8")
        monkeypatch.setattr(room, "__path__", [*own, str(folder)])
        forget_arms()
        return folder

    yield add
    monkeypatch.undo()
    forget_arms()


@pytest.fixture
def judge(
    suite_folder: Callable[..., Path], scripted: Callable[..., str], tmp_path: Path
) -> Callable[[], VerdictRecord]:
    """Return a function that runs a gate on base, tuned and rival."""

    def run() -> VerdictRecord:
        answers = {"base": "no", "tuned": "yes", "rival": "maybe"}
        completions = {
            name: {str(case["id"]): text for case in CASES} for name, text in answers.items()
        }
        return evaluate(
            RunOptions(
                suites=[suites.load_suite(suite_folder(TOML, CASES))],
                specs={name: scripted(name, completions=of) for name, of in completions.items()},
                folder=tmp_path / "run",
                store=tmp_path / "store.sqlite",
                stream=io.StringIO(),
            )
        )

    return run


def asked(folder: Path) -> list[tuple[str, int]]:
    """Return case and sample of the rival's cells."""
    cells = (stored.cell for stored in Run.load(folder).cells)
    return [(cell.case, cell.sample) for cell in cells if cell.arm == "rival"]


def test_an_arm_is_asked_as_it_is_declared(
    declare: Callable[..., None],
    judge: Callable[[], VerdictRecord],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All cases in all samples, a sample of 50 of the 60 cases, or each case once."""
    monkeypatch.setattr("tunegate.harness.engine.noise_sample.ALL_AGAIN", 50)
    declare()
    judge()
    assert len(asked(tmp_path / "run")) == 2 * 60

    declare(sampled=True)
    judge()
    assert len({case for case, _ in asked(tmp_path / "run")}) == 50

    declare(complete=False)
    judge()
    assert {sample for _, sample in asked(tmp_path / "run")} == {0}


def test_an_arm_without_a_comparison_has_no_say(
    declare: Callable[..., None], judge: Callable[[], VerdictRecord]
) -> None:
    declare()

    verdict = judge()

    assert verdict.verdict is Verdict.SHIP
    assert comparison_results(verdict) == {}
    assert "rival" in verdict.arms


def test_an_arm_is_compared_by_its_declared_function(
    declare: Callable[..., None],
    judge: Callable[[], VerdictRecord],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """The function gets the rival's scores; its result is stored, and makes the verdict worse."""
    seen: list[ScoredRun] = []

    def compare(run: ScoredRun) -> RivalResult:
        seen.append(run)
        return RivalResult(verdict=Verdict.BLOCK, sentence="worse than the rival", lead=0.25)

    module = ModuleType("rival_comparison")
    vars(module).update(compare=compare, RivalResult=RivalResult)
    monkeypatch.setitem(sys.modules, "rival_comparison", module)
    places = {"function": "rival_comparison:compare", "result": "rival_comparison:RivalResult"}
    declare(comparison=ArmComparison(**places, order=3))

    verdict = judge()

    assert verdict.verdict is Verdict.BLOCK
    assert verdict.sentence == "worse than the rival"
    assert {row.value for row in seen[0].scores if row.arm == "rival"} == {0.0}
    stored = Run.load(tmp_path / "run").verdict
    assert comparison_results(stored) == comparison_results(verdict) == verdict.further_arms
    assert record_json(stored) == record_json(verdict)

    damaged = VerdictRecord.model_validate_json(record_json(verdict).replace('"lead"', '"led"'))
    with pytest.raises(UsageError, match="further_arms: not a RivalResult: unknown key 'led'"):
        comparison_results(damaged)


class RivalResult(ArmResult, extra="forbid"):
    """A result with a field of its own."""

    lead: float
    """By how much the rival is better."""


GATE = """
import sys
from tunegate.harness.run import further_arms
further_arms.__path__.append(sys.argv[1])
from tunegate.harness.cli import main
specs = [f"--{arm}=replay:{arm}.jsonl" for arm in ("base", "tuned", "rival")]
sys.argv = ["tunegate", "gate", *(sys.argv[2:] or ["suites", *specs, "--run-dir=run"])]
main()
"""

ONE_FILE = '''
"""Rival: another fine-tune, which tuned is compared with by its share of right answers."""

from __future__ import annotations

from tunegate.harness.contracts.further_arm import ArmComparison, FurtherArm

ORDER = 50


def compare(run):
    from tunegate.harness.records.verdict import ArmResult, Verdict

    right = [row.value for row in run.scores if row.arm == "rival"]
    return ArmResult(
        verdict=Verdict.UNDECIDED,
        sentence="the rival <b>leads</b>",
        share_right=sum(right) / len(right),
        worst_cases=["c1", "c2"],
    )


rival = FurtherArm(
    name="rival",
    help="Model spec of a rival.",
    comparison=ArmComparison(
        function="tunegate.harness.run.further_arms.rival:compare", order=3, from_scores=True
    ),
)
'''


def test_a_file_is_all_that_an_arm_takes(declare: Callable[..., Path], tmp_path: Path) -> None:
    folder = declare()
    (folder / "rival.py").write_text(ONE_FILE, encoding="utf-8")
    write_project(tmp_path)
    answers = (tmp_path / "tuned.jsonl").read_text(encoding="utf-8")
    rival = answers.replace('"completion": "', '"completion": "rival-')
    (tmp_path / "rival.jsonl").write_text(rival, encoding="utf-8")

    said, done = (
        subprocess.run(
            [sys.executable, "-c", GATE, str(folder), *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        for words in (["--help"], [])
    )
    assert "Model spec of a rival." in said.stdout
    assert done.returncode == Verdict.UNDECIDED.exit_code, done.stderr
    assert "UNDECIDED: the rival <b>leads</b>" in done.stdout
    assert asked(tmp_path / "run")
    verdict, page, summary, junit = (
        (tmp_path / "run" / name).read_text(encoding="utf-8")
        for name in ("verdict.json", "report.html", "summary.md", "junit.xml")
    )
    assert json.loads(verdict)["further_arms"]["rival"] == {
        "verdict": "UNDECIDED",
        "sentence": "the rival <b>leads</b>",
        "share_right": 0.0,
        "worst_cases": ["c1", "c2"],
    }
    assert "rival-" in page
    own = page[page.index('id="further-arms"') :].partition("</section>")[0]
    for text in ("rival", "the rival &lt;b&gt;leads&lt;/b&gt;", "share_right</dt><dd>0.0<"):
        assert text in own
    assert "### Further arms" in summary
    assert r"- share\_right: 0\.0" in summary
    assert '<property name="share_right" value="0.0"' in junit


def test_a_stored_result_of_an_undeclared_arm_is_shown(
    declare: Callable[..., Path], judge: Callable[[], VerdictRecord], tmp_path: Path
) -> None:
    declare()
    verdict = judge()
    found = ArmResult(verdict=Verdict.SHIP, sentence="no worse than the other", lead=0.1)
    (tmp_path / "run" / "verdict.json").write_text(
        record_json(verdict.after("other", found)), encoding="utf-8"
    )

    run = Run.load(tmp_path / "run")

    assert list(comparison_results(run.verdict)) == ["other"]
    assert "no worse than the other" in render_page(run)
    assert "**other**: no worse than the other" in render_summary(run)


def test_the_arms_that_there_are() -> None:
    """Options in the order of the help; comparisons in the order of the run's sentence."""
    ours = ("base", "tuned", "incumbent", "shipped", "recorded")
    assert tuple(name for name in arm_options() if name in ours) == ours
    assert [n for n in comparisons(further_arms()) if n in ours] == ["shipped", "incumbent"]


def test_an_arm_has_the_name_of_its_file() -> None:
    assert {name: arm.name for name, arm in further_arms().items()} == {
        name: name for name in further_arms()
    }


@pytest.mark.parametrize("name", ["incumbent", "shipped"])
def test_declared_functions_exist(name: str) -> None:
    """Function and class of the result are imported by their names alone."""
    comparison = comparisons(further_arms())[name]

    assert issubclass(comparison.result_type(), ArmResult)
    with pytest.raises(AttributeError):
        comparison.compare(None)
