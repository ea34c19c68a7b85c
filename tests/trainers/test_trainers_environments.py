"""GRPO on the environment of a suite: TRL resets it with the row's `row`, and learns its reward."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.played_suites import DESK
from tests.tiny_models import make_config, make_tokenizer
from tunegate.trainers.grpo import run

NOTING = """
    def _note(self, text):
        import pathlib

        file = pathlib.Path(__file__).with_name("noted.txt")
        file.write_text((file.read_text() if file.exists() else "") + text + "\\n")
        return len(file.read_text())

    def find("""
RESET = "        self.order, self.wants"
NOTED = (
    DESK.replace("\n    def find(", NOTING)
    .replace(RESET, f'        self._note(f"{{order}} {{wants}}")\n{RESET}')
    .replace("float(self.paid == self.order)", 'self._note("reward") % 2 * 0.5')
)
"""The desk, which writes down how it was reset, and pays every second time."""


@pytest.fixture(name="model")
def _model(tmp_path: Path) -> Path:
    """A tiny model whose chat template, TRL's copy of Qwen 3's, shows tools."""
    import torch
    import trl
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    config = make_config("qwen3")
    config.max_position_embeddings = 4096
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "model")
    template = Path(trl.__path__[0], "chat_templates", "qwen3.jinja").read_text()
    make_tokenizer(template=template).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def _train(model: Path, folder: Path, *more: str) -> tuple[int, list[str]]:
    rows = [
        {"prompt": [{"role": "user", "content": "Pay A1 back."}], "row": {"order": "A1"}},
        {"prompt": [{"role": "user", "content": "A2?"}], "row": {"order": "A2", "wants": "news"}},
    ]
    (folder / "tasks.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    lines: list[str] = []
    argv = ["--model_name_or_path", str(model), "--train_files", str(folder / "tasks.jsonl")]
    argv += ["--max_steps", "1", "--per_device_train_batch_size", "4", "--num_generations", "2"]
    argv += ["--max_completion_length", "4", "--save_strategy", "no", "--learning_rate", "1e-2"]
    argv += ["--output_dir", str(folder / "out"), *more]
    return run(argv, say=lines.append), lines


@pytest.mark.slow
def test_the_environment_trains_in_trl(model: Path, tmp_path: Path) -> None:
    """No other reward is needed; both rows reach `reset`, twice each, for two generations."""
    (tmp_path / "desk.py").write_text(NOTED)
    code, lines = _train(model, tmp_path, "--environment", f"{tmp_path}/desk.py:Desk")

    assert code == 0, lines
    noted = (tmp_path / "noted.txt").read_text().splitlines()
    assert sorted(noted) == [*["A1 refund"] * 2, *["A2 news"] * 2, *["reward"] * 4]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "said"),
    [
        (DESK.replace("def get_reward", "def _reward"), "it has no method 'get_reward'"),
        (DESK.replace("order: str, wants", "day: str, wants"), "row: reset does not take 'order'"),
    ],
)
def test_what_is_no_environment_is_refused(
    model: Path, tmp_path: Path, code: str, said: str
) -> None:
    """In one line, before the model is loaded."""
    (tmp_path / "desk.py").write_text(code)
    status, lines = _train(model, tmp_path, "--environment", f"{tmp_path}/desk.py:Desk")

    assert status == 2
    assert said in lines[-1]


@pytest.mark.slow
def test_a_template_without_tools_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    """TRL could not show the tools; the message says what to do."""
    (tmp_path / "desk.py").write_text(DESK)
    status, lines = _train(tiny_base, tmp_path, "--environment", f"{tmp_path}/desk.py:Desk")

    assert status == 2
    assert "shows no tools" in lines[-1]
