"""Verdicts of two judges and three annotators: `python -m benchmarks.judge_pandalm DIR`.

DIR holds PandaLM's test set (`testset-v1.json`: 999 pairs of answers, each judged by three people
as "first better", "second better" or "tie") and what GPT-3.5-turbo and PandaLM-7B said of the same
pairs. Printed are agreement with the majority of the annotators, Cohen's kappa, what a judge that
always says the commonest label would get, the share of decided verdicts that goes to the answer
shown first, and, on the pairs that occur in the data more than once, how often a verdict changes
with the order and without it. People are measured against each other by the same functions.

A reply that could not be read is no verdict: it leaves the agreement, and is counted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunegate.harness.stats.judge_accuracy import accuracy, cohens_kappa, constant_baseline
from tunegate.harness.stats.judge_bias import (
    first_position_share,
    first_position_test,
    order_flips,
    repeat_flips,
)
from tunegate.harness.stats.types import Interval

ANNOTATORS = ("annotator1", "annotator2", "annotator3")
FIRST, SECOND, TIE = 1, 2, 0
LABELS = (FIRST, SECOND, TIE)
WORDS = {"1": FIRST, "2": SECOND, "0": TIE, "Tie": TIE}
"""Spellings of a verdict in the files; anything else could not be read."""
JUDGES = {
    "GPT-3.5-turbo": ("gpt-3.5-turbo-testset-v1.json", "gpt_result"),
    "PandaLM-7B": ("pandalm-7b-testset-v1.json", "pandalm_result"),
}

Verdicts = Sequence[int | None]


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of one judge."""

    name: str
    unread: int
    agreement: Interval
    baseline: float
    kappa: Interval
    first: Interval
    first_p: float
    swapped: Interval | None
    """Share of pairs, occurring in both orders, whose verdict changes with the order."""
    repeated: Interval | None
    """Share of pairs, occurring twice in one order, whose verdict changes without reason."""


def measure(
    name: str, rows: Sequence[Mapping[str, Any]], verdicts: Verdicts, truth: Verdicts
) -> Found:
    """Measure a judge against labels; pairs without a verdict or a label are left out."""
    both = [(t, v) for t, v in zip(truth, verdicts, strict=True) if t is not None and v is not None]
    counts = Counter(both)
    table = [[counts[t, v] for v in LABELS] for t in LABELS]
    places = Counter(verdict for verdict in verdicts if verdict is not None)
    swapped, repeated = _again(rows, verdicts)
    return Found(
        name=name,
        unread=sum(verdict is None for verdict in verdicts),
        agreement=accuracy(table),
        baseline=constant_baseline(table),
        kappa=cohens_kappa(table),
        first=first_position_share(places[FIRST], places[SECOND]),
        first_p=first_position_test(places[FIRST], places[SECOND]).p_value,
        swapped=order_flips(*zip(*swapped, strict=True)) if swapped else None,
        repeated=repeat_flips(repeated) if repeated else None,
    )


def majority(rows: Sequence[Mapping[str, Any]]) -> list[int | None]:
    """Return the label of at least two of the three annotators; None where all differ."""
    found = [Counter(row[name] for name in ANNOTATORS).most_common(1)[0] for row in rows]
    return [label if count > 1 else None for label, count in found]


def _again(
    rows: Sequence[Mapping[str, Any]], verdicts: Verdicts
) -> tuple[list[tuple[int, int]], list[list[int]]]:
    """Return oriented verdicts on pairs in both orders, and verdicts on pairs asked twice."""
    asked: dict[Any, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row, verdict in zip(rows, verdicts, strict=True):
        answers = (str(row["response1"]), str(row["response2"]))  # one of them is `true`
        if verdict is not None and answers[0] != answers[1]:
            pair = (row["instruction"], row["input"], *sorted(answers))
            asked[pair][answers[0]].append(_oriented(verdict, answers))
    orders = [list(pair.values()) for pair in asked.values()]
    swapped = [(pair[0][0], pair[1][0]) for pair in orders if len(pair) == 2]
    repeated = [said for pair in orders for said in pair if len(said) > 1]
    return swapped, repeated


def _oriented(verdict: int, answers: tuple[str, str]) -> int:
    """Return 1 for the answer that sorts first, -1 for the other, 0 for a tie, in either order."""
    if verdict == TIE:
        return 0
    return 1 if answers[verdict - 1] == min(answers) else -1


def read(folder: Path) -> tuple[list[dict[str, Any]], dict[str, list[int | None]]]:
    """Read the pairs and each judge's verdicts on them.

    Raises:
        ValueError: a judge's file speaks of other pairs.
    """
    rows = _json(folder / "testset-v1.json")
    verdicts = {}
    for name, (file, key) in JUDGES.items():
        recorded = _json(folder / file)
        if [row["idx"] for row in recorded] != [row["idx"] for row in rows]:
            raise ValueError(f"{folder / file}: other pairs than in testset-v1.json")
        verdicts[name] = [WORDS.get(str(row[key])) for row in recorded]
    return rows, verdicts


def _json(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def results(folder: Path) -> Iterator[Found]:
    """Yield the judges against the majority, then each annotator against another."""
    rows, judges = read(folder)
    truth = majority(rows)
    for name, verdicts in judges.items():
        yield measure(name, rows, verdicts, truth)
    people = {name: [int(row[name]) for row in rows] for name in ANNOTATORS}
    for one, other in zip(ANNOTATORS, (*ANNOTATORS[1:], ANNOTATORS[0]), strict=True):
        yield measure(f"{one[-1]} against {other[-1]}", rows, people[one], people[other])


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.judge_pandalm")
    parser.add_argument("folder", type=Path, help="folder of PandaLM's test set")
    titles = ("", "unread", "agreement", "constant", "kappa", "first", "p", "swapped", "again")
    widths = (14, 6, 20, 8, 20, 20, 8, 20, 20)
    print(" ".join(f"{t:<{w}}" for t, w in zip(titles, widths, strict=True)))
    for found in results(parser.parse_args().folder):
        cells = (
            found.name,
            str(found.unread),
            _interval(found.agreement),
            f"{found.baseline:.3f}",
            _interval(found.kappa),
            _interval(found.first),
            f"{found.first_p:.3g}",
            _interval(found.swapped),
            _interval(found.repeated),
        )
        print(" ".join(f"{c:<{w}}" for c, w in zip(cells, widths, strict=True)).rstrip())
    return 0


def _interval(interval: Interval | None) -> str:
    if interval is None:
        return "-"
    return f"{interval.estimate:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


if __name__ == "__main__":
    sys.exit(main())
