"""summary.md and comment.md: a run for a job's page and for a pull request.

The summary is GitHub-flavoured Markdown. GitHub drops one over 1 MiB while the step stays green, so
fewer regressed cases are shown until everything fits, and a section that still does not fit is
named and left to the report. The comment is plain text in a fence, and short: the report has all.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from tunegate.harness.contracts.quantity import QuantityFormat, format_scores, quantity_of
from tunegate.harness.decision.gating.tag_slices import TagSlice
from tunegate.harness.decision.verdict.next_step import next_step
from tunegate.harness.decision.verdict.verdict_lines import (
    interim_look,
    sorted_gates,
    unjudged_sentence,
    verdict_notes,
)
from tunegate.harness.records.gate_results import GateResult, GateStatus
from tunegate.harness.records.hidden_text import escape_hidden
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.wording import count_noun
from tunegate.harness.telemetry.export.redaction import scrub_text
from tunegate.reports.case_detail import ARMS, turn_text
from tunegate.reports.case_view import CaseChange, CaseView
from tunegate.reports.data import ReportData, prepare_data
from tunegate.reports.escaping import (
    code_span,
    escape_markdown,
    fenced_block,
    html_code,
)
from tunegate.reports.formatting import (
    FACES,
    STATUSES,
    format_difference,
    format_gate_interval,
    format_gate_value,
    format_level,
    gate_rule,
)
from tunegate.reports.identity import run_command, run_folder
from tunegate.reports.sections import judge_health, summarize_sections
from tunegate.reports.sections.regressions import shared_traits
from tunegate.reports.text_diff import line_diff
from tunegate.reports.typical_cases import ON_PAGE, published, typical_cases

LIMIT = 900_000
"""Limit in bytes of a summary."""

COMMENT = 2_600
"""Limit in bytes of a comment; with the lines that a workflow adds it is at most 3,000."""

WIDTH, LONGEST = 98, 600
"""Characters of a line in a comment, where a fence does not wrap, and of what is wrapped."""

MARKER = "<!-- tunegate -->"
"""First line of a comment, by which the next run finds it; no text of a run can begin a comment."""

GATES, CASES, SUBJECTS = 100, 10, 5
"""Limits of the tables' rows."""

_FEWER = (CASES, 7, 5, 3, 2, 1, 0)
"""Numbers of regressed cases that are tried, one after the other."""


def render_summary(run: Run, data: ReportData | None = None) -> str:
    """Return the longest summary of a run that fits: with fewer cases, then without sections."""
    data = data or prepare_data(run)
    head, sections = _head(data), _sections(data)
    for cases in _FEWER:
        sections["Regressions"] = _regressions(data, cases)
        text = head + "".join(_part(title, body) for title, body in sections.items())
        if len(text.encode()) <= LIMIT:
            return text
    text, left_out = head, list[str]()
    room = LIMIT - len(_left_out(sections).encode())
    for title, body in sections.items():
        longer = text + _part(title, body)
        if len(longer.encode()) <= room:
            text = longer
        else:
            left_out.append(title)
    return text + _left_out(left_out)


def render_comment(run: Run, data: ReportData | None = None) -> str:
    """Return the comment on a pull request: its hidden marker, a heading, and a fenced text."""
    data, face = data or prepare_data(run), FACES[run.verdict.verdict]
    head = f"{MARKER}\n### {face.sign} tunegate: {face.word}\n\n"
    return f"{head}{_fenced_lines(comment_lines(data), COMMENT - len(head.encode()) - 1)}\n"


def comment_lines(data: ReportData) -> Iterator[str]:
    """Yield what a comment says as plain text, what can change a reader's decision first."""
    run, verdict = data.run, data.run.verdict
    yield verdict.sentence
    yield from verdict.declared_arms()
    yield ""
    yield from _typical_lines(data)
    yield from (f"but {why}" for why in verdict.arm_warnings())
    yield from (suite.collapsed for suite in verdict.suites if suite.collapsed)
    if verdict.slices is not None:
        yield f"but {verdict.slices.sentence}"
    yield from (f"filtered run: {why}" for why in run.manifest.filtered)
    step = next_step(verdict, run.manifest.suites, run=run_folder(run), report="report.html")
    yield from [f"next: {step}"] if step else []
    holding = 0
    for suite, gate in sorted_gates(verdict):
        if gate.status is GateStatus.PASS:
            holding += 1
        elif gate.n:
            advisory = " (advisory)" * gate.advisory
            yield f"{STATUSES[gate.status].word}{advisory}: {suite}: {gate.sentence}"
    yield from filter(None, [unjudged_sentence(verdict)])
    yield f"{count_noun(holding, 'gate')} passed; {_scored(run)}"
    yield from (f"note: {note}" for note in verdict_notes(verdict))


def _typical_lines(data: ReportData) -> Iterator[str]:
    """Yield the cases that carry the verdict, both answers below each other."""
    typical = typical_cases(data)
    if typical is None or typical.closed:
        yield from [] if typical is None else [typical.closed]
        return
    yield f"{typical.title}:"
    for case in typical.cases:
        yield f"{case.name} ({case.scores})"
        for name, text in (("asked", case.asked), ("base", case.base), ("tuned", case.tuned)):
            yield f"  {name:<5}  {published(text, WIDTH - 9)}"
    yield ""


def _fenced_lines(lines: Iterable[str], room: int) -> str:
    """Return wrapped lines in a fence of at most `room` bytes, and how many are left out."""
    wrapped = ["\n".join(_wrap(line)) for line in lines]
    text = fenced_block("\n".join(wrapped), "text")
    for shown in reversed(range(len(wrapped))):
        if len(text.encode()) <= room:
            break
        more = f"… {len(wrapped) - shown} more lines in report.html"
        text = fenced_block("\n".join([*wrapped[:shown], more]), "text")
    return text


def _wrap(line: str) -> list[str]:
    line = escape_hidden(line.replace("\n", " "))
    line = line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
    return textwrap.wrap(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def _sections(data: ReportData) -> dict[str, str]:
    """Return title → text of each section; the regressions are still to be filled in."""
    return {
        "Gates": gates_table(data.run),
        **summarize_sections(data),
        "Regressions": "",
        "Subjects": _subjects(data),
        **_judges(data),
        "Provenance": _provenance(data),
        "Reproduce": fenced_block(run_command(data.run), "sh"),
    }


def _left_out(titles: Iterable[str]) -> str:
    return f"\nIn the report only: {', '.join(titles)}.\n"


def _part(title: str, body: str) -> str:
    return f"\n### {title}\n\n{body}\n"


def _head(data: ReportData) -> str:
    run, verdict, face = data.run, data.run.verdict, FACES[data.run.verdict.verdict]
    lines = [f"### {face.sign} tunegate: {face.word}", "", escape_markdown(verdict.sentence), ""]
    lines += [f"{escape_markdown(arm)}\n" for arm in verdict.declared_arms()]
    lines += _typical_table(data)
    lines += [f"**But {escape_markdown(why)}**\n" for why in verdict.arm_warnings()]
    lines += [f"**{escape_markdown(s.collapsed)}**\n" for s in verdict.suites if s.collapsed]
    if verdict.slices is not None:
        lines += [f"**But {escape_markdown(verdict.slices.sentence)}.**", ""]
    lines += [f"> Filtered run: {escape_markdown(why)}\n" for why in run.manifest.filtered]
    lines += [f"> {escape_markdown(note)}\n" for note in run.verdict.trust_notes()]
    step = next_step(verdict, run.manifest.suites, run=run_folder(run), report="report.html")
    lines += [f"Next: {escape_markdown(step)}\n"] if step else []
    return "\n".join([*lines, f"{_scored(run)}."]) + "\n"


def _scored(run: Run) -> str:
    """Return how many cases are scored."""
    suites = run.verdict.suites
    planned, scored = sum(s.n_planned for s in suites), sum(s.n_scored for s in suites)
    touched = sum(suite.n_touched for suite in suites)
    apart = f", {touched} left out: they are in the training rows" if touched else ""
    return f"{scored:,} of {count_noun(planned, 'case')} scored{apart}"


def _typical_table(data: ReportData) -> list[str]:
    """Return the cases that carry the verdict as a table, which opens where it may offend."""
    typical = typical_cases(data)
    if typical is None or typical.silent:
        return [] if typical is None else [f"{escape_markdown(typical.silent)}\n"]
    rows = [
        [
            f"{code_span(case.name)} {case.scores}",
            *(
                "–" if text is None else code_span(published(text, ON_PAGE), 2 * ON_PAGE)
                for text in (case.asked, case.expected or None, case.base, case.tuned)
            ),
        ]
        for case in typical.cases
    ]
    head = ("case", "asked", "expected", typical.reference, "tuned")
    table = format_table(head, rows)
    if typical.offensive:
        summary = f"<summary>{html_code(typical.title)}: texts may be offensive</summary>"
        return [f"<details>{summary}\n\n{table}\n\n</details>\n"]
    return [f"{escape_markdown(typical.title)}:\n", table, ""]


def format_table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown; the cells are escaped already."""
    titles = list(head)
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def gates_table(run: Run) -> str:
    """Return the gates of a run as a table, those that need attention first, and the notes."""
    gates = sorted_gates(run.verdict)
    if not gates:
        return "No gate was judged."
    head = ("result", "suite", "metric", "rule", "base", "tuned", "difference", "interval", "n")
    table = format_table(head, (gate_row(suite, gate) for suite, gate in gates[:GATES]))
    notes = [  # each begins with its suite's name
        f"- {escape_markdown(note)}" for suite in run.verdict.suites for note in suite.notes
    ]
    remarks = [
        f"- {escape_markdown(remark)}" for suite in run.verdict.suites for remark in suite.remarks
    ]
    folded = ["", "<details><summary>Remarks</summary>", "", *remarks, "", "</details>"]
    return "\n".join(
        [
            table,
            *count_rest(len(gates) - GATES, "gate"),
            *(["", *notes] if notes else []),
            *(folded if remarks else []),
        ]
    )


def gate_row(suite: str, gate: GateResult) -> list[str]:
    """Return the cells of a gate: result, suite, metric, rule, both levels and what they show."""
    status = STATUSES[gate.status]
    has_interval, how = gate.low is not None or gate.high is not None, quantity_of(gate)
    better = "higher" if gate.higher_is_better else "lower"
    why = f"; {interim_look(gate)}" if interim_look(gate) else ""
    level = f" ({100 * gate.confidence:.4g} %{why})" if gate.confidence else ""
    return [
        f"{status.sign} {status.word}{' (advisory)' if gate.advisory else ''}",
        code_span(suite),
        f"{code_span(gate.metric)}{tag_phrase(gate.tag)}"
        f"{f', the worst {gate.every}' if gate.worst else ''}"
        f"{f' against {gate.against}' if gate.against else ''} ({better} is better)",
        f"{gate.kind}: {escape_markdown(gate_rule(gate))}",
        format_level(gate.base, how),
        format_level(gate.tuned, how),
        format_difference(gate.delta, how)
        if gate.estimate is None
        else format_gate_value(gate, gate.estimate),
        f"{format_gate_interval(gate)}{level}" if has_interval else "–",
        str(gate.n),
    ]


def tag_phrase(tag: str | None) -> str:
    """Return ` on TAG` for a gate on a tag, else nothing."""
    return "" if tag is None else f" on {code_span(tag)}"


def _regressions(data: ReportData, cases: int) -> str:
    if not data.regressions:
        return "No case got worse on a gated metric."
    broke, worse = data.with_outcome(CaseChange.BROKE), data.with_outcome(CaseChange.WORSE)
    touched = sum(view.touched is not None for view in data.regressions)
    apart = f"; {touched} of them in training rows" if touched else ""
    head = f"{count_noun(broke, 'case')} newly failing, {worse} worse on a graded metric{apart}."
    shared = "; ".join(
        f"{t.words}{f' {code_span(t.what)}' if t.what else ''}: {t.counts}"
        for t in shared_traits(data)
    )
    head += f" In common, of the cases that got worse: {shared}." if shared else ""
    shown = [_case(view) for view in data.regressions[:cases]]
    rest = count_rest(len(data.regressions) - cases, "regression")
    return "\n\n".join([head, *shown, *rest])


def _found(view: CaseView) -> tuple[str, str]:
    """Return what decided about the code of both arms: why it is wrong, or its score."""
    decided = view.deciding
    if decided is None or decided.base is None or decided.tuned is None:
        return "", ""
    how = QuantityFormat(decided.metric.rate)
    base, tuned = (s.reason or format_level(s.value, how) for s in (decided.base, decided.tuned))
    return base, tuned


def _case(view: CaseView) -> str:
    score = view.deciding
    line = f"{view.outcome} · {html_code(view.suite)} {html_code(scrub_text(view.name))}"
    if score and score.base and score.tuned:
        levels = format_scores(score.base.value, score.tuned.value, rate=score.metric.rate)
        line += f" · {html_code(score.metric.name)} {levels}"
    line += " · in training rows" if view.touched else ""
    turns = view.case.input_messages()
    ask = fenced_block(scrub_text(turn_text(turns[-1])), limit=1_500)
    base, tuned = (scrub_text(view.text(arm) or "") for arm in ARMS)
    parts = [f"<details><summary>{line}</summary>", ask]
    if expected := view.case.expected_texts():
        parts.append("expected:\n\n" + fenced_block(scrub_text("\n".join(expected)), limit=1_500))
    if any(view.text(arm) is not None for arm in ARMS):
        parts.append(fenced_block(line_diff(base, tuned), "diff", limit=8_000))
    if view.is_code:
        parts += [
            f"{arm}: {code_span(why, 600)}" for arm, why in zip(ARMS, _found(view), strict=True)
        ]
    return "\n\n".join([*parts, "</details>"])


def _subjects(data: ReportData) -> str:
    worst = [s for s in data.tag_slices if s.enough][:SUBJECTS]
    if not worst:
        return "No subject has enough cases."
    head = ("subject", "suite", "metric", "base", "tuned", "difference", "n")
    table = format_table(head, map(_subject, worst))
    return f"{table}\n\nWorst first. A gate decides on one by its tag."


def _subject(s: TagSlice) -> list[str]:
    names = [code_span(s.tag), code_span(s.suite), code_span(s.metric.name)]
    how = QuantityFormat(s.metric.is_rate)
    return [
        *names,
        format_level(s.base, how),
        format_level(s.tuned, how),
        format_difference(s.delta, how),
        str(s.n),
    ]


def _judges(data: ReportData) -> dict[str, str]:
    """Return a line for each judge; nothing where no metric asks one."""
    lines = [_judge(health) for health in judge_health.judge_healths(data)]
    return {"Judge health": "\n".join(lines)} if lines else {}


def _judge(health: judge_health.JudgeHealth) -> str:
    facts, figures = dict(health.facts), dict(health.known)
    parts = [*health.rights, f"judgements: {facts.get('judgements', 'none')}"]
    parts += [f"kappa {figures['kappa']}"] if figures else []
    parts += [facts["cost"]] if facts.get("cost") else []
    sentence = "; ".join(map(escape_markdown, parts))
    return f"- {code_span(health.suite)} {code_span(health.metric.name)}: {sentence}"


def _provenance(data: ReportData) -> str:
    rows = [
        [code_span(arm.name), code_span(arm.spec), code_span(arm.short)]
        for arm in data.arms.values()
    ]
    rows += [
        [f"suite {code_span(suite.name)}", "", code_span(suite.hash[:10])]
        for suite in data.run.verdict.suites
    ]
    run = f"Run {code_span(data.run.verdict.run_id)}, seed {data.run.verdict.seed}."
    return format_table(("what", "spec", "hash"), rows) + f"\n\n{run}"


def count_rest(n: int, noun: str) -> list[str]:
    """Return a line saying how many more there are; empty if all are shown."""
    return [f"\n{count_noun(n, 'more ' + noun)} in the report."] if n > 0 else []
