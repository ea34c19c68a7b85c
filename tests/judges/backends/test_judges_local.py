"""A model in this process as judge: verdicts by their probabilities, the same each time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.tiny_models import Tiny
from tunegate.harness.contracts import lookup
from tunegate.harness.contracts.judge import Judge, JudgeQuestion
from tunegate.harness.engine.answer_cache import AnswerCache
from tunegate.harness.judges.asking.conversation import AskedJudgeModel
from tunegate.harness.judges.asking.judge_model import JudgementOutcome, JudgementTask
from tunegate.harness.judges.asking.reply import parse_reply
from tunegate.harness.judges.backends.local import LocalJudge, local
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case

pytest.importorskip("torch")
LABELS = ("supported", "contradicted", "not_found")


@pytest.fixture(name="judge", scope="module")
def _judge(tmp_path_factory: pytest.TempPathFactory) -> LocalJudge:
    """A judge with random weights."""
    return local(str(Tiny(tmp_path_factory.mktemp("tiny")).base()))


def choice(text: str) -> JudgeQuestion:
    fields = {"verdict": {"enum": list(LABELS)}}
    return JudgeQuestion("verdict", "", text, "nonce", fields, "verdict", rules="s")


def test_verdicts_have_probabilities(judge: LocalJudge) -> None:
    """Eleven questions in two batches: each has three weights that sum to 1, batched or alone."""
    questions = {f"q{i}": choice("late " * i + "?") for i in range(11)}

    answers = {a.key: a for a in judge.ask(questions)}

    assert set(answers) == set(questions)
    for key, question in questions.items():
        completion = answers[key].completion
        assert completion is not None
        reply = parse_reply(question, completion)
        assert reply.weights is not None
        assert set(reply.weights) == set(LABELS)
        assert sum(reply.weights.values()) == pytest.approx(1.0)
        (alone,) = judge.ask({key: question})
        assert alone.completion is not None
        assert alone.completion.choice_logprobs == pytest.approx(
            completion.choice_logprobs, abs=1e-4
        )


def test_a_question_that_is_too_long_is_an_error(judge: LocalJudge) -> None:
    questions = {"long": choice("parcel " * 2000), "short": choice("parcel")}

    answers = {a.key: a for a in judge.ask(questions)}

    assert answers["long"].completion is None
    assert answers["long"].error
    assert answers["short"].completion is not None


def judged(judge: LocalJudge, store: AnswerCache | None, *texts: str) -> list[JudgementOutcome]:
    tone = lookup.find_object("tunegate.harness.judges", "tone", what="judge")
    assert isinstance(tone, Judge)
    short = replace(tone, options={"tone": "x"})
    case = Case(id="c", prompt="a")
    tasks = [JudgementTask("tone", short, case, (Completion(text=text),)) for text in texts]
    found = {id(t): o for t, o in AskedJudgeModel(judge, store).judge(tasks)}
    return [found[id(task)] for task in tasks]


def test_probabilities_are_stored(
    judge: LocalJudge, copied: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second time nothing is computed, and the score is the same to the last digit."""
    wide = copied(judge.arm.loaded.folder, max_position_embeddings=4096)
    judge = local(str(wide))
    store = AnswerCache(tmp_path / "s.sqlite")
    first = judged(judge, store, "late", "a refund")
    monkeypatch.setattr(LocalJudge, "_answers", lambda self, requests: iter(()))

    second = judged(judge, store, "late", "a refund")
    store.close()

    assert [o.status for o in first] == ["ok", "ok"]
    assert [o.score for o in second] == [o.score for o in first]
    assert [o.attempts for o in second] == [0, 0]


@pytest.mark.slow
def test_a_real_small_model_judges(task: Callable[..., JudgementTask]) -> None:
    """SmolLM2 gives every answer a value from 0 to 1, the same each time; no more is claimed."""
    from tunegate.harness.models.demo_model import make_demo_model

    judge = local(str(make_demo_model()))
    texts = ["We are sorry for the delay and will refund you today.", "Not my problem.", "ok"]

    once, again = judged(judge, None, *texts), judged(judge, None, *texts)

    values = [o.score.value for o in once if o.score is not None]
    assert len(values) == 3
    assert all(value is not None and 0 < value < 1 for value in values)
    assert [o.score for o in once] == [o.score for o in again]
