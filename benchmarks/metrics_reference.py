"""Overlap metrics against the libraries: `python -m benchmarks.metrics_reference --data DIR`.

DIR holds 1,600 rows of summaries with the numbers that rouge-score and sacrebleu gave for them
(`summeval_rouge_sacrebleu.jsonl.gz`), and corpus scores of the 16 systems that wrote them
(`summeval_corpus.json`). Every row is scored by ours as a case, every system's counts are summed,
and the largest difference of each number is printed; it must not exceed 1e-6.

The texts of the data's eleven references a summary are not among them. Several references are
compared with sacrebleu as it is installed: 30 summaries of system 0 against the reference and what
systems 1 and 2 wrote.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunegate.harness.metric import Metric
from tunegate.harness.metrics.bleu import bleu
from tunegate.harness.metrics.chrf import chrf
from tunegate.harness.metrics.rouge import rouge
from tunegate.harness.metrics.ter import ter
from tunegate.harness.records.cases import Case, Completion, Score

LIMIT = 1e-6
"""Largest difference that is rounding; the ROUGE numbers of the data have ten digits."""
VARIANTS = ("rouge1", "rouge2", "rougeL", "rougeLsum")
MEASURES = ("precision", "recall", "f")


@dataclass
class Differences:
    """The largest difference of each number, and how many were compared."""

    largest: dict[str, float] = field(default_factory=dict)
    counted: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, ours: float, theirs: float) -> None:
        """Compare one number."""
        self.largest[name] = max(self.largest.get(name, 0.0), abs(ours - theirs))
        self.counted[name] = self.counted.get(name, 0) + 1

    def report(self) -> bool:
        """Print the table; return whether all numbers agree."""
        print(f"{'number':<34} {'compared':>8} {'largest difference':>20}")
        for name, largest in self.largest.items():
            print(f"{name:<34} {self.counted[name]:>8} {largest:>20.3g}")
        return max(self.largest.values()) <= LIMIT


def main() -> int:
    """Print the table; return 1 if a number differs from the library's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--systems", type=int, nargs="+", default=list(range(16)))
    options = parser.parse_args()
    folder: Path = options.data
    found = Differences()
    counts: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    rows = list(_rows(folder))
    for row in (row for row in rows if row["system"] in options.systems):
        for name, score, theirs in _scores(row):
            assert score.value is not None, (row["id"], name, score.reason)
            found.add(name, score.value, theirs)
            if score.counts is not None:
                counts.setdefault((str(row["system"]), name), []).append(score.counts)
        _rouge(row, found)
    _corpora(folder, counts, found)
    if 0 in options.systems:
        _several(rows, found)
    return 0 if found.report() else 1


def _rows(folder: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(folder / "summeval_rouge_sacrebleu.jsonl.gz", "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _scores(row: dict[str, Any]) -> Iterator[tuple[str, Score, float]]:
    case, answer = _pair(row)
    yield "sentence BLEU", bleu(case, answer), row["sentence_bleu"]
    yield "sentence chrF2", chrf(case, answer), row["chrf2"]
    yield "sentence chrF2++", chrf(case, answer, word_order=2), row["chrf2pp"]
    yield "sentence TER", ter(case, answer), row["ter"]


def _pair(row: dict[str, Any]) -> tuple[Case, Completion]:
    return Case(id=row["id"], prompt="p", expected=row["ref"]), Completion(text=row["hyp"])


def _rouge(row: dict[str, Any], found: Differences) -> None:
    case, answer = _pair(row)
    for stemmer, column in ((True, "rouge_stem"), (False, "rouge_nostem")):
        for variant in VARIANTS:
            score = rouge(case, answer, variant=variant, stemmer=stemmer)
            for measure, theirs in zip(MEASURES, row[column][variant], strict=True):
                found.add(f"{column} {variant}", (score.parts or {})[measure], theirs)


def _corpora(
    folder: Path, counts: dict[tuple[str, str], list[tuple[float, ...]]], found: Differences
) -> None:
    text = (folder / "summeval_corpus.json").read_text(encoding="utf-8")
    compared = {
        "corpus BLEU": ("sentence BLEU", bleu, "corpus_bleu_1ref"),
        "corpus chrF2": ("sentence chrF2", chrf, "corpus_chrf_1ref"),
        "corpus TER": ("sentence TER", ter, "corpus_ter_1ref"),
    }
    for system, theirs in json.loads(text)["per_system"].items():
        for name, (rows, metric, key) in compared.items():
            if (system, rows) not in counts:
                continue
            found.add(name, _level(metric, counts[system, rows]), theirs[key])


def _several(rows: list[dict[str, Any]], found: Differences) -> None:
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF
    from sacrebleu.metrics.ter import TER

    texts = {(row["system"], row["id"]): row["hyp"] for row in rows}
    own = [row for row in rows if row["system"] == 0][:30]
    references = [[row["ref"], *(texts[i, row["id"]] for i in (1, 2))] for row in own]
    answers = [row["hyp"] for row in own]
    peers = (
        ("BLEU", bleu, BLEU(effective_order=True), BLEU()),
        ("chrF2", chrf, CHRF(), CHRF()),
        ("TER", ter, TER(), TER()),
    )
    for name, metric, sentence, corpus in peers:
        counts = []
        for answer, wanted in zip(answers, references, strict=True):
            case = Case(id="c", prompt="p", expected=tuple(wanted))
            score = metric(case, Completion(text=answer))
            assert score.value is not None, score.reason
            assert score.counts is not None
            theirs = sentence.sentence_score(answer, wanted).score
            found.add(f"sentence {name}, 3 references", score.value, theirs)
            counts.append(score.counts)
        streams = [list(stream) for stream in zip(*references, strict=True)]
        theirs = corpus.corpus_score(answers, streams).score
        found.add(f"corpus {name}, 3 references", _level(metric, counts), theirs)


def _level(metric: Metric, rows: list[tuple[float, ...]]) -> float:
    assert metric.corpus is not None
    return metric.corpus([sum(column) for column in zip(*rows, strict=True)])


if __name__ == "__main__":
    sys.exit(main())
