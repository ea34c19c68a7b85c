"""Libraries are quiet for a while, and as they were afterwards."""

from __future__ import annotations

import logging
import os

import pytest

from tunegate.harness.contracts.quiet import default_variables, quiet_libraries


def test_a_logger_is_quiet_and_then_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("some.library")
    logger.setLevel(logging.INFO)
    with quiet_libraries("some.library"):
        logger.warning("hidden")
        logger.error("shown")

    assert [record.message for record in caplog.records] == ["shown"]
    assert logger.level == logging.INFO


def test_transformers_and_datasets_are_quiet_and_then_as_they_were() -> None:
    import datasets
    from transformers.utils import logging as talk

    def state() -> tuple[bool, bool, int]:
        bars = talk.is_progress_bar_enabled()
        return datasets.is_progress_bar_enabled(), bars, talk.get_verbosity()

    before = state()
    with quiet_libraries():
        assert state() == (False, False, logging.ERROR)

    assert state() == before


def test_default_variables_are_removed_and_the_users_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A", "mine")
    monkeypatch.delenv("B", raising=False)
    with default_variables({"A": "ours", "B": "ours"}):
        assert (os.environ["A"], os.environ["B"]) == ("mine", "ours")
    assert os.environ["A"] == "mine"
    assert "B" not in os.environ
