"""Consistency of a suite: gates, metrics and cases that contradict each other.

Each problem is one line, `file:line: what; remedy`. The form of the file is checked by its schema.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from tunegate.harness.contracts.lookup import available_names
from tunegate.harness.contracts.metric import Check, Metric
from tunegate.harness.contracts.reasoning import SWITCHES_OF_SERVERS
from tunegate.harness.gates.contract.registry import gate_kind, gate_kinds
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import UsageError, error_summary, unknown_name_message
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.records.hashing import canonical_json
from tunegate.harness.records.manifest import Gate
from tunegate.harness.records.problems import summarize_problems
from tunegate.harness.records.wording import count_noun
from tunegate.harness.sandbox.contract import SandboxFailed
from tunegate.harness.suite.case_images import IMAGE_TYPES
from tunegate.harness.suite.toml_file import TomlFile

MOST_LACKING = 5
"""Most cases that are listed for one problem."""
_MAY_BE_EMPTY = {"expected_calls"}
"""Fields of a case that may be empty: the right answer calls no tool."""


def case_problems(source: TomlFile, cases: Sequence[Case], metrics: Sequence[Metric]) -> list[str]:
    """Return missing and repeated cases, and fields that metrics lack."""
    if not cases:
        return [f"{source.where('cases')}: no cases; a suite needs at least one"]
    problems = []
    seen: dict[str, str] = {}
    for case in cases:
        if case.id in seen:
            problems.append(f"{case.where}: id {case.id!r} is already used at {seen[case.id]}")
        seen.setdefault(case.id, case.where)
    problems = summarize_problems(problems)
    problems += _unreadable_parts(source.where("cases"), cases)
    return problems + lacking_problems(source.where("cases"), cases, metrics)


_MEDIA = re.compile(
    r"(?:input[_-])?(image|img|media|audio|video|file|document)s?(?:[_-](url|file|data))?",
    re.IGNORECASE,
)
"""Types and keys of message parts other than text, of OpenAI, Anthropic and Transformers."""


def _unreadable_parts(place: str, cases: Sequence[Case]) -> Iterator[str]:
    """Yield the first cases with audio, video, a file, or an image in an unknown form."""
    unreadable = [
        f"{case.where}: case {case.id!r} has {kind!r} in message {number}; cases hold "
        "text and images (image_url, image) only: remove the part, or the case"
        for case in cases
        for number, turn in enumerate(case.messages or ())
        for kind in _unreadable(turn.get("content"))
    ]
    yield from unreadable[:MOST_LACKING]
    if len(unreadable) > MOST_LACKING:
        more = len(unreadable) - MOST_LACKING
        yield f"{place}: {more} more parts of messages are neither text nor images"


def _unreadable(content: Any) -> Iterator[str]:
    """Yield the types, or keys, of message parts other than text and images."""
    if isinstance(content, Mapping):
        yield "a part that is in no list"
    for part in content if isinstance(content, list | tuple) else ():
        if isinstance(part, Mapping):
            yield from _unread_keys(part)
        elif not isinstance(part, str):
            yield type(part).__name__


def _unread_keys(part: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is neither text nor image in a part, if anything is."""
    if part.get("type") in IMAGE_TYPES:
        return  # read by now, or reported
    media = [key for key, value in part.items() if value and _MEDIA.fullmatch(key)]
    if _MEDIA.fullmatch(str(part.get("type"))):
        yield str(part["type"])
    elif media:
        yield media[0]
    elif "type" not in part and not isinstance(part.get("text"), str):
        yield ", ".join(map(str, part))


def lacking_problems(place: str, cases: Sequence[Case], metrics: Sequence[Metric]) -> list[str]:
    """Return the fields that metrics lack in the cases, at `place` if many cases lack one."""
    lacking: dict[str, dict[str, Case]] = {}
    users: dict[str, dict[str, None]] = {}
    for case in cases:
        for used in metrics:
            for what in _missing_fields(case, used):
                lacking.setdefault(what, {})[case.id] = case
                users.setdefault(what, {})[used.name] = None
    problems = []
    for what, without in lacking.items():
        names = " and ".join(map(repr, users[what]))
        who = f"the metric {names} needs" if len(users[what]) == 1 else f"the metrics {names} need"
        need = f"no {what!r}, which {who}"
        if len(without) <= MOST_LACKING:
            problems += [f"{c.where}: case {c.id!r} has {need}" for c in without.values()]
            continue
        first, field = (
            next(iter(without.values())),
            "schema" if what == "answer_schema" else what,
        )
        problems.append(
            f"{place}: {len(without)} of {len(cases)} cases have {need}, the first at "
            f"{first.where}; if the file calls it otherwise, "
            f'write under [cases]: columns = {{ {field} = "…" }}'
        )
    return problems


def _missing_fields(case: Case, used: Metric) -> list[str]:
    needed = {"answer_schema" if name == "schema" else name for name in used.requires}
    if used.needs is CellKind.CHOICES:
        needed |= {"choices", "answer"}
    if used.needs is CellKind.ANSWER:
        needed.add("expected")
    fields = {name: getattr(case, name, None) for name in needed}
    return sorted(
        name
        for name, value in fields.items()
        if value is None or (value == () and name not in _MAY_BE_EMPTY)
    )


def metric_problems(where: str, used: Metric, cases: Sequence[Case]) -> list[str]:
    """Return the problems that the metric's own check finds."""
    return _run_check(used.check, where, used, cases)


def dry_run_problems(where: str, used: Metric, cases: Sequence[Case]) -> list[str]:
    """Return the problems that the metric's dry run finds."""
    return _run_check(used.dry_run, where, used, cases)


def _run_check(check: Check | None, where: str, used: Metric, cases: Sequence[Case]) -> list[str]:
    if check is None:
        return []
    options = dict(used.options) if used.corpus is None else {**used.options, "aggregate": "corpus"}
    try:
        faults = check(options, list(cases))
    except SandboxFailed:
        raise
    except UsageError as error:
        faults = [str(error)]
    except (Exception, SystemExit) as error:
        faults = [f"the check of metric {used.name!r} failed: {error_summary(error)}"]
    return [f"{where}: {problem}" for problem in summarize_problems(faults)]


def gate_problems(
    metrics: Sequence[Metric], gates: Sequence[Gate], *, complete: bool
) -> Iterator[str]:
    """Yield gates on unknown metrics, repeated gates and impossible bounds.

    `complete` says whether all metrics could be read, so other names are unknown.
    """
    names = tuple(used.name for used in metrics)
    by_name = dict(zip(names, metrics, strict=True))
    seen: set[str] = set()
    rules: set[str] = set()
    for gate in gates:
        if gate.metric not in by_name:
            if complete:
                yield f"{gate.where}: {_unlisted(gate.metric, names)}"
            continue
        if gate.id in seen:
            on = f" with the tag {gate.tag!r}" if gate.tag is not None else ""
            on += f" against {gate.against}" if gate.against is not None else ""
            yield f"{gate.where}: a second {gate.kind} on {gate.metric!r}{on}; remove one"
        seen.add(gate.id)
        if gate.rule_id in rules:
            continue  # the same rule on another value of its key
        rules.add(gate.rule_id)
        kind, why = gate_kind(gate.kind), by_name[gate.metric].level_only
        if why and not kind.reads_level:
            yield f"{gate.where}: {gate.kind} on {gate.metric!r}: {why}"
        if kind.is_goal and any(used.training_rows for used in metrics):
            yield (
                f"{gate.where}: the cases are training rows, as {_on_training_rows(metrics)} needs "
                "them, and prove no gain; put this gate into another suite"
            )
        if gate.against is not None:
            yield from _reference_problems(gate, by_name[gate.metric])
        problems = kind.problems(gate, by_name[gate.metric])
        yield from (f"{gate.where}: {problem}" for problem in problems)


def _on_training_rows(metrics: Sequence[Metric]) -> str:
    return " and ".join(repr(used.name) for used in metrics if used.training_rows)


def _reference_problems(gate: Gate, used: Metric) -> Iterator[str]:
    """Yield why a gate cannot compare with a further arm."""
    place = f"{gate.where}: against = {gate.against!r}"
    if gate_kind(gate.kind).reads_level:
        yield f"{place}: a {gate.kind} is about tuned alone; put it into a table of its own"
    if used.compares_pairs:
        yield f"{place}: {gate.metric!r} compares the answers of base and tuned; use another metric"


def _unlisted(name: str, listed: tuple[str, ...]) -> str:
    """Return what to do about a gate on a metric that the suite does not list."""
    rooms = ("tunegate.harness.metrics", "tunegate.harness.judges")
    if any(name in available_names(room) for room in rooms):
        return (
            f'the metric {name!r} is not listed; add a [[metrics]] table with use = "{name}", or '
            f"gate one that is: {', '.join(listed)}"
        )
    return unknown_name_message(name, listed, what="metric")


MOST_TAGS = 10
"""Most tags that are listed if a gate names an unknown one."""


def tag_problems(source: TomlFile, tables: Sequence[int], cases: Sequence[Case]) -> Iterator[str]:
    """Yield the tags of gates that no case has; `tables` are the valid `[[gates]]` tables."""
    counts = Counter(tag for case in cases for tag in dict.fromkeys(case.tags))
    for index in tables:
        tag = source.data["gates"][index].get("tag")
        if tag is None or tag in counts:
            continue
        place = f"{source.where('gates', index, 'tag')}: tag={tag!r}: no case has this tag"
        if not counts:
            yield f"{place}, nor any other; give the cases tags, or remove the key"
            continue
        near = get_close_matches(tag, counts, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ";"
        common = [f"{name!r} ({n})" for name, n in counts.most_common(MOST_TAGS)]
        more = len(counts) - len(common)
        yield f"{place}{hint} there are {', '.join([*common, *([f'{more} more'] if more else [])])}"


def name_problems(source: TomlFile, names: Sequence[tuple[int, str]]) -> list[str]:
    """Return metrics with the name of an earlier one; `names` are (table, name)."""
    return [
        f"{source.where('metrics', index, 'use')}: the metric {name!r} is already there; "
        "give this one another name = …"
        for position, (index, name) in enumerate(names)
        if name in [earlier for _, earlier in names[:position]]
    ]


def companion_problems(source: TomlFile, index: int) -> Iterator[str]:
    """Yield keys of a gate that would be ignored: a second margin, or a refinement of none."""
    table = source.data["gates"][index]
    refined: dict[str, list[str]] = {}
    for kind in gate_kinds():
        margins = [key for key in kind.keys_of_margin if key in table]
        for key in margins[1:]:
            yield (
                f"{source.where('gates', index, key)}: {key} and {margins[0]} in one table; for "
                "both limits, list the metric twice under different names"
            )
        for key in kind.companions:
            refined.setdefault(key, []).extend(kind.keys_of_margin)
    for key, needed in refined.items():
        if key in table and not any(margin in table for margin in needed):
            yield (
                f"{source.where('gates', index, key)}: {key} without {' or '.join(needed)} does "
                f"nothing; add one, or remove {key}"
            )


def unseen_images(metrics: Sequence[Metric], cases: Sequence[Case]) -> Iterator[str]:
    """Yield the judges that see no images of the cases."""
    count = sum(bool(case.images) for case in cases)
    for used in metrics:
        if used.judge is not None and count:
            yield (
                f"{used.name}: a judge reads texts only, not the images of "
                f"{count_noun(count, 'case')}: its cases need `expected` or `context`"
            )


def metric_caveats(metrics: Sequence[Metric], cases: Sequence[Case]) -> Iterator[str]:
    """Yield the metrics' notes on cases whose scores mean little."""
    for used in metrics:
        if used.caveats is not None:
            yield from used.caveats(used.options, cases)


WIDE = 1 / 3
"""Share of a metric's range, or of the cases, beyond which a guardrail is reported."""
_RENDERER_ARGUMENTS = frozenset(
    {
        "add_generation_prompt",
        "chat_template",
        "continue_final_message",
        "conversation",
        "messages",
        "tokenize",
        "tools",
    }
)
"""Arguments that tunegate passes to a chat template itself."""


def thinking_problems(source: TomlFile, settings: GenerationSettings) -> Iterator[str]:
    """Yield settings of thinking that contradict each other or cannot be passed."""

    def where(key: str) -> str:
        return source.where("generation", key)

    tags, variables = settings.thinking_tags, settings.chat_template_kwargs or {}
    if tags is not None and len(tags) not in (0, 2):
        yield (
            f"{where('thinking_tags')}: {len(tags)} tags; write the one before and the one after "
            "the thoughts, or an empty array"
        )
    if settings.thinking == "off" and settings.thinking_budget is not None:
        yield (
            f"{where('thinking_budget')}: thinking_budget={settings.thinking_budget} with "
            'thinking = "off"; remove one of them'
        )
    yield from _template_problems(where, settings)
    for name in sorted(_RENDERER_ARGUMENTS & variables.keys()):
        yield f"{where('chat_template_kwargs')}: {name!r} is set by tunegate; remove it"
    try:
        canonical_json(variables)
    except (TypeError, ValueError):
        yield f"{where('chat_template_kwargs')}: a value that JSON lacks, such as a date; quote it"


def _template_problems(where: Callable[[str], str], settings: GenerationSettings) -> Iterator[str]:
    """Yield settings of a chat template that are given twice, or without a template."""
    variables = settings.chat_template_kwargs or {}
    if settings.template == "none" and (settings.thinking != "template" or variables):
        key = "thinking" if settings.thinking != "template" else "chat_template_kwargs"
        yield (
            f"{where(key)}: {key} belongs to the chat template, which "
            'template = "none" leaves out; remove one of them'
        )
    if settings.thinking != "template":
        for name in (name for name in SWITCHES_OF_SERVERS if name in variables):
            yield (
                f"{where('chat_template_kwargs')}: {name!r} beside thinking = "
                f'"{settings.thinking}", which sets it; remove one of them'
            )
    if settings.template == "none" and settings.chat_template is not None:
        yield (
            f'{where("chat_template")}: chat_template with template = "none", which leaves it out; '
            "remove one of them"
        )


def wide_guardrails(metrics: Sequence[Metric], gates: Sequence[Gate]) -> Iterator[str]:
    """Yield guardrails that let tuned lose more than a third of what it can lose."""
    by_name = {used.name: used for used in metrics}
    for gate in {gate.rule_id: gate for gate in gates}.values():
        used = by_name.get(gate.metric)
        if used is None:
            continue
        share, of = gate_kind(gate.kind).tolerated_share(gate, used)
        if share > WIDE:
            yield (
                f"{gate.where}: {gate.kind}={gate.margin} lets {gate.metric} lose "
                f"{100 * share:.3g} % of {of} and still ship"
            )
