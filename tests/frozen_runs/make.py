"""Make the frozen runs again: `python -m tests.frozen_runs.make [--outputs | --check] [RUN …]`.

Each run is a real gate run of the command line on scripted or recorded answers. Its folder is then
made independent of clock, machine and installed packages, and stored with what the project makes of
it. The library sacrebleu is needed, and no model and no network.

    (no option)  make the runs (all of them, or those that are named), store inputs and outputs
    --outputs    keep the stored inputs; make and store the outputs alone, and say which numbers of
                 a verdict changed: after a change of texts there must be none
    --check      make the runs in a temporary folder, and say which files differ from the stored
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from tests.frozen_runs.outputs import (
    COMMAND_LINES,
    COMMANDS,
    INPUTS,
    STORED,
    SUMS,
    TEXTS,
    commanded,
    contents,
    load,
    outputs,
    pack,
    sha256,
    unpack,
)
from tests.frozen_runs.recipes import EDITED, RUNS, Project

KEPT = (
    "manifest.json",
    "cases.jsonl",
    "cells.jsonl",
    "judgements.jsonl",
    "labels.jsonl",
    "scores.jsonl",
)
"""Files of a run folder that the others are made of."""
VERSIONS = {"python": "3.11.0", "tunegate": "0.1.0", "numpy": "2.0.0", "scipy": "1.14.0"}
ORIGIN = {
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "CI job": "https://ci.example.org/shop/models/actions/runs/17",
    "machine": "Linux x86_64, 4 processors",
}
CLOCK = 1_767_225_600.0
"""2026-01-01T00:00:00Z, the first second of every run."""


def made(name: str, number: int, make: Callable[[Project], None]) -> dict[str, bytes]:
    """Make a run; return its inputs and its verdict without time, machine and folder."""
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder).resolve(), name)
        make(project)
        run = project.folder / "runs" / name
        files = {
            file: (run / file).read_text(encoding="utf-8").replace(f"{project.folder}/", "")
            for file in (*KEPT, "verdict.json")
            if (run / file).is_file()
        }
        stray = [file for file, text in files.items() if str(project.folder) in text]
        assert not stray, f"{name}: the folder's name is in {stray}"
    return {file: normal(file, text, number).encode() for file, text in files.items()}


def normal(file: str, text: str, number: int) -> str:
    """Return the text of a run's file without what differs from one making to the next."""
    if file.endswith(".jsonl"):
        rows = [json.loads(line) for line in text.splitlines()]
        for at, row in enumerate(rows):
            for timed in (row, *row.get("replies", ())):
                if timed.get("started_s") is not None:
                    timed["started_s"] = CLOCK + at
        return "".join(json.dumps(row) + "\n" for row in rows)
    record = json.loads(text)
    record["versions"] = VERSIONS
    if file == "manifest.json":
        record["created"] = f"2026-01-{1 + number // 4:02}T{10 + number % 4}:00:00+00:00"
        record["origin"] |= ORIGIN
    return json.dumps(record, sort_keys=True, indent=2, ensure_ascii=False) + "\n"


def store(texts: Mapping[str, str], folder: Path) -> None:
    """Store outputs: some as text, the others as their SHA-256."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if old.name != INPUTS:
            old.unlink()
    sums = {name: sha256(text) for name, text in sorted(texts.items()) if name not in TEXTS}
    for name in TEXTS & texts.keys():
        (folder / name).write_bytes(texts[name].encode())
    (folder / SUMS).write_text(json.dumps(sums, indent=2) + "\n", encoding="utf-8")


def freeze(made: Collection[str]) -> None:
    """Store what is made of all stored runs.

    Args:
        made: Runs that were made just now, which must be decided again as they were decided.
    """
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        unpack(Path(folder))
        for stored in sorted(STORED.iterdir()):
            before = (stored / "verdict.json").read_bytes()
            texts = outputs(load(stored.name), Path("out") / stored.name)
            store(texts, stored)
            if stored.name in made and stored.name not in EDITED:
                assert texts["verdict.json"] == before.decode(), f"{stored.name}: decided otherwise"
            for line in changed_numbers(json.loads(before), json.loads(texts["verdict.json"])):
                say(f"{stored.name}: verdict.json: {line}")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        unpack(Path(folder))
        for name in COMMAND_LINES:
            store(commanded(name), COMMANDS / name)


def changed_numbers(old: object, new: object, place: str = "") -> Iterator[str]:
    """Yield what differs between two JSON values, except for texts with a space in them."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from changed_numbers(old.get(key), new.get(key), f"{place}.{key}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for at, pair in enumerate(zip(old, new, strict=True)):
            yield from changed_numbers(*pair, f"{place}[{at}]")
    elif old != new and not (isinstance(old, str) and isinstance(new, str) and " " in old):
        yield f"{place}: {old!r} became {new!r}"


def say(line: str) -> None:
    """Write a line for the person at the terminal."""
    sys.stdout.write(f"{line}\n")


def main() -> None:
    """Make what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--outputs", action="store_true", help="keep the stored inputs")
    parser.add_argument("--check", action="store_true", help="store nothing, say what differs")
    parser.add_argument("runs", nargs="*", help="names of runs; default: all")
    asked = parser.parse_args()
    made_now = []
    for number, make in enumerate(() if asked.outputs else RUNS):
        name = make.__name__
        if asked.runs and name not in asked.runs:
            continue
        files = made(name, number, make)
        if asked.check:
            known = contents(STORED / name / INPUTS)
            known["verdict.json"] = (STORED / name / "verdict.json").read_bytes()
            edited = {"verdict.json"} if name in EDITED else set()
            named = sorted((files.keys() | known.keys()) - edited)
            different = [file for file in named if files.get(file) != known.get(file)]
            say(f"{name}: {', '.join(different) or 'the same'}")
            continue
        shutil.rmtree(STORED / name, ignore_errors=True)
        (STORED / name).mkdir(parents=True)
        (STORED / name / "verdict.json").write_bytes(files.pop("verdict.json"))
        pack(files, STORED / name / INPUTS)
        made_now.append(name)
        say(name)
    if not asked.check:
        freeze(made_now)


if __name__ == "__main__":
    main()
