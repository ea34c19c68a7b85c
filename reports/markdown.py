"""summary.md and comment.md: a run in GitHub-flavoured Markdown, for a job and a pull request.

GitHub drops a summary over 1 MiB while the step stays green, and refuses a comment over 65,536
characters. Both texts stay below: fewer regressed cases are shown until everything fits, and a
section that still does not fit is named and left to the report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from tunegate.harness.contracts.quantity import QuantityFormat, format_scores, quantity_of
from tunegate.harness.decision.gating.tag_slices import TagSlice
from tunegate.harness.decision.verdict.next_step import next_step
from tunegate.harness.decision.verdict.verdict_lines import interim_look, sorted_gates
from tunegate.harness.records.gate_results import GateResult
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.wording import count_noun
from tunegate.reports.case_detail import ARMS, compare_choices, turn_text
from tunegate.reports.case_view import BASE, TUNED, CaseChange, CaseView
from tunegate.reports.data import ReportData, once_per_report, prepare_data
from tunegate.reports.escaping import code_span, escape_markdown, fenced_block, html_code
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

LIMIT = 900_000
"""Limit in bytes of a summary."""

COMMENT = 60_000
"""Limit in characters of a comment."""

MARKER = "<!-- tunegate -->"
"""First line of a comment, by which the next run finds it; no text of a run can begin a comment."""

GATES, CASES, SUBJECTS, WORST = 100, 10, 5, 3
"""Limits of the tables' rows."""

_FEWER = (CASES, 7, 5, 3, 2, 1, 0)
"""Numbers of regressed cases that are tried, one after the other."""


def render_summary(run: Run, data: ReportData | None = None) -> str:
    """Return the summary of a run; the same run gives the same text."""
    return _fit_text(data or prepare_data(run), lambda text: len(text.encode()) <= LIMIT)


def render_comment(run: Run, data: ReportData | None = None) -> str:
    """Return the comment on a pull request: its hidden marker, then the summary, kept shorter."""
    return f"{MARKER}\n{_comment(data or prepare_data(run))}"


@once_per_report  # the page holds it too
def _comment(data: ReportData) -> str:
    room = COMMENT - len(MARKER) - 1
    return _fit_text(data, lambda text: len(text) <= room)


def _fit_text(data: ReportData, fits: Callable[[str], bool]) -> str:
    """Return the longest text that fits: with fewer cases, then without sections."""
    head, sections = _head(data.run), _sections(data)
    for cases in _FEWER:
        text = head + "".join(_part(title, make(cases)) for title, make in sections)
        if fits(text):
            return text
    text, left_out = head, list[str]()
    # Room for the names of the sections that do not fit.
    note = f"\nIn the report only: {', '.join(title for title, _ in sections)}.\n"
    for title, make in sections:
        longer = text + _part(title, make(0))
        if fits(longer + note):
            text = longer
        else:
            left_out.append(title)
    return text + f"\nIn the report only: {', '.join(left_out)}.\n"


def _sections(data: ReportData) -> list[tuple[str, Callable[[int], str]]]:
    """Return title and text of each section, given how many cases it may show."""
    run, judges = data.run, _judges(data)
    texts = {
        "Gates": gates_table(run),
        **summarize_sections(data),
        "Regressions": "",
        "Subjects": _subjects(data),
        **judges,
        "Provenance": _provenance(data),
        "Reproduce": fenced_block(run_command(run), "sh"),
    }
    return [
        (
            title,
            partial(_regressions, data)
            if title == "Regressions"
            else partial(_whole_section, text),
        )
        for title, text in texts.items()
    ]


def _whole_section(text: str, cases: int) -> str:
    """Return a section's text, which shows no cases."""
    return text


def _part(title: str, body: str) -> str:
    return f"\n### {title}\n\n{body}\n"


def _head(run: Run) -> str:
    verdict, face = run.verdict, FACES[run.verdict.verdict]
    lines = [f"### {face.sign} tunegate: {face.word}", "", escape_markdown(verdict.sentence), ""]
    lines += [f"**But {escape_markdown(why)}**\n" for why in verdict.prompt_warnings()]
    lines += [f"**{escape_markdown(s.collapsed)}**\n" for s in verdict.suites if s.collapsed]
    if verdict.slices is not None:
        lines += [f"**But {escape_markdown(verdict.slices.sentence)}.**", ""]
    lines += [f"> Filtered run: {escape_markdown(why)}\n" for why in run.manifest.filtered]
    lines += [f"> {escape_markdown(note)}\n" for note in run.verdict.trust_notes()]
    step = next_step(verdict, run.manifest.suites, run=run_folder(run), report="report.html")
    lines += [f"Next: {escape_markdown(step)}\n"] if step else []
    planned = sum(suite.n_planned for suite in verdict.suites)
    scored = sum(suite.n_scored for suite in verdict.suites)
    touched = sum(suite.n_touched for suite in verdict.suites)
    apart = f", {touched} left out: they are in the training rows" if touched else ""
    lines.append(f"{scored:,} of {count_noun(planned, 'case')} scored{apart}.")
    return "\n".join(lines) + "\n"


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
    known, how = gate.low is not None or gate.high is not None, quantity_of(gate)
    better = "higher" if gate.higher_is_better else "lower"
    why = f"; {interim_look(gate)}" if interim_look(gate) else ""
    level = f" ({100 * gate.confidence:.4g} %{why})" if gate.confidence else ""
    return [
        f"{status.sign} {status.word}{' (advisory)' if gate.advisory else ''}",
        code_span(suite),
        f"{code_span(gate.metric)}{tag_phrase(gate.tag)} ({better} is better)",
        f"{gate.kind}: {escape_markdown(gate_rule(gate))}",
        format_level(gate.base, how),
        format_level(gate.tuned, how),
        format_difference(gate.delta, how)
        if gate.estimate is None
        else format_gate_value(gate, gate.estimate),
        f"{format_gate_interval(gate)}{level}" if known else "–",
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
    worst = _worst_table(data.regressions[: min(cases, WORST)])
    rest = count_rest(len(data.regressions) - cases, "regression")
    return "\n\n".join([head, *worst, *shown, *rest])


def _worst_table(views: Sequence[CaseView]) -> list[str]:
    """Return a table of the worst cases: asked, expected, and the answers of both arms."""
    rows = [
        [code_span(text, 300) if text else "–" for text in (view.name, *case_answers(view))]
        for view in views
    ]
    return [format_table(("case", "asked", "expected", "base", "tuned"), rows)] if rows else []


def case_answers(view: CaseView) -> tuple[str, str, str, str]:
    """Return what was asked, what is expected, and what base and tuned answered or picked."""
    case = view.case
    asked = turn_text(case.input_messages()[-1])
    choices = compare_choices(view)
    if choices:
        right = next((c.text for c in choices if c.right), "")
        picked = [next((c.text for c in choices if c.picked[arm]), "") for arm in (0, 1)]
        return asked, right, picked[0], picked[1]
    if view.is_code:  # on one line code says less than what running it found
        return asked, "", *_found(view)
    expected = " / ".join(case.expected_texts())
    base, tuned = ("(empty)" if t == "" else t or "" for t in map(view.text, (BASE, TUNED)))
    return asked, expected, base, tuned


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
    line = f"{view.outcome} · {html_code(view.suite)} {html_code(view.name)}"
    if score and score.base and score.tuned:
        both = format_scores(score.base.value, score.tuned.value, rate=score.metric.rate)
        line += f" · {html_code(score.metric.name)} {both}"
    line += " · in training rows" if view.touched else ""
    turns = view.case.input_messages()
    ask = fenced_block(turn_text(turns[-1]), limit=1_500)
    base, tuned = view.text(BASE), view.text(TUNED)
    parts = [f"<details><summary>{line}</summary>", ask]
    if expected := view.case.expected_texts():
        parts.append("expected:\n\n" + fenced_block("\n".join(expected), limit=1_500))
    if base is not None or tuned is not None:
        parts.append(fenced_block(line_diff(base or "", tuned or ""), "diff", limit=8_000))
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
    facts, known = dict(health.facts), dict(health.known)
    parts = [*health.rights, f"judgements: {facts.get('judgements', 'none')}"]
    parts += [f"kappa {known['kappa']}"] if known else []
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
