"""What a run without a verdict leaves for CI to post."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.cli.gate import run_gate
from tunegate.harness.records.errors import UsageError


@pytest.mark.parametrize(
    ("words", "gates", "said"),
    [
        (["--gate-tuned=nowhere"], "floor = 0.1", "nowhere: no such folder"),
        (["--gate-tuned=nowhere"], "flor = 0.1", "unknown key 'flor'"),
        (["-o", "gate_undecided=x"], "floor = 0.1", "gate_undecided='x' must be one of"),
    ],
    ids=["model", "suite", "option"],
)
def test_a_mistake_leaves_its_sentence(
    project: Any, words: list[str], gates: str, said: str
) -> None:
    project.suite(gates=gates)

    done = project.pytest_here("suites", "--gate-run-dir=run", "--gate-summary=step.md", *words)

    assert done.ret == 4
    texts = [
        Path(name).read_text("utf-8") for name in ("run/comment.md", "run/summary.md", "step.md")
    ]
    assert texts[0] == f"<!-- tunegate -->\n{texts[1]}"
    assert texts[1] == texts[2]
    assert texts[1].startswith("### tunegate: no verdict\n\n```text\n")
    assert said in texts[1]


def test_words_that_cannot_be_read_leave_their_sentence(project: Any) -> None:
    for words in (["--run-dir", "run"], ["--run-dir=run"]):
        with pytest.raises(UsageError):
            run_gate(["nosuites", *words])

        assert "nosuites: no such suite" in Path("run/comment.md").read_text("utf-8")
        Path("run/comment.md").unlink()


def test_nothing_is_written_where_nobody_asked(project: Any) -> None:
    """Neither into a folder called like an option, nor in place of a device such as /dev/stdout."""
    project.suite()
    Path("device").symlink_to("/dev/null")

    with pytest.raises(UsageError, match="needs a value"):
        run_gate(["suites", "--run-dir", "--tuned", "x"])
    refused = project.pytest_here("suites", *project.models(), "--gate-summary=device")

    assert refused.ret == 4
    assert not Path("--tuned").exists()
    assert Path("device").is_symlink()


def test_a_finished_run_stays_and_no_folder_is_made_unasked(project: Any) -> None:
    project.suite()
    project.gate(*project.models(), "--gate-run-dir=run")
    before = Path("run/comment.md").read_bytes()
    runs = [*Path(".tunegate").glob("runs/*")]

    again = project.pytest_here("suites", "--gate-run-dir=run", "--gate-tuned=nowhere")
    unnamed = project.pytest_here("suites", "--gate-tuned=nowhere")

    assert (again.ret, unnamed.ret) == (4, 4)
    assert Path("run/comment.md").read_bytes() == before
    assert [*Path(".tunegate").glob("runs/*")] == runs
