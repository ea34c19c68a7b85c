"""The measure of how much of a suite was written by template."""

from __future__ import annotations

import pytest

from tests.suite_templates import commonest_opening, largest_template


@pytest.mark.parametrize(
    ("prompts", "share"),
    [
        (["Where is order KT-4821?", "Where is order BR-1190?", "Close my account."], 2 / 3),
        (["How warm is it in Oslo?", "How warm is it in Rome?"], 1.0),
        (['Say "one two three" to Ann.', 'Say "four" to Ben.'], 1.0),
        (["Mail a@b.example today", "Mail c@d.example today"], 1.0),
        (["Lock the front door.", "Which trains go to Linz?", "Thanks!"], 1 / 3),
    ],
)
def test_prompts_that_differ_in_their_fillings_are_one_template(
    prompts: list[str], share: float
) -> None:
    assert largest_template(prompts) == pytest.approx(share)


def test_a_chain_of_near_prompts_is_one_template() -> None:
    """Words a b c d e f, then one replaced at a time: 5 of 7 agree with the next, 4 of 8 across."""
    chain = ["a b c d e f", "a b c d e g", "a b c d h g"]

    assert largest_template([*chain, "x y"]) == pytest.approx(3 / 4)


def test_openings_are_counted_by_their_first_words() -> None:
    assert commonest_opening(["How do I a", "how do i b", "How can I"]) == pytest.approx(2 / 3)
