"""The engine on the families that people fine-tune: the tokens of plain `generate`, on each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.base_families.families import FAMILIES, model_class, save_family
from tests.base_families.plain_generate import SHARED, differences
from tunegate.harness.engine.inference.fallbacks import fallback_notices
from tunegate.harness.models.open_arms import open_arms

SHORT = ("Bamba", "Phi3-long", "GptOss", "Qwen3_5+", "Gemma4+", "Llama4+", "Mistral3+")
"""One of each kind: positions, frequencies, experts, states, shared layers, chunks, a window."""
RUNNING_STATE = {
    "Mamba", "FalconMamba", "Mamba2", "Jamba", "Bamba", "FalconH1", "GraniteMoeHybrid", "NemotronH",
    "Zamba2", "Lfm2", "Lfm2Moe", "RecurrentGemma", "Qwen3Next", "Qwen3_5", "Qwen3_5Moe", "MiniMax",
    "KimiLinear", "Qwen3_5+", "Qwen3_5Moe+", "Lfm2Vl+",
}  # fmt: skip
BY_LENGTH = {"Phi3-long": 40, "Llama4": 7, "Llama4+": 7}
FIXED_CACHE = {"Mpt", "Mllama+", "Gemma3n", "Gemma4", "Gemma4+", "Llama4", "Llama4+"}


def _arms(family: str, tmp_path: Path) -> dict[str, Any]:
    for name, seed in (("base", 0), ("tuned", 1)):
        save_family(family, tmp_path / name, seed=seed)
    return dict(open_arms({name: str(tmp_path / name) for name in ("base", "tuned")}))


def _plain(family: str, folder: Path) -> Any:
    """The weights as Transformers loads them; the text part of Llama 4, whose own class fails."""
    model = model_class(family).from_pretrained(folder).eval()
    return model.language_model if family == "Llama4+" else model


@pytest.mark.slow
@pytest.mark.parametrize("family", SHORT)
def test_the_engine_is_plain_generate(
    tmp_path: Path, ask: Callable[..., list[Any]], family: str
) -> None:
    for name, arm in _arms(family, tmp_path).items():
        model = _plain(family, tmp_path / name)
        assert list(differences(arm, model, ask, prefix=SHARED, optimizations=("all",))) == []


@pytest.mark.slow
@pytest.mark.long  # fifty-eight families with each optimization: four minutes
@pytest.mark.parametrize("prefix", ["", SHARED], ids=["no prefix", "shared prefix"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_optimization_is_plain_generate_on_every_family(
    tmp_path: Path, ask: Callable[..., list[Any]], family: str, prefix: str
) -> None:
    arms = _arms(family, tmp_path)
    assert (
        list(differences(arms["base"], _plain(family, tmp_path / "base"), ask, prefix=prefix)) == []
    )
    notices = " ".join(fallback_notices(arms))
    assert ("running state" in notices) == (family in RUNNING_STATE)
    assert ("cannot be rearranged" in notices) == (family in FIXED_CACHE)
    limit = BY_LENGTH.get(family)
    assert ("tokens run one by one" in notices) == (limit is not None)
    assert limit is None or f"more than {limit} tokens" in notices
