"""The bundled suite `charts`: the script makes its cases, and spoilt answers lose."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tunegate.harness.cli.suite import copy_suite
from tunegate.harness.records.answers import Completion
from tunegate.harness.suite import Suite, load_suite
from tunegate.suites.charts import make

pytest.importorskip("PIL")

FOLDER = Path(__file__).parents[2] / "suites/charts"


@pytest.fixture(scope="module", name="charts")
def _charts() -> Suite:
    return load_suite(FOLDER)


def test_the_cases_are_what_the_script_makes(charts: Suite) -> None:
    lines = (FOLDER / "cases.jsonl").read_text(encoding="utf-8").splitlines()

    made = list(make.cases())

    assert [json.loads(line) for line in lines] == [case for case, _ in made]
    assert len(charts.cases) == 3 * make.EACH == 120
    assert all(len(case.images) == 1 for case in charts.cases)


def test_each_image_is_another_one_and_small(charts: Suite) -> None:
    images = [case.images[0] for case in charts.cases]

    assert len({image.sha256 for image in images}) == 120
    assert {path.stem for path in (FOLDER / "images").iterdir()} == {c.id for c in charts.cases}
    assert max(len(image.read()) for image in images) < 3_000


def test_a_right_number_in_a_sentence_scores_and_another_one_does_not(charts: Suite) -> None:
    (numeric,) = charts.metrics
    for case in charts.cases:
        (right,) = case.expected_texts()

        assert numeric(case, Completion(text=f"It is ${right}.")).value == 1
        assert numeric(case, Completion(text=f"It is {float(right) + 1:g}.")).value == 0


def test_a_copy_takes_its_images_along(tmp_path: Path) -> None:
    copied = copy_suite("charts", tmp_path / "copy")

    assert copied == ["README.md", "cases.jsonl", "images", "suite.toml"]
    assert len(load_suite(tmp_path / "copy").cases) == 120
