"""Requests of recorded arms, compared with those of base.

The record of an arm whose answers were made elsewhere may hold the prompt, the conversation, a hash
of either, or nothing. Two records are compared by what both hold; the rest is taken on trust. Every
reader of such answers reports what it knows as a `RecordedRequest`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tunegate.harness.checks.recorded_results import named_rules
from tunegate.harness.checks.recorded_scores import recorded_scores
from tunegate.harness.contracts.further_arm import further_arm
from tunegate.harness.contracts.model import Arm, Prompt, RecordedArm
from tunegate.harness.records.answers import GENERATED, CellKind
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import NotComparable
from tunegate.harness.records.generation import written_settings
from tunegate.harness.records.hashing import canonical_json
from tunegate.harness.records.images import hashed_part
from tunegate.harness.records.recorded_answer import RecordedRequest
from tunegate.harness.suite import Suite

SHOWN = 5
"""Most ids of cases that a refusal names."""


class RequestMatch(NamedTuple):
    """Result of comparing two requests."""

    known: bool
    """Whether both hold something that can be compared."""
    difference: str | None = None
    """How they differ, with both values; None if no difference is known."""


def compare_requests(
    first: RecordedRequest, other: RecordedRequest, names: tuple[str, str] = ("base", "tuned")
) -> RequestMatch:
    """Compare what two arms were asked in one case.

    The most exact form that both hold decides: token ids, the rendered prompt, a hash by the same
    recorder, the conversation, or the text of the prompt. Settings, rules and right answers are
    compared where both hold them.
    """
    match = _compare_prompts(first, other, names)
    if match.difference is not None:
        return match
    mine, theirs = first.settings or {}, other.settings or {}
    for name in sorted(mine.keys() & theirs.keys()):
        if canonical_json(mine[name]) != canonical_json(theirs[name]):
            values = f"{name} = {_short(mine[name])}, {names[1]} with {_short(theirs[name])}"
            return RequestMatch(True, f"{names[0]} was generated with {values}")
    rule = _other_rule(first, other)
    return match if rule is None else RequestMatch(True, f"{' and '.join(names)} differ in {rule}")


def _other_rule(first: RecordedRequest, other: RecordedRequest) -> str | None:
    """Return a rule or right answer of other tools' results that differs, with both hashes."""
    sides = [
        named_rules(request.rules, request.score_rules, request.expected_sha256)
        for request in (first, other)
    ]
    for name in sorted(sides[0].keys() & sides[1].keys()):
        if sides[0][name] != sides[1][name]:
            return f"the {name} (hashes {sides[0][name]} and {sides[1][name]})"
    return None


def _compare_prompts(
    first: RecordedRequest, other: RecordedRequest, names: tuple[str, str]
) -> RequestMatch:
    if first.rendered is not None and other.rendered is not None:
        ids = first.token_sha256, other.token_sha256
        if first.rendered == other.rendered and None not in ids and ids[0] != ids[1]:
            return RequestMatch(known=True, difference="the tokenizers split the same text apart")
        return _match(first.rendered, other.rendered, names)
    for mine, theirs in (
        (first.prompt_sha256, other.prompt_sha256),
        (first.content_sha256, other.content_sha256),
    ):
        if mine is not None and theirs is not None:
            texts = _compare_texts(first, other, names).difference
            if mine == theirs:
                return RequestMatch(True, texts and f"under one hash {mine[:12]}…, {texts}")
            hashes = f"the prompt hashes {mine[:12]}… and {theirs[:12]}… differ"
            return RequestMatch(known=True, difference=texts or hashes)
    return _compare_texts(first, other, names)


def _compare_texts(
    first: RecordedRequest, other: RecordedRequest, names: tuple[str, str]
) -> RequestMatch:
    """Compare conversations, or else the texts that the prompts may be."""
    if first.messages is not None and other.messages is not None:
        mine, theirs = _normal(first.messages), _normal(other.messages)
        if mine == theirs:
            return RequestMatch(known=True)
        difference = _match(_as_text(mine), _as_text(theirs), names).difference
        return RequestMatch(
            True, difference or "the parts of the messages that are not text differ"
        )
    mine_texts, their_texts = _whole_texts(first), _whole_texts(other)
    if not mine_texts or not their_texts:
        return RequestMatch(known=False)
    if set(mine_texts) & set(their_texts):
        return RequestMatch(known=True)
    # One record may hold only the last question of a longer conversation.
    if _last_text(first) in their_texts or _last_text(other) in mine_texts:
        return RequestMatch(known=False)
    return _match(mine_texts[0], their_texts[0], names)


def _match(one: str, other: str, names: tuple[str, str]) -> RequestMatch:
    if one == other:
        return RequestMatch(known=True)
    return RequestMatch(known=True, difference=Prompt(one).difference(Prompt(other), names))


def _weighed_texts(case: Case, kinds: Collection[CellKind]) -> str:
    """Return the texts of a case whose recorded numbers are known by their places only."""
    texts = [case.candidates_text]
    if CellKind.CHOICES in kinds:
        texts += case.choices or ()
    if CellKind.ANSWER in kinds:
        texts += case.expected_texts()
    return "\n".join(texts)


def _short(value: Any) -> str:
    text = canonical_json(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _normal(messages: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a conversation with text parts joined, images as hashes, and without empty keys."""
    return [
        {
            key: _content(value) if key == "content" else value
            for key, value in turn.items()
            if value not in (None, [], ())
        }
        for turn in messages
    ]


def _content(value: Any) -> Any:
    if isinstance(value, str):
        return value.strip()
    parts = value if isinstance(value, list | tuple) else ()
    texts = [p.get("text") for p in parts if isinstance(p, Mapping) and p.get("type") == "text"]
    if parts and len(texts) == len(parts) and all(isinstance(text, str) for text in texts):
        return "".join(map(str, texts)).strip()
    return [*map(hashed_part, parts)] if parts else value


def _as_text(messages: Iterable[Mapping[str, Any]]) -> str:
    contents = [(turn.get("role"), turn.get("content", "")) for turn in messages]
    return "\n".join(f"{r}: {c if isinstance(c, str) else canonical_json(c)}" for r, c in contents)


def _whole_texts(request: RecordedRequest) -> list[str]:
    """Return the stripped texts that may be the whole prompt."""
    texts = [request.prompt, request.rendered]
    if request.messages is not None and len(request.messages) == 1:
        texts.append(_last_text(request))
    return [text.strip() for text in texts if text is not None]


def _last_text(request: RecordedRequest) -> str | None:
    if not request.messages:
        return None
    text = _normal(request.messages[-1:])[0].get("content")
    return text if isinstance(text, str) else None


@dataclass(frozen=True, slots=True)
class RequestDifference:
    """A case in which two arms were asked different things."""

    suite: str
    case: str
    names: tuple[str, str]
    """The arms; the first may be `the suite`."""
    text: str


@dataclass
class RecordedComparison:
    """Requests of recorded arms, compared with those of base."""

    arms: tuple[str, ...] = ()
    """The recorded arms."""
    not_compared: tuple[str, ...] = ()
    """Those that are compared with nothing, such as what production answered."""
    total: Counter[str] = field(default_factory=Counter)
    """Suite → its cases."""
    differences: list[RequestDifference] = field(default_factory=list)
    compared: int = 0
    """Pairs of requests without a known difference."""
    on_trust: set[tuple[str, str]] = field(default_factory=set)
    """(suite, case) of requests that could not be compared."""

    @classmethod
    def of(
        cls,
        prompts: Mapping[tuple[str, str, str], Prompt],
        arms: Mapping[str, Arm],
        suites: Iterable[Suite] = (),
    ) -> RecordedComparison:
        """Compare the requests of base and every complete arm if one of the two is recorded.

        `prompts` maps (suite, case, arm) to the prompt as the arm sees it.
        """
        recorded = [name for name, arm in arms.items() if isinstance(arm, RecordedArm)]
        not_compared = tuple(name for name in recorded if not further_arm(name).complete)
        comparison = cls(tuple(recorded), not_compared)
        if not recorded:
            return comparison
        others = [
            name
            for name in arms
            if name != "base"
            and further_arm(name).complete
            and (name in recorded or ("base" in recorded and not further_arm(name).reference))
        ]
        by_name = {suite.name: suite for suite in suites}
        cases = {(name, case.id): case for name, s in by_name.items() for case in s.cases}
        asks = {name: _ArmRecord.of(arm) for name, arm in arms.items()}
        every = [
            _AskedCase(by_name.get(suite), cases.get((suite, case)), suite, case, prompts, asks)
            for suite, case in dict.fromkeys(place[:2] for place in prompts)
        ]
        repeated = {name: _repeated_records(every, name) for name in recorded}
        for asked_case in every:
            suite, case = asked_case.name, asked_case.case
            comparison.total[suite] += 1
            base = asked_case.of("base")
            for name in others:
                sure = not any((suite, case) in repeated.get(n, ()) for n in ("base", name))
                # An arm with a prompt of its own was asked what the suite says, not what base was.
                own = further_arm(name).reference
                names = ("the suite" if own else "base", name)
                first = asked_case.planned(name) if own else base
                comparison._add(suite, case, names, first, asked_case.of(name), sure=sure)
            for name in recorded:
                comparison._add_suite(suite, case, name, asked_case)
        return comparison

    def _add(
        self,
        suite: str,
        case: str,
        names: tuple[str, str],
        first: RecordedRequest | None,
        other: RecordedRequest | None,
        *,
        sure: bool,
    ) -> None:
        """Count how two requests compare; a case without a record is unscored anyway.

        `sure` is whether the records tell the cases apart.
        """
        if first is None or other is None:
            return
        match = compare_requests(first, other, names)
        if match.difference is not None:
            self.differences.append(RequestDifference(suite, case, names, match.difference))
        elif match.known and sure:
            self.compared += 1
        else:
            self.on_trust.add((suite, case))

    def _add_suite(self, suite: str, case: str, name: str, asked_case: _AskedCase) -> None:
        """Record where the suite asks something else than the run that an arm was recorded in."""
        theirs = asked_case.of(name)
        if asked_case.suite is None or theirs is None or theirs.case_messages is None:
            return
        judged = RecordedRequest(messages=theirs.case_messages)
        match = compare_requests(
            RecordedRequest(messages=asked_case.messages), judged, ("suite", name)
        )
        text = match.difference
        if text is None and asked_case.content is not None and theirs.case is not None:
            kinds = {metric.needs for metric in asked_case.suite.metrics}
            mine, other = (
                _weighed_texts(case, kinds) for case in (asked_case.content, theirs.case)
            )
            text = _match(mine, other, ("suite", name)).difference
        if text is not None:
            self.differences.append(RequestDifference(suite, case, ("the suite", name), text))

    @property
    def trusted(self) -> tuple[str, ...]:
        """Recorded arms whose requests are not all known to equal base's."""
        return self.not_compared if self.compared and not self.on_trust else self.arms

    def refuse_different(self) -> None:
        """Refuse arms that were asked different things under one id."""
        if not self.differences:
            return
        first = self.differences[0]
        same = [d for d in self.differences if (d.suite, d.names) == (first.suite, first.names)]
        ids = ", ".join(repr(d.case) for d in same[:SHOWN])
        more = f" and {len(same) - SHOWN} more" if len(same) > SHOWN else ""
        remedy = "compare answers to the same prompts, generated with the same settings"
        arm = further_arm(first.names[1])
        if first.names[0] == "the suite":
            remedy = "judge them by the suite as it was, or record answers to these prompts"
            remedy += f"; declare a prompt of its own under [{arm.name}]" * arm.reference
        raise NotComparable(
            f"{first.suite}: {first.names[0]} and {first.names[1]} ask different things in "
            f"{len(same)} of {self.total[first.suite]} cases ({ids}{more}); {first.case!r}: "
            f"{first.text}; {remedy}"
        )


def _repeated_records(every: Iterable[_AskedCase], name: str) -> set[tuple[str, str]]:
    """Return the cases of an arm whose recorded prompt or hash is also that of another prompt.

    Such a record was not made of the prompt, so that it proves nothing about it.
    """
    seen: dict[str, dict[str, list[tuple[str, str]]]] = {}
    for asked_case in every:
        request = asked_case.of(name)
        if request is None or asked_case.messages is None:
            continue
        messages = None if request.messages is None else canonical_json(request.messages)
        prompt = canonical_json(asked_case.messages)
        for record in {request.prompt_sha256, request.prompt, messages} - {None}:
            seen.setdefault(str(record), {}).setdefault(prompt, []).append(
                (asked_case.name, asked_case.case)
            )
    return {
        place
        for prompts in seen.values()
        if len(prompts) > 1
        for places in prompts.values()
        for place in places
    }


@dataclass(frozen=True, slots=True)
class _ArmRecord:
    """Where an arm's requests come from, determined once for all cases."""

    record: RecordedArm | None
    """The arm, if its answers were recorded."""
    here: bool
    """Whether its prompts are rendered here."""

    @classmethod
    def of(cls, arm: Arm) -> _ArmRecord:
        """Return where the requests of `arm` come from."""
        record = arm if isinstance(arm, RecordedArm) else None
        return cls(record, prompt_origin(arm) == "here")


@dataclass(frozen=True)
class _AskedCase:
    suite: Suite | None
    content: Case | None
    name: str
    case: str
    prompts: Mapping[tuple[str, str, str], Prompt]
    arms: Mapping[str, _ArmRecord]

    @property
    def messages(self) -> tuple[dict[str, Any], ...] | None:
        """The conversation that the suite asks."""
        if self.suite is None or self.content is None:
            return None
        return self.content.input_messages(self.suite.generation.system)

    def planned(self, name: str) -> RecordedRequest | None:
        """Return what the suite asks an arm that may have a prompt of its own."""
        if self.suite is None or self.content is None:
            return None
        case, settings = self.suite.asked_of(name, self.content)
        messages = case.input_messages(settings.system)
        return RecordedRequest(messages=messages, settings=self._settings())

    def of(self, name: str) -> RecordedRequest | None:
        """Return an arm's request; None if it was not asked or nothing is recorded."""
        arm = self.arms[name]
        if arm.record is not None:
            return self._recorded(arm.record)
        prompt = self.prompts.get((self.name, self.case, name))
        if prompt is None:
            return None
        return RecordedRequest(
            rendered=prompt.text if arm.here else None,
            token_sha256=None if prompt.token_ids is None else prompt.sha256,
            messages=self.messages,
            settings=self._settings(),
        )

    def _recorded(self, record: RecordedArm) -> RecordedRequest | None:
        request = record.recorded_request(self.name, self.case)
        if request is None or self.suite is None:
            return request
        scores = recorded_scores([self.suite])
        score_rules = {key: rule for key, rule in request.score_rules.items() if key in scores}
        return request.model_copy(
            update={
                "settings": request.settings if self._generates else None,
                "expected_sha256": request.expected_sha256 if scores else None,
                "score_rules": score_rules,
            }
        )

    @property
    def _generates(self) -> bool:
        """Whether the suite generates text, so that settings matter."""
        return self.suite is None or any(m.needs in GENERATED for m in self.suite.metrics)

    def _settings(self) -> dict[str, Any] | None:
        if self.suite is None or self.content is None or not self._generates:
            return None
        return written_settings(self.suite.generation.of(self.content).model_dump(), self.content)


def prompt_origin(arm: Arm) -> str:
    """Return where an arm's prompts are rendered: `here`, by its recorder or by a server."""
    if isinstance(arm, RecordedArm):
        return "replay"
    return "messages" if arm.identity.get("prompts") == "messages" else "here"
