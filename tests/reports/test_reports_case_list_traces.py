"""A run's page names the spans of its cases, and links to a viewer that is known."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.records.run_folder import Run
from tunegate.harness.telemetry.export import viewer
from tunegate.reports import page
from tunegate.reports.case_list import trace_viewer

JAEGER = "http://localhost:16686/trace/{trace_id}?uiFind={span_id}"


def _viewed(run: Run, link: str) -> Run:
    """Return the run as one that was made with a viewer."""
    origin = {viewer.ORIGIN: link}
    return replace(run, manifest=run.manifest.model_copy(update={"origin": origin}))


def _inside(run: Run, name: str) -> Any:
    """Return one of the JSON texts of the page."""
    found = re.search(f'id="{name}">(.*?)</script>', page.render_page(run), re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_a_run_without_traces_names_none(make_run: Any) -> None:
    run = make_run("BLOCK")

    assert trace_viewer(run) is None
    assert "trace" not in {k for k, v in _inside(run, "index").items() if v}
    assert [body for body in _inside(run, "texts") if "span" in body] == []


def test_a_case_has_the_id_of_its_span(make_run: Any, tmp_path: Path) -> None:
    """Every case another one, as traces.jsonl has them; no link where no viewer is known."""
    run = replace(make_run("BLOCK"), folder=tmp_path)
    (tmp_path / "traces.jsonl").touch()
    known = trace_viewer(run)
    assert known is not None

    rows, bodies = _inside(run, "index"), _inside(run, "texts")

    assert rows["trace"] == {"id": known.ids.trace_id, "link": None}
    expected = [known.ids.span("case", row["suite"], row["id"]) for row in rows["cases"]]
    assert [body["span"] for body in bodies] == expected
    assert len(set(expected)) == len(expected) == 106


@pytest.mark.parametrize(
    ("link", "shown"), [(JAEGER, JAEGER), ("javascript:alert('{trace_id}')", None), ("{", None)]
)
def test_only_a_link_to_a_web_page_is_on_the_page(
    make_run: Any, link: str, shown: str | None
) -> None:
    assert _inside(_viewed(make_run("BLOCK"), link), "index")["trace"]["link"] == shown
