"""The notebooks under examples/: the recorded one runs, and both hold no outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples" / "notebook"


def html_outputs(notebook: Any) -> list[str]:
    """Return the HTML of the cells."""
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", ()))
    return [html for o in outputs if (html := o.get("data", {}).get("text/html"))]


def test_the_recorded_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(EXAMPLES / "recorded_answers.ipynb", as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}

    nbclient.NotebookClient(notebook, timeout=120, resources=resources).execute()

    ship, frame, block = html_outputs(notebook)
    assert "SHIP" in ship
    assert "routing: exactly right answers rose" in ship
    assert ship.count("<tr class=") == 4
    assert "data:text/html" in frame
    assert "BLOCK" in block
    assert "a proven loss where a gain was asked" in block
    assert len(list((tmp_path / ".tunegate/runs").iterdir())) == 2


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda path: path.name)
def test_a_notebook_is_python_and_kept_without_outputs(path: Path) -> None:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]

    assert not any(cell.get("outputs") for cell in cells)
    for cell in cells:
        if cell["cell_type"] == "code":
            compile("".join(cell["source"]), path.name, "exec", dont_inherit=True)
