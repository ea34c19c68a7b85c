"""Who may import whom, and how large things may grow: read from the source, nothing is run."""

from __future__ import annotations

import ast
import builtins
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("harness", "suites", "trainers", "reports")
OTHER_FOLDERS = ("benchmarks", "examples", "tests")
LONGEST_MODULE = 500
LONGEST_FUNCTION = 50
MOST_FILES = 309
"""Python files of harness, trainers and reports that are no instance, `__init__.py` included; a new
room raises the number, nothing else."""
INSTANCE_FOLDERS = (
    "harness/cli", "harness/further_arms", "harness/gates", "harness/guardrail/classifiers",
    "harness/judges",
    "harness/judging/backends", "harness/metrics", "harness/models",
    "harness/otel_import/conventions", "harness/otel_import/stores", "harness/results",
    "harness/sources", "reports/sections", "trainers", "trainers/artifacts",
)  # fmt: skip
INSTANCE_MARKS = {"harness/cli": "ORDER", "harness/models": "SPEC", "trainers": "ORDER"}
"""Folder that holds other modules, too → the name that an instance defines."""

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
    "remote": set(),
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
        "comparison", "engine", "otel_export", "pipeline", "records", "suite",
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
    "tunegate.harness.plugin.session",
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

VOCABULARY = {
    "Annotation", "Arm", "Calibration", "Candidate", "Case", "Cell", "Checkpoint",
    "Completion", "Continuation", "Delta", "Estimator", "Gate", "Interval", "Judge", "Judgement",
    "Juror", "Label", "Manifest", "Metric", "Optimizations", "Pairs", "Plan", "Promotion", "Prompt",
    "Record", "Request", "Reward", "Run", "Runner", "Score", "Shard", "Span", "Suite", "Undecided",
    "Verdict",
}  # fmt: skip
"""Class names of one word: the terms of the glossary. Others say of what they are."""

MOST_ONE_WORD_CLASSES = 0.25
"""Share of all classes, private ones and those within functions included."""
MOST_ONE_WORD_FUNCTIONS = 0.30
"""Share of the public functions of modules."""
PARTICIPLE = re.compile(
    r"[a-z]*(?:ed|wn|ght)|built|done|found|given|gone|hidden|kept|known|lost|made|met|said|seen"
    r"|sent|taken|told|understood|written"
)
NO_PARTICIPLES = {"embed", "feed", "need", "seed", "speed", "weight", "height"}

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
CASE_HOLDERS = {
    "AnsweredCase", "_AskedCase", "CanaryAnswer", "CaseAnswers", "CaseRecord", "Cell",
    "CompletionPair", "_CompletionToJudge", "ContaminationMatch", "Judgement", "JudgementTarget",
    "JudgementTask", "Label", "PlannedQuestion", "RequestDifference",
}  # fmt: skip
"""Other classes with a field `case`: the address of a cell, judges, labels, monitoring, traces."""


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
    """At the top of modules, where a circle breaks whoever is imported second."""
    assert _circle(lazily=False) == []


def test_nor_does_one_within_functions_or_for_type_checkers() -> None:
    """A circle that only functions close is one all the same: neither part can be read alone."""
    assert _circle(lazily=True) == []


def test_every_room_has_its_place() -> None:
    """A new folder of harness is entered in the table above."""
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
    """At the top of no module of ours."""
    wrong = [str(i) for i in all_imports() if i.imported.split(".")[0] in HEAVY and not i.lazy]

    assert wrong == []


def test_the_cli_is_known_to_nobody() -> None:
    """Nothing imports the plugin or the command line but the command line itself."""
    roots = ("tunegate.harness.cli", "tunegate.harness.plugin")
    wrong = [
        str(found)
        for found in all_imports()
        if within(found.imported, *roots) and not within(found.importer, *roots)
    ]

    assert wrong == []


def test_sizes_and_sentences() -> None:
    """No module above 500 lines, no function above 50; module and public names have docstrings."""
    assert [problem for path in modules() for problem in _size_problems(path)] == []


def _size_problems(path: Path) -> Iterator[str]:
    """Yield what of a module is too long, or has no docstring."""
    tree, name = parsed(path), name_of(path)
    lines = path.read_text(encoding="utf-8").count("\n")
    if lines > LONGEST_MODULE:
        yield f"{name} is {lines} lines"
    for node in ast.walk(tree):
        function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if function and (length := _length(node)) > LONGEST_FUNCTION:
            yield f"{name}.{node.name} is {length} lines"
    if not ast.get_docstring(tree):
        yield f"{name} has no docstring"
    public = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    if path.name == "__init__.py" or not path.name.startswith("_"):
        bare = [n.name for n in public if not n.name.startswith("_") and not ast.get_docstring(n)]
        yield from (f"{name}.{function} has no docstring" for function in bare)


def _length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of a function without its docstring."""
    whole = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    has = ast.get_docstring(node, clean=False) is not None
    return whole - ((first.end_lineno or first.lineno) - first.lineno + 1 if has else 0)


def instances() -> list[Path]:
    """Return the files that are found by their name: metrics, gate kinds, commands …"""
    return [
        path
        for folder in INSTANCE_FOLDERS
        for path in sorted((ROOT / folder).glob("[!_]*.py"))
        if folder not in INSTANCE_MARKS or INSTANCE_MARKS[folder] in assigned_names(path)
    ]


def assigned_names(path: Path) -> set[str]:
    """Return the names that are assigned at the top of a module."""
    assigned = (node for node in parsed(path).body if isinstance(node, ast.Assign))
    return {name.id for node in assigned for name in node.targets if isinstance(name, ast.Name)}


def test_no_more_files_than_there_are_concepts() -> None:
    """No file exists only because another was full; instances have one each by design."""
    assert len(set(sources()) - set(instances())) <= MOST_FILES


def class_names(paths: Iterable[Path] | None = None) -> list[str]:
    """Return the name of every class, once for each definition; of the sources by default."""
    return [
        node.name
        for path in (sources() if paths is None else paths)
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ClassDef)
    ]


def test_a_case_has_these_shapes() -> None:
    """Each shape of a case is a class of its module, and the architecture page lists them all."""
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


def test_no_other_class_carries_a_case() -> None:
    """A class of harness or reports with a field `case` is a shape, or entered above."""
    found = {
        node.name
        for path in sources()
        if path.relative_to(ROOT).parts[0] != "trainers"
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ClassDef)
        for field in node.body
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and field.target.id in ("case", "case_id")
    }

    assert found - set(SHAPES) == CASE_HOLDERS


def words_of(name: str) -> list[str]:
    """Return the words of a name in snake_case or CapWords; an abbreviation is one word."""
    return re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z0-9]+|[A-Z]+", name)


def test_a_class_name_means_one_thing() -> None:
    """A class name occurs once in the tree, tests, benchmarks and examples included."""
    others = (path for top in OTHER_FOLDERS for path in (ROOT / top).rglob("*.py"))
    count = Counter(class_names([*sources(), *others]))

    assert sorted(name for name, number in count.items() if number > 1) == []


def test_class_names_of_one_word_are_terms_of_the_glossary() -> None:
    """A new class has a name of two words or more, or the vocabulary gains a word."""
    short = [name for name in class_names() if len(words_of(name)) == 1]

    assert sorted(set(short) - VOCABULARY) == []
    assert len(short) <= MOST_ONE_WORD_CLASSES * len(class_names())


def functions() -> list[tuple[Path, str]]:
    """Return file and name of every function of a module, methods and inner ones left out."""
    return [
        (path, node.name)
        for path in sources()
        for node in parsed(path).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def test_public_functions_say_what_they_act_on() -> None:
    """`render_page`, not `render`: a name is clear where it is called."""
    public = [name for _, name in functions() if not name.startswith("_")]
    short = [name for name in public if len(words_of(name)) == 1]

    assert len(short) <= MOST_ONE_WORD_FUNCTIONS * len(public)


def test_functions_are_named_by_verbs_and_nouns() -> None:
    """No participle is a name; an instance that is found by its file's name keeps that name."""
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path, name in functions()
        for word in [name.strip("_")]
        if PARTICIPLE.fullmatch(word) and word not in NO_PARTICIPLES and path.stem != name
    ]

    assert wrong == []


def test_every_test_is_a_sentence() -> None:
    """Each test has a docstring; no folder of tests is a package; file names are unique."""
    files = sorted((ROOT / "tests").rglob("*.py"))
    bare = [
        f"{path.relative_to(ROOT)}::{node.name}"
        for path in files
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    names = [path.name for path in files if path.name != "conftest.py"]

    assert bare == []
    assert "__init__.py" not in names
    assert sorted({name for name in names if names.count(name) > 1}) == []


IDIOMS = {
    "stand": r"\b(?:stands?|stood|standing)\b(?! for\b| out\b)",
    "lie": r"\b(?:lie|lies|lay)\b",
    "beside": r"\bbeside\b",
    "tell": r"\b(?:tells?|told)\b",
    "say": r"\b(?:says|said|a say)\b",
    "whose": r"\bwhom\b|\bwhose\b[^.]*?\bwhose\b",
    "under way": r"\b(?:under way|at work|parted by|(?:goes|go|going) without)\b",
    "one a file": r"\bone an? (?!time\b)\w+",
    "What …": r"\AWhat (?!it does\b)",
}
"""Idioms that an experienced engineer would not write → how they are found in a text."""
MOST_IDIOMS = 4
"""Idioms per 10,000 words of strings and docstrings; the number only shrinks."""


def test_idioms_become_fewer() -> None:
    """Strings and docstrings use plain technical English; on failure, the worst files are named."""
    words, found = 0, Counter[tuple[str, str]]()
    for path in sources():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
                words += len(re.findall(r"[A-Za-z]+", node.value))
                for name, pattern in IDIOMS.items():
                    found[name, path.name] += len(re.findall(pattern, node.value))
    rate = found.total() / words * 10_000

    assert rate <= MOST_IDIOMS, f"{rate:.1f} per 10,000 words; most of them: {found.most_common(9)}"


MOST_OF_WORD = {
    r"\bstands\b(?! for\b| out\b)": 0.1,
    r"\b(?:no|a) say\b": 0.1,
    r"\bbeside\b": 0.1,
    r"\btold\b": 0.5,
    r"\blies\b": 0.1,
    r"\AWhat ": 2.0,
}
"""Pattern → how often it may occur in 10,000 words of strings and docstrings."""


def test_each_idiom_is_rare() -> None:
    """None of the commonest idioms is a habit; a failure names the files that have it."""
    texts = [
        (path.name, node.value)
        for path in sources()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value
    ]
    words = sum(len(re.findall(r"[A-Za-z]+", text)) for _, text in texts)
    found = {
        pattern: Counter(name for name, text in texts for _ in re.finditer(pattern, text))
        for pattern in MOST_OF_WORD
    }

    for pattern, most in MOST_OF_WORD.items():
        assert found[pattern].total() <= most * words / 10_000, (pattern, found[pattern])


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
