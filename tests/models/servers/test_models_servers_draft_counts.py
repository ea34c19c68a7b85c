"""What servers tell of the tokens that they draft for an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.drafting_servers import DraftingServer
from tests.fake_server import FakeServer
from tunegate.harness.contracts.model import PoolLimits
from tunegate.harness.models.remote.failures import PermanentError
from tunegate.harness.models.server import server
from tunegate.harness.models.servers.dialect import DraftCounts
from tunegate.harness.models.servers.dialects import vllm
from tunegate.harness.records.answers import StoredAnswer
from tunegate.harness.records.cases import Case

Start = Callable[..., FakeServer]
CASES = [Case(id=f"c{i}", prompt=f"q{i}") for i in range(3)]
PROGRAMS = ("vLLM", "llama.cpp", "SGLang", "gateway")


def answers(
    fake_server: Start, ask: Any, program: DraftingServer, kind: str = "drafts", late: int = 0
) -> list[StoredAnswer]:
    """Ask tuned the three cases; `late` holds from then on."""
    fake = fake_server(**program.settings)
    arm = server(f"{fake.url}#tuned", PoolLimits(concurrency=4))
    fake.asked.clear()
    fake.busiest, program.late = 0, late
    stored = list(arm.complete(ask(arm, CASES, kind, template="chat")))
    assert fake.busiest <= 1 or kind == "generate"
    assert len(fake.asked) == (len(CASES) if program.drafts or program.program != "vLLM" else 0)
    return sorted(stored, key=lambda answer: answer.cell.case)


def counts(stored: list[StoredAnswer]) -> list[tuple[int | None, int | None]]:
    """Return (drafted, accepted) of each answer."""
    done = [answer.completion for answer in stored]
    return [(c.drafted_tokens, c.accepted_tokens) if c else (None, None) for c in done]


def only_error(stored: list[StoredAnswer]) -> str:
    """Return the error that all answers have."""
    assert all(answer.completion is None for answer in stored)
    (error,) = {answer.error for answer in stored}
    return error or ""


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_counts_of_each_answer_are_read(fake_server: Start, ask: Any, program: str) -> None:
    """Of 20 tokens 14, 15 and 0 are accepted, whatever was answered before; one at a time."""
    accepted = {"q0": 14, "q1": 15, "q2": 0}
    drafting = DraftingServer(program, lambda model, prompt: accepted.get(prompt, 3))

    assert counts(answers(fake_server, ask, drafting)) == [(20, 14), (20, 15), (20, 0)]


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("vLLM", "no vllm:spec_decode_num_draft_tokens_total in /metrics: "),
        ("llama.cpp", "no draft_n in the reply's timings: "),
        ("SGLang", "no sglext.spec_tokens_details in the reply: "),
        ("gateway", "no accepted_prediction_tokens in the reply's usage: "),
    ],
)
def test_a_server_that_tells_nothing_leaves_its_answers_unscored(
    fake_server: Start, ask: Any, program: str, why: str
) -> None:
    """vLLM's counters are looked for before it is asked anything."""
    error = only_error(answers(fake_server, ask, DraftingServer(program, drafts=False)))

    assert error.startswith(why)


def test_a_vllm_without_any_counters_says_so(fake_server: Start, ask: Any) -> None:
    """--disable-log-stats leaves them all out."""
    drafting = DraftingServer(drafts=False)
    fake = fake_server(**{**drafting.settings, "pages": {}})
    arm = server(f"{fake.url}#tuned")

    error = only_error(list(arm.complete(ask(arm, CASES, "drafts", template="chat"))))

    assert error.startswith("no vllm:generation_tokens_total in /metrics: ")
    assert "without --disable-log-stats" in error


@pytest.mark.parametrize(
    ("drafted", "accepted"),
    [(20, None), (None, 4), ("20", 4), (20.0, 4), (4, 5), (-1, -2), (20, -1)],
)
def test_what_is_no_count_is_refused(drafted: Any, accepted: Any) -> None:
    with pytest.raises(PermanentError, match=r"^no counts$"):
        DraftCounts.of(drafted, accepted, otherwise="no counts")


@pytest.mark.parametrize("program", ["vLLM", "SGLang", "gateway"])
def test_an_answer_without_drafts_has_a_count_of_0(
    fake_server: Start, ask: Any, program: str
) -> None:
    drafting = DraftingServer(program, lambda model, prompt: None)

    assert counts(answers(fake_server, ask, drafting)) == [(0, 0)] * 3


def test_answers_to_others_meanwhile_leave_it_unscored(fake_server: Start, ask: Any) -> None:
    """The reply has three tokens (`tuned answers q0`), and vLLM's counter rises by 60."""
    error = only_error(answers(fake_server, ask, DraftingServer(foreign=57)))

    assert error.startswith("60 generated tokens in /metrics during an answer of 3: ")


def test_counters_that_come_late_are_waited_for(fake_server: Start, ask: Any) -> None:
    assert counts(answers(fake_server, ask, DraftingServer(), late=2)) == [(20, 14)] * 3


def test_counters_that_never_come_leave_it_unscored(
    fake_server: Start, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of another replica behind the same address."""
    monkeypatch.setattr(vllm, "_SETTLE_S", 0.1)

    error = only_error(answers(fake_server, ask, DraftingServer(), late=1000))

    assert error.startswith("0 generated tokens in /metrics during an answer of 3: ")


@pytest.mark.parametrize("kind", ["generate", "latency"])
def test_other_questions_read_no_counters(fake_server: Start, ask: Any, kind: str) -> None:
    drafting = DraftingServer()

    stored = answers(fake_server, ask, drafting, kind)

    assert counts(stored) == [(None, None)] * 3
    assert drafting.reads == 0
