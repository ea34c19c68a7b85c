"""The commands of four pages run as printed; those of every page have the options they name."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.main import get_command

from tests.tiny_models import Tiny
from tunegate.harness.cli import app

ROOT = Path(__file__).parents[1]
PAGES = [
    str(file.relative_to(ROOT))
    for file in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
]
PROGRAMS = ("make", "pip", "pytest", "python", "tunegate")
VERDICTS = (0, 1, 10, 11)  # which one depends on the reader's models
NOT_RUN = (
    "pip install",
    "make demo",
    "tunegate ship-check out/",  # tests/cli/test_cli_ship_check.py: the same, on a short suite
    "tunegate gate suites/ours",  # another tool's columns
    # tests/examples/test_example_quickstart.py runs these two with the real model
    "tunegate train sft --config suites/support_json/train.yaml",
    "tunegate gate suites/support_json --tuned out/",
)


def commands(page: str) -> list[str]:
    """Return the commands of a page: blocks of a shell, and lines after a `$`."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found: list[str] = []
    for language, block, indented in re.findall(
        r"(?ms)^```(\w*)\n(.*?)^```$|(?<=\n\n)((?:    [^\n]+\n)+)(?=\n)", text
    ):
        body = re.sub(r"(?m)^    ", "", indented) or block
        prompts = body.startswith("$ ")
        if language in ("sh", "bash", "console") or (
            not language and (prompts or body.split(" ")[0] in PROGRAMS)
        ):
            lines = re.sub(r"\\\n\s*", "", body).splitlines()
            found += [
                re.sub(r"\s+# .*", "", line.removeprefix("$ "))
                for line in lines
                if not prompts or line.startswith("$ ")
            ]
    return found


class Reader(NamedTuple):
    """Somebody who follows a page in a folder of their own."""

    project: Any
    tiny: Tiny

    def run(self, command: str) -> tuple[int, str]:
        """Run a command; return its exit code and what it printed."""
        words = shlex.split(command)
        if words[0] in ("tunegate", "pytest"):
            run = self.project.tunegate if words[0] == "tunegate" else self.project.pytest_here
            done = run(*words[1:])
            return int(done.ret), done.stdout.str() + done.stderr.str()
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        shell = subprocess.run(
            ["bash", "-ec", command], env={**os.environ, "PATH": path}, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        return shell.returncode, shell.stdout

    def write(self, name: str, *lines: str) -> None:
        """Write a file."""
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("\n".join(lines) + "\n", encoding="utf-8")

    def suite(self, folder: str, n: int = 12) -> None:
        """Write a suite of short answers."""
        self.write(
            f"{folder}/suite.toml",
            f'name = "{Path(folder).name}"\ncases = "cases.jsonl"',
            "[generation]\nmax_new_tokens = 4",
            '[[metrics]]\nuse = "exact_match"',
            '[[gates]]\nmetric = "exact_match"\nfloor = 0.5\ngain = 0.1',
        )
        rows = [{"id": f"c{i}", "prompt": f"case {i}?", "expected": "yes"} for i in range(n)]
        self.write(f"{folder}/cases.jsonl", *map(json.dumps, rows))

    def models(self, base: str, adapter: str) -> None:
        """Put a tiny base and an adapter where the page has them."""
        shutil.copytree(self.tiny.base(), base)
        shutil.copytree(self.tiny.adapter(seed=1), adapter)
        config = Path(adapter, "adapter_config.json")
        text = json.loads(config.read_text(encoding="utf-8"))
        text["base_model_name_or_path"] = str(Path(base).resolve())
        config.write_text(json.dumps(text), encoding="utf-8")


def _adapter(reader: Reader) -> None:
    reader.models("path/to/base", "out/adapter")


def _one_suite(reader: Reader) -> None:
    """Leave the suite that is quickly answered."""
    shutil.rmtree("suites/production")


def _overview(reader: Reader) -> None:
    reader.suite("suites/refunds")
    reader.models("path/to/base", "path/to/adapter")


def _emptied(reader: Reader) -> None:
    """Begin in an empty folder, as each part of the page does."""
    shutil.rmtree("suites", ignore_errors=True)
    shutil.rmtree(".github", ignore_errors=True)


def _own_data(reader: Reader) -> None:
    reader.models("path/to/base", "out/first")
    rows = [f'"case {i}?",yes' for i in range(40)]
    reader.write("messages.csv", "utterance,intent", *rows)
    reader.write("train.csv", "utterance,intent", '"another?",no')


def _recorded(reader: Reader) -> None:
    reader.suite("suites/routing", n=60)
    for name, right in (("base", 20), ("tuned", 55)):
        rows = [{"id": f"c{i}", "completion": "yes" if i < right else "no"} for i in range(60)]
        reader.write(f"{name}.jsonl", *map(json.dumps, rows))
    shutil.copytree(ROOT / "examples/results", "runs")


# Start of a command → what has to be there when it is typed ("" is before the first).
BEFORE: dict[str, dict[str, Callable[[Reader], None]]] = {
    "README.md": {"": _adapter, "tunegate gate": _one_suite},
    "docs/getting-started/quickstart.md": {
        "tunegate init support_json": _emptied,
        "tunegate suite new": _own_data,
    },
    "docs/getting-started/write-a-suite.md": {"": _overview},
    "docs/guides/recorded-answers.md": {"": _recorded},
}


@pytest.mark.slow  # three of the pages load a model
@pytest.mark.parametrize("page", BEFORE)
def test_the_commands_of_a_page_run_as_printed(page: str, project: Any, tiny: Tiny) -> None:
    """Each exits with 0; one that judges, with a verdict; of swapped answers it is BLOCK."""
    reader = Reader(project, tiny)
    BEFORE[page].get("", lambda _: None)(reader)

    for command in commands(page):
        if command.startswith(NOT_RUN):
            continue
        for start, prepare in BEFORE[page].items():
            if start and command.startswith(start):
                prepare(reader)
        code, text = reader.run(command)
        allowed: tuple[int, ...] = (0,)
        if command.startswith("tunegate gate suites --base replay:"):
            allowed = (1,)
        elif re.search("(--tuned|check) (path|out)|--base results:", command):
            allowed = VERDICTS
        assert code in allowed, f"{command}\nexit code {code}\n{text}"
        assert "Traceback" not in text, text


def test_what_is_installed_is_an_extra() -> None:
    """`pip install 'tunegate[x]'` names extras of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = "\n".join(command for page in PAGES for command in commands(page))
    named = re.findall(r"pip install.*(?:tunegate|\.)\[([\w,-]+)\]", text)

    assert "hf" in named
    assert {e for extras in named for e in extras.split(",")} <= {*project["optional-dependencies"]}


def test_benchmarks_have_the_options_they_are_called_with() -> None:
    called = {
        command
        for page in PAGES
        for command in (*commands(page), *_inline(page))
        if command.startswith("python -m benchmarks.") and command != "python -m benchmarks.x"
    }

    assert called
    for text in called:
        module, *rest = shlex.split(text)[2:]
        place = ROOT / module.replace(".", "/")
        files = [*place.glob("*.py")] or [place.with_suffix(".py")]
        source = "".join(file.read_text(encoding="utf-8") for file in files)
        for option in rest:
            assert not option.startswith("--") or f'"{option}"' in source, text


def test_commands_have_the_options_they_name() -> None:
    wrong = [
        (page, command)
        for page in PAGES
        for command in (*commands(page), *_inline(page))
        if command.startswith("tunegate ") and not _known(_words(command)[1:])
    ]

    assert wrong == []


def _inline(page: str) -> Iterator[str]:
    """Yield what stands between backticks in the sentences and tables of a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", re.sub(r"(?ms)^```.*?^```$", "", text)):
        yield " ".join(span.split())


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:  # an ellipsis or an apostrophe
        return command.split()


def _known(words: list[str]) -> bool:
    """Return whether the words name a command of tunegate, and options that it has."""
    command: Any = get_command(app)
    named = {re.split("[=…|,]", word)[0] for word in words if word.startswith("--")}
    known, top = {"--help"}, command
    for word in words:
        if word.startswith("--"):
            continue
        known |= {o for one in command.params for o in (*one.opts, *one.secondary_opts)}
        if word not in getattr(command, "commands", ()):
            break
        command = command.commands[word]
    known |= {o for one in command.params for o in (*one.opts, *one.secondary_opts)}
    if command is top and not named:
        return False
    return bool(named <= known or command.context_settings.get("ignore_unknown_options"))
