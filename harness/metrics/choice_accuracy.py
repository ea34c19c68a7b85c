"""Whether the right choice of a multiple-choice question is the likeliest one."""

from __future__ import annotations

from tunegate.harness.contracts.metric import metric
from tunegate.harness.metrics._choice_likelihoods import Normalize, UnusableCase, choice_likelihoods
from tunegate.harness.records.answers import CellKind, Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score


@metric(label="right choices", needs=CellKind.CHOICES, binary=True, requires=("choices", "answer"))
def choice_accuracy(case: Case, completion: Completion, *, normalize: Normalize = "none") -> Score:
    """Score 1 if the right choice has the highest log-likelihood, else 0.

    The model writes nothing. A tie with the right choice counts as wrong (lm-eval takes the first).

    Known problems:
        Long choices lose without normalization. `choice_probability` needs far fewer cases.

    Example:
        Log-likelihoods -1.2, -0.4, -3.0 with answer 1 score 1; with answer 0 they score 0.

    Options:
        normalize: `none` compares sums (lm-eval's `acc`); `byte` divides by UTF-8 bytes
            (`acc_bytes`).
    """
    try:
        values = choice_likelihoods(case, completion, normalize)
    except UnusableCase as problem:
        return Score.unscored(str(problem))
    right = values[case.answer or 0]
    rivals = [value for index, value in enumerate(values) if index != case.answer]
    if rivals and right == max(rivals):
        return Score.of(0.0, "a tie: another choice is exactly as likely as the right one")
    return Score.of(float(all(right > value for value in rivals)))
