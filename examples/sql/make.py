"""Write train.jsonl and questions/cases.jsonl: questions to the shop of the suite sql.

Rows to train on and cases that gate share no sentence and no query, neither with each other nor
with the suite. The same seed gives the same bytes:

    python examples/sql/make.py
"""

import itertools
import json
import random
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SUITE = HERE.parents[1] / "suites/sql"
SEED = 10
ROWS, CASES = 320, 100

SYSTEM = """Answer with one SQLite query.
customer(id, name, city, email, joined)
product(id, name, category, price, stock)
purchase(id, customer_id, day, status)"""

CITIES = ["Bergen", "Cork", "Delft", "Essen", "Ghent", "Turin"]
CONDITIONS: dict[str, list[tuple[str, list[Any], list[str], list[str]]]] = {
    "customer": [
        ("city = '{}'", CITIES, ["from {}", "in the city {}"], ["living in {}"]),
        ("email IS NULL", [""], ["without an email"], ["who have no email"]),
        ("joined >= '{}-01-01'", [2022, 2023, 2024], ["who joined in {} or later"],
         ["who joined since {}"]),
    ],
    "product": [
        ("category = '{}'", ["kitchen", "garden", "office", "toys"],
         ["in the category {}", "of the category {}"], ["belonging to the category {}"]),
        ("price < {}", [10, 15, 20, 30, 40, 60], ["that cost less than {}", "cheaper than {}"],
         ["with a price below {}"]),
        ("price > {}", [10, 15, 20, 30, 40, 60], ["that cost more than {}", "dearer than {}"],
         ["with a price above {}"]),
        ("stock >= {}", [3, 5, 8, 12, 20], ["that have {} or more in stock"],
         ["with a stock of at least {}"]),
    ],
    "purchase": [
        ("status = '{}'", ["open", "paid", "sent", "returned"], ["with the status {}"],
         ["whose status is {}"]),
        ("customer_id = {}", range(1, 39), ["of customer {}"], ["made by customer {}"]),
        ("day LIKE '{}-%'", ["2024", "2025"], ["of the year {}"], ["made in the year {}"]),
    ],
}  # fmt: skip
"""Table → condition, its values, its words in training and in the cases."""
LISTED = {
    "customer": ["id", "name", "city"],
    "product": ["id", "name", "price", "stock"],
    "purchase": ["id", "day"],
}
NUMBERS = {"product": ["price", "stock"]}
GROUPS = {
    "customer": ["city"],
    "product": ["category"],
    "purchase": ["status", "customer_id"],
}
AGGREGATES = {"AVG": "average", "MAX": "highest", "MIN": "lowest", "SUM": "total"}
SENTENCES = {
    "train": {
        "list": ["I want the {c} of the {t}s {w}.", "List the {c} of all {t}s {w}.",
                 "Show me the {c} of the {t}s {w}."],
        "count": ["How many {t}s {w} are there?", "Count the {t}s {w}.",
                  "How many {t}s {w} do we have?"],
        "number": ["What is the {a} {c} of the {t}s {w}?", "Find the {a} {c} of the {t}s {w}."],
        "distinct": ["List each {c} of the {t}s {w} once.", "Which {c} values do {t}s {w} have?"],
        "groups": ["How many {t}s are there for each {g}?", "Count the {t}s by {g}."],
        "numbers": ["What is the {a} {c} of the {t}s for each {g}?",
                    "Show the {a} {c} of the {t}s by {g}."],
    },
    "gate": {
        "list": ["Give me the {c} of every {t} {w}."],
        "count": ["What is the number of {t}s {w}?"],
        "number": ["Tell me the {a} {c} among the {t}s {w}."],
        "distinct": ["Which different {c} values are there among the {t}s {w}?"],
        "groups": ["Give the number of {t}s per {g}."],
        "numbers": ["Give the {a} {c} of the {t}s per {g}."],
    },
}  # fmt: skip
SHARES = {"list": 5, "count": 3, "number": 3, "distinct": 1, "groups": 1, "numbers": 2}


def main() -> None:
    """Write both files."""
    with (SUITE / "cases.jsonl").open(encoding="utf-8") as lines:
        used = {json.loads(line)["expected"] for line in lines}
    cases = list(itertools.islice(make_questions("gate", used), CASES))
    rows = list(itertools.islice(make_questions("train", used), ROWS))
    _write(HERE / "train.jsonl", (_row(*pair[:2]) for pair in rows))
    _write(HERE / "questions/cases.jsonl", (_case(*pair) for pair in cases))


def make_questions(part: str, used: set[str]) -> Iterator[tuple[str, str, str]]:
    """Yield questions, their queries and their kinds; no query is in `used` or comes twice.

    A few queries are kept for training, so that it has some of every kind.
    """
    rng = random.Random(f"{SEED} {part}")
    shop = sqlite3.connect(":memory:")
    shop.executescript((SUITE / "databases/shop.sql").read_text(encoding="utf-8"))
    seen: set[str] = set()
    while True:
        kind = rng.choices([*SHARES], [*SHARES.values()])[0]
        question, query = _draw(kind, part, rng)
        kept = part == "gate" and sum(query.encode()) % 4 != 0
        if kept or query in used or question in seen:
            continue
        result = shop.execute(query).fetchall()
        if not result or result[0][0] is None:
            continue
        seen.add(question)
        if part == "gate":
            used.add(query)
        yield question, query, kind


def _draw(kind: str, part: str, rng: random.Random) -> tuple[str, str]:
    table = rng.choice([*(NUMBERS if kind.startswith("number") else LISTED)])
    sentence = rng.choice(SENTENCES[part][kind])
    if kind in ("groups", "numbers"):
        group = rng.choice(GROUPS[table])
        aggregate, column = _aggregate(table, rng) if kind == "numbers" else ("COUNT", "*")
        words = {"g": _words(group), "a": AGGREGATES.get(aggregate), "c": column, "t": table}
        return sentence.format(**words), (
            f"SELECT {group}, {aggregate}({column}) FROM {table} GROUP BY {group}"
        )
    where, words_of_where = _condition(table, part, rng)
    if kind == "count":
        return sentence.format(t=table, w=words_of_where), (
            f"SELECT COUNT(*) FROM {table} WHERE {where}"
        )
    if kind == "number":
        aggregate, column = _aggregate(table, rng)
        words = {"a": AGGREGATES[aggregate], "c": column, "t": table, "w": words_of_where}
        return sentence.format(**words), f"SELECT {aggregate}({column}) FROM {table} WHERE {where}"
    if kind == "distinct":
        column = rng.choice(LISTED[table][1:])
        return sentence.format(c=column, t=table, w=words_of_where), (
            f"SELECT DISTINCT {column} FROM {table} WHERE {where}"
        )
    columns = rng.sample(LISTED[table], rng.choice((1, 2)))
    return sentence.format(c=" and ".join(columns), t=table, w=words_of_where), (
        f"SELECT {', '.join(columns)} FROM {table} WHERE {where}"
    )


def _condition(table: str, part: str, rng: random.Random) -> tuple[str, str]:
    where, values, training, gating = rng.choice(CONDITIONS[table])
    value = rng.choice(values)
    words = rng.choice(training if part == "train" else gating)
    return where.format(value), words.format(value)


def _aggregate(table: str, rng: random.Random) -> tuple[str, str]:
    return rng.choice([*AGGREGATES]), rng.choice(NUMBERS[table])


def _words(column: str) -> str:
    return column.removesuffix("_id")


def _row(question: str, query: str) -> dict[str, Any]:
    return {
        "prompt": [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": question},
        ],
        "completion": [{"role": "assistant", "content": query}],
    }


def _case(question: str, query: str, kind: str) -> dict[str, Any]:
    form = re.sub(r"'.*'|\d+", "…", query.partition(" FROM ")[2])
    return {
        "prompt": question,
        "expected": query,
        "database": "shop",
        "tags": [kind],
        "cluster": f"{kind}: {form}",
    }


def _write(file: Path, lines: Iterator[dict[str, Any]]) -> None:
    text = "".join(json.dumps(line) + "\n" for line in lines)
    file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
