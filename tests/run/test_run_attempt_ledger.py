"""The attempts ledger: which suites and attempts are the same, and what verdicts say about it."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tunegate.harness.engine.answer_cache import JudgedAttempt
from tunegate.harness.records.answers import Cell, CellKind, Completion, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.jsonl import record_lines
from tunegate.harness.run.attempt_ledger import AttemptLedger
from tunegate.harness.run.case_sketch import CaseSketch, jaccard
from tunegate.harness.run.ledger_file import (
    LedgerLine,
    ledger_file,
    read_ledger,
    refuse_broken_ledgers,
)
from tunegate.harness.suite.find import LEDGER_NAME


def suite(
    prompts: range | list[str], name: str = "st", path: Path = Path("x/st/suite.toml")
) -> Any:
    """Return what the ledger reads of a suite."""
    texts = [f"question about {p}" if isinstance(p, int) else p for p in prompts]
    cases = tuple(Case(id=str(i), prompt=text) for i, text in enumerate(texts))
    return SimpleNamespace(name=name, cases=cases, path=path, hash="2" * 64)


def line(of: Any, candidate: str = "a", day: int = 1, **changes: Any) -> LedgerLine:
    """Return a line about a suite, judged on a day of March."""
    sketch = CaseSketch.of(of)
    fields = {
        "suite": of.name,
        "suite_sha256": "0" * 64,
        "n_cases": sketch.n_cases,
        "cases": sketch.hashes,
        "candidate": candidate,
        "seed": 0,
        "run_id": f"run {day}",
        "scores_sha256": "1" * 64,
        "verdict": "UNDECIDED",
        "judged": f"2026-03-{day:02}T00:00:00+00:00",
    }
    return LedgerLine.model_validate(fields | changes)


def attempt(of: Any, *lines: LedgerLine, candidate: str = "a", seed: int = 0) -> JudgedAttempt:
    """Return how a suite counts a candidate, given the lines of its ledger."""
    path = Path("ledger")
    sketches = {of.name: CaseSketch.of(of)}
    ledger = AttemptLedger(sketches, {of.name: path}, {path: lines}, candidate, seed, True)
    return ledger.attempt(of.name)


def test_candidates_are_counted_in_the_order_of_their_verdicts() -> None:
    """Whatever the order of the lines; a candidate keeps its number."""
    of = suite(range(30))
    lines = [line(of, "c", 3), line(of, "a", 1), line(of, "b", 2), line(of, "a", 4)]

    numbers = [attempt(of, *lines, candidate=name).number for name in "abcd"]

    assert numbers == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("earlier", "number"),
    [
        (suite(range(100)), 2),
        # a capital, white space, one word of one case
        (suite([f"Question  about {i}." for i in range(99)] + ["another"]), 2),
        # cases were added, and cases were taken away
        (suite(range(300)), 2),
        (suite(range(10)), 2),
        # renamed, with 20 of 120 others: 80 of 120 in common is more than half
        (suite(range(20, 120), "renamed"), 2),
        # 40 of 160 in common under another name: a suite of its own
        (suite(range(60, 160), "other"), 1),
        # the same name and no case in common: fresh data
        (suite(range(1000, 1100)), 1),
    ],
)
def test_a_suite_is_known_by_its_name_and_the_contents_of_its_cases(
    earlier: Any, number: int
) -> None:
    assert attempt(suite(range(100)), line(earlier, "before")).number == number


def test_the_sketch_estimates_the_share_of_common_cases() -> None:
    """Exact for few cases; within four standard errors (0.5/8 each) for 1,000 by enumeration."""
    few = [CaseSketch.of(suite(r)).hashes for r in (range(30), range(10, 50))]
    assert jaccard(*few) == 20 / 50

    for shift in (0, 100, 250, 500, 1000):
        one, other = (
            CaseSketch.of(suite(r)).hashes for r in (range(1000), range(shift, 1000 + shift))
        )
        assert jaccard(one, other) == pytest.approx((1000 - shift) / (1000 + shift), abs=0.25)


@pytest.mark.parametrize(
    ("earlier", "extended"),
    [
        ([], 0),
        ([{}], 0),  # the same run once more
        ([{"seed": 1}], 1),
        ([{"seed": 1}, {"seed": 2}], 2),
        ([{"seed": 1}, {"seed": 1}], 1),
        ([{"whole": False}], 0),  # some gates only: nothing was decided
        ([{"seed": 1, "whole": False}], 1),  # which other answers a look has seen chose the seed
        ([{"seed": 1, "whole": False}, {"seed": 2, "whole": False}], 2),
        ([{"seed": 1, "candidate": "b"}], 0),
        ([{}, {"seed": 1}], 0),  # seed 0 came first, and stays what it was
        ([{"of": range(50)}], 1),
        ([{"of": range(50)}, {"of": range(50), "seed": 1}], 2),
        # 5 of 100 cases reworded: 95 of 105 in common; 40 of 100: 60 of 140
        ([{"of": range(5, 105)}], 0),
        ([{"of": range(40, 140)}], 1),
    ],
)
def test_other_cases_and_other_seeds_are_further_chances(
    earlier: list[dict[str, Any]], extended: int
) -> None:
    """Of the same candidate, if they came before; rewording a few cases does not count."""
    lines = [
        line(suite(changes.pop("of", range(100))), **{"day": day, **changes})
        for day, changes in enumerate(map(dict, earlier), start=1)
    ]

    assert attempt(suite(range(100)), *lines).extended == extended


def test_a_clock_that_is_set_back_resets_nothing() -> None:
    of = suite(range(30))
    others = [line(of, "b", 2), line(of, "c", 3)]
    early = line(of, "a", attempt=3, judged="1970-01-01T00:00:00+00:00")
    seeds = [line(of, "a", 2, seed=1), line(of, "a", extended=1, judged="1970-01-01T00:00:00")]

    assert attempt(of, *others, early).number == 3
    assert attempt(of, *seeds).extended == 1


def test_a_line_of_the_same_suite_counts_whatever_its_sketch_says() -> None:
    of = suite(range(30))
    edited = line(of, "b", cases="0" * 64, suite="other", suite_sha256=of.hash)

    assert attempt(of, edited).number == 2


def test_a_run_is_known_by_the_line_of_its_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    of, path = suite(range(5)), Path("ledger")
    found = {"run_id": "run 1", "seed": 0, "attempts": {of.hash: 1}}
    stored = tmp_path / "runs" / "run 1" / "verdict.json"
    stored.parent.mkdir(parents=True)
    stored.write_text(json.dumps(found | {"suites": [{"name": "st", "hash": of.hash}]}), "utf-8")

    def unknown(**changes: Any) -> tuple[str, ...]:
        lines = [line(of, suite_sha256=of.hash, **changes)]
        ledger = AttemptLedger({"st": CaseSketch.of(of)}, {"st": path}, {path: lines}, "b", 0, True)
        return ledger.state("st", tmp_path / "runs").unknown_runs

    assert unknown() == ()
    assert unknown(suite="other") == unknown(seed=1) == unknown(run_id="run 2") == ("run 1",)


def test_other_versions_that_judged_the_candidate_are_counted(tmp_path: Path) -> None:
    """Of the same seed and about the same cases; those of another candidate are not meant."""
    of, path = suite(range(30)), tmp_path / "ledger"
    lines = [
        line(of, "a", suite_sha256=of.hash),
        *(line(of, name, suite_sha256=digit * 64) for name in "ab" for digit in "345"),
    ]
    ledger = AttemptLedger({"st": CaseSketch.of(of)}, {"st": path}, {path: lines}, "a", 0, True)

    assert ledger.state("st").edited == 3


def test_verdicts_that_came_meanwhile_are_named(tmp_path: Path) -> None:
    of, path = suite(range(5)), tmp_path / LEDGER_NAME
    path.write_text("".join(record_lines([line(of, "b"), line(suite(["x"], "other"))])), "utf-8")
    ledger = AttemptLedger({"st": CaseSketch.of(of)}, {"st": path}, {path: ()}, "a", 0, True)
    judged = SimpleNamespace(name="st", hash=of.hash, verdict="SHIP")
    verdict: Any = SimpleNamespace(run_id="mine", attempts={of.hash: 2}, suites=[judged])

    (said,) = ledger.record(verdict, [], {of.hash: 3})

    assert "other runs have judged st since this one began (run 1)" in said
    assert [(one.attempt, one.extended) for one in read_ledger(path)][2] == (2, 3)


def test_lines_are_a_set(tmp_path: Path) -> None:
    of = suite(range(5))
    lines = list(record_lines([line(of, "a", 1), line(of, "b", 2)]))
    path = tmp_path / LEDGER_NAME
    path.write_text("\n" + lines[1] + lines[0] + lines[1] + "\r\n" + lines[0].strip(), "utf-8")

    assert set(read_ledger(path)) == {line(of, "a", 1), line(of, "b", 2)}
    assert len(read_ledger(path)) == 2


def test_git_merges_the_ledgers_of_two_branches(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        who = ("-c", "user.name=n", "-c", "user.email=e@x", "-c", "init.defaultBranch=main")
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True)

    of, path = suite(range(5)), tmp_path / LEDGER_NAME

    def add(*lines: LedgerLine) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.writelines(record_lines(lines))
        git("add", "-A")
        git("commit", "-m", "m")

    git("init")
    (tmp_path / ".gitattributes").write_text(f"{LEDGER_NAME} merge=union\n", encoding="utf-8")
    add(line(of, "a", 1))
    git("checkout", "-b", "other")
    add(line(of, "b", 2))
    git("checkout", "-")
    add(line(of, "c", 3))
    git("merge", "other")

    assert {one.candidate for one in read_ledger(path)} == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("<<<<<<< HEAD\n", f"{LEDGER_NAME}:2: a conflict of git: keep the lines of both sides"),
        ('{"suite": 1}\n', f"{LEDGER_NAME}:2: not a LedgerLine: suite: 1: Input should be"),
        ("\x00\n", f"{LEDGER_NAME}:2: not a LedgerLine"),
        ("[" * 100_000 + "\n", f"{LEDGER_NAME}:2: not a LedgerLine"),
    ],
)
def test_a_broken_line_is_named_before_the_run(tmp_path: Path, text: str, told: str) -> None:
    of = suite(range(5), path=tmp_path / "suites" / "st" / "suite.toml")
    of.path.parent.mkdir(parents=True)
    first = "".join(record_lines([line(of)]))
    of.path.parent.with_name(LEDGER_NAME).write_text(first + text, encoding="utf-8")

    with pytest.raises(UsageError) as refused:
        refuse_broken_ledgers([of])

    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_attempt_of_10_to_the_400_is_a_broken_line(tmp_path: Path) -> None:
    of = suite(range(5), path=tmp_path / "suites" / "st" / "suite.toml")
    of.path.parent.mkdir(parents=True)
    text = "".join(record_lines([line(of)])).replace("{", f'{{"attempt": {10**400}, ', 1)
    of.path.parent.with_name(LEDGER_NAME).write_text(text, encoding="utf-8")

    with pytest.raises(UsageError, match=r":1: .*attempt.* less than or equal to 1000000000000"):
        refuse_broken_ledgers([of])


def test_the_nearest_ledger_above_a_suite_is_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to the repository's root, from whatever folder it is run; a new one is next to suites."""
    team = tmp_path / "repo" / "team"
    of = suite(range(5), path=team / "suites" / "st" / "suite.toml")
    of.path.parent.mkdir(parents=True)
    (tmp_path / "repo" / ".git").mkdir()
    (tmp_path / LEDGER_NAME).touch()  # outside of the repository
    monkeypatch.chdir("/")

    assert ledger_file(of) == team / "suites" / LEDGER_NAME
    (tmp_path / "repo" / LEDGER_NAME).touch()
    assert ledger_file(of) == tmp_path / "repo" / LEDGER_NAME
    (team / LEDGER_NAME).touch()
    assert ledger_file(of) == team / LEDGER_NAME


def test_a_suite_at_the_root_and_a_bundled_one_have_theirs_in_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tunegate.harness.suite.find import suite_folder, suite_names

    monkeypatch.chdir(tmp_path)
    bundled = suite_folder(suite_names()[0]) / "suite.toml"

    assert ledger_file(suite(range(5), path=tmp_path / "suite.toml")) == tmp_path / LEDGER_NAME
    assert ledger_file(suite(range(5), path=bundled)) == tmp_path / LEDGER_NAME


def test_ten_thousand_lines_are_read_and_counted_quickly(tmp_path: Path) -> None:
    """In 0.2 s on a free processor; processor time, with room for slower ones."""
    of = suite(range(500))
    path = tmp_path / LEDGER_NAME
    (text,) = record_lines([line(of, "candidate 00000")])
    lines = (text.replace("candidate 00000", f"candidate {i:05}") for i in range(10_000))
    path.write_text("".join(lines), encoding="utf-8")

    start = time.process_time()
    number = attempt(of, *read_ledger(path), candidate="new").number
    took = time.process_time() - start

    assert number == 10_001
    assert took < 1.0


def ledger_notes(project: Any, run: str) -> list[str]:
    """Return what a run's verdict says of the ledger."""
    verdict = json.loads((project.path / run / "verdict.json").read_text(encoding="utf-8"))
    return [note for found in verdict["suites"] for note in found["notes"] if LEDGER_NAME in note]


def test_deleting_the_store_does_not_reset_the_attempts(project: Any) -> None:
    """Nor do another store, another case and another gate; the user is told once to commit it."""
    toml = project.suite()
    toml.write_text("alpha_per_attempt = true\n" + toml.read_text("utf-8"), "utf-8")
    first = project.gate(*project.models(), "--gate-run-dir=r1")
    shutil.rmtree(project.path / ".tunegate")
    second = project.gate(*project.models(tuned=90), "--gate-run-dir=r2")
    toml.write_text(toml.read_text("utf-8").replace("gain = 0.1", "gain = 0.09"), "utf-8")
    third = project.gate(*project.models(tuned=85), "--gate-run-dir=r3", "--gate-store=x/s.sqlite")

    told = [f"candidate {n} on this suite" in r.stdout.str() for n, r in ((2, second), (3, third))]
    written = ["commit it" in r.stderr.str() for r in (first, second, third)]
    (found,) = project.path.rglob(LEDGER_NAME)
    assert told == [True, True]
    assert written == [True, False, False]
    assert [one.run_id for one in read_ledger(found)] == ["r1", "r2", "r3"]


def test_a_ledger_that_nobody_committed_still_counts(project: Any) -> None:
    """A pull request's next run in CI has its cached copy, and the ledger of the branch."""
    toml = project.suite()
    toml.write_text("alpha_per_attempt = true\n" + toml.read_text("utf-8"), "utf-8")
    project.gate(*project.models(), "--gate-run-dir=r1")
    (found,) = project.path.rglob(LEDGER_NAME)
    found.unlink()
    (project.path / ".tunegate/store.sqlite").unlink()
    toml.write_text(toml.read_text("utf-8").replace("gain = 0.1", "gain = 0.09"), "utf-8")

    second = project.gate(*project.models(tuned=90), "--gate-run-dir=r2")
    (project.path / ".tunegate/attempts.jsonl").write_text("broken", "utf-8")
    third = project.gate(*project.models(tuned=85), "--gate-run-dir=r3")

    assert "candidate 2 on this suite" in second.stdout.str()
    assert third.ret == 0


def test_the_same_run_again_changes_nothing_that_ci_keeps(project: Any) -> None:
    """So that a push without a new fine-tune or case saves no cache."""
    project.suite()
    kept = [project.path / ".tunegate" / name for name in ("store.sqlite", "attempts.jsonl")]
    before = []
    for _ in range(2):
        project.gate(*project.models(), "--gate-run-dir=r1")
        before.append([path.read_bytes() for path in kept])
        (found,) = project.path.rglob(LEDGER_NAME)
        found.unlink()  # the next checkout has none
        shutil.rmtree(project.path / "r1")

    assert before[0] == before[1]


def test_equal_scores_in_a_folder_of_the_same_name_are_attempts_of_their_own(project: Any) -> None:
    """In CI every run is `tunegate-run`: another fine-tune, another margin, another seed."""
    toml = project.suite()
    text = toml.read_text("utf-8")
    for changes, margin, seed in (
        ({}, "0.1", 0),
        ({"default": "x"}, "0.1", 0),
        ({}, "0.09", 0),
        ({}, "0.1", 1),
    ):
        toml.write_text(text.replace("gain = 0.1", f"gain = {margin}"), "utf-8")
        project.gate(*project.models(**changes), f"--gate-seed={seed}")
        shutil.rmtree(project.run)

    (found,) = project.path.rglob(LEDGER_NAME)
    for path in (found, project.path / ".tunegate/attempts.jsonl"):
        assert len(read_ledger(path)) == 4


def test_another_seed_is_a_second_chance(project: Any) -> None:
    """Judged at a fifth of the error; the same run once more does not count and adds no line."""
    project.suite()
    project.gate(*project.models(), "--gate-run-dir=r1")
    other = project.gate(*project.models(), "--gate-run-dir=r2", "--gate-seed=7")
    again = project.gate(*project.models(), "--gate-run-dir=r1")

    (found,) = project.path.rglob(LEDGER_NAME)
    assert "judged at 1/5 of it" in other.stdout.str()
    assert "judged at 1/5 of it" not in again.stdout.str()
    assert [one.seed for one in read_ledger(found)] == [0, 7]


def test_runs_and_promotions_that_the_ledger_does_not_know_are_named(project: Any) -> None:
    project.suite()
    project.gate(*project.models(), "--gate-run-dir=runs/r1")
    assert project.tunegate("promote", "runs/r1").ret == 0
    (found,) = project.path.rglob(LEDGER_NAME)
    found.unlink()

    project.gate(*project.models(tuned=90), "--gate-run-dir=runs/r2")

    notes = ledger_notes(project, "runs/r2")
    assert ["1 stored run of this suite (r1)" in note for note in notes].count(True) == 1
    assert ["1 promoted run of this suite (r1)" in note for note in notes].count(True) == 1
    assert [one.run_id for one in read_ledger(found)] == ["r2"]


def test_a_ledger_that_cannot_be_written_is_named_in_the_verdict(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.suite()
    access = "tunegate.harness.run.ledger_file.os.access"
    monkeypatch.setattr(access, lambda path, mode: False)

    result = project.gate(*project.models(), "--gate-run-dir=r1")

    assert result.ret == 0
    assert any("cannot be written" in note for note in ledger_notes(project, "r1"))


def test_a_ledger_that_has_no_end_is_not_read(tmp_path: Path) -> None:
    device, sparse = tmp_path / "device", tmp_path / "sparse"
    device.symlink_to("/dev/null")
    with sparse.open("wb") as file:
        file.truncate(10**9)

    for path in (device, sparse):
        with pytest.raises(UsageError, match="no regular file of at most 50 MB"):
            read_ledger(path)


def test_a_ledger_that_git_ignores_is_named(project: Any) -> None:
    """A rule for `*.jsonl` keeps it from every other checkout; with an exception all is well."""
    project.suite(n=40)
    words = ("gate", "suites", *(word.replace("--gate-", "--") for word in project.models(20, 38)))
    told = "suites/tunegate.ledger.jsonl: git ignores this file"
    subprocess.run(["git", "init", "--quiet"], check=True)
    Path(".gitignore").write_text("*.jsonl\n", encoding="utf-8")

    assert told in project.tunegate(*words).stderr.str()
    Path(".gitignore").write_text(f"*.jsonl\n!{LEDGER_NAME}\n", encoding="utf-8")
    assert told not in project.tunegate(*words, "--seed", "1").stderr.str()


def test_a_draft_counts_nothing_and_never_ships(project: Any) -> None:
    project.suite()
    models = project.models()

    result = project.gate(*models, "--gate-draft", "--gate-undecided=pass")

    told = result.stdout.str()
    assert result.ret == 10
    assert "would be SHIP" in project.verdict()["sentence"]
    assert told.index("\nDRAFT: ") < told.index("\nUNDECIDED: ")
    assert not (project.path / "suites" / LEDGER_NAME).exists()
    assert project.verdict()["attempts"] == {}
    project.model("tuned", 94)
    assert project.gate(*models).ret == 0
    assert [*project.verdict()["attempts"].values()] == [1]


def test_a_draft_of_a_worse_model_blocks(project: Any) -> None:
    project.suite()

    assert project.gate(*project.models(base=95, tuned=30), "--gate-draft").ret == 1


def test_a_suite_that_charges_for_attempts_has_no_drafts(project: Any) -> None:
    """A look that nobody counts would be free."""
    toml = project.suite()
    toml.write_text("alpha_per_attempt = true\n" + toml.read_text("utf-8"), encoding="utf-8")

    result = project.gate(*project.models(), "--gate-draft")

    assert result.ret == 4
    assert "alpha_per_attempt = true makes every look count" in result.stdout.str()


def answers(n: int, *, edited: int = 0, said: str = "answer", seconds: float = 1.0) -> list[Any]:
    """Return recorded answers to the first cases, with the last few edited."""
    return [
        StoredAnswer.of(
            Cell(suite="st", case=str(i), arm="tuned", kind=CellKind.GENERATE, key=str(i)),
            Completion(text=f"{said} {i}{' edited' * (i >= n - edited)}", latency_s=seconds),
            None,
            seconds,
        )
        for i in range(n)
    ]


def judged(of: Any, candidate: str, recorded: list[Any], **changes: Any) -> LedgerLine:
    """Return the line of recorded answers."""
    sketch = CaseSketch.of(of).with_answers(recorded, recorded=True)
    known = {"answers": sketch.answers, "answers_sha256": sketch.answers_sha256}
    return line(of, candidate, **(known | changes))


def again(of: Any, recorded: list[Any], *lines: LedgerLine, seed: int = 0) -> JudgedAttempt:
    """Return how a suite counts recorded answers in a file that it does not know."""
    path = Path("ledger")
    sketches = {"st": CaseSketch.of(of).with_answers(recorded, recorded=True)}
    ledger = AttemptLedger(sketches, {"st": path}, {path: lines}, "new file", seed, True)
    return ledger.attempt("st")


@pytest.mark.parametrize(
    ("n", "recorded", "seed", "expected"),
    [
        # the same answers in another order, with other times, under another name
        (60, answers(60, seconds=2.0)[::-1], 0, (1, 0)),
        (60, answers(60, seconds=2.0), 7, (1, 1)),
        # 54 of 60 are nine in ten, and 53 are not
        (60, answers(60, edited=6), 7, (1, 1)),
        (60, answers(60, edited=7), 7, (2, 0)),
        # in capitals and with a mark; each other text counts
        (60, answers(60, said="  ANSWER"), 7, (1, 1)),
        (60, answers(60, said="reply"), 7, (2, 0)),
        # on twice the cases
        (120, answers(120), 0, (1, 1)),
        # edited answers to the same cases are a candidate of their own
        (60, answers(60, edited=3), 0, (2, 0)),
    ],
)
def test_a_recorded_candidate_is_known_by_its_answers(
    n: int, recorded: list[Any], seed: int, expected: tuple[int, int]
) -> None:
    """(attempt, further chances); the bytes of the file make no other candidate."""
    first = judged(suite(range(60)), "first file", answers(60))

    found = again(suite(range(n)), recorded, first, seed=seed)

    assert (found.number, found.extended) == expected


def test_ten_edited_recordings_are_ten_attempts_and_one_candidate_of_another_seed() -> None:
    of = suite(range(60))
    lines = [
        judged(of, f"file {k}", answers(60, edited=k), attempt=k + 1, day=k + 1) for k in range(6)
    ]

    assert again(of, answers(60, edited=2, seconds=9.0), *lines).number == 3
    assert again(of, [*answers(60)[:-1], *answers(60, said="x")[-1:]], *lines).number == 7
    assert again(of, answers(60), *lines, seed=1).extended == 1


def test_the_recorded_answers_of_a_model_are_the_model() -> None:
    """Its line has no hash of all answers, and a gap where a look ended the run."""
    of = suite(range(30))
    sketch = CaseSketch.of(of).with_answers(answers(30)[:20], recorded=False)
    live = line(of, "model", answers=sketch.answers)

    assert again(of, answers(30), live) == JudgedAttempt(1, 0)
    assert again(of, answers(30), live, seed=1) == JudgedAttempt(1, 1)
    assert sketch.answers.count("0000") == 10
    assert len(sketch.answers) == 4 * 30


def test_lines_without_a_sketch_of_answers_are_read(tmp_path: Path) -> None:
    of, path = suite(range(30)), tmp_path / LEDGER_NAME
    (text,) = record_lines([line(of, "before")])
    path.write_text(text, encoding="utf-8")

    assert "answers" not in text
    assert again(of, answers(30), *read_ledger(path)) == JudgedAttempt(2, 0)


def test_a_recording_with_other_times_is_no_further_candidate(project: Any) -> None:
    """Through whole runs: neither the ledger nor the store counts it, with a seed it costs."""
    toml = project.suite()
    toml.write_text("alpha_per_attempt = true\n" + toml.read_text("utf-8"), encoding="utf-8")
    names = []
    for seconds in (1.0, 2.0):
        lines = [
            {"id": case["id"], "completion": case["expected"], "latency_s": seconds}
            for case in map(
                json.loads, (toml.parent / "cases.jsonl").read_text("utf-8").splitlines()
            )
        ]
        names.append(project.path / f"{seconds}.jsonl")
        order = 1 if seconds == 1.0 else -1
        names[-1].write_text("".join(json.dumps(of) + "\n" for of in lines[::order]), "utf-8")
    base = project.models()[0]
    first, second, third = (
        project.gate(
            base, f"--gate-tuned=replay:{name}", f"--gate-seed={seed}", f"--gate-run-dir=r{i}"
        )
        for i, (name, seed) in enumerate([(names[0], 0), (names[1], 0), (names[1], 3)])
    )

    assert "candidate 2 on this suite" not in second.stdout.str() + third.stdout.str()
    assert "judged at 1/5 of it" in third.stdout.str()
    assert "judged at 1/5 of it" not in first.stdout.str() + second.stdout.str()
