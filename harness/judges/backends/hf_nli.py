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
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.judge import JudgeAnswer
from tunegate.harness.engine.answer_cache import AnswerCache
from tunegate.harness.judges.asking.judge_model import JudgementOutcome, JudgementTask
from tunegate.harness.judges.faithfulness import split_sentences
from tunegate.harness.models._model_folder import require_modules, resolve_folder
from tunegate.harness.models.adapters.weight_files import refuse_unsafe, weights_fingerprint
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.errors import ModelError, error_reason, error_summary
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.scores import Score

SPEC = "hf-nli:FOLDER_OR_ID"
CALL = "answer"
"""Unit of a call, for forecasts: a question, a whole answer, or nothing."""
JUDGES = "faithfulness"
"""The only judge that this model can answer."""
_METHOD = "max over windows, min over sentences, 1"
_LONGEST = 512
"""Most tokens of a window and a sentence together."""
_AT_ONCE = 16
"""Windows in a batch."""
_SUPPORTS = re.compile(
    r"entail\w*|support\w*|consistent|faithful|factual|grounded|attributable", re.IGNORECASE
)


@dataclass
class EntailmentJudgeModel:
    """A sequence classifier that compares answers with their contexts."""

    spec: str
    model: Any = field(repr=False)
    tokenizer: Any = field(repr=False)
    weights_sha256: str
    supports: int | None
    """The class that means support; None for a model with one value, whose sigmoid counts."""
    store: AnswerCache | None = field(default=None, repr=False)

    def keeping(self, store: AnswerCache | None) -> EntailmentJudgeModel:
        """Return the judge model with a store for its scores."""
        return replace(self, store=store)

    @property
    def identity(self) -> Mapping[str, Any]:
        """The spec, the hash of the weights and the class that counts."""
        return {
            "spec": self.spec,
            "backend": "hf-nli",
            "weights_sha256": self.weights_sha256,
            "supports": "the only value" if self.supports is None else self._label,
            "fingerprint": self.fingerprint,
        }

    @property
    def fingerprint(self) -> str:
        """Hash of the folder's weights, configuration and tokenizer, and of the method."""
        return sha256(["hf-nli", self.weights_sha256, self.supports, _METHOD, _LONGEST])

    @property
    def _label(self) -> str:
        return str(self.model.config.id2label[self.supports])

    def judge(
        self, tasks: Sequence[JudgementTask]
    ) -> Iterator[tuple[JudgementTask, JudgementOutcome]]:
        """Yield every task with its outcome, each as soon as it is known."""
        keys = {sha256([self.fingerprint, task.key]): task for task in tasks}
        known = {} if self.store is None else self.store.completions(keys)
        for key, task in keys.items():
            stored = known.get(key)
            if stored is not None:
                yield task, JudgementOutcome(Score.model_validate_json(stored.text or ""))
                continue
            started = time.time()
            outcome = self._outcome(task)
            if outcome.score is not None and self.store is not None:
                text = outcome.score.model_dump_json()
                self.store.put(JudgeAnswer(key, Completion(text=text), None, started), replace=True)
            yield task, replace(outcome, attempts=1, latency_s=time.time() - started)

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
        import torch

        size = _window(self.model, self.tokenizer)
        windows = self.tokenizer(
            context,
            sentence,
            truncation="only_first",
            max_length=size,
            stride=size // 4,
            return_overflowing_tokens=True,
            padding=True,
            return_tensors="pt",
        )
        names = [n for n in self.tokenizer.model_input_names if n in windows]
        best = 0.0
        with torch.inference_mode():
            for at in range(0, len(windows["input_ids"]), _AT_ONCE):
                batch = {n: windows[n][at : at + _AT_ONCE].to(self.model.device) for n in names}
                logits = self.model(**batch).logits.float()
                if self.supports is None:
                    shares = logits.sigmoid()[:, 0]
                else:
                    shares = logits.softmax(-1)[:, self.supports]
                best = max(best, float(shares.max()))
        return best


def hf_nli(target: str) -> EntailmentJudgeModel:
    """Load a sequence classifier from a folder or the hub's cache.

    Raises:
        MissingExtra: torch or transformers is not installed.
        UsageError: the folder does not exist.
        ModelError: it is not a sequence classifier, or has no class that means support.
    """
    spec = f"hf-nli:{target}"
    require_modules("torch", "transformers", what=f"the judge {spec}")
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder: Path = resolve_folder(target)
    refuse_unsafe(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"judge {spec}: cannot be loaded ({error_reason(error):.200}); name the folder of a "
            "sequence classifier"
        ) from error
    device = "cuda" if torch.cuda.is_available() else "cpu"
    supports = support_class(spec, model.config.id2label)
    return EntailmentJudgeModel(
        spec, model.eval().to(device), tokenizer, weights_fingerprint(folder), supports
    )


def support_class(spec: str, labels: Mapping[int, str]) -> int | None:
    """Return the class that means support; None for a model with one value.

    Raises:
        ModelError: not exactly one class has such a name.
    """
    if len(labels) == 1:
        return None
    found = [int(at) for at, name in labels.items() if _SUPPORTS.fullmatch(str(name).strip())]
    if len(found) != 1:
        shown = ", ".join(map(str, labels.values()))
        raise ModelError(
            f"judge {spec}: its classes are {shown}; name the one that means support 'entailment' "
            "in its config.json (id2label)"
        )
    return found[0]


def _window(model: Any, tokenizer: Any) -> int:
    """Return the tokens of a window."""
    known = (
        getattr(model.config, "max_position_embeddings", None),
        getattr(tokenizer, "model_max_length", None),
    )
    return min(_LONGEST, *(size for size in known if isinstance(size, int) and size > 0))
