"""Parts and files of base that Transformers does not save are in what ships, byte for byte."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.gguf_files import set_keys
from tests.tiny_models import Tiny, _save_adapter, make_tokenizer, muted
from tunegate.harness.models.adapters.weight_files import tensor_headers
from tunegate.harness.models.open_arms import open_arms
from tunegate.trainers import artifacts, sft
from tunegate.trainers.artifacts import gguf
from tunegate.trainers.artifacts._base_parts import copy_base_parts
from tunegate.trainers.train import run_method
from tunegate.trainers.training_card import read_card

torch = pytest.importorskip("torch")
t = pytest.importorskip("transformers")

INDEX = "model.safetensors.index.json"
SHAPE = {
    "vocab_size": 320,
    "bos_token_id": 1,
    "eos_token_id": 0,
    "pad_token_id": 0,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 256,
    "initializer_range": 0.3,
}
EXPERTS = {"moe_intermediate_size": 16, "num_experts_per_tok": 2}
ROUTED = {**EXPERTS, "n_routed_experts": 4, "first_k_dense_replace": 1, "n_group": 1}
ROUTED |= {"topk_group": 1, "num_nextn_predict_layers": 1}
LINEAR = {
    "head_dim": 8,
    "layer_types": ["linear_attention", "full_attention"],
    "linear_num_value_heads": 2,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "mtp_num_hidden_layers": 1,
}
RANKS = {"q_lora_rank": 8, "kv_lora_rank": 8}
HEADS = {"qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8}
FAMILIES: dict[str, tuple[str, dict[str, Any], str]] = {
    "qwen3_next": (
        "Qwen3NextForCausalLM",
        {**LINEAR, **EXPERTS, "num_experts": 4, "shared_expert_intermediate_size": 16},
        "mtp",
    ),
    "glm4_moe": ("Glm4MoeForCausalLM", {**ROUTED, "head_dim": 8}, "layers.46"),
    "deepseek_v3": ("DeepseekV3ForCausalLM", {**ROUTED, **RANKS, **HEADS}, "layers.61"),
    "qwen3_5_text": ("Qwen3_5ForCausalLM", LINEAR, "mtp"),
}
"""Model type → its class, its configuration, and the part that the class leaves out."""


def plant(part: str) -> dict[str, Any]:
    """Return three tensors of a head that drafts, each in another number format."""
    prefix = part if part == "mtp" else f"model.{part}"
    values = torch.linspace(-3, 3, 64).reshape(8, 8)
    return {
        f"{prefix}.eh_proj.weight": values.to(torch.bfloat16),
        f"{prefix}.mlp.down_proj.weight": values.to(torch.float8_e4m3fn),
        f"{prefix}.enorm.weight": values[0].clone(),
    }


def save_base(folder: Path, family: str, *, sharded: bool = False) -> dict[str, Any]:
    """Save a base with a planted head, and return the head's tensors."""
    from safetensors.torch import load_file, save_file

    name, options, part = FAMILIES[family]
    torch.manual_seed(0)
    model = getattr(t, name)(t.CONFIG_MAPPING[family](**SHAPE, **options))
    model.save_pretrained(folder, max_shard_size="40KB" if sharded else "5GB")
    make_tokenizer().save_pretrained(folder)
    planted = plant(part)
    names = list(planted)
    if sharded:
        index = json.loads((folder / INDEX).read_bytes())
        for file, here in (
            ("model-mtp-1.safetensors", names[:2]),
            ("mtp-2.safetensors", names[2:]),
        ):
            save_file({n: planted[n] for n in here}, folder / file, {"format": "pt"})
            index["weight_map"] |= dict.fromkeys(here, file)
        (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")
    else:
        path = folder / "model.safetensors"
        save_file(load_file(path) | planted, path, {"format": "pt"})
    return planted


def load_tensors(folder: Path) -> dict[str, Any]:
    """Return the tensors of all shards; the index must name the right one for each."""
    from safetensors.torch import load_file

    index = json.loads((folder / INDEX).read_bytes())
    files = sorted(path.name for path in folder.glob("*.safetensors"))
    number = len(files)
    tensors: dict[str, Any] = {}
    for file in files:
        here = load_file(folder / file)
        assert not here.keys() & tensors.keys()
        assert {name for name, place in index["weight_map"].items() if place == file} == set(here)
        tensors |= here
    assert files == [f"model-{i + 1:05}-of-{number:05}.safetensors" for i in range(number)]
    assert index["metadata"]["total_size"] == sum(x.nbytes for x in tensors.values())
    return tensors


def make(name: str, base: Path, adapter: Path, out: Path) -> artifacts.BuiltArtifact:
    with muted():
        return artifacts.build_artifact(artifacts.find_artifact(name), base, adapter, out)


def raw(tensor: Any) -> tuple[Any, bytes]:
    """Return a tensor's number format and its bytes."""
    return tensor.dtype, tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()


def load(folder: Path) -> Any:
    with muted():
        return t.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_head_that_drafts_survives_the_merge_byte_for_byte(
    family: str, sharded: bool, tmp_path: Path
) -> None:
    base, adapter, plain = tmp_path / "base", tmp_path / "adapter", tmp_path / "plain"
    planted = save_base(base, family, sharded=sharded)
    _save_adapter(adapter, base, 1, dead=False)
    made = make("merged", base, adapter, tmp_path / "out")
    with muted():
        artifacts.save_merged(base, adapter, plain, dtype="float32")
    part = FAMILIES[family][2]

    tensors = load_tensors(tmp_path / "out")
    assert {name: raw(tensors[name]) for name in planted} == {n: raw(x) for n, x in planted.items()}
    assert set(tensors) == {*tensor_headers(plain), *planted}
    assert made.base_parts == (f"kept from base, untrained: {part} (3 tensors)",)
    config, before = (
        json.loads((f / "config.json").read_bytes()) for f in (tmp_path / "out", base)
    )
    head = ("num_nextn_predict_layers", "mtp_num_hidden_layers")
    assert [config.get(key) for key in head] == [before.get(key) for key in head]
    assert 1 in (before.get(key) for key in head)

    ids = torch.arange(2, 22)[None]
    with torch.no_grad():
        logits = [load(folder)(ids).logits for folder in (tmp_path / "out", plain, base)]
    assert torch.equal(logits[0], logits[1])
    assert not torch.allclose(logits[0], logits[2], atol=1e-2)


def test_shards_of_the_merged_model_are_renumbered(tmp_path: Path) -> None:
    base, out = tmp_path / "base", tmp_path / "out"
    planted = save_base(base, "glm4_moe", sharded=True)
    with muted():
        load(base).save_pretrained(out, max_shard_size="40KB")
    before = len(list(out.glob("*.safetensors")))
    copy_base_parts(base, out)

    assert before > 1
    assert len(list(out.glob("*.safetensors"))) == before + 2
    assert load_tensors(out).keys() >= planted.keys()


def test_an_artifact_found_again_says_what_it_has_of_base(tmp_path: Path) -> None:
    base, adapter, out = tmp_path / "base", tmp_path / "adapter", tmp_path / "out"
    save_base(base, "qwen3_next")
    (base / "LICENSE").write_text("Apache", encoding="utf-8")
    _save_adapter(adapter, base, 1, dead=False)
    first, again = (make("merged_16bit", base, adapter, out) for _ in range(2))

    assert (first.again, again.again) == (False, True)
    assert first.base_parts == ("kept from base, untrained: mtp (3 tensors), LICENSE",)
    assert again.base_parts == first.base_parts
    record = json.loads((out / artifacts.MARK).read_bytes())
    assert record["base_parts"] == list(first.base_parts)


@pytest.mark.parametrize("architecture", ["llama", "gemma", "gpt2"])
def test_nothing_is_copied_for_an_ordinary_model(
    architecture: str, tiny: Tiny, tmp_path: Path
) -> None:
    """Tied heads, old prefixes and a second copy in Mistral's layout are no lost parts."""
    from safetensors.torch import save_file

    base = shutil.copytree(tiny.base(architecture), tmp_path / "base")
    save_file({"tok_embeddings.weight": torch.zeros(2)}, base / "consolidated.safetensors")
    (base / "README.md").write_text("a card", encoding="utf-8")
    (base / "tunegate_training.json").write_text("{}", encoding="utf-8")
    adapter = tmp_path / "adapter"
    _save_adapter(adapter, base, 1, dead=False)
    made = make("merged", base, adapter, tmp_path / "out")
    with muted():
        artifacts.save_merged(base, adapter, tmp_path / "plain", dtype="float32")
    (tmp_path / "out" / artifacts.MARK).unlink()

    files = [{p.name: p.read_bytes() for p in (tmp_path / f).iterdir()} for f in ("out", "plain")]
    assert files[0] == files[1]
    assert made.base_parts == ()


@pytest.mark.parametrize("tied", [True, False])
def test_trained_embeddings_and_head_are_not_overwritten(tied: bool, tmp_path: Path) -> None:
    """Although a tied base stores its head as well."""
    from peft import LoraConfig, get_peft_model
    from safetensors.torch import load_file, save_file

    base, adapter, out = tmp_path / "base", tmp_path / "adapter", tmp_path / "out"
    save_base(base, "qwen3_5_text")
    set_keys(base / "config.json", tie_word_embeddings=tied)
    file = base / "model.safetensors"
    stored = load_file(file)
    if tied:
        stored["lm_head.weight"] = stored["model.embed_tokens.weight"].clone()
    save_file(stored, file, {"format": "pt"})
    trained = [] if tied else ["embed_tokens", "lm_head"]
    with muted():
        config = LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=trained)
        model = get_peft_model(load(base), config)
    for name, parameter in model.named_parameters():
        if "modules_to_save" in name:
            torch.nn.init.constant_(parameter, 0.5)
    with muted():
        model.save_pretrained(adapter)
    make("merged", base, adapter, out)
    tensors = load_tensors(out)

    assert ("lm_head.weight" in tensors) is not tied
    assert {"mtp.eh_proj.weight", "model.embed_tokens.weight"} <= tensors.keys()
    for name in trained:
        [weight] = (x for key, x in tensors.items() if key.endswith(f"{name}.weight"))
        assert bool((weight == 0.5).all())


def test_a_class_for_text_alone_does_not_get_the_vision_tower(tmp_path: Path) -> None:
    """Its config.json could not name it; the sentence says that it is missing."""
    from safetensors.torch import load_file, save_file

    base, out = tmp_path / "base", tmp_path / "out"
    save_base(base, "qwen3_5_text")
    with muted():
        load(base).save_pretrained(out)
    tensors = load_file(base / "model.safetensors") | {"model.visual.proj.weight": torch.ones(2)}
    save_file(tensors, base / "model.safetensors", {"format": "pt"})
    set_keys(base / "config.json", model_type="qwen3_5")
    (out / "generation_config.json").unlink()
    before = (out / "model.safetensors").read_bytes()

    assert copy_base_parts(base, out) == (
        "not kept from base, as the class is another: mtp (3 tensors), visual (1 tensor)",
    )
    assert (out / "model.safetensors").read_bytes() == before
    assert not (out / INDEX).exists()
    assert not (out / "generation_config.json").exists()


def test_a_model_whose_tensors_have_other_names_gets_nothing(tmp_path: Path) -> None:
    """Its trained layers are base's under another name."""
    from safetensors.torch import load_file, save_file

    base, out = tmp_path / "base", tmp_path / "out"
    save_base(base, "glm4_moe")
    shutil.copytree(base, out)
    file = out / "model.safetensors"
    renamed = {n.replace("model.layers", "blocks.layers"): x for n, x in load_file(file).items()}
    save_file(renamed, file, {"format": "pt"})
    before = file.read_bytes()

    [sentence] = copy_base_parts(base, out)
    assert sentence.startswith("not kept from base, as the class is another: layers.0 (")
    assert file.read_bytes() == before


def test_files_of_the_model_are_copied(tiny: Tiny, tmp_path: Path) -> None:
    """Not those of another tokenizer: the adapter's has its own template."""
    base = shutil.copytree(tiny.base(), tmp_path / "base")
    adapter = shutil.copytree(tiny.adapter(), tmp_path / "adapter")
    set_keys(base / "config.json", auto_map={"AutoModelForCausalLM": "modeling_tiny.Tiny"})
    copied = ("LICENSE.txt", "NOTICE", "modeling_tiny.py", "tokenizer.model")
    (base / "licenses").mkdir()
    for name in (*copied, "README.md", "tool_template.jinja", "training_args.bin"):
        (base / name).write_text(name, encoding="utf-8")
    make_tokenizer(template="{{ messages[0]['content'] }}").save_pretrained(adapter)
    made = make("merged", base, adapter, tmp_path / "out")
    files = {path.name for path in (tmp_path / "out").iterdir()}

    assert made.base_parts == (f"kept from base, untrained: {', '.join(copied)}",)
    assert all((tmp_path / "out" / name).read_text() == name for name in copied)
    assert not files & {"README.md", "tool_template.jinja", "training_args.bin"}
    assert (tmp_path / "out" / "chat_template.jinja").read_text() == "{{ messages[0]['content'] }}"


def test_a_lost_generation_config_is_copied(tiny: Tiny, tmp_path: Path) -> None:
    out = shutil.copytree(tiny.base(), tmp_path / "out")
    (out / "generation_config.json").unlink()

    assert copy_base_parts(tiny.base(), out) == (
        "kept from base, untrained: generation_config.json",
    )
    name = "generation_config.json"
    assert (out / name).read_bytes() == (tiny.base() / name).read_bytes()


def test_code_is_left_behind_if_the_configuration_names_none(tiny: Tiny, tmp_path: Path) -> None:
    base = shutil.copytree(tiny.base(), tmp_path / "base")
    (base / "make_model.py").write_text("pass", encoding="utf-8")

    assert make("merged", base, tiny.adapter(), tmp_path / "out").base_parts == ()


def test_four_bits_keep_the_head_in_its_format(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    base, adapter, out = tmp_path / "base", tmp_path / "adapter", tmp_path / "out"
    planted = save_base(base, "qwen3_5_text")
    _save_adapter(adapter, base, 1, dead=False)
    made = make("four_bit", base, adapter, out)
    with muted():
        arms: Any = open_arms({"base": str(base), "tuned": made.spec})
    tensors = load_tensors(out)

    assert {name: raw(tensors[name]) for name in planted} == {n: raw(x) for n, x in planted.items()}
    assert arms["tuned"].identity["dtype"] == "float32, 4-bit bitsandbytes"
    assert arms["tuned"].probe(arms["tuned"].probe_ids()).isfinite().all()


def test_the_converter_reads_the_head_and_the_vocabulary(tmp_path: Path) -> None:
    base, adapter, out = tmp_path / "base", tmp_path / "adapter", tmp_path / "out"
    planted = save_base(base, "glm4_moe")
    (base / "tokenizer.model").write_text("words", encoding="utf-8")
    _save_adapter(adapter, base, 1, dead=False)
    out.mkdir()
    with muted(), gguf._merged(base, adapter, out) as whole:
        assert {*tensor_headers(whole)} >= planted.keys()
        assert (whole / "tokenizer.model").read_text(encoding="utf-8") == "words"


@pytest.mark.parametrize("peft", ["none", "lora"])
def test_a_full_fine_tune_keeps_the_head_and_its_card_says_so(
    peft: str, tmp_path: Path, write_rows: Callable[..., Path]
) -> None:
    base, out = tmp_path / "base", tmp_path / "out"
    planted = save_base(base, "qwen3_5_text")
    rows = write_rows(rows=[{"prompt": f"refund {i}", "completion": " yes"} for i in range(4)])
    argv = ["--model_name_or_path", str(base), "--train_files", str(rows), "--output_dir", str(out)]
    argv += ["--max_steps", "1", "--learning_rate", "1e-2", "--save_strategy", "no"]
    argv += ["--peft", peft, *(["--lora_target_modules", "all-linear"] if peft == "lora" else [])]
    lines: list[str] = []
    with muted():
        assert run_method(sft.METHOD, argv, say=lines.append) == 0
    sentences = ("kept from base, untrained: mtp (3 tensors)",) if peft == "none" else ()

    assert read_card(out).base_parts == sentences
    assert [line for line in lines if "from base, untrained" in line] == list(sentences)
    assert ("mtp.eh_proj.weight" in tensor_headers(out)) is (peft == "none")
    if peft == "none":
        tensors = load_tensors(out)
        assert {n: raw(tensors[n]) for n in planted} == {n: raw(x) for n, x in planted.items()}
