"""Drift: a divergence worked out by hand, and adapters that move a model more or less."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.checks.drift import (
    OPENING,
    ModelDrift,
    count_changed_tokens,
    least_divergence,
    make_passage,
    mean_divergence,
    token_distributions,
)
from tunegate.harness.models.open_arms import open_arms


def _logs(*rows: tuple[float, ...]) -> Any:
    import torch

    return torch.tensor(rows).log()


def test_the_divergence_of_two_known_distributions() -> None:
    """1/2 and 1/2 against 1/4 and 3/4, then no difference at all."""
    # KL = 1/2·ln(1/2 / 1/4) + 1/2·ln(1/2 / 3/4) = 1/2·ln 2 + 1/2·ln 2/3 = 1/2·ln 4/3
    base = [_logs((0.5, 0.5)), _logs((0.9, 0.1))]
    tuned = [_logs((0.25, 0.75)), _logs((0.9, 0.1))]

    assert mean_divergence(base[:1], tuned[:1]) == pytest.approx(math.log(4 / 3) / 2)
    assert mean_divergence(base, tuned) == pytest.approx(math.log(4 / 3) / 4)
    assert mean_divergence(base, base) == 0


def test_places_count_alike_whatever_their_passage() -> None:
    base = [_logs((0.5, 0.5)), _logs((0.5, 0.5), (0.5, 0.5), (0.5, 0.5))]
    tuned = [_logs((0.25, 0.75)), base[1]]

    assert mean_divergence(base, tuned) == pytest.approx(math.log(4 / 3) / 2 / 4)


def test_what_neither_holds_for_possible_adds_nothing() -> None:
    """0·ln(0/0) is 0; what tuned alone holds for impossible is infinitely far."""
    base, half = [_logs((1.0, 0.0))], [_logs((0.5, 0.5))]

    assert mean_divergence(base, base) == 0
    assert mean_divergence(base, half) == pytest.approx(math.log(2))
    assert mean_divergence(half, base) == math.inf


def test_tokens_that_are_not_reported_count_as_one() -> None:
    """1/2, 1/4 and 1/4 against 1/4, 1/2 and a rest of 1/4."""
    base = _logs((0.5, 0.25, 0.25))[0]

    # 1/2·ln 2 + 1/4·ln 1/2 + 1/4·ln 1 = 1/4·ln 2
    found = least_divergence(base, {0: math.log(0.25), 1: math.log(0.5)})
    assert found == pytest.approx(math.log(2) / 4)
    assert least_divergence(base, {0: math.log(0.5)}) == 0
    assert math.isnan(least_divergence(base, {0: math.nan}))


def test_fewer_reported_tokens_never_diverge_more() -> None:
    import torch

    generator = torch.Generator().manual_seed(7)
    for _ in range(50):
        base, other = torch.randn(2, 40, generator=generator).double().log_softmax(dim=-1)
        top = other.argsort(descending=True).tolist()
        parts = [least_divergence(base, {t: float(other[t]) for t in top[:k]}) for k in (5, 20, 40)]

        assert parts == sorted(parts)
        whole = mean_divergence([base[None]], [other[None]])
        assert parts[-1] == pytest.approx(whole)


def test_no_number_stays_no_number() -> None:
    import torch

    found = mean_divergence([_logs((0.5, 0.5))], [torch.full((1, 2), math.nan)])

    assert found is not None
    assert math.isnan(found)


def test_vocabularies_of_two_sizes_have_no_divergence() -> None:
    assert mean_divergence([_logs((0.5, 0.5))], [_logs((0.5, 0.25, 0.25))]) is None


def test_places_whose_likeliest_token_is_another() -> None:
    """One of three positions changes its token; a smaller lead is not a change."""
    base = [_logs((0.6, 0.4)), _logs((0.9, 0.1), (0.2, 0.8))]
    tuned = [_logs((0.4, 0.6)), _logs((0.6, 0.4), (0.1, 0.9))]

    assert count_changed_tokens(base, tuned) == 1


def test_z_by_hand() -> None:
    """Nulls 1, 2 and 3 have mean 2 and standard deviation 1, so 5 lies 3 of them away."""
    drift = ModelDrift(5.0, (1.0, 2.0, 3.0))

    assert (drift.mean, drift.sd, drift.z) == (2, 1, 3)
    assert ModelDrift(5.0).z is None
    assert ModelDrift(5.0, (2.0, 2.0)).z is None
    assert ModelDrift(5.0, (1.0, math.inf)).z is ModelDrift(5.0, (1.0, math.nan)).z is None


def test_a_passage_reads_all_but_the_token_it_predicts_last() -> None:
    """Three tokens of an answer are three places; an empty answer leaves the first one."""
    three, none, long = (
        make_passage((7, 8), (1, 2, 3)),
        make_passage((7, 8), ()),
        make_passage((7,), range(99)),
    )

    assert (three.token_ids, three.places) == ((7, 8, 1, 2), 3)
    assert (none.token_ids, none.places) == ((7, 8), 1)
    assert (len(long.token_ids), long.places) == (OPENING, OPENING)


def test_the_distributions_are_the_models_own(tiny: Any) -> None:
    """Those of the last places, normalised; the last of them is what the liveness probe sees."""
    import torch

    arm = tiny.pair()["tuned"]
    [found] = token_distributions(arm, [make_passage((5, 6, 7), (8, 9))])

    assert found.shape == (2, 320)
    assert torch.allclose(found.exp().sum(dim=-1), torch.ones(2, dtype=torch.float64))
    probed = arm.probe([[5, 6, 7, 8]])[0].double().log_softmax(dim=-1)
    assert torch.allclose(found[-1], probed, atol=1e-5)


@pytest.fixture(name="scaled")
def _scaled(tiny: Any, copied: Callable[..., Path]) -> Callable[[float], float]:
    """Return a function: factor on lora_B of a random adapter → its divergence from base."""
    from safetensors.torch import load_file, save_file

    def measure(factor: float) -> float:
        folder = copied(tiny.adapter(), f"times-{factor}")
        file = folder / "adapter_model.safetensors"
        tensors = load_file(file)
        save_file({n: t * factor if "lora_B" in n else t for n, t in tensors.items()}, file)
        arms: dict[str, Any] = {**open_arms({"base": str(tiny.base()), "tuned": str(folder)})}
        passages = [make_passage(ids, (3, 4, 5)) for ids in arms["base"].probe_ids()]
        found = mean_divergence(*(token_distributions(arm, passages) for arm in arms.values()))
        assert found is not None
        return found

    return measure


def test_a_strong_adapter_lies_further_than_a_weak_one(scaled: Callable[[float], float]) -> None:
    weak, middle, strong = (scaled(factor) for factor in (0.01, 0.1, 1.0))

    assert 0 < 10 * weak < middle < strong / 10
