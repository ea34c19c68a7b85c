"""What a library would cost in place of code of ours: `python -m benchmarks.own_or_library`.

The numbers of "Why we wrote this ourselves" in docs/contributing/architecture.md. Each comparison
does the same work with both; a library that is not installed is skipped, with the command that
installs it. ruamel.yaml and ijson are no dependencies of tunegate.
"""

from __future__ import annotations

import importlib
import json
import re
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks._apart import apart
from benchmarks.read_traces import write
from tunegate.harness.models import _gguf_file
from tunegate.harness.otel_import.json_reader import JsonCursor
from tunegate.harness.sources import _yaml

NESTED = "(?:" * 20 + "a" + "{1,9})" * 20
"""A pattern of 181 characters."""
VOCABULARY = 49_152
"""Tokens of SmolLM2."""
TESTS = 2_000
SPANS = 20_000


def main() -> None:
    """Print a block of lines for each comparison."""
    for compare in (regular_expressions, yaml_with_lines, gguf_header, json_stream):
        print(f"{compare.__doc__}")
        with tempfile.TemporaryDirectory() as folder:
            try:
                compare(Path(folder))
            except ModuleNotFoundError as error:
                print(f"  skipped: pip install {error.name}")


def regular_expressions(_: Path) -> None:
    """Regular expressions: the standard library's `re` and `regex`."""
    theirs = importlib.import_module("regex")
    for name in ("re", "regex"):
        took = apart(compile_pattern, name, NESTED)
        print(
            f"  {name:<24} {took.seconds:7.3f} s  {took.peak / 2**20:5.0f} MB to compile 181 signs"
        )
    for pattern, text in (("K{e}", "x"), (r"\B", "")):
        found = [bool(library.search(pattern, text)) for library in (re, theirs)]
        print(f"  {pattern!r} in {text!r}: re {found[0]}, regex {found[1]}")


def compile_pattern(library: str, pattern: str) -> None:
    """Compile a pattern with one of the two."""
    importlib.import_module(library).compile(pattern)


def yaml_with_lines(folder: Path) -> None:
    """YAML with the lines of values, 2,000 promptfoo tests: ours over PyYAML and ruamel.yaml."""
    reader = importlib.import_module("ruamel.yaml").YAML
    test = "  - vars: {{q: 'question {0}?'}}\n    assert: [{{type: equals, value: answer {0}}}]\n"
    path = folder / "config.yaml"
    path.write_text("tests:\n" + "".join(test.format(i) for i in range(TESTS)), encoding="utf-8")
    show("ours", lambda: _yaml.read_yaml(path, form="write YAML"))
    show("ruamel.yaml", lambda: reader().load(path))
    path.write_text("a: 1\na: 2\nb: 1\nb: 2\n", encoding="utf-8")
    show("ours, two keys twice", lambda: _yaml.read_yaml(path, form="write YAML"))
    show("ruamel.yaml, the same", lambda: reader().load(path))
    links = "".join(f"k{i}: &k{i} [{', '.join([f'*k{i - 1}'] * 9)}]\n" for i in range(1, 10))
    path.write_text(f"k0: &k0 [x]\n{links}", encoding="utf-8")
    show("ours, 9⁹ aliased values", lambda: _yaml.read_yaml(path, form="write YAML"))
    show("ruamel.yaml, the same", lambda: reader().load(path))
    switch = reader().load("bf16: no")["bf16"]
    print(f"  `bf16: no`, which TRL reads as False: ruamel.yaml reads {switch!r}")


def gguf_header(folder: Path) -> None:
    """Header of a GGUF file with a vocabulary of 49,152 tokens: ours and `gguf.GGUFReader`."""
    gguf = importlib.import_module("gguf")
    path = folder / "model.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_token_list([f"token {i}" for i in range(VOCABULARY)])
    writer.add_token_merges([f"a{i} b{i}" for i in range(VOCABULARY)])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    readers = {"ours": _gguf_file.read_gguf, "gguf.GGUFReader": gguf.GGUFReader}
    for name, read in readers.items():
        show(name, partial(read, path))
    path.write_bytes(path.read_bytes()[:-100_000])
    for name, read in readers.items():
        show(f"{name}, cut off", partial(read, path))


def json_stream(folder: Path) -> None:
    """One JSON document of 20,000 spans, read piece by piece: ours and `ijson`."""
    lines, path = folder / "lines.jsonl", folder / "traces.json"
    write(lines, SPANS)
    with lines.open(encoding="utf-8") as file:
        spans = [json.loads(line)["resourceSpans"][0] for line in file]
    path.write_text(json.dumps({"resourceSpans": spans}), encoding="utf-8")
    show("ours", lambda: pieces(path))
    ijson = importlib.import_module("ijson")
    for name in ("yajl2_c", "python"):
        items = ijson.get_backend(name).items
        show(f"ijson, {name}", partial(count, items, path))
    path.write_text('{"resourceSpans": [{"a": "tab\there"}]}', encoding="utf-8")
    show("ours, a tab in a text", lambda: pieces(path))
    show("ijson, the same", lambda: count(ijson.items, path))


def pieces(path: Path) -> int:
    """Take every resource of a document and return how many there are."""
    with path.open("rb") as file:
        reader = JsonCursor(file.read)
        return sum(1 for _ in reader.members() for _ in reader.elements() if reader.value())


def count(items: Callable[..., Iterable[object]], path: Path) -> int:
    """Do the same with a function of ijson."""
    with path.open("rb") as file:
        return sum(1 for _ in items(file, "resourceSpans.item"))


def show(name: str, call: Callable[[], Any]) -> None:
    """Print how long a call takes, the less of two, and how it fails if it does."""
    seconds, failed = [], ""
    for _ in range(2):
        start = time.perf_counter()
        try:
            call()
        except Exception as error:
            failed = f"  {type(error).__name__}: {' '.join(str(error).split())[:70]}"
        seconds.append(time.perf_counter() - start)
    print(f"  {name:<24} {min(seconds):7.3f} s{failed}")


if __name__ == "__main__":
    main()
