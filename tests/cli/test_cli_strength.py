"""tunegate strength: an adapter at several strengths, and the largest that ships."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.tiny_models import write_suite
from tunegate.harness.cli.strength import strength
from tunegate.harness.records.errors import ModelError, UsageError
from tunegate.harness.run.strengths import read_strengths

SUITE = """
name = "tiny"
cases = "cases.jsonl"

[generation]
template = "none"
max_new_tokens = 6

[[metrics]]
use = "exact_match"

[[gates]]
metric = "exact_match"
floor = 0.9
gain = 0.1
"""


@pytest.fixture(name="suite")
def _suite(tiny: Any, ask: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a suite whose right answers are those of the adapter as trained."""
    monkeypatch.chdir(tmp_path)
    return write_suite(tmp_path / "suite", SUITE, tiny, ask)


def run(suite: Path, tuned: Path, **options: Any) -> int:
    """Run the command and return its exit code."""
    with pytest.raises(typer.Exit) as ended:
        strength([str(suite)], str(tuned), **options)
    return int(ended.value.exit_code)


def test_the_largest_strength_that_ships_is_chosen_and_saved(
    tiny: Any, suite: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Right answers are those at strength 1, so a quarter of it is not enough."""
    code = run(suite, tiny.adapter(), base=str(tiny.base()), at="0.25,1", save=Path("ships"))

    told = capsys.readouterr().out
    assert code == 0
    assert re.search(r"^0\.25 +BLOCK", told, re.MULTILINE)
    assert re.search(r"^1 ← +SHIP", told, re.MULTILINE)
    weights = "adapter_model.safetensors"
    assert Path("ships", weights).read_bytes() == (tiny.adapter() / weights).read_bytes()
    found = json.loads(Path(".tunegate/strength/compare.json").read_text())
    assert (found["strengths"], found["chosen"], found["of"]) == ([0.25, 1.0], "1", 2)
    assert "strength 1 may ship" in told
    page = Path(".tunegate/strength/compare.html").read_text()
    assert "By strength" in page


def test_nothing_is_saved_if_no_strength_ships(
    tiny: Any, suite: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(suite, tiny.adapter(), base=str(tiny.base()), at="0.1,0.2", save=Path("ships"))

    told = capsys.readouterr().out
    assert code == 1
    assert "no strength ships" in told
    assert re.search(r"^next: look at the failing cases: \.tunegate/strength/", told, re.MULTILINE)
    assert "tunegate strength " not in told
    assert not Path("ships").exists()


def test_base_is_asked_once(tiny: Any, suite: Path) -> None:
    run(suite, tiny.adapter(), base=str(tiny.base()), at="0.5,1")
    text = Path(".tunegate/strength/strength-1/cells.jsonl").read_text(encoding="utf-8")
    cells = [json.loads(line) for line in text.splitlines()]

    base = [cell for cell in cells if cell["cell"]["arm"] == "base"]
    assert base
    assert all(cell["cache_hit"] for cell in base)


@pytest.mark.parametrize("text", ["0.5", "0.5,0.5", "0,1", "x,1", "1,3", "0.5,0.50000001"])
def test_strengths_that_make_no_curve_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--at"):
        read_strengths(text)


def test_a_merged_model_has_no_strength(tiny: Any, suite: Path) -> None:
    with pytest.raises((UsageError, ModelError), match="not an adapter"):
        strength([str(suite)], str(tiny.base()), base=str(tiny.base()), at="0.5,1")


def test_strengths_of_the_same_thousandth_are_judged_apart(tiny: Any, suite: Path) -> None:
    run(suite, tiny.adapter(), base=str(tiny.base()), at="0.0001,0.9998,1")
    names = ("strength-0.9998", "strength-1")
    runs = [json.loads(Path(".tunegate/strength", n, "manifest.json").read_text()) for n in names]

    assert len({one["arms"]["tuned"]["adapter_sha256"] for one in runs}) == 2


def test_an_adapter_where_the_scaled_ones_are_written_is_refused(tiny: Any, suite: Path) -> None:
    place = Path(".tunegate/strength/adapters/strength-0.5")
    shutil.copytree(tiny.adapter(), place)

    with pytest.raises(UsageError, match="name another folder with --output"):
        strength([str(suite)], str(place), base=str(tiny.base()), at="0.5,1")
    assert (place / "adapter_config.json").is_file()


def test_an_existing_folder_is_not_overwritten(tiny: Any, suite: Path) -> None:
    with pytest.raises(UsageError, match="exists already"):
        strength([str(suite)], str(tiny.adapter()), save=suite)
