"""Server protocol: the request format that a server takes.

Where the tokenizer is known here, prompts are rendered here and both arms provably get the same:
as token ids where the server takes them, as text where it splits texts as we do. Otherwise it gets
messages, and renders them itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tunegate.harness.contracts.model import Prompt, first_difference
from tunegate.harness.models.remote.failures import RetryableError
from tunegate.harness.models.remote.http import HttpClient
from tunegate.harness.models.servers.dialect import UNKNOWN, ServerConnection, ServerDialect
from tunegate.harness.models.servers.discovery import try_request
from tunegate.harness.models.servers.replies import (
    logprobs_by_id,
    ordered_choices,
    prompt_logprobs,
    token_usage,
)
from tunegate.harness.models.servers.target import ServerTarget
from tunegate.harness.records.errors import BackendError, ModelError

PROBE = "Grüße aus Köln, 1234567 naïve façades!\n\tdef f(x):  return x**2 # 你好, мир 🙂"
"""A text that tokenizers of other families split into another number of tokens."""
_PLAIN: tuple[Mapping[str, Any], ...] = (
    {
        "repetition_penalty": 1.0,
        "frequency_penalty": 0.0,
        "presence_penalty": 0.0,
        "top_k": -1,
        "min_p": 0.0,
    },
    {"frequency_penalty": 0.0},
    {},
)
"""Settings that keep a server from adding its own to ours: as many as it takes.

vLLM takes them all, and would else read a repetition penalty from the model's generation_config;
`transformers serve` sets the repetition penalty to 1 + frequency_penalty.
"""
_LOGPROBS: tuple[Mapping[str, Any], ...] = (
    {"prompt_logprobs": 1},
    {"echo": True, "logprobs": 1},
)
"""Fields by which servers are asked for the log-probabilities of a prompt."""
_NOT_OFFERED = (
    "does not report the log-probabilities of a given text (vLLM: prompt_logprobs; SGLang: echo "
    "with logprobs); leave out the metric, or judge the model's folder itself"
)


@dataclass(frozen=True)
class ServerProtocol:
    """How a server is asked."""

    prompts: Literal["token ids", "text", "messages"]
    plain: Mapping[str, Any]
    """Fields that keep decoding as the suite sets it."""
    checked: str
    """How its tokenizer was found to be ours."""
    special: bool = False
    """Whether it puts its special tokens in front of a text."""
    logprobs: Mapping[str, Any] | None = None
    """Fields that make it report the log-probabilities of a prompt; None if it does not."""
    why: str = field(default=_NOT_OFFERED, repr=False)
    """Why it does not."""


def discover_protocol(
    server: ServerConnection, tokenizer: Any, dialect: ServerDialect = UNKNOWN
) -> ServerProtocol:
    """Find out in which form the server takes questions."""
    http, where, neutral = server.http, server.where, dialect.neutral
    if tokenizer is None or not dialect.takes_raw_prompts:
        why = f"splits texts unseen; name its tokenizer: {_tokenizer_spec(where)}"
        if not dialect.takes_raw_prompts:
            why = f"is {dialect.name}, which takes messages only"
        plain = _plain(http, where, _greeting(), "chat/completions")
        return ServerProtocol("messages", {**plain, **neutral}, "", why=why)
    checked, special = _same_tokenizer(server, tokenizer, dialect)
    ids = tokenizer(PROBE, add_special_tokens=False)["input_ids"]
    plain_settings = _first_plain(http, where, {"prompt": ids}, tokens=len(ids))
    if plain_settings is not None:
        return ServerProtocol("token ids", {**plain_settings, **neutral}, checked, special)
    plain_settings = _first_plain(http, where, {"prompt": PROBE}, tokens=None)
    if plain_settings is not None:
        why = "takes no token ids, only text"
        return ServerProtocol("text", {**plain_settings, **neutral}, checked, special, why=why)
    plain = _plain(http, where, _greeting(), "chat/completions")
    return ServerProtocol("messages", {**plain, **neutral}, checked)


def one_token(where: ServerTarget, **fields: Any) -> dict[str, Any]:
    """Return the body of a request for one greedy token."""
    return {"model": where.model, "max_tokens": 1, "temperature": 0.0, **fields}


def _tokenizer_spec(where: ServerTarget) -> str:
    return f"server:{where.url}?tokenizer=FOLDER#{where.model}"


def _greeting() -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "Hello"}]}


def _plain(
    http: HttpClient, where: ServerTarget, question: Mapping[str, Any], path: str
) -> Mapping[str, Any]:
    """Return the settings it takes."""
    plain = _first_plain(http, where, question, tokens=None, path=path)
    if plain is None:
        raise ModelError(
            f"{where.spec()}: {where.url}/{path} does not take a plain question; is it a model "
            "that writes text?"
        )
    return plain


def _first_plain(
    http: HttpClient,
    where: ServerTarget,
    question: Mapping[str, Any],
    *,
    tokens: int | None,
    path: str = "completions",
) -> Mapping[str, Any] | None:
    """Return the first settings with which the question is taken; None if it is with none."""
    for plain in _PLAIN:
        reply = try_request(http, f"{where.url}/{path}", one_token(where, **question, **plain))
        if reply is not None and reply.get("choices"):
            seen = token_usage(reply, "prompt_tokens")
            return plain if tokens is None or seen in (tokens, None) else None
    return None


def _same_tokenizer(
    server: ServerConnection, tokenizer: Any, dialect: ServerDialect
) -> tuple[str, bool]:
    """Return how the server's tokenizer was compared, and whether it adds special tokens."""
    http, where = server.http, server.where
    bare = tokenizer(PROBE, add_special_tokens=False)["input_ids"]
    full = tokenizer(PROBE)["input_ids"]
    ids = dialect.tokenize(server, PROBE, special=False)
    if ids is not None:
        if list(ids) not in (bare, full):
            raise ModelError(_other(where, _first_other(ids, bare)))
        return "by token ids", dialect.tokenize(server, PROBE, special=True) != tuple(bare)
    for plain in reversed(_PLAIN):
        reply = try_request(
            http, f"{where.url}/completions", one_token(where, prompt=PROBE, **plain)
        )
        seen = token_usage(reply, "prompt_tokens") if reply else None
        if seen is None:
            continue
        if seen not in (len(bare), len(full)):
            raise ModelError(_other(where, f"{seen} tokens, ours makes {len(bare)}"))
        return "by number of tokens", seen == len(full) != len(bare)
    return "unknown", False


def _first_other(ids: Sequence[int], ours: Sequence[int]) -> str:
    at = first_difference(ids, ours)
    return f"other token ids from number {at} of {len(ours)} on"


def _other(where: ServerTarget, what: str) -> str:
    return (
        f"{where.spec()}: the server's tokenizer makes {what} of the same text: it is of another "
        f"family; name the one of {where.model} with {_tokenizer_spec(where)}"
    )


def discover_likelihoods(
    http: HttpClient, where: ServerTarget, form: ServerProtocol, tokenizer: Any
) -> ServerProtocol:
    """Return the form with how log-probabilities of a prompt are asked for, if they are reported.

    It is asked only where a metric needs them: some servers end over the question.
    """
    if form.prompts != "token ids":
        return form
    ids = tokenizer(PROBE, add_special_tokens=False)["input_ids"]
    prompts = [ids, ids[:-1]]
    for fields in _LOGPROBS:
        body = one_token(where, prompt=prompts, **fields)
        reply = try_request(http, f"{where.url}/completions", body)
        if reply is not None and _reports_likelihoods(reply, prompts):
            return ServerProtocol(form.prompts, form.plain, form.checked, form.special, fields)
    return form


def _reports_likelihoods(reply: Mapping[str, Any], prompts: list[list[int]]) -> bool:
    try:
        choices = ordered_choices(reply, len(prompts))
    except RetryableError:
        return False
    logprobs = [prompt_logprobs(choice, ids) for choice, ids in zip(choices, prompts, strict=True)]
    return all(values is not None for values in logprobs)


def wire_prompt(form: ServerProtocol, tokenizer: Any, prompt: Prompt) -> str | list[int]:
    """Return what is sent for a prompt that was rendered here."""
    ids = list(prompt.token_ids or ())
    if not ids:
        raise ValueError("the prompt is empty after tokenising")
    if form.prompts == "token ids":
        return ids
    for text in _spellings(prompt.text, getattr(tokenizer, "bos_token", None)):
        if tokenizer(text, add_special_tokens=form.special)["input_ids"] == ids:
            return text
    raise ValueError(
        "the server adds other special tokens than the chat template does, so it cannot be sent "
        "the prompt that the model was trained on; use a server that takes token ids (vLLM)"
    )


def _spellings(text: str, first: str | None) -> Iterator[str]:
    """Yield the text, and the same without or with the token that a server may add in front."""
    yield text
    if first:
        yield text.removeprefix(first)
        yield first + text


_LIKELIEST = (20, 5)
"""Numbers of likeliest tokens that are asked for: vLLM's limit, and OpenAI's."""


def next_token_logprobs(
    http: HttpClient, where: ServerTarget, form: ServerProtocol, prefixes: list[list[int]]
) -> list[dict[int, float]] | None:
    """Return token id → log-probability of the likeliest tokens after each prefix.

    None where the server does not report them by token id, as vLLM does with
    `return_tokens_as_token_ids`.
    """
    fields = {**form.plain, "return_tokens_as_token_ids": True}
    for count in _LIKELIEST:
        question = one_token(where, prompt=prefixes, logprobs=count, **fields)
        try:
            reply = try_request(http, f"{where.url}/completions", question)
            choices = [] if reply is None else ordered_choices(reply, len(prefixes))
        except (ModelError, RetryableError) as silence:
            raise BackendError(str(silence)) from silence
        if choices:
            by_id = [logprobs_by_id(choice) for choice in choices]
            return (
                None if None in by_id else [logprobs for logprobs in by_id if logprobs is not None]
            )
    return None
