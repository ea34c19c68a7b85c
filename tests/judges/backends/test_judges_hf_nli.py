"""An entailment model as judge: windows, sentences, classes, against Transformers' own pipeline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.tiny_classifiers import save_pair_classifier
from tunegate.harness import suite
from tunegate.harness.contracts import lookup
from tunegate.harness.engine.answer_cache import AnswerCache
from tunegate.harness.judges.asking.judge_model import JudgementOutcome, JudgementTask
from tunegate.harness.judges.asking.specs import refuse_unjudged
from tunegate.harness.judges.backends.hf_nli import EntailmentJudgeModel, hf_nli, support_class
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import ModelError, UsageError

pytest.importorskip("torch")
pytestmark = pytest.mark.slow
LABELS = {0: "contradiction", 1: "entailment", 2: "neutral"}
CONTEXT = "The parcel left Hamburg on 3 May. It was insured."


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny classifier with random weights, whose scores differ from text to text."""
    folder = tmp_path_factory.mktemp("nli")
    save_pair_classifier(folder, LABELS)
    return folder


def outcome_of(
    judge_model: EntailmentJudgeModel,
    text: str,
    *,
    context: str = CONTEXT,
    judge: str = "faithfulness",
) -> JudgementOutcome:
    found = lookup.find_object("tunegate.harness.judges", judge, what="judge")
    case = Case(id="c", prompt="q", context=context)
    task = JudgementTask("m", replace(found, options={}), case, (Completion(text=text),))
    ((_, outcome),) = judge_model.judge([task])
    return outcome


def test_a_short_context_scores_as_transformers_pipeline_does(folder: Path) -> None:
    from transformers import pipeline

    peer = pipeline("text-classification", model=str(folder), top_k=None, device=-1)
    sentences = ["It left.", "It was late.", "Hamburg insured it."]
    wanted = []
    for sentence in sentences:
        rows = peer({"text": CONTEXT, "text_pair": sentence})
        wanted += [row["score"] for row in rows if row["label"] == "entailment"]

    score = outcome_of(hf_nli(str(folder)), " ".join(sentences)).score

    assert len(set(wanted)) == 3
    assert score is not None
    assert score.value == pytest.approx(min(wanted), abs=1e-5)
    assert score.parts == {"mean": pytest.approx(sum(wanted) / 3, abs=1e-5), "sentences": 3.0}
    assert sentences[wanted.index(min(wanted))] in (score.reason or "")


def test_a_long_context_counts_by_its_best_window(folder: Path) -> None:
    """No window begins or ends it; the score is the largest over windows cut by hand."""
    import torch

    judge_model = hf_nli(str(folder))
    context = " ".join(f"fact {n} is so." for n in range(60))
    ids = judge_model.classifier.tokenizer(context, add_special_tokens=False)["input_ids"]
    claim = judge_model.classifier.tokenizer("fact 9", add_special_tokens=False)["input_ids"]
    assert judge_model.classifier.tokenizer.num_special_tokens_to_add(pair=True) == 0
    room = 64 - len(claim)
    shares, start = [], 0
    while True:
        cut = ids[start : start + room]
        batch = {
            "input_ids": torch.tensor([cut + claim]),
            "token_type_ids": torch.tensor([[0] * len(cut) + [1] * len(claim)]),
        }
        with torch.inference_mode():
            shares.append(float(judge_model.classifier.model(**batch).logits.softmax(-1)[0, 1]))
        if start + room >= len(ids):
            break
        start += room - 16

    assert len(shares) > 3
    assert judge_model.support(context, "fact 9") == pytest.approx(max(shares), abs=1e-4)


def test_an_answer_without_a_sentence_is_an_abstention(folder: Path) -> None:
    """As of every judge of faithfulness: unscored, never 1."""
    assert outcome_of(hf_nli(str(folder)), " \n ").status == "abstained"


def test_a_sentence_that_does_not_fit_is_an_error_of_its_case(folder: Path) -> None:
    outcome = outcome_of(hf_nli(str(folder)), "word " * 400)

    assert (outcome.score, outcome.status) == (None, "judge_error")


def test_another_judge_is_refused_before_anything_is_asked(
    folder: Path, suite_folder: Callable[..., Path]
) -> None:
    """It has one question; a rubric is not it."""
    toml = (
        'name = "s"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "tone"\nname = "kind"\n'
        '[[gates]]\nmetric = "kind"\ntolerance = 0.1\n'
    )
    loaded = suite.load_suite(suite_folder(toml, [{"id": "a", "prompt": "b"}]))

    with pytest.raises(UsageError, match=r"hf-nli only judges faithfulness.*kind.*tone"):
        refuse_unjudged([loaded], f"hf-nli:{folder}")
    assert "only judges faithfulness" in (
        outcome_of(hf_nli(str(folder)), "x", judge="tone").error or ""
    )


def test_scores_are_kept(folder: Path, tmp_path: Path) -> None:
    """A second run reads them; other weights are another judge."""
    store = AnswerCache(tmp_path / "store.sqlite")
    judge_model = hf_nli(str(folder)).keeping(store)
    first, again = outcome_of(judge_model, "It left."), outcome_of(judge_model, "It left.")
    save_pair_classifier(tmp_path / "other", {0: "entailment", 1: "not_entailment"})
    store.close()

    assert (first.score, first.attempts, again.score, again.attempts) == (
        again.score, 1, first.score, 0,
    )  # fmt: skip
    assert hf_nli(str(tmp_path / "other")).fingerprint != judge_model.fingerprint


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ({0: "ENTAILMENT", 1: "NEUTRAL", 2: "CONTRADICTION"}, 0),
        ({0: "not_entailment", 1: "entailment"}, 1),
        ({0: "hallucinated", 1: "consistent"}, 1),
        ({0: "SUPPORTED", 1: "REFUTED", 2: "NOT ENOUGH INFO"}, 0),
        ({0: "LABEL_0"}, None),
    ],
)
def test_the_class_that_means_support_is_found_by_name(
    labels: dict[int, str], found: int | None
) -> None:
    """NLI, fact-checking and hallucination models; one value is its probability."""
    assert support_class("x", labels) == found


@pytest.mark.parametrize("labels", [{0: "LABEL_0", 1: "LABEL_1"}, {0: "entails", 1: "supports"}])
def test_classes_that_say_nothing_are_refused(labels: dict[int, str]) -> None:
    """Their order differs from model to model: a guess would turn scores over."""
    with pytest.raises(ModelError, match="its classes are"):
        support_class("x", labels)


def test_a_folder_that_holds_no_classifier_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")

    with pytest.raises((ModelError, UsageError)) as refused:
        hf_nli(str(tmp_path))
    assert "\n" not in str(refused.value)
