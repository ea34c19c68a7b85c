"""What others add is found wherever names are: a package's entry points, and a file in a folder."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tunegate.harness import suite as suites
from tunegate.harness.cli import app
from tunegate.harness.contracts import lookup
from tunegate.harness.models.open_arms import backend_of, computes_here, is_remote
from tunegate.harness.records.errors import SuiteError, UnknownName
from tunegate.reports import page

ROOT = Path(__file__).parents[2]
METRICS, SECTIONS = "tunegate.harness.metrics", "tunegate.reports.sections"

PACKAGE = {
    "__init__.py": "",
    "metrics.py": '''
from tunegate.harness.contracts.metric import metric
from tunegate.harness.records.scores import Score

@metric(binary=True, requires=("expected",))
def names_city(case, completion, *, ignore_case: bool = False):
    """Score 1 if an expected answer is in the completion."""
    return Score.of(float(any(text in completion.text for text in case.expected_texts())))
''',
    "politeness.py": '''
from pathlib import Path
from tunegate.harness.contracts.judge import TEXT, judge, question
from tunegate.harness.records.scores import Score

@judge(range=(0.0, 1.0))
def politeness(case, completion):
    """Score 1 for polite."""
    fields = {"reason": TEXT, "verdict": {"enum": ["polite", "rude"]}}
    (reply,) = yield [question(Path(__file__).with_suffix(".txt"), "verdict",
        data={"completion": completion.text}, author_text={}, fields=fields, choice="verdict")]
    return Score.of(reply.expected({"polite": 1.0, "rude": 0.0}))
''',
    "politeness.txt": "--- verdict ---\nIs this polite?\n{completion}\n",
    "models.py": '''
import time
from tunegate.harness.contracts.model import Prompt
from tunegate.harness.records.answers import CellKind, Completion, StoredAnswer

class EchoArm:
    kinds = frozenset({CellKind.GENERATE})

    def __init__(self, target):
        self.identity = {"spec": f"echo:{target}", "backend": "echo"}
        self.fingerprint, self.text = f"echo {target}", target

    def cannot(self, kind):
        return "echo only writes"

    def prompt(self, case, generation):
        return Prompt(case.prompt)

    def complete(self, requests):
        for request in requests:
            yield StoredAnswer.of(request.cell, Completion(text=self.text), None, time.time())

def echo(target):
    """Open an arm that always answers `target`."""
    return EchoArm(target)
''',
    "sources.py": '''
"""Cases that count."""
from tunegate.harness.contracts.source import make_case

def counted(folder, *, n: int):
    """Yield `n` cases.

    Args:
        folder: The suite's folder.
        n: How many.
    """
    for at in range(n):
        row = {"id": f"c{at}", "prompt": f"Capital {at}?", "expected": "Paris"}
        yield make_case(row, f"counted:{at}")
''',
    "section.py": '''
"""How many cases there are."""
from pathlib import Path
from tunegate.reports.templating import fill_page_template

TITLE = "Counted"
ORDER = 33

def render(data):
    return fill_page_template(Path(__file__).with_suffix(".html"), n=len(data.cases))
''',
    "section.html": "<p>Acme counted {{ n }} cases.</p>\n",
}
ENTRY_POINTS = """\
[tunegate.metrics]
names_city = acme.metrics:names_city
[tunegate.judges]
politeness = acme.politeness:politeness
[tunegate.models]
echo = acme.models:echo
[tunegate.sources]
counted = acme.sources:counted
[tunegate.sections]
counted_cases = acme.section
"""
SUITE = """\
name = "cities"
cases = { from = "counted", n = 60 }
[[metrics]]
use = "names_city"
[[metrics]]
use = "politeness"
[[gates]]
metric = "names_city"
floor = 0.5
gain = 0.1
expected_gain = 0.5
"""

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Return a function that installs a package into a folder on the path."""
    site = tmp_path / "site"
    before = set(sys.modules)

    def put(name: str, entry_points: str, files: dict[str, str] | None = None) -> Path:
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(entry_points)
        for file, text in (files or {}).items():
            path = site / name / file
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        monkeypatch.syspath_prepend(site)
        lookup._read_entry_points.cache_clear()
        return site

    yield put
    for module in set(sys.modules) - before:
        if module.partition(".")[0] in ("acme", "broken"):
            del sys.modules[module]
    lookup._read_entry_points.cache_clear()


@pytest.fixture
def acme(install: Install) -> Path:
    """Install a package that brings one thing of each kind."""
    return install("acme", ENTRY_POINTS, PACKAGE)


def write_suite(folder: Path) -> Path:
    """Write the suite that uses the package."""
    (folder / "suites").mkdir()
    (folder / "suites" / "suite.toml").write_text(SUITE, encoding="utf-8")
    return folder / "suites"


def test_a_gate_uses_metric_judge_backend_source_and_section(acme: Path, tmp_path: Path) -> None:
    write_suite(tmp_path)
    words = ["gate", "suites", "--base", "echo:Rome", "--tuned", "echo:Paris", "--judge", "none"]

    done = subprocess.run(
        [sys.executable, "-m", "tunegate.harness.cli", *words, "--run-dir", "run"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": str(acme)},
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    verdict = json.loads((tmp_path / "run" / "verdict.json").read_text(encoding="utf-8"))
    assert verdict["verdict"] == "SHIP"
    assert "Acme counted 60 cases." in (tmp_path / "run" / "report.html").read_text("utf-8")


def test_names_of_packages_are_listed_with_ours(acme: Path) -> None:
    """In the lists that errors print and documents are made of; nothing is imported for it."""
    for room, name in (
        (METRICS, "names_city"),
        ("tunegate.harness.judges", "politeness"),
        ("tunegate.harness.models", "echo"),
        ("tunegate.harness.suite.sources", "counted"),
    ):
        assert name in lookup.available_names(room)
    assert not [name for name in sys.modules if name.startswith("acme")]
    with pytest.raises(UnknownName, match="did you mean 'names_city'"):
        lookup.find_object(METRICS, "names_cty", what="metric")

    places = [name for name, _ in page.discover_sections().items()]
    assert places.index("subjects") < places.index("counted_cases") < places.index("improvements")


def test_a_backend_of_a_package_opens_like_ours(acme: Path) -> None:
    backend = backend_of("echo:x")

    assert backend is not None
    assert not is_remote(backend)
    assert not computes_here("echo:x")
    assert backend_of("server:http://localhost/v1#m") is not None
    assert backend_of("folder/model") is backend_of("open_arms:x") is None


def test_documents_and_doctor_list_packages(acme: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\n## names_city\n" in made("make_metrics")
    assert "\n### counted\n" in made("make_suite_file")

    from tunegate.harness.cli import doctor

    lines = {finding.what: finding.detail for finding in doctor._plugins() if finding.good}
    assert lines["metric names_city"] == "acme.metrics:names_city of the package acme 1.0"
    assert {"judge politeness", "model echo", "source counted", "section counted_cases"} < {*lines}


def made(script: str) -> str:
    """Return the page that a script of docs/reference makes."""
    spec = spec_from_file_location(script, ROOT / "docs" / "reference" / f"{script}.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = module_from_spec(spec)
    spec.loader.exec_module(module)
    return str(module.render())


def test_a_broken_package_is_one_line(
    install: Install, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error where its name is used, a warning where all are listed; both name the package."""
    points = "[tunegate.metrics]\nlost = broken:lost\n[tunegate.sections]\nlost = broken.section\n"
    install("broken", points, {"__init__.py": "1/0\n"})
    suite = write_suite(tmp_path)
    (suite / "suite.toml").write_text(
        SUITE.replace("names_city", "lost").replace('from = "counted", n = 60', 'from = "jsonl"')
    )

    with pytest.raises(SuiteError) as caught:
        suites.load_suite(suite / "suite.toml")
    assert (
        "suite.toml:4: metric 'lost' of the package broken 1.0 cannot be imported "
        "(ZeroDivisionError: division by zero); upgrade or uninstall the package"
    ) in str(caught.value)

    assert "lost" not in page.discover_sections()
    assert capsys.readouterr().err.count("tunegate: warning: section 'lost' of the package") == 1


def test_a_section_that_fails_is_left_out(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page is there without it; one of tunegate's own would be a defect, and raise."""
    files = {**PACKAGE, "section.py": PACKAGE["section.py"].replace("len(data.cases)", "1 / 0")}
    install("acme", ENTRY_POINTS, files)
    data: Any = None
    sections = page.discover_sections()

    assert page._part("counted_cases", sections["counted_cases"], data)["html"] == ""
    with pytest.raises(AttributeError):
        page._part("gates", sections["gates"], data)
    assert "section 'counted_cases' of the package acme 1.0 failed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("points", "section", "named"),
    [
        ("gates = acme.section", "ORDER = 1\nTITLE = 'x'\n", "comes from tunegate and acme 1.0"),
        ("late = acme.section", "raise SystemExit(0)\n", "cannot be imported (SystemExit: 0)"),
        ("plain = acme:thing", "", "has no number ORDER"),
        ("word = acme.section", "ORDER = '1'\n", "has no number ORDER"),
    ],
    ids=["a name of ours", "ends the process", "no module", "order is a text"],
)
def test_a_section_that_cannot_be_used_costs_only_itself(
    install: Install,
    capsys: pytest.CaptureFixture[str],
    points: str,
    section: str,
    named: str,
) -> None:
    ours = list(page.discover_sections())
    files = {"__init__.py": "thing = object()\n", "section.py": section}
    install("acme", f"[tunegate.sections]\n{points}\n", files)

    assert list(page.discover_sections()) == ours
    assert page.discover_sections()["gates"].__name__ == "tunegate.reports.sections.gates"
    assert named in capsys.readouterr().err


@pytest.mark.parametrize(
    ("title", "body", "named"),
    [("TITLE = 'x'", "raise SystemExit(0)", "SystemExit: 0"), ("", "return ''", "AttributeError")],
)
def test_a_section_that_ends_the_process_is_left_out(
    install: Install, capsys: pytest.CaptureFixture[str], title: str, body: str, named: str
) -> None:
    """`sys.exit(0)` in a package does not end the run; a missing title is one line."""
    files = {"section.py": f"ORDER = 1\n{title}\ndef render(data):\n    {body}\n"}
    install("acme", "[tunegate.sections]\nmine = acme.section\n", files)
    data: Any = None

    assert page._part("mine", page.discover_sections()["mine"], data) == {
        "id": "mine",
        "title": "",
        "html": "",
    }
    warning = f"section 'mine' of the package acme 1.0 failed ({named}"
    assert warning in capsys.readouterr().err


def test_doctor_names_what_cannot_be_used(install: Install) -> None:
    points = "[tunegate.metrics]\nexact_match = acme:thing\n[tunegate.metric]\nx = acme:thing\n"
    install("acme", points, {"__init__.py": "thing = 1\n"})

    found = {entry.name: why for entry, why in lookup.installed_plugins()}

    assert "comes from tunegate and acme 1.0" in str(found["exact_match"])
    assert str(found["x"]).startswith("unknown group; there are: tunegate.metrics, ")


@pytest.mark.parametrize(
    ("other", "named"),
    [("twice", "names_city' comes from acme 1.0 and twice 1.0"), (None, "exact_match' comes from")],
)
def test_a_name_that_is_there_twice_is_refused(
    install: Install, other: str | None, named: str
) -> None:
    """Two packages, or a package and tunegate; neither wins in silence."""
    points = ENTRY_POINTS
    if other is None:
        points += "[tunegate.metrics]\nexact_match = acme.metrics:names_city\n"
        points = points.replace("[tunegate.metrics]\nnames_city", "[tunegate.gone]\nnames_city", 1)
    install("acme", points, PACKAGE)
    if other is not None:
        install(other, "[tunegate.metrics]\nnames_city = other:names_city\n")

    with pytest.raises(UnknownName) as caught:
        lookup.find_object(METRICS, named.partition("'")[0], what="metric")

    assert named in str(caught.value)
    assert "uninstall one of them" in str(caught.value)


def test_the_source_of_the_documentation_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_tsv.py").write_text(documented_code("source.md"), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    suite = write_suite(tmp_path) / "suite.toml"
    table = '{ from = "own_tsv:tsv", file = "t.tsv" }'
    text = SUITE.replace('{ from = "counted", n = 60 }', table).replace("names_city", "exact_match")
    suite.write_text(text.replace("politeness", "tone"), encoding="utf-8")
    (suite.parent / "t.tsv").write_text("a\tWhere?\tParis\nb\tno answer\n", encoding="utf-8")

    with pytest.raises(SuiteError, match=r"t\.tsv:2: .*; write id, prompt and answer"):
        suites.load_suite(suite)

    (suite.parent / "t.tsv").write_text("a\tWhere?\tParis\n", encoding="utf-8")
    assert [case.expected for case in suites.load_suite(suite).cases] == ["Paris"]


def test_documented_groups_are_those_of_folders() -> None:
    guide = (ROOT / "docs" / "contributing" / "publish-a-plugin.md").read_text(encoding="utf-8")
    example = tomllib.loads(guide.partition("```toml\n")[2].partition("```")[0])
    groups = {*example["project"]["entry-points"]}

    assert groups <= set(lookup._ROOMS)
    assert [group for group in lookup._ROOMS if f"| `{group}` |" not in guide] == []


COMMAND = '''
"""A command."""
from tunegate.harness.cli._panels import Panel
ORDER = 15
PANEL = Panel.DECIDE

def register(app):
    """Add it."""
    app.command("say-hello")(say_hello)

def say_hello() -> None:
    """Print a greeting."""
    print("hello")
'''


def documented_code(page: str) -> str:
    """Return the first example in Python of a page of docs/contributing."""
    guide = (ROOT / "docs" / "contributing" / page).read_text(encoding="utf-8")
    return guide.partition("```python\n")[2].partition("```")[0]


TRAINER = documented_code("trainer.md").replace(
    "ORDER = 45", "ORDER = 25\nSEQUENCES_PER_ROW = 2\nWRITTEN_SHARE = 0.25"
)
PLAIN = {
    METRICS: ("shouts", "def shouts(case, completion): return 1.0\n"),
    "tunegate.harness.judges": ("shouting", "def shouting(case, completion): yield []\n"),
    "tunegate.harness.models": (
        "shouter",
        'SPEC = "shouter:X"\ndef shouter(target, *, limits=None): ...\n',
    ),
    "tunegate.harness.suite.sources": (
        "shouted",
        'TEMPLATE = \'name = "{name}"\\ncases.from = "shouted"\\n\'\n'
        "def shouted(folder): yield from ()\n",
    ),
    SECTIONS: ("shouting", 'TITLE = "Shouting"\nORDER = 1\ndef render(data): return ""\n'),
    "tunegate.harness.judges.backends": (
        "crowd",
        'SPEC = "crowd:CITY"\ndef crowd(target): ...\n',
    ),
    "tunegate.harness.cli": ("say_hello", COMMAND),
    "tunegate.trainers": ("orpo", TRAINER),
}


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put a file into each folder of instances, without touching the repository."""
    for number, (room, (name, text)) in enumerate(PLAIN.items()):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
        package = importlib.import_module(room)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    yield
    for room, (name, _) in PLAIN.items():
        sys.modules.pop(f"{room}.{name}", None)
        vars(sys.modules[room]).pop(name, None)


def test_a_file_in_its_folder_is_enough(folders: None) -> None:
    for room, (name, _) in PLAIN.items():
        assert name in lookup.available_names(room)
    backend = backend_of("shouter:x")
    assert backend is not None
    assert is_remote(backend)
    assert next(iter(page.discover_sections())) == "verdict"
    assert list(page.discover_sections())[1] == "shouting"


LISTED = """
import importlib, json, sys
for room, folder in json.loads(sys.argv[1]).items():
    importlib.import_module(room).__path__.append(folder)
from tunegate.harness.cli import main
sys.argv = ["tunegate", *sys.argv[2:]]
main()
"""


def test_a_file_is_listed_wherever_its_like_are(folders: None, tmp_path: Path) -> None:
    places = {room: str(tmp_path / f"{number}") for number, room in enumerate(PLAIN)}

    def said(*words: str) -> str:
        line = [sys.executable, "-c", LISTED, json.dumps(places), *words]
        done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
        return " ".join((done.stdout + done.stderr).split())

    gate = said("gate", "--help")
    assert "shouter:X" in gate
    assert "crowd:CITY" in gate
    assert "mmlu, shouted." in said("suite", "new", "--help")
    assert "wrote mine/suite.toml" in said("suite", "new", "mine", "--template", "shouted")
    assert 'cases.from = "shouted"' in (tmp_path / "mine" / "suite.toml").read_text("utf-8")
    estimate = said("estimate", "--help")
    assert "One of sft, dpo, orpo, kto, grpo, for memory." in estimate
    assert "Tokens of a row that orpo, grpo writes." in estimate
    assert "allowed are sft, dpo, orpo, kto, grpo" in said(
        "estimate", "--model", "x", "--trainer", "none"
    )


def test_a_command_is_a_file(folders: None) -> None:
    """It is listed where its `ORDER` says, has help, and runs."""
    listed = CliRunner().invoke(app, ["--help"]).output
    lines = [line.split()[0] for line in listed.partition("Decide:")[2].splitlines() if line]

    assert lines[:4] == ["init", "say-hello", "gate", "plan"]
    assert "Print a greeting." in CliRunner().invoke(app, ["say-hello", "--help"]).output
    assert CliRunner().invoke(app, ["say-hello"]).output == "hello\n"
    assert "Did you mean 'say-hello'" in CliRunner().invoke(app, ["say-hallo"]).output


def test_a_trainer_is_a_file(
    folders: None, tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`tunegate train` lists the example of the documentation, and trains as it says."""
    listed = CliRunner().invoke(app, ["train", "--help"]).output

    assert "Methods: sft, dpo, orpo, kto, " in listed

    monkeypatch.delattr("tunegate.trainers.trl_trainer.run")  # it finds TRL's trainers by name
    rows = [{"prompt": f"{n}?", "chosen": " Paris", "rejected": " Rome"} for n in range(2)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = {
        "model_name_or_path": tiny.base(),
        "train_files": tmp_path / "pairs.jsonl",
        "output_dir": tmp_path / "out",
        "max_steps": 1,
        "beta": 0.3,
    }
    words = [f"--{name}={value}" for name, value in options.items()]
    trained = CliRunner().invoke(app, ["train", "orpo", *words])

    assert trained.exit_code == 0, trained.output
    record = json.loads((tmp_path / "out" / "tunegate_training.json").read_text("utf-8"))
    assert (record["method"], record["steps"], record["rows"]) == ("orpo", 1, 2)
    assert record["hyperparameters"]["beta"] == 0.3
