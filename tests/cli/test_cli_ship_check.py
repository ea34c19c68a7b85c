"""tunegate ship-check: each artifact of an adapter made, asked, compared, and told in a table."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.fake_vllm import make_environment
from tests.tiny_models import SUITE_CASES as N
from tests.tiny_models import write_suite
from tunegate.harness.cli.ship_check import ship_check
from tunegate.harness.records.errors import ModelError, UnknownName, UsageError

SUITE = """
name = "tiny"
cases = "cases.jsonl"

[generation]
template = "none"
max_new_tokens = 6

[[metrics]]
use = "exact_match"
[[metrics]]
use = "latency"

[[gates]]
metric = "exact_match"
floor = 0.9
gain = 0.1
[[gates]]
metric = "latency"
tolerance = "50%"
"""


@pytest.fixture(name="suite")
def _suite(tiny: Any, ask: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a suite whose right answers are the tiny adapter's own; go to its folder."""
    monkeypatch.chdir(tmp_path)
    return write_suite(tmp_path / "suite", SUITE, tiny, ask)


def check(base: Path, adapter: Path, suite: Path, **options: Any) -> int:
    """Run the command and return its exit code."""
    with pytest.raises(typer.Exit) as ended:
        ship_check([str(base), str(adapter)], [str(suite)], **options)
    return int(ended.value.exit_code)


def test_a_merge_passes(tiny: Any, suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Size, answers, divergence, metric, step and outcome are told; nothing else is left behind."""
    code = check(tiny.base(), tiny.adapter(), suite, artifacts="merged")

    told = capsys.readouterr().out
    assert code == 0
    assert "merged: merged into the weights, saved in float32" in told
    assert "  equivalent: the adapter merged into the weights" in told
    assert f"  tiny: {N} of {N} answers equal; KL(tuned‖shipped) " in told
    within = f"100 % in both (90 % CI −4.9 to +4.9) on {N} cases: within ±5 points"
    assert f"    exact_match is {within}" in told
    assert "latency" not in told
    row = next(line for line in told.splitlines() if line.startswith("merged  "))
    name, _, unit, answers, divergence, outcome = row.split()
    assert (name, unit, answers, outcome) == ("merged", "MB", f"{N}/{N}", "equivalent")
    assert 0 <= float(divergence) < 1e-6
    assert sorted(p.name for p in Path.cwd().iterdir()) == [".tunegate", "suite"]


def test_an_adapter_names_its_base_and_the_folder_has_its_suites(tiny: Any, suite: Path) -> None:
    """Nothing but the adapter is typed."""
    suite.rename("suites")

    with pytest.raises(typer.Exit) as ended:
        ship_check([str(tiny.adapter())], artifacts="merged")
    assert ended.value.exit_code == 0


def test_what_an_artifact_has_of_base_is_told_each_time(
    tiny: Any, suite: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = shutil.copytree(tiny.base(), suite.parent / "base")
    (base / "LICENSE").write_text("Apache", encoding="utf-8")

    for _ in range(2):
        assert check(base, tiny.adapter(), suite, artifacts="merged", folder=Path("out")) == 0
        assert "  kept from base, untrained: LICENSE\n" in capsys.readouterr().out


def test_the_folder_keeps_the_artifacts(tiny: Any, suite: Path) -> None:
    for _ in range(2):
        assert (
            check(tiny.base(), tiny.adapter(), suite, artifacts="merged", folder=Path("out")) == 0
        )
    weights = Path("out/merged/model.safetensors")
    before = weights.stat().st_mtime_ns

    check(tiny.base(), tiny.adapter(), suite, artifacts="merged", folder=Path("out"))

    assert weights.stat().st_mtime_ns == before


def test_an_artifact_made_elsewhere_is_named_by_its_spec(
    tiny: Any, suite: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder is compared as it is, next to an artifact that is made; its size is in the table."""
    check(tiny.base(), tiny.adapter(), suite, artifacts="merged", folder=Path("out"))
    capsys.readouterr()
    code = check(tiny.base(), tiny.adapter(), suite, artifacts="out/merged,merged")

    told = capsys.readouterr().out
    assert code == 0
    assert "out/merged: made elsewhere" in told
    rows = [line.split() for line in told.splitlines() if line.endswith("  equivalent")]
    assert [row[0] for row in rows] == ["out/merged", "merged"]
    assert float(rows[0][1]) > 0
    assert [row[-1] for row in rows] == ["equivalent"] * 2


@pytest.mark.long  # a server loads the merged model in a process of its own
def test_an_artifact_in_vllm_is_proven_and_compared(
    tiny: Any, suite: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is started, compared with its own weights, asked, and ended; another's are refused."""
    monkeypatch.setenv("TUNEGATE_VLLM", str(make_environment(Path("env").absolute())))
    monkeypatch.delenv("TUNEGATE_SERVER_KEY", raising=False)
    check(tiny.base(), tiny.adapter(), suite, artifacts="merged", folder=Path("out"))
    capsys.readouterr()
    code = check(tiny.base(), tiny.adapter(), suite, artifacts="vllm:out/merged?dtype=float32")

    told = capsys.readouterr().out
    assert code == 0, told
    assert "  starting vLLM 0.32.0 on the CPU for shipped" in told
    assert "to prove what is served" in told
    assert "declared, not proven" not in told
    row = next(
        line for line in told.splitlines() if line.startswith("vllm:out/merged?dtype=float32  ")
    )
    assert row.split()[-1] == "equivalent"
    assert float(row.split()[1]) > 0


def test_the_worst_artifact_decides(
    tiny: Any, suite: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A merge of another adapter is not equivalent: exit 1, whatever the others are."""
    from tunegate.trainers.artifacts import DeploymentArtifact, merged

    right, _ = merged.ARTIFACTS

    def wrong(base: Path, adapter: Path, out: Path) -> str:
        return right.make(base, tiny.adapter(seed=5), out)

    both = (right, DeploymentArtifact("merged_16bit", "another adapter's", wrong))
    monkeypatch.setattr(merged, "ARTIFACTS", both)
    code = check(tiny.base(), tiny.adapter(), suite, artifacts="merged,merged_16bit")

    told = capsys.readouterr().out.splitlines()
    assert code == 1
    assert any(line.startswith("merged  ") and line.endswith("  equivalent") for line in told)
    assert any(
        line.startswith("merged_16bit  ") and line.endswith("  not equivalent") for line in told
    )


def test_an_artifact_without_the_adapter_is_not_comparable(
    tiny: Any, suite: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ships is base: exit 12 and the reason in one line."""
    import shutil

    from tunegate.trainers.artifacts import DeploymentArtifact, merged

    def lost(base: Path, adapter: Path, out: Path) -> str:
        shutil.copytree(base, out, dirs_exist_ok=True)
        return str(out)

    monkeypatch.setattr(merged, "ARTIFACTS", (DeploymentArtifact("merged", "lost", lost),))
    code = check(tiny.base(), tiny.adapter(), suite, artifacts="merged")

    assert code == 12
    assert "  not comparable: base and shipped have identical weights: the fine-tune was lost" in (
        capsys.readouterr().out
    )


def test_a_missing_library_is_one_line(
    tiny: Any, suite: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others go on; asked for by name, what cannot be made leaves the check incomplete."""
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "bitsandbytes" else real(name)
    )

    code = check(tiny.base(), tiny.adapter(), suite, artifacts="four_bit,merged")

    told = capsys.readouterr().out
    assert code == 13
    assert "  left out: a 4-bit artifact needs packages that are not installed: pip install" in told
    assert any(
        line.startswith("merged") and line.endswith("equivalent") for line in told.split("\n")
    )


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"artifacts": "mergd"}, UnknownName, "unknown artifact 'mergd'; did you mean 'merged'"),
        ({"dtype": "int3"}, UsageError, "unknown number format 'int3'"),
        ({"models": ["suite"]}, UsageError, "suite: not an adapter"),
        ({"models": ["suite", "./nowhere"]}, ModelError, "./nowhere: no such folder"),
        ({"models": ["a", "b", "c"]}, UsageError, "3 models; give"),
        ({"suite": ["nowhere"]}, UsageError, "nowhere: no such suite"),
    ],
)
def test_mistakes_cost_nothing(
    tiny: Any, suite: Path, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Each is one line before anything is made or asked."""
    right = {"models": [str(tiny.base()), str(tiny.adapter())], "suite": [str(suite)]}
    (suite / "config.json").write_text("{}", encoding="utf-8")  # a model, and no adapter

    with pytest.raises(error, match=message):
        ship_check(**{**right, **change})
    assert not Path(".tunegate").exists()
