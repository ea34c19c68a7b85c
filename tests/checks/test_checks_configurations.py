"""Configurations: what no training changes is compared, and honest copies raise no alarm."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.base_families.families import make_config as family_config
from tests.tiny_classifiers import save_classifier
from tests.tiny_models import ARCHITECTURES, RUNNING_STATE, make_config
from tunegate.harness.checks.configurations import check_configuration, may_change
from tunegate.harness.checks.liveness import check_liveness
from tunegate.harness.decision.verdict.verdict_lines import verdict_lines
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.records.errors import NotComparable
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.verdict import Verdict
from tunegate.harness.run.evaluate import evaluate
from tunegate.harness.run.options import RunOptions
from tunegate.harness.suite import load_suite

Copy = Callable[..., Path]


class Configured(SimpleNamespace):
    """An arm of which only the configuration matters; it writes text, as a local arm does."""

    tokenizer = stop_ids = context_length = None
    active = probe = len


def compare(base: Any, tuned: Any, *, name: str = "tuned") -> None:
    check_configuration(name, Configured(configuration=base), Configured(configuration=tuned))


def refusal(base: Any, tuned: Any, *, name: str = "tuned") -> str:
    """Return why two configurations are refused; "" if they are compared."""
    try:
        compare(base, tuned, name=name)
    except NotComparable as error:
        return str(error)
    return ""


def changed(architecture: str = "llama", **values: Any) -> Any:
    return type(make_config(architecture)).from_dict(
        {**make_config(architecture).to_dict(), **values}
    )


@pytest.mark.parametrize(
    ("architecture", "values", "told"),
    [
        ("llama", {"num_hidden_layers": 1}, "num_hidden_layers in config.json is 1 in base and 2"),
        ("llama", {"hidden_size": 64}, "hidden_size"),
        ("llama", {"num_key_value_heads": 4}, "num_key_value_heads"),
        ("llama", {"rms_norm_eps": 0.5}, "rms_norm_eps in config.json is 0.5 in base and 1e-06"),
        ("llama", {"hidden_act": "relu"}, "hidden_act in config.json is 'relu' in base and 'silu'"),
        ("llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 5.0}}, "rope_theta"),
        (
            "llama",
            {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}},
            "rope_parameters.rope_type",
        ),
        ("gemma3", {"sliding_window": 2}, "sliding_window"),
        ("gemma3", {"query_pre_attn_scalar": 1}, "query_pre_attn_scalar"),
        ("gpt2", {"activation_function": "relu"}, "activation_function"),
        ("gpt2", {"n_layer": 1}, "n_layer"),
    ],
)
def test_what_no_training_changes_is_named_with_both_values(
    architecture: str, values: dict[str, Any], told: str
) -> None:
    with pytest.raises(NotComparable) as caught:
        compare(changed(architecture, **values), make_config(architecture))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(NotComparable):
        compare(make_config(architecture), changed(architecture, **values))


@pytest.mark.parametrize(
    "values",
    [
        {"vocab_size": 328},
        {"max_position_embeddings": 40960},
        {"pad_token_id": 5, "eos_token_id": [0, 9]},
        {"attention_dropout": 0.1},
        {"tie_word_embeddings": True},
        {"use_cache": False, "transformers_version": "4.38.1", "dtype": "bfloat16"},
        {"architectures": ["LlamaForSequenceClassification"], "id2label": {0: "a", 1: "b"}},
        {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
        {"unsloth_version": "2026.10.9", "initializer_range": 0.02},
    ],
)
def test_what_a_training_may_change_is_compared(values: dict[str, Any]) -> None:
    assert refusal(make_config("llama"), changed(**values)) == ""
    assert refusal(changed(**values), make_config("llama")) == ""


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("modernbert", {"classifier_pooling": "mean", "sparse_prediction": True}),
        ("modernbert", {"deterministic_flash_attn": True}),
        ("gpt2", {"summary_type": "mean", "summary_proj_to_labels": False}),
        ("jamba", {"use_mamba_kernels": False, "num_logits_to_keep": None}),
        ("mamba", {"use_mambapy": True}),
    ],
)
def test_heads_and_kernels_of_a_training_are_compared(kind: str, values: dict[str, Any]) -> None:
    from transformers import AutoConfig

    base, tuned = AutoConfig.for_model(kind), AutoConfig.for_model(kind, **values)

    assert base.to_dict() != tuned.to_dict()
    assert refusal(base, tuned) == ""


def test_settings_of_a_window_that_is_off_are_compared() -> None:
    """As in Qwen2.5-0.5B and its Instruct: the window, and the layers with it, differ."""
    off = {"use_sliding_window": False, "max_window_layers": 1, "sliding_window": 64}

    instruct = type(make_config("qwen2"))(**{**make_config("qwen2").to_dict(), **off})

    assert refusal(make_config("qwen2"), instruct) == ""


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, *RUNNING_STATE])
def test_a_saved_copy_has_its_models_configuration(architecture: str, tmp_path: Path) -> None:
    config = make_config(architecture)
    config.save_pretrained(tmp_path)

    assert refusal(config, type(config).from_pretrained(tmp_path)) == ""


@pytest.mark.parametrize("family", ["Gemma3+", "Gemma4+", "Qwen3VL+", "Llama4+", "Mllama+"])
def test_a_saved_copy_of_a_model_that_sees_has_its_configuration(
    family: str, tmp_path: Path
) -> None:
    config = family_config(family)
    config.save_pretrained(tmp_path)
    again = type(config).from_pretrained(tmp_path)

    assert refusal(config, again) == ""
    again.text_config.num_hidden_layers += 1
    with pytest.raises(NotComparable, match=r"text_config\.num_hidden_layers"):
        compare(config, again)


def test_the_text_part_alone_is_compared_with_the_whole_model() -> None:
    whole = family_config("Gemma3+")
    part = whole.get_text_config()

    assert refusal(whole, part) == ""
    with pytest.raises(NotComparable, match="query_pre_attn_scalar"):
        compare(whole, type(part).from_dict({**part.to_dict(), "query_pre_attn_scalar": 1}))


def test_a_configuration_of_transformers_4_is_that_of_5(tiny: Any, tmp_path: Path) -> None:
    """The rope settings had other keys, and `torch_dtype` is `dtype` now."""
    from transformers import LlamaConfig

    value = json.loads((tiny.base() / "config.json").read_text(encoding="utf-8"))
    rope = value.pop("rope_parameters")
    for scaling in (None, {"type": "linear", "factor": 2.0}):
        old = {**value, "rope_theta": rope["rope_theta"], "rope_scaling": scaling}
        (tmp_path / "config.json").write_text(
            json.dumps({**old, "torch_dtype": "float16", "transformers_version": "4.38.1"}),
            encoding="utf-8",
        )
        read = LlamaConfig.from_pretrained(tmp_path)
        read.save_pretrained(tmp_path / "again")
        new = {**rope, **({} if scaling is None else {"rope_type": "linear", "factor": 2.0})}
        assert refusal(read, LlamaConfig.from_pretrained(tmp_path / "again")) == ""
        assert refusal(read, changed(rope_parameters=new)) == ""


def test_a_full_fine_tune_on_another_rope_is_refused(tiny: Any, copied: Copy) -> None:
    rope = {"rope_type": "default", "rope_theta": 100.0}
    moved = copied(tiny.base(seed=7), rope_parameters=rope)
    arms = open_arms({"base": str(tiny.base()), "tuned": str(moved)})

    with pytest.raises(NotComparable, match=r"rope_theta in config\.json is 10000\.0 in base"):
        check_liveness(arms)


def test_a_longer_rope_that_is_meant_is_compared_recorded_and_told_first(
    tiny: Any, copied: Copy, tmp_path: Path
) -> None:
    rope = {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}
    rows = [{"id": f"c{i}", "prompt": f"{i} + 1?", "expected": "yes"} for i in range(4)]
    (tmp_path / "cases.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (tmp_path / "suite.toml").write_text(
        'name = "s"\ncases = "cases.jsonl"\n[generation]\nmax_new_tokens = 2\n[[metrics]]\n'
        'use = "exact_match"\n[[gates]]\nmetric = "exact_match"\ntolerance = 0.5\n',
        encoding="utf-8",
    )

    def judge(allowed: str, tuned: Path) -> Run:
        folder = tmp_path / f"run-{allowed}-{tuned.name}"
        evaluate(
            RunOptions(
                suites=(load_suite(tmp_path),),
                specs={"base": str(tiny.base()), "tuned": str(tuned)},
                folder=folder,
                store=tmp_path / "store.sqlite",
                stream=io.StringIO(),
                allow_config_difference=allowed,
            )
        )
        return Run.load(folder)

    long = copied(tiny.base(seed=7), rope_parameters=rope)
    refused = judge("", long)
    assert refused.verdict.verdict is Verdict.NOT_COMPARABLE
    assert refused.verdict.sentence.endswith("--allow-config-difference=rope_parameters")
    allowed = judge("sliding_window,rope_parameters", long)
    told = (
        "its config.json differs on purpose: rope_parameters.rope_type is 'linear', in base "
        "'default'; rope_parameters.factor is 4.0, in base None"
    )
    assert allowed.manifest.liveness["tuned"]["warning"] == told
    assert [*verdict_lines(allowed.verdict, allowed.manifest, tmp_path)][1] == f"but tuned: {told}"
    base, worse = (Configured(configuration=c) for c in (make_config("llama"),
                                                         changed(rms_norm_eps=0.5)))  # fmt: skip
    with pytest.raises(NotComparable, match="rms_norm_eps in"):
        check_configuration("tuned", base, worse, allowed="rope_parameters,rms_norm")


def test_a_resized_fine_tune_in_bfloat16_is_compared(tiny: Any, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(tiny.base(seed=7), dtype=torch.bfloat16)
    model.resize_token_embeddings(328)
    model.save_pretrained(tmp_path)
    arms = open_arms({"base": str(tiny.base()), "tuned": str(tiny.base(seed=7))})
    arms["tuned"].tokenizer.save_pretrained(tmp_path)  # type: ignore[attr-defined]  # HfArm's
    arms = open_arms({"base": str(tiny.base()), "tuned": str(tmp_path)})

    assert check_liveness(arms)["tuned"]["note"] == "the vocabularies differ in size"


def test_tuned_may_replace_an_incumbent_or_a_classifier_of_another_size(
    tiny: Any, tmp_path: Path
) -> None:
    larger = changed(num_hidden_layers=3)
    assert refusal(make_config("llama"), larger, name="incumbent") == ""
    with pytest.raises(NotComparable, match="rms_norm_eps"):
        compare(make_config("llama"), changed(rms_norm_eps=0.5), name="incumbent")
    with pytest.raises(NotComparable, match="num_hidden_layers"):
        compare(make_config("llama"), larger)
    sides = {"base": tiny.base("qwen2"), "tuned": tiny.base()}
    folders = {name: save_classifier(tmp_path / name, folder) for name, folder in sides.items()}
    arms = open_arms({name: f"classifier:{folder}" for name, folder in folders.items()})
    assert check_liveness(arms)["tuned"]["status"] == "proven"


def test_a_servers_folder_is_compared(tiny: Any, copied: Copy) -> None:
    def served(folder: Path) -> Any:
        known = dict.fromkeys(("address", "tokenizer", "rounds", "next_logprobs"), len)
        return SimpleNamespace(weights_spec=str(folder), **known)

    check_configuration("tuned", served(tiny.base()), served(tiny.base(seed=7)))
    check_configuration("tuned", served(tiny.base()), served(tiny.adapter()))
    with pytest.raises(NotComparable, match="rms_norm_eps"):
        check_configuration(
            "tuned", served(tiny.base()), served(copied(tiny.base(), rms_norm_eps=0.5))
        )


def test_each_key_of_the_list_is_one_that_a_training_sets() -> None:
    assert all(
        map(may_change, ("vocab_size", "pad_token_id", "resid_pdrop", "router_jitter_noise"))
    )
    kept = ("num_hidden_layers", "hidden_size", "rms_norm_eps", "hidden_act", "rope_parameters")
    assert not any(map(may_change, (*kept, "sliding_window", "layer_types", "model_type")))
