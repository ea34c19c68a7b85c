"""Tokens and money of a hosted training, estimated before anything is sent.

litellm counts the tokens, with OpenAI's published rule for those around each message; the vendor
counts by itself. litellm lists prices of answers and none of training, so that one comes from the
user, or is reported as unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tunegate.harness.models.remote.litellm_calls import litellm_library
from tunegate.trainers.vendor.options import VendorOptions


@dataclass(frozen=True, slots=True)
class TokenCount:
    """Tokens of an epoch, and who counted them."""

    count: int
    tokenizer: str
    """Name of the encoding."""
    own: bool
    """Whether it is the one that the vendor's model has."""

    @property
    def words(self) -> str:
        """One sentence."""
        whose = "the model's own" if self.own else "not the model's, which is unknown here"
        return f"about {self.count:,} tokens an epoch (tokenizer {self.tokenizer}: {whose})"


def count_tokens(rows: Sequence[dict[str, Any]], model: str) -> TokenCount:
    """Return the tokens of all rows, tools included."""
    litellm = litellm_library()
    total = sum(
        int(
            litellm.token_counter(
                model=model,
                messages=[{k: v for k, v in t.items() if k != "weight"} for t in row["messages"]],
                tools=row.get("tools"),
                use_default_image_token_count=True,  # or it fetches pictures
            )
        )
        for row in rows
    )
    import tiktoken  # after litellm, which sets where its files are

    try:
        return TokenCount(total, tiktoken.encoding_name_for_model(model), own=True)
    except KeyError:
        return TokenCount(total, "cl100k_base", own=False)


def training_price(tokens: TokenCount, options: VendorOptions) -> str:
    """Return what the training will cost, in words; unknown where no price is known."""
    price, epochs = options.price_per_million_tokens, options.num_train_epochs
    if price is None:
        return (
            "training price: unknown (litellm's list has none for training); "
            "--price_per_million_tokens takes the vendor's"
        )
    each = tokens.count * price / 1e6
    rate = f"at US$ {price:g} a million tokens, as given"
    if epochs is None:
        return f"training price: about US$ {each:.4g} an epoch {rate}; the vendor chooses how many"
    return f"training price: about US$ {each * epochs:.4g} for {epochs} epochs {rate}"


def answer_price(model: str) -> str:
    """Return what answers of a fine-tune of `model` will cost, by litellm's list."""
    rates = litellm_library().model_cost.get(f"ft:{model}") or {}
    prices = [rates.get(f"{side}_cost_per_token") for side in ("input", "output")]
    if not all(prices):
        return "price of the fine-tune's answers: unknown (not in litellm's list)"
    read, written = (1e6 * float(price) for price in prices if price)
    return (
        f"price of the fine-tune's answers: US$ {read:g} a million tokens read, {written:g} "
        "written (litellm's list)"
    )


def listed_shutdown(model: str) -> str | None:
    """Return the day on which a model is shut down by litellm's list, None if it has none."""
    known = litellm_library().model_cost.get(model) or {}
    return known.get("deprecation_date")
