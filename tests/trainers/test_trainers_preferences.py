"""DPO, KTO and reward models: where they start, by hand; where they go; what they leave behind."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_models import Tiny, muted
from tests.unseen_rows import margins
from tunegate.harness.checks import liveness
from tunegate.harness.models.open_arms import open_arms
from tunegate.trainers import dpo, kto, reward, sft
from tunegate.trainers.job import TrainingMethod
from tunegate.trainers.train import run_method
from tunegate.trainers.training_card import read_card

WORDS = ("parcel", "refund", "capital", "customer", "late", "France", "Spain", "Paris")
PAIRS = [{"prompt": f"the {word}", "chosen": " never", "rejected": " wants"} for word in WORDS]
UNSEEN = [
    {"prompt": f"a {word} and", "chosen": " never", "rejected": " wants"} for word in WORDS[:4]
]
LABELS = [
    {"prompt": row["prompt"], "completion": row[key], "label": key == "chosen"}
    for row in PAIRS
    for key in ("chosen", "rejected")
]


@pytest.fixture(name="train")
def _train(tiny: Tiny, tmp_path: Path, write_rows: Callable[..., Path]) -> Callable[..., list[str]]:
    """Train on the tiny Llama with one row kind; returns the lines, the exit code as the last."""

    def train(
        method: TrainingMethod, rows: list[Any], out: str, *more: str, base: str = "llama"
    ) -> list[str]:
        lines: list[str] = []
        argv = ["--model_name_or_path", str(tiny.base(base)), "--output_dir", str(tmp_path / out)]
        argv += ["--train_files", str(write_rows(f"{out}.jsonl", rows)), "--max_steps", "2"]
        argv += ["--per_device_train_batch_size", "2", "--save_strategy", "no"]
        argv += ["--logging_steps", "1", "--learning_rate", "1e-2", *more]
        with muted():
            lines.append(str(run_method(method, argv, say=lines.append)))
        return lines

    return train


def _losses(lines: list[str]) -> list[float]:
    return [float(line.split()[3]) for line in lines if line.startswith("step ")]


@pytest.mark.parametrize(("method", "rows"), [(dpo.METHOD, PAIRS), (kto.METHOD, LABELS)])
def test_unseen_pairs_move_towards_the_chosen_answer(
    method: TrainingMethod,
    rows: list[Any],
    train: Callable[..., list[str]],
    tiny: Tiny,
    tmp_path: Path,
) -> None:
    lines = train(method, rows, "out", "--peft", "lora", "--max_steps", "20")

    assert "0" == lines[-1], lines
    assert min(margins(tiny.base(), tmp_path / "out", UNSEEN)) > 0.5


@pytest.mark.parametrize(
    ("method", "rows", "kind"),
    [(dpo.METHOD, PAIRS, kind) for kind in ("qlora", "ia3", "bitfit", "none")]
    + [(kto.METHOD, LABELS, kind) for kind in ("lora", "bitfit")],
)
def test_each_kind_trains_and_opens_in_the_gate(
    method: TrainingMethod,
    rows: list[Any],
    kind: str,
    train: Callable[..., list[str]],
    tiny: Tiny,
    tmp_path: Path,
) -> None:
    lines = train(method, rows, "out", "--peft", kind)

    assert "0" == lines[-1], lines
    with muted():
        arms = open_arms({"base": str(tiny.base()), "tuned": str(tmp_path / "out")})
        assert "proven" == liveness.check_liveness(arms)["tuned"]["status"]
    assert kind == read_card(tmp_path / "out").hyperparameters["peft"]


def test_before_the_first_step_the_model_is_its_reference(
    train: Callable[..., list[str]],
) -> None:
    """With a margin of zero DPO's loss is log 2, IPO's (1 / 2β)², and KTO's 1 − σ(0).

    β is 0.1, so that IPO starts at 25.
    """
    first = {
        name: _losses(train(method, rows, name, "--peft", "lora", "--beta", "0.1", *more))[0]
        for name, method, rows, more in (
            ("dpo", dpo.METHOD, PAIRS, []),
            ("ipo", dpo.METHOD, PAIRS, ["--loss_type", "ipo"]),
            ("kto", kto.METHOD, LABELS, []),
        )
    }

    assert {"dpo": 0.6931, "ipo": 25.0, "kto": 0.5} == pytest.approx(first, abs=1e-3)


def test_label_smoothing_and_beta_reach_trl_and_the_record(
    train: Callable[..., list[str]], tmp_path: Path
) -> None:
    robust = ["--peft", "lora", "--loss_type", "robust"]
    plain = train(dpo.METHOD, PAIRS, "plain", *robust)
    smooth = train(dpo.METHOD, PAIRS, "smooth", *robust, "--label_smoothing", "0.3")
    strict = train(dpo.METHOD, PAIRS, "strict", *robust, "--beta", "0.5")

    first, second = zip(*map(_losses, (plain, smooth, strict)), strict=True)
    assert 1 == len(set(first))
    assert 3 == len(set(second))
    settings = read_card(tmp_path / "smooth").hyperparameters
    assert (0.3, 0.1, ["robust"]) == (
        settings["label_smoothing"],
        settings["beta"],
        settings["loss_type"],
    )


@pytest.mark.parametrize(
    ("method", "rows", "loss"), [(dpo.METHOD, PAIRS, 0.6931), (kto.METHOD, LABELS, 0.5)]
)
def test_an_sft_adapter_is_its_own_reference(
    method: TrainingMethod,
    rows: list[Any],
    loss: float,
    train: Callable[..., list[str]],
    tiny: Tiny,
    tmp_path: Path,
) -> None:
    """Started from a fine-tune, the margin to it is zero; its frozen copy is not saved."""
    taught = [{"prompt": row["prompt"], "completion": " late"} for row in PAIRS]
    assert "0" == train(sft.METHOD, taught, "sft", "--peft", "lora", "--max_steps", "8")[-1]

    adapter = ["--adapter_name_or_path", str(tmp_path / "sft")]
    lines = train(method, rows, "out", *adapter)

    assert "0" == lines[-1], lines
    assert _losses(lines)[0] == pytest.approx(loss, abs=1e-3)
    assert not (tmp_path / "out" / "ref").exists()
    with muted():
        for base, tuned in ((tiny.base(), "out"), (tiny.base(), "sft")):
            arms: Any = open_arms({"base": str(base), "tuned": str(tmp_path / tuned)})
            assert "proven" == liveness.check_liveness(arms)["tuned"]["status"]


def test_a_resumed_training_keeps_its_reference(
    train: Callable[..., list[str]], tmp_path: Path
) -> None:
    taught = [{"prompt": row["prompt"], "completion": " late"} for row in PAIRS]
    assert "0" == train(sft.METHOD, taught, "sft", "--peft", "lora", "--max_steps", "4")[-1]
    asked = ["--adapter_name_or_path", str(tmp_path / "sft"), "--save_strategy", "steps"]
    asked += ["--save_steps", "1", "--max_steps", "3"]
    whole = train(dpo.METHOD, PAIRS, "whole", *asked)
    assert "0" == whole[-1], whole

    parts = ["--resume_from_checkpoint", str(tmp_path / "whole" / "checkpoint-1")]
    lines = train(dpo.METHOD, PAIRS, "parts", *asked, *parts)

    assert "0" == lines[-1], lines
    name = "adapter_model.safetensors"
    assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


@pytest.mark.parametrize("method", [dpo.METHOD, kto.METHOD])
@pytest.mark.parametrize("kind", ["lora", "none"])
def test_the_reference_is_no_second_model(
    method: TrainingMethod,
    kind: str,
    train: Callable[..., list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from trl.trainer import dpo_trainer, kto_trainer

    loads: list[str] = []
    for module in (dpo_trainer, kto_trainer):
        original = module.create_model_from_path

        def counted(name: str, *rest: Any, load: Any = original, **keys: Any) -> Any:
            loads.append(name)
            return load(name, *rest, **keys)

        monkeypatch.setattr(module, "create_model_from_path", counted)

    lines = train(method, PAIRS if method is dpo.METHOD else LABELS, "out", "--peft", kind)

    assert "0" == lines[-1], lines
    assert 1 == len(loads)


def test_an_evaluation_is_one_line(
    train: Callable[..., list[str]], write_rows: Callable[..., Path]
) -> None:
    """Pairs that were never trained on are counted before and after; then all of them are right."""
    unseen = write_rows("unseen.jsonl", UNSEEN)
    asked = ["--eval_files", str(unseen), "--eval_strategy", "steps", "--eval_steps", "20"]

    lines = train(reward.METHOD, PAIRS, "out", "--peft", "none", "--max_steps", "20", *asked)

    assert "0" == lines[-1], lines
    (said,) = [line for line in lines if line.startswith("evaluated")]
    assert re.fullmatch(r"evaluated at step 20  loss [\d.e-]+  accuracy 1", said)


def _points(folder: Path) -> list[tuple[float, float]]:
    """Return the numbers of chosen and rejected of each unseen pair, loaded as PPO does."""
    import torch
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    with muted():
        model = reward.load_reward_model(
            reward.check_reward_model(str(folder), where="--reward_model_path")
        )

    def points(text: str) -> float:
        ids = tokenizer(text + tokenizer.eos_token, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            return float(model(input_ids=ids).logits[0, 0])

    return [
        (points(p + row["chosen"]), points(p + row["rejected"]))
        for row in UNSEEN
        for p in [row["prompt"]]
    ]


@pytest.mark.parametrize("kind", ["lora", "dora", "none"])
def test_a_reward_model_is_loaded_with_its_head(
    kind: str, train: Callable[..., list[str]], tiny: Tiny, tmp_path: Path
) -> None:
    """Loaded as PPO loads it, it gives unseen chosen answers the higher number.

    Trained on the same pairs the wrong way round it gives them the lower one.
    """
    swapped = [{**row, "chosen": row["rejected"], "rejected": row["chosen"]} for row in PAIRS]
    for out, rows, sign in (("right", PAIRS, 1), ("wrong", swapped, -1)):
        lines = train(reward.METHOD, rows, out, "--peft", kind, "--max_steps", "20")
        assert "0" == lines[-1], lines
        points = _points(tmp_path / out)
        assert all(sign * (chosen - rejected) > 0 for chosen, rejected in points)

    if kind != "none":
        config = json.loads((tmp_path / "right" / "adapter_config.json").read_text())
        base = config["base_model_name_or_path"]
        assert ("SEQ_CLS", str(tiny.base())) == (config["task_type"], base)


@pytest.mark.parametrize(
    ("method", "rows", "more", "said"),
    [
        (
            dpo.METHOD,
            PAIRS,
            ["--peft", "prompt"],
            "allowed are lora, qlora, dora, ia3, none, bitfit",
        ),
        (dpo.METHOD, PAIRS, ["--loss_type", "ippo"], "Unknown loss type: ippo"),
        (dpo.METHOD, PAIRS, ["--label_smoothing", "0.1"], "has no effect on loss_type=sigmoid"),
        (dpo.METHOD, PAIRS, ["--max_length", "2"], "max_length=2: no row fits"),
        (dpo.METHOD, LABELS, [], "no `chosen` (keys: prompt, completion, label)"),
        (kto.METHOD, PAIRS, [], "no `completion`"),
        (kto.METHOD, [row for row in LABELS if row["label"]], [], "every row has label=true"),
        (kto.METHOD, LABELS, ["--max_length", "2"], "max_length=2: no row fits"),
        (reward.METHOD, PAIRS, ["--max_length", "2"], "max_length=2: no row fits"),
        (reward.METHOD, PAIRS, ["--gate", "--eval-suite", "refusals"], "writes no answers"),
        (reward.METHOD, PAIRS, ["--adapter_name_or_path", "x"], "reward makes a new adapter"),
        (reward.METHOD, PAIRS, ["--peft", "ia3"], "allowed are lora, dora, none"),
    ],
)
def test_mistakes_end_in_one_line(
    method: TrainingMethod,
    rows: list[Any],
    more: list[str],
    said: str,
    train: Callable[..., list[str]],
) -> None:
    *_, last, code = train(method, rows, "out", *more)

    assert "2" == code
    assert said in last
    assert last.count("\n") < len(rows)


def test_rows_that_do_not_fit_are_counted(train: Callable[..., list[str]]) -> None:
    long = [
        {"prompt": "refund " * 30, "chosen": " yes", "rejected": " no"},
        {"prompt": "the", "chosen": " refund" * 30, "rejected": " no"},
    ]

    dropping = train(dpo.METHOD, PAIRS + long, "out", "--peft", "lora", "--max_length", "16")
    pairs = train(reward.METHOD, PAIRS + long, "rm", "--peft", "lora", "--max_length", "16")

    warnings = [line for line in dropping if line.startswith("warning: ")]
    assert [
        "warning: 1 row dropped: the prompt alone fills max_length=16",
        "warning: 1 row cut off: longer than max_length=16",
    ] == warnings
    assert "warning: 2 rows dropped: a pair is longer than max_length=16" in pairs
