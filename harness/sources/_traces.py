"""Traces → the cases of a production suite, with the answers that were recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Any

from harness import lookup
from harness.errors import SuiteError, UsageError
from harness.records import sha256
from harness.source import SourcedCase, make_case
from harness.sources._own_traces import OwnTraces
from harness.sources._replayed import Replayed, replayed
from harness.sources._settings import Settings, chosen
from harness.sources._strata import drawn
from harness.sources._table import MOST_ROWS
from harness.tracing.calls import calls
from harness.tracing.read import read
from harness.tracing.reading import Reading
from harness.tracing.scrub import scrub

FACETS = ("model", "provider", "route", "day", "hour")
TWICE = "a call whose prompt is that of an earlier one"
FILTERED = "a call that `only` leaves out"
PLAIN = "a case that was asked without a chat template, among others that were asked with one"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which calls are taken, and how they are cleaned."""

    limit: int | None = None
    sample: int | None = None
    seed: int = 0
    stratify: Sequence[str] = ()
    repeated: str = "drop"
    scrub: str = "pii"
    only: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    settings: str | tuple[str, ...] = "greedy"

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the options."""
        if self.limit is not None and self.sample is not None:
            yield f"limit={self.limit} and sample={self.sample}: give one of them"
        for name in self.stratify:
            if name not in FACETS:
                yield f"stratify: {lookup.unknown(name, FACETS, what='facet')}"
        if self.stratify and self.sample is None:
            yield "stratify says how a sample is drawn; give sample, too"
        try:
            chosen(self.settings)
        except ValueError as error:
            yield f"settings: {error}"

    def takes(self, call: Replayed) -> bool:
        """Return whether `only` lets a call pass: each of its patterns, `*` and `?` among them."""
        for name, given in self.only.items():
            known = call.facets.get(name) if name in FACETS else call.attributes.get(name)
            patterns = [given] if isinstance(given, str) else given
            if known is None or not any(fnmatchcase(str(known), one) for one in patterns):
                return False
        return True


@dataclass(frozen=True, slots=True)
class Production:
    """The cases that traces gave."""

    cases: tuple[SourcedCase, ...]
    recorded: tuple[Mapping[str, Any], ...]
    """Lines for `replay:`: what was answered, as far as the traces hold it."""
    reading: Reading
    settings: Settings
    """What became of the settings of the requests."""
    template: str = "chat"
    """How their prompts were made: by the chat template, or `none`."""
    drawn: str = ""
    """How they were drawn, in words, where some were left over."""

    @property
    def account(self) -> tuple[str, ...]:
        """What was read, what was left out, and what became of settings, in lines."""
        drawn = [self.drawn] if self.drawn else []
        found = self.reading.found(len(self.cases))
        return (found, *drawn, *self.reading.sentences(), *self.settings.sentences())


def collect(paths: Sequence[Path | str], wanted: Wanted) -> Production:
    """Read traces and return the cases in them.

    Raises:
        SuiteError: an option is wrong, a path names nothing, or no call is left; in one line.
        MissingExtra: there is protobuf, and what reads it is not installed.
    """
    place = ", ".join(map(str, paths))
    problems = list(wanted.problems())
    if problems:
        raise SuiteError([f"{place}: {problem}" for problem in problems])
    clean = cleaner(wanted.scrub)
    reading = Reading()
    try:
        drawn_calls = _part(_distinct(_calls(paths, reading), wanted, reading), wanted)
    except UsageError as error:
        if type(error) is not UsageError:
            raise
        raise SuiteError([str(error)]) from error
    if len(drawn_calls) > MOST_ROWS:
        raise SuiteError([f"{place}: over {MOST_ROWS} calls to replay; set sample or limit"])
    template = "none" if all(map(_is_plain, drawn_calls)) else "chat"
    settings = Settings(chosen(wanted.settings))
    alike = _alike(drawn_calls, template, reading)
    found = list(_finished(alike, wanted, clean, reading, settings))
    if not found:
        raise SuiteError([_nothing(place, reading)])
    cases, recorded = zip(*found, strict=True)
    answers = tuple(line for line in recorded if line is not None)
    return Production(cases, answers, reading, settings, template, _draw(wanted, reading))


def _draw(wanted: Wanted, reading: Reading) -> str:
    """Return in words how the calls were drawn; nothing where all were taken."""
    if wanted.sample is not None and reading.distinct > wanted.sample:
        return f"drawn {wanted.sample} of {reading.distinct} by seed {wanted.seed}"
    if wanted.limit is not None and reading.distinct >= wanted.limit:
        return f"only the first {wanted.limit} were taken"
    return ""


def _is_plain(call: Replayed) -> bool:
    return call.facets.get("template") == "none"


def _alike(calls: Iterable[Replayed], template: str, reading: Reading) -> Iterator[Replayed]:
    """Yield the calls whose prompts were made in one way, since a suite has one."""
    for call in calls:
        if template == "chat" and _is_plain(call):
            reading.leave_out(PLAIN, call.where)
        else:
            yield call


def cleaner(name: str) -> Callable[[str], str] | None:
    """Return the redaction that an option names: `pii`, `none` or `pkg.mod:fn`.

    Raises:
        SuiteError: there is none of that name.
    """
    if name in ("pii", "none"):
        return scrub if name == "pii" else None
    if ":" not in name:
        raise SuiteError([f"scrub={name!r} must be 'pii', 'none' or a function, 'pkg.mod:fn'"])
    try:
        found: Callable[[str], str] = lookup.find("harness.sources", name, what="scrub function")
    except UsageError as error:
        raise SuiteError([str(error)]) from error
    return found


def _calls(paths: Sequence[Path | str], reading: Reading) -> Iterator[Replayed]:
    """Yield every call that can be replayed, those of our own runs last."""
    own = OwnTraces(reading)
    for call in calls(own.without(read(paths, reading)), reading.leave_out):
        reading.calls += 1
        found = replayed(call, reading)
        if found is not None:
            yield found
    for case in own.cases():
        reading.calls += 1
        yield case


def _distinct(found: Iterable[Replayed], wanted: Wanted, reading: Reading) -> Iterator[Replayed]:
    """Yield the calls that are wanted, each prompt once."""
    once = _Once(wanted.repeated == "drop")
    for call in found:
        if not wanted.takes(call):
            reading.leave_out(FILTERED, call.where)
        elif once.is_new(call):
            reading.distinct += 1
            yield call
        else:
            reading.leave_out(TWICE, call.where)


@dataclass(slots=True)
class _Once:
    """What was asked before."""

    drops: bool
    seen: set[str] = field(default_factory=set)

    def is_new(self, call: Replayed) -> bool:
        if not self.drops:
            return True
        digest = sha256([call.row.get(key) for key in ("prompt", "messages", "tools", "choices")])
        new = digest not in self.seen
        self.seen.add(digest)
        return new


def _finished(
    drawn_calls: Iterable[Replayed],
    wanted: Wanted,
    clean: Callable[[str], str] | None,
    reading: Reading,
    settings: Settings,
) -> Iterator[tuple[SourcedCase, Mapping[str, Any] | None]]:
    """Yield the cases, cleaned, with ids that none of the others has, and what was recorded."""
    once = _Once(wanted.repeated == "drop")
    ids: Counter[str] = Counter()
    for call in drawn_calls:
        try:
            tidy = call if clean is None else _cleaned(call, clean)
        except Exception as error:
            # The user's own code: what it could not read is not shown to anybody.
            reading.leave_out(f"a call on which scrub failed ({type(error).__name__})", call.where)
            continue
        if not once.is_new(tidy):
            reading.leave_out(TWICE, call.where)
            continue
        given = str(tidy.row["id"])
        ids[given] += 1
        name = given if ids[given] == 1 else f"{given}-{ids[given]}"
        try:
            case = make_case({**settings.take(tidy.parameters, tidy.row), **tidy.row, "id": name})
        except ValueError as error:
            reading.leave_out(f"a call that is no case: {error!s:.80}", call.where)
            continue
        said = tidy.recorded
        yield SourcedCase(case, call.where), None if said is None else {**said, "id": name}


def _part(found: Iterable[Replayed], wanted: Wanted) -> list[Replayed]:
    if wanted.sample is not None:
        return drawn(found, wanted.sample, seed=wanted.seed, by=wanted.stratify)
    return list(islice(found, min(wanted.limit or MOST_ROWS + 1, MOST_ROWS + 1)))


def _cleaned(call: Replayed, clean: Callable[[str], str]) -> Replayed:
    row = {key: _clean(value, clean) if key in _TEXTS else value for key, value in call.row.items()}
    said = call.recorded and {**call.recorded, "completion": clean(call.recorded["completion"])}
    return replace(call, row=row, recorded=said)


_TEXTS = ("prompt", "messages", "expected", "expected_calls", "tools", "context")
"""Fields of a case in which people may be named."""
_FORM = ("role", "type", "name", "id", "tool_call_id")
"""Keys whose texts are form and not content."""


def _clean(value: Any, clean: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        text = clean(value)
        if not isinstance(text, str):
            raise TypeError(f"scrub returned {type(text).__name__}")
        return text
    if isinstance(value, Mapping):
        return {k: v if k in _FORM else _clean(v, clean) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(inner, clean) for inner in value]
    return value


def _nothing(place: str, reading: Reading) -> str:
    why = "; ".join(reading.sentences()[:5])
    return f"{place}: {reading.spans} spans, and no call to replay" + (f": {why}" if why else "")
