"""Liveness: a dead adapter is found with its cause, a live one is proven."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_models import muted
from tests.tiny_vlm import VISION, save_vlm, save_vlm_adapter
from tunegate.harness.checks import liveness
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.records.errors import NotComparable

Copy = Callable[..., Path]


def test_a_live_adapter_is_proven(tiny: Any) -> None:
    """On, the logits change; off, they are those of before the adapter came, exactly."""
    proof = liveness.check_liveness(tiny.pair("llama"))["tuned"]
    arms = tiny.pair("llama")
    ids = arms["base"].probe_ids()
    largest = float((arms["tuned"].probe(ids) - arms["base"].loaded.pristine).abs().max())
    assert proof["status"] == "proven"
    assert proof["probes"] == len(ids) == 8
    assert proof["switching_off_restores_base"] == "exactly"
    assert proof["largest_logit_change"] == float(f"{largest:.2g}") > 0


def test_switching_off_is_exact_on_every_architecture(tiny: Any) -> None:
    for architecture in ("gpt2", "gemma3", "mistral", "phi3"):
        assert liveness.check_liveness(tiny.pair(architecture))["tuned"]["status"] == "proven"
        assert liveness.check_liveness(tiny.pair(architecture))["tuned"]["status"] == "proven"


def test_a_dead_adapter(tiny: Any) -> None:
    """An adapter that was never trained is refused with its cause."""
    arms = open_arms({"base": str(tiny.base()), "tuned": str(tiny.adapter(dead=True))})
    with pytest.raises(NotComparable, match="tuned: adapter is a no-op: lora_B is all zeros"):
        liveness.check_liveness(arms)


def test_an_adapter_without_scale(tiny: Any, copied: Copy) -> None:
    """lora_alpha = 0 switches an adapter off; its configuration is named."""
    adapter = copied(tiny.adapter(), file="adapter_config.json", lora_alpha=0)
    arms = open_arms({"base": str(tiny.base()), "tuned": str(adapter)})
    with pytest.raises(NotComparable, match="adapter is a no-op: lora_alpha is 0"):
        liveness.check_liveness(arms)


def test_a_dead_incumbent_is_found_too(tiny: Any) -> None:
    specs = {"base": str(tiny.base()), "tuned": str(tiny.adapter())}
    arms = open_arms({**specs, "incumbent": str(tiny.adapter(dead=True))})
    with pytest.raises(NotComparable, match="incumbent: adapter is a no-op"):
        liveness.check_liveness(arms)


def test_identical_weights(tiny: Any, copied: Copy) -> None:
    """base = tuned, by path or by content, is refused as identical weights."""
    for tuned in (tiny.base(), copied(tiny.base())):
        arms = open_arms({"base": str(tiny.base()), "tuned": str(tuned)})
        with pytest.raises(NotComparable, match="base and tuned have identical weights"):
            liveness.check_liveness(arms)


def test_twins_are_for_aa_runs(scripted: Callable[..., str], tiny: Any) -> None:
    twins = open_arms({"base": scripted("a", default="x"), "tuned": scripted("b", default="x")})
    dead = open_arms({"base": str(tiny.base()), "tuned": str(tiny.adapter(dead=True))})

    assert liveness.check_liveness(twins, twins=True)["tuned"]["status"] == "identical"
    with pytest.raises(NotComparable, match="adapter is a no-op"):
        liveness.check_liveness(dead, twins=True)


def test_an_incumbent_that_is_tuned_itself(scripted: Callable[..., str]) -> None:
    """Whatever its file is called: the next candidate was written over it, or it was named twice.

    Nothing is asked before.
    """
    texts = {"base": "x", "tuned": "y", "incumbent": "y"}
    arms = open_arms({name: scripted(name, default=text) for name, text in texts.items()})

    with pytest.raises(NotComparable, match="tuned and incumbent have identical content"):
        liveness.check_liveness(arms)


def test_identical_recordings(scripted: Callable[..., str]) -> None:
    """The same recorded answers twice are refused as identical content."""
    arms = open_arms({"base": scripted("a", default="x"), "tuned": scripted("b", default="x")})
    with pytest.raises(NotComparable, match="identical content"):
        liveness.check_liveness(arms)


def test_recordings_are_declared(scripted: Callable[..., str]) -> None:
    """What has no logits here is told apart by the hash of what was recorded."""
    arms = open_arms({"base": scripted("a", default="x"), "tuned": scripted("b", default="y")})
    assert liveness.check_liveness(arms)["tuned"]["status"] == "declared"


def test_two_models_are_proven(tiny: Any) -> None:
    arms = open_arms({"base": str(tiny.base()), "tuned": str(tiny.base(seed=7))})
    proof = liveness.check_liveness(arms)["tuned"]
    assert proof["status"] == "proven"
    assert proof["largest_logit_change"] > 0


def test_two_files_of_one_model(tiny: Any, copied: Copy) -> None:
    from safetensors.torch import load_file, save_file

    folder = copied(tiny.base())
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors, folder / "model.safetensors", {"format": "pt", "note": "saved again"})
    arms = open_arms({"base": str(tiny.base()), "tuned": str(folder)})
    with pytest.raises(NotComparable, match="computes base's logits exactly"):
        liveness.check_liveness(arms)


def test_a_base_that_does_not_come_back(tiny: Any) -> None:
    arms = open_arms({"base": str(tiny.base()), "tuned": str(tiny.adapter())})
    arms["base"].loaded.pristine = arms["base"].loaded.pristine + 0.5
    with pytest.raises(NotComparable, match=r"switching tuned off does not restore base: .* 0.5; "):
        liveness.check_liveness(arms)


def test_an_adapter_with_a_tokenizer_of_its_own(
    tiny: Any, copied: Copy, tiny_tokenizer: Callable[..., Any]
) -> None:
    adapter = copied(tiny.adapter())
    tiny_tokenizer(bos=True).save_pretrained(adapter)
    arms = open_arms({"base": str(tiny.base()), "tuned": str(adapter)})
    assert liveness.check_liveness(arms)["tuned"]["status"] == "proven"


def test_an_adapter_of_the_vision_part_alone_is_proven_on_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    base = save_vlm(tmp_path / "base")
    for name, dead in (("live", False), ("dead", True)):
        save_vlm_adapter(tmp_path / name, base, targets=VISION, dead=dead)
    specs = {"base": str(base), "tuned": str(tmp_path / "live")}
    arms: Any = open_arms({**specs, "incumbent": str(tmp_path / "dead")})

    ids = arms["base"].probe_ids()
    assert bool((arms["tuned"].probe(ids) == arms["base"].probe(ids)).all())
    with pytest.raises(NotComparable, match="incumbent: adapter is a no-op: lora_B is all zeros"):
        liveness.check_liveness(arms)
    del arms["incumbent"]
    proof = liveness.check_liveness(arms)["tuned"]
    moved = float((arms["tuned"].probe_image() - arms["base"].probe_image()).abs().max())
    assert proof["largest_logit_change"] == float(f"{moved:.2g}") > 0


def test_a_merged_vision_part_is_proven_and_computes_what_its_adapter_does(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText, AutoProcessor

    base = save_vlm(tmp_path / "base")
    adapter = save_vlm_adapter(tmp_path / "adapter", base, targets=VISION)
    with muted():
        model: Any = AutoModelForImageTextToText.from_pretrained(base)
        PeftModel.from_pretrained(model, adapter).merge_and_unload().save_pretrained(
            tmp_path / "merged"
        )
    processor: Any = AutoProcessor
    processor.from_pretrained(base).save_pretrained(tmp_path / "merged")
    arms: Any = open_arms({"base": str(base), "tuned": str(adapter)})
    merged: Any = open_arms({"base": str(base), "tuned": str(tmp_path / "merged")})

    assert liveness.check_liveness(merged)["tuned"]["status"] == "proven"
    apart = (arms["tuned"].probe_image() - merged["tuned"].probe_image()).abs().max()
    assert float(apart) < 1e-4


def test_a_shipped_arm_that_is_tuned_itself(tiny: Any, copied: Copy) -> None:
    """A copy of its folder, too."""
    specs = {"base": str(tiny.base()), "tuned": str(tiny.base(seed=7))}
    for shipped in (tiny.base(seed=7), copied(tiny.base(seed=7))):
        arms = open_arms({**specs, "shipped": str(shipped)})
        with pytest.raises(NotComparable, match=r"tuned and shipped .* proves nothing"):
            liveness.check_liveness(arms)
