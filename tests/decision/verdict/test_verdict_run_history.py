"""A project's runs over time: order, what was shipped, wear, and what cannot be read."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest

from tests.compared_runs import candidate
from tunegate.harness.decision.verdict.promotions import Promotion
from tunegate.harness.decision.verdict.run_history import RunHistory, narrow_history, read_history
from tunegate.harness.records.errors import UnknownName
from tunegate.harness.records.files import record_json, write_atomic
from tunegate.harness.records.verdict import Verdict


def _stored(folder: Path, name: str, day: int, solved: int = 60, **changes: Any) -> Path:
    """Write manifest and verdict of a run that was started on a day of January."""
    run = candidate(name, solved, created=f"2026-01-{day:02}T10:00:00+00:00", **changes)
    place = folder / name
    write_atomic(place / "manifest.json", record_json(run.manifest))
    write_atomic(place / "verdict.json", record_json(run.verdict))
    return place


def _read(folder: Path, **options: Any) -> RunHistory:
    return read_history(sorted(folder.iterdir()), **options)


def test_runs_stand_in_the_order_of_time(tmp_path: Path) -> None:
    for name, day in (("a", 3), ("b", 1), ("c", 2)):
        _stored(tmp_path, name, day)

    found = _read(tmp_path)

    assert [run.run_id for run in found.runs] == ["b", "c", "a"]
    assert [run.verdict for run in found.runs] == [Verdict.SHIP] * 3
    assert found.names == ("s",)


def test_what_was_shipped_is_marked(tmp_path: Path) -> None:
    for name, day in (("a", 1), ("b", 2)):
        _stored(tmp_path, name, day)
    shipped = Promotion(
        promoted="2026-01-05T00:00:00+00:00",
        run_id="a",
        verdict=Verdict.SHIP,
        sentence="better",
        spec="out/a",
        identity={},
        suites={},
    )

    found = _read(tmp_path, promotions=[shipped])

    assert [run.shipped for run in found.runs] == ["2026-01-05T00:00:00+00:00", None]


def test_wear_is_counted_by_version(tmp_path: Path) -> None:
    """The store's count where it is larger: it knows runs that were deleted; sealed ones apart."""
    sealed = {"sealed": True, "alpha_per_attempt": True, "hash": "new"}
    _stored(tmp_path, "a", 1, attempts={"hash of s": 2})
    _stored(tmp_path, "b", 2, attempts={"hash of s": 3})
    _stored(tmp_path, "c", 3, suite=sealed, attempts={"new": 1})

    found = _read(tmp_path, counts={"hash of s": 9})

    assert [(w.hash, w.candidates, w.runs, w.opened) for w in found.wear] == [
        ("hash of s", 9, 2, 0),
        ("new", 1, 1, 1),
    ]
    assert found.runs[2].opened == ("s",)


def test_what_is_no_run_is_named_and_skipped(tmp_path: Path) -> None:
    good = _stored(tmp_path, "good", 1)
    (tmp_path / "a-file").write_text("x", encoding="utf-8")
    (tmp_path / "foreign").mkdir()
    half = _stored(tmp_path, "half", 1)
    (half / "verdict.json").unlink()
    damaged = _stored(tmp_path, "damaged", 1)
    (damaged / "verdict.json").write_text('{"verdict": ', encoding="utf-8")
    later = _stored(tmp_path, "later", 1)
    text = json.loads((later / "verdict.json").read_text(encoding="utf-8"))
    (later / "verdict.json").write_text(json.dumps(text | {"schema_version": 99}), encoding="utf-8")

    found = _read(tmp_path)

    assert [run.folder for run in found.runs] == [str(good)]
    why = {Path(one.folder).name: one.why for one in found.skipped}
    assert why["a-file"] == "not a folder"
    assert why["foreign"].startswith("not a run")
    assert why["half"].startswith("an unfinished run, with manifest.json alone")
    assert why["damaged"].startswith("verdict.json: not a VerdictRecord")
    assert "version 99" in why["later"]
    assert all("\n" not in text for text in why.values())


def test_a_history_is_narrowed(tmp_path: Path) -> None:
    """To a suite, from a day on, to the newest; what is left out is counted."""
    for name, day in (("a", 1), ("b", 2), ("c", 3)):
        _stored(tmp_path, name, day)
    _stored(tmp_path, "d", 4, suite={"name": "t", "hash": "of t"})
    found = _read(tmp_path)

    def names(**options: Any) -> list[str]:
        return [run.run_id for run in narrow_history(found, **options).runs]

    assert names(suite="s") == ["a", "b", "c"]
    assert names(suite="s", limit=2) == ["b", "c"]
    assert names(since=datetime.date(2026, 1, 3)) == ["c", "d"]
    assert names(limit=0) == ["a", "b", "c", "d"]
    assert narrow_history(found, suite="t").left_out == 3
    assert [w.name for w in narrow_history(found, suite="t").wear] == ["t"]
    with pytest.raises(UnknownName, match="unknown suite in these runs 'q'"):
        narrow_history(found, suite="q")


def test_a_refused_run_is_part_of_the_history(tmp_path: Path) -> None:
    place = _stored(tmp_path, "dead", 1)
    verdict = json.loads((place / "verdict.json").read_text(encoding="utf-8"))
    verdict |= {"verdict": "NOT_COMPARABLE", "suites": [], "sentence": "the adapter is dead"}
    (place / "verdict.json").write_text(json.dumps(verdict), encoding="utf-8")

    (run,) = _read(tmp_path).runs

    assert (run.verdict, run.suites) == (Verdict.NOT_COMPARABLE, ())
