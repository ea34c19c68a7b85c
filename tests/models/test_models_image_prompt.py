"""Prompts with images, and the models and processors that take them."""

from __future__ import annotations

import io
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_vlm import picture_case, pictures, save_vlm, save_vlm_adapter
from tunegate.harness.checks.comparability import check_comparability
from tunegate.harness.models import _image_prompt, _model_folder
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.records.answers import GENERATED
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import MissingExtra, ModelError, NotComparable
from tunegate.harness.records.generation import GenerationSettings

pytest.importorskip("PIL")
SETTINGS = GenerationSettings()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_vlm(tmp_path_factory.mktemp("vlm"))


def opened(folder: Path) -> Any:
    return open_arms({"base": str(folder), "tuned": str(folder)})["base"]


def test_a_prompt_has_a_token_for_each_part_of_its_images_and_a_hash_of_what_is_seen(
    base: Path,
) -> None:
    arm, shown = opened(base), pictures()
    one, two, other = (
        arm.prompt(picture_case("a", images), SETTINGS)
        for images in (shown[:1], shown[:2], shown[1:2])
    )
    seen = arm.tokenizer.convert_tokens_to_ids("<image>")
    assert one.text == "<|start|>user\n<image>the parcel<|end|>\n<|start|>assistant\n"
    assert (one.token_ids.count(seen), two.token_ids.count(seen)) == (4, 8)
    assert one.token_ids == other.token_ids
    assert not one.equals(other)
    assert one.sha256 != other.sha256
    assert one == arm.prompt(picture_case("b", shown[:1]), SETTINGS)
    assert arm.prompt(Case(id="t", prompt="the parcel"), SETTINGS).images == ()


def test_a_transparent_image_is_seen_on_white_and_a_turned_photo_upright(base: Path) -> None:
    from PIL import Image

    clear, white, turned, upright = (io.BytesIO() for _ in range(4))
    Image.new("RGBA", (16, 16), (0, 0, 0, 0)).save(clear, "PNG")
    Image.new("RGB", (16, 16), "white").save(white, "PNG")
    photo = Image.linear_gradient("L").resize((16, 16))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    photo.save(turned, "PNG", exif=exif)
    photo.transpose(Image.Transpose.ROTATE_270).save(upright, "PNG")
    arm = opened(base)
    hashes = [
        arm.prompt(picture_case("a", [file.getvalue()]), SETTINGS).images
        for file in (clear, white, turned, upright)
    ]
    assert hashes[0] == hashes[1] != hashes[2] == hashes[3]


def test_arms_that_prepare_images_differently_get_different_prompts(
    base: Path, tmp_path: Path
) -> None:
    adapter = save_vlm_adapter(tmp_path / "adapter", base)
    settings = json.loads((base / "processor_config.json").read_bytes())
    settings["image_processor"]["image_mean"] = [0.5, 0.5, 0.5]
    (adapter / "processor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (adapter / name).write_bytes((base / name).read_bytes())
    arms: Any = open_arms({"base": str(base), "tuned": str(adapter)})
    case = picture_case("a", pictures()[:1])
    one, other = (arms[name].prompt(case, SETTINGS) for name in ("base", "tuned"))
    assert one.token_ids == other.token_ids
    prompts = {("s", "a", "base"): one, ("s", "a", "tuned"): other}
    with pytest.raises(NotComparable, match="base and tuned prepare the same images differently"):
        check_comparability(prompts, arms)


def test_a_model_that_sees_writes_about_images_and_gives_no_likelihoods(
    base: Path, tiny: Any
) -> None:
    assert opened(base).image_kinds == GENERATED
    assert opened(tiny.base()).image_kinds == frozenset()


def test_virtual_tokens_with_images_are_refused(base: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    arm = replace(opened(base))
    arm.__dict__["_adapter_config"] = {"num_virtual_tokens": 4}
    with pytest.raises(ModelError, match="its virtual tokens are not computed together with im"):
        _ = arm.image_kinds


def test_what_is_missing_to_prepare_images_is_named(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    import transformers

    folder = tmp_path / "model"
    shutil.copytree(base, folder)
    (folder / "processor_config.json").unlink()
    arm = opened(folder)
    with pytest.raises(ModelError, match=r"model: no preprocessor_config\.json or processor_conf"):
        _ = arm.image_kinds

    def lacks(*_: Any, **__: Any) -> None:
        raise ImportError("\nXProcessor requires the Torchvision library. Check out the\npage")

    monkeypatch.setattr(transformers.AutoProcessor, "from_pretrained", lacks)
    with pytest.raises(ModelError, match=r": XProcessor requires the Torchvision library; install"):
        _ = opened(base).image_kinds
    monkeypatch.setattr(
        _model_folder.importlib.util, "find_spec", lambda n: (n != "PIL" and find_spec(n)) or None
    )
    with pytest.raises(MissingExtra, match=r"tunegate\[images\]"):
        _image_prompt.load_processor(base, None)


PARTS_ONLY = (
    "{% for message in messages %}<|start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{{ part['text'] }}{% endfor %}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)


def test_a_template_that_reads_parts_alone_is_given_parts(base: Path) -> None:
    arm = opened(base)
    arm.tokenizer.chat_template = PARTS_ONLY
    settings = GenerationSettings(system="be brief")
    assert arm.prompt(Case(id="t", prompt="the parcel"), settings).text == (
        "<|start|>system\nbe brief<|end|>\n<|start|>user\nthe parcel<|end|>\n<|start|>assistant\n"
    )


def test_the_template_that_only_processors_read_is_that_of_texts_too(
    base: Path, tmp_path: Path
) -> None:
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(base, folder)
    template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    (folder / "chat_template.jinja").unlink()
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}), "utf-8")
    case = Case(id="t", prompt="the parcel")
    assert opened(folder).prompt(case, SETTINGS) == opened(base).prompt(case, SETTINGS)
