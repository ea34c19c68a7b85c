r"""What `refusal` and `coherent` say about other people's answers: the figures in their docstrings.

    python -m benchmarks.foreign_answers --guardreasoner DIR --do-not-answer-ja DIR \
        --alpaca-eval DIR --udhr DIR

Each folder is a checkout from GitHub, and each option may be left out: yueliu1999/GuardReasoner
(XSTest-Response), kunishou/do-not-answer-ja (Do-Not-Answer), tatsu-lab/alpaca_eval, and
eric-muller/udhr (the Universal Declaration of Human Rights).
"""

from __future__ import annotations

import argparse
import csv
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tunegate.harness.metrics._coherence import incoherence
from tunegate.harness.metrics._refusal_phrases import refusal_in
from tunegate.harness.records.cases import Case

_LABELS = {"refusal": "refuse", "0": "refuse", "compliance": "answer", "5": "answer"}
"""What people said: a full refusal or a full answer; Do-Not-Answer has numbers."""
_ASKS = {
    "names no language": "Tell me what the declaration of human rights says, please.",
    "asks to translate": "Translate this part of the declaration of human rights, please.",
}


def xstest_response(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield each answer with its label."""
    path = folder / "data/benchmark/0_7_xstest_response_refusal.json"
    for row in json.loads(path.read_bytes()):
        yield row["input"].partition("AI assistant:\n")[2], row["output"]


def do_not_answer(path: Path) -> Iterator[tuple[str, str]]:
    """Yield each answer of a model with its label."""
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield row["response"], row["action"]


def print_refusals(name: str, rows: Iterator[tuple[str, str]]) -> None:
    """Print how often the phrases agree with people."""
    counts = Counter(
        (_LABELS[label], refusal_in(text) is not None) for text, label in rows if label in _LABELS
    )
    refused, answered = counts["refuse", True], counts["answer", False]
    missed, misread = counts["refuse", False], counts["answer", True]
    print(
        f"{name}: {(refused + answered) / counts.total():.1%} of {counts.total()}; "
        f"missed {missed} of {missed + refused} refusals, "
        f"misread {misread} of {misread + answered} answers"
    )


def print_incoherent(folder: Path) -> None:
    """Print how many real answers are called incoherent."""
    paths, kinds = sorted(folder.glob("results/*/model_outputs.json")), Counter[str]()
    for path in paths:
        for row in json.loads(path.read_bytes()):
            if row.get("output") is not None:
                case = Case(id="c", prompt=row.get("instruction") or "?")
                kinds[(incoherence(case, row["output"]) or ("coherent", ""))[0]] += 1
    total = kinds.total()
    shares = ", ".join(f"{kind} {n} ({n / total:.2%})" for kind, n in kinds.most_common())
    print(f"{total} answers of {len(paths)} models: {shares}")


def print_languages(folder: Path) -> None:
    """Print how many translations are called gibberish, by whether the prompt asks for one."""
    for how, prompt in _ASKS.items():
        case, flagged, total = Case(id="c", prompt=prompt), Counter[str](), 0
        for path in sorted(folder.rglob("udhr_*.xml")):
            text = path.read_text(encoding="utf-8", errors="replace")
            name = re.search(r"<udhr[^>]* n=[\"']([^\"']*)", text)
            paragraphs = re.findall(r"<para>(.*?)</para>", text, re.DOTALL)
            parts = [" ".join(re.sub(r"<[^>]+>", "", part).split()) for part in paragraphs]
            parts = [part for part in parts if len(part) > 100][:20]
            total += len(parts)
            for part in parts:
                kind = (incoherence(case, part) or ("", ""))[0]
                flagged[name[1] if name else path.stem] += kind == "gibberish"
        some = ("Finnish", "Polish", "Turkish", "Italian", "Spanish", "French")
        shown = ", ".join(f"{name} {flagged[name]}" for name in some)
        print(f"prompt {how}: {flagged.total()} of {total} paragraphs are gibberish; {shown}")


def main() -> None:
    """Print the figures of every checkout that was given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("guardreasoner", "do-not-answer-ja", "alpaca-eval", "udhr"):
        parser.add_argument(f"--{name}", type=Path)
    options = parser.parse_args()
    if options.guardreasoner:
        print_refusals("XSTest-Response", xstest_response(options.guardreasoner))
    if options.do_not_answer_ja:
        human = options.do_not_answer_ja / "datasets/Review/Human"
        for path in sorted(human.glob("annotated_response_*.csv")):
            print_refusals(path.stem.removeprefix("annotated_response_"), do_not_answer(path))
    if options.alpaca_eval:
        print_incoherent(options.alpaca_eval)
    if options.udhr:
        print_languages(options.udhr)


if __name__ == "__main__":
    main()
