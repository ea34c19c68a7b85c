"""Chat rows for a vendor: JSONL checked line by line and priced before anything is sent.

A line is `{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", …}]}`, in
OpenAI's chat format: assistants' turns may have `tool_calls` and a `weight`, and a row may have
`tools`. What trains here trains there too: `prompt` and `completion` as lists of messages are
joined.

Source of the format and of the ten rows at least: OpenAI's guide to supervised fine-tuning,
https://developers.openai.com/api/docs/guides/supervised-fine-tuning.

What a hosted training will take: tokens and money, known before it is sent. Tokens are counted
by litellm, which has OpenAI's tokenizers in its package, with OpenAI's published rule for the
tokens around each message. It is an estimate: the vendor counts by itself. litellm's price list has
prices of answers and none of training, so that one comes from the user, or is reported as
unknown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunegate.harness.models.adapters.weight_files import file_sha256
from tunegate.harness.models.remote.litellm import litellm_library
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.files import check_regular
from tunegate.trainers.training_card import DatasetFile
from tunegate.trainers.vendor.job import VendorOptions

FEWEST = 10
"""Rows that a job needs at least."""
_ROLES = ("system", "developer", "user", "assistant", "tool")
_TURN = {"role", "content", "name", "tool_calls", "tool_call_id", "weight"}
_ROW = {"messages", "tools", "parallel_tool_calls"}
_SHOWN = 20


class _InvalidChat(Exception):
    """The problem of one row."""


@dataclass(frozen=True, slots=True)
class ChatRows:
    """The rows of some files, in their order."""

    rows: tuple[dict[str, Any], ...] = field(repr=False)
    files: tuple[DatasetFile, ...]

    @property
    def content(self) -> bytes:
        """The JSONL that is uploaded."""
        lines = (json.dumps(row, ensure_ascii=False, allow_nan=False) for row in self.rows)
        return "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")


def read_chats(paths: Sequence[Path], *, fewest: int = FEWEST) -> ChatRows:
    """Read and check the rows of all files.

    Raises:
        UsageError: some lines cannot be used, one line a problem; or there are too few.
    """
    rows: list[dict[str, Any]] = []
    files, problems = [], []
    for path in paths:
        before = len(rows)
        for where, line in _lines(path):
            try:
                rows.append(_row(line))
            except _InvalidChat as error:
                problems.append(f"{where}: {error}")
        files.append(DatasetFile(path=str(path), sha256=file_sha256(path), rows=len(rows) - before))
    if problems:
        more = len(problems) - _SHOWN
        tail = [f"… and {more} more problems"] if more > 0 else []
        raise UsageError("\n".join(problems[:_SHOWN] + tail))
    if len(rows) < fewest:
        names = ", ".join(map(str, paths)) or "no files"
        raise UsageError(f"{names}: {len(rows)} rows; a job needs {fewest} at least")
    return ChatRows(tuple(rows), tuple(files))


def _lines(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        check_regular(path)
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield f"{path}:{number}", line
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error


def _row(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8-sig"), parse_constant=_no_number)
    except UnicodeDecodeError as error:
        raise _InvalidChat("not UTF-8; save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise _InvalidChat(f"not one JSON object a line ({error})") from error
    if not isinstance(row, dict):
        raise _InvalidChat("must be an object with `messages`")
    if "messages" not in row and isinstance(row.get("prompt"), list):
        joined = [row["prompt"], row.get("completion")]
        if not all(isinstance(part, list) for part in joined):
            raise _InvalidChat("`completion` must be a list of messages, as `prompt` is")
        row = {"messages": joined[0] + joined[1]}
    _check_row(row)
    return row


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not a JSON number")


def _check_row(row: dict[str, Any]) -> None:
    if "messages" not in row:
        there = ", ".join(map(str, row)) or "none"
        raise _InvalidChat(
            f"no `messages` (keys there: {there}); a vendor takes chats, no plain text"
        )
    if extra := sorted(set(row) - _ROW):
        raise _InvalidChat(
            f"`{extra[0]}` is not a key of a row; allowed are {', '.join(sorted(_ROW))}"
        )
    turns = row["messages"]
    if not isinstance(turns, list) or len(turns) < 2:
        raise _InvalidChat("`messages` must be a list of two or more turns")
    for i, turn in enumerate(turns):
        _check_turn(f"messages[{i}]", turn)
    if turns[-1]["role"] != "assistant":
        raise _InvalidChat(f"the last turn is of {turns[-1]['role']!r}; it must be the assistant's")
    if not any(turn["role"] == "assistant" and turn.get("weight", 1) for turn in turns):
        raise _InvalidChat("every assistant's turn has weight 0; there is nothing to learn")


def _check_turn(name: str, turn: Any) -> None:
    if not isinstance(turn, dict):
        raise _InvalidChat(f"`{name}` must be an object with `role` and `content`")
    if turn.get("role") not in _ROLES:
        raise _InvalidChat(f"`{name}` role={turn.get('role')!r}; allowed are {', '.join(_ROLES)}")
    if extra := sorted(set(turn) - _TURN):
        raise _InvalidChat(f"`{name}` has `{extra[0]}`; allowed are {', '.join(sorted(_TURN))}")
    if turn.get("weight", 1) not in (0, 1):
        raise _InvalidChat(f"`{name}` weight={turn['weight']!r}; allowed are 0 and 1")
    content, calls = turn.get("content"), turn.get("tool_calls")
    if content is None and turn["role"] == "assistant" and isinstance(calls, list) and calls:
        return
    if not isinstance(content, str | list):
        raise _InvalidChat(f"`{name}` content must be text, not {content!r:.60}")
    if turn["role"] == "assistant" and not calls and not str(content).strip():
        raise _InvalidChat(
            f"`{name}` is an assistant's turn without content; there is nothing to learn"
        )


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
    """Return the tokens of all rows, tools included.

    Args:
        rows: Chats in OpenAI's form.
        model: The base's name without its provider.

    Raises:
        MissingExtra: litellm is not installed.
    """
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
    known = litellm_library().model_cost.get(f"ft:{model}") or {}
    prices = [known.get(f"{side}_cost_per_token") for side in ("input", "output")]
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
