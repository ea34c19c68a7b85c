"""Libraries installed next to tunegate: an unsuitable version is reported in one line."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from tunegate.harness.contracts import environment
from tunegate.harness.records.errors import UsageError


def without(monkeypatch: pytest.MonkeyPatch, module: str, **versions: str) -> None:
    """Make a module missing, and packages installed in these versions."""
    find = importlib.util.find_spec

    def other(name: str, package: str | None = None) -> Any:
        return None if name == module else find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", other)
    monkeypatch.setattr(environment, "installed_versions", lambda names: versions)


def test_ppo_of_a_newer_trl_names_the_maintained_road(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "trl.experimental.ppo", trl="1.16.0")

    with pytest.raises(UsageError) as caught:
        environment.require_feature("ppo", "tunegate train ppo")

    assert str(caught.value).startswith("tunegate train ppo: needs trl<1.13, installed is 1.16.0; ")
    assert "`tunegate train rloo` or `train grpo` with `--reward_model FOLDER`" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_command_itself_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """`tunegate train ppo` asks before it reads rows or loads a model."""
    pytest.importorskip("trl")
    from tunegate.trainers import ppo
    from tunegate.trainers.train import run_method

    without(monkeypatch, "trl.experimental.ppo", trl="1.16.0")
    lines: list[str] = []

    assert 2 == run_method(ppo.METHOD, ["--train_files", "nowhere.jsonl"], say=lines.append)
    assert lines[0].startswith("error: tunegate train ppo: needs trl<1.13")


def test_what_is_there_is_not_refused() -> None:
    """A feature is asked for by its module; nothing is compared."""
    feature = environment.LibraryFeature("json.decoder", "json", ">=0", "nothing")
    missing = environment.LibraryFeature("json.encoder.more", "json", ">=9", "nothing")
    environment.FEATURES.update({"here": feature, "gone": missing})
    try:
        environment.require_feature("here", "x")
        assert not environment.has_feature("gone")
    finally:
        del environment.FEATURES["here"], environment.FEATURES["gone"]


def test_files_of_gguf_are_refused_before_they_are_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Transformers 5.16 has no way to read them exactly; the line names the version that has."""
    without(monkeypatch, "transformers.integrations.gguf", transformers="5.16.1")

    with pytest.raises(UsageError, match=r"gguf:x: needs transformers>=5.18, installed is 5.16.1"):
        environment.require_feature("gguf", "gguf:x")
