"""Verdicts on episodes: partly scored tasks, and arms whose episodes fail unequally often."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.played_suites import DESK, TOML, PolicyArm, call, solve, write_desk
from tunegate.harness.contracts.model import Request
from tunegate.harness.records.gate_results import GateStatus
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.records.verdict import Verdict, VerdictRecord
from tunegate.harness.run.prepare import PlanOptions, RunPurpose, prepare
from tunegate.harness.suite import load_suite

FLAKY = DESK.replace(
    '        """Look an order up.', '        """Look an order up, by an id that may crash.'
).replace(
    "        self.seen.add(order)",
    '        if order.startswith("crash"):\n            raise OSError("sandbox")\n'
    "        self.seen.add(order)",
)
"""The desk, whose sandbox crashes on some orders."""
SAMPLED = TOML.replace(
    "[[metrics]]", "[generation]\ntemperature = 1.0\nsamples = {n}\n[[metrics]]", 1
)
WITHIN = TOML.replace("[[metrics]]", "max_unscored = 0.2\n[[metrics]]", 1)
CRASH = call("find", order="crash")


def judge(
    folder: Path, policies: Mapping[str, object], *, n_tasks: int, toml: str
) -> tuple[VerdictRecord, list[ScoreRow]]:
    """Play the suite with a policy for each arm and decide."""
    tasks = [{"id": f"t{n}", "prompt": f"{n}", "row": {"order": "A1"}} for n in range(n_tasks)]
    suite = load_suite(write_desk(folder, toml=toml, code=FLAKY, tasks=tasks))
    arms = {name: PolicyArm(name, policy) for name, policy in policies.items()}  # type: ignore[arg-type]
    with prepare([suite], arms, None, PlanOptions(purpose=RunPurpose.AA_TEST)) as run:
        run.answer(io.StringIO())
        cells = list(run.answers())
        scores = list(run.score(cells))
        scored = run.with_scores(run.manifest("r"), scores, cells=cells)
        return run.decide(scored), scores


def number(request: Request) -> int:
    """Return the number of the task."""
    return int(request.case.id[1:])


def give_up(request: Request) -> str:
    """Write an answer at once."""
    return "no"


def test_a_task_is_scored_on_the_samples_that_ended(tmp_path: Path) -> None:
    def one_crash(request: Request) -> str:
        crashes = (number(request), request.sample, request.turn) == (0, 2, 0)
        return CRASH if crashes else solve(request)

    _, scores = judge(
        tmp_path, {"base": give_up, "tuned": one_crash}, n_tasks=3, toml=SAMPLED.format(n=4)
    )
    rows = {row.case: row for row in scores if row.arm == "tuned"}

    assert (rows["t0"].value, rows["t0"].unscored, rows["t0"].bounds) == (1.0, (1, 4), (0.75, 1.0))
    assert (rows["t1"].value, rows["t1"].unscored, rows["t1"].bounds) == (1.0, None, None)
    assert "OSError: sandbox" in (rows["t0"].reason or "")


@pytest.mark.parametrize(("crashes", "value"), [(2, 1.0), (3, None)])
def test_more_than_half_of_the_samples_must_be_scored(
    tmp_path: Path, crashes: int, value: float | None
) -> None:
    """Two of four are enough, one is not; pass^3 needs three."""

    def some_crash(request: Request) -> str:
        return CRASH if request.sample < crashes else solve(request)

    toml = SAMPLED.format(n=4) + '[[metrics]]\nuse = "episode_pass"\nname = "pass_3"\nk = 3\n'
    _, scores = judge(tmp_path, {"base": give_up, "tuned": some_crash}, n_tasks=1, toml=toml)
    rows = {row.metric: row for row in scores if row.arm == "tuned"}

    assert rows["episode_pass"].value == value
    assert rows["pass_3"].value is None


def test_a_tuned_model_that_crashes_its_sandbox_never_ships(tmp_path: Path) -> None:
    """7 of 40 episodes, within the budget: without them tuned would ship; the cause is named."""

    def seldom_crash(request: Request) -> str:
        return CRASH if number(request) < 7 and request.turn == 0 else solve(request)

    crashed, _ = judge(
        tmp_path / "a", {"base": give_up, "tuned": seldom_crash}, n_tasks=40, toml=WITHIN
    )
    whole, _ = judge(tmp_path / "b", {"base": give_up, "tuned": solve}, n_tasks=40, toml=WITHIN)

    assert whole.verdict is Verdict.SHIP
    assert crashed.verdict is Verdict.UNDECIDED
    assert "7 episodes failed only in tuned and 0 only in base, of 40" in str(crashed.suites)
    assert "OSError: sandbox" in str(crashed.suites)


def test_the_worst_case_counts_unscored_samples_against_tuned(tmp_path: Path) -> None:
    """Half of tuned's samples crash: 1.0 on the scored ones, 0.5 at worst; the gain is 0.6."""

    def half(request: Request) -> str:
        return CRASH if request.sample == 0 else solve(request)

    toml = SAMPLED.format(n=2).replace("gain = 0.10", "gain = 0.60")
    toml = toml.replace("[generation]", "max_unscored = 0.5\n[generation]", 1)
    verdict, _ = judge(tmp_path, {"base": give_up, "tuned": half}, n_tasks=40, toml=toml)
    suite = verdict.suites[0]

    assert suite.gates[0].status is GateStatus.PASS
    assert suite.worst_case is not Verdict.SHIP
    assert suite.n_unscored == {"base": 0, "tuned": 0}


def test_failures_of_both_arms_alike_do_not_cap(tmp_path: Path) -> None:
    """The same 7 tasks fail in both arms: 33 pairs are left, and the worst case still holds."""

    def seldom(policy: object) -> object:
        def play(request: Request) -> str:
            crashes = number(request) < 7 and request.turn == 0
            return CRASH if crashes else str(policy(request))  # type: ignore[operator]

        return play

    verdict, _ = judge(
        tmp_path, {"base": seldom(give_up), "tuned": seldom(solve)}, n_tasks=40, toml=WITHIN
    )

    assert verdict.verdict is Verdict.SHIP


def test_too_many_failed_episodes_are_an_error(tmp_path: Path) -> None:
    """30 % of tuned's: ERROR by the budget, which counts episodes."""

    def often(request: Request) -> str:
        return CRASH if request.sample == 0 and number(request) % 2 else solve(request)

    verdict, _ = judge(
        tmp_path, {"base": give_up, "tuned": often}, n_tasks=40, toml=SAMPLED.format(n=2)
    )

    assert verdict.verdict is Verdict.ERROR
    assert "20 of 80 episodes of tuned are unscored" in str(verdict.suites)
