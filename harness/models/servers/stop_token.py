"""Stop token: does a server end an answer where the trained chat template ends a turn?

The server is made to write the template's end of turn, by a bias on that token. A token that is a
word is tried first: a server that does not heed biases proves nothing.
"""

from __future__ import annotations

from typing import Any

from tunegate.harness.models.remote.failures import PermanentError, RetryableError
from tunegate.harness.models.servers.dialect import ServerConnection
from tunegate.harness.models.servers.replies import ordered_choices
from tunegate.harness.records.generation import GenerationSettings

_BIAS = 100
"""The largest bias that OpenAI's API takes."""
_WORD = "answer"


def find_end_token(tokenizer: Any, generation: GenerationSettings) -> int | None:
    """Return the special token that follows an answer in the chat template; None without one."""
    turns = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": _WORD}]
    template_argument = (
        {} if generation.chat_template is None else {"chat_template": generation.chat_template}
    )
    try:
        text = str(tokenizer.apply_chat_template(turns, tokenize=False, **template_argument))
    except Exception:  # whatever a template raises: the end of its turns is unknown then
        return None
    rest = text.rpartition(_WORD)[2]
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    ids = tokenizer(rest, add_special_tokens=False)["input_ids"]
    return next((token for token in ids if token in special), None)


def stops_at(server: ServerConnection, tokenizer: Any, token: int) -> bool | None:
    """Return whether the server ends an answer with a token; None if that cannot be seen."""
    word = tokenizer(_WORD, add_special_tokens=False)["input_ids"][0]
    text, _ = _forced(server, tokenizer, word)
    if text.strip() != str(tokenizer.decode([word, word])).strip():
        return None
    return _forced(server, tokenizer, token)[1] == "stop"


def _forced(server: ServerConnection, tokenizer: Any, token: int) -> tuple[str, str]:
    """Return two tokens that the server writes with a bias on one, and why it ended."""
    body = {
        "prompt": tokenizer(_WORD, add_special_tokens=False)["input_ids"],
        "max_tokens": 2,
        "temperature": 0.0,
        "logit_bias": {str(token): _BIAS},
    }
    try:
        choice = ordered_choices(server.post("completions", body), 1)[0]
    except (PermanentError, RetryableError):
        return "", ""
    return str(choice.get("text")), str(choice.get("finish_reason"))
