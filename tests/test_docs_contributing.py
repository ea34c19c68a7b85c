"""The examples of docs/contributing work: each is a file in its folder, found by its name.

The examples of a gate kind and a source are in the tests of their contracts.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.reports.conftest import build_run
from tunegate.harness.contracts import lookup
from tunegate.harness.contracts.judge import JudgeAnswer, JudgeQuestion
from tunegate.harness.judges.asking.conversation import AskedJudgeModel
from tunegate.harness.judges.asking.judge_model import JudgementTask
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.reports import page, templating
from tunegate.reports.data import prepare_data
from tunegate.trainers import datasets

PAGES = Path(__file__).parents[1] / "docs" / "contributing"
METRICS, JUDGES = "tunegate.harness.metrics", "tunegate.harness.judges"
CASE = Case(id="a", prompt="Which city?", expected="Rome")


def examples(name: str, language: str = "python") -> list[str]:
    """Return the code of a page, block by block."""
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture(name="put")
def _put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Return a function that puts texts into the folder of a room, outside of the repository."""
    added: list[tuple[str, str]] = []

    def put(room: str, name: str, code: str, **others: str) -> None:
        folder = tmp_path / room
        folder.mkdir()
        for suffix, text in {"py": code, **others}.items():
            (folder / f"{name}.{suffix}").write_text(text, encoding="utf-8")
        package = importlib.import_module(room)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
        added.append((room, name))

    yield put
    for room, name in added:
        sys.modules.pop(f"{room}.{name}", None)
        vars(sys.modules[room]).pop(name, None)


def test_the_metric(put: Callable[..., None]) -> None:
    """It scores 1 where the answer names the expected city, and takes its option."""
    put(METRICS, "names_city", *examples("metric"))

    metric = lookup.find_object(METRICS, "names_city", what="metric")

    assert metric(CASE, Completion(text="It is Rome.")).value == 1.0
    assert metric(CASE, Completion(text="It is rome.")).value == 0.0
    assert metric(CASE, Completion(text="rome"), ignore_case=True).value == 1.0
    assert metric(CASE, Completion()).value is None


@dataclass(frozen=True)
class FixedJudge:
    """Gives the same verdict on everything."""

    word: str
    fingerprint: str = "fixed"
    identity: Mapping[str, Any] = field(default_factory=dict)

    def ask(self, questions: Mapping[str, JudgeQuestion]) -> Iterator[JudgeAnswer]:
        """Answer each question with the word."""
        for key, asked in questions.items():
            fields = {name: self.word if name == asked.choice else "" for name in asked.fields}
            text = json.dumps({"nonce": asked.nonce, **fields})
            yield JudgeAnswer(key, Completion(text=text), None, 0.0)


def test_the_judge(put: Callable[..., None]) -> None:
    (judge_code,), (prompt,) = examples("judge"), examples("judge", "text")
    put(JUDGES, "politeness", judge_code, txt=prompt)

    judge = lookup.find_object(JUDGES, "politeness", what="judge")
    task = JudgementTask("politeness", judge, CASE, (Completion(text="Rome, with pleasure."),))
    scores = {}
    for word in ("polite", "neutral", "rude"):
        ((_, outcome),) = AskedJudgeModel(FixedJudge(word)).judge([task])
        assert outcome.score is not None, outcome.error
        scores[word] = outcome.score.value

    assert scores == {"polite": 1.0, "neutral": 0.5, "rude": 0.0}


def test_the_section(put: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found, and lists every case with the length of tuned's answer."""
    from jinja2 import DictLoader

    (template,) = examples("section", "html")
    put("tunegate.reports.sections", "length", *examples("section"))
    whole = templating.template_environment()
    monkeypatch.setattr(whole, "loader", DictLoader({"length.html": template}))
    data = prepare_data(build_run())

    html = page.discover_sections()["length"].render(data)

    assert html.count("<tr>") == len(data.cases) > 0


def test_the_trainer(put: Callable[..., None]) -> None:
    """It takes preference pairs, and has its place among the methods."""
    put("tunegate.trainers", "orpo", *examples("trainer"))

    modules = lookup.ordered_modules("tunegate.trainers")

    assert list(modules).index("reward") + 1 == list(modules).index("orpo")
    assert modules["orpo"].METHOD.name == "orpo"
    assert modules["orpo"].METHOD.rows is datasets.PREFERENCES
