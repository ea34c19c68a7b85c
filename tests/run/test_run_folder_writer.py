"""The files of a run folder: all there, the same bytes each time, readable anywhere."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.image_files import png, write_image_suite
from tunegate.harness.records.errors import UsageError
from tunegate.harness.run.folder_writer import RunFolderWriter
from tunegate.harness.run.options import RunOptions
from tunegate.harness.suite import load_suite

FILES = {
    "manifest.json",
    "cases.jsonl",
    "cells.jsonl",
    "scores.jsonl",
    "verdict.json",
    "traces.jsonl",
    "logs.jsonl",
    "metrics.jsonl",
    "report.html",
    "summary.md",
    "comment.md",
    "junit.xml",
    "metrics.txt",
    "codequality.json",
    "lock",
}


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_run_leaves_its_files(project: Any) -> None:
    project.suite()

    project.gate(*project.models(), "--gate-early-stop=off")

    assert {path.name for path in project.run.iterdir()} == FILES
    manifest = json.loads((project.run / "manifest.json").read_text(encoding="utf-8"))
    assert len(manifest["plan"]) == len(_rows(project.run / "cells.jsonl")) == 200
    assert len(_rows(project.run / "cases.jsonl")) == 100
    assert len(_rows(project.run / "scores.jsonl")) == 200
    assert len(_rows(project.run / "traces.jsonl")) == 101  # a line a case, and the run's own
    assert len(_rows(project.run / "logs.jsonl")) == 100
    assert any(word.startswith("--gate-tuned=") for word in manifest["command"])


def test_a_run_whose_lines_nobody_prints_does_the_same(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files, the ledger and what goes to a webhook and a collector do not depend on printing."""
    sent = []
    monkeypatch.setattr(RunOptions, "say", lambda *_: None)
    monkeypatch.setattr("tunegate.harness.plugin.terminal._lines", lambda *_: iter(()))
    monkeypatch.setattr(
        "tunegate.harness.run.evaluate.send_files", lambda folder: sent.append("collector") or []
    )
    monkeypatch.setattr(
        "tunegate.harness.telemetry.export.webhook.post_json",
        lambda url, payload: sent.append(f"webhook: {payload['verdict']}"),
    )
    suite = project.suite()

    project.gate(*project.models(), "--gate-early-stop=off", "--gate-notify=https://example.org/x")

    assert {path.name for path in project.run.iterdir()} == FILES
    assert (suite.parents[1] / "tunegate.ledger.jsonl").read_bytes().count(b"\n") == 1
    assert sent == ["collector", "webhook: SHIP"]


def test_a_run_that_takes_a_used_folder_sets_the_other_aside_unseen(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.suite()
    project.gate(*project.models())
    monkeypatch.setattr(RunOptions, "say", lambda *_: None)

    project.gate(*project.models(tuned=20))

    assert (project.path / "run.1" / "verdict.json").is_file()
    assert project.verdict()["verdict"] == "BLOCK"


def test_a_second_run_gives_the_same_bytes(project: Any) -> None:
    project.suite()
    options = *project.models(), "--gate-early-stop=off"
    project.gate(*options)
    first = (project.run / "verdict.json").read_bytes()

    result = project.gate(*options)

    assert "(200 are stored already)" in result.stderr.str()
    assert (project.run / "verdict.json").read_bytes() == first


def test_another_finished_run_is_moved_out_of_the_folder(project: Any) -> None:
    project.suite()
    base, tuned = project.models(tuned=95)
    project.gate(base, tuned)
    first = (project.run / "verdict.json").read_bytes()

    result = project.gate(base, f"--gate-tuned={project.model('other', 20)}")

    assert "run held another finished run (SHIP), which is now run.1" in result.stderr.str()
    assert (project.path / "run.1" / "verdict.json").read_bytes() == first
    assert (project.path / "run.1" / "cells.jsonl").is_file()
    assert project.verdict()["verdict"] == "BLOCK"


def test_a_finished_run_is_kept_where_the_next_one_cannot_be_compared(project: Any) -> None:
    project.suite()
    base, tuned = project.models()
    project.gate(base, tuned)

    project.gate(base, base.replace("base=", "tuned=", 1))

    assert project.verdict()["verdict"] == "NOT_COMPARABLE"
    assert project.verdict(project.path / "run.1")["verdict"] == "SHIP"


def test_another_store_gives_the_same_bytes(project: Any) -> None:
    project.suite()
    options = project.models()
    project.gate(*options)
    first = (project.run / "verdict.json").read_bytes()
    shutil.rmtree(project.run)
    shutil.rmtree(project.path / ".tunegate")

    project.gate(*options)

    assert (project.run / "verdict.json").read_bytes() == first


def test_what_an_earlier_run_left_is_no_outcome(project: Any) -> None:
    project.suite()
    project.gate(*project.models())

    result = project.gate(*project.models(prefix="Hello. "))

    assert result.ret == 12
    assert project.verdict()["verdict"] == "NOT_COMPARABLE"
    assert not (project.run / "cells.jsonl").exists()
    assert "SHIP" not in (project.run / "summary.md").read_text(encoding="utf-8").split("\n", 1)[0]


def test_a_session_without_gates_does_not_read_an_old_verdict(project: Any) -> None:
    project.suite()
    project.gate(*project.models(tuned=10))
    project.pytester.makepyfile(test_own="def test_own(): pass")

    result = project.pytest_here("test_own.py", *project.models(), "--gate-run-dir=run")

    assert result.ret == 0
    assert "BLOCK" not in result.stdout.str()


def test_workers_do_not_read_the_verdict_of_an_earlier_session(project: Any) -> None:
    """With -n 2 a run folder used again is judged again."""
    project.suite()
    project.gate(*project.models(tuned=10))

    assert project.gate(*project.models(tuned=95), "-n", "2").ret == 0


@pytest.mark.parametrize("kind", ["prefix", "fail"])
def test_every_verdict_has_its_reports(project: Any, kind: str) -> None:
    project.suite()
    failures = {f"c{i:03}": "HTTP 500" for i in range(9)}
    script = {"prefix": "Hi. "} if kind == "prefix" else {"fail": failures}

    project.gate(
        *project.models(**script),
        "--gate-report=out/r.html",
        "--gate-junit=out/j.xml",
        "--gate-summary=out/s.md",
    )

    for name in ("r.html", "j.xml", "s.md"):
        assert (project.path / "out" / name).stat().st_size > 100
    assert '<error message="' in (project.path / "out/j.xml").read_text(encoding="utf-8")


def test_a_refused_run_leaves_no_folder(project: Any) -> None:
    project.suite()

    result = project.pytest_here("suites", "--gate-base=scripted:no", "--gate-tuned=scripted:no")

    assert result.ret == 4
    assert not list((project.path / ".tunegate").glob("runs/*"))


def test_a_moved_run_can_be_reported(project: Any) -> None:
    project.suite()
    project.pytest_here("suites", "--gate-run-dir=run", *project.models())
    moved = project.path / "elsewhere" / "kept"
    moved.parent.mkdir()
    project.run.rename(moved)
    page = (moved / "report.html").read_bytes()
    for name in ("report.html", "summary.md", "junit.xml"):
        (moved / name).unlink()
    shutil.rmtree(project.path / "suites")
    shutil.rmtree(project.path / ".tunegate")
    for model in project.path.glob("*.json"):
        model.unlink()

    result = project.tunegate("report", moved)

    assert result.ret == 0
    result.stdout.fnmatch_lines(["*kept/report.html", "SHIP: demo: *"])
    assert (moved / "report.html").read_bytes() == page


def test_no_torch_is_needed_for_recorded_or_scripted_models(project: Any) -> None:
    project.suite()
    project.pytester.makeconftest(
        """
        import sys

        class NoTorch:
            def find_spec(self, name, path=None, target=None):
                if name in ("torch", "transformers", "peft"):
                    raise ImportError(name)

        sys.meta_path.insert(0, NoTorch())
        """
    )

    assert project.pytest_apart("suites", *project.models()).ret == 0


def test_odd_text_is_inert_with_workers_too(project: Any, workers: tuple[str, ...]) -> None:
    odd = ["\ud800", "\x1b[31m", "::error::x", "\u202e", "a\u0000b", "##[group]"]
    cases = [{"id": f"{odd[i % 6]}-{i}", "prompt": f"q{i}", "expected": "yes"} for i in range(60)]
    toml = (
        'name = "demo"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "exact_match"\n'
        '[[gates]]\nmetric = "exact_match"\nfloor = 0.9\n'
    )
    project.raw_suite(toml, cases)
    models = [
        f"--gate-{arm}={project.model(arm, 0, default=f'no {arm} {odd[0]}')}"
        for arm in ("base", "tuned")
    ]

    result = project.gate(*models, *workers)

    assert result.ret in (1, 4)
    text = result.stdout.str()
    assert not [line for line in result.outlines if line.startswith("::")]
    assert "\x1b[31m" not in text
    assert "INTERNALERROR" not in text
    if result.ret == 1:
        assert len(_rows(project.run / "cells.jsonl")) == 120


def test_a_disk_error_in_the_reports_is_13(project: Any) -> None:
    """A report that cannot be written ends in ERROR with the path; the verdict is kept."""
    project.suite()
    (project.run / "report.html").mkdir(parents=True)
    os.utime(project.run)

    result = project.gate(*project.models())

    assert result.ret in (4, 13)
    assert "report.html" in result.stdout.str()
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


@pytest.mark.parametrize("option", ["summary", "report", "junit"])
@pytest.mark.parametrize("target", ["link", "dangling", "pipe"])
def test_a_report_replaces_no_link_and_no_device(project: Any, option: str, target: str) -> None:
    project.suite()
    place = project.path / "out"
    (project.path / "kept.md").write_text("kept", encoding="utf-8")
    if target == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to(project.path / ("kept.md" if target == "link" else "none"))
    before = place.lstat().st_ino, place.lstat().st_mode

    result = project.gate(*project.models(), f"--gate-{option}=out")

    assert result.ret == 4
    assert f"--gate-{option}=out: cannot be written (it is a link or a device" in (
        result.stdout.str()
    )
    assert (place.lstat().st_ino, place.lstat().st_mode) == before
    assert (project.path / "kept.md").read_text(encoding="utf-8") == "kept"


def test_the_images_of_cases_are_copied_once_by_hash(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    for name in ("1.png", "2.png"):
        (tmp_path / name).write_bytes(png())
    suite = write_image_suite(tmp_path, {"a": "1.png", "b": "2.png"})
    cases = load_suite(suite).cases
    folder = RunFolderWriter(tmp_path / "run")

    folder.write_images(cases)

    (copy,) = (tmp_path / "run" / "images").iterdir()
    assert copy.name == f"{cases[0].images[0].sha256}.png"
    assert copy.read_bytes() == png()
    (tmp_path / "2.png").write_bytes(png(shade=5))
    with pytest.raises(UsageError, match=r"image 2\.png: was changed since the suite was read; st"):
        folder.write_images(cases)


def test_a_moved_run_still_shows_its_images_and_only_changed_ones_are_asked_again(
    project: Any,
) -> None:
    pytest.importorskip("PIL")
    folder = project.path / "suites" / "demo"
    names = [f"c{n:03}" for n in range(40)]
    write_image_suite(
        folder,
        {name: f"{name}.png" for name in names},
        gates='[[gates]]\nmetric = "exact_match"\ntolerance = 0.1\n',
    )
    for shade, name in enumerate(names):
        (folder / f"{name}.png").write_bytes(png(shade, width=60, height=40))
    specs = []
    for arm, text in (("base", "7"), ("tuned", " 7")):
        script = project.path / f"{arm}.json"
        script.write_text(json.dumps({"default": text}), encoding="utf-8")
        specs.append(f"--gate-{arm}=scripted:{script}")

    assert project.gate(*specs, "--gate-early-stop=off").ret == 0
    assert project.verdict()["verdict"] == "SHIP"

    (folder / "c007.png").write_bytes(png(77, width=60, height=40))
    again = project.gate(*specs, "--gate-early-stop=off")
    assert "80 answers planned (78 are stored already)" in again.stderr.str()

    moved = project.run.rename(project.path / "moved")
    shutil.rmtree(folder)
    assert project.tunegate("report", moved).ret == 0
    page = (moved / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/webp;base64,") == 40
    assert project.tunegate("replay", moved, "--case", "c003").outlines[3] == "[image c003.png]"
