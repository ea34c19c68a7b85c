"""Progress in a notebook is a bar of tqdm."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from tunegate.harness.engine.progress import ProgressReporter
from tunegate.harness.notebook import progress_bar
from tunegate.harness.notebook.progress_bar import NotebookStream, notebook_stream


def test_outside_of_a_notebook_there_is_no_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in Python nor in IPython's terminal."""
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert notebook_stream() is None

    terminal = SimpleNamespace(get_ipython=object)
    monkeypatch.setitem(sys.modules, "IPython", terminal)
    assert notebook_stream() is None


def test_without_tqdm_lines_go_to_the_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setattr(progress_bar, "find_spec", lambda name: None)

    assert notebook_stream() is sys.stdout


def test_the_bar_shows_the_share_and_the_label(capsys: pytest.CaptureFixture[str]) -> None:
    stream = NotebookStream()
    reporter = ProgressReporter(4.0, stream=stream, interval_s=0.0)

    reporter.add(1.0, tokens=0, label="base · tickets")
    reporter.add(2.0, tokens=0, label="tuned · tickets")
    bar = stream.bar
    assert bar.n == 75
    reporter.close()

    shown = capsys.readouterr().out
    assert " 25%|" in shown
    assert "base · tickets" in shown
    assert "75%|" in shown
    assert stream.bar is None
    reporter.close()
