"""summary.md: a run in GitHub-flavoured Markdown, for a job summary or a comment.

GitHub refuses a summary over 1 MiB while the step stays green, so this one stays under `LIMIT`:
a section that no longer fits is named and left to the report.
"""

from __future__ import annotations

from collections.abc import Iterable

from harness.run import Run
from harness.verdict.parity_record import MetricParity, Parity, SuiteParity
from harness.verdict.record import GateResult, GateStatus, SuiteResult
from reports.data import BASE, TUNED, ReportData, prepare
from reports.identity import command
from reports.inert import block, code, html_code, prose
from reports.lines import line_diff
from reports.numbers import counted, number, rule, signed
from reports.pairs import CasePair, Outcome
from reports.sections import judge_health
from reports.slices import Slice, by_tag
from reports.wording import FACES, PARITIES, STATUSES

LIMIT = 900_000
"""Bytes of the whole text at most."""

GATES, CASES, SUBJECTS = 100, 10, 5
"""Rows of each table at most."""

_ORDER = (GateStatus.ERROR, GateStatus.FAIL, GateStatus.UNDECIDED, GateStatus.PASS)


def summary(run: Run) -> str:
    """Return the summary of a run; the same run gives the same text."""
    data = prepare(run)
    sections = {
        "Gates": _gates(run),
        **({"What ships": _shipped(parity)} if (parity := run.verdict.parity) else {}),
        "Regressions": _regressions(data),
        "Subjects": _subjects(data),
        **_judges(data),
        "Provenance": _provenance(data),
        "Reproduce": block(command(run), "sh"),
    }
    text, left_out = _head(run), []
    for title, body in sections.items():
        part = f"\n### {title}\n\n{body}\n"
        if len((text + part).encode()) > LIMIT - 1_000:
            left_out.append(title)
        else:
            text += part
    return text + (f"\nIn the report only: {', '.join(left_out)}.\n" if left_out else "")


def _head(run: Run) -> str:
    verdict, face = run.verdict, FACES[run.verdict.verdict]
    lines = [f"### {face.sign} tunegate: {face.word}", "", prose(verdict.sentence), ""]
    lines += [f"> Filtered run: {prose(why)}\n" for why in run.manifest.filtered]
    planned = sum(suite.n_planned for suite in verdict.suites)
    scored = sum(suite.n_scored for suite in verdict.suites)
    lines.append(f"{scored} of {counted(planned, 'case')} scored.")
    return "\n".join(lines) + "\n"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = list(head)
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _gates(run: Run) -> str:
    gates = [(suite, gate) for suite in run.verdict.suites for gate in suite.gates]
    gates.sort(key=lambda pair: (pair[1].advisory, _ORDER.index(pair[1].status)))
    if not gates:
        return "No gate was judged."
    head = ("result", "suite", "metric", "rule", "base", "tuned", "difference", "interval", "n")
    table = _table(head, (_gate(suite, gate) for suite, gate in gates[:GATES]))
    notes = [
        f"- {code(suite.name)}: {prose(n)}" for suite in run.verdict.suites for n in suite.notes
    ]
    return "\n".join([table, *_more(len(gates) - GATES, "gate"), *(["", *notes] if notes else [])])


def _shipped(parity: Parity) -> str:
    head = ("result", "suite", "metric", "tuned", "shipped", "difference", "interval", "margin")
    metrics = [(suite, metric) for suite in parity.suites for metric in suite.metrics]
    table = _table(head, (_metric(suite, metric) for suite, metric in metrics[:GATES]))
    answers = [
        f"- {code(s.name)}: {s.agreement.same} of {counted(s.agreement.answers, 'answer')} equal"
        for s in parity.suites
        if s.agreement is not None
    ]
    more = _more(len(metrics) - GATES, "metric")
    return "\n".join([prose(parity.sentence), "", table, *more, *(["", *answers])])


def _metric(suite: SuiteParity, metric: MetricParity) -> list[str]:
    face = PARITIES[metric.status]
    return [
        f"{face.sign} {face.word}{' (advisory)' if metric.advisory else ''}",
        code(suite.name),
        code(metric.metric),
        number(metric.tuned),
        number(metric.shipped),
        signed(metric.delta),
        "–" if metric.low is None else f"{signed(metric.low)} to {signed(metric.high)}",
        f"±{metric.margin if isinstance(metric.margin, str) else number(metric.margin)}",
    ]


def _gate(suite: SuiteResult, gate: GateResult) -> list[str]:
    status, write = STATUSES[gate.status], signed if gate.kind.compares else number
    known = gate.low is not None or gate.high is not None
    better = "higher" if gate.higher_is_better else "lower"
    return [
        f"{status.sign} {status.word}{' (advisory)' if gate.advisory else ''}",
        code(suite.name),
        f"{code(gate.metric)} ({better} is better)",
        f"{gate.kind}: {prose(rule(gate))}",
        number(gate.base),
        number(gate.tuned),
        signed(gate.delta),
        f"{write(gate.low)} to {write(gate.high)}" if known else "–",
        str(gate.n),
    ]


def _regressions(data: ReportData) -> str:
    if not data.regressions:
        return "No case got worse on a gated metric."
    broke, worse = data.with_outcome(Outcome.BROKE), data.with_outcome(Outcome.WORSE)
    head = f"{counted(broke, 'case')} newly failing, {worse} worse on a graded metric."
    shown = [_case(pair) for pair in data.regressions[:CASES]]
    return "\n\n".join([head, *shown, *_more(len(data.regressions) - CASES, "regression")])


def _case(pair: CasePair) -> str:
    score = pair.deciding
    line = f"{pair.outcome} · {html_code(pair.suite)} {html_code(pair.case.case.id)}"
    if score and score.base and score.tuned:
        line += f" · {html_code(score.metric.name)} {number(score.base.value)}"
        line += f" → {number(score.tuned.value)}"
    turns = pair.case.case.input_messages()
    ask = block(str(turns[-1].get("content")), limit=1_500)
    base, tuned = pair.text(BASE), pair.text(TUNED)
    parts = [f"<details><summary>{line}</summary>", ask]
    if base is not None or tuned is not None:
        parts.append(block(line_diff(base or "", tuned or ""), "diff", limit=8_000))
    return "\n\n".join([*parts, "</details>"])


def _subjects(data: ReportData) -> str:
    worst = [s for s in by_tag(data) if s.enough][:SUBJECTS]
    if not worst:
        return "No subject has cases enough to tell."
    head = ("subject", "suite", "metric", "base", "tuned", "difference", "n")
    return _table(head, map(_subject, worst)) + "\n\nWorst first. Subjects never gate."


def _subject(s: Slice) -> list[str]:
    names = [code(s.tag), code(s.metric.suite), code(s.metric.name)]
    return [*names, number(s.base), number(s.tuned), signed(s.delta), str(s.n)]


def _judges(data: ReportData) -> dict[str, str]:
    """Return a line for each judge; nothing where no metric asks one."""
    lines = [_judge(health) for health in judge_health.healths(data)]
    return {"Judge health": "\n".join(lines)} if lines else {}


def _judge(health: judge_health.Health) -> str:
    facts, known = dict(health.facts), dict(health.known)
    parts = [*health.rights, f"judgements: {facts.get('judgements', 'none')}"]
    parts += [f"kappa {known['kappa']}"] if known else []
    told = "; ".join(map(prose, parts))
    return f"- {code(health.suite)} {code(health.metric.name)}: {told}"


def _provenance(data: ReportData) -> str:
    rows = [[code(arm.name), code(arm.spec), code(arm.short)] for arm in data.arms.values()]
    rows += [
        [f"suite {code(suite.name)}", "", code(suite.hash[:10])]
        for suite in data.run.verdict.suites
    ]
    run = f"Run {code(data.run.verdict.run_id)}, seed {data.run.verdict.seed}."
    return _table(("what", "spec", "hash"), rows) + f"\n\n{run}"


def _more(n: int, noun: str) -> list[str]:
    return [f"\n{counted(n, 'more ' + noun)} in the report."] if n > 0 else []
