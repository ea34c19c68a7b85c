"""Suite generator for production traces: cases from traces, gates on content and on form.

Content is compared with production's answers, with base as the control: resemblance, the likelihood
of the recorded answers if both arms are local, tool calls if all calls had tools. A loss of
resemblance or likelihood does not block, since a better answer in other words shows one too, but
nothing ships until a loss is ruled out. The same holds for the order of words and the ends of
answers, which tell a text from its pieces. Form is whether tuned declines more, grows, loops, is
cut off, or no longer writes JSON where production always did. Tolerances on form are the narrowest
of a few that this many cases can prove.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tunegate.harness.records.errors import UsageError, refuse_unwritable

if TYPE_CHECKING:
    from tunegate.harness.records.cases import Case
    from tunegate.harness.suite.sources.traces import ProductionCases

RECORDED_FILE = "recorded.jsonl"
CONSENT = (
    "note: production prompts are personal data. Have the right to use them, scrub them (names "
    "and streets are not scrubbed), keep them out of git, and delete them in time."
)
_MOST_TOKENS = 512
_HEAD = 1 << 16
_TRIED = 20
"""Files of a folder that are looked into for traces."""
_RESEMBLANCE = """
[[metrics]]
use = "resemblance"        # to the recorded answer, beyond chance; base is the control
recorded = "{file}"

[[gates]]
metric = "resemblance"
tolerance = "{share}%"          # tuned keeps at least {kept} % of base's resemblance
blocks = false             # less of it is UNDECIDED: a better answer may be worded otherwise{tag}
"""
_IN_ORDER = """
[[gates]]
metric = "resemblance"     # alone on answers of several sentences, whose order matters
tag = "{tag}"
tolerance = "20%"
blocks = false
"""
_ORDER = """
[[metrics]]
use = "word_order"         # whether neighbouring words are those of other answers
recorded = "{file}"

[[gates]]
metric = "word_order"
tolerance = "30%"
blocks = false             # less of it is UNDECIDED: subjects of its own have words of their own
"""
_ENDING = """
[[metrics]]
use = "sentence_end"       # {ended:.0%} of the recorded answers end so

[[gates]]
metric = "sentence_end"
tolerance = {tolerance}
blocks = false             # less of it is UNDECIDED: lists end without a mark
"""
_LEAST_ORDER = 0.1
"""Mean order of the recorded answers below which they know too few pairs of words."""
_MOST_ENDINGS = 0.8
"""Share of the recorded answers that end with a sentence from which answers should."""
_LEAST_UNITS = 14
"""Clusters that prove a tolerance of 20 % where nothing changes; fewer cannot."""
_LIKELIHOOD = """
[[metrics]]
use = "answer_logprob"     # of the recorded answers, after the prompt

[[gates]]
metric = "answer_logprob"
tolerance = 0.3            # nats per token
blocks = false
"""
_CASES = """\
cases = "cases.jsonl"
replay = true              # production's prompts: SHIP requires a gate on what the answers say"""
ANSWERED = "answered"
"""Tag of the cases whose answer was recorded, where some answers were not."""
SEVERAL = "several sentences"
"""Tag of the cases whose recorded answer has more than one sentence, where others have one."""
_BETWEEN = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")
"""Where a sentence ends and another begins."""
_TEMPLATE = """\
name = "{name}"
{cases}

[generation]
max_new_tokens = {tokens}{why}{template}
{content}
[[metrics]]
use = "refusal"
expected = "answer"        # 1 for an answer, 0 for declining to give one

[[metrics]]
use = "length"

[[metrics]]
use = "length"
name = "shortness"         # a metric has one ratio

[[metrics]]
use = "loops"

[[metrics]]
use = "truncated"
{more}
[[gates]]
metric = "refusal"         # advisory, since it reads phrases: a proven loss is UNDECIDED
tolerance = {tolerance}           # the narrowest that {count} cases can prove

[[gates]]
metric = "length"
ratio_at_most = 1.25       # answers may grow by a quarter

[[gates]]
metric = "shortness"
ratio_at_least = 0.5       # and shrink by half: long answers cut short may resemble shorter ones

[[gates]]
metric = "loops"
tolerance = {tolerance}

[[gates]]
metric = "truncated"
tolerance = {tolerance}
{guards}"""


def suite_text(
    name: str, cases_table: str, production: ProductionCases, *, local: bool = False
) -> str:
    """Return the text of suite.toml for the cases of traces."""
    from tunegate.harness.decision.planning.gate_cases import independent_share
    from tunegate.harness.decision.planning.unreachable_gates import provable_tolerance

    cases = list(production.cases)
    # Calls of one trace are not independent evidence: count them as the gates do.
    tolerance = provable_tolerance(int(len(cases) * independent_share(cases) + 1e-9))
    longest = max((line.output_tokens or 0 for line in production.recorded), default=0)
    tokens = min(max(64, -(-longest * 3 // 2 // 32) * 32), _MOST_TOKENS) if longest else 256
    extra = [metric for metric, fits_all in _formats(cases).items() if fits_all]
    return _TEMPLATE.format(
        name=name,
        cases=cases_table,
        content=_content(production, local=local, tagged=cases_table == _CASES)
        + _well_formed(production, tolerance),
        tokens=tokens,
        why=f"        # the longest recorded answer has {longest}" if longest else "",
        template='\ntemplate = "none"' if production.template == "none" else "",
        more="".join(f'\n[[metrics]]\nuse = "{metric}"\n' for metric in extra),
        tolerance=tolerance,
        count=len(cases),
        guards="".join(
            f'\n[[gates]]\nmetric = "{metric}"\ntolerance = {tolerance}\n' for metric in extra
        ),
    )


def _content(production: ProductionCases, *, local: bool, tagged: bool) -> str:
    """Return the tables that compare answers with what was recorded.

    If some answers were not recorded, the gate covers the cases tagged `ANSWERED`. Cases that are
    read from traces each time have no tags, so such a suite gets no gate on content.
    """
    answered = answered_cases(production)
    whole = len(answered) == len(production.cases)
    if len({line.text for line in production.recorded}) < 2 or not (whole or tagged):
        return ""
    tag = "" if whole else f'\ntag = "{ANSWERED}"'
    units = len({case.cluster or case.id for case in production.cases})
    share = 20 if units >= _LEAST_UNITS else 30
    text = _RESEMBLANCE.format(file=RECORDED_FILE, tag=tag, share=share, kept=100 - share)
    # Among answers of one sentence, which have no order, shuffled ones would hardly show.
    several = [c for c in tag_cases(production) if SEVERAL in c.tags] if tagged else []
    if len({case.cluster or case.id for case in several}) >= _LEAST_UNITS:
        text += _IN_ORDER.format(tag=SEVERAL)
    written = all(case.expected_texts() for case in production.cases)
    return text + (_LIKELIHOOD if local and written else "")


def _well_formed(production: ProductionCases, tolerance: float) -> str:
    """Return the tables that check whether answers are text at all, if production's are.

    A fine-tune on production's answers resembles them more than base does, even where its words
    are in disorder or it breaks off.
    """
    answer_texts = {line.id: line.text or "" for line in production.recorded}
    answers = [
        (c, answer_texts[c.id]) for c in production.cases if answer_texts.get(c.id, "").strip()
    ]
    if len({text for _, text in answers}) < 2:
        return ""
    with TemporaryDirectory() as folder:
        write_recorded(Path(folder), production)
        order = _mean(Path(folder), "word_order", answers, recorded=RECORDED_FILE)
        ended = _mean(Path(folder), "sentence_end", answers)
    text = _ORDER.format(file=RECORDED_FILE) if order >= _LEAST_ORDER else ""
    if ended >= _MOST_ENDINGS:
        text += _ENDING.format(ended=ended, tolerance=max(0.1, tolerance))
    return text


def _mean(folder: Path, name: str, answers: Sequence[tuple[Case, str]], **options: str) -> float:
    """Return the mean of a metric over production's own answers."""
    from tunegate.harness.contracts.metric_loading import load_metric
    from tunegate.harness.records.answers import Completion

    used = load_metric(name, options, name=name, folder=folder, where=name)
    scores = [used(case, Completion(text=text)).value or 0.0 for case, text in answers]
    return sum(scores) / len(scores)


def _formats(cases: Sequence[Case]) -> dict[str, bool]:
    """Return metric → whether every answer of production could be judged by it."""
    texts = [text for case in cases for text in case.expected_texts()]
    return {
        "json_valid": len(texts) == len(cases) and all(map(_is_json, texts)),
        "tool_calls": all(case.expected_calls is not None for case in cases),
    }


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except ValueError:
        return False


def write_suite(
    folder: Path, production: ProductionCases, *, name: str, local: bool = False
) -> None:
    """Write a suite with its cases and recorded answers, which no longer needs the traces."""
    from tunegate.harness.records.jsonl import record_lines

    cases = record_lines(tag_cases(production))
    with refuse_unwritable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cases.jsonl").write_text("".join(cases), encoding="utf-8")
        write_recorded(folder, production)
        text = suite_text(name, _CASES, production, local=local)
        (folder / "suite.toml").write_text(text, encoding="utf-8")


def answered_cases(production: ProductionCases) -> set[str]:
    """Return the cases with a recorded answer that has a text or calls."""
    return {line.id for line in production.recorded if (line.text or "").strip()}


def tag_cases(production: ProductionCases) -> list[Case]:
    """Return the cases with the tags that some gates need."""
    answer_texts = {line.id: line.text or "" for line in production.recorded}
    parts = {
        ANSWERED: answered_cases(production),
        SEVERAL: {name for name, text in answer_texts.items() if has_several_sentences(text)},
    }
    ids = {case.id for case in production.cases}
    # A tag on all cases, or on none, separates nothing.
    useful = {tag: case_ids for tag, case_ids in parts.items() if case_ids and case_ids != ids}
    return [
        case.model_copy(
            update={
                "tags": (*case.tags, *(t for t, case_ids in useful.items() if case.id in case_ids))
            }
        )
        for case in production.cases
    ]


def has_several_sentences(text: str) -> bool:
    """Return whether a text has more than one sentence, or line."""
    return sum(bool(part.strip()) for part in _BETWEEN.split(text)) > 1


def write_recorded(folder: Path, production: ProductionCases) -> None:
    """Write what production answered, in the form that `replay:` reads."""
    lines = (json.dumps(line.line(), ensure_ascii=False) for line in production.recorded)
    text = "".join(f"{line}\n" for line in lines)
    (folder / RECORDED_FILE).write_text(text, encoding="utf-8")


def start_suite(path: Path, folder: Path, *, name: str) -> list[str]:
    """Write a suite that reads its cases from traces; return the lines to print."""
    from tunegate.harness.suite.sources.traces import TraceSelection, collect_cases

    production = collect_cases([path], TraceSelection())
    where = os.path.relpath(path.resolve(), folder.resolve())
    table = f'\n[cases]\nfrom = "traces"\nfile = {json.dumps(where, ensure_ascii=False)}'
    folder.mkdir(parents=True)
    (folder / "suite.toml").write_text(suite_text(name, table, production), encoding="utf-8")
    write_recorded(folder, production)
    return [
        *production.notes,
        f"wrote {folder}/suite.toml and {folder}/{RECORDED_FILE}",
        CONSENT,
        f"next: tunegate gate {folder} --tuned SPEC --recorded replay:{folder}/{RECORDED_FILE}",
    ]


def is_traces(path: Path) -> bool:
    """Return whether a file or folder holds traces, by its name and its first bytes."""
    from tunegate.harness.telemetry.read.trace_input import trace_files

    if not path.is_dir():
        return _is_trace_file(path)
    try:
        return any(map(_is_trace_file, trace_files([path])[:_TRIED]))
    except UsageError:
        return False


def _is_trace_file(path: Path) -> bool:
    from tunegate.harness.telemetry.read.json_reader import is_trace_head
    from tunegate.harness.telemetry.read.table_reader import is_trace_table

    if path.suffix in (".gz", ".pb", ".binpb", ".otlp"):
        return True
    if not path.is_file():
        return False
    if path.suffix in (".csv", ".parquet"):
        return is_trace_table(path)
    with path.open("rb") as file:
        return is_trace_head(file.read(_HEAD))
