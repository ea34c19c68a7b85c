"""A pipe given as a file is refused in one line: reading it would wait for a writer for ever."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tunegate.harness.cli._guess_format import cases_table
from tunegate.harness.judges.backends.scripted import scripted as scripted_judge
from tunegate.harness.models.adapters.weight_files import read_json
from tunegate.harness.models.replay import replay
from tunegate.harness.models.scripted import scripted
from tunegate.harness.production.guardrail.check_rates import read_labelled_texts
from tunegate.harness.records.errors import TunegateError
from tunegate.harness.records.labels import read_labels
from tunegate.harness.results._files import csv_records, json_document, json_lines
from tunegate.harness.run.ledger_file import read_ledger
from tunegate.harness.suite import load_suite
from tunegate.trainers.datasets import guess_file_format
from tunegate.trainers.yaml_config import read_config

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
TEMPLATE = (
    'name = "s"\ncases = "c.jsonl"\n[generation]\nchat_template = "t.jinja"\n'
    '[[metrics]]\nuse = "exact_match"\n'
)


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    def fail(number: int, frame: FrameType | None) -> None:
        pytest.fail("it waited for a writer")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def _suite_with_template(path: Path) -> Any:
    path.rename(path.with_name("t.jinja"))
    (path.parent / "suite.toml").write_text(TEMPLATE, encoding="utf-8")
    (path.parent / "c.jsonl").write_text('{"prompt": "q", "expected": "a"}\n', encoding="utf-8")
    return load_suite(path.parent)


READERS: dict[str, Callable[[Path], Any]] = {
    "suite": load_suite,
    "chat template": _suite_with_template,
    "new suite from JSON lines": lambda path: cases_table(path, path.parent),
    "replayed answers": lambda path: replay(str(path)),
    "scripted model": lambda path: scripted(str(path)),
    "scripted judge": lambda path: scripted_judge(str(path)),
    "labels": read_labels,
    "ledger": read_ledger,
    "configuration of a model": read_json,
    "texts of the guardrail": read_labelled_texts,
    "results in JSON lines": lambda path: list(json_lines(path)),
    "results in JSON": json_document,
    "results in CSV": lambda path: list(csv_records(path, ",")),
    "training rows": lambda path: guess_file_format(str(path)),
    "training configuration": lambda path: read_config(path, allowed=()),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_pipe_is_refused_in_one_line(tmp_path: Path, reader: str) -> None:
    path = tmp_path / "file.jsonl"
    os.mkfifo(path)
    with pytest.raises(TunegateError) as refused:
        READERS[reader](path)
    assert "\n" not in str(refused.value)
