"""`tunegate estimate` as a user types it: mistakes are one line."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "give --model NAME for memory, or --config FILE"),
        (
            ["--model", "x", "--lengths", "many"],
            "--lengths 'many' must be comma-separated whole numbers above 0",
        ),
        (["--model", "x", "--dtype", "int3"], "--dtype 'int3': allowed are float32, bfloat16"),
        (["--model", "x", "--methods", "magic"], "--methods 'magic': allowed are lora, qlora"),
        (["--model", "x", "--trainer", "ppo"], "--trainer 'ppo': allowed are sft, dpo, kto, grpo"),
        (
            ["--model", "x", "--trainer", "grpo", "--lengths", "64", "--written", "64"],
            "--lengths 64: must hold a prompt in addition to 64 written",
        ),
    ],
)
def test_mistakes_are_one_line(project: Any, argv: list[str], words: str) -> None:
    """Exit code 2, before anything is measured."""
    result = project.tunegate("estimate", *argv)

    assert result.ret == 2
    assert words in result.stderr.str() + result.stdout.str()
    assert "Traceback" not in result.stderr.str()
