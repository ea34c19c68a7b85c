"""`hf-nli:FOLDER_OR_ID`: an entailment model of Transformers as judge of faithfulness.

Any sequence classifier that reads a source and a claim and has a class for support works: NLI
models, and hallucination models. Each sentence of the answer is compared with the context in
windows that overlap by a quarter. A sentence scores as its best window, and an answer as its worst
sentence. The score is a probability, and no instruction in a text can change the question.

Source: SummaC (arXiv 2111.09525) takes the maximum over the source, and the mean over the summary's
sentences. Here the minimum counts, since one invented sentence matters; the mean is in `parts`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tunegate.harness.engine.answer_cache import AnswerCache
from tunegate.harness.judges.asking.judge_model import JudgementOutcome, JudgementTask
from tunegate.harness.judges.backends._in_process import judge_in_process
from tunegate.harness.judges.faithfulness import split_sentences
from tunegate.harness.models._text_classifier import (
    LONGEST_WINDOW,
    SequenceClassifier,
    load_classifier,
)
from tunegate.harness.records.errors import ModelError, error_summary
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.scores import Score

SPEC = "hf-nli:FOLDER_OR_ID"
CALL = "answer"
"""Unit of a call, for forecasts: a question, a whole answer, or nothing."""
JUDGES = "faithfulness"
"""The only judge that this model can answer."""
_METHOD = "max over windows, min over sentences, 1"
_SUPPORTS = re.compile(
    r"entail\w*|support\w*|consistent|faithful|factual|grounded|attributable", re.IGNORECASE
)


@dataclass
class EntailmentJudgeModel:
    """A sequence classifier that compares answers with their contexts."""

    spec: str
    classifier: SequenceClassifier = field(repr=False)
    supports: int | None
    """The class that means support; None for a model with one value, whose sigmoid counts."""
    store: AnswerCache | None = field(default=None, repr=False)

    def keeping(self, store: AnswerCache | None) -> EntailmentJudgeModel:
        """Return the judge model with a store for its scores."""
        return replace(self, store=store)

    @property
    def identity(self) -> Mapping[str, Any]:
        """The spec, the hash of the weights and the class that counts."""
        labels = self.classifier.labels
        return {
            "spec": self.spec,
            "backend": "hf-nli",
            "weights_sha256": self.classifier.weights_sha256,
            "supports": "the only value" if self.supports is None else labels[self.supports],
            "fingerprint": self.fingerprint,
        }

    @property
    def fingerprint(self) -> str:
        """Hash of the folder's weights, configuration and tokenizer, and of the method."""
        weights = self.classifier.weights_sha256
        return sha256(["hf-nli", weights, self.supports, _METHOD, LONGEST_WINDOW])

    def judge(
        self, tasks: Sequence[JudgementTask]
    ) -> Iterator[tuple[JudgementTask, JudgementOutcome]]:
        """Yield every task with its outcome, each as soon as it is known."""
        return judge_in_process(
            tasks, self._outcome, fingerprint=self.fingerprint, store=self.store
        )

    def _outcome(self, task: JudgementTask) -> JudgementOutcome:
        if task.judge.name != JUDGES:
            return JudgementOutcome(None, f"hf-nli only judges {JUDGES}, not {task.judge.name}")
        text = (task.completions[0].text or "").strip()
        sentences = split_sentences(text)
        if not sentences:
            return JudgementOutcome(Score.unscored("abstention: the answer makes no claim"))
        try:
            shares = [self.support(task.case.context or "", sentence) for sentence in sentences]
        except Exception as error:  # too long a sentence, memory …
            return JudgementOutcome(None, f"{self.spec}: {error_summary(error)}")
        worst = min(range(len(shares)), key=shares.__getitem__)
        return JudgementOutcome(
            Score.of(
                shares[worst],
                f"least supported ({shares[worst]:.2f}): {sentences[worst][:120]!r}",
                parts={"mean": sum(shares) / len(shares), "sentences": float(len(shares))},
            )
        )

    def support(self, context: str, sentence: str) -> float:
        """Return the probability that the context supports a sentence, by its best window."""
        classes = (0,) if self.supports is None else (self.supports,)
        return self.classifier.highest(classes, context, after=sentence)


def hf_nli(target: str) -> EntailmentJudgeModel:
    """Load a sequence classifier from a folder or the hub's cache.

    Raises:
        MissingExtra: torch or transformers is not installed.
        ModelError: it is not there, is not a sequence classifier, or has no class that means
            support.
    """
    spec = f"hf-nli:{target}"
    classifier = load_classifier(f"judge {spec}", target, gpu=True)
    return EntailmentJudgeModel(spec, classifier, support_class(spec, classifier.labels))


def support_class(spec: str, labels: Mapping[int, str]) -> int | None:
    """Return the class that means support; None for a model with one value.

    Raises:
        ModelError: not exactly one class has such a name.
    """
    if len(labels) == 1:
        return None
    supporting = [at for at, name in labels.items() if _SUPPORTS.fullmatch(name.strip())]
    if len(supporting) != 1:
        raise ModelError(
            f"judge {spec}: its classes are {', '.join(labels.values())}; name the one that means "
            "support 'entailment' in its config.json (id2label)"
        )
    return supporting[0]
