"""Whether the right choice of a multiple-choice question is the likeliest one."""

from __future__ import annotations

from tunegate.harness.metric import metric
from tunegate.harness.metrics._choice_likelihoods import Normalize, UnusableCase, choice_likelihoods
from tunegate.harness.records.cases import Case, CellKind, Completion, Score


@metric(label="right choices", needs=CellKind.CHOICES, binary=True, requires=("choices", "answer"))
def choice_accuracy(case: Case, completion: Completion, *, normalize: Normalize = "none") -> Score:
    """Score 1 if the right choice has the highest log-likelihood, else 0.

    What it does:
        The model writes nothing: each choice's text is scored after the prompt. A tie with the
        right choice counts as wrong, because the model does not separate them.

    Why:
        It is the number that benchmarks such as MMLU report, and it cannot fail on the form of an
        answer.

    Known problems:
        Without normalisation long choices lose, for each token costs likelihood. One flip moves it
        by a whole case: `choice_probability` sees a drift with far fewer cases. lm-eval takes the
        first of tied choices, where this metric counts them as wrong.

    Example:
        Log-likelihoods -1.2, -0.4, -3.0 with answer 1 score 1; with answer 0 they score 0.

    Options:
        normalize: `none` compares the sums (lm-eval's `acc`); `byte` divides each by the UTF-8
            bytes of the choice (`acc_bytes`). lm-eval's `acc_norm` divides by characters, which
            is the same where all choices are ASCII.
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
