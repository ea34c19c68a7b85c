"""Redactions by name: the default, none, and a function of the user's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunegate.harness.records.errors import UsageError
from tunegate.harness.telemetry.export.redaction import content_of, find_redaction, scrub_text


def test_names() -> None:
    """pii is the default scrub, none leaves all as it is, and without content there is nothing."""
    assert find_redaction("pii") is scrub_text
    assert find_redaction("none") is None
    assert content_of(False, "pii") is None
    content = content_of(True, "pii")
    assert content is not None
    assert content.clean("a@b.io") == "<email>"


def test_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function of the project, written as module and name."""
    (tmp_path / "our_redaction.py").write_text("hide = lambda text: 'gone'\nlevel = 3\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    content = content_of(True, "our_redaction:hide")
    assert content is not None
    assert content.clean("x") == "gone"
    with pytest.raises(UsageError, match="must be a function from text to text"):
        find_redaction("our_redaction:level")


@pytest.mark.parametrize("name", ["pi", "all", "nowhere.at_all:fn"])
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=name.partition(":")[0]):
        content_of(False, name)
