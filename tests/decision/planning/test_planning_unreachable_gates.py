"""What cannot pass is refused before it costs anything, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.decision.planning.advisory_gates import advisory_notes, silent_goals
from tunegate.harness.decision.planning.look_schedule import schedule_looks
from tunegate.harness.decision.planning.unreachable_gates import (
    provable_tolerance,
    unreachable_gates,
)
from tunegate.harness.suite.loading import load_suite

Write = Callable[..., Path]


def problems(
    suite_folder: Write, gate: str, n: int, metric: str = "exact_match", size: int = 0
) -> list[str]:
    """Return what planning says of a suite of `n` cases, in clusters of `size`, with one gate."""
    toml = f'name = "s"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "{metric}"\n[[gates]]\n'
    cases = [{"prompt": str(i), "expected": "1"} for i in range(n)]
    if size:
        cases = [case | {"cluster": str(i // size)} for i, case in enumerate(cases)]
    folder = suite_folder(f'{toml}metric = "{metric}"\n{gate}\n', cases)
    return [p.replace(f"{folder}/", "") for p in unreachable_gates(load_suite(folder))]


def test_a_tolerance_of_two_points_takes_149_cases(suite_folder: Write) -> None:
    """log .05/log .98 = 148.28, so 149: named, with the place of the gate."""
    assert problems(suite_folder, "tolerance = 0.02", 100) == [
        "suite.toml:7: tolerance=0.02 on 'exact_match' cannot be proven with 100 cases even if no "
        "answer changes: it takes 149; add cases, or widen the tolerance"
    ]
    assert problems(suite_folder, "tolerance = 0.02", 148)
    assert not problems(suite_folder, "tolerance = 0.02", 149)


@pytest.mark.parametrize(
    ("n", "size", "gates", "first"),
    [
        (400, 1, 'metric = "exact_match"\ngain = 0', 32),
        (400, 1, 'metric = "length"\ntolerance = "5%"', 224),
        (199, 1, 'metric = "length"\ntolerance = "5%"', 64),  # advisory in any case
        (400, 1, 'metric = "length"\nratio_at_most = 1.1', 64),
        (800, 2, 'metric = "length"\ntolerance = "5%"', 400),
    ],
)
def test_no_look_comes_before_a_gate_counts(
    suite_folder: Write, n: int, size: int, gates: str, first: int
) -> None:
    """Scores without a range count from 200 cases, or clusters, on: no suite ends before."""
    toml = 'name = "s"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "length"\n'
    toml += f'[[metrics]]\nuse = "exact_match"\n[[gates]]\n{gates}\n'
    cases: list[dict[str, Any]] = [{"prompt": str(i), "expected": "1"} for i in range(n)]
    if size > 1:
        cases = [case | {"cluster": str(i // size)} for i, case in enumerate(cases)]
    looks = schedule_looks(load_suite(suite_folder(toml, cases)), seed=0)

    assert looks is not None
    assert looks.sizes[0] == first


@pytest.mark.parametrize(
    ("gate", "needs", "silent"),
    [
        ("gain = 1", "length", True),
        ("gain = 0.5", "exact_match", False),
        ('tolerance = "5%"', "length", True),
        ("ratio_at_most = 1.2", "length", False),
        ('tolerance = "5%"', "latency", False),
        ("tolerance = 0.5", "latency", True),
        ("ceiling = 9", "length", False),
        ('ceiling = 9\nfloor_mode = "certified"', "length", True),
    ],
)
def test_few_scores_without_a_range_have_no_say(
    suite_folder: Write, gate: str, needs: str, silent: bool
) -> None:
    toml = 'name = "s"\ncases = "cases.jsonl"\n'
    toml += f'[[metrics]]\nuse = "{needs}"\n[[gates]]\nmetric = "{needs}"\n{gate}\n'
    cases = [{"prompt": str(i), "expected": "1"} for i in range(199)]
    suite = load_suite(suite_folder(toml, cases))

    notes = [note for note in advisory_notes(suite) if "without a range" in note]
    assert len(notes) == silent
    assert len(list(silent_goals(suite))) == (silent and "gain" in gate)
    assert all(note.startswith(f"{needs}: scores without a range gate from 200") for note in notes)


@pytest.mark.parametrize(
    ("metric", "gate", "least"),
    [
        # ln(.05)/ln(1 - tolerance/range), as for 0/1 scores
        ("token_f1", "tolerance = 0.05", 59),
        ("rouge", "tolerance = 0.02", 149),
        # tuned - .95 base is -95 at worst and 5 unchanged: ln(20)/ln(100/95) = 58.4
        ("chrf", 'tolerance = "5%"', 59),
        # scores may turn out to be 0 and 1 alone: the bound of a ratio of those
        ("token_f1", 'tolerance = "5%"', 59),
        ("token_f1", 'tolerance = 0.05\ntag = "t"', 59),
    ],
)
def test_a_bounded_tolerance_takes_cases_even_if_nothing_changes(
    suite_folder: Write, metric: str, gate: str, least: int
) -> None:
    """One case less is refused with the number it takes; unseen losses might still be there."""
    toml = f'name = "s"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "{metric}"\n'
    toml += f'[[gates]]\nmetric = "{metric}"\n{gate}\n'

    def refused(n: int, more: str = "") -> list[str]:
        cases = [{"prompt": f"q{i}", "expected": "1", "tags": ["t"]} for i in range(n)]
        others = [{"prompt": f"o{i}", "expected": "1"} for i in range(99 if "tag" in gate else 0)]
        return unreachable_gates(load_suite(suite_folder(toml + more, [*cases, *others])))

    (found,) = refused(least - 1)
    assert f"cannot be proven with {least - 1} cases" in found
    assert f"it takes {least};" in found
    assert not refused(least)
    goal = f'[[gates]]\nmetric = "{metric}"\ngain = 0.001\n'
    assert "tag" in gate or not refused(least - 1, goal)


def test_a_few_cases_of_a_corpus_value_are_advisory_not_refused(suite_folder: Write) -> None:
    """49 cases of chrF are shown in any case; from 50 on 59 prove 5 points of 100 at best."""
    assert not problems(suite_folder, "tolerance = 5", 49, metric="chrf")
    assert "it takes 59;" in problems(suite_folder, "tolerance = 5", 58, metric="chrf")[0]


def test_unseen_losses_count_clusters_as_large_as_the_largest(suite_folder: Write) -> None:
    """59 clusters of two prove 0.05 of F1; if a tenth of the cases is in clusters of four, not."""
    toml = 'name = "s"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "token_f1"\n'
    toml += '[[gates]]\nmetric = "token_f1"\ntolerance = 0.05\n'

    def refused(*sizes: int) -> list[str]:
        cases = [
            {"prompt": f"{group} {i}", "expected": "1", "cluster": str(group)}
            for group, size in enumerate(sizes)
            for i in range(size)
        ]
        return unreachable_gates(load_suite(suite_folder(toml, cases)))

    assert not refused(*[2] * 59)
    assert "cannot be proven with 58 cases" in refused(*[2] * 58)[0]
    assert "cannot be proven with 30 cases" in refused(*[4] * 3, *[2] * 54)[0]


JUDGED = """
name = "s"
cases = "cases.jsonl"
[[metrics]]
use = "tone"
tone = "warm"
[[gates]]
metric = "tone"
tolerance = 0.2
[[gates]]
metric = "tone"
tag = "t"
tolerance = 0.2
"""


def test_where_a_calibrated_judge_is_advisory_is_told(suite_folder: Write) -> None:
    cases = [{"prompt": str(i), "tags": ["t"]} for i in range(60)]
    suite = load_suite(suite_folder(JUDGED, cases))

    alone = list(advisory_notes(suite, ()))
    assert len(alone) == 1
    assert alone[0].startswith("tone (tag t): ")
    assert "label 50 pairs of the tag" in alone[0]
    named = list(advisory_notes(suite, ["the incumbent arm"]))
    assert named[0] == alone[0]
    assert named[1].startswith("tone: compared with the incumbent arm a judge's gate is advisory")
    assert "an incumbent" in list(advisory_notes(suite))[1]


OWN = """
def good(case, completion):
    return float("yes" in completion.text)
"""


def test_a_plain_function_may_return_0_and_1(
    suite_folder: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its goal is not refused below 200 cases, and one line says what its gates count on."""
    (tmp_path / "plain_function.py").write_text(OWN, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    toml = 'name = "s"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "plain_function:good"\n'
    toml += '[[gates]]\nmetric = "good"\ngain = 0.1\n'
    suite = load_suite(suite_folder(toml, [{"prompt": str(i)} for i in range(60)]))

    assert not list(silent_goals(suite))
    [note] = advisory_notes(suite)
    assert note.startswith("good: declares no range: below 200 cases")


@pytest.mark.parametrize(("floor", "needed"), [(0.8, 14), (0.9, 29), (0.95, 59), (0.99, 299)])
def test_certified_floors(suite_folder: Write, floor: float, needed: int) -> None:
    """The published numbers of flawless cases; one fewer is refused."""
    gate = f'floor = {floor}\nfloor_mode = "certified"'

    found = problems(suite_folder, gate, needed - 1)
    assert f"it takes {needed};" in found[0]
    assert not problems(suite_folder, gate, needed)


def test_a_certified_ceiling_is_planned_like_a_floor(suite_folder: Write) -> None:
    """At most 5 % loops: 59 cases without one."""
    gate = 'ceiling = 0.05\nfloor_mode = "certified"'

    assert "it takes 59;" in problems(suite_folder, gate, 58, metric="loops")[0]
    assert not problems(suite_folder, gate, 59, metric="loops")


def test_clusters_count_as_one_case_each(suite_folder: Write) -> None:
    """58 clusters of four cannot certify 0.95, whatever the answers: refused with both numbers."""
    gate = 'floor = 0.95\nfloor_mode = "certified"'

    (found,) = problems(suite_folder, gate, 4 * 58, size=4)
    assert found.startswith("suite.toml:7: floor=0.95 on 'exact_match' cannot be certified with 58")
    assert found.endswith("; the 232 cases come in clusters that count as 58 cases")
    assert not problems(suite_folder, gate, 4 * 59, size=4)
    assert problems(suite_folder, "tolerance = 0.05", 20 * 10, size=10)
    assert not problems(suite_folder, "tolerance = 0.05", 60 * 10, size=10)


def test_certainty_cannot_be_certified(suite_folder: Write) -> None:
    """No number of cases certifies 1.0."""
    found = problems(suite_folder, 'floor = 1.0\nfloor_mode = "certified"', 50)

    assert "cannot be certified with any number of cases" in found[0]


@pytest.mark.parametrize(
    "gate",
    [
        "floor = 0.99",
        'floor = 1.0\nfloor_mode = "zero_tolerance"',
        "gain = 0.5",
        'tolerance = "10%"',
        "tolerance = 0.02\ngain = 0.1",  # 40 wins of 50 prove both
        'tolerance = "2%"\ngain = 0.1',
    ],
)
def test_what_can_pass_is_not_refused(suite_folder: Write, gate: str) -> None:
    """Observed floors, gains and wide relative tolerances may pass with 50 cases."""
    assert problems(suite_folder, gate, 50) == []


def test_a_share_of_base_takes_as_many_cases_that_base_gets_right(suite_folder: Write) -> None:
    """At best all are: .98^148 = .0503 and .98^149 = .0493, as for 0.02 of them."""
    assert problems(suite_folder, 'tolerance = "2%"', 148) == [
        "suite.toml:7: tolerance='2%' on 'exact_match' cannot be proven with 148 cases even if "
        "base scores 1 on all of them and no answer changes: it takes 149; add cases, or widen the "
        "tolerance"
    ]
    assert not problems(suite_folder, 'tolerance = "2%"', 149)


def test_a_share_of_base_where_one_is_bad(suite_folder: Write) -> None:
    """10 % more loops are 1/11 less of base over tuned: log .05/log(10/11) = 31.4, so 32."""
    assert "it takes 32;" in problems(suite_folder, 'tolerance = "10%"', 31, metric="loops")[0]
    assert not problems(suite_folder, 'tolerance = "10%"', 32, metric="loops")


def test_one_case_is_undecided_and_not_refused(suite_folder: Write) -> None:
    assert problems(suite_folder, "gain = 0.1", 1) == []


def test_the_latency_pass_counts_its_own_cases(suite_folder: Write) -> None:
    assert problems(suite_folder, "tolerance = 0.1", 10, metric="latency") == []


def test_a_limit_on_severe_drops_takes_cases_too(suite_folder: Write) -> None:
    """Clopper-Pearson of no drop at all: 29 cases prove a tenth, 59 a twentieth."""
    found = problems(suite_folder, "severe_drop = 0.05", 58, metric="json_fields")

    assert found[0].endswith(
        "severe_drop=0.05 on 'json_fields' cannot be proven with 58 cases even if none drops: it "
        "takes 59; add cases, or allow a larger share"
    )
    assert not problems(suite_folder, "severe_drop = 0.05", 59, metric="json_fields")


def test_the_narrowest_tolerance_that_so_many_cases_prove() -> None:
    """log .05/log(1-M) is 148.3 at .02, 28.4 at .1 and 18.4 at .15."""
    assert [provable_tolerance(n) for n in (149, 148, 29, 28, 3)] == [0.02, 0.05, 0.1, 0.15, 0.3]


def on_tag(suite_folder: Write, gates: str, tagged: int, n: int = 200, **fields: object) -> Any:
    """Return what planning says of a suite whose first cases are tagged `few`."""
    cases = [
        {"prompt": str(i), "expected": "1", "tags": ["few"] if i < tagged else ["other"], **fields}
        for i in range(n)
    ]
    for i, case in enumerate(cases if "cluster" in fields else ()):
        case["cluster"] = f"k{i % 9}"
    toml = 'name = "s"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "exact_match"\n'
    folder = suite_folder(toml + gates, cases)
    return [p.replace(f"{folder}/", "") for p in unreachable_gates(load_suite(folder))]


GATE = '[[gates]]\nmetric = "exact_match"\n'


def test_a_tag_on_fewer_cases_than_can_prove_the_margin(suite_folder: Write) -> None:
    """A tolerance of .02 takes 149 cases of the tag, however many the suite has."""
    gate = f'{GATE}tag = "few"\ntolerance = 0.02\n'

    assert on_tag(suite_folder, gate, 148) == [
        "suite.toml:8: tag='few': tolerance=0.02 on 'exact_match' cannot be proven with 148 cases "
        "even if no answer changes: it takes 149; add cases, or widen the tolerance"
    ]
    assert not on_tag(suite_folder, gate, 149)


def test_a_goal_on_other_cases_does_not_prove_a_tags_tolerance(suite_folder: Write) -> None:
    """Wins of the slice would: a goal on the same tag lifts the refusal, a pooled one does not."""
    gate = f'{GATE}tag = "few"\ntolerance = 0.02\n'

    assert on_tag(suite_folder, f"{gate}{GATE}gain = 0\n", 100)
    assert not on_tag(suite_folder, f'{gate}{GATE}tag = "few"\ngain = 0\n', 100)


def test_a_tag_of_one_case_or_of_few_clusters(suite_folder: Write) -> None:
    """No interval can be computed of 1 case, nor of 9 clusters."""
    gate = f'{GATE}tag = "few"\ngain = 0\n'

    assert on_tag(suite_folder, gate, 1) == [
        "suite.toml:8: tag='few': gain=0.0 on 'exact_match' stays undecided: the tag has "
        "1 case, and it takes 2"
    ]
    assert on_tag(suite_folder, gate, 50, cluster="k") == [
        "suite.toml:8: tag='few': gain=0.0 on 'exact_match' stays undecided: the 50 cases of the "
        "tag come in 9 clusters, and it takes 10"
    ]
