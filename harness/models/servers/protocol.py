"""Server protocol: the request format that a server takes, and parsing of its replies.

Where the tokenizer is known here, prompts are rendered here and both arms provably get the same:
as token ids where the server takes them, as text where it splits texts as we do. Otherwise it gets
messages, and renders them itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tunegate.harness.contracts.model import Prompt
from tunegate.harness.contracts.thinking import call_text
from tunegate.harness.contracts.thoughts import message_thoughts
from tunegate.harness.models.remote.http import HttpClient, PermanentError, RetryableError
from tunegate.harness.models.servers.discovery import ServerTarget, try_request
from tunegate.harness.records.answers import reported_amount
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


def discover_protocol(http: HttpClient, where: ServerTarget, tokenizer: Any) -> ServerProtocol:
    """Find out in which form the server takes questions.

    Raises:
        ModelError: it takes none, or its tokenizer is another one than `tokenizer`.
    """
    if tokenizer is None:
        why = f"splits texts unseen; name its tokenizer: {_tokenizer_spec(where)}"
        return ServerProtocol(
            "messages", _plain(http, where, _greeting(), "chat/completions"), "", why=why
        )
    checked, special = _same_tokenizer(http, where, tokenizer)
    ids = tokenizer(PROBE, add_special_tokens=False)["input_ids"]
    plain = _first_plain(http, where, {"prompt": ids}, tokens=len(ids))
    if plain is not None:
        return ServerProtocol("token ids", plain, checked, special)
    plain = _first_plain(http, where, {"prompt": PROBE}, tokens=None)
    if plain is not None:
        return ServerProtocol("text", plain, checked, special, why="takes no token ids, only text")
    return ServerProtocol("messages", _plain(http, where, _greeting(), "chat/completions"), checked)


def one_token(where: ServerTarget, **fields: Any) -> dict[str, Any]:
    """Return the body of a request for one greedy token."""
    return {"model": where.model, "max_tokens": 1, "temperature": 0.0, **fields}


def _tokenizer_spec(where: ServerTarget) -> str:
    return f"server:{where.url}?tokenizer=FOLDER#{where.model}"


def _greeting() -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "Hello"}]}


def _plain(
    http: HttpClient, where: ServerTarget, asked: Mapping[str, Any], path: str
) -> Mapping[str, Any]:
    """Return the settings it takes.

    Raises:
        ModelError: it takes the question in no way.
    """
    plain = _first_plain(http, where, asked, tokens=None, path=path)
    if plain is None:
        raise ModelError(
            f"{where.spec()}: {where.url}/{path} does not take a plain question; is it a model "
            "that writes text?"
        )
    return plain


def _first_plain(
    http: HttpClient,
    where: ServerTarget,
    asked: Mapping[str, Any],
    *,
    tokens: int | None,
    path: str = "completions",
) -> Mapping[str, Any] | None:
    """Return the first settings with which the question is taken; None if it is with none.

    Args:
        http: The client.
        where: The server.
        asked: The question's own fields.
        tokens: How many tokens the server must have seen, if it reports it.
        path: Where to ask.
    """
    for plain in _PLAIN:
        reply = try_request(http, f"{where.url}/{path}", one_token(where, **asked, **plain))
        if reply is not None and reply.get("choices"):
            seen = token_usage(reply, "prompt_tokens")
            return plain if tokens is None or seen in (tokens, None) else None
    return None


def _same_tokenizer(http: HttpClient, where: ServerTarget, tokenizer: Any) -> tuple[str, bool]:
    """Return how the server's tokenizer was compared, and whether it adds special tokens.

    Raises:
        ModelError: it splits a text in another way.
    """
    bare = tokenizer(PROBE, add_special_tokens=False)["input_ids"]
    full = tokenizer(PROBE)["input_ids"]
    told = try_request(http, f"{where.origin}/tokenize", {"model": where.model, "prompt": PROBE})
    ids = told.get("tokens") if told else None
    if isinstance(ids, list) and all(isinstance(i, int) for i in ids):
        if ids not in (bare, full):
            raise ModelError(_other(where, "other token ids"))
        return "by token ids", ids == full != bare
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

    Raises:
        BackendError: the server ended over it.
    """
    if form.prompts != "token ids":
        return form
    ids = tokenizer(PROBE, add_special_tokens=False)["input_ids"]
    prompts = [ids, ids[:-1]]
    for fields in _LOGPROBS:
        body = one_token(where, prompt=prompts, **fields)
        reply = try_request(http, f"{where.url}/completions", body)
        if reply is not None and _tells(reply, prompts):
            return ServerProtocol(form.prompts, form.plain, form.checked, form.special, fields)
    return form


def _tells(reply: Mapping[str, Any], prompts: list[list[int]]) -> bool:
    try:
        found = ordered_choices(reply, len(prompts))
    except RetryableError:
        return False
    told = [prompt_logprobs(choice, ids) for choice, ids in zip(found, prompts, strict=True)]
    return all(values is not None for values in told)


def wire_prompt(form: ServerProtocol, tokenizer: Any, prompt: Prompt) -> str | list[int]:
    """Return what is sent for a prompt that was rendered here.

    Raises:
        ValueError: no text would become these tokens at the server.
    """
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


@dataclass(frozen=True, slots=True)
class ServerCompletion:
    """A completion as the server gives it."""

    text: str
    finish_reason: str | None
    input_tokens: int | None
    output_tokens: int | None
    reasoning: str | None = None
    """The thoughts, where the server separates them."""
    reasoning_tokens: int | None = None
    model: str | None = None
    """The model that answered, by the server's report."""
    calls_tools: bool = False


def parse_completion(reply: Mapping[str, Any]) -> ServerCompletion:
    """Read a reply of `/completions` or `/chat/completions`.

    Raises:
        RetryableError: it holds no answer.
        PermanentError: a filter withheld the answer, or its message has no content.
    """
    choice = ordered_choices(reply, 1)[0]
    message, ended = choice.get("message"), choice.get("finish_reason")
    if ended == "content_filter":
        raise PermanentError("a content filter withheld the answer", whole=False)
    if choice.get("error") or ended == "error":
        raise RetryableError(f"the reply is an error: {str(choice.get('error'))[:80]}")
    text = choice.get("text") if message is None else _message_text(message)
    if text is None and isinstance(message, dict):
        if message_thoughts(message) is None and reasoning_usage(reply) is None:
            why = f"no answer: the reply's content is null (finish reason {ended or 'unknown'})"
            raise PermanentError(why, whole=False)
        text = ""  # all of it is thoughts
    if not isinstance(text, str):
        raise RetryableError(f"the reply holds no text but {str(text)[:80]!r}")
    model = reply.get("model")
    return ServerCompletion(
        text,
        ended if isinstance(ended, str) else None,
        token_usage(reply, "prompt_tokens"),
        token_usage(reply, "completion_tokens"),
        message_thoughts(message) if isinstance(message, dict) else None,
        reasoning_usage(reply),
        model if isinstance(model, str) and model else None,
        bool(isinstance(message, dict) and message.get("tool_calls")),
    )


def is_foreign(asked: str, told: str) -> bool:
    """Return whether a reply names another model than the one asked: a proxy's fallback.

    A date, revision or `latest` behind the name is the same model, and so is an owner or path in
    front of one of the two.
    """
    if ("/" in asked) != ("/" in told):
        asked, told = (name.rpartition("/")[2] for name in (asked, told))
    return re.fullmatch(re.escape(asked) + _VERSION, told) is None


_VERSION = r"(?:@.+|:latest|-\d{4}(?:-?\d\d-?\d\d)?|-\d{3})?"


def ordered_choices(reply: Mapping[str, Any], wanted: int) -> list[dict[str, Any]]:
    """Return the reply's choices in the order of what was asked.

    Raises:
        RetryableError: there are not as many as were asked for.
    """
    found = reply.get("choices")
    if not isinstance(found, list) or len(found) != wanted:
        raise RetryableError(f"the reply has not {wanted} choices but {str(found)[:80]}")
    if not all(isinstance(choice, dict) for choice in found):
        raise RetryableError(f"the reply's choices are not objects: {str(found)[:80]}")
    return sorted(found, key=lambda choice: choice.get("index") or 0)


def token_usage(reply: Mapping[str, Any], name: str) -> int | None:
    """Return a number of tokens from `usage`; None where the server reports none."""
    value = _object(reply.get("usage")).get(name)
    return reported_amount(value) if isinstance(value, int) else None


def reasoning_usage(reply: Mapping[str, Any]) -> int | None:
    """Return the tokens of the thoughts from `usage`; None where none are reported."""
    details = _object(_object(reply.get("usage")).get("completion_tokens_details"))
    value = details.get("reasoning_tokens")
    return reported_amount(value) or None if isinstance(value, int) else None


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _message_text(message: Any) -> Any:
    """Return the text of an assistant's message; calls of tools are written out as Hermes does.

    A refusal in words is an answer. None where the message has no content at all.
    """
    if not isinstance(message, dict):
        return None
    text = message.get("content")
    if not text and isinstance(message.get("refusal"), str):
        text = message["refusal"]
    if isinstance(text, list):  # parts, those of thoughts among them
        text = "".join(p.get("text") or "" for p in text if isinstance(p, dict))
    calls = message.get("tool_calls")
    if not calls:
        return text
    text = text or ""
    return "\n".join([*([text] if text else []), *map(_call, calls)])


def _call(call: Any) -> str:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        raise RetryableError(f"the reply's tool call is not a call: {str(call)[:80]}")
    return call_text(function.get("name"), function.get("arguments"))


def prompt_logprobs(choice: Mapping[str, Any], ids: Sequence[int]) -> list[float] | None:
    """Return the natural-log probability of each token of a prompt after its first.

    Two forms are known: `prompt_logprobs` (vLLM: a mapping of token ids for each place) and
    `logprobs.token_logprobs` of an echoed prompt (vLLM, SGLang, OpenAI's older models).
    """
    told: Any
    places = choice.get("prompt_logprobs")
    if isinstance(places, list) and len(places) == len(ids):
        told = [_token_logprob(place, token) for place, token in zip(places, ids, strict=True)]
    else:
        told = _object(choice.get("logprobs")).get("token_logprobs")
        # The token that had to be written may be at the end.
        if not isinstance(told, list) or len(told) not in (len(ids), len(ids) + 1):
            return None
    values = told[1 : len(ids)]
    fine = all(isinstance(v, int | float) and math.isfinite(v) and v <= 1e-3 for v in values)
    return [float(v) for v in values] if fine else None


def _token_logprob(place: Any, token: int) -> Any:
    return _object(_object(place).get(str(token))).get("logprob")


_LIKELIEST = (20, 5)
"""Numbers of likeliest tokens that are asked for: vLLM's limit, and OpenAI's."""
_TOKEN_ID = "token_id:"


def next_token_logprobs(
    http: HttpClient, where: ServerTarget, form: ServerProtocol, prefixes: list[list[int]]
) -> list[dict[int, float]] | None:
    """Return token id → log-probability of the likeliest tokens after each prefix.

    None where the server does not report them by token id, as vLLM does with
    `return_tokens_as_token_ids`.

    Raises:
        BackendError: the server does not answer, or ended over the question.
    """
    fields = {**form.plain, "return_tokens_as_token_ids": True}
    for count in _LIKELIEST:
        asked = one_token(where, prompt=prefixes, logprobs=count, **fields)
        try:
            reply = try_request(http, f"{where.url}/completions", asked)
            found = [] if reply is None else ordered_choices(reply, len(prefixes))
        except (ModelError, RetryableError) as silence:
            raise BackendError(str(silence)) from silence
        if found:
            told = [_by_token_id(choice) for choice in found]
            return None if None in told else [one for one in told if one is not None]
    return None


def _by_token_id(choice: Mapping[str, Any]) -> dict[int, float] | None:
    places = _object(choice.get("logprobs")).get("top_logprobs")
    first = places[0] if isinstance(places, list) and places else None
    if not isinstance(first, dict) or not first:
        return None
    names = [name.removeprefix(_TOKEN_ID) for name in first if name.startswith(_TOKEN_ID)]
    if len(names) != len(first) or not all(name.isdecimal() for name in names):
        return None
    values = [v for v in first.values() if isinstance(v, int | float) and math.isfinite(v)]
    if len(values) != len(names):
        return None
    return {int(name): float(value) for name, value in zip(names, values, strict=True)}
