"""`tunegate check [BASE] TUNED`: what a minute's look finds, and with which exit code."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tests.gguf_files import few_stops, needs_gguf
from tunegate.harness.cli import app
from tunegate.harness.cli.check import LAST
from tunegate.harness.records.errors import NotComparable, TunegateError

Z = re.compile(r"8 null adapters: mean \S+, sd \S+; z = ([+-][\d.,e+-]+)$", re.MULTILINE)


def _check(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["check", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture(name="here", autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run each check in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _copied(folder: Path, out: Path, file: str, **keys: Any) -> Path:
    shutil.copytree(folder, out)
    value = json.loads((out / file).read_text(encoding="utf-8"))
    (out / file).write_text(json.dumps({**value, **keys}), encoding="utf-8")
    return out


def test_an_adapter_that_is_alive(tiny: Any, here: Path) -> None:
    """Its proof, its distance with a finite z, every count and three answers; no file is left."""
    result = _check(tiny.adapter(), "--dtype", "float32")

    text = result.stdout
    assert "alive  proven: logits change by up to " in text
    assert "switched off, base is back exactly" in text
    assert re.search(r"moved  KL\(base‖tuned\) \d", text)
    assert re.search(r"the likeliest token is another one at [1-9]\d* of \d+ places", text)
    assert Z.search(text)
    assert float(Z.findall(text)[0].replace(",", "")) < 1e6
    for what in ("ended by itself", "answered", "kept out of loops", "wrote the JSON"):
        assert re.search(rf"^{what} +\d+/\d+ +\d+/\d+$", text, re.MULTILINE)
    assert text.count("\n  base   ") == text.count("\n  tuned  ") == 3
    assert result.exit_code == (1 if "ALARM" in text else 0)
    assert text.splitlines()[-1] == LAST
    assert list(here.iterdir()) == []


def test_random_directions_are_their_own_null(tiny: Any) -> None:
    result = _check(tiny.base(), tiny.adapter(), "--dtype", "float32")

    assert abs(float(Z.findall(result.stdout)[0])) < 3
    assert "no further than random weights of that size" in result.stdout


def test_the_same_each_time(tiny: Any) -> None:
    one, other = (_check(tiny.base(), tiny.adapter()).stdout for _ in range(2))

    assert one == other


def test_a_dead_adapter_is_12(tiny: Any) -> None:
    with pytest.raises(NotComparable, match="adapter is a no-op: lora_B is all zeros") as caught:
        _check(tiny.base(), tiny.adapter(dead=True))

    assert caught.value.exit_code == 12


def test_a_whole_model_has_no_null(tiny: Any) -> None:
    result = _check(tiny.base(), tiny.base(seed=1))

    assert re.search(r"moved  KL\(base‖tuned\) \d", result.stdout)
    assert "no null adapter: tuned is a whole model" in result.stdout
    assert result.stdout.splitlines()[-1] == LAST


def test_a_model_that_no_longer_stops_is_1(tiny: Any, here: Path) -> None:
    """Base ends its answers by itself; tuned has lost all but one of the end markers."""
    file = "generation_config.json"
    tuned = _copied(tiny.base(seed=1), here / "tuned", file, eos_token_id=0)
    result = _check(tiny.base(), tuned)

    alarm = r"^ALARM: tuned ended by itself on [0-6] of 12 prompts, base on \d+$"
    assert re.search(alarm, result.stdout, re.MULTILINE)
    assert "nothing alarming" not in result.stdout
    assert result.stdout.splitlines()[-1] == LAST
    assert result.exit_code == 1


def test_without_a_chat_template(tiny: Any, here: Path) -> None:
    base = _copied(tiny.base(), here / "base", "config.json")
    (base / "chat_template.jinja").unlink()
    result = _check(base, tiny.adapter())

    assert "note   no chat template: the prompts are sent as written" in result.stdout
    assert result.stdout.splitlines()[-1] == LAST


def test_identical_weights_are_12(tiny: Any) -> None:
    with pytest.raises(NotComparable, match="identical weights"):
        _check(tiny.base(), tiny.base())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["base", "scripted:x.toml"], "scripted:x.toml: a check needs models that compute here"),
        (["replay:run", "tuned"], "replay:run: a check needs models that compute here"),
        (["./nowhere"], "./nowhere: no such folder; give a model folder"),
        (["mlx:./nowhere"], "./nowhere: no such folder; give a model folder"),
        (["server:http://127.0.0.1:1/v1#m"], "m: a check needs models that compute here"),
        (["a", "b", "c"], "3 models; give two, as in `tunegate check BASE TUNED`"),
        (["a", "b", "--dtype", "float3"], "unknown number format 'float3'"),
    ],
)
def test_a_mistake_is_one_line_and_2(arguments: list[str], message: str) -> None:
    """What is wrong and what would be right; nothing is opened."""
    with pytest.raises(TunegateError) as caught:
        _check(*arguments)

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_an_engine_beside_a_folder_is_one_line_and_2(tiny: Any) -> None:
    with pytest.raises(TunegateError, match="give two engines, or two model folders") as caught:
        _check(tiny.base(), f"mlx:{tiny.base()}")

    assert caught.value.exit_code == 2


def test_a_whole_model_alone_needs_its_base(tiny: Any) -> None:
    """Only an adapter names its base; the sentence says how to name it for other folders."""
    with pytest.raises(TunegateError, match="give it with `tunegate check BASE TUNED`") as caught:
        _check(tiny.base())

    assert caught.value.exit_code == 2


def test_an_answer_cannot_steer_the_terminal() -> None:
    from tunegate.harness.cli.check import LONGEST, _format_answer

    assert _format_answer("a\n\x1b[31m b") == "a \\u001b[31m b"
    assert len(_format_answer("x" * 500)) == LONGEST
    assert _format_answer(" \n") == "(nothing)"


@needs_gguf
def test_a_gguf_file_is_looked_at_like_a_folder(tiny: Any, tmp_path_factory: Any) -> None:
    """Unpacked, its logits can be had; no null adapter is drawn, since it is not an adapter."""
    from tests.gguf_writer import write_gguf

    place = tmp_path_factory.mktemp("file")
    few_stops(tiny.base(seed=3), place / "model")
    write_gguf(place / "model", place / "m.gguf", "Q8_0")
    text = _check(tiny.base(), f"gguf:{place / 'm.gguf'}").stdout

    assert "alive  proven: logits change by up to " in text
    assert "no null adapter: " in text
