"""The mutants of the mutation sample: each still fits the source that it changes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from benchmarks import mutation_sample as sample
from benchmarks.mutation_sample import Mutant, Result

MUTANTS = sample.load()


def test_a_mutant_fits_the_source() -> None:
    wrong = {m.name: why for m in MUTANTS if (why := m.not_applicable(sample.ROOT)) is not None}
    assert wrong == {}
    for mutant in MUTANTS:
        assert all(test.startswith("tests/") for test in mutant.tests), mutant.name
        assert mutant.tests, mutant.name
        source = (sample.ROOT / mutant.file).read_text(encoding="utf-8")
        mutated = source.replace(mutant.old, mutant.new)
        assert mutated != source, mutant.name
        compile(mutated, mutant.file, "exec", dont_inherit=True)


def test_the_sample_covers_every_area() -> None:
    """At least 50 mutants of distinct names, and at least 8 in each area."""
    areas = Counter(mutant.area for mutant in MUTANTS)

    assert len(MUTANTS) >= 50
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    assert set(areas) == {"statistics", "gates", "store", "reports"}
    assert min(areas.values()) >= 8


def test_another_tree_is_not_applicable(tmp_path: Path) -> None:
    mutant = Mutant("area", "name", "a.py", "x < 1", "x <= 1", ("tests/test_a.py",))
    file = tmp_path / "a.py"

    assert mutant.not_applicable(tmp_path) == "its text occurs 0 times in a.py"
    file.write_text("x < 1 or x < 1", encoding="utf-8")
    assert mutant.not_applicable(tmp_path) == "its text occurs 2 times in a.py"
    file.write_text("x < 1", encoding="utf-8")
    assert mutant.not_applicable(tmp_path) == "no tests/test_a.py"


@pytest.mark.parametrize(
    ("code", "outcome"),
    [(1, "killed"), (None, "killed"), (0, "survived"), (2, "error"), (4, "error"), (5, "error")],
)
def test_an_exit_code_decides_the_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int | None, outcome: str
) -> None:
    file, seen = tmp_path / "a.py", list[str]()
    file.write_text("x < 1\n", encoding="utf-8")
    (tmp_path / "test_a.py").touch()

    def run_tests(copy: Path, tests: tuple[str, ...], limit: float) -> tuple[int | None, str]:
        seen.append(file.read_text(encoding="utf-8"))
        return code, ""

    monkeypatch.setattr(sample, "run_tests", run_tests)
    mutant = Mutant("area", "name", "a.py", "x < 1", "x <= 1", ("test_a.py",))

    assert sample.run_mutant(mutant, tmp_path, 1.0).outcome == outcome
    assert seen == ["x <= 1\n"]
    assert file.read_text(encoding="utf-8") == "x < 1\n"


def test_rates_leave_out_mutants_that_do_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = {"a": ("killed", "survived", "not applicable"), "b": ("killed", "error")}
    results = [
        Result(Mutant(area, outcome, "a.py", "x", "y", ()), outcome)
        for area, found in outcomes.items()
        for outcome in found
    ]

    sample.print_rates(results)

    assert [line.split() for line in capsys.readouterr().out.splitlines()[1:]] == [
        ["a", "1", "of", "2", "killed", "50%"],
        ["b", "1", "of", "1", "killed", "100%"],
        ["all", "2", "of", "3", "killed", "67%"],
    ]
