"""Prices of tokens from litellm's table.

The table is read as a file: importing litellm takes seconds and may fetch it from the network.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tunegate.harness.records.errors import unknown_name_message

FILE = "model_prices_and_context_window_backup.json"


class UnknownPrice(ValueError):
    """A model has no price; the message gives the cause and a remedy."""


@dataclass(frozen=True, slots=True)
class TokenPrice:
    """US dollars per token."""

    input: float
    output: float


def price_of(model: str) -> TokenPrice:
    """Return the table's price of `model`, such as `gpt-4o-mini` or `azure/gpt-4o-mini`.

    Raises:
        UnknownPrice: litellm is not installed, or its table has no price per token of the model.
    """
    rows = _table()
    if rows is None:
        raise UnknownPrice(
            f"no price of {model!r}: the table of prices comes with litellm, which is not "
            "installed (pip install litellm); or give price_in and price_out"
        )
    if model not in rows:
        raise UnknownPrice(f"{_near(model, tuple(rows))}; or give price_in and price_out")
    row = rows[model]
    try:
        return TokenPrice(float(row["input_cost_per_token"]), float(row["output_cost_per_token"]))
    except (KeyError, TypeError, ValueError) as error:
        raise UnknownPrice(
            f"litellm's table has no price per token of {model!r}; give price_in and price_out"
        ) from error


def _near(model: str, models: tuple[str, ...]) -> str:
    """Return the message for an unknown model without listing the whole table."""
    sentence = unknown_name_message(model, models, what="model")
    near, _, _ = sentence.partition("; there are:")
    return near if "; there are:" in sentence else sentence


@cache
def _table() -> dict[str, Any] | None:
    """Return model → row; None where litellm or its table is missing."""
    spec = find_spec("litellm")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        file = Path(folder) / FILE
        if file.is_file():
            rows = json.loads(file.read_text(encoding="utf-8"))
            return {name: row for name, row in rows.items() if isinstance(row, dict)}
    return None
