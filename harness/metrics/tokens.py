"""How many tokens a call used."""

from __future__ import annotations

from typing import Literal

from tunegate.harness.contracts.metric import metric
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score


@metric(label="tokens of a call", higher_is_better=False)
def tokens(
    case: Case, completion: Completion, *, count: Literal["total", "input", "output"] = "total"
) -> Score:
    """Score the tokens of the call, as the backend counted them; fewer count as better.

    The parts `input` and `output` hold the prompt's and the answer's tokens.

    Known problems:
        Compare arms of one base model only: tokenizers differ.

    Example:
        A prompt of 96 tokens and an answer of 24 score 120.

    Options:
        count: `total`, or only the `input` or the `output`.
    """
    parts = {"input": completion.input_tokens, "output": completion.output_tokens}
    wanted = list(parts) if count == "total" else [count]
    counts = {name: float(value) for name, value in parts.items() if value is not None}
    missing = [name for name in wanted if name not in counts]
    if missing:
        return Score.unscored(f"the completion has no count of its {' and '.join(missing)} tokens")
    return Score.of(sum(counts[name] for name in wanted), parts=counts)
