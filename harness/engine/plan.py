"""Execution plan: every cell of a run with its key and batch.

All suites of a session are planned together. A question is a case asked in one way; each question
has one cell per arm, and both arms get the same batches, because the shape of a batch can move a
greedy answer and would be noise between the arms.

What is planned for a further arm is part of its declaration
(`tunegate.harness.contracts.further_arm`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from tunegate.harness.contracts.further_arm import further_arm
from tunegate.harness.contracts.model import Arm, Prompt, Request
from tunegate.harness.contracts.reasoning import ThinkingMismatch
from tunegate.harness.engine.cell_keys import arm_key, cell_key, sampling_seed, with_episode
from tunegate.harness.engine.noise_sample import noise_sample
from tunegate.harness.engine.scheduling import PlannedQuestion, RequestBatch, make_batches
from tunegate.harness.records.answers import ALONE, WRITTEN, Cell, CellKind
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import SuiteError
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.records.manifest import LookSchedule
from tunegate.harness.suite import Suite
from tunegate.harness.suite.toml_file import read_toml


@dataclass(frozen=True)
class Plan:
    """All requests of a run, in order."""

    cells: tuple[Cell, ...] = field(repr=False)
    """Every cell: suites in order, cases in order, arms within a case."""
    batches: tuple[RequestBatch, ...] = field(repr=False)
    """Questions to be computed together, the same for every arm."""
    requests: Mapping[tuple[PlannedQuestion, str], Request] = field(repr=False)
    """(question, arm) → what to send; absent where a prompt could not be rendered."""
    prompts: Mapping[tuple[str, str, str], Prompt] = field(repr=False)
    """(suite, case, arm) → rendered prompt."""
    failures: Mapping[str, str] = field(repr=False)
    """Cell key → why its prompt could not be rendered."""
    earlier: Mapping[str, str] = field(repr=False, default_factory=dict)
    """Key of a cell of tuned → key of the candidate judged before it, asked the same."""

    def sentence(self, stored: int) -> str:
        """Describe the plan; `stored` cells have their answer already."""
        note = f" ({stored} are stored already)" if stored else ""
        return f"{len(self.cells)} answers planned{note}"

    def narrow(self, arms: Collection[str], *, timed: bool = True) -> Plan:
        """Return the plan of some arms; all requests stay, as drafts may need them."""
        left = (c for c in self.cells if timed or c.kind not in ALONE)
        return replace(
            self,
            cells=tuple(cell for cell in left if cell.arm in arms),
            batches=tuple(b for b in self.batches if timed or b.kind not in ALONE),
        )


def make_plan(
    suites: Sequence[Suite],
    arms: Mapping[str, Arm],
    *,
    seed: int,
    looks: Mapping[str, LookSchedule] = MappingProxyType({}),
    before: Mapping[str, str] = MappingProxyType({}),
) -> Plan:
    """Render every prompt once and make cells and batches.

    Args:
        suites: The suites.
        arms: Arm name → arm.
        seed: Seed of sampling and of every drawn order.
        looks: Suite → its interim looks.
        before: Suite → fingerprint of the candidate that it judged last.
    """
    prompts: dict[tuple[str, str, str], Prompt] = {}
    cells: list[Cell] = []
    requests: dict[tuple[PlannedQuestion, str], Request] = {}
    failures: dict[str, str] = {}
    questions: dict[PlannedQuestion, int] = {}
    fingerprints = {name: arm_key(name, arm, arms["base"]) for name, arm in arms.items()}
    suites = [_with_template(suite, arms) for suite in suites]
    for suite in suites:
        _refuse_budget(suite, arms)
        again = noise_sample((case.id for case in suite.plain_cases), suite=suite.name, seed=seed)
        for case in suite.cases:
            active = {
                n: a
                for n, a in arms.items()
                if case.id in again or not further_arm(n).sampled
                if n in suite.arm_prompts or not further_arm(n).needs_prompt
            }
            asked = {name: suite.asked_of(name, case) for name in active}
            rendered = _render(suite, case, active, asked)
            ready = {n: prompt for n, prompt in rendered.items() if isinstance(prompt, Prompt)}
            prompts |= {(suite.name, case.id, n): prompt for n, prompt in ready.items()}
            for question in _questions(suite, case):
                for name in active:
                    rules = further_arm(name)
                    if not rules.is_asked(question.kind, question.sample, arms[name].kinds):
                        continue
                    prompt = _prompt_for(question.kind, rendered[name])
                    key_prompt = prompt if isinstance(prompt, Prompt) else Prompt("")
                    key = cell_key(question, suite, case, fingerprints[name], key_prompt, seed)
                    cells.append(_cell(question, name, key))
                    if isinstance(prompt, Prompt):
                        request = _request(cells[-1], suite, prompt, asked[name], seed)
                        request = with_episode(request, question, suite, fingerprints[name], seed)
                        requests[question, name] = request
                        # By base's prompt: a further arm must not change the batches of the others.
                        questions.setdefault(question, _length(request))
                    else:
                        failures[key] = prompt
    return Plan(
        tuple(cells),
        make_batches(questions, _stages(questions, looks), _token_ids(requests)),
        requests,
        prompts,
        failures,
        _earlier(suites, requests, before, seed),
    )


def _prompt_for(kind: CellKind, rendered: Prompt | str) -> Prompt | str:
    """Return the prompt of a question: a given answer's likelihood is asked after the thoughts."""
    if kind in (CellKind.CHOICES, CellKind.ANSWER) and isinstance(rendered, Prompt):
        return rendered.answering or rendered
    return rendered


def _locate(suite: Suite, key: str) -> str:
    """Return `file:line` of a key of the suite's `[generation]`."""
    return read_toml(suite.path).where("generation", key)


def shared_limit_notices(
    suites: Sequence[Suite],
    prompts: Mapping[tuple[str, str, str], Prompt],
    arms: Mapping[str, Arm],
) -> Iterator[str]:
    """Yield suites whose thoughts and answers share the limit of the answers."""
    opened = {suite for (suite, _, _), prompt in prompts.items() if prompt.answering is not None}
    for suite in suites:
        written = any(used.needs is CellKind.GENERATE for used in suite.metrics)
        if written:
            notices = (getattr(arm, "shared_limit", None) for arm in arms.values())
            notes = dict.fromkeys(
                notice(suite.generation) for notice in notices if notice is not None
            )
            yield from (f"{suite.name}: {note}" for note in notes if note is not None)
        if suite.name in opened and suite.generation.budget is None and written:
            most = suite.generation.max_new_tokens
            yield (
                f"{suite.name}: the chat template opens thoughts, which share max_new_tokens = "
                f'{most} with the answer; set thinking_budget, or thinking = "off", under '
                "[generation]"
            )


def _with_template(suite: Suite, arms: Mapping[str, Arm]) -> Suite:
    """Return the suite with the text of the chat template that it gives to all arms."""
    if suite.generation.chat_template is None:
        return suite
    from tunegate.harness.models._chat_template import share_template

    try:
        return replace(suite, generation=share_template(suite.generation, arms))
    except ValueError as error:
        raise SuiteError([f"{_locate(suite, 'chat_template')}: {error}"]) from error


def _refuse_budget(suite: Suite, arms: Mapping[str, Arm]) -> None:
    """Raise SuiteError if thoughts and answer alone are longer than a model's context."""
    settings = suite.generation
    for arm in arms.values():
        limit = getattr(arm, "context_length", None)
        if settings.budget is not None and limit is not None and settings.most_tokens >= limit:
            raise SuiteError(
                [
                    f"{_locate(suite, 'thinking_budget')}: thinking_budget = {settings.budget} and "
                    f"max_new_tokens = {settings.max_new_tokens} do not fit the model's context of "
                    f"{limit} tokens, which holds the prompt as well "
                    f"({arm.identity.get('spec')}); lower thinking_budget under [generation]"
                ]
            )


def _earlier(
    suites: Sequence[Suite],
    requests: Mapping[tuple[PlannedQuestion, str], Request],
    before: Mapping[str, str],
    seed: int,
) -> dict[str, str]:
    """Return key of what tuned writes → key under which the candidate before wrote the same."""
    by_name = {suite.name: suite for suite in suites if suite.name in before}
    keys = {}
    for (question, arm), request in requests.items():
        suite = by_name.get(question.suite)
        if arm == "tuned" and question.kind is CellKind.GENERATE and suite is not None:
            fingerprint = before[suite.name]
            keys[request.key] = cell_key(
                question, suite, request.case, fingerprint, request.prompt, seed
            )
    return keys


def _token_ids(
    requests: Mapping[tuple[PlannedQuestion, str], Request],
) -> dict[PlannedQuestion, tuple[int, ...]]:
    """Return question → token ids of base's prompt, where it tokenises here."""
    return {
        question: request.prompt.token_ids
        for (question, arm), request in requests.items()
        if arm == "base" and request.prompt.token_ids is not None
    }


def _stages(
    questions: Iterable[PlannedQuestion], looks: Mapping[str, LookSchedule]
) -> dict[PlannedQuestion, int]:
    """Return question → the look that sees it first, for the suites that have looks."""
    first = {
        (suite, case): bisect_right(at.sizes, position)
        for suite, at in looks.items()
        for position, case in enumerate(at.order)
    }
    return {q: first[q.suite, q.case] for q in questions if (q.suite, q.case) in first}


def _render(
    suite: Suite,
    case: Case,
    arms: Mapping[str, Arm],
    asked: Mapping[str, tuple[Case, GenerationSettings]],
) -> dict[str, Prompt | str]:
    rendered: dict[str, Prompt | str] = {}
    same: dict[Prompt, Prompt] = {}
    for name, arm in arms.items():
        try:
            prompt = _with_images(arm.prompt(*asked[name]), case)
            rendered[name] = same.setdefault(prompt, prompt)  # as a rule it is kept once
        except ThinkingMismatch as error:  # it concerns the suite, not the case
            raise SuiteError([f"{_locate(suite, 'thinking')}: {error}"]) from error
        except ValueError as error:
            rendered[name] = f"the prompt cannot be rendered: {error}"
    return rendered


def _with_images(prompt: Prompt, case: Case) -> Prompt:
    """Return the prompt with the hashes of the case's images, which are part of its identity."""
    if not case.images or prompt.images:
        return prompt
    hashes, answering = tuple(image.sha256 for image in case.images), prompt.answering
    answering = answering and replace(answering, images=hashes)
    return replace(prompt, images=hashes, answering=answering)


def _questions(suite: Suite, case: Case) -> Iterator[PlannedQuestion]:
    kinds = {m.needs for m in suite.metrics}
    timed = {c.id for c in suite.cases[: suite.generation.latency_cases]}
    for kind in CellKind:
        if kind not in kinds or (kind is CellKind.LATENCY and case.id not in timed):
            continue
        samples = suite.generation.samples if kind in WRITTEN else 1
        for sample in range(samples):
            yield PlannedQuestion(suite.name, case.id, kind, sample)


def _cell(question: PlannedQuestion, arm: str, key: str) -> Cell:
    return Cell(
        suite=question.suite,
        case=question.case,
        arm=arm,
        kind=question.kind,
        sample=question.sample,
        key=key,
    )


def _request(
    cell: Cell, suite: Suite, prompt: Prompt, asked: tuple[Case, GenerationSettings], seed: int
) -> Request:
    case, settings = asked
    return Request(cell, case, prompt, settings, sampling_seed(suite, case, cell.sample, seed))


def _length(request: Request) -> int:
    """Return the tokens (or, without a tokenizer, characters) a question may take."""
    prompt = request.prompt
    size = len(prompt.token_ids) if prompt.token_ids is not None else len(prompt.text)
    if request.kind is CellKind.CHOICES:
        return size + max(len(text) // 3 for text in request.case.choices or ("",))
    if request.kind is CellKind.ANSWER:
        return size + max(len(text) // 3 for text in request.case.expected_texts())
    if request.kind in (CellKind.TEXT, CellKind.RECORDED):
        return size
    if request.episode is not None:
        return size + request.episode.settings.max_tokens
    return size + request.generation.most_tokens
