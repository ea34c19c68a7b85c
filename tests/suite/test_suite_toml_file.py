"""TOML files: every problem with its line, and nothing that later code would choke on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunegate.harness.records.errors import SuiteError
from tunegate.harness.suite import toml_file


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> Path:
    return tmp_path / "x.toml"


def problem(file: Path, content: str | bytes) -> str:
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(SuiteError) as caught:
        toml_file.read_toml(file)
    return str(caught.value).replace(str(file), "")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            "a = 1\nb = 2\na = 3\n",
            ":3:6: cannot overwrite a value; it is on line 1 too: remove one",
        ),
        (
            "[x]\na = 1\n[x]\n",
            ":3:3: cannot declare ('x',) twice; it is on line 1 too: remove one",
        ),
        (
            '[[m]]\nuse = "a"\n[[m]]\nuse = "b"\nuse = "c"\n',
            ":5:10: cannot overwrite a value; it is on line 4 too: remove one",
        ),
        ("a = yes\n", ":1:5: invalid value; texts need quotes, numbers a digit before the point"),
        ('a = "', ": unterminated string"),
        (
            "a = nan\n[b]\nc = [1, -inf]\n",
            ":1: nan is not a finite number\n:3: -inf is not a finite number",
        ),
        ("a = 1e400\n", ":1: inf is not a finite number"),
        ("a = " + "[" * 1000 + "]" * 1000, ": nested too deeply; at most 50 levels are read"),
        ("b = 1\na = " + "[" * 60 + "]" * 60, ":2: nested too deeply; at most 50 levels are read"),
        ("a = " + "9" * 5000, ": a number with thousands of digits"),
        (b'a = "\xff"', ": not UTF-8 at byte 5; save it as UTF-8"),
        ("a = 1\n" + "#" * 1_000_000, ": cannot be read (1,000,006 bytes, at most 1,000,000 are read)"),  # noqa: E501
    ],
)  # fmt: skip
def test_broken_files(file: Path, content: str | bytes, expected: str) -> None:
    """Each kind of damage is named with its place and what to do."""
    assert problem(file, content) == expected


def test_a_missing_file_is_named(file: Path) -> None:
    with pytest.raises(SuiteError, match=r"cannot be read \(No such file or directory\)"):
        toml_file.read_toml(file)


def test_a_byte_order_mark_is_no_text(file: Path) -> None:
    """Windows editors write one; the first key does not start with it."""
    file.write_bytes(b"\xef\xbb\xbfa = 1\r\n")

    assert toml_file.read_toml(file).data == {"a": 1}


LINES = """\
name = "s"
gates.note = "dotted"

[generation]
system = \"\"\"
floor = 1
\"\"\"

[[metrics]]
use = "a"
[[metrics]]
use = "b"
"quoted" = 1
[inline]
table = { deep = 1 }
"""


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (("name",), 1),
        (("gates", "note"), 2),
        (("generation", "system"), 5),
        (("metrics", 0), 9),
        (("metrics", 0, "use"), 10),
        (("metrics", 1, "use"), 12),
        (("metrics", 1, "quoted"), 13),
        (("metrics", 1, "missing"), 11),
        (("inline", "table", "deep"), 14),
        (("missing",), 1),
        ((), 1),
    ],
)
def test_places_of_keys(file: Path, keys: tuple[str | int, ...], line: int) -> None:
    """A key's line is found again in the text, or that of the table it belongs to."""
    file.write_text(LINES, encoding="utf-8")

    assert toml_file.read_toml(file).line(*keys) == line


def test_a_table_without_the_key_is_found_by_its_header(tmp_path: Path) -> None:
    """`[cases]` as a table has no line `cases = …`."""
    path = tmp_path / "a.toml"
    path.write_text('name = "s"\n\n[cases]\nfrom = "csv"\n', encoding="utf-8")

    assert toml_file.read_toml(path).line("cases") == 3


def test_a_sparse_file_of_10_gb_is_not_read(file: Path) -> None:
    with file.open("wb") as sparse:
        sparse.truncate(10_000_000_000)

    with pytest.raises(SuiteError, match="10,000,000,000 bytes, at most 1,000,000"):
        toml_file.read_toml(file)
