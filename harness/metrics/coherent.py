"""Whether the answer says anything: not empty, cut, looping or gibberish."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.metric import metric
from tunegate.harness.contracts.reasoning import no_answer_reason
from tunegate.harness.metrics._coherence import (
    CUT,
    EMPTY,
    ENGLISH,
    GIBBERISH,
    LOOP,
    incoherence,
    letter_model,
)
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

_KINDS = (EMPTY, LOOP, GIBBERISH, CUT)


def _check(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
    texts = options.get("texts")
    try:
        model = None if texts is None else letter_model(texts)
    except (OSError, ValueError) as error:
        return [f"texts: {texts}: {error}"]
    return [f"texts: {texts} is empty"] if model is not None and not model.letters else []


@metric(label="coherent answers", binary=True, check=_check)
def coherent(
    case: Case, completion: Completion, *, cut: bool = True, texts: Path | None = None
) -> Score:
    """Score 1 if the answer says anything, 0 if it is empty, a loop, gibberish or cut off.

    Gate it beside every metric that a broken model could please: gibberish gives no secret away.
    The reason names the kind, and the parts `empty`, `loop`, `gibberish` and `cut` are 1 or 0; the
    first that applies counts.

    A loop is one of the metric `loops`. Gibberish has bytes that form no character, or letters that
    follow each other as in no English text. The letters are only looked at where the prompt is
    English too and asks for no translation or other language, on at least 60 letters outside of
    code, tables and formulas.

    Measured on all 182,723 answers of 227 models to AlpacaEval (`benchmarks/foreign_answers.py`):
    0.34 % are called loops and 0.34 % gibberish. Of 24 short answers each of broken copies of
    SmolLM2-135M-Instruct it finds 24 with noise of 0.4 of their spread on the weights, 24 with
    layer 2 random, 24 with layer 15, 18 with layer 27, and 19 with half of the embeddings swapped.
    With `cut = false` these are 22, 11, 10, 12 and 19: a broken model often cannot end.

    Known problems:
        Real words in a random order are not seen, and neither is salad in another language. Lists
        of foreign names may count as gibberish, and so may an answer in a language that the prompt
        does not name: of 20 paragraphs each of the Universal Declaration of Human Rights, all in
        Finnish, Polish and Turkish do, 11 in Italian, 3 in Spanish and 1 in French. A limit that is
        too low cuts good answers; `cut = false` leaves that to `truncated`.

    Example:
        ```toml
        [[metrics]]
        use = "coherent"
        cut = false
        [[gates]]
        metric = "coherent"
        tolerance = 0.05
        ```

    Options:
        cut: Whether an answer that the token limit ended counts as incoherent.
        texts: File of plain texts, one a line, in the language of prompts and answers, if it is not
            English; 50 KB are enough.
    """
    if completion.text is None:
        return Score.unscored("the completion has no text")
    try:
        fault = incoherence(case, completion.text, texts or ENGLISH)
    except (OSError, ValueError) as error:
        return Score.unscored(f"the texts cannot be read: {error}")
    if fault is None and cut and completion.finish_reason == "length":
        fault = CUT, "the token limit cut the answer off"
    kind, reason = fault or ("", None)
    if kind == EMPTY:
        reason = no_answer_reason(completion) or reason
    parts = {name: float(name == kind) for name in _KINDS}
    return Score.of(float(not kind), reason, parts=parts)
