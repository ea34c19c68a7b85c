"""lm-eval on our engine: its tasks, prompts and metrics, one of our local arms as the model.

What lm-eval computes row by row is computed once here: the contexts of a task share their few-shot
header, the continuations of a context its cache, and logits exist only where they are read. In
float32 the numbers are those of lm-eval's own `hf` model.

Prompts beyond the model's context are cut off on the left, as lm-eval does it; elsewhere in
tunegate that is an error of the case. Beams and penalties are refused.

Example:
    from lm_eval import simple_evaluate

    from tunegate.harness.engine.lm_eval import TunegateLM
    from tunegate.harness.models.open_arms import open_arms

    arms = open_arms({"base": "path/to/base", "tuned": "path/to/adapter"})  # loaded once
    results = {
        name: simple_evaluate(TunegateLM(arm), tasks=["mmlu_anatomy"]) for name, arm in arms.items()
    }
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from tunegate.harness.contracts.model import Prompt, Request
from tunegate.harness.engine.inference import local_engine
from tunegate.harness.engine.inference.loglikelihood import Continuation, measure_likelihoods
from tunegate.harness.engine.scheduling import PlannedQuestion, RequestBatch, make_batches
from tunegate.harness.models._chat_template import render_chat
from tunegate.harness.models.transformers import HfArm
from tunegate.harness.records.answers import Cell, CellKind
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import BackendError, MissingExtra, OutOfMemory, UsageError
from tunegate.harness.records.generation import GenerationSettings

try:
    from lm_eval.api.model import TemplateLM
except ImportError as error:
    raise MissingExtra("lm-eval on our engine", "lm-eval") from error

LONGEST = 2048
"""Context length if the model's configuration has none; lm-eval's default."""
MOST_TOKENS = 256
"""Tokens of an answer where the task sets no limit; lm-eval's default."""
NEUTRAL = {"num_beams": 1, "repetition_penalty": 1, "num_return_sequences": 1}
"""The only values that our decoding supports."""

T = TypeVar("T")
Scored = tuple[float, bool]
"""Log-likelihood of a continuation, and whether greedy decoding would write it."""


class TunegateLM(TemplateLM):  # type: ignore[misc]  # lm-eval ships no types
    """A local arm as a model of lm-eval."""

    def __init__(self, arm: HfArm) -> None:
        """Wrap an arm; several may share one set of weights."""
        super().__init__()
        self.arm = arm
        self.tokenizer = arm.tokenizer

    @property
    def eot_token_id(self) -> int:
        """The end-of-sequence token."""
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """The prefix token of a text without a context."""
        first = self.tokenizer.bos_token_id
        return self.eot_token_id if first is None else int(first)

    @property
    def max_length(self) -> int:
        """Largest number of tokens the model attends to."""
        return self.arm.context_length or LONGEST

    @property
    def tokenizer_name(self) -> str:
        """Name under which lm-eval keeps tokenised requests."""
        return str(self.tokenizer.name_or_path).replace("/", "__")

    def get_model_info(self) -> dict[str, Any]:
        """Return what lm-eval writes into its results: which arm this is, to the last bit."""
        return {"model_fingerprint": self.arm.fingerprint, "model_identity": self.arm.identity}

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **kwargs: Any
    ) -> list[int]:
        """Return token ids, without a second begin marker where the text has one."""
        settings = {} if add_special_tokens is None else {"add_special_tokens": add_special_tokens}
        if add_special_tokens is None and string.startswith(
            self.tokenizer.decode(self.prefix_token_id)
        ):
            settings = {"add_special_tokens": False}
        return list(self.tokenizer.encode(string, **settings))

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """Return a conversation as the model's template writes it."""
        return render_chat(
            self.tokenizer,
            chat_history,
            spec=self.tokenizer_name,
            add_generation_prompt=add_generation_prompt,
        )

    def _loglikelihood_tokens(
        self,
        requests: Sequence[tuple[tuple[str, str] | None, Sequence[int], Sequence[int]]],
        **kwargs: Any,
    ) -> list[Scored]:
        """Score (texts, context, continuation); each context is computed once."""
        asked: dict[tuple[int, ...], list[int]] = {}
        for i, (texts, context, continuation) in enumerate(requests):
            self._refuse_misfit(texts, continuation)
            kept = context[-(self.max_length + 1 - len(continuation)) :]
            if len(kept) < len(context):
                _warn_cut(len(context) - len(kept))
            asked.setdefault(tuple(kept), []).append(i)
        contexts = list(asked)
        answers: dict[int, Scored] = {}

        def work(questions: Sequence[PlannedQuestion]) -> Iterator[tuple[int, Scored]]:
            mine = [contexts[int(q.case)] for q in questions]
            pairs = [(row, i) for row, context in enumerate(mine) for i in asked[context]]
            wanted = [Continuation(row, tuple(requests[i][2])) for row, i in pairs]
            with local_engine.computing(self.arm) as model:
                found = measure_likelihoods(
                    self.arm, model, [Prompt("", ids) for ids in mine], wanted
                )
            for (_, i), likelihood in zip(pairs, found, strict=True):
                yield i, (likelihood.total, likelihood.greedy)

        longest = [max(len(requests[i][2]) for i in asked[context]) for context in contexts]
        for batch in _batches(contexts, longest, CellKind.CHOICES):
            for i, answer in _halve_on_memory(batch, work):
                answers[i] = answer
                if requests[i][0] is not None:
                    self.cache_hook.add_partial("loglikelihood", requests[i][0], answer)
        return [answers[i] for i in range(len(requests))]

    def _refuse_misfit(self, texts: Any, continuation: Sequence[int]) -> None:
        if not continuation:
            raise UsageError(f"{texts!r}: the continuation has no tokens to score")
        if len(continuation) > self.max_length:
            raise UsageError(
                f"{texts!r}: a continuation of {len(continuation)} tokens does not fit the model's "
                f"context of {self.max_length}"
            )

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[float]:
        """Return the log-likelihood of whole texts, in windows where they exceed the context."""
        from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

        windows: list[tuple[int, tuple[None, Sequence[int], Sequence[int]]]] = [
            (i, (None, *make_disjoint_window(window)))
            for i, request in enumerate(requests)
            for window in get_rolling_token_windows(
                token_list=self.tok_encode(request.args[0]),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            )
        ]
        totals = [0.0] * len(requests)
        scored = self._loglikelihood_tokens([window for _, window in windows])
        for (i, _), (value, _) in zip(windows, scored, strict=True):
            totals[i] += value
        for request, total in zip(requests, totals, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return totals

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Return the answers; each repetition of a sampled one has a seed of its own."""
        made = [self._request(i, *request.args[:2]) for i, request in enumerate(requests)]
        answers: dict[int, str] = {}

        def work(questions: Sequence[PlannedQuestion]) -> Iterator[tuple[int, str]]:
            for answer in local_engine.complete_requests(
                self.arm, [made[int(q.case)] for q in questions]
            ):
                if answer.completion is None:
                    raise BackendError(f"lm-eval request {answer.key}: {answer.error}")
                yield int(answer.key), answer.completion.text or ""

        prompts = [request.prompt.token_ids or () for request in made]
        longest = [request.generation.max_new_tokens for request in made]
        for batch in _batches(prompts, longest, CellKind.GENERATE):
            for i, text in _halve_on_memory(batch, work):
                answers[i] = text
                self.cache_hook.add_partial("generate_until", requests[i].args, text)
        return [answers[i] for i in range(len(requests))]

    def _request(self, number: int, context: str, settings: Mapping[str, Any]) -> Request:
        generation = _generation(settings)
        room = self.max_length - generation.max_new_tokens
        if room <= 0:
            raise UsageError(
                f"an answer of {generation.max_new_tokens} tokens leaves no room for a prompt in "
                f"the model's context of {self.max_length}"
            )
        ids = self.tok_encode(context) or [self.prefix_token_id]
        if len(ids) > room:
            _warn_cut(len(ids) - room)
        name = str(number)
        return Request(
            cell=Cell(suite="", case=name, arm="", kind=CellKind.GENERATE, key=name),
            case=Case(id=name, prompt=context),
            prompt=Prompt(context, tuple(ids[-room:])),
            generation=generation,
            seed=number,
        )


def _generation(settings: Mapping[str, Any]) -> GenerationSettings:
    """Return lm-eval's generation settings as ours.

    Raises:
        UsageError: one of them is beyond our decoding.
    """
    from lm_eval.models.utils import normalize_gen_kwargs

    given = dict(normalize_gen_kwargs(dict(settings), MOST_TOKENS))
    sampled, heat = given.pop("do_sample"), float(given.pop("temperature", 0.0))
    temperature = heat if sampled else 0.0
    top_p = float(given.pop("top_p", None) or 1.0)
    until, most = given.pop("until"), given.pop("max_gen_toks")
    for name in ("top_k", "min_p", "typical_p") if not temperature else ():
        given.pop(name, None)  # of no effect on greedy decoding
    beyond = {k: v for k, v in given.items() if v is not None and v != NEUTRAL.get(k)}
    if beyond:
        known = "until, max_gen_toks, do_sample, temperature and top_p"
        raise UsageError(f"generation_kwargs {beyond}: our engine decodes with {known} only")
    return GenerationSettings(
        template="none",
        max_new_tokens=most,
        temperature=temperature,
        top_p=top_p,
        stop=tuple(text for text in until if text),
        thinking_tags=(),  # lm-eval's own filters decide what the answer is
    )


def _batches(
    prompts: Sequence[Sequence[int]], longest: Sequence[int], kind: CellKind
) -> tuple[RequestBatch, ...]:
    """Group prompts as a run of ours does; a question's case is the prompt's index."""
    questions = [PlannedQuestion("", str(i), kind) for i in range(len(prompts))]
    lengths = {
        q: len(prompt) + more for q, prompt, more in zip(questions, prompts, longest, strict=True)
    }
    return make_batches(lengths, prompts=dict(zip(questions, prompts, strict=True)))


def _halve_on_memory(
    batch: RequestBatch, work: Callable[[Sequence[PlannedQuestion]], Iterator[T]]
) -> Iterator[T]:
    """Yield what `work` makes of a batch, in halves where memory does not hold the whole."""
    try:
        whole = list(work(batch.questions))
    except OutOfMemory as error:
        if len(batch.questions) == 1:
            raise BackendError(f"one request alone does not fit the memory ({error})") from error
        for half in batch.halves():
            yield from _halve_on_memory(half, work)
        return
    yield from whole


def _warn_cut(tokens: int) -> None:
    logging.getLogger(__name__).warning(
        "%d tokens beyond the model's context were cut off on the left", tokens
    )
