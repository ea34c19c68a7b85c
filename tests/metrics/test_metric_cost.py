"""cost: dollars by hand from prices, tokens and seconds; litellm's table is a file made here."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.metrics import _token_prices as _prices
from tunegate.harness.metrics.cost import cost
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

CASE = Case(id="c", prompt="p")
CALL = Completion(text="x", input_tokens=1000, output_tokens=100, latency_s=2.0, batch_size=1)
TABLE = {
    "sample_spec": {"input_cost_per_token": "float", "output_cost_per_token": "float"},
    "small": {"input_cost_per_token": 1.5e-07, "output_cost_per_token": 6e-07},
    "free": {"input_cost_per_token": 0.0, "output_cost_per_token": 0.0},
    "painter": {"output_cost_per_image": 0.04},
    "broken": "no table",
}


def problems(**options: Any) -> list[str]:
    """Return what is said when a suite with these options is loaded."""
    assert cost.check is not None
    return list(cost.check(options, [CASE]))


@pytest.fixture(autouse=True)
def _no_litellm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hide an installed litellm: the prices of these tests are their own."""
    _prices._table.cache_clear()
    monkeypatch.setattr(_prices, "find_spec", lambda name: None)
    yield
    _prices._table.cache_clear()


@pytest.fixture(name="litellm")
def _litellm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _no_litellm: None) -> None:
    """Install a package of that name that has a table and must not be imported."""
    monkeypatch.undo()
    monkeypatch.delitem(sys.modules, "litellm", raising=False)  # other tests load the real one
    package = tmp_path / "litellm"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n", encoding="utf-8")
    (package / _prices.FILE).write_text(json.dumps(TABLE), encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])


def test_given_prices_times_tokens() -> None:
    """1,000 · 0.15/10⁶ + 100 · 0.60/10⁶ = 0.00015 + 0.00006 = 0.00021."""
    result = cost(CASE, CALL, price_in=0.15, price_out=0.60)

    assert result.value == pytest.approx(0.00021)
    assert result.parts == pytest.approx({"input": 0.00015, "output": 0.00006})


THOUGHT = CALL.model_copy(update={"reasoning": "Hm"})


def test_thoughts_have_a_part_of_the_price_of_tokens() -> None:
    """75 of 100 tokens at 0.60/10⁶: 0.000045 of 0.00006; without their count it is not known."""
    prices = {"price_in": 0.15, "price_out": 0.60}
    counted = THOUGHT.model_copy(update={"reasoning_tokens": 75})
    plain = {"input": 0.00015, "output": 0.00006, "has_thoughts": 1.0}

    result = cost(CASE, counted, **prices)

    assert result.value == pytest.approx(0.00021)
    assert result.parts == pytest.approx({**plain, "thinking": 0.000045, "answer": 0.000015})
    assert cost(CASE, THOUGHT, **prices).parts == pytest.approx(plain)


def test_thoughts_have_a_part_of_the_price_of_time() -> None:
    """1.80/3600 a second: 1.5 of 2 seconds are 0.00075 of 0.001; in a batch it is not known."""
    timed = THOUGHT.model_copy(update={"reasoning_s": 1.5})
    shared = timed.model_copy(update={"batch_size": 2})

    assert cost(CASE, timed, hourly=1.80).parts == pytest.approx(
        {"seconds": 2.0, "has_thoughts": 1.0, "thinking": 0.00075, "answer": 0.00025}
    )
    assert cost(CASE, shared, hourly=1.80).parts == {"seconds": 1.0, "has_thoughts": 1.0}


def test_a_stated_price_is_not_divided() -> None:
    """A provider's sum holds the prompt as well: what the thoughts cost of it is not known."""
    stated = THOUGHT.model_copy(update={"cost": 0.01, "reasoning_tokens": 75})

    assert cost(CASE, stated) == Score(value=0.01, parts={"has_thoughts": 1.0})


def test_a_stated_cost_is_the_teachers_bill_and_an_hourly_rate_prices_the_rest() -> None:
    """Half a second of a machine of $3.60 an hour is $0.0005."""
    timed = Completion(text="x", latency_s=0.5, batch_size=1)
    billed = Completion(text="x", latency_s=0.5, batch_size=1, cost=0.02)

    assert cost(CASE, timed, hourly=3.60).value == pytest.approx(0.0005)
    assert cost(CASE, billed, hourly=3.60).value == 0.02


@pytest.mark.parametrize(
    ("batch_size", "dollars"),
    [(1, 0.001), (4, 0.00025)],  # 1.80/3600 · 2 = 0.001; a quarter of it in a batch of four
)
def test_an_hourly_rate_times_the_share_of_the_time(batch_size: int, dollars: float) -> None:
    done = CALL.model_copy(update={"batch_size": batch_size})

    assert cost(CASE, done, hourly=1.80).value == pytest.approx(dollars)


@pytest.mark.usefixtures("litellm")
def test_a_list_price_comes_from_the_table() -> None:
    assert cost(CASE, CALL, model="small").value == pytest.approx(0.00021)
    assert cost(CASE, CALL, model="free").value == 0.0
    assert "litellm" not in sys.modules
    assert problems(model="small") == []


@pytest.mark.usefixtures("litellm")
@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("smal", "unknown model 'smal'; did you mean 'small'?; or give price_in and price_out"),
        ("zzzzzz", "unknown model 'zzzzzz'; or give price_in and price_out"),
        ("painter", "litellm's table has no price per token of 'painter'"),
        ("sample_spec", "litellm's table has no price per token of 'sample_spec'"),
        ("broken", "unknown model 'broken'"),
    ],
)
def test_a_model_without_a_price_is_found_when_the_suite_is_loaded(model: str, said: str) -> None:
    (problem,) = problems(model=model)

    assert problem.startswith(said)
    assert cost(CASE, CALL, model=model) == Score.unscored(problem)


def test_without_litellm_a_model_has_no_price() -> None:
    (problem,) = problems(model="small")

    assert "pip install litellm" in problem
    assert cost(CASE, CALL, model="small").value is None


def test_a_stated_cost_is_taken_where_no_price_is_given() -> None:
    done = CALL.model_copy(update={"cost": 0.5})

    assert cost(CASE, done) == Score(value=0.5)
    assert cost(CASE, done, price_in=0.0, price_out=1.0).value == pytest.approx(0.0001)


def test_an_unknown_price_is_not_free() -> None:
    silent = Completion(text="x")
    alone = Completion(text="x", latency_s=1.0)

    assert "unknown price" in str(cost(CASE, silent).reason)
    assert "tokens" in str(cost(CASE, silent, price_in=1.0, price_out=1.0).reason)
    assert "not timed" in str(cost(CASE, silent, hourly=1.0).reason)
    assert "shared" in str(cost(CASE, alone, hourly=1.0).reason)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"price_in": 1.0}, "price_in and price_out go together: give both"),
        ({"price_out": 1.0}, "price_in and price_out go together: give both"),
        ({"price_in": -1.0, "price_out": 1.0}, "price_in=-1.0 must be 0 or more US dollars"),
        ({"hourly": float("nan")}, "hourly=nan must be 0 or more US dollars"),
        ({"hourly": 1.0, "model": "small"}, "give one of model, price_in with price_out, and"),
        ({"hourly": 1.0, "price_in": 1.0, "price_out": 1.0}, "give one of model, price_in"),
    ],
)
def test_senseless_prices_are_refused(options: dict[str, Any], said: str) -> None:
    assert any(problem.startswith(said) for problem in problems(**options))


def test_a_senseless_price_scores_no_case() -> None:
    assert cost(CASE, CALL, price_in=1.0).value is None
    assert cost(CASE, CALL, hourly=-1.0).value is None
