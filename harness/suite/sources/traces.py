"""Cases from production traces: each call of a language model is asked again.

Reads [these files and conventions](traces.md). A case has the call's messages and tools, the
recorded answer as `expected` (its tool calls as `expected_calls`), model and route as tags, and the
conversation, session or trace as cluster. Calls that cannot be asked again or that failed are left
out, counted and printed.

Example:
    [cases]
    from = "traces"
    file = "traces/*.jsonl.gz"
    sample = 200
    stratify = ["model", "route"]
    only = { provider = "openai" }
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from tunegate.harness.contracts import lookup
from tunegate.harness.contracts.source import NotedCases, make_case
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import SuiteError, UsageError, unknown_name_message
from tunegate.harness.records.hashing import sha256
from tunegate.harness.suite.sources._replayed_call import (
    OwnTraceFilter,
    ReplayedCall,
    SettingsTransfer,
    choose_settings,
    replay_call,
)
from tunegate.harness.suite.sources._table import MOST_ROWS, Count
from tunegate.harness.telemetry.export.redaction import scrub_text
from tunegate.harness.telemetry.read import read_spans
from tunegate.harness.telemetry.read.json_reader import NEITHER, forms_read
from tunegate.harness.telemetry.read.model_calls import find_model_calls
from tunegate.harness.telemetry.read.types import ImportReport

READS_RECORDS = True
"""Its files are records of other tools, which may be outside of the project."""


def traces(  # noqa: PLR0913 - each is a key of the suite file
    folder: Path,
    *,
    file: str | tuple[str, ...],
    limit: Count | None = None,
    sample: Count | None = None,
    seed: int = 0,
    stratify: tuple[str, ...] = (),
    repeated: Literal["drop", "keep"] = "drop",
    scrub: str = "pii",
    only: dict[str, Any] | None = None,
    settings: str | tuple[str, ...] = "greedy",
    cluster_by: str = "",
) -> NotedCases:
    """Return one case a call, in the order of the files, and the account of the others.

    Args:
        folder: The suite's folder.
        file: Paths from the suite's folder: files, folders and patterns.
        limit: Only the first N calls.
        sample: So many, drawn by seed; all of them where there are fewer.
        seed: Seed of the draw.
        stratify: Draw each value by its share: `model`, `provider`, `route`, `day`, `hour` (UTC).
        repeated: `drop` keeps the first call of those with the same prompt, `keep` keeps all.
        scrub: `pii` replaces personal data and keys by `<email>`, `<phone>`, `<card>`, `<iban>`,
            `<ip>` and `<key>`; `none` changes nothing; `pkg.mod:fn` is a function of yours.
        only: `model`, `provider`, `route`, `day`, `hour` or an attribute of the span → a pattern
            such as `"gpt-4o*"`, or several.
        settings: Settings of the requests that the cases keep: `greedy` all but sampling,
            `recorded` also `temperature` and `top_p`, `none`, or a list.
        cluster_by: Attribute whose values are the clusters; `call` counts each call alone.

    Raises:
        SuiteError: an option is wrong, a path names nothing, or no call is left.
    """
    paths = [folder / one for one in ([file] if isinstance(file, str) else file)]
    wanted = TraceSelection(
        limit, sample, seed, stratify, repeated, scrub, only or {}, settings, cluster_by
    )
    found = collect_cases(paths, wanted)
    return NotedCases(found.cases, found.notes)


FACETS = ("model", "provider", "route", "day", "hour")
TWICE = "a call whose prompt is that of an earlier one"
FILTERED = "a call that `only` leaves out"
PLAIN = "a case that was asked without a chat template, among others that were asked with one"


@dataclass(frozen=True, slots=True)
class TraceSelection:
    """Which calls are taken, and how they are cleaned."""

    limit: int | None = None
    sample: int | None = None
    seed: int = 0
    stratify: Sequence[str] = ()
    repeated: str = "drop"
    scrub: str = "pii"
    only: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    settings: str | tuple[str, ...] = "greedy"
    cluster_by: str = ""

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the options."""
        if self.limit is not None and self.sample is not None:
            yield f"limit={self.limit} and sample={self.sample}: give one of them"
        for name in self.stratify:
            if name not in FACETS:
                yield f"stratify: {unknown_name_message(name, FACETS, what='facet')}"
        if self.stratify and self.sample is None:
            yield "stratify sets how a sample is drawn; give sample, too"
        try:
            choose_settings(self.settings)
        except ValueError as error:
            yield f"settings: {error}"

    def takes(self, call: ReplayedCall) -> bool:
        """Return whether `only` lets a call pass: each of its patterns, `*` and `?` among them."""
        for name, given in self.only.items():
            known = call.facets.get(name) if name in FACETS else call.attributes.get(name)
            patterns = [given] if isinstance(given, str) else given
            if known is None or not any(fnmatchcase(str(known), one) for one in patterns):
                return False
        return True


@dataclass(frozen=True, slots=True)
class ProductionCases:
    """The cases that traces gave."""

    cases: tuple[Case, ...]
    recorded: tuple[Mapping[str, Any], ...]
    """Lines for `replay:`: what was answered, as far as the traces hold it."""
    reading: ImportReport
    settings: SettingsTransfer
    """Treatment of the settings of the requests."""
    template: str = "chat"
    """How their prompts were made: by the chat template, or `none`."""
    drawn: str = ""
    """How they were drawn, in words, where some were left over."""
    joined: str = ""
    """That most of them are in one trace, in words, where they are."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Counts of calls read and left out, and the treatment of settings, in lines."""
        drawn = [line for line in (self.drawn, self.joined) if line]
        found = self.reading.found(len(self.cases))
        return (found, *drawn, *self.reading.sentences(), *self.settings.sentences())


def collect_cases(paths: Sequence[Path | str], wanted: TraceSelection) -> ProductionCases:
    """Read traces and return the cases in them.

    Raises:
        SuiteError: an option is wrong, a path names nothing, or no call is left; in one line.
        MissingExtra: there is protobuf, and what reads it is not installed.
    """
    place = ", ".join(map(str, paths))
    problems = list(wanted.problems())
    if problems:
        raise SuiteError([f"{place}: {problem}" for problem in problems])
    clean = find_cleaner(wanted.scrub)
    reading = ImportReport()
    try:
        drawn_calls = _part(
            _distinct(_calls(paths, reading, wanted.cluster_by), wanted, reading), wanted
        )
    except UsageError as error:
        if type(error) is not UsageError:
            raise
        raise SuiteError([str(error)]) from error
    if len(drawn_calls) > MOST_ROWS:
        raise SuiteError([f"{place}: over {MOST_ROWS} calls to replay; set sample or limit"])
    template = "none" if all(map(_is_plain, drawn_calls)) else "chat"
    settings = SettingsTransfer(choose_settings(wanted.settings))
    alike = _alike(drawn_calls, template, reading)
    found = list(_finish_cases(alike, wanted, clean, reading, settings))
    if not found:
        raise SuiteError([_no_calls_message(place, reading)])
    cases, recorded = zip(*found, strict=True)
    answers = tuple(line for line in recorded if line is not None)
    joined = "" if wanted.cluster_by else _one_trace(cases, drawn_calls)
    drawn = _draw(wanted, reading)
    return ProductionCases(cases, answers, reading, settings, template, drawn, joined)


_FEWEST = 8
"""Number of cases from which a trace with most of them is reported."""
_LONGEST_NAME = 64
_IDENTIFIERS = ("id", "Id", "_key", ".key", "number")
"""Ends of the names of attributes that may distinguish the parts of a job."""


def _one_trace(cases: Sequence[Case], calls: Sequence[ReplayedCall]) -> str:
    """Return in words that more than half of the cases are in one trace, as those of a job are."""
    ((name, count),) = Counter(case.cluster for case in cases).most_common(1)
    inside = [call for call in calls if call.row.get("cluster") == call.trace == name]
    if len(cases) < _FEWEST or 2 * count <= len(cases) or not inside:
        return ""
    told = _telling_attributes(inside)
    such = f" (here {' or '.join(told)})" if told else ""
    return (
        f"{count} of {len(cases)} cases are in one trace, as those of a job under one root span: "
        f"they count as one observation; --cluster-by an attribute that distinguishes them{such}, "
        "or call where they are independent (cluster_by in a suite file)"
    )


def _telling_attributes(calls: Sequence[ReplayedCall]) -> list[str]:
    """Return attributes with different short values in most calls, which may be identifiers."""
    values: dict[str, set[str]] = {}
    for call in calls:
        for name, value in call.attributes.items():
            if isinstance(value, str | int) and 0 < len(str(value)) <= _LONGEST_NAME:
                values.setdefault(name, set()).add(str(value))
    found = [name for name, held in values.items() if 2 * len(held) > len(calls)]
    return [name for name in sorted(found) if name.endswith(_IDENTIFIERS)][:2]


def _draw(wanted: TraceSelection, reading: ImportReport) -> str:
    """Return in words how the calls were drawn; nothing where all were taken."""
    if wanted.sample is not None and reading.distinct > wanted.sample:
        return f"drawn {wanted.sample} of {reading.distinct} by seed {wanted.seed}"
    if wanted.limit is not None and reading.distinct >= wanted.limit:
        return f"only the first {wanted.limit} were taken"
    return ""


def _is_plain(call: ReplayedCall) -> bool:
    return call.facets.get("template") == "none"


def _alike(
    calls: Iterable[ReplayedCall], template: str, reading: ImportReport
) -> Iterator[ReplayedCall]:
    """Yield the calls whose prompts were made in one way, since a suite has one."""
    for call in calls:
        if template == "chat" and _is_plain(call):
            reading.leave_out(PLAIN, call.where)
        else:
            yield call


def find_cleaner(name: str) -> Callable[[str], str] | None:
    """Return the redaction that an option names: `pii`, `none` or `pkg.mod:fn`.

    Raises:
        SuiteError: there is none of that name.
    """
    if name in ("pii", "none"):
        return scrub_text if name == "pii" else None
    if ":" not in name:
        raise SuiteError([f"scrub={name!r} must be 'pii', 'none' or a function, 'pkg.mod:fn'"])
    try:
        found: Callable[[str], str] = lookup.find_object(
            "tunegate.harness.suite.sources", name, what="scrub function"
        )
    except UsageError as error:
        raise SuiteError([str(error)]) from error
    return found


def _calls(
    paths: Sequence[Path | str], reading: ImportReport, cluster_by: str
) -> Iterator[ReplayedCall]:
    """Yield every call that can be replayed, those of our own runs last."""
    own = OwnTraceFilter(reading)
    spans = own.without(read_spans(paths, reading))
    for call in find_model_calls(spans, reading.leave_out, reading.repair):
        reading.calls += 1
        found = replay_call(call, reading, cluster_by)
        if found is not None:
            yield found
    for case in own.cases():
        reading.calls += 1
        yield case


def _distinct(
    found: Iterable[ReplayedCall], wanted: TraceSelection, reading: ImportReport
) -> Iterator[ReplayedCall]:
    """Yield the calls that are wanted, each prompt once."""
    once = _DuplicateFilter(wanted.repeated == "drop")
    for call in found:
        if not wanted.takes(call):
            reading.leave_out(FILTERED, call.where)
        elif once.is_new(call):
            reading.distinct += 1
            yield call
        else:
            reading.leave_out(TWICE, call.where)


@dataclass(slots=True)
class _DuplicateFilter:
    """Prompts that were seen before."""

    drops: bool
    seen: set[str] = field(default_factory=set)

    def is_new(self, call: ReplayedCall) -> bool:
        if not self.drops:
            return True
        digest = sha256([call.row.get(key) for key in ("prompt", "messages", "tools", "choices")])
        new = digest not in self.seen
        self.seen.add(digest)
        return new


def _finish_cases(
    drawn_calls: Iterable[ReplayedCall],
    wanted: TraceSelection,
    clean: Callable[[str], str] | None,
    reading: ImportReport,
    settings: SettingsTransfer,
) -> Iterator[tuple[Case, Mapping[str, Any] | None]]:
    """Yield the cases, cleaned, with ids that none of the others has, and what was recorded."""
    once = _DuplicateFilter(wanted.repeated == "drop")
    ids: Counter[str] = Counter()
    for call in drawn_calls:
        try:
            tidy = call if clean is None else _clean_call(call, clean)
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
            row = {**settings.take(tidy.parameters, tidy.row), **tidy.row, "id": name}
            case = make_case(row, call.where)
        except ValueError as error:
            reading.leave_out(f"a call that is not a case: {error!s:.80}", call.where)
            continue
        said = tidy.recorded
        yield case, None if said is None else {**said, "id": name}


def _part(found: Iterable[ReplayedCall], wanted: TraceSelection) -> list[ReplayedCall]:
    if wanted.sample is not None:
        return draw_calls(found, wanted.sample, seed=wanted.seed, by=wanted.stratify)
    return list(islice(found, min(wanted.limit or MOST_ROWS + 1, MOST_ROWS + 1)))


def _clean_call(call: ReplayedCall, clean: Callable[[str], str]) -> ReplayedCall:
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


def _no_calls_message(place: str, reading: ImportReport) -> str:
    why = "; ".join(reading.sentences()[:5])
    if NEITHER in reading.left_out:
        why += f"; read are {forms_read()}, each as a list or as JSON lines"
    return f"{place}: {reading.spans} spans, and no call to replay" + (f": {why}" if why else "")


# A draw of calls from a stream of any length, each stratum by its share.
#
# Every call has a number that follows from the seed and its id; a stratum keeps those with the
# smallest, at most as many as are wanted in all. So memory holds the draw and not the stream, the
# order of the files does not matter, and a smaller draw of one stratum is part of a larger.


@dataclass(slots=True)
class _CallStratum:
    count: int = 0
    kept: list[tuple[int, int, ReplayedCall]] = field(default_factory=list)
    """A heap whose top has the largest number: (−number, −place, call)."""


def draw_calls(
    calls: Iterable[ReplayedCall], wanted: int, *, seed: int, by: Sequence[str] = ()
) -> list[ReplayedCall]:
    """Return `wanted` calls in the order of the stream; all of them if there are fewer.

    Args:
        calls: The stream.
        wanted: How many.
        seed: Seed of the draw.
        by: Facets whose values make the strata. Each stratum gives its share of the calls, rounded
            by largest remainder, and one at least as long as there are enough.
    """
    strata: dict[tuple[str, ...], _CallStratum] = {}
    for place, call in enumerate(calls):
        stratum = strata.setdefault(tuple(call.facets.get(name, "") for name in by), _CallStratum())
        stratum.count += 1
        number = int(sha256([seed, call.row["id"]])[:16], 16)
        entry = (-number, -place, call)
        if len(stratum.kept) < wanted:
            heapq.heappush(stratum.kept, entry)
        elif entry[:2] > stratum.kept[0][:2]:
            heapq.heapreplace(stratum.kept, entry)
    shares = stratum_quotas({key: stratum.count for key, stratum in strata.items()}, wanted)
    taken = [
        entry
        for key, stratum in strata.items()
        for entry in heapq.nlargest(shares[key], stratum.kept, key=lambda entry: entry[:2])
    ]
    return [call for _, _, call in sorted(taken, key=lambda entry: -entry[1])]


def stratum_quotas(
    counts: Mapping[tuple[str, ...], int], wanted: int
) -> dict[tuple[str, ...], int]:
    """Return how many each stratum gives."""
    total = sum(counts.values())
    wanted = min(wanted, total)
    if not wanted:
        return dict.fromkeys(counts, 0)
    exact = {key: wanted * count / total for key, count in counts.items()}
    least = 1 if wanted >= len(counts) else 0
    given = {key: max(int(share), least) for key, share in exact.items()}
    # The largest remainder gets what is left; where the least took too much, the largest give.
    while sum(given.values()) < wanted:
        open_ = [key for key in counts if given[key] < counts[key]]
        given[max(open_, key=lambda key: exact[key] - given[key])] += 1
    while sum(given.values()) > wanted:
        rich = [key for key in counts if given[key] > least]
        given[min(rich, key=lambda key: exact[key] - given[key])] -= 1
    return given
