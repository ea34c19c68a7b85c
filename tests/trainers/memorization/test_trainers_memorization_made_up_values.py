"""Controls: of the same form as the true value, right by their check digits, and nobody's."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

import pytest

from tunegate.harness.telemetry.export.redaction import personal_values
from tunegate.trainers.memorization.made_up_values import N_CONTROLS, ControlSource

IBAN = "DE89 3704 0044 0532 0130 00"


def draw(kind: str, *values: str, held_out: Sequence[str] = (), seed: int = 0) -> list[str]:
    source = ControlSource({kind: values}, {kind: held_out}, seed=seed)
    return source.draw(kind, values[0]) or []


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("card", "4111 1111 1111 1111"),  # the test number of Visa
        ("card", "378282246310005"),  # of American Express
        ("iban", IBAN),  # the example of the Bundesbank
        ("iban", "GB82WEST12345698765432"),
        ("ip", "93.184.216.34"),
        ("phone", "+49 171 2345678"),
        ("key", "sk-proj-a8Zk29QmX71vB0pL4nTc"),
        ("number", "A7X-993-QP"),
    ],
)
def test_a_control_has_the_form_of_the_value(kind: str, value: str) -> None:
    def form(text: str) -> str:
        return re.sub("[a-z]", "a", re.sub("[A-Z]", "A", re.sub(r"\d", "0", text)))

    controls = draw(kind, value)

    assert N_CONTROLS == len(set(controls))
    assert value not in controls
    if kind != "ip":
        assert {form(value)} == {form(control) for control in controls}


@pytest.mark.parametrize(
    ("kind", "value"), [("card", "4111 1111 1111 1111"), ("iban", IBAN), ("ip", "93.184.216.34")]
)
def test_check_digits_are_right(kind: str, value: str) -> None:
    """The detector of exported traces accepts a card or an account only by its check digits."""
    for control in draw(kind, value):
        assert [(kind, 0, len(control))] == list(personal_values(control))
        assert kind != "ip" or ipaddress.ip_address(control)


def test_what_many_values_begin_with_is_kept() -> None:
    values = [f"ORD-2024-{i * 7919 % 10**6:06}" for i in range(1, 40)]

    assert all(control.startswith("ORD-2") for control in draw("number", *values))


def test_no_control_is_a_value_of_the_rows() -> None:
    values = [f"X-{i:02}" for i in range(10, 80)]

    assert not set(values).intersection(draw("number", *values))


def test_a_form_with_too_few_other_values_has_no_controls() -> None:
    assert [] == draw("number", *[f"X-{i}" for i in range(10)])


def test_names_in_addresses_are_those_of_other_rows_at_the_same_domain() -> None:
    values = [f"name{chr(97 + i)}@shop.org" for i in range(20)]

    controls = draw("email", *values)

    assert set(controls) < set(values[1:])


def test_addresses_need_enough_other_names() -> None:
    assert [] == draw("email", *[f"name{i}@shop.org" for i in range(N_CONTROLS)])


def test_held_out_addresses_are_taken_first() -> None:
    values = [f"name{i}@shop.org" for i in range(20)]
    held_out = [f"other{i}@shop.org" for i in range(15)] + values[:3]

    assert set(held_out[:15]) == set(draw("email", *values, held_out=held_out))


def test_held_out_numbers_are_taken_if_enough_have_the_same_form() -> None:
    same = [f"B-{i:05}" for i in range(20)]

    assert set(draw("number", "B-93311", held_out=same)) < set(same)
    assert not set(draw("number", "BC-93311", held_out=same)).intersection(same)


def test_the_same_seed_draws_the_same_controls() -> None:
    assert draw("number", "A-83721") == draw("number", "A-83721")
    assert draw("number", "A-83721") != draw("number", "A-83721", seed=1)
