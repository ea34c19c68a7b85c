"""The libraries that tunegate is installed beside: what an installed version lacks is one line."""

from __future__ import annotations

import ctypes
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.contracts import environment
from tunegate.harness.records.errors import UsageError


def without(monkeypatch: pytest.MonkeyPatch, module: str, **versions: str) -> None:
    """Make a module missing, and packages installed in these versions."""
    find = importlib.util.find_spec

    def other(name: str, package: str | None = None) -> Any:
        return None if name == module else find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", other)
    monkeypatch.setattr(environment, "installed_versions", lambda names: versions)


def test_ppo_of_a_newer_trl_names_the_maintained_road(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "trl.experimental.ppo", trl="1.16.0")

    with pytest.raises(UsageError) as caught:
        environment.require_feature("ppo", "tunegate train ppo")

    assert str(caught.value).startswith("tunegate train ppo: needs trl<1.13, installed is 1.16.0; ")
    assert "`tunegate train rloo` or `train grpo` with `--reward_model FOLDER`" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_command_itself_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """`tunegate train ppo` asks before it reads rows or loads a model."""
    pytest.importorskip("trl")
    from tunegate.trainers import ppo

    without(monkeypatch, "trl.experimental.ppo", trl="1.16.0")
    lines: list[str] = []

    assert 2 == ppo.run(["--train_files", "nowhere.jsonl"], say=lines.append)
    assert lines[0].startswith("error: tunegate train ppo: needs trl<1.13")


def test_what_is_there_is_not_refused() -> None:
    """A feature is asked for by its module; nothing is compared."""
    feature = environment.LibraryFeature("json.decoder", "json", ">=0", "nothing")
    missing = environment.LibraryFeature("json.encoder.more", "json", ">=9", "nothing")
    environment.FEATURES.update({"here": feature, "gone": missing})
    try:
        environment.require_feature("here", "x")
        assert not environment.has_feature("gone")
    finally:
        del environment.FEATURES["here"], environment.FEATURES["gone"]


def test_files_of_gguf_are_refused_before_they_are_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Transformers 5.16 has no way to read them exactly; the line names the version that has."""
    without(monkeypatch, "transformers.integrations.gguf", transformers="5.16.1")

    with pytest.raises(UsageError, match=r"gguf:x: needs transformers>=5.18, installed is 5.16.1"):
        environment.require_feature("gguf", "gguf:x")


STACKS = (
    environment.StackRecord(
        "older",
        "2026-11-01",
        {"python": "3.11.7", "torch": "2.10.0", "transformers": "5.16.1", "peft": "0.18.1"},
    ),
    environment.StackRecord(
        "newer",
        "2026-11-02",
        {"python": "3.13.0", "torch": "2.15.0", "transformers": "5.24.0", "peft": "0.21.2"},
    ),
)
OLDER, NEWER = (dict(stack.versions) for stack in STACKS)


@pytest.mark.parametrize(
    ("installed", "status", "said"),
    [
        # the first two numbers decide; a build's own mark does not count
        (
            NEWER | {"torch": "2.15.1+cpu", "transformers": "5.24.3", "peft": "0.21.0"},
            "tested",
            "major and minor versions of the stack 'newer' (2026-11-02): "
            "python 3.13.0, torch 2.15.1+cpu",
        ),
        # without PEFT the rest decides
        (
            {"python": "3.11.9", "torch": "2.10.0", "transformers": "5.16.0"},
            "tested",
            "of the stack 'older'",
        ),
        (
            NEWER | {"transformers": "5.16.0"},
            "between tested ends",
            "nearest stack 'newer' differs in transformers 5.16.0 (there: 5.24.0)",
        ),
        # another Python is another combination
        (
            OLDER | {"python": "3.12.1"},
            "between tested ends",
            "nearest stack 'older' differs in python 3.12.1 (there: 3.11.7)",
        ),
        (
            NEWER | {"transformers": "5.25.0", "peft": "0.17.0"},
            "untested",
            "transformers 5.25.0 (tested: 5.16 to 5.24), peft 0.17.0 (tested: 0.18 to 0.21)",
        ),
        (NEWER | {"python": "3.14.0"}, "untested", "python 3.14.0 (tested: 3.11 to 3.13)"),
        # 5.9 is older than 5.16, although its text sorts behind it
        (OLDER | {"transformers": "5.9.0"}, "untested", "transformers 5.9.0 (tested: 5.16"),
        # a package that no stack has was not tested with the others
        (NEWER | {"trl": "1.16.0"}, "untested", "trl 1.16.0 (no version of it was tested)"),
    ],
)
def test_a_combination_is_compared_with_the_tested_ones(
    installed: dict[str, str], status: str, said: str
) -> None:
    found = environment.explain_combination(installed, STACKS)

    assert found is not None
    assert status == found[0]
    assert said in found[1]


def test_a_package_of_another_stack_alone_is_not_tested_with_this_one() -> None:
    with_trl = environment.StackRecord("trainer", "2026-11-01", OLDER | {"trl": "1.9.0"})

    found = environment.explain_combination(NEWER | {"trl": "1.9.0"}, (STACKS[1], with_trl))

    assert found is not None
    assert found[0] is environment.CombinationStatus.BETWEEN
    assert "nearest stack 'newer' differs in trl 1.9.0 (there: none)" in found[1]


def test_without_any_tested_stack_everything_is_untested() -> None:
    found = environment.explain_combination(NEWER, ())

    assert found is not None
    assert found[0] is environment.CombinationStatus.UNTESTED


def test_without_a_model_library_there_is_no_combination() -> None:
    assert environment.explain_combination({"pydantic": "2.14"}, STACKS) is None


def test_the_tested_stacks_are_within_the_ranges_of_the_extras() -> None:
    from packaging.version import Version

    from tunegate.harness.cli.doctor import extra_requirements

    stacks = {stack.name: stack.versions for stack in environment.tested_stacks()}
    hf = {one.name: one.specifier for one in extra_requirements()["hf"]}

    assert {"oldest", "newest"} <= set(stacks)
    for versions in stacks.values():
        assert all(hf[n].contains(v.partition("+")[0]) for n, v in versions.items() if n in hf)
    assert hf["transformers"].contains(stacks["oldest"]["transformers"])
    assert Version(stacks["oldest"]["trl"]) < Version("1.10") < Version(stacks["newest"]["trl"])


def test_free_memory_is_what_the_system_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux counts what it can give up, in kibibytes, and a container what is left of its limit;
    a system that tells nothing has a quarter of its memory, or none.
    """
    real = Path.read_text
    told = {"/proc/meminfo": "MemTotal: 16000 kB\nMemAvailable:    2048 kB\n"}

    def read(path: Path, *_: Any, **__: Any) -> str:
        return told[str(path)] if str(path) in told else real(path)

    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr(environment, "CONTROL_GROUP", tmp_path)
    assert environment.available_memory() == 2048 * 1024

    for name, text in {
        "memory.max": "max\n",
        "memory.current": "900000\n",
        "memory.stat": "anon 500000\ninactive_file 300000\n",
    }.items():
        (tmp_path / name).write_text(text)
    assert environment.available_memory() == 2048 * 1024
    (tmp_path / "memory.max").write_text("1000000\n")
    assert environment.available_memory() == 1_000_000 - 900_000 + 300_000
    (tmp_path / "memory.max").unlink()

    told["/proc/meminfo"] = "MemTotal: 16000 kB\n"
    pages = {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr("os.sysconf", pages.get)
    assert environment.available_memory() == 1_024_000
    monkeypatch.delattr("os.sysconf")
    assert environment.available_memory() == 0


FRAGMENTED = """
import ctypes
from tunegate.harness.contracts.environment import return_freed_memory

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
blocks = [libc.malloc(ctypes.c_size_t(100_000)) for _ in range(2_000)]
for block in blocks:
    ctypes.memset(block, 1, 100_000)
for block in blocks[:-1]:  # the last one keeps the others below it
    libc.free(ctypes.c_void_p(block))
held = resident()
return_freed_memory()
print(held - resident())
"""


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"),
    reason="this C library keeps nothing",
)
def test_freed_memory_below_other_blocks_goes_back_to_the_system() -> None:
    """Of 200 MB that glibc keeps below one block in use, nearly all."""
    done = subprocess.run(
        [sys.executable, "-c", FRAGMENTED], capture_output=True, text=True, check=True, timeout=60
    )

    assert int(done.stdout) > 150_000_000
