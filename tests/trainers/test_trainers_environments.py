"""GRPO on the environment of a suite: TRL resets it with the row's `row`, and learns its reward."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.played_suites import DESK, TOML, call, write_desk
from tests.tiny_models import TEMPLATE, make_config, make_tokenizer
from tunegate.harness.episodes.transcript import extend_transcript, opening_case
from tunegate.harness.records.cases import Case
from tunegate.harness.records.episodes import EpisodeCall, EpisodeTurn
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.records.hashing import sha256
from tunegate.harness.suite import load_suite
from tunegate.trainers.grpo import METHOD
from tunegate.trainers.train import run_method
from tunegate.trainers.training_environment import training_environment

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
    return run_method(METHOD, argv, say=lines.append), lines


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
    (tmp_path / "desk.py").write_text(code)
    status, lines = _train(model, tmp_path, "--environment", f"{tmp_path}/desk.py:Desk")

    assert status == 2
    assert said in lines[-1]


@pytest.mark.slow
def test_tools_are_text_where_the_template_shows_none(model: Path, tmp_path: Path) -> None:
    (tmp_path / "desk.py").write_text(NOTED)
    make_tokenizer().save_pretrained(model)
    code, lines = _train(model, tmp_path, "--environment", f"{tmp_path}/desk.py:Desk")

    assert code == 0, lines
    assert any('tools = "system"' in line for line in lines)
    assert len((tmp_path / "noted.txt").read_text().splitlines()) == 8
    from transformers import AutoTokenizer

    card = json.loads((tmp_path / "out/tunegate_training.json").read_text())
    written = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert written.chat_template == TEMPLATE
    assert written.response_template is None
    assert card["chat_template_sha256"] == sha256(TEMPLATE)


@pytest.mark.slow
def test_text_is_the_same_in_training_and_in_the_suite(tmp_path: Path) -> None:
    from tunegate.harness.models._chat_template import render_prompt

    plan = load_suite(
        write_desk(
            tmp_path,
            toml=TOML.replace('"desk.py:Desk"', '{environment = "desk.py:Desk", tools = "system"}'),
        )
    ).episode
    assert plan is not None
    tokenizer = make_tokenizer()
    made = training_environment("desk.py:Desk", tmp_path, [], tokenizer)
    said = call("find", order="A1")
    turn = EpisodeTurn(
        prompt_sha256="",
        text=f"{said}\n{said}",
        calls=tuple(EpisodeCall(name="find", arguments={"order": "A1"}, result=r) for r in "xy"),
    )
    task = {"role": "user", "content": "Pay A1 back."}
    opened = opening_case(Case(id="c", messages=(task,)), plan.settings, plan.tools, None)
    later = extend_transcript(opened, turn, 0, in_text=True)
    calls = [{"function": {"name": "find", "arguments": {"order": "A1"}}}] * 2
    results = [{"role": "tool", "name": "find", "content": result} for result in "xy"]
    talk = [task, {"role": "assistant", "content": "", "tool_calls": calls}, *results]

    for messages, case in (([task], opened), (talk, later)):
        shown = made.tokenizer.apply_chat_template(
            conversation=[messages], tools=plan.tools, add_generation_prompt=True, return_dict=True
        )
        asked = render_prompt(tokenizer, case, GenerationSettings(), spec="m")
        assert tuple(shown["input_ids"][0]) == asked.token_ids
    read = made.tokenizer.parse_response(tokenizer(f"Well. {said}")["input_ids"])
    assert read["tool_calls"][0]["function"] == calls[0]["function"]
    assert read["content"] == "Well."


def test_trl_reads_the_calls_of_a_text(tmp_path: Path) -> None:
    from trl.chat_template_utils import parse_response

    write_desk(tmp_path)
    tokenizer = make_tokenizer(template=TEMPLATE)
    made = training_environment("desk.py:Desk", tmp_path, [], tokenizer)
    ids = tokenizer(call("find", order="A1"), add_special_tokens=False)["input_ids"]

    said = parse_response(made.tokenizer, ids, prefix=[1, 2], tools=[])

    (found,) = said["tool_calls"]
    assert found["function"] == {"name": "find", "arguments": {"order": "A1"}}


def test_a_model_without_a_chat_template_is_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "desk.py").write_text(DESK)
    (model / "chat_template.jinja").unlink()
    status, lines = _train(model, tmp_path, "--environment", f"{tmp_path}/desk.py:Desk")

    assert status == 2
    assert "chat template" in lines[-1]
