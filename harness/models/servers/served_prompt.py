"""Served prompt: does a server build the prompt that the model was trained on?

A few conversations of the run, one of each shape, are rendered by the server and by the chat
template of the folder that was trained, and compared token by token. The server also answers each
with one token, so that what it shows is known to be what it computes.

Where prompts are rendered here and sent as tokens, this run's answers are answers to our prompts;
people who ask the same server by messages get the prompts that are compared here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from tunegate.harness.contracts.further_arm import INCUMBENT, SHIPPED
from tunegate.harness.contracts.model import Arm, LocalArm, Prompt, Request
from tunegate.harness.models._chat_template import render_prompt, tokenize_text
from tunegate.harness.models.server import ServerArm
from tunegate.harness.models.servers.prompt_causes import (
    BuiltPrompt,
    lost_message,
    lost_tools,
    name_cause,
)
from tunegate.harness.models.servers.prompt_shapes import Conversation, choose_conversations
from tunegate.harness.models.servers.stop_token import find_end_token

_PAIRS = (("base", "tuned"), ("base", INCUMBENT), ("tuned", SHIPPED))
"""Arms that must get the same prompts."""
ON_TRUST = "prompt taken on trust"
_ALLOW = "or compare them anyway with --allow-prompt-difference"

Prompts = Mapping[tuple[str, str, str], Prompt]
"""(suite, case, arm) → prompt as it is sent."""
_Built = BuiltPrompt | str | None
"""A prompt; why the server builds none that is known, in words; None where it is not shown."""


@dataclass(frozen=True, slots=True)
class PromptDifference:
    """The first difference between a prompt as it should be and as it is served."""

    place: str
    cause: str
    wanted: str
    served: str

    def sentence(self) -> str:
        """Return it in words."""
        texts = f"; it builds {self.served} instead of {self.wanted}" if self.served else ""
        return f"{self.cause} ({self.place}{texts})"


@dataclass
class PromptProof:
    """What was found about the prompts of every served arm."""

    record: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Served arm → what was proven, or why its prompt is taken on trust."""
    refusal: str = ""
    """Why two arms are not comparable; empty if nothing was found against it."""
    equal: set[str] = field(default_factory=set)
    """Arms that were seen to get the same prompts as the arm that they are compared with."""

    @classmethod
    def prove(
        cls, requests: Iterable[Request], prompts: Prompts, arms: Mapping[str, Arm]
    ) -> PromptProof:
        """Compare what servers build with what was trained, and the arms with each other."""
        proof, chosen = cls(), choose_conversations(requests)
        if not chosen:
            return proof
        sides = {
            name: _ServedSide(name, arm, _trained_tokenizer(name, arm, arms))
            for name, arm in arms.items()
            if isinstance(arm, ServerArm)
        }
        for name, side in sides.items():
            side.ask(chosen)
            proof.record[name] = side.record(chosen)
            if side.lost and not proof.refusal:
                proof.refusal = f"{name}: {side.problem}; mend its server's chat template, {_ALLOW}"
        for pair in _PAIRS:
            if set(pair) <= arms.keys() and set(pair) & sides.keys():
                proof._compare(pair, arms, sides, prompts, chosen)
        return proof

    def _compare(
        self,
        pair: tuple[str, str],
        arms: Mapping[str, Arm],
        sides: Mapping[str, _ServedSide],
        prompts: Prompts,
        chosen: Sequence[Conversation],
    ) -> None:
        """Compare the prompts of two arms, and how their servers are set up."""
        compared = 0
        for conversation in chosen:
            ours = pair[1] != SHIPPED and conversation.generation.chat_template is not None
            built = [
                _built(name, arms[name], sides, prompts, conversation, ours=ours) for name in pair
            ]
            if None in built:
                continue
            compared += 1
            tokenizer = next((s.tokenizer for n, s in sides.items() if n in pair), None)
            if difference := _difference(conversation, built[0], built[1], tokenizer):
                self._refuse(pair, sides, f"they differ by {difference.sentence()}")
                return
        if compared == len(chosen):
            self.equal |= set(pair)
        stops = [sides[name].stops if name in sides else True for name in pair]
        if False in stops and stops[0] != stops[1]:
            self._refuse(pair, sides, "one of the servers does not end its answers")
        if set(pair) <= sides.keys():
            self._note_settings(pair, sides)

    def _refuse(self, pair: tuple[str, str], sides: Mapping[str, _ServedSide], why: str) -> None:
        """Refuse a pair; the cause is that of the arm which differs from what was trained."""
        differing = (n for n in reversed(pair) if n in sides and sides[n].problem)
        if name := next(differing, ""):
            why = f"{name}: {sides[name].problem}"
        self.refusal = self.refusal or (
            f"{' and '.join(pair)} do not get the same prompt: {why}; serve the chat template that "
            f"was trained, {_ALLOW}"
        )

    def _note_settings(self, pair: tuple[str, str], sides: Mapping[str, _ServedSide]) -> None:
        """Note the settings in which two servers differ; their templates are compared above."""
        first, other = (sides[name].arm.settings.record() for name in pair)
        names = [
            n for n in {**first, **other} if n != "template_sha256" and first.get(n) != other.get(n)
        ]
        if names:
            self.record[pair[1]]["settings_differ"] = {
                n: [first.get(n), other.get(n)] for n in names
            }


@dataclass
class _ServedSide:
    """A served arm: what its server builds, against what was trained."""

    name: str
    arm: ServerArm
    tokenizer: Any
    """Tokenizer and chat template that it was trained with; None if they are not known."""
    built: dict[str, _Built] = field(default_factory=dict)
    difference: PromptDifference | None = None
    lost: str = ""
    """That what the user wrote is not in the prompt."""
    compared: int = 0
    """Conversations that were compared with the trained template."""
    by_tokens: bool = True
    end: str = ""
    """The token with which the trained template ends a turn."""
    stops: bool | None = None
    """Whether the server ends an answer there; None if that was not seen."""

    def ask(self, chosen: Sequence[Conversation]) -> None:
        """Have the server build the conversations, and compare them with the trained template."""
        for conversation in chosen:
            served = self.built[conversation.place] = self._build(conversation)
            if served is None:
                return
            trained = self._trained(conversation)
            if isinstance(served, BuiltPrompt) and (served.text or not served.token_ids):
                lost = lost_message(conversation.case, served.text)
                kept = trained is None or not lost_message(conversation.case, trained.text)
                self.lost = self.lost or (lost if kept else "")
            if trained is None:
                if self.tokenizer is None:
                    self.difference = self.difference or _broken(conversation, served)
                continue
            self.compared += 1
            self.by_tokens &= isinstance(served, BuiltPrompt) and served.token_ids is not None
            self.difference = self.difference or _difference(
                conversation, trained, served, self.tokenizer
            )
        if self.tokenizer is not None and self.arm.dialect.takes_raw_prompts:
            end = find_end_token(self.tokenizer, chosen[0].generation)
            if end is not None:
                self.end = str(self.tokenizer.decode([end]))
                self.stops = self.arm.stops_at(end, self.tokenizer)

    def _build(self, conversation: Conversation) -> _Built:
        """Return what the server builds and computes."""
        case, generation = conversation.case, conversation.generation
        try:
            shown = self.arm.show_prompt(case, generation)
        except ValueError as refusal:  # its template cannot switch thinking as the suite wants
            return _refused(str(refusal))
        if shown is None or shown.refused:
            return None if shown is None else _refused(shown.refused)
        ids, text = shown.token_ids, shown.text
        if ids is None and text is not None and self.tokenizer is not None:
            ids = tokenize_text(self.tokenizer, text)
            if self.arm.settings.adds_bos and (bos := self.tokenizer.bos_token_id) is not None:
                ids = ids if ids[:1] == (bos,) else (bos, *ids)
        has_ids = ids is not None and self.tokenizer is not None
        if text is None and has_ids:
            text = str(self.tokenizer.decode(ids))
        built = BuiltPrompt.of(text or "", ids, self.tokenizer, self.arm.settings.bos)
        counted = self.arm.count_prompt(case, generation)
        if ids is not None and counted == len(ids) + 1:
            return replace(built, fronts=built.fronts + 1)  # it adds what it does not show
        if ids is not None and counted is not None and counted > len(ids):
            return (
                f"the server shows a prompt of {len(ids)} tokens and computes {counted}: something "
                "adds to it, such as a proxy with a system prompt of its own"
            )
        return built

    def _trained(self, conversation: Conversation) -> BuiltPrompt | None:
        """Return the prompt by the trained template; None where it cannot be had."""
        if self.tokenizer is None:
            return None
        try:
            prompt = render_prompt(
                self.tokenizer,
                conversation.case,
                conversation.generation,
                spec=self.arm.spec,
            )
        except ValueError:  # the run says so of each such case
            return None
        return BuiltPrompt.of(prompt.text, prompt.token_ids, self.tokenizer)

    @property
    def problem(self) -> str:
        """Return in words how the prompt differs from what was trained; empty if it does not."""
        if self.difference is not None:
            return self.difference.sentence()
        if self.stops is False:
            return (
                f"the server does not end an answer at {self.end!r}, with which the trained chat "
                f"template ends a turn; its own end is {self.arm.settings.eos or 'unknown'!r}"
            )
        return ""

    def record(self, chosen: Sequence[Conversation]) -> dict[str, Any]:
        """Return what was found, for the manifest."""
        program = self.arm.settings.program or "the server"
        if None in self.built.values() and not self.problem:
            return {"status": "declared", "note": f"{ON_TRUST}: {program} does not show it"}
        shared = {
            "conversations": len(chosen),
            "shapes": sorted({shape for conversation in chosen for shape in conversation.shapes}),
            **({} if self.stops is None else {"ends_at": self.end, "ends": self.stops}),
        }
        if self.problem:
            by_server = self.arm.client.form.prompts == "messages"
            difference = {} if self.difference is None else {"difference": asdict(self.difference)}
            return {
                "status": "different",
                **shared,
                **difference,
                "warning": _warning(self.problem, by_server=by_server),
            }
        if not self.compared:
            why = "no trained chat template is known; name its folder with ?tokenizer=FOLDER"
            return {"status": "declared", **shared, "note": f"{ON_TRUST}: {why}"}
        by = "token ids" if self.by_tokens else "text"
        return {"status": "proven", "by": by, **shared, "conversations": self.compared}


def _warning(problem: str, *, by_server: bool) -> str:
    if by_server:
        return f"asked with another prompt than that of its training: {problem}"
    return (
        "people who send messages to its server do not get the prompt that it was trained on and "
        f"this run sent: {problem}"
    )


def _trained_tokenizer(name: str, arm: ServerArm, arms: Mapping[str, Arm]) -> Any:
    """Return the tokenizer of what an arm was made from; a deployment was made from tuned."""
    made_from = arms.get("tuned") if name == SHIPPED else None
    return arm.tokenizer or getattr(made_from, "tokenizer", None)


def _built(
    name: str,
    arm: Arm,
    sides: Mapping[str, _ServedSide],
    prompts: Prompts,
    conversation: Conversation,
    *,
    ours: bool,
) -> _Built:
    """Return what people who use an arm get; None if that is not known.

    With `ours`, an arm whose prompts are rendered here has those: the suite chose their template.
    """
    here = arm.identity.get("prompts") != "messages"
    if name in sides and not (ours and here):
        return sides[name].built.get(conversation.place)
    prompt = prompts.get((conversation.suite, conversation.case.id, name))
    if prompt is None or not here or not isinstance(arm, (LocalArm, ServerArm)):
        return None
    return BuiltPrompt.of(prompt.text, prompt.token_ids, arm.tokenizer)


def _difference(
    conversation: Conversation, wanted: _Built, served: _Built, tokenizer: Any
) -> PromptDifference | None:
    """Return how a prompt differs from the one it should be; None if it does not."""
    refusals = [prompt for prompt in (wanted, served) if isinstance(prompt, str)]
    if refusals:
        equal = len(refusals) == 2
        return None if equal else PromptDifference(conversation.place, refusals[0], "", "")
    assert isinstance(wanted, BuiltPrompt)
    assert isinstance(served, BuiltPrompt)
    if wanted.equals(served):
        return None
    cause = name_cause(conversation.case, conversation.generation, wanted, served, tokenizer)
    return PromptDifference(conversation.place, cause, *wanted.excerpts(served))


def _refused(words: str) -> str:
    return f"the server refuses the conversation: {words}"


def _broken(conversation: Conversation, served: _Built) -> PromptDifference | None:
    """Return what is wrong with a prompt in any case, where its right form is not known."""
    case, lost = conversation.case, ""
    if isinstance(served, str):
        lost = served
    elif served is not None and (served.text or not served.token_ids):
        lost = lost_message(case, served.text) or lost_tools(case, served.text)
    return PromptDifference(conversation.place, lost, "", "") if lost else None
