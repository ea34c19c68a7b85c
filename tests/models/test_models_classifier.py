"""Classifiers as arms: what they answer, which heads are lost, how an adapter shares a load."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.tiny_classifiers import (
    LABELS,
    drop_tensors,
    edit_json,
    save_classifier,
    save_head_adapter,
)
from tests.tiny_models import make_tokenizer, muted
from tunegate.harness.checks.comparability import refuse_other_cuts
from tunegate.harness.checks.liveness import check_liveness
from tunegate.harness.contracts.model import Arm, ClassifierArm, LocalArm, Request
from tunegate.harness.models.classifier import classifier
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.records.answers import Cell, CellKind, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import ModelError, NotComparable, UsageError
from tunegate.harness.records.generation import GenerationSettings

Copy = Callable[..., Path]
TEXTS = ("the parcel is late", "a refund for the customer", "the capital of Spain", "late")
ONE = GenerationSettings()


@pytest.fixture(name="whole", scope="module")
def _whole(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_classifier(tmp_path_factory.mktemp("whole") / "model", tiny.base())


@pytest.fixture(name="adapter", scope="module")
def _adapter(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that brings its head to a base without one."""
    return save_head_adapter(tmp_path_factory.mktemp("adapter") / "lora", tiny.base())


def opened(tuned: Path | str, base: Path | str) -> dict[str, Arm]:
    return open_arms({"base": f"classifier:{base}", "tuned": f"classifier:{tuned}"})


def answers(arm: Arm, *cases: Case) -> list[StoredAnswer]:
    """Return the arm's answers to cases, in their order."""
    requests = [
        Request(
            Cell(suite="s", case=case.id, arm="tuned", kind=CellKind.GENERATE, key=case.id),
            case, arm.prompt(case, ONE), ONE, 0,
        )
        for case in cases
    ]  # fmt: skip
    found = {answer.cell.case: answer for answer in arm.complete(requests)}
    return [found[case.id] for case in cases]


def cases(*texts: str) -> list[Case]:
    return [Case(id=f"c{i}", prompt=text) for i, text in enumerate(texts)]


def by_hand(folder: Path, *texts: Any) -> Any:
    """Return the logits by Transformers alone, one text at a time."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model: Any = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        rows = [model(**tokenizer(*text, return_tensors="pt")).logits[0] for text in texts]
    return torch.stack(rows).double()


def test_labels_and_probabilities_are_those_of_transformers(whole: Path, adapter: Path) -> None:
    arm = opened(adapter, whole)["base"]
    wanted = by_hand(whole, *((text,) for text in TEXTS)).softmax(-1)

    for answer, row in zip(answers(arm, *cases(*TEXTS)), wanted, strict=True):
        completion = answer.completion
        assert completion is not None
        assert completion.text == LABELS[int(row.argmax())]
        assert completion.label_probabilities == pytest.approx(
            dict(zip(LABELS, row.tolist(), strict=True)), abs=1e-6
        )
        assert completion.output_tokens is None
    assert isinstance(arm, ClassifierArm)
    assert not isinstance(arm, LocalArm)


def test_context_is_the_second_text_of_a_pair(whole: Path, adapter: Path) -> None:
    arm = opened(adapter, whole)["base"]
    [found] = answers(arm, Case(id="pair", prompt="the parcel", context="is late"))
    [row] = by_hand(whole, ("the parcel", "is late")).softmax(-1)

    assert found.completion is not None
    assert found.completion.label_probabilities == pytest.approx(
        dict(zip(LABELS, row.tolist(), strict=True)), abs=1e-6
    )


def test_an_adapter_brings_its_head_and_its_labels(whole: Path, adapter: Path, tiny: Any) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model: Any = AutoModelForSequenceClassification.from_pretrained(tiny.base(), num_labels=3)
    with muted():
        model = PeftModel.from_pretrained(model, adapter).eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny.base())
    with torch.inference_mode():
        logits = model(**tokenizer(TEXTS[0], return_tensors="pt")).logits[0]
    arm: Any = opened(adapter, whole)["tuned"]
    [found] = answers(arm, *cases(TEXTS[0]))

    assert arm.labels == LABELS
    assert found.completion is not None
    assert list((found.completion.label_probabilities or {}).values()) == pytest.approx(
        logits.double().softmax(-1).tolist(), abs=1e-6
    )


def test_an_adapter_of_a_classifier_shares_its_load(whole: Path, tmp_path: Path) -> None:
    arms: dict[str, Any] = opened(save_head_adapter(tmp_path / "lora", whole), whole)

    assert arms["base"].loaded is arms["tuned"].loaded
    proof = check_liveness(arms)["tuned"]
    assert proof["status"] == "proven"
    assert proof["switching_off_restores_base"] == "exactly"
    assert proof["largest_logit_change"] > 0


def test_the_first_positions_of_roberta_are_not_for_tokens(tmp_path: Path) -> None:
    """With max_position_embeddings of 514 it reads 512 tokens; here 130 and 128."""
    from transformers import RobertaConfig, RobertaForSequenceClassification

    tokenizer = make_tokenizer()
    config = RobertaConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=130, pad_token_id=1,
    )  # fmt: skip
    RobertaForSequenceClassification(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    arm = classifier(str(tmp_path))
    texts = {len(tokenizer("7" * size)["input_ids"]): "7" * size for size in range(1, 400)}
    fits, too_long = answers(arm, *cases(texts[128], texts[129]))

    assert arm.context_length == 128
    assert fits.completion is not None
    assert fits.completion.input_tokens == 128
    assert "the classifier reads 128" in (too_long.error or "")


@pytest.mark.parametrize(
    ("labels", "note"),
    [(LABELS, "only one of them reads texts"), (("a", "b"), "the labels differ")],
)
def test_a_base_that_reads_nothing_is_compared(
    whole: Path, tmp_path: Path, labels: Sequence[str], note: str
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(f'{{"label": "{name}"}}\n' for name in labels), encoding="utf-8")
    arms = open_arms({"base": f"majority:{rows}", "tuned": f"classifier:{whole}"})

    assert check_liveness(arms)["tuned"]["note"] == note


def test_an_adapter_that_changes_nothing_is_named(whole: Path, tmp_path: Path) -> None:
    arms = opened(save_head_adapter(tmp_path / "lora", whole, dead=True), whole)

    with pytest.raises(NotComparable, match="lora_B is all zeros"):
        check_liveness(arms)


def test_a_whole_model_without_its_head_is_refused(whole: Path, copied: Copy) -> None:
    lost = copied(whole)
    drop_tensors(lost, "score.")

    with pytest.raises(ModelError, match=r"its head is lost: score\.weight is missing"):
        opened(lost, whole)


def test_a_language_model_is_no_classifier(whole: Path, tiny: Any) -> None:
    with pytest.raises(ModelError, match=r"its head is lost: score\.weight"):
        opened(tiny.base(), whole)


def test_an_adapter_without_its_head_is_refused_by_name(
    whole: Path, adapter: Path, copied: Copy
) -> None:
    lost = copied(adapter)
    drop_tensors(lost, "score")

    with pytest.raises(ModelError, match=r"huggingface/peft#577, #2171") as caught:
        opened(lost, whole)
    assert "its head is lost: score.weight is neither in the adapter nor in its base" in str(
        caught.value
    )


def test_a_head_that_the_configuration_does_not_name_is_loaded(
    whole: Path, adapter: Path, copied: Copy
) -> None:
    """PEFT alone would leave the head at random numbers."""
    silent = copied(adapter)
    edit_json(silent / "adapter_config.json", modules_to_save=None, task_type=None)
    arms = [opened(folder, whole)["tuned"] for folder in (silent, adapter)]
    one, other = (answers(arm, *cases(*TEXTS)) for arm in arms)

    assert [a.completion.label_probabilities for a in one if a.completion] == [
        a.completion.label_probabilities for a in other if a.completion
    ]


def test_a_head_of_zeros_is_dead(whole: Path, copied: Copy) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    dead = copied(whole)
    tensors = load_file(dead / "model.safetensors")
    tensors["score.weight"] = torch.zeros_like(tensors["score.weight"])
    save_file(tensors, dead / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(NotComparable, match="the same outputs for every text"):
        check_liveness(opened(dead, whole))


def test_the_same_classifier_twice_is_refused(whole: Path) -> None:
    with pytest.raises(NotComparable, match="identical"):
        check_liveness(opened(whole, whole))


def test_labels_must_be_those_of_the_head(whole: Path, adapter: Path, copied: Copy) -> None:
    wrong = copied(adapter)
    edit_json(wrong / "config.json", id2label={"0": "refund", "1": "other"})

    with pytest.raises(ModelError, match="id2label names 2 labels, and the head has 3 outputs"):
        opened(wrong, whole)


def test_spaces_around_a_label_do_not_count(whole: Path, adapter: Path, copied: Copy) -> None:
    spaced = copied(adapter)
    edit_json(spaced / "config.json", id2label={"0": " delivery", "1": "other ", "2": "refund"})

    assert opened(spaced, whole)["tuned"].labels == LABELS  # type: ignore[attr-defined]


def test_long_texts_are_refused_or_cut_as_deployed(whole: Path, adapter: Path) -> None:
    long = cases("late " * 300)
    [refused] = answers(opened(adapter, whole)["base"], *long)
    [cut] = answers(opened(adapter, f"{whole}?max_length=8")["base"], *long)

    assert refused.error is not None
    assert "the classifier reads 256" in refused.error
    assert "?max_length=256" in refused.error
    assert cut.completion is not None
    assert cut.completion.input_tokens == 8


@pytest.mark.parametrize(
    ("query", "message"),
    [("?max_len=8", "unknown option 'max_len'"), ("?max_length=0", "a whole number above 0")],
)
def test_wrong_options_are_refused(whole: Path, query: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        opened(f"{whole}{query}", whole)


@pytest.mark.parametrize(
    ("case", "settings", "message"),
    [
        ({"messages": [{"role": "user", "content": "hi"}]}, {}, "takes no messages"),
        ({"prompt": "hi", "tools": [{}]}, {}, "takes no tools"),
        ({"prompt": "hi"}, {"system": "Be kind."}, "takes no system prompt"),
        ({"prompt": "hi"}, {"temperature": 0.7}, "does not sample"),
    ],
)
def test_what_only_a_model_that_writes_takes_is_refused(
    whole: Path, adapter: Path, case: Any, settings: Any, message: str
) -> None:
    arm = opened(adapter, whole)["base"]
    with pytest.raises(ValueError, match=message):
        arm.prompt(Case(id="a", **case), GenerationSettings(**settings))


def test_one_output_is_a_regression(tiny: Any, whole: Path, tmp_path: Path) -> None:
    folder = save_classifier(tmp_path / "m", tiny.base(), labels=("value",))
    arm: Any = opened(folder, whole)["tuned"]
    [found] = answers(arm, *cases(TEXTS[0]))

    assert arm.labels == ()
    assert found.completion is not None
    assert float(found.completion.text or "") == pytest.approx(float(by_hand(folder, TEXTS[:1])))
    assert found.completion.label_probabilities is None


def test_several_labels_have_probabilities_of_their_own(
    tiny: Any, whole: Path, tmp_path: Path
) -> None:
    several = "multi_label_classification"
    folder = save_classifier(tmp_path / "m", tiny.base(), problem_type=several)
    found = answers(opened(folder, whole)["tuned"], *cases(*TEXTS))
    wanted = by_hand(folder, *((text,) for text in TEXTS)).sigmoid()

    for answer, row in zip(found, wanted, strict=True):
        shares = dict(zip(LABELS, row.tolist(), strict=True))
        assert answer.completion is not None
        assert answer.completion.label_probabilities == pytest.approx(shares, abs=1e-6)
        chosen = [label for label, share in shares.items() if share > 0.5]
        assert answer.completion.text == (", ".join(chosen) or "(no label)")


def test_a_folder_without_its_prefix_is_refused_with_it(whole: Path, tiny: Any) -> None:
    with pytest.raises(ModelError, match=rf"name it classifier:{whole}"):
        open_arms({"base": str(tiny.base()), "tuned": str(whole)})


def test_a_missing_base_names_what_can_be_one(adapter: Path) -> None:
    with pytest.raises(UsageError, match=r"majority:ROWS\.jsonl"):
        open_arms({"base": None, "tuned": f"classifier:{adapter}"})


def test_an_adapter_of_other_weights_is_not_comparable(
    whole: Path, adapter: Path, copied: Copy
) -> None:
    moved = copied(adapter)
    record = {"base": {"weights_sha256": "0" * 64}}
    (moved / "tunegate_training.json").write_text(json.dumps(record), encoding="utf-8")

    with pytest.raises(NotComparable, match="was trained on weights 000000000000"):
        opened(moved, whole)


def test_a_moved_base_is_named_by_an_option(
    whole: Path, adapter: Path, tiny: Any, copied: Copy
) -> None:
    moved = copied(adapter)
    edit_json(moved / "adapter_config.json", base_model_name_or_path="./nowhere")

    with pytest.raises(ModelError, match=r"\?base=FOLDER"):
        opened(moved, whole)
    assert opened(f"{moved}?base={tiny.base()}", whole)["tuned"].identity["labels"] == [*LABELS]


def test_exchanged_labels_of_base_are_not_comparable(
    whole: Path, copied: Copy, tiny: Any, tmp_path: Path
) -> None:
    """The weights of the two are the same, or another training's."""
    names = dict(enumerate((LABELS[1], LABELS[0], LABELS[2])))
    exchanged = copied(whole, id2label=names)

    for tuned in (whole, save_classifier(tmp_path / "tuned", tiny.base(seed=7), seed=3)):
        with pytest.raises(NotComparable, match="name their outputs in another order"):
            check_liveness(opened(tuned, exchanged))


def test_a_classifier_with_fewer_layers_than_its_weights_is_refused(
    whole: Path, copied: Copy
) -> None:
    with pytest.raises(ModelError, match=r"tensor model\.layers\.1\..* does not use it"):
        opened(whole, copied(whole, num_hidden_layers=1))


def test_another_epsilon_of_norms_is_not_comparable(
    tiny: Any, copied: Copy, tmp_path: Path
) -> None:
    tuned = save_classifier(tmp_path / "tuned", tiny.base(seed=7))
    other = save_classifier(tmp_path / "base", copied(tiny.base(), rms_norm_eps=0.5))

    with pytest.raises(NotComparable, match=r"rms_norm_eps in config\.json is 0\.5 in base"):
        check_liveness(opened(tuned, other))


def test_arms_that_cut_a_text_at_other_lengths_are_not_comparable(
    whole: Path, tiny: Any, tmp_path: Path
) -> None:
    tuned = save_classifier(tmp_path / "tuned", tiny.base(seed=7))

    def suite(*texts: str) -> Any:
        return SimpleNamespace(name="s", cases=cases(*texts))

    def refuse(base: str, other: str, *texts: str) -> None:
        refuse_other_cuts([suite(*texts)], opened(f"{tuned}{other}", f"{whole}{base}"))

    long = "parcel " * 30
    refuse("?max_length=20", "?max_length=20", long)
    refuse("?max_length=20", "", "late")
    for base, other, told in (
        ("?max_length=4", "?max_length=20", "max_length is 4 in base and 20 in tuned"),
        ("", "?max_length=20", "max_length is no limit in base and 20 in tuned"),
    ):
        with pytest.raises(NotComparable, match=f"case 'c1': .* {told}"):
            refuse(base, other, "late", long)
