"""`tunegate promote` and `tunegate card`: what was shipped is on record, and on the adapter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tunegate.harness.cli import app
from tunegate.harness.decision.verdict import promotions
from tunegate.harness.models.adapters.weight_files import weights_fingerprint
from tunegate.harness.records.errors import UsageError
from tunegate.harness.run.promoted import resolve_incumbent

SHIPPED = Path(promotions.FILE_NAME)


def _tunegate(*args: str) -> str:
    """Run a command in this process; errors of ours pass through, as to `main`."""
    result = CliRunner().invoke(app, list(args), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def shipped(project: Any) -> Any:
    """Return a project with a run that ends in SHIP."""
    project.suite()
    assert project.gate(*project.models()).ret == 0
    return project


def _adapter(project: Any, weights: bytes = b"weights") -> Path:
    """Write an adapter, and make the project's run one of it."""
    folder = Path(project.path / "adapter")
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(weights)
    config = {"base_model_name_or_path": "org/base", "peft_type": "LORA"}
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    for file in ("manifest.json", "verdict.json"):
        record = json.loads((project.run / file).read_text(encoding="utf-8"))
        record["arms"]["tuned"] |= {
            "adapter_sha256": weights_fingerprint(folder),
            "spec": "adapter",
        }
        (project.run / file).write_text(json.dumps(record), encoding="utf-8")
    return folder


def test_a_shipped_run_is_recorded(shipped: Any) -> None:
    """Run, verdict, spec and the suites it was judged on; a second time changes nothing."""
    output = _tunegate("promote", "run")

    (record,) = promotions.read_promotions(SHIPPED)
    verdict = shipped.verdict()
    assert (record.run_id, record.verdict, record.reason) == (verdict["run_id"], "SHIP", None)
    assert record.spec == verdict["arms"]["tuned"]["spec"]
    assert record.suites == {"demo": verdict["suites"][0]["hash"]}
    assert "--incumbent promoted" in output
    assert "is already the newest entry" in _tunegate("promote", "run")
    assert len(promotions.read_promotions(SHIPPED)) == 1


def test_what_does_not_ship_takes_a_reason(project: Any) -> None:
    """BLOCK is refused; with a reason it is recorded together with it."""
    project.suite()
    project.gate(*project.models(base=90, tuned=10))

    with pytest.raises(UsageError, match=r"the verdict is BLOCK, not SHIP; .*--anyway REASON"):
        _tunegate("promote", "run")
    assert not SHIPPED.exists()

    _tunegate("promote", "run", "--anyway", "the law changed")
    assert promotions.read_promotions(SHIPPED)[0].reason == "the law changed"


def test_promoted_is_the_newest(shipped: Any) -> None:
    _tunegate("promote", "run")
    next_model = shipped.model("next", 97)

    result = shipped.pytest_here(
        "suites",
        "--gate-run-dir=second",
        f"--gate-base={shipped.model('base', 30)}",
        f"--gate-tuned={next_model}",
        "--gate-incumbent=promoted",
    )

    assert result.ret == 0
    arms = shipped.verdict(Path("second"))["arms"]
    assert arms["incumbent"]["spec"] == f"scripted:{shipped.path / 'tuned.json'}"
    assert resolve_incumbent("out/adapter") == "out/adapter"
    assert resolve_incumbent(None) is None


def test_nothing_promoted_is_a_mistake_that_is_told(project: Any) -> None:
    with pytest.raises(UsageError, match=r"no shipped\.jsonl here; `tunegate promote RUN`"):
        resolve_incumbent("promoted")


def test_other_weights_in_the_promoted_folder_are_refused(shipped: Any) -> None:
    """The next training went into the same folder: it would be compared with itself."""
    folder = _adapter(shipped)
    _tunegate("promote", "run")
    assert resolve_incumbent("promoted") == "adapter"
    (folder / "adapter_model.safetensors").write_bytes(b"newer")

    with pytest.raises(UsageError, match="adapter: other weights than those promoted with run"):
        resolve_incumbent("promoted")


def test_a_card_is_written_and_read_back(shipped: Any) -> None:
    from huggingface_hub import ModelCard

    folder = _adapter(shipped)

    output = _tunegate("card", "run", "--adapter", "adapter")

    card = ModelCard.load(folder / "README.md")
    gate = shipped.verdict()["suites"][0]["gates"][0]
    assert output.endswith("\nwrote adapter/README.md: SHIP\n")
    assert card.data.base_model == "org/base"
    (level,) = card.data.eval_results
    assert (level.dataset_type, level.metric_value) == ("demo", gate["tuned"])
    assert "✓ SHIP" in card.text
    assert [p.name for p in folder.iterdir() if p.name.startswith(".")] == []


def test_the_card_of_other_weights_is_refused(shipped: Any) -> None:
    folder = _adapter(shipped)
    (folder / "adapter_model.safetensors").write_bytes(b"others")

    with pytest.raises(UsageError, match="adapter: not the weights that run judged"):
        _tunegate("card", "run", "--adapter", "adapter")
    with pytest.raises(UsageError, match="nowhere: no such folder"):
        _tunegate("card", "run", "--adapter", "nowhere")

    assert not (folder / "README.md").exists()


def test_recorded_answers_prove_no_weights(shipped: Any) -> None:
    Path("adapter").mkdir()

    output = _tunegate("card", "run", "--adapter", "adapter")

    assert "note: the run does not know the weights it judged" in output
    assert "not proven here" in Path("adapter/README.md").read_text(encoding="utf-8")
