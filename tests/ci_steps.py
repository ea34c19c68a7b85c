"""A CI job's shell steps, run on this machine as its runner would run them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PIP = '#!/bin/sh\necho "$@" >> "$SHIMS/pip.log"\n'
"""Stands in for the index, which tests cannot reach."""

PYTHON = f"""#!/bin/sh
[ "$1 $2" = "-m venv" ] || exec {sys.executable} "$@"
mkdir -p "$3/bin" && touch "$3/bin/activate"
"""
"""Makes an environment that changes nothing: what the steps need is installed already."""

GH = f"""#!{sys.executable}
import json, os, pathlib, sys
import jq
words = sys.argv[1:]
assert words.pop(0) == "api"
home = pathlib.Path(os.environ["SHIMS"])
method, place, fields, query = "GET", None, {{}}, "."
while words:
    word = words.pop(0)
    if word == "--method":
        method = words.pop(0)
    elif word in ("-f", "-F"):
        name, _, value = words.pop(0).partition("=")
        fields[name] = pathlib.Path(value[1:]).read_text() if value.startswith("@") else value
    elif word == "--jq":
        query = words.pop(0)
    elif not word.startswith("--"):
        place = word
if method == "GET" and place.endswith("/zip"):
    sys.stdout.buffer.write((home / "artifact.zip").read_bytes())
elif method == "GET":
    rows = json.loads((home / "github.json").read_text())[place]
    for found in jq.compile(query).input_value(rows).all():
        print(found)
else:
    with (home / "gh.log").open("a") as log:
        log.write(json.dumps([method, place, fields]) + "\\n")
"""
"""Stands in for GitHub: answers from github.json through jq, and notes what is written. An artifact
is artifact.zip."""

EXPRESSION = re.compile(r"\$\{\{\s*(.+?)\s*\}\}")


@dataclass
class StepRunner:
    """A runner whose repository is a folder."""

    folder: Path
    context: Mapping[str, str] = field(default_factory=dict)
    """What an expression such as `github.token` stands for."""
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def shims(self) -> Path:
        """Where the commands that stand in for others are, with what they noted."""
        return self.folder / ".shims"

    def variables(self, *given: Mapping[str, Any] | None) -> dict[str, str]:
        """Return the environment of a step, the expressions in it filled in."""
        self.shims.mkdir(exist_ok=True)
        for name, text in (("pip", PIP), ("gh", GH), ("python3", PYTHON)):
            (self.shims / name).write_text(text, encoding="utf-8")
            (self.shims / name).chmod(0o755)
        own = {
            "PATH": f"{self.shims}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "SHIMS": str(self.shims),
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_WORKSPACE": str(self.folder),
            "GITHUB_STEP_SUMMARY": str(self.folder / "step-summary.md"),
            "GITHUB_OUTPUT": str(self.folder / "step-output.txt"),
        }
        for layer in given:
            own |= {key: self._filled(str(value)) for key, value in (layer or {}).items()}
        return {**os.environ, **self.environment, **own}

    def _filled(self, text: str) -> str:
        return EXPRESSION.sub(lambda found: self.context[found[1]], text)

    def run(
        self, script: str, *variables: Mapping[str, Any] | None
    ) -> subprocess.CompletedProcess[str]:
        """Run one script as GitHub runs `shell: bash`: stop at the first failure."""
        assert not EXPRESSION.search(script), "an expression in a script can inject commands"
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            cwd=self.folder,
            env=self.variables(*variables),
            capture_output=True,
            text=True,
            timeout=120,
        )

    def job(self, workflow: Path, name: str) -> dict[str, subprocess.CompletedProcess[str]]:
        """Run the shell steps of a job until one fails; return name → how it ended."""
        read = load(workflow)
        return self.steps(read["jobs"][name]["steps"], read.get("env"))

    def steps(
        self, steps: list[dict[str, Any]], variables: Mapping[str, Any] | None = None
    ) -> dict[str, subprocess.CompletedProcess[str]]:
        """Run shell steps until one fails; return name → how it ended."""
        done: dict[str, subprocess.CompletedProcess[str]] = {}
        for step in steps:
            if "run" in step:
                done[step["name"]] = self.run(step["run"], variables, step.get("env"))
                if done[step["name"]].returncode:
                    break
        return done


def load(path: Path) -> dict[Any, Any]:
    """Return a YAML file's content; the key `on` reads as True, as YAML 1.1 has it."""
    import yaml

    read: dict[Any, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return read
