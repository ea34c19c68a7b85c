"""Looks at a stream of calls: what is counted, what alarms, and what the state keeps."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.traced_calls import BAD, GOOD, START, call, shipped, stream
from tunegate.harness.production.watch import state as states
from tunegate.harness.production.watch.answered_case import AnsweredCase
from tunegate.harness.production.watch.counted_calls import TimeWindow
from tunegate.harness.production.watch.indicators import LossKind, MonitoredFigure, suite_figures
from tunegate.harness.production.watch.initial_state import initial_state, select_figures
from tunegate.harness.production.watch.look_record import (
    FigureStatus,
    WatchRecord,
    WatchVerdict,
    watch_record,
)
from tunegate.harness.production.watch.monitor import JudgeSample, MonitoringLook, update_state
from tunegate.harness.production.watch.state import WatchState
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.files import record_json
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.scores import Score
from tunegate.harness.suite import Suite
from tunegate.harness.telemetry.read.trace_types import ModelCall

NOW = START + 1e8
Shipped = tuple[Run, Suite]


@pytest.fixture
def gated(tmp_path: Path) -> Shipped:
    """Return a run of 250 answers, 5 of them not JSON."""
    return shipped(tmp_path / "suite", [BAD] * 5 + [GOOD] * 245)


def _begun(
    gated: Shipped, *names: str, alpha: float = 0.05
) -> tuple[WatchState, list[MonitoredFigure]]:
    run, suite = gated
    wanted = select_figures(suite_figures(suite), names)
    return initial_state(run, suite, "tuned", wanted, alpha), wanted


def _look(
    state: WatchState, wanted: list[MonitoredFigure], calls: Iterable[ModelCall], **window: Any
) -> MonitoringLook:
    return update_state(state, wanted, calls, TimeWindow(NOW, **window))


def _record(gated: Shipped, calls: Iterable[ModelCall], *names: str) -> WatchRecord:
    state, wanted = _begun(gated, *names)
    return watch_record(_look(state, wanted, calls), drop=0.1)


def test_metrics_without_expected_answers_and_general_figures_are_watched(gated: Shipped) -> None:
    state, _ = _begun(gated)

    assert [figure.name for figure in state.figures] == [
        "json_valid", "failed", "refused", "truncated", "loops", "longer", "shorter", "slower",
        "tokens",
    ]  # fmt: skip
    assert state.not_compared == {"cost": "the gate's answers have no such value"}


def test_the_promise_is_the_gates_own_figure(gated: Shipped) -> None:
    """5 of 250: the level, and the limit at half of a ninth of the error."""
    from tunegate.harness.stats.tolerance_bounds import worst_rate

    promised = _begun(gated)[0].figures[0]

    assert (promised.n, promised.level) == (250, 0.02)
    assert promised.bound == pytest.approx(worst_rate(5, 250, alpha=0.05 / 9 / 2))


def test_as_many_broken_answers_as_in_the_gate_are_quiet(gated: Shipped) -> None:
    record = _record(gated, stream(1, 600, bad_every=50))

    assert record.verdict is WatchVerdict.QUIET
    assert record.verdict.exit_code == 0
    assert (record.read, record.counted) == (600, 600)
    assert {figure.status for figure in record.figures} == {FigureStatus.QUIET}
    assert record.figures[0].window == 0.02
    assert record.sentence == (
        "no figure is worse than the gate's; one worse by 10 points would likely show"
    )


def test_more_broken_answers_alarm(gated: Shipped) -> None:
    record = _record(gated, stream(1, 700, bad_every=7))

    assert record.verdict is WatchVerdict.ALARM
    assert record.verdict.exit_code == 1
    assert record.sentence.startswith(
        "answers that fail json_valid: 14.3 % of 700 new units and 14.3 % of all 700, compared "
        "with 2 % of 250 cases in the gate; at some time more than the "
    )
    assert [f.name for f in record.figures if f.status is FigureStatus.ALARM] == ["json_valid"]
    assert record.figures[0].evidence >= record.figures[0].needed == pytest.approx(360)


def test_a_few_calls_are_too_little(gated: Shipped) -> None:
    record = _record(gated, stream(1, 40))

    assert record.verdict.exit_code == 10
    assert record.figures[0].status is FigureStatus.TOO_FEW
    assert record.figures[0].needed_n is not None
    assert "has 40 of about" in record.sentence


def test_no_calls_at_all(gated: Shipped) -> None:
    state, wanted = _begun(gated)
    quiet = _look(state, wanted, stream(1, 600)).state

    record = watch_record(_look(quiet, wanted, []), drop=0.1)

    assert record.verdict.exit_code == 10
    assert record.sentence == "no new calls: is production still traced?"


def test_an_alarm_lasts(gated: Shipped) -> None:
    state, wanted = _begun(gated)
    alarmed = _look(state, wanted, stream(1, 700, bad_every=7)).state

    later = update_state(alarmed, wanted, stream(1000, 700), TimeWindow(NOW + 10))
    record = watch_record(later, drop=0.1)

    assert record.verdict is WatchVerdict.ALARM
    assert later.state.figures[0].alarmed == alarmed.figures[0].alarmed is not None


def test_weeks_are_one_test(gated: Shipped, tmp_path: Path) -> None:
    state, wanted = _begun(gated)
    file = tmp_path / "state.json"
    states.save_state(file, state)
    for week in range(7):
        kept = states.load_state(file)
        assert kept is not None
        calls = stream(1 + 100 * week, 100, bad_every=7)
        states.save_state(file, _look(kept, wanted, calls).state)
    whole = _look(state, wanted, stream(1, 700, bad_every=7)).state

    parted = states.load_state(file)

    assert parted is not None
    assert parted.looks == 7
    assert parted.calls == whole.calls == 700
    for one, other in zip(parted.figures, whole.figures, strict=True):
        assert one.units == other.units == 700
        assert one.peak == pytest.approx(other.peak, abs=1e-9)
        assert (one.alarmed is None) == (other.alarmed is None)


@pytest.mark.parametrize(
    "key",
    [
        "gen_ai.conversation.id",
        "session.id",
        "langfuse.session.id",
        "mlflow.trace.session",
        "traceloop.association.properties.session_id",
    ],
)
def test_a_conversation_is_one_unit(gated: Shipped, key: str) -> None:
    state, wanted = _begun(gated, "json_valid")
    talk, other = {"attributes": {key: "a"}}, {"attributes": {key: "b"}}
    calls = [
        call(1, answer=BAD, **talk),
        call(2, **other),
        call(3, answer=BAD, **talk),
        call(4, **talk),
    ]

    shown = _look(state, wanted, calls).shown["json_valid"]

    assert shown.losses == [pytest.approx(2 / 3), 0.0]


def test_a_trace_is_not_taken_for_a_conversation_of_its_name(gated: Shipped) -> None:
    state, wanted = _begun(gated, "json_valid")
    lone = call(1, trace="a")
    talk = call(2, attributes={"session.id": "a"})

    assert len(_look(state, wanted, [lone, talk]).shown["json_valid"].losses) == 2


def test_a_conversation_that_goes_on_is_not_counted_again(gated: Shipped, tmp_path: Path) -> None:
    """What was bad about it once would count as new evidence in each look."""
    state, wanted = _begun(gated, "json_valid")
    talk = {"answer": BAD, "attributes": {"session.id": "long"}}
    file = tmp_path / "state.json"
    states.save_state(file, _look(state, wanted, [call(1, **talk), call(2)]).state)
    kept = states.load_state(file)
    assert kept is not None

    later = _look(kept, wanted, [call(3, **talk), call(4), call(5, **talk)])
    again = _look(later.state, wanted, [call(6, **talk)])

    assert later.shown["json_valid"].losses == [0.0]
    assert later.tally.counted == 1
    assert later.tally.left_out["of a conversation counted before"] == 2
    assert again.tally.counted == 0
    assert (kept.figures[0].units, later.state.figures[0].units) == (2, 3)


def test_a_conversation_is_forgotten_a_day_after_its_last_call(gated: Shipped) -> None:
    """Whoever comes back after two days begins a new one; memory stays bounded."""
    state, wanted = _begun(gated, "json_valid")
    talk = {"attributes": {"session.id": "long"}}
    first = _look(state, wanted, [call(1, **talk)]).state
    next_day = _look(first, wanted, [call(1500)]).state  # 1,500 minutes are 25 hours

    later = _look(next_day, wanted, [call(1501, **talk)])

    assert next_day.conversations == {}
    assert later.tally.counted == 1


def test_a_state_of_an_earlier_version_is_read(gated: Shipped, tmp_path: Path) -> None:
    state, wanted = _begun(gated, "json_valid")
    file = tmp_path / "state.json"
    states.save_state(file, _look(state, wanted, [call(1)]).state)

    assert "conversations" not in file.read_text(encoding="utf-8")
    assert states.load_state(file) is not None


def test_no_call_counts_twice(gated: Shipped) -> None:
    state, wanted = _begun(gated)
    first = _look(state, wanted, stream(1, 100)).state

    again = _look(first, wanted, stream(1, 100))
    longer = _look(first, wanted, stream(1, 130))

    assert again.tally.counted == 0
    assert again.tally.left_out["counted before"] == 100
    assert again.state.figures == first.figures
    assert longer.tally.counted == 30
    assert longer.state.calls == 130


def test_twice_in_one_file(gated: Shipped) -> None:
    state, wanted = _begun(gated)

    found = _look(state, wanted, [*stream(1, 50), *stream(1, 50)])

    assert found.tally.counted == 50


def test_memory_is_bounded(gated: Shipped) -> None:
    """Of 3,000 calls, one a minute, a day is remembered; what is older is known by its age."""
    state, wanted = _begun(gated, "failed")
    first = _look(state, wanted, stream(1, 3000)).state

    again = _look(first, wanted, stream(1, 3000))

    assert len(first.recent) == 1441
    assert again.tally.counted == 0
    assert again.tally.left_out["counted before"] == 1441
    assert again.tally.left_out["begun before the watermark"] == 1559
    assert len(record_json(first)) < 80_000


def test_late_calls_of_the_last_day_count(gated: Shipped) -> None:
    state, wanted = _begun(gated)
    calls = list(stream(1, 200))
    first = _look(state, wanted, calls[::2]).state

    later = _look(first, wanted, calls)

    assert later.tally.counted == 100


def test_order_of_the_files_changes_nothing(gated: Shipped) -> None:
    state, wanted = _begun(gated)
    calls = list(stream(1, 500, bad_every=9))
    shuffled = random.Random(1).sample(calls, len(calls))

    assert _look(state, wanted, shuffled).state.figures == _look(state, wanted, calls).state.figures


def test_calls_of_one_trace_are_one_unit(gated: Shipped) -> None:
    state, wanted = _begun(gated)
    loop = [call(n, answer=BAD, trace="f" * 32) for n in range(1, 51)]

    record = watch_record(_look(state, wanted, [*loop, *stream(100, 400)]), drop=0.1)

    assert record.figures[0].window_n == 401
    assert record.figures[0].window == pytest.approx(10 / 410, rel=1e-5)  # ten of the fifty
    assert record.figures[0].status is not FigureStatus.ALARM


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("failed", {"error": "HTTP 500"}),
        ("failed", {"finish_reason": "content_filter"}),
        ("refused", {"answer": "I'm sorry, but I can't help with that."}),
        ("truncated", {"finish_reason": "length"}),
        ("loops", {"answer": "I am sure. " * 20}),
        ("longer", {"answer": "word " * 30}),
        ("slower", {"seconds": 9.0}),
        ("tokens", {"output_tokens": 400}),
    ],
)
def test_every_figure_can_alarm(gated: Shipped, name: str, change: dict[str, Any]) -> None:
    bad = [call(n, **change) for n in range(1, 200)]
    state, wanted = _begun(gated)

    record = watch_record(_look(state, wanted, [*bad, *stream(1000, 200)]), drop=0.1)

    assert name in {f.name for f in record.figures if f.status is FigureStatus.ALARM}


def test_shorter_answers_alarm(tmp_path: Path) -> None:
    """Answers that lose most of their words."""
    gated = shipped(tmp_path / "suite", ["a b c d e f g h " + "i " * (n % 7) for n in range(200)])

    record = _record(gated, stream(1, 300), "shorter", "longer")

    assert {f.name: f.status for f in record.figures} == {
        "shorter": FigureStatus.ALARM,
        "longer": FigureStatus.QUIET,
    }


def test_ties_are_no_alarm(gated: Shipped) -> None:
    record = _record(gated, stream(1, 400), "longer", "tokens", "slower")

    assert [figure.window for figure in record.figures] == [0.0, 0.0, 0.0]


def test_traces_without_content(gated: Shipped) -> None:
    record = _record(gated, [call(n, answer=None) for n in range(1, 500)])

    told = {figure.name: figure for figure in record.figures}
    assert told["json_valid"].unscored == 499
    assert told["json_valid"].why_unscored == "the completion has no text"
    assert told["json_valid"].window is None
    assert told["truncated"].window_n == 499
    assert record.verdict is WatchVerdict.TOO_LITTLE


def test_a_gate_that_timed_batches(tmp_path: Path) -> None:
    gated = shipped(tmp_path / "suite", [GOOD] * 50, batch_size=8)

    state, _ = _begun(gated)

    assert "metric latency" in state.not_compared["slower"]


def test_a_small_gate_cannot_tell(tmp_path: Path) -> None:
    gated = shipped(tmp_path / "suite", [BAD, *[GOOD] * 11])

    record = _record(gated, stream(1, 500), "json_valid")

    assert record.figures[0].status is FigureStatus.BLIND
    assert record.verdict is WatchVerdict.TOO_LITTLE
    assert record.sentence == "no figure can be compared with the gate's"


def test_clustered_cases_promise_less(tmp_path: Path) -> None:
    answers = [BAD if n < 10 else GOOD for n in range(200)]
    alone = _begun(shipped(tmp_path / "a", answers), "json_valid")[0].figures[0]
    pairs = _begun(shipped(tmp_path / "b", answers, cluster=2), "json_valid")[0].figures[0]

    assert pairs.level == alone.level == 0.05
    assert pairs.bound > alone.bound


def test_calls_of_several_models_need_the_shipped_ones_name(gated: Shipped) -> None:
    calls = [*stream(1, 30), *stream(100, 20, model="other")]
    state, wanted = _begun(gated)

    with pytest.raises(UsageError) as caught:
        _look(state, wanted, calls)
    named = _look(state, wanted, calls, models=("shop-*",))

    assert "calls of 2 models: shop-7 (30), other (20)" in str(caught.value)
    assert named.tally.counted == 30
    assert named.tally.left_out["of another model"] == 20


def test_since_is_inside_and_until_outside(gated: Shipped) -> None:
    """What was left out may be counted later."""
    state, wanted = _begun(gated)
    calls = list(stream(0, 100))

    inside = _look(state, wanted, calls, since_s=START + 600, until_s=START + 1200)
    rest = _look(inside.state, wanted, calls)

    assert inside.tally.counted == 10
    assert inside.tally.left_out["before --since"] == 10
    assert inside.tally.left_out["not before --until"] == 80
    assert rest.tally.counted == 90


def test_calls_are_selected_by_attributes(gated: Shipped) -> None:
    state, wanted = _begun(gated)
    calls = [*stream(1, 5, attributes={"route": "/t"}), *stream(50, 7)]

    found = _look(state, wanted, calls, where={"route": "/t"})

    assert found.tally.counted == 5


def test_a_clock_that_runs_ahead_does_not_move_the_watermark(gated: Shipped) -> None:
    state, wanted = _begun(gated)

    found = _look(state, wanted, [call(1, start=NOW + 1e7), *stream(2, 5)])

    assert found.tally.counted == 5
    assert found.state.watermark_s is not None
    assert found.state.watermark_s < NOW


def test_a_state_of_another_test_is_refused(gated: Shipped, tmp_path: Path) -> None:
    state, _ = _begun(gated)

    with pytest.raises(UsageError, match=r"begun with run_id='r1', and this look has 'r2'"):
        states.refuse_other(tmp_path / "s.json", state, run_id="r2", alpha=0.05)
    with pytest.raises(UsageError, match="figures="):
        states.refuse_other(tmp_path / "s.json", state, figures=["loops"])
    names = sorted({f.name for f in state.figures} | set(state.not_compared))
    states.refuse_other(tmp_path / "s.json", state, run_id="r1", alpha=0.05, figures=names)


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text("{", encoding="utf-8")

    assert states.load_state(tmp_path / "none.json") is None
    with pytest.raises(UsageError, match=r"s\.json"):
        states.load_state(path)


def test_a_judge_sees_a_sample_that_does_not_depend_on_the_order(gated: Shipped) -> None:
    seen: list[list[str]] = []
    figure = MonitoredFigure("voice", "points", LossKind.MEAN, _nothing, higher_is_better=True)
    state, wanted = _begun(gated, "failed")
    voice = state.figures[0].model_copy(update={"name": "voice", "bound": 0.3})
    both = state.model_copy(update={"figures": (*state.figures, voice)})

    def judge(answers: Any) -> list[dict[str, Score]]:
        seen.append([one.case.id for one in answers])
        return [{"voice": Score.of(0.5)} for _ in answers]

    sample = JudgeSample(judge, (figure,), 20)
    calls = list(stream(1, 100))
    found = update_state(both, wanted, calls, TimeWindow(NOW), sample=sample)
    update_state(both, wanted, calls[::-1], TimeWindow(NOW), sample=sample)

    assert found.state.figures[1].units == 20
    assert found.state.figures[1].total == pytest.approx(10.0)
    assert seen[0] == seen[1]
    assert len(seen[0]) == 20


def _nothing(one: AnsweredCase) -> Score:
    return Score.unscored("never asked")


def test_unknown_figures_are_named(gated: Shipped) -> None:
    with pytest.raises(UsageError, match="json_valid"):
        select_figures(suite_figures(gated[1]), ["json_vali"])
