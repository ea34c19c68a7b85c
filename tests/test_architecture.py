"""Who may import whom: read from the source, nothing is run."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("harness", "suites", "trainers", "reports")

HEAVY = {
    "jinja2", "litellm", "openai", "opentelemetry", "peft", "ray", "torch", "transformers", "trl",
}  # fmt: skip
"""Imported inside functions only: plain pytest must not load them because we are installed."""

ROOMS: dict[str, set[str]] = {
    "records": set(),
    "contracts": {"records"},
    "episodes": {"metrics", "records"},
    "suite": {"episodes", "records"},
    "stats": set(),
    "further_arms": {"records", "verdict"},
    "metrics": {"records"},
    "judges": {"records"},
    "results": {"records"},
    "remote": {"records"},
    "otel_export": {"records"},
    "otel_import": {"otel_export", "records"},
    "sources": {"otel_export", "otel_import", "records"},
    "model_servers": {"records"},
    "checks": {"model_servers", "records", "suite"},
    "models": {"checks", "model_servers", "records", "remote"},
    "engine": {"episodes", "models", "records", "suite"},
    "comparison": {"records", "stats", "suite"},
    "gates": {"comparison", "records", "stats"},
    "gating": {"comparison", "records", "stats", "suite"},
    "power": {"comparison", "gating", "records", "stats", "suite"},
    "verdict": {"comparison", "gating", "records", "stats"},
    "candidates": {"comparison", "gating", "records", "stats", "verdict"},
    "serving": {"engine", "episodes", "models", "records"},
    "inspect_tasks": {"engine", "episodes", "model_servers", "records", "serving"},
    "judging": {"checks", "engine", "models", "records", "remote", "stats", "suite", "verdict"},
    "guardrail": {"otel_export", "records", "remote", "suite"},
    "monitoring": {"otel_import", "records", "remote", "stats", "suite"},
    "pipeline": {
        "checks", "comparison", "engine", "episodes", "gating", "inspect_tasks", "judging",
        "model_servers", "models", "otel_export", "power", "records", "suite", "verdict",
    },
    "plugin": {
        "comparison", "engine", "otel_export", "pipeline", "records", "suite", "verdict",
    },
    "cli": {
        "candidates", "checks", "comparison", "engine", "episodes", "gating", "guardrail",
        "inspect_tasks", "judging", "models", "monitoring", "otel_export", "otel_import",
        "pipeline", "plugin", "power", "records", "serving", "sources", "suite", "verdict",
    },
}  # fmt: skip
"""Room of harness → rooms it may import, beside itself and the contracts at the top.

Records are at the bottom: of the contracts they know errors and defaults, and no room.
"""

EXCEPTIONS = {
    # the types of what a gate is decided on
    ("tunegate.harness.gate_kind", "tunegate.harness.comparison.estimator"),
    ("tunegate.harness.gate_kind", "tunegate.harness.comparison.labelled_level"),
    ("tunegate.harness.gate_kind", "tunegate.harness.comparison.pairs"),
}
COMPOSITION = (
    "tunegate.harness.plugin",
    "tunegate.harness.pipeline",
    "tunegate.harness.cli",
)
"""Places that may import reports and trainers, lazily."""

COMPOSED = {
    "make_plan": "tunegate.harness.engine.plan",
    "Runner": "tunegate.harness.engine.runner",
    "collect_answers": "tunegate.harness.engine.runner",
    "score_suite": "tunegate.harness.comparison.score_table",
    "decide_run": "tunegate.harness.verdict.decide",
    "compare_shipped": "tunegate.harness.verdict.deployment_parity",
    "compare_incumbent": "tunegate.harness.verdict.incumbent",
}
"""Step of a run → the module that defines it: harness/pipeline alone puts the steps together.

The module's own room may use it: a worker process has a runner, and a stored run is decided again.
"""


SHAPES = {
    "Case": "harness/records/cases.py",
    "Request": "harness/model.py",
    "Completion": "harness/records/cases.py",
    "StoredAnswer": "harness/records/cases.py",
    "Score": "harness/records/cases.py",
    "ScoreRow": "harness/records/cases.py",
    "ScoreTable": "harness/comparison/score_table.py",
    "Pairs": "harness/comparison/pairs.py",
    "RunCase": "harness/records/run_folder.py",
    "CaseView": "reports/data.py",
}
"""Shape of a case on its way from suite to report → the module that defines it, in order."""


@dataclass(frozen=True)
class Import:
    """One imported module and the place of the import."""

    importer: str
    imported: str
    line: int
    lazy: bool
    """Inside a function, or for type checkers only."""

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


def name_of(path: Path) -> str:
    """Return the name under which a module is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(["tunegate", *(parts[:-1] if parts[-1] == "__init__" else parts)])


def modules() -> list[Path]:
    """Return the source files of the four folders."""
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def sources() -> list[Path]:
    """Return the source files of harness, trainers and reports."""
    return [path for path in modules() if path.relative_to(ROOT).parts[0] != "suites"]


@cache
def parsed(path: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[Import]:
    """Yield what a module imports; `from a import b` is `a.b` where that is a module of ours."""
    for node, lazy in _import_statements(parsed(path).body, lazy=False):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute here"
            names = [_submodule(node.module or "", alias.name) for alias in node.names]
        for name in names:
            yield Import(name_of(path), name, node.lineno, lazy)


def _import_statements(body: Iterable[ast.AST], *, lazy: bool) -> Iterator[tuple[ast.stmt, bool]]:
    """Yield each import below these statements, and whether it is lazy."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, lazy
        later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or (
            isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        )
        for name in ("body", "handlers", "cases", "orelse", "finalbody"):
            inner = getattr(node, name, ())
            if isinstance(inner, list):
                yield from _import_statements(inner, lazy=lazy or later)


def _submodule(package: str, name: str) -> str:
    return f"{package}.{name}" if f"{package}.{name}" in KNOWN else package


def folder_of(module: str) -> str:
    """Return which of our four folders a module lies in; the empty text for others."""
    top, _, rest = module.partition(".")
    return rest.split(".")[0] if top == "tunegate" else ""


def room_of(module: str) -> str:
    """Return the room of a module of harness; the files at the top are the contracts."""
    parts = module.split(".")[2:]
    return parts[0] if parts and (ROOT / "harness" / parts[0]).is_dir() else "contracts"


def within(module: str, *places: str) -> bool:
    """Return whether the module is one of the places or lies below one."""
    return any(module == place or module.startswith(f"{place}.") for place in places)


KNOWN = {name_of(path) for path in modules()}


@cache
def all_imports() -> tuple[Import, ...]:
    """Return every import of the four folders; read once, by the first test that asks."""
    return tuple(found for path in modules() for found in imports(path))


def test_there_is_one_import_name() -> None:
    """Every import of ours begins with `tunegate`: the four folders are no top-level packages."""
    wrong = [str(found) for found in all_imports() if found.imported.split(".")[0] in PACKAGES]

    assert wrong == []


def test_packages_depend_on_harness_and_not_the_other_way_round() -> None:
    """reports → harness ← trainers; suites is data; the composition roots alone look back."""
    wrong = [
        str(found)
        for found in all_imports()
        for ours, theirs in [(folder_of(found.importer), folder_of(found.imported))]
        if theirs in PACKAGES
        and ours != theirs
        and not (ours in ("reports", "trainers") and theirs == "harness")
        and not (
            ours == "harness"
            and theirs in ("reports", "trainers")
            and found.lazy
            and within(found.importer, *COMPOSITION)
        )
    ]

    assert wrong == []


def test_rooms_depend_downwards() -> None:
    """A room imports the contracts, itself and the rooms below it, lazily or not."""
    wrong = [
        str(found)
        for found in all_imports()
        if within(found.importer, "tunegate.harness") and within(found.imported, "tunegate.harness")
        for ours, theirs in [(room_of(found.importer), room_of(found.imported))]
        if theirs not in ("contracts", ours)
        and theirs not in ROOMS[ours]
        and (found.importer, found.imported) not in EXCEPTIONS
    ]

    assert wrong == []


def test_rooms_are_in_an_order() -> None:
    """The table itself has no circle, so that there is a lowest room and a highest."""
    order = list(TopologicalSorter(ROOMS).static_order())

    assert order[-1] == "cli"
    assert order.index("records") < order.index("contracts")


def test_records_know_of_the_contracts_only_the_errors_and_defaults() -> None:
    """What reaches the disk is at the bottom of everything; the defaults import nothing."""
    others = {
        found.imported
        for found in all_imports()
        if within(found.importer, "tunegate.harness.records")
        and found.imported.startswith("tunegate.")
        and not within(found.imported, "tunegate.harness.records")
    }

    assert others == {"tunegate.harness.errors", "tunegate.harness.defaults"}
    assert not [
        found
        for found in all_imports()
        if found.importer == "tunegate.harness.defaults" and found.imported != "__future__"
    ]


def _circle(lazily: bool) -> list[str]:
    """Return a circle of imports, if there is one: at the top of modules, or anywhere."""
    graph: dict[str, set[str]] = {}
    for found in all_imports():
        known = found.imported in KNOWN and found.imported != found.importer
        if known and (lazily or not found.lazy):
            graph.setdefault(found.importer, set()).add(found.imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert _circle(lazily=False) == []


def test_nor_does_one_within_functions_or_for_type_checkers() -> None:
    assert _circle(lazily=True) == []


def test_every_room_has_its_place() -> None:
    folders = {
        path.name for path in (ROOT / "harness").iterdir() if (path / "__init__.py").is_file()
    }

    assert folders == set(ROOMS) - {"contracts"}


def test_implementations_know_nothing_of_each_other() -> None:
    """A metric, kind of gate or arm imports no other one; shared files start with an underscore."""
    rooms = (
        "tunegate.harness.further_arms",
        "tunegate.harness.gates",
        "tunegate.harness.judges",
        "tunegate.harness.metrics",
        "tunegate.harness.results",
        "tunegate.harness.sources",
    )
    wrong = [
        str(found)
        for found in all_imports()
        for room in rooms
        if within(found.importer, room) and within(found.imported, room)
        if not found.imported.rpartition(".")[2].startswith("_")
        and found.imported not in (room, found.importer)
    ]

    assert wrong == []


def test_the_pipeline_alone_composes_a_run() -> None:
    """Plan, answers, scores and verdict are put together in one place; all others call it."""
    wrong = [
        f"{name_of(path)}:{node.lineno} uses {alias.name}"
        for path in modules()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if COMPOSED.get(alias.name) == node.module
        and room_of(name_of(path)) not in ("pipeline", room_of(node.module))
    ]
    read = [
        f"{name_of(path)}:{node.lineno} reads {node.attr}"
        for path in modules()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Attribute) and node.attr in ("make_plan", "score_suite")
    ]

    assert wrong + read == []
    assert [n for n, m in COMPOSED.items() if not hasattr(import_module(m), n)] == []


def test_what_is_special_about_a_kind_of_gate_is_in_its_file() -> None:
    """Outside of harness/gates no file imports a kind, and none compares `.kind` with a name."""
    room = "tunegate.harness.gates"
    kinds = {p.stem for p in (ROOT / "harness" / "gates").glob("*.py") if p.stem[0] != "_"}
    others = [path for path in modules() if not within(name_of(path), room)]
    wrong = [
        str(i) for i in all_imports() if within(i.imported, room) and not within(i.importer, room)
    ]
    wrong += [
        f"{name_of(path)}:{node.lineno} compares a kind with its name"
        for path in others
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Compare)
        if any(isinstance(n, ast.Attribute) and n.attr == "kind" for n in ast.walk(node))
        and any(isinstance(n, ast.Constant) and n.value in kinds for n in ast.walk(node))
    ]
    wrong += [
        f"{path.relative_to(ROOT)} compares a kind with its name"
        for path in sorted((ROOT / "reports" / "templates").rglob("*.html"))
        if re.search(r"\.kind *(==|!=|in) *[\"'(\[]", path.read_text(encoding="utf-8"))
    ]

    assert {"floor", "gain"} < kinds
    assert wrong == []


def test_heavy_libraries_are_imported_where_they_are_used() -> None:
    wrong = [str(i) for i in all_imports() if i.imported.split(".")[0] in HEAVY and not i.lazy]

    assert wrong == []


def test_the_cli_is_known_to_nobody() -> None:
    roots = ("tunegate.harness.cli", "tunegate.harness.plugin")
    wrong = [
        str(found)
        for found in all_imports()
        if within(found.imported, *roots) and not within(found.importer, *roots)
    ]

    assert wrong == []


def test_a_case_has_these_shapes() -> None:
    missing = [
        f"{module} defines no {shape}"
        for shape, module in SHAPES.items()
        if not any(
            isinstance(node, ast.ClassDef) and node.name == shape
            for node in parsed(ROOT / module).body
        )
    ]
    page = (ROOT / "docs" / "contributing" / "architecture.md").read_text(encoding="utf-8")
    table = page.partition("| shape | module | content |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \| `([\w/.]+)` \|", table, flags=re.MULTILINE)

    assert missing == []
    assert rows == list(SHAPES.items())


RAISES = re.compile(r"(?<=\n) {4}([A-Z]\w*)(?=:)")


def test_docstrings_name_exceptions_that_exist() -> None:
    """Each name under `Raises:` is a class of the tree, a builtin, or imported in the tree."""
    known = {*dir(builtins), "CollectError"}
    for path in sources():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ClassDef):
                known.add(node.name)
            elif isinstance(node, ast.ImportFrom):
                known |= {alias.asname or alias.name for alias in node.names}
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sources()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)
        for name in RAISES.findall((ast.get_docstring(node) or "").partition("Raises:")[2])
        if name not in known
    ]

    assert wrong == []
