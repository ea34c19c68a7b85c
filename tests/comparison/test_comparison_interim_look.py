"""Looks: which cases are seen when, at which level, and when a suite may end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import norm

from tunegate.harness import suite as suites
from tunegate.harness.comparison.interim_look import InterimLook
from tunegate.harness.decision.gating.proven_regressions import ProvenRegressions
from tunegate.harness.decision.planning.look_schedule import schedule_looks
from tunegate.harness.decision.planning.unreachable_gates import unreachable_gates
from tunegate.harness.decision.verdict.decide import decide_run
from tunegate.harness.decision.verdict.interim_analysis import should_stop
from tunegate.harness.records.gate_results import GateReason, GateStatus
from tunegate.harness.records.manifest import Gate, LookSchedule
from tunegate.harness.records.verdict import Verdict
from tunegate.harness.stats.group_sequential import efficacy_bounds

FLOOR, CEILING, GAIN, TOLERANCE = "floor", "ceiling", "gain", "tolerance"
TOML = """
name = "s"
cases = "cases.jsonl"
{generation}
[[metrics]]
use = "{use}"
[[gates]]
metric = "{use}"
tolerance = 0.5
"""


def _suite(
    suite_folder: Callable[..., Path], n: int, use: str = "exact_match", size: int = 1
) -> Any:
    cases = [
        {
            "id": f"c{i:04}",
            "prompt": f"q{i}",
            "expected": "yes",
            "choices": ["a", "b"],
            "answer": 0,
            **({"cluster": f"k{i // size}"} if size > 1 else {}),
        }
        for i in range(n)
    ]
    return suites.load_suite(suite_folder(TOML.format(use=use, generation=""), cases))


def test_one_value_over_all_cases_is_judged_once(suite_folder: Callable[..., Path]) -> None:
    """A gate on a corpus value has no looks; on the mean of the cases' scores it has."""
    suite = _suite(suite_folder, 200, "bleu")
    text = suite.path.read_text(encoding="utf-8")
    suite.path.write_text(text.replace('use = "bleu"', 'use = "bleu"\naggregate = "mean"'))
    mean = suites.load_suite(suite.path)

    assert schedule_looks(suite, seed=0) is None
    assert schedule_looks(mean, seed=0) is not None


def test_looks_see_growing_parts_of_one_seeded_order(suite_folder: Callable[..., Path]) -> None:
    """200 cases: looks at 32, 64, 96, 128, 160 and 200; every case once, seeded."""
    suite = _suite(suite_folder, 200)
    looks = schedule_looks(suite, seed=0)

    assert looks is not None
    assert looks.sizes == (32, 64, 96, 128, 160, 200)
    assert looks.shares == pytest.approx([s / 200 for s in looks.sizes])
    assert sorted(looks.order) == [case.id for case in suite.cases]
    assert looks == schedule_looks(suite, seed=0)
    assert looks.order != schedule_looks(suite, seed=1).order


def test_clusters_stay_whole(suite_folder: Callable[..., Path]) -> None:
    """No look parts the five cases of a cluster; shares are shares of the clusters."""
    looks = schedule_looks(_suite(suite_folder, 200, size=5), seed=0)

    assert looks is not None
    # 32, 64, 96, 128, 160 rounded up to whole clusters
    assert looks.sizes == (35, 65, 100, 130, 160, 200)
    assert looks.shares == pytest.approx([s / 200 for s in looks.sizes])
    clusters = [int(case[1:]) // 5 for case in looks.order]
    assert all(len(set(clusters[i : i + 5])) == 1 for i in range(0, 200, 5))


@pytest.mark.parametrize(
    ("n", "use"),
    [
        (99, "exact_match"),
        (200, "latency"),
    ],
)
def test_some_suites_are_asked_whole(suite_folder: Callable[..., Path], n: int, use: str) -> None:
    """Under 100 cases and for latency there are no looks."""
    assert schedule_looks(_suite(suite_folder, n, use), seed=0) is None


@pytest.mark.parametrize(
    ("use", "sizes"),
    [("choice_accuracy", (100, 200, 300, 400)), ("choice_probability", (100, 200, 300, 400))],
)
def test_likelihoods_are_looked_at_in_quarters(
    suite_folder: Callable[..., Path], use: str, sizes: tuple[int, ...]
) -> None:
    """Each look computes the shared beginnings of prompts once more."""
    looks = schedule_looks(_suite(suite_folder, 400, use), seed=0)

    assert looks is not None
    assert looks.sizes == sizes


def test_a_continuous_metric_is_first_looked_at_with_fifty(
    suite_folder: Callable[..., Path],
) -> None:
    """The t interval needs more cases than the score interval: the look at 32 is left out."""
    looks = schedule_looks(_suite(suite_folder, 200, "edit_similarity"), seed=0)

    assert looks is not None
    assert looks.sizes[0] == 64


@pytest.mark.parametrize(("n", "looked_at"), [(149, False), (154, False), (166, True)])
def test_looks_never_put_a_gate_out_of_reach(
    suite_folder: Callable[..., Path], n: int, looked_at: bool
) -> None:
    """149 cases can just prove a tolerance of 0.02; at a last look it takes some more.

    With looks at 32, 64, 96, 128 and the last, the error at the last is .0409 of 149, .0417 of 154
    and .0432 of 166 cases in place of .05, and log(error)/log(.98) 158.2, 157.3 and 155.5 cases.
    """
    cases = [{"id": f"c{i:04}", "prompt": f"q{i}", "expected": "yes"} for i in range(n)]
    toml = TOML.format(use="exact_match", generation="").replace("0.5", "0.02")
    suite = suites.load_suite(suite_folder(toml, cases))

    assert unreachable_gates(suite) == []
    assert (schedule_looks(suite, seed=0) is not None) is looked_at


def _looks(n: int, *sizes: int) -> LookSchedule:
    return LookSchedule(
        order=tuple(f"c{i:03}" for i in range(n)), sizes=sizes, shares=tuple(s / n for s in sizes)
    )


def test_the_level_of_a_look_is_its_bound() -> None:
    """Halfway through two looks, alpha 0.05 and rho 3 leave 0.05/8 = 0.00625: z = 2.4977."""
    look = InterimLook(_looks(100, 50, 100), 0)

    assert look.error(0.05) == pytest.approx(0.00625, abs=1e-6)
    assert look.bound(0.05) == pytest.approx(norm.isf(0.00625), abs=1e-4)
    assert look.last_bound(0.05) == pytest.approx(efficacy_bounds([0.5, 1.0])[1])
    assert look.confidence(0.05) == pytest.approx(1 - 2 * 0.00625, abs=1e-6)


def _ended(
    columns: Any, record_factory: Any, base: list[float], tuned: list[float], gates: list[Gate]
) -> Any:
    """Return a suite with looks at half and all, the same with its manifest."""
    suite = columns(gates, {"m": (base, tuned)})
    record = suite.record().model_copy(update={"looks": _looks(100, 50, 100)})
    return suite, record_factory.manifest([suite]).model_copy(update={"suites": (record,)}), record


def test_a_verdict_at_a_look_counts_only_what_it_saw(columns: Any, record_factory: Any) -> None:
    """30 wins in the first 50 ship; the other 50 are not asked, which is not unscored."""
    base, tuned = [0.0] * 100, [1.0] * 30 + [0.0] * 20 + [None] * 50
    suite, manifest, record = _ended(
        columns, record_factory, base, tuned, [Gate(metric="m", kind=GAIN, margin=0.1)]
    )
    look = InterimLook(record.looks, 0)
    found = decide_run(manifest, {"s": suite.cases()}, suite.rows(), looks={"s": look})

    (result,) = found.suites
    assert found.verdict is Verdict.SHIP
    assert (result.n_scored, result.n_skipped_decided) == (50, 50)
    assert result.n_unscored == {"base": 0, "tuned": 0}
    assert result.gates[0].confidence == pytest.approx(look.confidence(0.05), rel=1e-5)
    assert any(
        "stopped early after 50 of 100 cases (interim look 1 of 2)" in note
        for note in result.remarks
    )


def test_the_level_of_a_look_decides(columns: Any, record_factory: Any) -> None:
    """6 wins and no loss have p = 0.0078: enough for 0.05, not for the 0.00625 of the look."""
    base, tuned = [0.0] * 100, [1.0] * 6 + [0.0] * 94
    suite, manifest, record = _ended(
        columns, record_factory, base, tuned, [Gate(metric="m", kind=GAIN, margin=0.0)]
    )
    scores = suite.rows()
    at_half = decide_run(
        manifest, {"s": suite.cases()}, scores, looks={"s": InterimLook(record.looks, 0)}
    )
    fixed = decide_run(record_factory.manifest([suite]), {"s": suite.cases()}, scores)

    assert at_half.suites[0].gates[0].p_value == pytest.approx(0.5**6 / 2)
    assert at_half.verdict is Verdict.UNDECIDED
    assert fixed.verdict is Verdict.SHIP


@pytest.mark.parametrize(
    ("right", "stop", "said"),
    [
        (50, False, "is open: the 50 not asked could pull it down to 50"),
        # Clopper and Pearson's upper limit at 98.75 %: 21 of 50 leave .603 possible, 20 leave .583.
        (21, False, "is open: the 50 not asked could lift it to 71"),
        (20, True, "the floor of 60 % is broken"),
        (9, True, "the floor of 60 % is broken"),
    ],
)
def test_an_observed_floor_ends_where_the_interval_or_the_rest_breaks_it(
    columns: Any, record_factory: Any, right: int, stop: bool, said: str
) -> None:
    """Half of 100 cases are known: a floor of 0.6 is broken from the 41st failure on."""
    tuned = [1.0] * right + [0.0] * (100 - right)
    suite, manifest, record = _ended(
        columns, record_factory, tuned, tuned, [Gate(metric="m", kind=FLOOR, margin=0.6)]
    )
    look = {"s": InterimLook(record.looks, 0)}
    gate = decide_run(manifest, {"s": suite.cases()}, suite.rows(), looks=look).suites[0].gates[0]

    assert gate.status is (GateStatus.FAIL if stop else GateStatus.UNDECIDED)
    assert gate.reason is (GateReason.BELOW_FLOOR if stop else GateReason.UNDERPOWERED)
    assert should_stop(manifest, record, suite.cases(), suite.rows(), 0) is stop
    assert said in gate.sentence


def test_a_floor_that_is_sure_already_passes(columns: Any, record_factory: Any) -> None:
    """45 right of 50 leave 0.45 of 100 at least, above a floor of 0.4."""
    tuned = [1.0] * 45 + [0.0] * 55
    suite, manifest, record = _ended(
        columns, record_factory, tuned, tuned, [Gate(metric="m", kind=FLOOR, margin=0.4)]
    )

    assert should_stop(manifest, record, suite.cases(), suite.rows(), 0)


@pytest.mark.parametrize(
    ("wins", "losses", "stop", "why"),
    [
        (0, 20, True, "the loss is proven at this look: BLOCK"),
        (0, 4, False, "a loss in sight may yet be proven"),
        (5, 5, True, "a gain of 0.2 is out of reach"),
        (14, 2, False, "a gain of 0.2 is not out of reach"),
    ],
)
def test_a_run_ends_for_success_loss_or_futility(
    columns: Any, record_factory: Any, wins: int, losses: int, stop: bool, why: str
) -> None:
    """A proven loss ends a suite; futility does, where no loss is in sight."""
    assert why
    base = [1.0] * losses + [0.0] * (100 - losses)
    tuned = [0.0] * losses + [1.0] * wins + [0.0] * (100 - losses - wins)
    gain = Gate(metric="m", kind=GAIN, margin=0.2)
    suite, manifest, record = _ended(columns, record_factory, base, tuned, [gain])

    assert should_stop(manifest, record, suite.cases(), suite.rows(), 0) is stop


@pytest.mark.parametrize(("others", "proven"), [(0, True), (1, True), (2, False)])
@pytest.mark.parametrize("of", ["suite", "slice", "ended", "shown"])
def test_a_loss_at_a_look_is_one_of_all_metrics_of_the_run(
    columns: Any, record_factory: Any, of: str, others: int, proven: bool
) -> None:
    """8 losses of 50, no win: Tango's p is 1 - Phi(sqrt 8) = .00234, at half of the cases.

    The error spent there is .05/8 = .00625 of one metric, .00313 of two and .00208 of three,
    whether the others are asked later (of another suite, or of a tag whose cases are yet to come)
    or have been decided before. A metric that is only shown does not count.
    """
    base, tuned = [1.0] * 100, [0.0] * 8 + [1.0] * 92
    gain = Gate(metric="m", kind=GAIN, margin=0.0)
    gates = [gain] + [
        gain.model_copy(update={"tag": f"t{i}"}) for i in range(others) if of == "slice"
    ]
    suite, manifest, record = _ended(columns, record_factory, base, tuned, gates)
    suite.tags = [()] * 60 + [("t0", "t1")] * 40
    further = [columns([gain], {"m": (base, base)}, name=f"o{i}") for i in range(others)]
    records = [one.record() for one in further if of != "slice"]
    if of == "shown":
        shown = record_factory.metric("m", indicative=True)
        records = [one.model_copy(update={"metrics": (shown,)}) for one in records]
    manifest = manifest.model_copy(update={"suites": (record, *records)})
    cases, scores = {"s": suite.cases()}, suite.rows()
    if of == "ended":
        cases |= {one.name: one.cases() for one in further}
        scores = [*scores, *(row for one in further for row in one.rows())]
    looks = {"s": InterimLook(record.looks, 0)}
    gate = decide_run(manifest, cases, scores, looks=looks).suites[0].gates[0]

    expected = proven or of == "shown"
    assert gate.p_value is not None
    assert (gate.reason is GateReason.REGRESSED) is expected
    assert should_stop(manifest, record, suite.cases(), suite.rows(), 0) is expected


def test_goals_of_which_one_will_do_share_the_error_of_a_look() -> None:
    """Two goals at 90 % have 2.5 % of error each, spent by the same bounds."""
    look = InterimLook(LookSchedule(order=(), sizes=(50, 100), shares=(0.5, 1.0)), 0)
    gate = Gate(metric="m", kind=GAIN, margin=0.1)

    alone, shared = look.judged(gate), look.judged(gate, goals=2)

    for found, alpha in ((alone, 0.05), (shared, 0.025)):
        first = efficacy_bounds((0.5, 1.0), alpha=alpha)[0]
        assert found.confidence == pytest.approx(1 - 2 * norm.sf(first))
    assert shared.confidence > alone.confidence


def test_metrics_that_are_looked_at_share_the_error() -> None:
    look = InterimLook(LookSchedule(order=(), sizes=(50, 100), shares=(0.5, 1.0)), 1)
    whole, fourth = look.error(0.05), look.error(0.05 / 4)
    assert fourth < whole

    def proven(p_value: float) -> bool:
        family = {("s", name): p_value for name in "abcd"}
        return ProvenRegressions(family, looks={"s": look}).proven("s", "a", 0.05)

    assert proven(fourth * 0.99)
    assert not proven((fourth + whole) / 2)
    assert not proven(whole * 0.99)


def _even_look(index: int) -> InterimLook:
    """Return a look at ten cases, seen by four, six, eight and ten."""
    order = tuple(f"c{i}" for i in range(10))
    looks = LookSchedule(order=order, sizes=(4, 6, 8, 10), shares=(0.4, 0.6, 0.8, 1.0))
    return InterimLook(looks, index)


def test_a_slice_counts_its_own_cases_at_a_look() -> None:
    """Every other case of ten: 2, 3, 4 and 5 seen; 4 and 5 make the first look's size."""
    units = {f"c{i}": f"c{i}" for i in range(0, 10, 2)}
    first, last = _even_look(2).on_slice(units), _even_look(3).on_slice(units)

    assert _even_look(0).on_slice(units) is None
    assert _even_look(1).on_slice(units) is None
    assert first is not None
    assert last is not None
    assert (first.seen, first.remaining, first.share) == (("c0", "c2", "c4", "c6"), 1, 0.8)
    assert (last.remaining, last.share, str(last)) == (0, 1.0, "look 2 of 2")
    assert last.bound(0.05) == pytest.approx(efficacy_bounds([0.8, 1.0], alpha=0.05)[1])


def test_a_slice_that_is_seen_whole_gets_no_further_look() -> None:
    units = {"c0": "k", "c1": "k", "c3": "c3"}

    for index in range(4):
        found = _even_look(index).on_slice(units)
        assert found is not None
        assert (found.looks.sizes, found.share, found.remaining) == ((3,), 1.0, 0)


def test_the_shares_of_a_slice_count_its_clusters() -> None:
    """Ten cases, the first six of them one cluster: 1 of 5 units, then 3 and 5 of them."""
    units = {f"c{i}": "k" if i < 6 else f"c{i}" for i in range(10)}
    found = _even_look(3).on_slice(units)

    assert found is not None
    assert found.looks.sizes == (4, 6, 8, 10)
    assert found.looks.shares == (0.2, 0.2, 0.6, 1.0)
