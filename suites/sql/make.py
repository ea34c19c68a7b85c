"""Write the databases and cases.jsonl; the questions are in `material/questions.toml`.

The rows are drawn with a fixed seed, so the bytes are the same each time:

    python -m tunegate.suites.sql.make
"""

import json
import random
import tomllib
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SEED = 20261162
Rows = list[tuple[Any, ...]]
Tables = dict[str, Rows]

WORDS = tomllib.loads((HERE / "material/words.toml").read_text(encoding="utf-8"))
BOUNDARIES = {
    1: "2025-06-01", 2: "2025-06-30", 3: "2025-05-31", 4: "2025-07-01", 5: "2024-12-31",
    6: "2025-01-01", 7: "2023-01-01", 8: "2022-12-31",
}  # fmt: skip
"""Row → a day on which questions turn."""

SCHEMAS = {
    "shop": {
        "customer": "id INTEGER PRIMARY KEY, name TEXT, city TEXT, email TEXT, joined TEXT",
        "product": "id INTEGER PRIMARY KEY, name TEXT, category TEXT, price REAL, stock INTEGER",
        "purchase": "id INTEGER PRIMARY KEY, customer_id INTEGER, day TEXT, status TEXT",
        "line": "purchase_id INTEGER, product_id INTEGER, quantity INTEGER",
        "review": "id INTEGER PRIMARY KEY, product_id INTEGER, customer_id INTEGER, "
        "stars INTEGER, comment TEXT",
    },
    "library": {
        "branch": "id INTEGER PRIMARY KEY, name TEXT, city TEXT, opened INTEGER",
        "member": "id INTEGER PRIMARY KEY, name TEXT, branch_id INTEGER, joined TEXT, birth TEXT",
        "author": "id INTEGER PRIMARY KEY, name TEXT, country TEXT, born INTEGER",
        "book": "id INTEGER PRIMARY KEY, title TEXT, author_id INTEGER, genre TEXT, "
        "year INTEGER, pages INTEGER",
        "copy": "id INTEGER PRIMARY KEY, book_id INTEGER, branch_id INTEGER, condition TEXT",
        "loan": "id INTEGER PRIMARY KEY, copy_id INTEGER, member_id INTEGER, taken TEXT, "
        "due TEXT, returned TEXT",
    },
}
NOTES = {
    "shop": "Dates are texts such as 2025-03-14. The status is open, paid, sent or returned. "
    "Unknown emails and missing comments are NULL. A line is a product of a purchase.",
    "library": "Dates are texts such as 2025-03-14; opened, born and year are numbers of years. "
    "A copy is good, worn or damaged. Unknown values are NULL; a loan that is not back has "
    "returned NULL.",
}


def main() -> None:
    """Write the files."""
    for name, tables in (("shop", make_shop()), ("library", make_library())):
        text = "".join(f"{line}\n" for line in script_lines(name, tables))
        (HERE / "databases" / f"{name}.sql").write_text(text, encoding="utf-8")
    lines = (json.dumps(case, ensure_ascii=False) for case in make_cases())
    (HERE / "cases.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def make_cases() -> Iterator[dict[str, Any]]:
    """Yield the lines of cases.jsonl."""
    material = tomllib.loads((HERE / "material/questions.toml").read_text(encoding="utf-8"))
    for database, questions in material.items():
        for number, one in enumerate(questions, start=1):
            yield {
                "id": f"{database}-{number:02}",
                "prompt": f"{describe(database)}\n\n{one['question']}",
                "expected": one["query"],
                "database": database,
                "tags": [one["level"], *one["kinds"]],
            }


def describe(database: str) -> str:
    """Return the tables of a database as the prompts show them."""
    tables = [
        f"{table}({', '.join(column.split()[0] for column in columns.split(', '))})"
        for table, columns in SCHEMAS[database].items()
    ]
    return "\n".join([*tables, NOTES[database]])


def script_lines(database: str, tables: Tables) -> Iterator[str]:
    """Yield the lines of the script that makes a database."""
    for table, columns in SCHEMAS[database].items():
        yield f"CREATE TABLE {table} ({columns});"
        yield f"INSERT INTO {table} VALUES"
        rows = [f"  ({', '.join(map(_literal, row))})" for row in tables[table]]
        yield ",\n".join(rows) + ";"


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    return f"'{value.replace(chr(39), chr(39) * 2)}'" if isinstance(value, str) else str(value)


def make_shop() -> Tables:
    """Return the rows of the shop."""
    rng = random.Random(SEED)
    names = _names(rng, 38)
    customers = [
        (i, name, rng.choice(WORDS["cities"]),
         _maybe(rng, 0.7, f"{name[:3].lower()}{i}@mail.example"),
         BOUNDARIES[i] if i in (7, 8) else _day(rng, 2021, 4))
        for i, name in enumerate(names, start=1)
    ]  # fmt: skip
    named = [(name, kind) for kind, names in WORDS["products"].items() for name in names]
    products = [
        (i, name, kind, rng.choice(WORDS["prices"]), rng.choice((0, 0, 3, 5, 8, 12, 20, 40)))
        for i, (name, kind) in enumerate(named, start=1)
    ]
    buyers = rng.sample(range(1, 39), 30)
    sold = rng.sample(range(1, len(products) + 1), len(products) - 4)
    purchases = [
        (i, rng.choice(buyers), BOUNDARIES[i] if i < 7 else _day(rng, 2024, 2),
         rng.choices(("sent", "paid", "open", "returned"), (50, 20, 15, 15))[0])
        for i in range(1, 111)
    ]  # fmt: skip
    lines = [
        (purchase[0], product, rng.choice((1, 1, 1, 2, 2, 3, 5)))
        for purchase in purchases
        for product in rng.sample(sold, rng.choice((1, 1, 2, 2, 3, 4)))
    ]
    reviews = [
        (i, rng.choice(sold), rng.choice(buyers), rng.choice((1, 2, 3, 3, 4, 4, 5, 5)),
         _maybe(rng, 0.6, rng.choice(("Good value.", "Broke soon.", "Lovely.", "As described."))))
        for i in range(1, 81)
    ]  # fmt: skip
    tables = (customers, products, purchases, lines, reviews)
    return dict(zip(SCHEMAS["shop"], tables, strict=True))


def make_library() -> Tables:
    """Return the rows of the library."""
    rng = random.Random(SEED + 1)
    named = ("Harbor", "Old Town", "Station", "Hillside", "Campus")
    towns = ("Bergen", "Bergen", "Cork", "Delft", "Delft")
    branches = [
        (i, name, town, rng.randrange(1950, 2021))
        for i, (name, town) in enumerate(zip(named, towns, strict=True), start=1)
    ]
    members = [
        (i, name, _maybe(rng, 0.85, rng.randrange(1, 5)), _day(rng, 2019, 6), _day(rng, 1950, 55))
        for i, name in enumerate(_names(rng, 40), start=1)
    ]
    authors = [
        (i, name, rng.choice(WORDS["countries"]), _maybe(rng, 0.8, rng.randrange(1900, 1990)))
        for i, name in enumerate(_names(rng, 16), start=1)
    ]
    titles = [*WORDS["titles"], "Low Tide", "Field Notes", "Northbound"]
    books = [
        (i, title, rng.randrange(1, 15), rng.choice(WORDS["genres"]), rng.randrange(1960, 2024),
         _maybe(rng, 0.85, rng.choice((120, 180, 200, 240, 300, 301, 400, 512))))
        for i, title in enumerate(titles, start=1)
    ]  # fmt: skip
    kept = rng.sample(range(1, len(books) + 1), len(books) - 3)
    copies = [
        (i, kept[(i - 1) % len(kept)] if i <= 40 else rng.choice(kept), rng.randrange(1, 5),
         rng.choices(("good", "worn", "damaged"), (60, 25, 15))[0])
        for i in range(1, 81)
    ]  # fmt: skip
    lent = rng.sample(range(1, 81), 68)
    readers = rng.sample(range(1, 41), 33)
    loans = [_loan(rng, i, rng.choice(lent), rng.choice(readers)) for i in range(1, 151)]
    tables = (branches, members, authors, books, copies, loans)
    return dict(zip(SCHEMAS["library"], tables, strict=True))


def _loan(rng: random.Random, number: int, copy: int, member: int) -> tuple[Any, ...]:
    taken = date.fromisoformat(_day(rng, 2024, 2))
    due = taken + timedelta(days=28)
    returned = taken + timedelta(days=rng.choice((5, 12, 20, 27, 28, 29, 35, 50)))
    back = _maybe(rng, 0.85, returned.isoformat())
    return number, copy, member, taken.isoformat(), due.isoformat(), back


def _names(rng: random.Random, count: int) -> list[str]:
    """Return names of people; the last two occur twice."""
    pairs: Iterable[str] = (f"{first} {last}" for first in WORDS["first"] for last in WORDS["last"])
    names = rng.sample(list(pairs), count - 2)
    return [*names, *names[:2]]


def _day(rng: random.Random, year: int, years: int) -> str:
    start = date(year, 1, 1)
    return (start + timedelta(days=rng.randrange(365 * years))).isoformat()


def _maybe(rng: random.Random, chance: float, value: Any) -> Any:
    return value if rng.random() < chance else None


if __name__ == "__main__":
    main()
