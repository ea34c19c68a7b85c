"""This repository's own tests: pytester, no network, and the fixtures many rooms share
(tests/README.md lists them).

The plugin itself arrives through its entry point, so `pytest suites/ --gate-base … --gate-tuned …`
works here as in any user's project.
"""

from __future__ import annotations

import gc
import importlib
import io
import json
import os
import pkgutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = [
    "pytester",
    "tests.decided_suites",
    "tests.fake_server",
    "tests.lm_eval_tasks",
    "tests.suite_files",
    "tests.tiny_models",
]

# A machine that is busy with other tests is no defect of a strategy, nor of what is tested.
_BUSY: Any = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("few", **_BUSY)
settings.register_profile("many", max_examples=2000, **_BUSY)
settings.load_profile("few")

ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRL_EXPERIMENTAL_SILENCE": "1",
}
os.environ.pop("CI", None)  # the tests are a desk, but for those that set it
for _name, _value in ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts background jobs with Ctrl-C ignored; the tests of Ctrl-C would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[object]:
    """Collect tests without garbage collection, and keep what is there then out of later ones.

    The tests' modules and items stay to the end; walking them took 7 of 23 seconds of a processor.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give each xdist worker a share of the slow tests first: the last to end are then short ones.

    The files of slow tests are dealt out whole, so that a server is started once.
    """
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    slow: dict[Path, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("slow"):
            slow.setdefault(item.path, []).append(item)
    rest = [item for item in items if not item.get_closest_marker("slow")]
    dealt = []
    for worker in range(workers):
        first, last = (len(rest) * share // workers for share in (worker, worker + 1))
        dealt += [item for one in list(slow.values())[worker::workers] for item in one]
        dealt += rest[first:last]
    items[:] = dealt


_MANY_MODULES = 150
_kept = {"modules": 0}
"""How many modules were loaded when what is there was last kept out of garbage collection."""


@pytest.fixture(autouse=True)
def _libraries_are_no_garbage() -> Iterator[None]:
    """Keep what torch and others have loaded out of later collections.

    Each training ends in a full one, which otherwise walks a million objects of the libraries.
    What libraries leave open (an event loop made while they are imported) is found by whichever
    test collects it first, and says nothing about that test.
    """
    yield
    if len(sys.modules) > _kept["modules"] + _MANY_MODULES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
        gc.freeze()
        _kept["modules"] = len(sys.modules)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections to anything but this machine."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        local = self.family == socket.AF_UNIX or str(address[0]) in ("127.0.0.1", "::1")
        if not local:
            raise OSError(f"the tests have no network: {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture
def scripted(tmp_path: Path) -> Callable[..., str]:
    """Return a function that writes a script file and returns its spec."""

    def write(name: str, **script: Any) -> str:
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(script), encoding="utf-8")
        return f"scripted:{path}"

    return write


@pytest.fixture
def suite_folder(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a suite: its TOML text and its cases."""

    def write(toml: str, cases: list[dict[str, Any]], name: str = "suite") -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "suite.toml").write_text(toml, encoding="utf-8")
        lines = "".join(json.dumps(case) + "\n" for case in cases)
        (folder / "cases.jsonl").write_text(lines, encoding="utf-8")
        return folder

    return write


SUITE = """\
name = "{name}"
cases = "cases.jsonl"

[[metrics]]
use = "exact_match"

[[gates]]
metric = "exact_match"
{gates}
"""
GATES = "floor = 0.2\ngain = 0.1\nexpected_gain = 0.3"
QUIET = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:anyio")
"""Plugins that this machine happens to have and a user's project has no need of."""
TUNEGATE = str(Path(sys.executable).with_name("tunegate"))


@dataclass
class Project:
    """A user's project outside this repository, with suites, scripted models and commands."""

    pytester: pytest.Pytester

    @property
    def path(self) -> Path:
        """The project's folder, which is the current one."""
        return self.pytester.path

    @property
    def run(self) -> Path:
        """The run folder that `gate` names."""
        return self.path / "run"

    def suite(self, name: str = "demo", *, gates: str = GATES, n: int = 100) -> Path:
        """Write a suite whose right answer is always `yes`; return its suite.toml."""
        cases = [{"id": f"c{i:03}", "prompt": f"q{i}", "expected": "yes"} for i in range(n)]
        return self.raw_suite(SUITE.format(name=name, gates=gates), cases, name)

    def raw_suite(self, toml: str, cases: list[Any], name: str = "demo") -> Path:
        """Write a suite as given; a case that is text is written as it is."""
        folder = self.path / "suites" / name
        folder.mkdir(parents=True, exist_ok=True)
        lines = [case if isinstance(case, str) else json.dumps(case) for case in cases]
        (folder / "cases.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (folder / "suite.toml").write_text(toml, encoding="utf-8")
        return folder / "suite.toml"

    def model(self, name: str, right: int, *, n: int = 100, **script: Any) -> str:
        """Write a script that answers the first `right` of n cases correctly; return its spec."""
        answers = {f"c{i:03}": "yes" if i < right else "no" for i in range(n)}
        path = self.path / f"{name}.json"
        path.write_text(json.dumps({"completions": answers, **script}), encoding="utf-8")
        return f"scripted:{path}"

    def models(self, base: int = 30, tuned: int = 95, **script: Any) -> tuple[str, str]:
        """Return the options that name base and tuned; `script` is added to tuned's script."""
        return (
            f"--gate-base={self.model('base', base)}",
            f"--gate-tuned={self.model('tuned', tuned, **script)}",
        )

    def pytest_apart(self, *args: str | Path) -> pytest.RunResult:
        """Run pytest in a process of its own."""
        return self.pytester.runpytest_subprocess(*args, timeout=120)

    def pytest_here(self, *args: str | Path) -> pytest.RunResult:
        """Run pytest in this process, which saves the imports."""
        with kept_libraries() as libraries:
            return self.pytester.runpytest_inprocess("-p", "no:xdist", *args, plugins=[libraries])

    def gate(self, *args: str | Path) -> pytest.RunResult:
        """Run pytest on all suites with the run folder `run`; with workers in new processes."""
        run = self.pytest_apart if "-n" in args else self.pytest_here
        return run("suites", f"--gate-run-dir={self.run}", *args)

    def tunegate(self, *args: str | Path) -> pytest.RunResult:
        """Run the tunegate command in this process, which saves the imports."""
        from tunegate.harness.cli import main

        start, out, err = time.monotonic(), io.StringIO(), io.StringIO()
        argv = [TUNEGATE, *map(str, args)]
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setattr(sys, "argv", argv)
            with pytest.raises(SystemExit) as end:
                main()
        told, said = (stream.getvalue().splitlines() for stream in (out, err))
        return pytest.RunResult(int(end.value.code or 0), told, said, time.monotonic() - start)

    def tunegate_apart(self, *args: str | Path) -> pytest.RunResult:
        """Run the tunegate command in a process of its own."""
        return self.pytester.run(TUNEGATE, *args, timeout=120)

    def start(self, *args: str | Path) -> subprocess.Popen[str]:
        """Start the tunegate command and do not wait for it."""
        command = [TUNEGATE, *map(str, args)]
        return subprocess.Popen(
            command, cwd=self.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def verdict(self, run: Path | None = None) -> dict[str, Any]:
        """Return verdict.json of a run folder."""
        text = ((run or self.run) / "verdict.json").read_text(encoding="utf-8")
        verdict: dict[str, Any] = json.loads(text)
        return verdict

    def stored(self, store: Path | None = None) -> dict[str, int]:
        """Return the attempts of every answer in the store; nothing if there is no store yet."""
        path = store or self.path / ".tunegate" / "store.sqlite"
        if not path.is_file():
            return {}
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)
        try:
            return dict(
                db.execute("SELECT key, attempts FROM cells WHERE status = 'ok'").fetchall()
            )
        except sqlite3.OperationalError:  # the table is not made yet
            return {}
        finally:
            db.close()


ROOMS = (
    "tunegate",
    "tunegate.harness",
    "tunegate.harness.decision.candidates",
    "tunegate.harness.comparison",
    "tunegate.harness.gates",
    "tunegate.harness.decision.gating",
    "tunegate.harness.judges",
    "tunegate.harness.judges.asking",
    "tunegate.harness.judges.backends",
    "tunegate.harness.metrics",
    "tunegate.harness.telemetry.export",
    "tunegate.harness.telemetry.read",
    "tunegate.harness.run",
    "tunegate.harness.plugin",
    "tunegate.harness.decision.planning",
    "tunegate.harness.records",
    "tunegate.harness.suite.sources",
    "tunegate.harness.stats",
    "tunegate.harness.suite",
    "tunegate.harness.decision.verdict",
    "tunegate.reports",
    "tunegate.reports.sections",
)
"""What a gate run may import, each room with its modules."""


@pytest.fixture(scope="session")
def preloaded() -> None:
    """Import what a gate run imports, before pytester takes its snapshot of the modules.

    It would unload them after each test: numpy cannot be loaded twice, and httpx would no longer
    know the errors of an httpcore that was.
    """
    for name in (
        "httpcore",
        "httpx",
        "jinja2",
        "jsonschema",
    ):
        importlib.import_module(name)
    for room in ROOMS:
        package = importlib.import_module(room)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{room}.{module.name}")


@dataclass(eq=False)  # pytest 8.0 puts plugins into a set
class LoadedLibraries:
    """Installed libraries that a test has loaded when pytester is about to unload them."""

    before: frozenset[str] = field(default_factory=lambda: frozenset(sys.modules))
    modules: dict[str, ModuleType] = field(default_factory=dict)

    def pytest_unconfigure(self) -> None:
        """Note what was loaded from `site-packages`, at the end of a run in this process."""
        for name in sys.modules.keys() - self.before:
            package = sys.modules.get(name.partition(".")[0])
            places = getattr(package, "__file__", None), *getattr(package, "__path__", ())
            if any("site-packages" in Path(place).parts for place in places if place):
                self.modules[name] = sys.modules[name]


@contextmanager
def kept_libraries() -> Iterator[LoadedLibraries]:
    """Load again what pytester unloaded: torch and others cannot be loaded twice."""
    libraries = LoadedLibraries()
    yield libraries
    sys.modules.update(libraries.modules)


@pytest.fixture(name="_libraries")
def _libraries() -> Iterator[LoadedLibraries]:
    """Keep libraries loaded beyond the end of `pytester`, which is set up after this."""
    with kept_libraries() as libraries:
        yield libraries


@pytest.fixture
def pytester(_libraries: LoadedLibraries, pytester: pytest.Pytester) -> Iterator[pytest.Pytester]:
    """Return pytest's own; what a test loads of installed libraries stays loaded."""
    yield pytester
    _libraries.pytest_unconfigure()


@pytest.fixture
def project(preloaded: None, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a user's project in an empty folder."""
    ours = [name for name in os.environ if name.startswith("OTEL_")]
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "GITHUB_ACTIONS", "CI", *ours):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTEST_ADDOPTS", " ".join(QUIET))
    return Project(pytester)


@pytest.fixture(params=["plain", "-n2"])
def workers(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Return the arguments of a plain run and of one with two workers."""
    return () if request.param == "plain" else ("-n", "2")
