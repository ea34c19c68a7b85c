"""How many of its drafted tokens a model accepts."""

from __future__ import annotations

from tunegate.harness.contracts.metric import metric
from tunegate.harness.records.answers import CellKind, Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score


@metric(label="accepted drafts", needs=CellKind.DRAFTS, range=(0.0, 1.0))
def draft_acceptance(case: Case, completion: Completion) -> Score:
    """Score the share of drafted tokens that the model accepted in speculative decoding.

    A fine-tune that lost its head for drafting (MTP), or fits its draft model no more, is slower.
    Counted in a pass of its own, one prompt at a time, from the replies of llama.cpp and SGLang
    and the counters of vLLM. The parts are `drafted` and `accepted` tokens.

    Known problems:
        Where the server tells nothing, drafted nothing or answered others meanwhile, a case is
        unscored. Start the servers of both arms with the same number of drafted tokens.

    Example:
        20 drafted tokens of which 14 are accepted score 0.7.
    """
    drafted, accepted = completion.drafted_tokens, completion.accepted_tokens
    if drafted is None or accepted is None:
        return Score.unscored("the completion has no counts of drafted tokens")
    if not drafted:
        return Score.unscored("no tokens were drafted")
    if accepted > drafted:
        return Score.unscored(f"{accepted} tokens were accepted of {drafted} that were drafted")
    parts = {"drafted": float(drafted), "accepted": float(accepted)}
    return Score.of(accepted / drafted, parts=parts)
