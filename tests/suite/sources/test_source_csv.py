"""csv: columns become fields; every way in which a CSV file goes wrong has a line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tunegate.harness.records.cases import Case

Load = Callable[[str], list[Case]]
Refused = Callable[[str], list[str]]

TABLE = 'from = "csv"\nfile = "t.csv"\n'
COLUMNS = 'columns = { prompt = "question", expected = "answer", id = "nr" }\n'
TICKETS = (
    "nr,question,answer,topic,customer\n1,Where is it?,shipping,late,c1\n2,Broken!,refund,,c2\n"
)


@pytest.fixture(name="write")
def _write(tmp_path: Path) -> Callable[[str | bytes], None]:
    def write(content: str | bytes) -> None:
        data = content.encode("utf-8") if isinstance(content, str) else content
        (tmp_path / "t.csv").write_bytes(data)

    return write


def test_columns_become_fields(write: Callable[[str], None], cases: Load) -> None:
    """The README's table: prompt, expected, tags and cluster; an empty cell adds no tag."""
    write(TICKETS)
    found = cases(
        TABLE + 'columns = { id = "nr", prompt = "question", expected = "answer", '
        'tags = ["topic"], cluster = "customer" }'
    )

    assert found == [
        Case(id="1", prompt="Where is it?", expected="shipping", tags=("late",), cluster="c1"),
        Case(id="2", prompt="Broken!", expected="refund", cluster="c2"),
    ]


def test_without_columns_the_names_of_the_fields_are_taken(
    write: Callable[[str], None], cases: Load
) -> None:
    write('prompt,expected,note\n"a, b\nc",x,n\n')

    (case,) = cases(TABLE)
    assert (case.prompt, case.expected, len(case.id)) == ("a, b\nc", "x", 12)


@pytest.mark.parametrize(
    ("columns", "field", "value"),
    [
        ('expected = ["a", "b"]', "expected", ("x", "y")),
        ('expected = ["a", "none"]', "expected", ("x",)),
        ('choices = ["a", "b"]', "choices", ("x", "y")),
        ('choices = "list"', "choices", ("u", "v")),
        ('tags = "a"', "tags", ("x",)),
        ('context = "{a} and {b}{none}"', "context", "x and y"),
        ('context = "{none}"', "context", None),
        ('schema = "object"', "answer_schema", {"type": "object"}),
        ('expected = "zero"', "expected", "007"),  # a cell is a text, whatever it looks like
    ],
)
def test_fields_of_several_columns_and_templates(
    write: Callable[[str], None], cases: Load, columns: str, field: str, value: object
) -> None:
    write('q,a,b,none,list,object,zero\nhello,x,y,,"[""u"",""v""]","{""type"": ""object""}",007\n')
    (case,) = cases(f'{TABLE}columns = {{ prompt = "q", {columns} }}')

    assert getattr(case, field) == value


def test_an_answer_is_a_number_or_a_letter(write: Callable[[str], None], cases: Load) -> None:
    """Digits count from 0, letters from A."""
    write('prompt,choices,answer\np,"[""a"", ""b""]",1\nq,"[""a"", ""b""]",A\n')

    assert [case.answer for case in cases(TABLE)] == [1, 0]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "t.csv:1: the file is empty; the first line names the columns"),
        ("\n\n", "t.csv:1: the file is empty; the first line names the columns"),
        ("nr;question;answer\n1;a;b\n", "t.csv:1: one column only, with ';' in its name; set "
         'delimiter = ";"'),
        ("nr\tquestion\n1\ta\n", 't.csv:1: one column only, with \'\\t\' in its name; set '
         'delimiter = "\\t"'),
        ("nr,nr,question,answer\n", "t.csv:1: two columns are called 'nr'; rename one"),
        (b"nr,question,answer\n1,caf\xe9,b\n", "t.csv:2: not UTF-8 (byte 0xe9); save it as UTF-8:"),
        ("\ufeffnr,question,answer\n".encode("utf-16"), "t.csv:1: not UTF-8 (byte 0xff); save"),
        ("nr,question,answer\n1,a,b\n2,a,b,c\n", "t.csv:3: 4 columns, the first line has 3; quote"),
        ('nr,question,answer\n1,"a\n\nb",c\n2,a\n', "t.csv:5: 2 columns, the first line has 3"),
        ('nr,question,answer\n1,"a,b\n', "t.csv:2: broken CSV (unexpected end of data); check"),
        ("nr,questoin,answer\n1,a,b\n", "t.csv:1: prompt: unknown column 'question'; did you mean "
         "'questoin'?"),
        ("nr,question,answer\n1,,b\n", "t.csv:2: the prompt is empty (column 'question')"),
        ("nr,question,answer\n1,a,b\n1,c,d\n", "t.csv:3: id '1' is already used at t.csv:2"),
        ("nr,question,answer\n", "suite.toml:4: no cases; a suite needs at least one"),
        ("nr,question,answer\n,a,b\n,a,b\n", "t.csv:3: the same as t.csv:2; remove them, give"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file(
    write: Callable[[str | bytes], None], problems: Refused, content: str | bytes, problem: str
) -> None:
    write(content)

    (found,) = problems(TABLE + COLUMNS)
    assert found.startswith(problem)


def test_a_byte_order_mark_is_no_part_of_a_name(write: Callable[[str], None], cases: Load) -> None:
    """What a spreadsheet writes as "CSV UTF-8" is read."""
    write("\ufeff" + TICKETS)

    assert cases(TABLE + COLUMNS)[0].id == "1"


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ('{ promt = "question" }', "unknown field of a case 'promt'; did you mean 'prompt'?"),
        ('{ prompt = ["a", "b"] }', 'prompt takes one column; join several as "{a} {b}"'),
        ('{ prompt = "" }', "prompt names no column"),
        ("{ prompt = 3 }", "Input should be a valid string"),
    ],
)
def test_what_is_wrong_with_the_table_of_columns(
    write: Callable[[str], None], problems: Refused, columns: str, problem: str
) -> None:
    (found,) = problems(f"{TABLE}columns = {columns}\n")

    assert found.startswith("suite.toml:5: case source 'csv': columns={")
    assert found.endswith(f": {problem}")


def test_a_table_without_a_prompt_is_refused(
    write: Callable[[str], None], problems: Refused
) -> None:
    """The message lists the columns, since one of them must be the prompt."""
    write("nr,question\n1,a\n")

    assert problems(TABLE) == [
        "t.csv:1: no column is the prompt; name it: columns = { prompt = … } with one of nr, "
        "question"
    ]


def test_a_sample_is_seeded_nested_and_in_order(write: Callable[[str], None], cases: Load) -> None:
    """The same seed draws the same rows, another one others; a smaller draw is part of a larger."""
    write("id,prompt\n" + "".join(f"{i:02},p{i}\n" for i in range(50)))

    def drawn(options: str) -> list[str]:
        return [case.id for case in cases(TABLE + options)]

    ten = drawn("sample = 10")
    assert ten == drawn("sample = 10\nseed = 0") == sorted(ten)
    assert set(drawn("sample = 5")) < set(ten)
    assert any(drawn(f"sample = 10\nseed = {seed}") != ten for seed in range(1, 9))
    assert drawn("limit = 2") == ["00", "01"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("sample = 3", "t.csv:1: sample=3, but there are 2 rows; at most 2"),
        ("sample = 1\nlimit = 1", "t.csv:1: limit=1 and sample=1: give one of them"),
        ("sample = 0", "Input should be greater than or equal to 1"),
        ('delimiter = "::"', "String should have at most 1 character"),
    ],
)
def test_parts_that_cannot_be_taken(
    write: Callable[[str], None], problems: Refused, options: str, problem: str
) -> None:
    """A draw that is larger than the file would be another one than was asked for."""
    write(TICKETS)

    assert problem in problems(TABLE + COLUMNS + options)[0]


def test_many_broken_rows_are_counted(write: Callable[[str], None], problems: Refused) -> None:
    """The same problem is shown once, with its count; at most fifty are listed."""
    write("id,prompt\n" + "1\n" * 60)

    (found,) = problems(TABLE)
    assert found.endswith("(59 more rows like it)")

    each = "".join(f'{n},"","x{"y" * n}z"\n' for n in range(3, 6))
    write("id,prompt,expected\n" + each)
    assert len(problems(TABLE)) == 3


def test_repeated_rows_are_one_line_and_can_be_dropped(
    write: Callable[[str], None], cases: Load, problems: Refused
) -> None:
    """Two answers to one question are one piece of evidence; an id says that it is meant so."""
    write("question,answer\na,x\nb,y\n" + "a,x\n" * 30)
    columns = 'columns = { prompt = "question", expected = "answer" }\n'

    assert problems(TABLE + columns) == [
        "t.csv:4: the same as t.csv:2, and 29 more rows like it; remove them, give ids, or set "
        'repeated = "drop"'
    ]
    assert [c.prompt for c in cases(TABLE + columns + 'repeated = "drop"')] == ["a", "b"]


def test_a_conversation_that_ends_with_its_answer_is_no_question(
    write: Callable[[str], None], problems: Refused
) -> None:
    """The model would be asked to go on after the right answer."""
    turns = (
        '[{""role"": ""user"", ""content"": ""a""}, {""role"": ""assistant"", ""content"": ""x""}]'
    )
    write(f'messages\n"{turns}"\n')

    assert problems(TABLE)[0].startswith(
        "t.csv:2: messages: the assistant's turn at the end would be part of the question; move"
    )
