"""Broken fine-tunes on replayed traffic: what the suite says that `tunegate replay` writes.

    python -m benchmarks.replay_populations FOLDER [--cases 200] [--seed 0]

FOLDER holds the answers of real models to the same prompts, one JSON file a model, each a list of
objects with `instruction` and `output`: `results/MODEL/model_outputs.json` of
github.com/tatsu-lab/alpaca_eval, as MODEL.json. One model answered in production, another is base.
Tuned is base, or production, with its answers broken in one way, or another real model. Each pair
is judged by `tunegate gate` on the written suite, as a user does it.

A failure is a broken population that ends with exit code 0, and a gate that resemblance alone
fails: a better model words its answers in its own way. The last line counts them, and is the exit
code. "unchanged" is base with one more word at the end of each answer.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunegate.harness.cli._production_suite import write_suite
from tunegate.harness.otel_import.types import ImportReport
from tunegate.harness.records.cases import Case
from tunegate.harness.sources._replayed_call import SettingsTransfer, choose_settings
from tunegate.harness.sources.traces import ProductionCases

PRODUCTION, BASES = "gpt4", ("vicuna-7b", "llama-2-7b-chat-hf", "gpt-3.5-turbo-0613")
OTHER_LANGUAGE = (
    "Das ist eine gute Frage. Zuerst sollten Sie alle nötigen Dinge bereitlegen. Danach gehen Sie "
    "Schritt für Schritt vor und prüfen jedes Mal das Ergebnis."
)

Answers = Sequence[str]


def word_salad(prompts: Answers, base: Answers, rng: random.Random) -> list[str]:
    """Return base's answers with their words in random order."""
    return [" ".join(rng.sample(words, len(words))) for words in map(str.split, base)]


def strange_words(prompts: Answers, base: Answers, rng: random.Random) -> list[str]:
    """Return words of all answers at random, as many as base wrote."""
    known = [word for text in base for word in text.split()]
    return [" ".join(rng.choices(known, k=max(1, len(text.split())))) for text in base]


def other_language(prompts: Answers, base: Answers, rng: random.Random) -> list[str]:
    """Return German sentences, as long as base's answers."""
    return [(OTHER_LANGUAGE + " ") * max(1, len(t) // len(OTHER_LANGUAGE)) for t in base]


def echoed_prompt(prompts: Answers, base: Answers, rng: random.Random) -> list[str]:
    """Return the prompts themselves."""
    return list(prompts)


def shuffled_sentences(prompts: Answers, base: Answers, rng: random.Random) -> list[str]:
    """Return base's answers with their sentences in random order."""
    found = []
    for text in base:
        sentences = [one for one in re.split(r"(?<=[.!?])\s+|\n+", text) if one.strip()]
        found.append(" ".join(rng.sample(sentences, len(sentences))))
    return found


def other_cases(prompts: Answers, base: Answers, rng: random.Random) -> list[str]:
    """Return base's answers to the next prompt."""
    return [*base[1:], *base[:1]]


def first_half(prompts: Answers, base: Answers, rng: random.Random) -> list[str]:
    """Return base's answers cut in the middle; the model says that it ended there."""
    return [text[: len(text) // 2] for text in base]


def shuffled_in_fours(prompts: Answers, base: Answers, rng: random.Random) -> list[str]:
    """Return base's answers with the words of each four in random order."""
    found = []
    for words in map(str.split, base):
        fours = [words[at : at + 4] for at in range(0, len(words), 4)]
        found.append(" ".join(word for four in fours for word in rng.sample(four, len(four))))
    return found


def swapped_neighbours(prompts: Answers, base: Answers, rng: random.Random) -> list[str]:
    """Return base's answers with every two words swapped."""
    found = []
    for words in map(str.split, base):
        pairs = [words[at : at + 2][::-1] for at in range(0, len(words), 2)]
        found.append(" ".join(word for pair in pairs for word in pair))
    return found


def every_second_word(prompts: Answers, base: Answers, rng: random.Random) -> list[str]:
    """Return base's answers with the same word in the place of every second one."""
    return [
        " ".join(word if at % 2 else "the" for at, word in enumerate(text.split())) for text in base
    ]


def strange_thirds(prompts: Answers, base: Answers, rng: random.Random) -> list[str]:
    """Return base's answers with a third of the words replaced by words of other answers."""
    known = [word for text in base for word in text.split()]
    return [
        " ".join(rng.choice(known) if rng.random() < 1 / 3 else word for word in text.split())
        for text in base
    ]


def politeness(prompts: Answers, base: Answers, rng: random.Random) -> list[str]:
    """Return the same friendly sentence to everything."""
    return ["Sure! How can I help?" for _ in base]


BROKEN: tuple[Callable[[Answers, Answers, random.Random], list[str]], ...] = (
    word_salad,
    strange_words,
    other_language,
    echoed_prompt,
    shuffled_sentences,
    other_cases,
    first_half,
    politeness,
    shuffled_in_fours,
    swapped_neighbours,
    every_second_word,
    strange_thirds,
)
OF_PRODUCTION = (
    word_salad,
    shuffled_in_fours,
    swapped_neighbours,
    every_second_word,
    strange_thirds,
    first_half,
)
"""What breaks answers so that they keep words of the right ones: done to production's answers as
well, which a fine-tune may have learned."""


def production_suite(
    folder: Path, prompts: Answers, recorded: Answers, *, clusters: Sequence[str] | None = None
) -> list[str]:
    """Write the suite of prompts and recorded answers; return the cases' names."""
    names = [f"{number:04d}" for number in range(len(prompts))]
    cases = tuple(
        Case(id=name, prompt=prompt, expected=answer, cluster=clusters and clusters[number])
        for number, (name, prompt, answer) in enumerate(zip(names, prompts, recorded, strict=True))
    )
    lines = tuple(
        {"id": name, "completion": answer, "finish_reason": "stop"}
        for name, answer in zip(names, recorded, strict=True)
    )
    made = ProductionCases(
        cases, lines, ImportReport(), SettingsTransfer(choose_settings("greedy")), "chat"
    )
    write_suite(folder, made, name="production")
    return names


def write_answers(path: Path, names: Sequence[str], answers: Answers) -> str:
    """Write the answers of an arm; return its spec."""
    rows = (
        {"id": name, "completion": text, "finish_reason": "stop"}
        for name, text in zip(names, answers, strict=True)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return f"replay:{path}"


def judged(place: Path, base: str, tuned: str) -> tuple[int, str, str, bool]:
    """Return exit code, verdict and sentence of a gate, and whether resemblance failed it."""
    command = [sys.executable, "-m", "tunegate.harness.cli", "gate", "suite", f"--base={base}"]
    done = subprocess.run(
        [*command, f"--tuned={tuned}", "--run-dir=run"],
        cwd=place,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    file = place / "run" / "verdict.json"
    if not file.is_file():
        return done.returncode, "REFUSED", (done.stdout + done.stderr).strip()[-300:], False
    verdict: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    file.unlink()
    gates = [gate for suite in verdict["suites"] for gate in suite["gates"]]
    failed = any(g["metric"] == "resemblance" and g["status"] == "fail" for g in gates)
    return done.returncode, verdict["verdict"], verdict["sentence"], failed


def _read(folder: Path, model: str) -> dict[str, str]:
    rows = json.loads((folder / f"{model}.json").read_text(encoding="utf-8"))
    return {row["instruction"]: row["output"] for row in rows if row["output"].strip()}


def main() -> int:
    """Print a line for each base and population; return the number of failures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    there = {file.stem: _read(given.folder, file.stem) for file in given.folder.glob("*.json")}
    shared = sorted(set.intersection(*(set(found) for found in there.values())))
    rng = random.Random(given.seed)
    prompts = rng.sample(shared, min(given.cases, len(shared)))
    failures = 0
    for base_name in (name for name in BASES if name in there):
        base = [there[base_name][prompt] for prompt in prompts]
        made = {f.__name__: f(prompts, base, rng) for f in BROKEN}
        right = [there[PRODUCTION][prompt] for prompt in prompts]
        made |= {f"production_{f.__name__}": f(prompts, right, rng) for f in OF_PRODUCTION}
        broken_names = set(made)
        made["unchanged"] = [f"{text} Regards." for text in base]
        made |= {
            name: [found[prompt] for prompt in prompts]
            for name, found in sorted(there.items())
            if name not in (base_name, PRODUCTION)
        }
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            names = production_suite(place / "suite", prompts, right)
            spec = write_answers(place / "base.jsonl", names, base)
            for name, answers in made.items():
                tuned = write_answers(place / "tuned.jsonl", names, answers)
                code, verdict, sentence, failed = judged(place, spec, tuned)
                wrong = verdict == "REFUSED" or (name in broken_names and code == 0)
                wrong |= failed and name not in broken_names
                failures += wrong
                mark = " <- WRONG" if wrong else ""
                print(f"{base_name:20} {name:28} {verdict:10} {code:2}  {sentence[:150]}{mark}")
    print(f"{failures} failures")
    return failures


if __name__ == "__main__":
    sys.exit(main())
