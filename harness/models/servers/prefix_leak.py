"""Prefix leak: does a server compute an arm's answer from the cached prefix of another arm?

Servers keep the keys and values of a prompt's beginning for later prompts that begin alike. A cache
that forgets which adapter wrote them answers tuned in part as base, and the other way round.

A prompt is cold if nobody sent its beginning before, so each of the 16 prompts has a first word of
its own in front of one long text. Each is asked of one arm, cold, then of the other, warm. No field
of a request (such as vLLM's cache_salt) is trusted to keep them cold. Another first word moves an
answer a little, in no direction; a leak moves it towards the other arm. With w = warm − cold and
d = the other arm's cold − cold, each difference between prompts of its own, c = ⟨w, d⟩ / ⟨d, d⟩ is
0 without a leak. An answer is the square roots of the next token's probabilities, whose distances
are Hellinger's, or a greedy text with probability 1 where no log-probabilities are reported.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any
from urllib.parse import urlsplit

from tunegate.harness.contracts.model import Arm
from tunegate.harness.models.server import ServerArm
from tunegate.harness.models.servers.target import is_this_machine
from tunegate.harness.records.errors import BackendError, ModelError

_TEXT = (
    "House rules of the guest house at the lake. Guests may arrive from three in the afternoon "
    "until ten at night; whoever comes later calls the owner on the day before. Breakfast is "
    "served from seven to ten in the room beside the kitchen, on Sundays until eleven. The "
    "boats belong to the house and may be used by all guests who can swim, but not after dark, "
    "and never by children alone. Bicycles are in the shed behind the garden; please lock them, "
    "and bring them back in the evening. Dogs are welcome in the two rooms on the ground floor "
    "and in the garden, though not in the kitchen. Smoking is allowed on the terrace only. The "
    "heating is switched on from October to April, and a fire may be lit in the stove of the "
    "large room if somebody stays with it. Towels are changed every third day, bed linen every "
    "week. Bottles, paper and food scraps are collected in three separate bins next to the "
    "gate. The quiet hours last from ten at night until seven in the morning, when music should "
    "not be heard outside of a room. Whoever breaks something tells the owner, who will rarely "
    "ask for money. On the day of departure the room should be free by eleven; luggage can stay "
    "in the hall until the evening. The bus to the station leaves twice an hour from the "
    "church, and a taxi takes about fifteen minutes. In winter the lake freezes in most years, "
    "but the ice is safe only where the owner has marked it with flags; skates of all sizes "
    "hang in the shed."
)
"""Some 340 tokens: caches work in blocks of 16 (vLLM) to 256 (LMCache)."""
_PLACES = (0.82, 0.88, 0.94, 1.0)
"""Shares of the text after which it is continued."""
_TURNS = 4
"""Prompts that end at a place: each arm is first in two of them, and the other follows at once or
after all others: a cache may hold the last prompt only, or be read only after a while."""
PREFIXES = len(_PLACES) * _TURNS
_ANSWER_TOKENS = 8
"""Tokens of a greedy answer."""
_LEAK = 0.25
"""Least c that is a leak; it was 0.63 to 0.74 with two LoRA adapters of SmolLM2-135M."""
_ERRORS = 3
"""Standard errors that c may be off without a leak; each is estimated from eight differences."""
_UNCLEAR = 0.4
"""Limit of c from which on the answers vary too much, or the arms differ too little, to tell."""

Answer = Mapping[int | str, float]
"""Token id or text → square root of its probability."""


@dataclass
class PrefixLeaks:
    """What was found about the arms that share a server."""

    record: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """Two arms of one server → what was seen of them."""
    refusal: str = ""


def find_prefix_leaks(arms: Mapping[str, Arm], stored: Collection[str]) -> PrefixLeaks:
    """Ask arms that share a server the same prompts, and compare warm answers with cold ones.

    Args:
        arms: The arms that the run asks.
        stored: Those of which it has all answers already; two of them are not checked.
    """
    leaks = PrefixLeaks()
    served = {name: arm for name, arm in arms.items() if isinstance(arm, ServerArm)}
    for pair in combinations(served, 2):
        first, other = (served[name] for name in pair)
        apart = _server(first) != _server(other) or not first.dialect.shares_cache
        if apart or first.fingerprint == other.fingerprint:
            continue
        if set(pair) <= set(stored):
            found = {"status": "not checked", "why": "all answers are from earlier runs"}
        else:
            found = _check_pair({name: served[name] for name in pair})
            if found["status"] == "leaks":  # chance does it once in some hundred weak fine-tunes
                found = _check_pair({name: served[name] for name in pair})
        leaks.record[pair] = found
        if found["status"] == "leaks" and not leaks.refusal:
            leaks.refusal = _refusal(pair, other, found)
    return leaks


def _server(arm: ServerArm) -> tuple[str | None, int | None]:
    """Return the host and port of an arm's server; this machine has several names."""
    parts = urlsplit(arm.address)
    return (None if is_this_machine(arm.address) else parts.hostname), parts.port


def _unknown(why: str) -> dict[str, Any]:
    return {"status": "unknown", "why": why}


def _check_pair(arms: Mapping[str, ServerArm]) -> dict[str, Any]:
    """Return what the warm answers of two arms show."""
    try:
        answers = _ask_alternating(arms)
    except (BackendError, ModelError) as error:
        return _unknown(f"the server failed: {error}")
    first, other = arms
    moved = {name: measure_movement(answers, name) for name in arms}
    clear = [name for name, (_, limit) in moved.items() if limit <= _UNCLEAR]
    leaking = [name for name in clear if moved[name][0] > moved[name][1]]
    if not leaking and len(clear) < len(arms):
        return _unknown("their answers differ too little, or vary too much, to show it")
    worst = max(leaking or clear, key=lambda name: moved[name][0])
    c, limit = moved[worst]
    # Noise around 0 has either sign: + 0.0 makes -0.0 plain.
    measured = {"prefixes": PREFIXES, "c": round(c, 2) + 0.0, "limit": round(limit, 2)}
    if leaking:
        towards = other if worst == first else first
        return {"status": "leaks", **measured, "arm": worst, "towards": towards}
    return {"status": "isolated", **measured}


def _ask_alternating(arms: Mapping[str, ServerArm]) -> dict[tuple[str, int, int], Answer]:
    """Return (arm, place, turn) → answer; an even turn is asked of the other arm at once."""
    names = tuple(arms)
    words = {n: secrets.token_hex(3) for n in range(PREFIXES)}  # that no earlier run has sent
    answers: dict[tuple[str, int, int], Answer] = {}

    def ask(name: str, place: int, turn: int) -> None:
        word = words[place * _TURNS + turn]
        text = _TEXT[: round(len(_TEXT) * _PLACES[place])].rpartition(" ")[0]  # whole words
        answers[name, place, turn] = _answer(arms[name], f"{word}. {text}")

    prompts = [(place, turn) for place in range(len(_PLACES)) for turn in (0, 3, 1, 2)]
    for place, turn in prompts:
        ask(names[turn // 2], place, turn)
        if turn % 2 == 0:
            ask(names[1 - turn // 2], place, turn)
    for place, turn in prompts:
        if turn % 2 == 1:
            ask(names[1 - turn // 2], place, turn)
    return answers


def _answer(arm: ServerArm, text: str) -> Answer:
    if arm.tokenizer is not None:
        ids = list(arm.tokenizer(text)["input_ids"])
        reported = arm.next_logprobs([ids[: (arm.settings.context or len(ids)) - 1]])
        if reported is not None:
            return {token: math.exp(logprob / 2) for token, logprob in reported[0].items()}
    return {arm.greedy_answers([text], _ANSWER_TOKENS)[0]: 1.0}


def measure_movement(
    answers: Mapping[tuple[str, int, int], Answer], name: str
) -> tuple[float, float]:
    """Return c of an arm's warm answers, and the limit of what other first words do to it.

    Its variance is that of `along`, whose four differences between cold answers are seen: a − b and
    o − p, along d.
    """
    along = size = noise = 0.0
    names = tuple(dict.fromkeys(arm for arm, _, _ in answers))
    (other,) = (arm for arm in names if arm != name)
    cold = (0, 1) if name == names[0] else (2, 3)
    warm = tuple(turn for turn in range(_TURNS) if turn not in cold)
    for place in range(len(_PLACES)):
        kept = {(arm, turn): answers[arm, place, turn] for arm in names for turn in range(_TURNS)}
        shared = set.intersection(*map(set, kept.values()))
        tokens = sorted(shared or set().union(*kept.values()), key=str)
        vectors = {at: [answer.get(t, 0.0) for t in tokens] for at, answer in kept.items()}
        a, b = (vectors[name, turn] for turn in cold)
        o, p = (vectors[other, turn] for turn in warm)
        w, x = (vectors[name, turn] for turn in warm)
        along += _dot(_minus(w, a), _minus(p, b)) + _dot(_minus(x, b), _minus(o, a))
        size += 2 * _dot(_minus(p, b), _minus(o, a))
        d = [(i + j - k - m) / 2 for i, j, k, m in zip(o, p, a, b, strict=True)]
        noise += _dot(_minus(a, b), d) ** 2 + _dot(_minus(o, p), d) ** 2
    if size <= 0:
        return 0.0, math.inf
    return along / size, max(_LEAK, _ERRORS * math.sqrt(noise) / size)


def _minus(one: list[float], other: list[float]) -> list[float]:
    return [a - b for a, b in zip(one, other, strict=True)]


def _dot(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def _refusal(pair: tuple[str, str], arm: ServerArm, found: Mapping[str, Any]) -> str:
    return (
        f"{' and '.join(pair)} leak into each other on {arm.address}: where {found['towards']} was "
        f"asked a prompt that begins alike, the answers of {found['arm']} move "
        f"{100 * found['c']:.0f} % of the way to those of {found['towards']} (at most "
        f"{100 * found['limit']:.0f} %): the server reuses cached prefixes of another adapter; "
        f"{arm.dialect.without_prefix_cache}"
    )
