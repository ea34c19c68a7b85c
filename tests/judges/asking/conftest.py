"""Tasks that judges are given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tunegate.harness.contracts import lookup
from tunegate.harness.contracts.judge import Judge
from tunegate.harness.judges.asking.judge_model import JudgementTask
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case


@pytest.fixture(name="rubric")
def _rubric() -> Judge:
    """The rubric with one criterion."""
    found = lookup.find_object("tunegate.harness.judges", "rubric", what="judge")
    assert isinstance(found, Judge)
    return replace(found, options={"criteria": "Apologises."})


@pytest.fixture(name="task")
def _task(rubric: Judge) -> Callable[..., JudgementTask]:
    def make(
        text: str, *, case: str = "c1", judge: Judge | None = None, **more: Any
    ) -> JudgementTask:
        record = Case(id=case, prompt="My parcel is late.", **more)
        return JudgementTask("civil", judge or rubric, record, (Completion(text=text),))

    return make
