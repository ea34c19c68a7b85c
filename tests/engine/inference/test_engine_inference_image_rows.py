"""Answers about images, against what Transformers itself writes."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.base_families.seeing import FAMILIES, save_seeing
from tests.tiny_models import muted
from tests.tiny_vlm import (
    LANGUAGE,
    VISION,
    picture_case,
    pictures,
    save_vlm,
    save_vlm_adapter,
)
from tunegate.harness.contracts.model import Request
from tunegate.harness.engine.inference import fallbacks, local_engine
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.records.answers import Cell, CellKind
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import ModelError
from tunegate.harness.records.generation import GenerationSettings

pytest.importorskip("PIL")
NEW_TOKENS = 12
TEXTS = ("a", "the parcel", "a refund for the parcel that never came", "12", "Spain")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_vlm(tmp_path_factory.mktemp("vlm"))


def cases() -> list[Case]:
    """Ten cases with one or two pictures, and one without."""
    shown = pictures() * 2
    seen = [picture_case(str(i), shown[i % 4 :][: 1 + i % 2], TEXTS[i % 5]) for i in range(10)]
    return [*seen[:4], Case(id="text", prompt="the parcel"), *seen[4:]]


def requests(arm: Any, asked: list[Case], **generation: Any) -> list[Request]:
    settings = GenerationSettings(max_new_tokens=NEW_TOKENS, **generation)
    return [
        Request(
            Cell(suite="s", case=case.id, arm="", kind=CellKind.GENERATE, key=case.id),
            case=case,
            prompt=arm.prompt(case, settings),
            generation=settings,
            seed=i,
        )
        for i, case in enumerate(asked)
    ]


def answers(arm: Any, asked: list[Case], **generation: Any) -> dict[str, str | None]:
    made = list(local_engine.complete_requests(arm, requests(arm, asked, **generation)))
    assert [one.error for one in made] == [None] * len(asked)
    return {one.key: one.completion.text for one in made if one.completion}


def by_hand(folder: Path, adapter: Path | None, asked: list[Case], stops: Any) -> dict[str, str]:
    """What `generate` writes about each case alone, as the documentation of Transformers does it.

    The model is loaded by Transformers and PEFT alone.
    """
    import torch
    from PIL import Image
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processor: Any = AutoProcessor.from_pretrained(folder)  # type: ignore[no-untyped-call]
    model: Any = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    if adapter:
        from peft import PeftModel

        with muted():
            model = PeftModel.from_pretrained(model, adapter)
    model.eval()
    written = {}
    for case in asked:
        shown = [{"type": "image", "image": Image.open(io.BytesIO(i.read()))} for i in case.images]
        said = case.messages[0]["content"][-1]["text"] if case.messages else case.prompt
        turn = {"role": "user", "content": [*shown, {"type": "text", "text": said}]}
        inputs = processor.apply_chat_template(
            [turn],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        made = model.generate(
            **inputs,
            do_sample=False,
            max_new_tokens=NEW_TOKENS,
            eos_token_id=sorted(stops),
            pad_token_id=0,
        )
        ids = made[0, inputs["input_ids"].shape[1] :].tolist()
        end = next((i for i, token in enumerate(ids) if token in stops), len(ids))
        written[case.id] = processor.tokenizer.decode(ids[:end], skip_special_tokens=True)
    return written


@pytest.mark.parametrize(
    ("targets", "whole"),
    [(LANGUAGE, None), (VISION, None), ("all-linear", ["multi_modal_projector"])],
    ids=["language", "vision", "all and the projector"],
)
def test_answers_are_those_of_generate_and_base_with_the_adapter_off_is_a_fresh_base(
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    targets: str,
    whole: list[str] | None,
) -> None:
    adapter = save_vlm_adapter(tmp_path / "adapter", base, targets=targets, whole=whole)
    arms: Any = open_arms({"base": str(base), "tuned": str(adapter)})
    asked, stops = cases(), arms["base"].stop_ids

    assert arms["base"].loaded is arms["tuned"].loaded
    own = by_hand(base, None, asked, stops)
    tuned = by_hand(base, adapter, asked, stops)
    for width in (1, 3, 8):
        monkeypatch.setattr(fallbacks, "WIDTH", width)
        assert answers(arms["tuned"], asked) == tuned
        assert answers(arms["base"], asked) == own
    assert len(set(own.values())) >= 9
    assert sum(own[k] != tuned[k] for k in own if k != "text") >= 8
    assert (own["text"] == tuned["text"]) is (targets == VISION)


@pytest.mark.parametrize(
    "family",
    [
        name if name == "Idefics3" else pytest.param(name, marks=pytest.mark.long)
        for name in FAMILIES
    ],
)
def test_each_family_writes_what_generate_writes(family: str, tmp_path: Path) -> None:
    try:
        folder = save_seeing(family, tmp_path / "base")
    except ImportError as error:
        pytest.skip(f"its processor lacks torchvision: {error}")
    adapter = save_vlm_adapter(tmp_path / "adapter", folder, targets="all-linear")
    arms: Any = open_arms({"base": str(folder), "tuned": str(adapter)})
    asked, stops = cases(), arms["base"].stop_ids
    for name, trained in (("tuned", adapter), ("base", None)):
        written = answers(arms[name], asked)
        assert written == by_hand(folder, trained, asked, stops)
    assert any(written[str(i)] != written[str(i + 5)] for i in range(5))  # same text


def test_rows_that_sample_draw_with_their_own_seed_whatever_their_neighbours(base: Path) -> None:
    arm: Any = open_arms({"base": str(base), "tuned": str(base)})["base"]
    together = answers(arm, cases(), temperature=1.0)
    drawn = requests(arm, cases(), temperature=1.0)[7]
    [alone] = local_engine.complete_requests(arm, [drawn])
    assert alone.completion is not None
    assert alone.completion.text == together[drawn.case.id]
    assert alone.completion.text != answers(arm, [drawn.case])[drawn.case.id]


def test_a_stop_text_ends_a_row_and_penalties_of_the_model_change_nothing(base: Path) -> None:
    arm: Any = open_arms({"base": str(base), "tuned": str(base)})["base"]
    plain = answers(arm, cases())
    arm.loaded.torch_model.generation_config.repetition_penalty = 5.0
    try:
        assert answers(arm, cases()) == plain
        assert arm.loaded.torch_model.generation_config.repetition_penalty == 5.0
    finally:
        arm.loaded.torch_model.generation_config.repetition_penalty = None
    text = str(plain["3"])
    assert answers(arm, cases(), stop=(text[4:7],))["3"] == text.partition(text[4:7])[0]


def test_a_picture_that_was_changed_stops_the_run_in_one_line(base: Path, tmp_path: Path) -> None:
    arm: Any = open_arms({"base": str(base), "tuned": str(base)})["base"]
    file = tmp_path / "1.png"
    file.write_bytes(pictures()[0])
    case = picture_case("a", pictures()[:1])
    case = case.with_images(list(case.messages or ()), [replace(case.images[0], source=file)])
    asked = requests(arm, [case])
    file.write_bytes(pictures()[1])
    with pytest.raises(ModelError, match=r"^image 0\.png: was changed since the suite was read$"):
        list(local_engine.complete_requests(arm, asked))
