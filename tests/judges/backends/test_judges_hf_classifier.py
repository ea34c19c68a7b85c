"""A text classifier as judge: which class counts, for which judge, and what it never calls good."""

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
from tunegate.harness.judges.backends.hf_classifier import ClassifierJudgeModel, hf_classifier
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import ModelError, UsageError

pytest.importorskip("torch")
pytestmark = pytest.mark.slow
REFUSALS = {0: "NORMAL", 1: "REJECTION"}
HARM = {0: "safe", 1: "unsafe"}
ANSWER = "Your parcel left the house today."


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a maker of tiny classifiers with random weights."""

    def make(labels: dict[int, str]) -> Path:
        folder = tmp_path_factory.mktemp("classifier")
        save_pair_classifier(folder, labels)
        return folder

    return make


def share(folder: Path, text: str, before: str | None = None) -> float:
    """Return the probability of class 1 by Transformers' own pipeline."""
    from transformers import pipeline

    texts = {"text": text} if before is None else {"text": before, "text_pair": text}
    rows = pipeline("text-classification", model=str(folder), top_k=None, device=-1)(texts)
    return next(float(row["score"]) for row in rows if row["label"] in ("REJECTION", "unsafe"))


def outcome_of(
    judge_model: ClassifierJudgeModel,
    text: str,
    *,
    expected: str | None = "refuse",
    judge: str = "rubric",
) -> JudgementOutcome:
    found = lookup.find_object("tunegate.harness.judges", judge, what="judge")
    options = {"criteria": "It behaves."} if judge == "rubric" else {}
    case = Case(id="c", prompt="Where is it?", expected=expected)
    task = JudgementTask("m", replace(found, options=options), case, (Completion(text=text),))
    ((_, outcome),) = judge_model.judge([task])
    return outcome


def value(outcome: JudgementOutcome) -> float | None:
    assert outcome.score is not None, outcome.error
    return outcome.score.value


def test_a_classifier_of_refusals_scores_by_what_is_expected(folder: Callable[..., Path]) -> None:
    place = folder(REFUSALS)
    judge_model = hf_classifier(str(place))
    refused = share(place, ANSWER)

    assert 0.001 < refused < 0.999
    assert value(outcome_of(judge_model, ANSWER)) == pytest.approx(refused, abs=1e-5)
    assert value(outcome_of(judge_model, ANSWER, expected="answer")) == pytest.approx(
        1 - refused, abs=1e-5
    )
    assert judge_model.identity["classes"] == ["REJECTION"]


def test_a_classifier_of_harm_scores_safety_toxicity_and_refusals(
    folder: Callable[..., Path],
) -> None:
    place = folder(HARM)
    judge_model, harm = hf_classifier(str(place)), share(place, ANSWER)

    for judge, wanted in (("safety", 1 - harm), ("rubric", 1 - harm), ("toxicity", harm)):
        assert value(outcome_of(judge_model, ANSWER, judge=judge)) == pytest.approx(
            wanted, abs=1e-5
        )


def test_a_conversation_is_read_as_a_pair(folder: Callable[..., Path]) -> None:
    place = folder(REFUSALS)
    pair = share(place, ANSWER, "Where is it?")
    judge_model = hf_classifier(f"{place}?reads=conversation")

    assert value(outcome_of(judge_model, ANSWER)) == pytest.approx(pair, abs=1e-5)
    assert value(outcome_of(judge_model, "word " * 400)) is not None
    assert judge_model.fingerprint != hf_classifier(str(place)).fingerprint


@pytest.mark.parametrize("text", ["", "I can't help. " * 40, "abc \ufffd\ufffd def \ufffd x"])
def test_an_answer_that_says_nothing_is_never_good(folder: Callable[..., Path], text: str) -> None:
    refusals, harm = hf_classifier(str(folder(REFUSALS))), hf_classifier(str(folder(HARM)))

    assert value(outcome_of(refusals, text)) == 0
    assert value(outcome_of(refusals, text, expected="answer")) == 0
    assert value(outcome_of(harm, text, judge="safety")) == 0
    assert value(outcome_of(harm, text, judge="toxicity")) == 1


@pytest.mark.parametrize(
    ("labels", "judge", "expected", "why"),
    [
        (REFUSALS, "safety", None, "tells refusals, not what safety asks"),
        (HARM, "rubric", "answer", "not whether a harmless request was answered"),
        (REFUSALS, "rubric", "Paris", "expected is 'refuse' or 'answer'"),
        (REFUSALS, "tone", "refuse", "only judges rubric, safety, toxicity"),
    ],
)
def test_what_it_cannot_tell_is_an_error_of_the_case(
    folder: Callable[..., Path],
    labels: dict[int, str],
    judge: str,
    expected: str | None,
    why: str,
) -> None:
    outcome = outcome_of(hf_classifier(str(folder(labels))), ANSWER, judge=judge, expected=expected)

    assert (outcome.score, outcome.status) == (None, "judge_error")
    assert why in (outcome.error or "")


def test_another_judge_is_refused_before_anything_is_asked(
    folder: Callable[..., Path], suite_folder: Callable[..., Path]
) -> None:
    toml = (
        'name = "s"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "tone"\nname = "kind"\n'
        '[[gates]]\nmetric = "kind"\ntolerance = 0.1\n'
    )
    loaded = suite.load_suite(suite_folder(toml, [{"id": "a", "prompt": "b"}]))

    with pytest.raises(UsageError, match=r"hf-classifier only judges rubric.*kind.*tone"):
        refuse_unjudged([loaded], f"hf-classifier:{folder(HARM)}")


def test_scores_are_kept(folder: Callable[..., Path], tmp_path: Path) -> None:
    store = AnswerCache(tmp_path / "store.sqlite")
    judge_model = hf_classifier(str(folder(HARM))).keeping(store)
    first, again = outcome_of(judge_model, ANSWER), outcome_of(judge_model, ANSWER)
    store.close()

    assert (first.score, first.attempts, again.attempts) == (again.score, 1, 0)


@pytest.mark.parametrize(
    ("labels", "setting", "why"),
    [
        ({0: "ham", 1: "spam"}, "", "cannot tell harmless ones"),
        (HARM, "?reads=prompt", "must be reads=answer or reads=conversation"),
    ],
)
def test_labels_and_settings_that_say_nothing_are_refused(
    folder: Callable[..., Path], labels: dict[int, str], setting: str, why: str
) -> None:
    with pytest.raises(ModelError, match=why):
        hf_classifier(f"{folder(labels)}{setting}")
