"""docs/reference/metrics.md: made from the docstrings, complete and fresh."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.contracts import lookup

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
NAMES = lookup.available_names("tunegate.harness.metrics")


@pytest.fixture(name="maker", scope="module")
def _maker() -> Any:
    """The script that writes the page."""
    spec = importlib.util.spec_from_file_location("make_metrics", FOLDER / "make_metrics.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_fresh(maker: Any) -> None:
    """Whoever changes a metric runs `python docs/reference/make_metrics.py`."""
    assert maker.PAGE.read_text(encoding="utf-8") == maker.render()


def test_each_metric_has_a_page_entry_that_its_name_leads_to(maker: Any) -> None:
    text = maker.render()

    assert [name for name in NAMES if f"](#{name})" not in text] == []
    assert [name for name in NAMES if f"\n## {name}\n" not in text] == []
