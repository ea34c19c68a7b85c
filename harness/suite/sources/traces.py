"""Cases from production traces: each call of a language model is asked again.

Reads [these files and conventions](recorded.md#traces). A case has the call's messages and tools,
the recorded answer as `expected` (its tool calls as `expected_calls`), model and route as tags, and
the conversation, session or trace as cluster. Calls that failed or cannot be asked again are left
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

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from tunegate.harness.contracts.source import NotedCases, make_case
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import SuiteError, UsageError, unknown_name_message
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.recorded_answer import RecordedAnswer
from tunegate.harness.suite.sources._own_traces import OwnTraceFilter
from tunegate.harness.suite.sources._replayed_call import (
    ReplayedCall,
    one_trace_warning,
    replay_call,
)
from tunegate.harness.suite.sources._request_settings import SettingsTransfer, choose_settings
from tunegate.harness.suite.sources._table import MOST_ROWS, Count
from tunegate.harness.suite.sources._trace_sample import draw_calls
from tunegate.harness.suite.sources._trace_scrubbing import find_scrubber, scrub_call
from tunegate.harness.telemetry.read import read_spans
from tunegate.harness.telemetry.read.json_reader import NEITHER, forms_read
from tunegate.harness.telemetry.read.model_calls import find_model_calls
from tunegate.harness.telemetry.read.trace_types import ImportReport

READS_RECORDS = True
"""Its files are records of other tools, which may be outside the project."""


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
    """Return one case a call, in the order of the files, with notes on the calls left out.

    Args:
        folder: The suite's folder.
        file: Paths from the suite's folder: files, folders and patterns.
        limit: Only the first N calls.
        sample: Draw N calls by seed; all of them if there are fewer.
        seed: Seed of the draw.
        stratify: Facets to sample in proportion: `model`, `provider`, `route`, `day`, `hour` (UTC).
        repeated: `drop` keeps the first call with the same prompt, `keep` keeps all.
        scrub: `pii` replaces personal data and keys by `<email>`, `<phone>`, `<card>`, `<iban>`,
            `<ip>` and `<key>`; `none` changes nothing; `pkg.mod:fn` is your own function.
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
TWICE = "a call with the same prompt as an earlier one"
FILTERED = "a call that `only` leaves out"
PLAIN = "a case asked without a chat template, while others were asked with one"


@dataclass(frozen=True, slots=True)
class TraceSelection:
    """Which calls become cases, and how they are scrubbed."""

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
        """Return whether a call matches every pattern of `only`."""
        for name, given in self.only.items():
            known = call.facets.get(name) if name in FACETS else call.attributes.get(name)
            patterns = [given] if isinstance(given, str) else given
            if known is None or not any(fnmatchcase(str(known), one) for one in patterns):
                return False
        return True


@dataclass(frozen=True, slots=True)
class ProductionCases:
    """Cases made from traces."""

    cases: tuple[Case, ...]
    recorded: tuple[RecordedAnswer, ...]
    """The recorded answers."""
    reading: ImportReport
    settings: SettingsTransfer
    template: str = "chat"
    """How their prompts were made: `chat` or `none`."""
    drawn: str = ""
    """How they were drawn, if not all were."""
    joined: str = ""
    """A warning if most of them are in one trace."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Numbers of calls read and left out, and what became of their settings."""
        drawn = [line for line in (self.drawn, self.joined) if line]
        found = self.reading.found(len(self.cases))
        return (found, *drawn, *self.reading.sentences(), *self.settings.sentences())


def collect_cases(paths: Sequence[Path | str], wanted: TraceSelection) -> ProductionCases:
    """Read traces and return the cases in them.

    Raises:
        SuiteError: an option is wrong, a path names nothing, or no call is left.
        MissingExtra: a file is protobuf, and its reader is not installed.
    """
    place = ", ".join(map(str, paths))
    problems = list(wanted.problems())
    if problems:
        raise SuiteError([f"{place}: {problem}" for problem in problems])
    scrub = find_scrubber(wanted.scrub)
    reading = ImportReport()
    try:
        drawn_calls = _draw(
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
    alike = _same_template(drawn_calls, template, reading)
    found = list(_finish_cases(alike, wanted, scrub, reading, settings))
    if not found:
        raise SuiteError([_no_calls_message(place, reading)])
    cases, recorded = zip(*found, strict=True)
    answers = tuple(line for line in recorded if line is not None)
    joined = "" if wanted.cluster_by else one_trace_warning(cases, drawn_calls)
    drawn = _sampling_note(wanted, reading)
    return ProductionCases(cases, answers, reading, settings, template, drawn, joined)


def _sampling_note(wanted: TraceSelection, reading: ImportReport) -> str:
    """Return how the calls were drawn, or "" if all were."""
    if wanted.sample is not None and reading.distinct > wanted.sample:
        return f"drawn {wanted.sample} of {reading.distinct} by seed {wanted.seed}"
    if wanted.limit is not None and reading.distinct >= wanted.limit:
        return f"only the first {wanted.limit} were taken"
    return ""


def _is_plain(call: ReplayedCall) -> bool:
    return call.facets.get("template") == "none"


def _same_template(
    calls: Iterable[ReplayedCall], template: str, reading: ImportReport
) -> Iterator[ReplayedCall]:
    """Yield the calls whose prompts were made the same way, since a suite has one template."""
    for call in calls:
        if template == "chat" and _is_plain(call):
            reading.leave_out(PLAIN, call.where)
        else:
            yield call


def _calls(
    paths: Sequence[Path | str], reading: ImportReport, cluster_by: str
) -> Iterator[ReplayedCall]:
    """Yield every call that can be replayed; those of tunegate's own runs come last."""
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
    """Yield the wanted calls, each prompt once."""
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
    """Keeps the first call with each prompt."""

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
    scrub: Callable[[str], str] | None,
    reading: ImportReport,
    settings: SettingsTransfer,
) -> Iterator[tuple[Case, RecordedAnswer | None]]:
    """Yield the scrubbed cases, each with its own id, and their recorded answers."""
    once = _DuplicateFilter(wanted.repeated == "drop")
    ids: Counter[str] = Counter()
    for call in drawn_calls:
        try:
            tidy = call if scrub is None else scrub_call(call, scrub)
        except Exception as error:
            # the text that failed is not printed: it was not scrubbed
            reading.leave_out(f"a call on which scrub failed ({type(error).__name__})", call.where)
            continue
        if not once.is_new(tidy):
            reading.leave_out(TWICE, call.where)
            continue
        given = str(tidy.row["id"])
        ids[given] += 1
        name = given if ids[given] == 1 else f"{given}-{ids[given]}"
        try:
            kept = settings.take(tidy.parameters, tidy.row, tidy.unrecorded)
            row = {**kept, **tidy.row, "id": name}
            case = make_case(row, call.where)
        except ValueError as error:
            reading.leave_out(f"a call that is not a case: {error!s:.80}", call.where)
            continue
        said = tidy.recorded
        yield case, None if said is None else said.model_copy(update={"id": name})


def _draw(found: Iterable[ReplayedCall], wanted: TraceSelection) -> list[ReplayedCall]:
    if wanted.sample is not None:
        return draw_calls(found, wanted.sample, seed=wanted.seed, by=wanted.stratify)
    return list(islice(found, min(wanted.limit or MOST_ROWS + 1, MOST_ROWS + 1)))


def _no_calls_message(place: str, reading: ImportReport) -> str:
    why = "; ".join(reading.sentences()[:5])
    if NEITHER in reading.left_out:
        why += f"; supported are {forms_read()}, each as a list or as JSON lines"
    return f"{place}: {reading.spans} spans, but no call to replay" + (f": {why}" if why else "")
