"""Export losses: each planted loss is named on each family, and honest copies lose nothing."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.base_families.families import FAMILIES, model_class, save_family
from tests.gguf_files import needs_gguf, rewritten, set_keys
from tests.gguf_writer import write_gguf
from tests.tiny_models import Tiny
from tunegate.harness.checks.export_losses import (
    contents_of,
    export_losses,
    find_export_losses,
    refuse_broken_exports,
)
from tunegate.harness.models._folder_contents import folder_contents
from tunegate.harness.records.errors import ModelError, NotComparable

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

HELD = ("Llama", "Qwen3", "SmolLM3", "Gemma2", "Gemma3", "Phi3", "Mistral", "Qwen3Moe", "Mixtral",
        "DeepseekV3", "Qwen3VL+", "Gemma3+", "Mistral3+")  # fmt: skip
"""Families whose folders are planted with losses."""
SAMPLING = {"temperature": 0.7, "top_p": 0.8, "repetition_penalty": 1.05}
TEMPLATE = "{% if tools %}{{ tools }}{% endif %}{% if enable_thinking %}<think>{% endif %}"


def losses(base: Path, export: Path) -> list[str]:
    """Return what is told of an export."""
    return [loss.sentence for loss in export_losses(folder_contents(base), folder_contents(export))]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a family with all that an export may lose, made once a session."""
    made: dict[str, Path] = {}

    def make(family: str) -> Path:
        if family not in made:
            out = made[family] = tmp_path_factory.mktemp("family") / "base"
            save_family(family, out)
            set_keys(out / "generation_config.json", **SAMPLING)
            (out / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
            (out / "preprocessor_config.json").write_text('{"do_resize": true}', encoding="utf-8")
            _add_tensors(out, {"mtp.layers.0.mlp.up_proj.weight": torch.zeros(2)})
        return made[family]

    return make


def _tensors(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def _write(folder: Path, tensors: dict[str, Any]) -> None:
    from safetensors.torch import save_file

    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _add_tensors(folder: Path, more: dict[str, Any]) -> None:
    _write(folder, {**_tensors(folder), **more})


def _keep_tensors(folder: Path, keep: Callable[[str], bool]) -> None:
    _write(folder, {name: tensor for name, tensor in _tensors(folder).items() if keep(name)})


def _edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value.get("text_config", value) if path.name == "config.json" else value)
    path.write_text(json.dumps(value), encoding="utf-8")


def _lose_mtp(out: Path) -> None:
    _keep_tensors(out, lambda name: not name.startswith("mtp."))


def _lose_context(out: Path) -> None:
    _edit(out / "config.json", lambda text: text.update(max_position_embeddings=32))


def _lose_rope(out: Path) -> None:
    rope = {"rope_type": "default", "rope_theta": 5.0}
    _edit(out / "config.json", lambda text: text.update(rope_parameters=rope))


def _untie(out: Path) -> None:
    set_keys(out / "config.json", tie_word_embeddings=False)
    _edit(out / "config.json", lambda text: text.update(tie_word_embeddings=False))
    _keep_tensors(out, lambda name: not name.endswith("lm_head.weight"))


def _tie(out: Path) -> None:
    set_keys(out / "config.json", tie_word_embeddings=True)
    embedding = next(v for n, v in _tensors(out).items() if n.endswith("embed_tokens.weight"))
    _add_tensors(out, {"lm_head.weight": embedding + 1})


def _lose_token(out: Path) -> None:
    def drop(tokenizer: dict[str, Any]) -> None:
        tokenizer["added_tokens"] = tokenizer["added_tokens"][:1]

    _edit(out / "tokenizer.json", drop)


def _lose_rows(out: Path) -> None:
    name, rows = next((n, v) for n, v in _tensors(out).items() if n.endswith("embed_tokens.weight"))
    _add_tensors(out, {name: rows[:300].contiguous()})


def _lose_stops(out: Path) -> None:
    set_keys(out / "generation_config.json", eos_token_id=0)


def _lose_sampling(out: Path) -> None:
    (out / "generation_config.json").unlink()


def _lose_template(out: Path) -> None:
    (out / "chat_template.jinja").unlink()


def _lose_branches(out: Path) -> None:
    (out / "chat_template.jinja").write_text("{{ messages }}", encoding="utf-8")


def _lose_processor(out: Path) -> None:
    (out / "preprocessor_config.json").unlink()


def _lose_quantisation(out: Path) -> None:
    _write(out, {name: tensor.to(torch.int8) for name, tensor in _tensors(out).items()})


PLANTED: dict[str, tuple[Callable[[Path], None], str]] = {
    "MTP": (_lose_mtp, r"its files lack mtp of base, a head that drafts \(MTP\)"),
    "context": (_lose_context, r"its context is 32 tokens, base's 256"),
    "rope": (_lose_rope, r"rotary positions are not base's \(.*rope_theta"),
    "untied": (_untie, r"tie_word_embeddings is false .* no output head"),
    "tied": (_tie, r"tie_word_embeddings is true .* not a copy"),
    "token": (_lose_token, r"its tokenizer lacks <\|start\|> of base"),
    "rows": (_lose_rows, r"its embeddings have 300 rows, and its tokenizer ids up to 319"),
    "stops": (_lose_stops, r"its list of stop tokens lacks 9, 33"),
    "sampling": (_lose_sampling, r"lacks base's temperature 0.7, top_p 0.8, repetition_pen"),
    "template": (_lose_template, r"it lacks a chat template of base"),
    "branches": (_lose_branches, r"does not read 'tools'"),
    "processor": (_lose_processor, r"it lacks base's preprocessing of images"),
    "quantisation": (_lose_quantisation, r"packed \(I8\), and config.json has no quant"),
}


@pytest.mark.parametrize("loss", PLANTED)
@pytest.mark.parametrize("family", HELD)
def test_a_planted_loss_is_named(
    tmp_path: Path, folder: Callable[[str], Path], family: str, loss: str
) -> None:
    plant, told = PLANTED[loss]
    export = Path(shutil.copytree(folder(family), tmp_path / "export"))
    plant(export)

    assert any(re.search(told, sentence) for sentence in losses(folder(family), export))


@pytest.mark.parametrize("family", [family for family in HELD if family.endswith("+")])
def test_a_lost_vision_tower_is_named_and_refused_only_for_cases_with_images(
    tmp_path: Path, folder: Callable[[str], Path], family: str
) -> None:
    export = Path(shutil.copytree(folder(family), tmp_path / "export"))
    _keep_tensors(export, lambda name: not re.search(r"vision|visual", name))
    found = find_export_losses({"base": str(folder(family)), "tuned": str(export)})
    suites: list[Any] = [
        SimpleNamespace(cases=[SimpleNamespace(images=images)]) for images in ((), ("a.png",))
    ]

    assert any("a vision tower" in loss.what for loss in found["tuned"])
    refuse_broken_exports(found, suites[:1])
    with pytest.raises(NotComparable, match=r"a vision tower.*1 case"):
        refuse_broken_exports(found, suites)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_that_transformers_saved_again_has_lost_nothing(
    tmp_path: Path, family: str
) -> None:
    base, again = tmp_path / "base", tmp_path / "again"
    save_family(family, base)
    model_class(family).from_pretrained(base).save_pretrained(again)
    for path in base.glob("*token*"):
        shutil.copy(path, again)
    shutil.copy(base / "chat_template.jinja", again)

    assert losses(base, again) == []


@pytest.mark.parametrize(
    ("model", "tensor", "part"),
    [
        ("Qwen3NextForCausalLM", "mtp.layers.0.mlp.up_proj.weight", "mtp"),
        # A head that drafts is numbered as a further layer.
        ("Glm4MoeForCausalLM", "model.layers.46.eh_proj.weight", "layers.46"),
        ("LongcatFlashForCausalLM", "model.mtp.layers.0.eh_proj.weight", "mtp"),
    ],
)
def test_a_head_that_transformers_itself_leaves_out_is_named(
    tmp_path: Path, tiny: Tiny, model: str, tensor: str, part: str
) -> None:
    left_out = getattr(transformers, model)._keys_to_ignore_on_load_unexpected
    base = Path(shutil.copytree(tiny.base(), tmp_path / "base"))
    _add_tensors(base, {tensor: torch.zeros(2)})

    assert any(re.search(pattern, tensor) for pattern in left_out)
    told = f"its files lack {part} of base, a head that drafts (MTP)"
    assert [s for s in losses(base, tiny.base()) if s.startswith(told)]


@pytest.mark.parametrize("more", ["lm_head.weight", "model.rotary_emb.inv_freq"])
def test_a_copy_of_the_embeddings_and_old_buffers_are_no_loss(
    tmp_path: Path, tiny: Tiny, more: str
) -> None:
    export = tiny.base("gemma")
    base = Path(shutil.copytree(export, tmp_path / "base"))
    _add_tensors(base, {more: _tensors(base)["model.embed_tokens.weight"].clone()})

    assert losses(base, export) == []


def test_sampling_that_changes_nothing_is_no_loss(tmp_path: Path, tiny: Tiny) -> None:
    base = Path(shutil.copytree(tiny.base(), tmp_path / "base"))
    set_keys(base / "generation_config.json", temperature=1.0, top_p=1, top_k=0)

    assert losses(base, tiny.base()) == []


def test_a_fine_tune_that_ends_at_another_token_has_lost_none(tmp_path: Path, tiny: Tiny) -> None:
    export = Path(shutil.copytree(tiny.base(), tmp_path / "export"))
    set_keys(export / "generation_config.json", eos_token_id=[1])

    assert losses(tiny.base(), export) == []


def test_an_adapter_and_base_itself_are_not_compared(tiny: Tiny) -> None:
    base = str(tiny.base())

    assert contents_of(str(tiny.adapter())) is None
    assert find_export_losses({"base": base, "tuned": str(tiny.adapter()), "shipped": base}) == {}


def test_a_contradiction_is_refused_unless_it_is_allowed(tmp_path: Path, tiny: Tiny) -> None:
    export = Path(shutil.copytree(tiny.base("gemma"), tmp_path / "export"))
    _tie(export)
    found = find_export_losses({"base": str(tiny.base("gemma")), "tuned": str(export)})

    with pytest.raises(NotComparable, match=r"^tuned: tie_word_embeddings is true in config\.json"):
        refuse_broken_exports(found, ())
    refuse_broken_exports(found, (), allowed="tie_word_embeddings")


def test_a_rope_that_may_differ_is_no_loss(tmp_path: Path, tiny: Tiny) -> None:
    base, export = tiny.base(), Path(shutil.copytree(tiny.base(), tmp_path / "export"))
    config = json.loads((export / "config.json").read_text())
    config["rope_parameters"]["rope_theta"] = 5e5
    (export / "config.json").write_text(json.dumps(config))
    specs = {"base": str(base), "tuned": str(export)}

    assert len(find_export_losses(specs)["tuned"]) == 1
    assert find_export_losses(specs, allowed="sliding_window, rope_parameters") == {}


def test_files_that_are_no_model_are_one_line(tmp_path: Path, tiny: Tiny) -> None:
    export = Path(shutil.copytree(tiny.base(), tmp_path / "export"))
    (export / "tokenizer.json").write_text('{"added_tokens": [3]}', encoding="utf-8")

    with pytest.raises(ModelError, match=r"export: not readable as a model"):
        contents_of(str(export))


@needs_gguf
def test_a_gguf_file_of_base_has_lost_nothing_but_what_it_cannot_hold(
    tmp_path: Path, tiny: Tiny
) -> None:
    file = tmp_path / "model.gguf"
    write_gguf(tiny.base(), file, "F32")

    found = find_export_losses({"base": str(tiny.base()), "tuned": f"gguf:{file}"})

    assert found == {}


@needs_gguf
@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"llama.context_length": 32}, "its context is 32 tokens, base's 256"),
        ({"llama.rope.freq_base": 500000}, "rope_theta 10000.0 is 500000"),
        (
            {f"tokenizer.ggml.{end}_token_id": None for end in ("eos", "eot", "eom")},
            "its list of stop tokens lacks",
        ),
        ({"tokenizer.chat_template": None}, "it lacks a chat template of base"),
        ({"tokenizer.chat_template": "{{ messages }}"}, "does not read 'tools'"),
    ],
)
def test_what_a_gguf_file_lost_is_named_by_its_metadata(
    tmp_path: Path, tiny: Tiny, fields: dict[str, Any], told: str
) -> None:
    base = Path(shutil.copytree(tiny.base(), tmp_path / "base"))
    (base / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    write_gguf(base, tmp_path / "whole.gguf", "F32")
    file = rewritten(tmp_path / "whole.gguf", tmp_path / "model.gguf", **fields)

    found = find_export_losses({"base": str(base), "tuned": f"llama-server:{file}"})

    assert any(told in loss.sentence for loss in found["tuned"])


@needs_gguf
def test_a_gguf_file_without_a_head_that_drafts_is_named(tmp_path: Path, tiny: Tiny) -> None:
    base = Path(shutil.copytree(tiny.base(), tmp_path / "base"))
    _add_tensors(base, {"mtp.layers.0.mlp.up_proj.weight": torch.zeros(2)})
    write_gguf(tiny.base(), tmp_path / "model.gguf", "F32")

    found = find_export_losses({"base": str(base), "tuned": f"gguf:{tmp_path / 'model.gguf'}"})

    assert ["MTP" in loss.what for loss in found["tuned"]] == [True]
