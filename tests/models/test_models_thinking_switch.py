"""Thoughts at a server: one limit there, the suite's two limits kept here; efforts by name."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fake_server import completion
from tests.tiny_models import make_tokenizer
from tunegate.harness.contracts.decoding import decode_completion
from tunegate.harness.contracts.model import Prompt, Request
from tunegate.harness.contracts.reasoning import no_answer_reason
from tunegate.harness.models._thinking_switch import server_fields
from tunegate.harness.models._thought_tracker import ThoughtTracker
from tunegate.harness.models.servers.client import ServerClient, keep_limits
from tunegate.harness.models.servers.protocol import ServerProtocol
from tunegate.harness.models.servers.target import ServerTarget
from tunegate.harness.records.answers import Cell, CellKind, Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.generation import GenerationSettings

TEXTS = [
    "<think>\nsix times seven is forty-two</think>\n\nThe answer is 42.",
    "The answer is 42, without any thoughts at all.",
    "<think>never ends, and goes on and on and on",
    "<think></think>42",
]


class Post:
    """A server that answers everything with one text, cut at the limit that it is given."""

    def __init__(self, tokenizer: Any, text: str) -> None:
        """Keep the text as tokens."""
        self.tokenizer = tokenizer
        self.ids = tokenizer(text, add_special_tokens=False)["input_ids"]

    def post_json(self, url: str, body: dict[str, Any], *, deadline: float) -> dict[str, Any]:
        """Return the text's first tokens."""
        ids = self.ids[: body["max_tokens"]]
        reason = "stop" if len(ids) == len(self.ids) else "length"
        reply = completion(self.tokenizer.decode(ids), finish_reason=reason)
        return reply | {"usage": {"prompt_tokens": 3, "completion_tokens": len(ids)}}


def _at_a_server(tokenizer: Any, text: str, settings: GenerationSettings) -> Completion:
    where = ServerTarget("http://localhost:1/v1", "m")
    client = ServerClient(where, ServerProtocol("token ids", {}, ""), tokenizer)
    cell = Cell(suite="s", case="c", arm="base", kind=CellKind.GENERATE, key="k")
    case, prompt = Case(id="c", prompt="Hi"), Prompt("Hi", (1, 2, 3))
    http: Any = Post(tokenizer, text)
    return client.ask(http, Request(cell, case, prompt, settings, 0), 0.0)


def _here(tokenizer: Any, text: str, settings: GenerationSettings) -> dict[str, Any]:
    """Return what the engine keeps of the text, which it would write token by token."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"][: settings.most_tokens]
    tracker = ThoughtTracker.of(settings, "Hi")
    assert tracker is not None
    for count in range(1, len(ids) + 1):
        tracker.follow(tokenizer, ids[:count])
        if tracker.is_full(count):
            ids = ids[:count]
            break
    return decode_completion(tokenizer, ids, settings, prompt="Hi")


def _parts(fields: dict[str, Any]) -> list[Any]:
    """Return what a completion says; the space after the closing tag may be cut with the answer."""
    tags = [tag.rstrip() for tag in fields.get("reasoning_tags") or ()]
    names = ("text", "reasoning", "reasoning_closed", "reasoning_tokens")
    return [*map(fields.get, names), *tags]


@pytest.mark.parametrize("text", TEXTS)
def test_a_server_with_one_limit_gives_what_a_model_here_gives(text: str) -> None:
    tokenizer = make_tokenizer()
    length, first = (
        len(tokenizer(part, add_special_tokens=False)["input_ids"]) for part in (text, "<think>\n")
    )
    compared = 0
    for budget in range(first, length + 2):
        for most in (1, 4, length + 1):
            settings = GenerationSettings(thinking_budget=budget, max_new_tokens=most)
            here = _here(tokenizer, text, settings)
            there = _at_a_server(tokenizer, text, settings)
            assert _parts(here) == _parts(dict(there)), (budget, most)
            compared += 1

    assert compared == 3 * (length + 2 - first) > 9


def test_thoughts_beyond_the_budget_leave_no_answer() -> None:
    """Without a tokenizer the server's count decides; what it wrote in all stays the bill."""
    settings = GenerationSettings(thinking_budget=10, max_new_tokens=5)
    answer = Completion(
        text="42", reasoning="Hm.", reasoning_closed=True, reasoning_tokens=11, output_tokens=13
    )

    cut = keep_limits(answer, settings, None)
    kept = keep_limits(answer.model_copy(update={"reasoning_tokens": 10}), settings, None)

    assert (cut.text, cut.reasoning, cut.finish_reason) == ("", "Hm.", "length")
    assert no_answer_reason(cut) == "no answer: the thoughts had not ended after 10 tokens"
    assert cut.output_tokens == 13
    assert kept.text == "42"


def test_without_a_budget_thoughts_and_answer_share_the_limit() -> None:
    answer = Completion(text="a long answer", reasoning="Hm.", reasoning_tokens=900)

    assert keep_limits(answer, GenerationSettings(max_new_tokens=1), None) is answer


@pytest.mark.parametrize(
    ("own", "sent"),
    [
        ({"reasoning_effort": "low"}, "low"),
        ({"reasoning_effort": 0.4}, None),  # a template's own scale
        ({"tone": "dry"}, None),
    ],
)
def test_an_effort_is_sent_by_its_own_name_as_well(own: dict[str, Any], sent: str | None) -> None:
    """vLLM renders gpt-oss without a template, and reads OpenAI's `reasoning_effort` alone."""
    fields = server_fields(GenerationSettings(chat_template_kwargs=own))

    assert fields["chat_template_kwargs"] == own
    assert fields.get("reasoning_effort") == sent
    assert server_fields(GenerationSettings()) == {}
