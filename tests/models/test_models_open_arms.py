"""Opening arms: one load where it can be, and nothing that is not the base's adapter."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_models import ARCHITECTURES, muted
from tunegate.harness.models.adapters.weight_files import weights_fingerprint
from tunegate.harness.models.open_arms import base_name_note, open_arms
from tunegate.harness.records.errors import ModelError, NotComparable, UsageError

IDS = [[5, 40, 90, 200], [300, 7], [12]]
Copy = Callable[..., Path]


def _logits(model: Any) -> Any:
    """The last logits of a few prompts, each alone, by plain Transformers."""
    import torch

    alone = {"use_cache": False, "logits_to_keep": 1}
    with torch.inference_mode():
        rows = [model(input_ids=torch.tensor([ids]), **alone).logits[0, -1] for ids in IDS]
    return torch.stack(rows)


def _plain(folder: Path, adapter: Path | None = None) -> Any:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    if adapter is not None:
        with muted():
            model = PeftModel.from_pretrained(model, adapter).eval()
    return model


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_one_load_serves_both_arms(tiny: Any, architecture: str) -> None:
    """Both arms hold the same torch model; base is plain Transformers exactly, tuned plain PEFT."""
    arms = tiny.pair(architecture)
    assert list(arms) == ["base", "tuned"]
    assert arms["base"].loaded.torch_model is arms["tuned"].loaded.torch_model
    base, adapter = tiny.base(architecture), tiny.adapter(architecture)
    assert (arms["base"].probe(IDS) == _logits(_plain(base))).all()
    assert (arms["tuned"].probe(IDS) == _logits(_plain(base, adapter))).all()
    assert (arms["base"].probe(IDS) == _logits(_plain(base))).all()


def test_base_is_read_from_the_adapter(tiny: Any) -> None:
    arms = open_arms({"base": None, "tuned": str(tiny.adapter())})
    assert arms["base"].identity["spec"] == str(tiny.base())
    assert arms["base"].loaded is arms["tuned"].loaded


def test_no_tuned_model() -> None:
    """Without a tuned model there is nothing to do, and the option is named."""
    with pytest.raises(UsageError, match="--gate-tuned SPEC"):
        open_arms({"base": "x", "tuned": None})


@pytest.mark.parametrize("spec", ["replay:runs/x.jsonl", "scripted:a/b.json"])
def test_recorded_answers_name_no_base(spec: str) -> None:
    with pytest.raises(UsageError, match=r"no base model: .*--gate-base SPEC"):
        open_arms({"tuned": spec})


def test_a_full_model_names_no_base(tiny: Any, copied: Copy) -> None:
    with pytest.raises(UsageError, match="is not an adapter that names one"):
        open_arms({"tuned": str(tiny.base())})
    nameless = copied(tiny.adapter(), file="adapter_config.json", base_model_name_or_path=None)
    with pytest.raises(UsageError, match="is not an adapter that names one"):
        open_arms({"tuned": str(nameless)})


def test_a_full_fine_tune_is_a_second_load(tiny: Any) -> None:
    arms = open_arms({"base": str(tiny.base()), "tuned": str(tiny.base(seed=7))})
    assert arms["base"].loaded is not arms["tuned"].loaded
    assert arms["base"].fingerprint != arms["tuned"].fingerprint
    assert (arms["tuned"].probe(IDS) == _logits(_plain(tiny.base(seed=7)))).all()


def test_the_same_folder_is_loaded_once(tiny: Any) -> None:
    arms = open_arms({"base": str(tiny.base()), "tuned": f"hf:{tiny.base()}"})
    assert arms["base"].loaded is arms["tuned"].loaded
    assert arms["base"].fingerprint == arms["tuned"].fingerprint


def test_an_incumbent_adapter_shares_the_load(tiny: Any) -> None:
    specs = {
        "base": str(tiny.base()),
        "tuned": str(tiny.adapter()),
        "incumbent": str(tiny.adapter(seed=2)),
    }
    arms = open_arms(specs)
    assert len({id(arm.loaded) for arm in arms.values()}) == 1
    assert len({arm.fingerprint for arm in arms.values()}) == 3
    expected = {
        "base": _logits(_plain(tiny.base())),
        "tuned": _logits(_plain(tiny.base(), tiny.adapter())),
        "incumbent": _logits(_plain(tiny.base(), tiny.adapter(seed=2))),
    }
    for name in ("incumbent", "base", "tuned", "incumbent"):
        assert (arms[name].probe(IDS) == expected[name]).all()


def test_the_base_arm_is_the_same_whatever_is_tuned(tiny: Any, copied: Copy) -> None:
    alone = open_arms({"base": str(copied(tiny.base())), "tuned": str(tiny.base(seed=7))})["base"]
    assert alone.fingerprint == tiny.pair()["base"].fingerprint


def test_an_adapter_is_no_base(tiny: Any) -> None:
    with pytest.raises(UsageError, match=r"base=.* is an adapter; give the model"):
        open_arms({"base": str(tiny.adapter()), "tuned": str(tiny.adapter())})


def test_an_adapter_on_a_recorded_base(tiny: Any, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('{"default": "x"}', encoding="utf-8")
    with pytest.raises(ModelError, match="the base arm is not a local model"):
        open_arms({"base": f"scripted:{tmp_path / 's.json'}", "tuned": str(tiny.adapter())})


def _record(folder: Path, sha: str) -> None:
    record = {"base": {"weights_sha256": sha}}
    (folder / "tunegate_training.json").write_text(json.dumps(record), encoding="utf-8")


def test_the_training_record_decides(tiny: Any, copied: Copy) -> None:
    adapter = copied(tiny.adapter(), "adapter")
    _record(adapter, weights_fingerprint(tiny.base()))
    moved = copied(tiny.base(), "moved")
    assert open_arms({"base": str(moved), "tuned": str(adapter)})["tuned"].adapter == "tuned"
    with pytest.raises(NotComparable, match="was trained on weights"):
        open_arms({"base": str(tiny.base(seed=7)), "tuned": str(adapter)})


def test_the_named_base_decides_without_a_record(tiny: Any) -> None:
    with pytest.raises(NotComparable, match=r"names .*llama-0 as its base, whose weights differ"):
        open_arms({"base": str(tiny.base(seed=7)), "tuned": str(tiny.adapter())})


def test_a_moved_base_is_no_mismatch(tiny: Any, copied: Copy) -> None:
    moved = copied(tiny.base(), "moved")
    assert len(open_arms({"base": str(moved), "tuned": str(tiny.adapter())})) == 2
    gone = copied(
        tiny.adapter(), "gone", file="adapter_config.json", base_model_name_or_path="/gone/base"
    )
    assert len(open_arms({"base": str(moved), "tuned": str(gone)})) == 2


def test_a_base_that_is_gone(tiny: Any, copied: Copy) -> None:
    adapter = copied(
        tiny.adapter(), file="adapter_config.json", base_model_name_or_path="/gone/base"
    )
    with pytest.raises(ModelError, match=r"names /gone/base .*its new path with --gate-base SPEC"):
        open_arms({"tuned": str(adapter)})


def test_an_adapter_of_another_shape(tiny: Any, copied: Copy) -> None:
    wide = copied(
        tiny.adapter("phi3"), "a", file="adapter_config.json", base_model_name_or_path="/gone"
    )
    with pytest.raises(NotComparable, match=r"does not fit .*it has no module"):
        open_arms({"base": str(tiny.base()), "tuned": str(wide)})
    narrow = copied(
        tiny.adapter(), "b", file="adapter_config.json", base_model_name_or_path="/gone"
    )
    _rewrite(narrow, lambda name, t: t[:, :20].contiguous() if "lora_A" in name else t)
    with pytest.raises(NotComparable, match=r"does not fit .*the adapter's side 20"):
        open_arms({"base": str(tiny.base()), "tuned": str(narrow)})


def test_an_adapter_of_another_hub_model(tiny: Any, copied: Copy, tmp_path: Path) -> None:
    cache = tmp_path / "models--org--base" / "snapshots" / "abc"
    shutil.copytree(tiny.base(), cache)
    for named, name in (("org/other", "x"), ("org/base", "y")):
        adapter = copied(
            tiny.adapter(), name, file="adapter_config.json", base_model_name_or_path=named
        )
        if named == "org/base":
            assert len(open_arms({"base": str(cache), "tuned": str(adapter)})) == 2
        else:
            with pytest.raises(NotComparable, match="names org/other as its base"):
                open_arms({"base": str(cache), "tuned": str(adapter)})


def _copied_base(tiny: Any, folder: Path) -> str:
    return str(shutil.copytree(tiny.base(), folder))


def test_an_adapter_that_names_another_base_is_noted(
    tiny: Any, copied: Copy, tmp_path: Path
) -> None:
    base = _copied_base(tiny, tmp_path / "Qwen3-0.6B-Base")
    named = {"file": "adapter_config.json", "base_model_name_or_path": "Qwen/Qwen3-0.6B"}
    arms = open_arms({"base": base, "tuned": str(copied(tiny.adapter(), **named))})

    note = base_name_note(arms["tuned"])

    assert note is not None
    assert "Qwen/Qwen3-0.6B by its adapter_config.json, and base is Qwen3-0.6B-Base" in note
    assert base_name_note(arms["base"]) is None


@pytest.mark.parametrize("folder", ["qwen3-0.6b", "base"])
def test_a_downloaded_base_is_not_taken_for_another(
    tiny: Any, copied: Copy, tmp_path: Path, folder: str
) -> None:
    base = _copied_base(tiny, tmp_path / folder)
    named = {"file": "adapter_config.json", "base_model_name_or_path": "Qwen/Qwen3-0.6B@v1"}
    arms = open_arms({"base": base, "tuned": str(copied(tiny.adapter(), **named))})

    assert base_name_note(arms["tuned"]) is None


def _rewrite(folder: Path, change: Callable[[str, Any], Any]) -> None:
    """Change the tensors of an adapter; what becomes None is left out."""
    from safetensors.torch import load_file, save_file

    file = folder / "adapter_model.safetensors"
    tensors = {name: change(name, tensor) for name, tensor in load_file(file).items()}
    save_file({n: t for n, t in tensors.items() if t is not None}, file, {"format": "pt"})


def test_half_an_adapter(tiny: Any, copied: Copy) -> None:
    """A tensor that the adapter's file lacks is named: PEFT would leave it as it starts."""
    adapter = copied(tiny.adapter())
    _rewrite(adapter, lambda name, t: None if "layers.1.self_attn.q_proj.lora_B" in name else t)
    with pytest.raises(ModelError, match=r"tensor .*q_proj.lora_B.weight is missing from the adap"):
        open_arms({"base": str(tiny.base()), "tuned": str(adapter)})


def test_nan_in_an_adapter(tiny: Any, copied: Copy) -> None:
    adapter = copied(tiny.adapter())
    _rewrite(adapter, lambda name, t: t * float("nan") if "layers.1.mlp.up_proj" in name else t)
    with pytest.raises(ModelError, match=r"tensor .*layers.1.mlp.up_proj.lora_A.* holds NaN"):
        open_arms({"base": str(tiny.base()), "tuned": str(adapter)})


@pytest.mark.parametrize(
    "keys",
    [{"lora_alpha": 4}, {"use_rslora": True}, {"alpha_pattern": {"q_proj": 2}}, {"r": 4}],
)
def test_scale_is_part_of_the_identity(tiny: Any, copied: Copy, keys: dict[str, Any]) -> None:
    """The same tensors under another scale are another arm; the same configuration is the same."""
    adapter = copied(tiny.adapter(), file="adapter_config.json", **keys)
    arm = open_arms({"base": str(tiny.base()), "tuned": str(adapter)})["tuned"]
    same = keys == {"r": 4}
    assert (arm.fingerprint == tiny.pair()["tuned"].fingerprint) == same


def test_bytes_decide_not_the_path(tiny: Any, copied: Copy) -> None:
    adapter = copied(tiny.adapter())
    specs = {"base": str(tiny.base()), "tuned": str(adapter)}
    before = open_arms(specs)["tuned"].fingerprint
    _rewrite(adapter, lambda name, t: t * 2)
    assert open_arms(specs)["tuned"].fingerprint != before


def test_a_tokenizer_of_the_adapters_own(
    tiny: Any, copied: Copy, tiny_tokenizer: Callable[..., Any]
) -> None:
    """An adapter folder with a tokenizer renders with that; the base keeps its own."""
    adapter = copied(tiny.adapter())
    tiny_tokenizer(template="other: {{ messages[0]['content'] }}").save_pretrained(adapter)
    arms = open_arms({"base": str(tiny.base()), "tuned": str(adapter)})
    templates = {arm.identity["template_sha256"] for arm in arms.values()}
    assert len(templates) == 2
    assert tiny.pair()["base"].tokenizer is tiny.pair()["tuned"].tokenizer


def test_no_warning_escapes(tiny: Any, copied: Copy) -> None:
    """Loading and attaching says nothing and leaves the warning filters as they were."""
    adapter = copied(tiny.adapter(), "a")
    before = list(warnings.filters)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        open_arms({"base": str(copied(tiny.base(), "b")), "tuned": str(adapter)})
    assert [str(w.message) for w in seen] == []
    assert warnings.filters == before


def test_nothing_is_printed(tiny: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """No progress bar and no advice of a library reaches the terminal."""
    open_arms({"base": str(tiny.base()), "tuned": str(tiny.adapter())})
    assert capfd.readouterr() == ("", "")
