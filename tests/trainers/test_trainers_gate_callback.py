"""The gate while a model is trained: it judges what is saved, keeps the best, disturbs nothing."""

from __future__ import annotations

import json
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.trainers.training_scripts import losses, make_trainer, train, weights, write_suite
from tunegate import GateCallback
from tunegate.harness.engine.interrupts import stop_on_signal
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.verdict import Verdict
from tunegate.trainers import checkpoint_evaluation
from tunegate.trainers.checkpoint_ranking import CheckpointMetric, CheckpointSuite

DELTA = "gate/letters/answer_logprob/delta"


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the store of answers in the test's own folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(name="looks_say")
def _looks_say(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let looks find given improvements, one after the other; what is thrown is raised."""

    def say(*found: Any, forgotten: tuple[str, ...] = ()) -> None:
        left = list(found)

        def look(*_: Any, **__: Any) -> tuple[CheckpointSuite, ...]:
            delta = left.pop(0)
            if isinstance(delta, Exception):
                raise delta
            metric = CheckpointMetric(
                name="answer_logprob", higher_is_better=True, base=0.0, tuned=delta,
                delta=delta, low=None, high=None, n=1,
            )  # fmt: skip
            suite = CheckpointSuite(
                name="letters", hash="", verdict=Verdict.UNDECIDED, attempt=1,
                goal="answer_logprob", metrics=(metric,), forgotten=forgotten,
            )  # fmt: skip
            return (suite,)

        monkeypatch.setattr(checkpoint_evaluation, "evaluate_checkpoint", look)

    return say


def _entries(trainer: Any) -> list[dict[str, float]]:
    return [entry for entry in trainer.state.log_history if DELTA in entry]


def _record(out: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((out / "gate_checkpoints.json").read_text())
    return record


def _stored() -> int:
    with sqlite3.connect(".tunegate/store.sqlite") as store:
        count: int = store.execute("SELECT COUNT(*) FROM cells").fetchone()[0]
    return count


HARD = {"gradient_accumulation_steps": 2, "activation_checkpointing": True, "bf16": True}


@pytest.mark.parametrize(("lora", "settings"), [(True, {}), (True, HARD), (False, {})])
def test_a_training_is_the_same_with_and_without_it(
    tiny_base: Path, tmp_path: Path, lora: bool, settings: dict[str, Any]
) -> None:
    alone = train(make_trainer(tiny_base, tmp_path / "alone", lora=lora, **settings))
    trainer = make_trainer(tiny_base, tmp_path / "gated", lora=lora, **settings)
    trainer.add_callback(GateCallback(write_suite(tmp_path)))

    gated = train(trainer)

    assert [2, 4] == [entry["step"] for entry in _entries(gated)]
    assert losses(alone) == losses(gated)
    assert weights(alone) == weights(gated)


@pytest.mark.parametrize("lora", [True, False])
def test_a_look_says_what_a_gate_says_of_the_checkpoint(
    tiny_base: Path, tmp_path: Path, lora: bool
) -> None:
    from tunegate.harness.models.open_arms import open_arms
    from tunegate.trainers.checkpoint_evaluation import evaluate_checkpoint

    suite = write_suite(tmp_path)
    trainer = make_trainer(tiny_base, tmp_path / "out", lora=lora)
    trainer.add_callback(GateCallback(suite))

    train(trainer)

    for step, entry in zip((2, 4), _entries(trainer), strict=True):
        specs = {"base": str(tiny_base), "tuned": str(tmp_path / f"out/checkpoint-{step}")}
        arms = open_arms(specs)
        (found,) = evaluate_checkpoint(GateCallback(suite).suites, arms, number=1)
        metric = found.metrics[0]
        assert metric.delta is not None
        assert abs(metric.delta) > 1e-3
        for key in ("base", "tuned", "delta", "low", "high", "n"):
            expected = pytest.approx(getattr(metric, key), rel=1e-4, abs=1e-5)
            assert expected == entry[f"gate/letters/answer_logprob/{key}"]


def test_base_is_asked_once(tiny_base: Path, tmp_path: Path) -> None:
    """Twelve cases, two kinds of question: 24 answers of base, 24 of tuned at each of two looks.

    A second training asks base nothing.
    """
    suite = write_suite(tmp_path)
    counts = []
    for number in range(2):
        trainer = make_trainer(tiny_base, tmp_path / f"out{number}", learning_rate=1e-2 + number)
        trainer.add_callback(GateCallback(suite))
        train(trainer)
        counts.append(_stored())

    assert [24 * 3, 24 * 5] == counts


def test_every_look_is_an_attempt(tiny_base: Path, tmp_path: Path) -> None:
    trainer = make_trainer(tiny_base, tmp_path / "out", save_steps=1)
    trainer.add_callback(GateCallback(write_suite(tmp_path)))

    train(trainer)

    looks = _record(tmp_path / "out")["looks"]
    assert [1, 2, 3, 4] == [look["suites"][0]["attempt"] for look in looks]


@pytest.mark.parametrize("by_loss", [False, True])
def test_the_gate_decides_what_is_kept(
    tiny_base: Path, tmp_path: Path, looks_say: Callable[..., None], by_loss: bool
) -> None:
    looks_say(0.1, 0.5, 0.2, 0.3)
    more = {"eval_strategy": "steps", "eval_steps": 1, "load_best_model_at_end": True}
    out = tmp_path / "out"
    trainer = make_trainer(
        tiny_base, out, save_steps=1, save_total_limit=1, **(more if by_loss else {})
    )
    trainer.add_callback(GateCallback(write_suite(tmp_path)))

    train(trainer)

    assert ["checkpoint-2"] == [path.name for path in out.glob("checkpoint-*")]
    assert str(out / "checkpoint-2") == trainer.state.best_model_checkpoint
    assert 2 == trainer.state.best_global_step
    record = _record(out)
    assert "checkpoint-2" == record["best"]
    assert "answer_logprob +0.5" in record["why"]
    if by_loss:
        assert _evaluations_fall(trainer)  # the loss would have kept the last one
        _assert_loaded(trainer, out / "checkpoint-2")


def _evaluations_fall(trainer: Any) -> bool:
    found = [e["eval_loss"] for e in trainer.state.log_history if "eval_loss" in e]
    return found == sorted(found, reverse=True)


def _assert_loaded(trainer: Any, checkpoint: Path) -> None:
    from peft import get_peft_model_state_dict
    from safetensors.torch import load_file

    saved = load_file(checkpoint / "adapter_model.safetensors")
    now = get_peft_model_state_dict(trainer.model)
    assert all(bool((now[name] == tensor).all()) for name, tensor in saved.items())


def test_a_training_goes_on_where_it_stopped(
    tiny_base: Path, tmp_path: Path, looks_say: Callable[..., None]
) -> None:
    suite, out = write_suite(tmp_path), tmp_path / "out"
    looks_say(0.1, 0.4, 0.2, 0.9)
    first = make_trainer(tiny_base, out, save_steps=1)
    first.add_callback(GateCallback(suite))
    train(first)
    looks_say(0.3)

    again = make_trainer(tiny_base, out, save_steps=1)
    again.add_callback(GateCallback(suite))
    train(again, resume_from_checkpoint=str(out / "checkpoint-3"))

    record = _record(out)
    assert [1, 2, 3, 4] == [look["step"] for look in record["looks"]]
    assert "checkpoint-2" == record["best"]
    assert str(out / "checkpoint-2") == again.state.best_model_checkpoint


def test_it_stops_when_forgetting_is_proven(
    tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Training on other letters makes `~` less likely beyond doubt: it ends at that save."""
    suite = write_suite(tmp_path, gate="tolerance = 0.01", answer="~~~~", n=200)
    trainer = make_trainer(tiny_base, tmp_path / "out", lora=False, max_steps=16, save_steps=4)
    trainer.add_callback(GateCallback(suite, stop_on="regression"))

    train(trainer)

    assert 8 == trainer.state.global_step
    told = capsys.readouterr().err
    assert "gate at step 8: letters BLOCK (answer_logprob::tolerance), " in told
    assert "gate: stopping the training: " in told


def test_without_stop_on_a_regression_is_only_told(
    tiny_base: Path, tmp_path: Path, looks_say: Callable[..., None]
) -> None:
    looks_say(-0.5, -0.6, forgotten=("worse",))
    trainer = make_trainer(tiny_base, tmp_path / "out")
    trainer.add_callback(GateCallback(write_suite(tmp_path)))

    train(trainer)

    assert 4 == trainer.state.global_step


def test_a_look_that_fails_costs_the_look_alone(
    tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = make_trainer(tiny_base, tmp_path / "out", learning_rate=0.0)
    trainer.add_callback(GateCallback(write_suite(tmp_path)))

    train(trainer)

    assert 4 == trainer.state.global_step
    told = capsys.readouterr().err
    assert "gate at step 2: not judged: tuned: adapter is a no-op: lora_B is all zeros" in told
    assert trainer.state.best_model_checkpoint is None


def test_a_defect_in_a_look_costs_the_look_alone(
    tiny_base: Path, tmp_path: Path, looks_say: Callable[..., None]
) -> None:
    looks_say(ZeroDivisionError("division by zero"), 0.1)
    trainer = make_trainer(tiny_base, tmp_path / "out")
    trainer.add_callback(GateCallback(write_suite(tmp_path)))

    train(trainer)

    problems = [look["problem"] for look in _record(tmp_path / "out")["looks"]]
    assert ["ZeroDivisionError: division by zero", None] == problems


def test_ctrl_c_in_a_look_ends_the_training(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does between two steps; the checkpoint is there, and the model is as it was."""

    def look(*_: Any, **__: Any) -> None:
        with stop_on_signal() as stop:
            signal.raise_signal(signal.SIGINT)
            stop.obey()

    monkeypatch.setattr(checkpoint_evaluation, "evaluate_checkpoint", look)
    trainer = make_trainer(tiny_base, tmp_path / "out")
    trainer.add_callback(GateCallback(write_suite(tmp_path)))

    with pytest.raises(KeyboardInterrupt):
        train(trainer)

    assert (tmp_path / "out/checkpoint-2").is_dir()
    assert trainer.model.training
    assert 2 == trainer.state.global_step


def test_reporters_see_the_deltas(
    tiny_base: Path, tmp_path: Path, looks_say: Callable[..., None]
) -> None:
    from transformers import TrainerCallback

    class Reporter(TrainerCallback):
        seen: list[float] = []  # noqa: RUF012  # one instance

        def on_log(self, *_: Any, logs: Any = None, **__: Any) -> None:
            self.seen += [logs[DELTA]] if DELTA in logs else []

    looks_say(0.1, 0.2)
    trainer = make_trainer(tiny_base, tmp_path / "out")
    trainer.add_callback(Reporter())
    GateCallback(write_suite(tmp_path)).attach(trainer)

    train(trainer)

    assert [0.1, 0.2] == Reporter.seen


def test_it_is_a_callback_that_transformers_can_make_again(tmp_path: Path) -> None:
    from transformers import TrainerCallback

    class Mine(GateCallback):
        """A user's own."""

    made = Mine(write_suite(tmp_path), stop_on="regression")
    again = type(made)(**json.loads(json.dumps(made.state()["args"])))

    assert isinstance(made, TrainerCallback)
    assert isinstance(again, Mine)
    assert made.state() == again.state()


def test_a_full_fine_tune_needs_its_base_on_the_disk(tiny_base: Path, tmp_path: Path) -> None:
    trainer = make_trainer(tiny_base, tmp_path / "out", lora=False)
    trainer.add_callback(GateCallback(write_suite(tmp_path), base=tmp_path / "gone"))

    with pytest.raises(UsageError, match=r"no adapter that could be switched off.*base=FOLDER"):
        train(trainer)

    assert 0 == trainer.state.global_step


def test_a_model_that_writes_nothing_is_refused(tmp_path: Path) -> None:
    import torch

    callback = GateCallback(write_suite(tmp_path))
    state = SimpleNamespace(stateful_callbacks={}, is_world_process_zero=True, global_step=0)

    with pytest.raises(UsageError, match="writes answers, and Linear does not"):
        callback.on_train_begin(
            SimpleNamespace(), state, None, model=torch.nn.Linear(1, 1), processing_class=None
        )


def test_shards_of_a_model_are_refused(tmp_path: Path) -> None:
    callback = GateCallback(write_suite(tmp_path))
    state = SimpleNamespace(stateful_callbacks={}, is_world_process_zero=True, global_step=0)

    with pytest.raises(UsageError, match="FSDP or DeepSpeed"):
        callback.on_train_begin(
            SimpleNamespace(deepspeed="zero3.json"), state, None, model=None, processing_class=None
        )


def test_a_training_that_saves_nothing_is_told_so(
    tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without saves there are no looks; nobody should wait for them."""
    trainer = make_trainer(tiny_base, tmp_path / "out", save_strategy="no", max_steps=1)
    trainer.add_callback(GateCallback(write_suite(tmp_path)))

    train(trainer)

    assert "no checkpoint will be evaluated" in capsys.readouterr().err


JUDGE = '[[metrics]]\nuse = "tone"\ntone = "warm"\n'


def _with_judge(suite: Path) -> None:
    file = suite / "suite.toml"
    text = file.read_text().replace('metric = "answer_logprob"', 'metric = "tone"')
    file.write_text(text.replace("[[gates]]", JUDGE + "\n[[gates]]"))


def _sealed(suite: Path) -> None:
    file = suite / "suite.toml"
    file.write_text("sealed = true\n" + file.read_text())


def _broken(suite: Path) -> None:
    (suite / "cases.jsonl").write_text('{"id": "c0", "prompt": "one?"}\n')


@pytest.mark.parametrize(
    ("spoil", "options", "text"),
    [
        (_broken, {}, "cases.jsonl:1"),
        (_sealed, {}, "the suite is sealed"),
        (_with_judge, {}, "'?tone'? needs a judge"),
        (None, {"stop_on": "loss"}, "stop_on='loss'"),
        (None, {"select": "numbers"}, r"select='numbers'.*'letters'"),
        (None, {"ship": "letters"}, "12 of its cases are in"),
        (None, {"ship": "nowhere"}, "nowhere"),
        (None, {"suites": []}, "none; name"),
        (None, {"suites": ["letters", "letters"]}, "same name"),
    ],
)
def test_mistakes_are_told_when_it_is_made(
    tmp_path: Path, spoil: Callable[[Path], None] | None, options: dict[str, Any], text: str
) -> None:
    suite = write_suite(tmp_path)
    if spoil is not None:
        spoil(suite)

    with pytest.raises(UsageError, match=text):
        GateCallback(**{"suites": suite, **options})


def test_a_suite_of_other_cases_may_decide_shipping(tmp_path: Path) -> None:
    other = write_suite(tmp_path, "numbers")

    GateCallback(write_suite(tmp_path), ship=other)
