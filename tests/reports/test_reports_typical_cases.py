"""The three cases that carry a verdict: which they are, and that a broken base shows in them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.reports.conftest import Builder, build_run, gate
from tunegate.harness.records.cases import Case
from tunegate.harness.records.gate_results import GateReason
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.verdict import SuiteResult, Verdict
from tunegate.reports.data import prepare_data
from tunegate.reports.markdown import render_comment, render_summary
from tunegate.reports.sections import verdict as verdict_section
from tunegate.reports.typical_cases import TypicalCases, excerpt, typical_cases, typical_lines

Rows = Sequence[tuple[str | None, str | None, float, float]]
"""Base's and tuned's answer, and their scores."""
TOPICS = ("billing", "shipping", "returns", "account")


def run_of(
    rows: Rows,
    kind: str = "gain",
    status: str = "pass",
    verdict: str = "SHIP",
    *,
    metric: str = "json_fields",
    prompt: str = "Ticket {}",
    ident: str = "c{:03}",
    **facts: Any,
) -> Run:
    """Return a run of one suite with one gate on these cases."""
    build = Builder()
    for at, (base, tuned, before, after) in enumerate(rows):
        name = ident.format(at)
        case = Case(
            id=name, prompt=prompt.format(at), expected=TOPICS[at % 4], tags=(f"t{at % 2}",)
        )
        build.case("s", case, at + 1)
        for arm, text, value in (("base", base, before), ("tuned", tuned, after)):
            if text is not None:
                build.answer("s", name, arm, text)
            build.score("s", metric, name, arm, value)
    levels = [sum(row[arm] for row in rows) / len(rows) for arm in (2, 3)]
    numbers = {"base": levels[0], "tuned": levels[1], "delta": levels[1] - levels[0]}
    suite = SuiteResult(
        name="s",
        hash="0" * 64,
        verdict=Verdict(verdict),
        goal_rule="primary",
        has_goal=kind == "gain",
        n_planned=len(rows),
        n_scored=len(rows),
        n_unscored={},
        gates=(gate(metric, kind, status, "a sentence", 0.1, **{**numbers, **facts}),),
    )
    return build.run(Verdict(verdict), "a sentence", (suite,))


def found(run: Run) -> TypicalCases:
    """Return the typical cases of a run that has some."""
    cases = typical_cases(prepare_data(run))
    assert cases is not None
    return cases


def names(run: Run) -> list[str]:
    return [case.view.name for case in found(run).cases]


def label(at: int) -> str:
    return TOPICS[at % 4]


BROKEN: dict[str, tuple[Callable[[int], str], Callable[[str, int], bool]]] = {
    "rate limits with ids": (
        lambda at: f"429 Too Many Requests (request {7919 * at % 1000:04})",
        lambda text, at: text.startswith("429"),
    ),
    "tracebacks on six in ten": (
        lambda at: f"Traceback (most recent call last): line {at}" if at % 5 < 3 else "no idea",
        lambda text, at: text.startswith("Traceback"),
    ),
    "mojibake": (lambda at: f"VersandÃ¤nderung Ã¼ber {at}", lambda text, at: "Ã" in text),
    "marks of a template": (
        lambda at: f"{label(at)} {'and so on ' * 40}<|im_end|>",
        lambda text, at: text.endswith("<|im_end|>"),
    ),
    "an echo": (lambda at: f"Ticket {at}", lambda text, at: text == f"Ticket {at}"),
    "answers shifted by two": (
        lambda at: label(at + 2),
        lambda text, at: text == label(at + 2) != label(at),
    ),
}
"""What is wrong with base → its answer to a case, and whether a reader sees it in an answer."""


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_base_shows_on_page_comment_summary_and_terminal(name: str) -> None:
    answer, seen = BROKEN[name]
    run = run_of([(answer(at), label(at), 0.0, 1.0) for at in range(100)])
    data = prepare_data(run)

    shown = [(excerpt(case.base, 70), int(case.view.name[1:])) for case in found(run).cases]
    assert len(shown) == 3
    assert sum(seen(text, at) for text, at in shown) >= 2
    page, terminal = str(verdict_section.render(data)), typical_lines(data)
    assert [f"base: {text} |" in line for (text, _), line in zip(shown, terminal[1:], strict=True)]
    for text, at in shown:
        assert f">c{at:03}</a>" in page
        assert f"c{at:03} (0 → 100 %)\n" in render_comment(run)
        assert f"| `c{at:03}` 0 → 100 % |" in render_summary(run)
        assert text.split(" … ")[0].split("<")[0] in page.replace("&lt;", "<")


def test_they_are_spread_over_the_sorted_answers_of_the_arm_that_did_worse() -> None:
    """Twelve equal gains, sorted by base's answer backwards: places 2, 6 and 10 of the order."""
    gains = [(f"answer {11 - at:02}", "right", 0.0, 1.0) for at in range(12)]

    assert names(run_of(gains)) == ["c009", "c005", "c001"]
    lost = [("right", text, 1.0, 0.0) for text, *_ in gains]
    assert names(run_of(lost, "tolerance", "fail", "BLOCK")) == ["c009", "c005", "c001"]


def test_a_beginning_of_more_than_a_third_of_the_answers_is_always_among_them() -> None:
    for place in range(65):
        texts = [f"{at:03} text" for at in range(100)]
        texts[place : place + 35] = [f"{place:03} Error {at}" for at in range(35)]
        run = run_of([(text, "right", 0.0, 1.0) for text in texts])
        assert any("Error" in (case.base or "") for case in found(run).cases)


def test_they_come_from_the_middle_of_the_gain_and_not_from_its_edges() -> None:
    """Gains of .01 to .40 sum to 8.2: a quarter, 2.05, is passed at .20, three quarters at .35."""
    run = run_of([(f"{at}", "y", 0.0, at / 100) for at in range(1, 41)])
    gains = [case.score.delta for case in found(run).cases]

    assert all(0.20 <= (gain or 0) <= 0.35 for gain in gains)


def test_a_gain_shows_gains_and_a_loss_the_losses_of_the_deciding_gate() -> None:
    rows = [("a", "b", 0.0, 1.0)] * 30 + [("c", "d", 1.0, 0.0)] * 10 + [("e", "f", 1.0, 1.0)] * 10

    assert found(run_of(rows)).title == "Typical of 30 cases that gained on json_fields of s"
    held = run_of(rows, "tolerance", "undecided", "UNDECIDED", reason=GateReason.UNDERPOWERED)
    assert found(held).title == "Typical of 10 cases that lost on json_fields of s"
    below = found(run_of(rows, "floor", "fail", "BLOCK", reason=GateReason.BELOW_FLOOR))
    assert below.title == "Typical of 10 cases below the floor on json_fields of s"
    fell = found(
        run_of(rows[20:], "floor", "fail", "BLOCK", reason=GateReason.BELOW_FLOOR, delta=-1)
    )
    assert fell.title.startswith("Typical of 10 cases that lost and are below the floor on ")
    equal = found(run_of(rows[40:], "tolerance"))
    assert equal.title == "Typical of 10 cases with equal scores on json_fields of s"


def test_a_gate_on_a_tag_shows_cases_of_the_tag_and_few_cases_are_all_shown() -> None:
    rows = [("a", "b", 0.0, 1.0)] * 4

    assert names(run_of(rows, tag="t1")) == ["c001", "c003"]


@pytest.mark.parametrize("verdict", ["ERROR", "NOT_COMPARABLE"])
def test_a_run_that_was_not_judged_shows_none(verdict: str) -> None:
    run = run_of([("a", "b", 0.0, 1.0)], "gain", "error", verdict)

    assert typical_cases(prepare_data(run)) is None
    assert typical_lines(prepare_data(run)) == []
    assert "Typical" not in str(verdict_section.render(prepare_data(run)))


def test_likelihoods_show_the_choice_that_each_arm_picks() -> None:
    """The run blocks for choice_probability: base and tuned of a case are two of its choices."""
    run = build_run("BLOCK")
    for case in found(run).cases:
        choices = case.view.case.choices or ()
        assert case.base in choices
        assert case.tuned in choices
        assert case.expected == choices[case.view.case.answer or 0]


def test_scores_without_answers_say_so_in_one_line() -> None:
    """As with another tool's table of scores."""
    run = run_of([(None, None, 0.0, 1.0)] * 5)
    (line,) = typical_lines(prepare_data(run))

    assert line.startswith("The run holds scores and no answers")
    assert line in render_comment(run).replace("\n  ", " ")
    assert line in render_summary(run)
    page = str(verdict_section.render(prepare_data(run)))
    assert line in page
    assert "<caption>Typical" not in page


def test_texts_that_may_offend_open_on_a_click_and_are_left_out_where_there_is_none() -> None:
    run = run_of([("dreadful", "Sorry, no.", 0.0, 1.0)] * 5)
    (suite,) = run.manifest.suites
    metric = suite.metrics[0].model_copy(update={"use": "refusal"})
    suites = (suite.model_copy(update={"metrics": (metric,)}),)
    run = replace(run, manifest=run.manifest.model_copy(update={"suites": suites}))
    data = prepare_data(run)
    page, summary = str(verdict_section.render(data)), render_summary(run)

    assert page.index('<details class="fold typical">') < page.index("dreadful")
    assert summary.index("<details><summary>") < summary.index("dreadful")
    assert "dreadful" not in "".join(typical_lines(data))
    assert "dreadful" not in render_comment(run)


def test_logs_and_comments_mask_personal_data_and_secrets_also_where_a_text_is_cut() -> None:
    secret = f"{'x' * 30} mail jo@example.org {'y ' * 100} key sk-{'a1' * 20}"
    run = run_of([(secret, "right", 0.0, 1.0)] * 5)

    lines = "\n".join(typical_lines(prepare_data(run)))
    for text in (lines, render_comment(run), render_summary(run)):
        assert "jo@example.org" not in text
        assert "a1a1" not in text
        assert "<key>" in text


def test_logs_and_comments_mask_the_ids_and_regressions_of_cases() -> None:
    mail = "jo{}@example.org"
    rows = [("right", f"Write to jo{at}@example.org.", 1.0, 0.0) for at in range(5)]
    run = run_of(rows, "tolerance", "fail", "BLOCK", prompt=mail, ident=mail)

    lines = "\n".join(typical_lines(prepare_data(run)))
    for text in (lines, render_comment(run), render_summary(run)):
        assert "@example.org" not in text
        assert text.replace("&lt;", "<").replace("&gt;", ">").count("<email>") >= 6


@pytest.mark.parametrize("hostile", ["\x1b[2J", "\u202eTPIRCS", "\x07", "\u200b", "a\nb"])
def test_hidden_characters_are_written_out_on_every_line(hostile: str) -> None:
    run = run_of([(f"x{hostile}y", hostile, 0.0, 1.0)] * 5, prompt=f"{hostile}{{}}")

    for text in (*typical_lines(prepare_data(run)), *render_comment(run).splitlines()):
        assert text.isprintable()


def test_an_excerpt_keeps_beginning_and_end() -> None:
    text = f"Sure!\n{'word ' * 100}<|im_end|>"

    assert excerpt(text, 70) == f"Sure! {'word ' * 8}word … d word <|im_end|>"
    assert len(excerpt("z" * 50_000, 70)) == 70
    assert (excerpt("", 70), excerpt(None, 70), excerpt(" a\n b ", 70)) == ("(empty)", "–", "a b")


def test_the_choice_is_the_same_in_any_order_of_the_plan() -> None:
    """The same run gives the same cases, and so does one whose cases were stored otherwise."""
    rows = [(f"text {37 * at % 101}", "right", 0.0, 1.0) for at in range(60)]
    run = run_of(rows)
    turned = replace(run, cells=run.cells[::-1], cases=dict(reversed([*run.cases.items()])))

    assert names(run) == names(run_of(rows)) == names(turned)


def test_the_answers_of_a_long_suite_are_read_for_600_cases_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[str] = []
    run = run_of([(json.dumps({"at": at}), "{}", 0.0, 1.0) for at in range(2_500)])
    data = prepare_data(run)
    view = type(data.cases[0])
    text = view.text
    monkeypatch.setattr(view, "text", lambda self, arm: read.append(self.name) or text(self, arm))

    assert len(found(run).cases) == 3
    read.clear()
    typical_cases(data)
    assert len(read) <= 606
