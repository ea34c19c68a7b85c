"""Local models: what is refused before it is read, how prompts are made, what an arm is."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.models._load_model import load_model
from tunegate.harness.models._model_folder import hub_name, models_on_cpu, resolve_folder
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import ModelError, UnsafeWeights
from tunegate.harness.records.generation import GenerationSettings

Copy = Callable[..., Path]


class Canary:
    """A pickle that makes a file when it is read."""

    def __init__(self, path: Path) -> None:
        """Keep the file's place."""
        self.path = path

    def __reduce__(self) -> Any:
        """Make the file on unpickling."""
        return os.mkdir, (str(self.path),)


def _refused(folder: Path) -> str:
    with pytest.raises(UnsafeWeights) as caught:
        load_model(folder, dtype="float32")
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "consolidated.00.pth", "w.ckpt"])
def test_pickles_are_refused_unread(tiny: Any, copied: Copy, tmp_path: Path, name: str) -> None:
    """Weights that are only there as a pickle are refused; the canary in them never runs."""
    folder = copied(tiny.base())
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(pickle.dumps(Canary(tmp_path / "sang")))
    assert "weights are only there as a pickle" in _refused(folder)
    assert not (tmp_path / "sang").exists()


def test_an_adapters_pickle_is_refused_unread(tiny: Any, copied: Copy, tmp_path: Path) -> None:
    folder = copied(tiny.adapter())
    (folder / "adapter_model.safetensors").rename(folder / "other.safetensors")
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(Canary(tmp_path / "sang")))
    with pytest.raises(UnsafeWeights, match=r"adapter_model.bin: weights are only there as a pi"):
        open_arms({"base": str(tiny.base()), "tuned": str(folder)})
    assert not (tmp_path / "sang").exists()


def test_a_trainers_leftovers_are_no_weights(tiny: Any, copied: Copy) -> None:
    folder = copied(tiny.base())
    (folder / "optimizer.pt").write_bytes(b"no pickle")
    (folder / "training_args.bin").write_bytes(b"no pickle")
    assert load_model(folder, dtype="float32").dtype == "float32"


@pytest.mark.parametrize(
    ("file", "keys"),
    [
        ("config.json", {"trust_remote_code": True}),
        ("config.json", {"text_config": {"nested": [{"trust_remote_code": 1}]}}),
        ("config.json", {"_attn_implementation": "someone/kernel"}),
        ("config.json", {"_attn_implementation_internal": "someone/kernel"}),
        ("generation_config.json", {"trust_remote_code": True}),
    ],
)
def test_configurations_that_run_code(
    tiny: Any, copied: Copy, file: str, keys: dict[str, Any]
) -> None:
    """Keys through which a library would import or fetch code are refused and named."""
    folder = copied(tiny.base(), file=file, **keys)
    (folder / "evil.py").write_text("raise SystemExit('ran')", encoding="utf-8")
    message = _refused(folder)
    assert f"{folder / file}: " in message
    assert "would run code that comes with the model" in message


AUTO_MAPS = {
    "config.json": {"AutoModelForCausalLM": "evil.Model", "AutoConfig": "evil.Config"},
    "tokenizer_config.json": {"AutoTokenizer": ["evil.Tokenizer", None]},
}


@pytest.mark.parametrize("file", AUTO_MAPS)
def test_code_that_a_model_needs_is_refused(tiny: Any, copied: Copy, file: str) -> None:
    """A model type that Transformers does not have would be computed by the folder's own code."""
    folder = copied(tiny.base(), model_type="evil")
    value = json.loads((folder / file).read_text(encoding="utf-8"))
    (folder / file).write_text(json.dumps({**value, "auto_map": AUTO_MAPS[file]}), encoding="utf-8")
    message = _refused(folder)
    assert f"{folder / file}: " in message
    assert "would run code that comes with the model" in message


def test_code_that_a_model_does_not_need_is_not_run(tiny: Any, copied: Copy) -> None:
    """A type that Transformers has is computed by its class; the folder's code stays unread."""
    folder = copied(tiny.base())
    for file, names in AUTO_MAPS.items():
        value = json.loads((folder / file).read_text(encoding="utf-8"))
        (folder / file).write_text(json.dumps({**value, "auto_map": names}), encoding="utf-8")
    (folder / "evil.py").write_text("raise SystemExit('ran')", encoding="utf-8")
    assert type(load_model(folder, dtype="float32").torch_model).__name__ == "LlamaForCausalLM"


CODE = """
from transformers import LlamaConfig, LlamaForCausalLM

class OwnConfig(LlamaConfig):
    model_type = "own_llama"

class OwnForCausalLM(LlamaForCausalLM):
    config_class = OwnConfig
"""


def _with_code(folder: Path) -> Path:
    """Make a folder's model one that only its own code can compute."""
    (folder / "own.py").write_text(CODE, encoding="utf-8")
    value = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    value |= {
        "model_type": "own_llama",
        "architectures": ["OwnForCausalLM"],
        "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnForCausalLM"},
    }
    (folder / "config.json").write_text(json.dumps(value), encoding="utf-8")
    return folder


def test_code_that_is_allowed_computes_both_arms(
    tiny: Any, copied: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused by itself; allowed, base and tuned are computed by it, and it counts as content."""
    from transformers import dynamic_module_utils

    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    folders = [_with_code(copied(tiny.base(seed=seed), f"own{seed}")) for seed in (0, 1)]
    specs = dict(zip(("base", "tuned"), map(str, folders), strict=True))
    with pytest.raises(UnsafeWeights, match=r"allow the code of both arms .*--trust-remote-code"):
        open_arms(specs)
    arms: dict[str, Any] = dict(open_arms(specs, trusted=True))
    kinds = {type(arm.loaded.torch_model).__name__ for arm in arms.values()}
    assert kinds == {"OwnForCausalLM"}
    plain = load_model(tiny.base(), dtype="float32")
    assert bool((arms["base"].loaded.pristine == plain.pristine).all())
    (folders[0] / "own.py").write_text(CODE + "# another", encoding="utf-8")
    other: Any = open_arms(specs, trusted=True)["base"]
    assert other.loaded.weights_sha256 != arms["base"].loaded.weights_sha256


@pytest.mark.parametrize(
    ("saved", "remedy"),
    [
        ("99.1.0", r"saved by 99\.1\.0: pip install 'transformers>=99\.1\.0'"),
        ("4.40.0", "model card"),
    ],
)
def test_a_class_that_transformers_lacks(tiny: Any, copied: Copy, saved: str, remedy: str) -> None:
    keys = {"model_type": "newer", "architectures": ["NewerForCausalLM"]}
    folder = copied(tiny.base(), **keys, transformers_version=saved)
    with pytest.raises(ModelError, match=rf"has no NewerForCausalLM; .*{remedy}"):
        load_model(folder, dtype="float32")


@pytest.mark.parametrize(
    "keys",
    [
        {"architectures": ["LlamaForTokenClassification"]},
        {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]},
    ],
)
def test_a_model_that_writes_nothing(tiny: Any, copied: Copy, keys: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=f"{keys['architectures'][0]} is not a language model"):
        load_model(copied(tiny.base(), **keys), dtype="float32")


@pytest.mark.parametrize(
    "keys",
    [
        {"megatron_config": {"x": 1}},
        {"megatron_core": "evil.core"},
        {"auto_mapping": {"base_model_class": "X", "parent_library": "evil"}},
    ],
)
def test_adapter_configurations_that_run_code(
    tiny: Any, copied: Copy, keys: dict[str, Any]
) -> None:
    """So are those through which PEFT imports modules; its own defaults are not."""
    folder = copied(tiny.adapter(), file="adapter_config.json", **keys)
    with pytest.raises(UnsafeWeights, match=f"{next(iter(keys))}="):
        open_arms({"base": str(tiny.base()), "tuned": str(folder)})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_weights_name_the_tensor(tiny: Any, copied: Copy, value: float) -> None:
    from safetensors.torch import load_file, save_file

    folder = copied(tiny.base())
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.1.mlp.down_proj.weight"][0, 0] = value
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"tensor model.layers.1.mlp.down_proj.weight holds NaN"):
        load_model(folder, dtype="float32")


def test_a_head_of_another_size_is_named_with_both_sizes(tiny: Any, copied: Copy) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    folder = copied(tiny.base())
    tensors = load_file(folder / "model.safetensors")
    rows, width = tensors["lm_head.weight"].shape
    tensors["lm_head.weight"] = torch.zeros(7, width)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    sizes = rf"lm_head.weight is stored as \(7, {width}\), .* makes it \({rows}, {width}\)"
    with pytest.raises(ModelError, match=sizes):
        load_model(folder, dtype="float32")


def test_weights_of_fewer_tokens_than_the_tokenizer_has_are_one_line(
    tiny: Any, copied: Copy
) -> None:
    from safetensors.torch import load_file, save_file

    folder = copied(tiny.base(), vocab_size=3)
    tensors = load_file(folder / "model.safetensors")
    for name in ("lm_head.weight", "model.embed_tokens.weight"):
        tensors[name] = tensors[name][:3].clone()
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"tokenizer has token \d+, and the weights have 3 tokens"):
        load_model(folder, dtype="float32")


def test_a_missing_tensor_is_not_made_up(tiny: Any, copied: Copy) -> None:
    """A tensor that the file lacks is named: Transformers would fill it with random numbers."""
    from safetensors.torch import load_file, save_file

    folder = copied(tiny.base())
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.0.self_attn.q_proj.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"model.layers.0.self_attn.q_proj.weight is missing"):
        load_model(folder, dtype="float32")


@pytest.mark.parametrize("architecture", ["gpt2", "gemma"])
def test_tied_weights_are_not_missing(tiny: Any, architecture: str) -> None:
    from safetensors import safe_open

    with safe_open(tiny.base(architecture) / "model.safetensors", framework="pt") as file:
        assert not any("lm_head" in key for key in file.keys())  # noqa: SIM118  # no mapping
    assert load_model(tiny.base(architecture), dtype="float32").pristine.shape == (8, 320)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("config.json", "{", "not readable as JSON"),
        ("config.json", "[" * 100_000, "not readable as JSON"),
        ("config.json", '{"model_type": "nonsense"}', "has no model type 'nonsense'"),
        ("config.json", '{"model_type": "llama", "hidden_size": "x"}', "cannot be loaded"),
        ("tokenizer.json", "{}", "no usable tokenizer"),
    ],
)
def test_broken_files_are_one_line(
    tiny: Any, copied: Copy, file: str, text: str, message: str
) -> None:
    folder = copied(tiny.base())
    (folder / file).write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=message) as caught:
        load_model(folder, dtype="float32")
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nowhere: no such folder; give a model folder") as caught:
        resolve_folder(str(tmp_path / "nowhere"))
    assert "\n" not in str(caught.value)


def test_an_unreachable_hub_id_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match=r"^no-such-org/no-such-model: neither a folder here nor"):
        resolve_folder("hf:no-such-org/no-such-model")


def test_hub_names() -> None:
    """The hub's cache tells an id from its folders; other folders tell none."""
    assert hub_name(Path("/c/models--org--name/snapshots/abc")) == "org/name"
    assert hub_name(Path("/home/me/models/x")) is None
    assert hub_name(Path("/x")) is None


def test_bfloat16_is_recorded(tiny: Any) -> None:
    """The number format asked for is the one loaded, and part of the identity."""
    arms = open_arms({"base": str(tiny.base()), "tuned": str(tiny.adapter())}, dtype="bfloat16")
    assert arms["base"].identity["dtype"] == "bfloat16"
    assert arms["base"].fingerprint != tiny.pair()["base"].fingerprint


@pytest.mark.parametrize(
    ("file", "keys"),
    [
        ("config.json", {"rms_norm_eps": 0.1}),
        ("generation_config.json", {"eos_token_id": [0, 5]}),
        ("tokenizer_config.json", {"chat_template": "{{ messages[0]['content'] }}"}),
    ],
)
def test_settings_are_part_of_the_identity(
    tiny: Any, copied: Copy, file: str, keys: dict[str, Any]
) -> None:
    folder = copied(tiny.base(), file=file, **keys)
    if "chat_template" in keys:
        (folder / "chat_template.jinja").unlink(missing_ok=True)
    arm = open_arms({"base": str(folder), "tuned": str(tiny.base(seed=7))})["base"]
    assert arm.fingerprint != tiny.pair()["base"].fingerprint


def test_what_only_says_when_is_not(tiny: Any, copied: Copy) -> None:
    folder = copied(tiny.base(), transformers_version="4.0.0", _name_or_path="elsewhere")
    arm = open_arms({"base": str(folder), "tuned": str(tiny.base(seed=7))})["base"]
    assert arm.fingerprint == tiny.pair()["base"].fingerprint


def test_chat_prompts(tiny: Any) -> None:
    """A chat prompt is the template's text with the system turn, tokenised without additions."""
    arm = tiny.pair()["base"]
    prompt = arm.prompt(Case(id="c", prompt="Hi"), GenerationSettings(system="Be kind."))
    assert prompt.text == (
        "<|start|>system\nBe kind.<|end|>\n<|start|>user\nHi<|end|>\n<|start|>assistant\n"
    )
    assert prompt.token_ids == tuple(arm.tokenizer(prompt.text)["input_ids"])
    assert prompt.token_ids[0] == 1


def test_a_template_that_hides_the_tools(tiny: Any) -> None:
    arm = tiny.pair("llama")["base"]
    tools = ({"type": "function", "function": {"name": "get_weather", "parameters": {}}},)

    with pytest.raises(ValueError, match="does not show the tool 'get_weather'"):
        arm.prompt(Case(id="c", prompt="Rain?", tools=tools), GenerationSettings())
    shown = Case(id="c", prompt="Call get_weather or not?", tools=tools)
    assert "get_weather" in arm.prompt(shown, GenerationSettings()).text


def test_plain_prompts(tiny: Any, copied: Copy, tiny_tokenizer: Callable[..., Any]) -> None:
    """template = "none" sends the text, with the tokenizer's own token in front."""
    folder = copied(tiny.base())
    tiny_tokenizer(bos=True).save_pretrained(folder)
    arm = open_arms({"base": str(folder), "tuned": str(tiny.base(seed=7))})["base"]
    prompt = arm.prompt(Case(id="c", prompt="the"), GenerationSettings(template="none", system="S"))
    assert prompt.text == "S\n\nthe"
    assert prompt.token_ids[0] == 1
    with pytest.raises(ValueError, match="needs cases with a prompt, not messages"):
        arm.prompt(
            Case(id="c", messages=({"role": "user", "content": "x"},)),
            GenerationSettings(template="none"),
        )


def test_a_missing_chat_template(
    tiny: Any, copied: Copy, tiny_tokenizer: Callable[..., Any]
) -> None:
    folder = copied(tiny.base())
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    tiny_tokenizer(template=None).save_pretrained(folder)
    arm = open_arms({"base": str(folder), "tuned": str(tiny.base(seed=7))})["base"]
    with pytest.raises(
        ValueError, match=r'has no chat template; under \[generation\], chat_template = "tuned"'
    ):
        arm.prompt(Case(id="c", prompt="x"), GenerationSettings())


def test_a_template_that_refuses_a_case(
    tiny: Any, copied: Copy, tiny_tokenizer: Callable[..., Any]
) -> None:
    folder = copied(tiny.base())
    tiny_tokenizer(template="{{ raise_exception('No system role') }}").save_pretrained(folder)
    arm = open_arms({"base": str(folder), "tuned": str(tiny.base(seed=7))})["base"]
    with pytest.raises(ValueError, match="the chat template refuses it: No system role"):
        arm.prompt(Case(id="c", prompt="x"), GenerationSettings())


def test_what_an_arm_says_of_itself(tiny: Any) -> None:
    arm = tiny.pair()["tuned"]
    config = json.loads((tiny.base() / "generation_config.json").read_text(encoding="utf-8"))
    assert arm.stop_ids == frozenset(config["eos_token_id"])
    assert arm.context_length == 256
    assert arm.kinds == frozenset(CellKind) - {CellKind.DRAFTS}
    assert "serve it with its head or draft model" in arm.cannot(CellKind.DRAFTS)
    assert arm.identity["adapter_config"]["peft_type"] == "LORA"
    assert (arm.identity["adapter_config"]["r"], arm.identity["backend"]) == (4, "hf")
    assert json.loads(json.dumps(arm.identity)) == arm.identity
    with pytest.raises(TypeError, match=r"tunegate.harness.engine.inference.local_engine"):
        arm.complete([])


@pytest.mark.skipif(os.name != "posix", reason="links and devices of POSIX")
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "chat_template.jinja"])
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.symlink_to("/dev/null"), "neither a file nor a folder"),
        (lambda path: os.mkfifo(path), "neither a file nor a folder"),
        (lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 40 * 10**9), "at most"),
    ],
)
def test_files_without_an_end_are_refused(
    tmp_path: Path, name: str, make: Callable[[Path], None], said: str
) -> None:
    """A device, a pipe and a sparse file of 40 GB, before Transformers reads them."""
    make(tmp_path / name)

    with pytest.raises(ModelError, match=said):
        resolve_folder(str(tmp_path))


def test_a_reference_stays_beside_the_gpu(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    with models_on_cpu():
        model = load_model(tiny.base(), dtype="float32").torch_model

    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}


def with_tensors(folder: Path, **shapes: tuple[int, ...]) -> Path:
    """Write further tensors into a model folder; `__` stands for a dot."""
    import torch
    from safetensors.torch import load_file, save_file

    more = {name.replace("__", "."): torch.ones(shape) for name, shape in shapes.items()}
    tensors = {**load_file(folder / "model.safetensors"), **more}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.mark.parametrize(
    ("architecture", "key", "tensor"),
    [
        ("llama", "num_hidden_layers", r"model\.layers\.1\.input_layernorm\.weight"),
        ("gpt2", "n_layer", r"transformer\.h\.1\.attn\.c_attn\.weight"),
        ("mamba", "num_hidden_layers", r"backbone\.layers\.1\.mixer\.A_log"),
    ],
)
def test_a_layer_that_the_configuration_leaves_out_is_refused(
    tiny: Any, copied: Copy, architecture: str, key: str, tensor: str
) -> None:
    folder = copied(tiny.base(architecture), **{key: 1})

    with pytest.raises(ModelError, match=f"tensor {tensor} is in the weights, .* does not use it"):
        load_model(folder, dtype="float32")


def test_a_layers_tensor_that_the_model_does_not_use_is_refused(tiny: Any, copied: Copy) -> None:
    folder = with_tensors(copied(tiny.base()), model__layers__0__self_attn__q_proj__bias=(32,))

    with pytest.raises(ModelError, match=r"tensor model\.layers\.0\.self_attn\.q_proj\.bias"):
        load_model(folder, dtype="float32")


@pytest.mark.parametrize(
    ("architecture", "tensor"),
    [
        ("llama", "model__layers__0__self_attn__rotary_emb__inv_freq"),
        ("llama", "v_head__summary__weight"),
        ("llama", "mtp__layers__0__mlp__weight"),
        ("gpt2", "transformer__h__0__attn__masked_bias"),
        ("gpt2", "transformer__h__0__attn__bias"),
    ],
)
def test_stored_constants_and_further_heads_are_left_out(
    tiny: Any, copied: Copy, architecture: str, tensor: str
) -> None:
    folder = with_tensors(copied(tiny.base(architecture)), **{tensor: (4,)})

    assert load_model(folder, dtype="float32").pristine is not None
