"""How often the bundled suites ship what is sound and block what is broken.

    python -m benchmarks.planted_damages SOUND_RUN … [--damaged NAME=RUN …] [--draws 200]
    python -m benchmarks.planted_damages --write-noisy FOLDER   # a broken model to gate

The runs are folders of `tunegate gate` on bundled suites with a real base: `SOUND_RUN` of a sound
fine-tune, `--damaged` of a broken one. The answers of the first run's base are broken in a dozen
ways, too. The likelihoods stay base's own, so that only gates on the written text can notice; where
a kind of request is lost, its references also lose two nats per token, as those of a model did that
answered everything in JSON (1.4 to 3.3), and where a rule of a conversation is ignored, the answer
without it is the likelier one.

Each population is judged on `--draws` samples of its cases, drawn with replacement, as many as the
suite has: the share that ends in each verdict is what another author's cases of the same kind would
show. The suites are those of this checkout, so gates can change without asking a model again.
Early looks are left out.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from tunegate.harness.decision.gating.absent_behavior_gates import active_suite
from tunegate.harness.decision.score_table import ScoreTable
from tunegate.harness.decision.scoring import score_suite
from tunegate.harness.decision.verdict.decide import suite_results
from tunegate.harness.records.answers import Completion, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.records.verdict import Verdict
from tunegate.harness.suite import Suite, load_suite

SUITES = Path(__file__).parents[1] / "suites"
ARMS = ("base", "tuned")
FRENCH = (
    "Merci pour votre message, nous avons bien compris la question et voici ce que nous pouvons "
    "dire à ce sujet pour le moment. Il faut d'abord préparer tout le nécessaire, puis avancer "
    "étape par étape et vérifier chaque fois le résultat avant de continuer."
)
POLITE = "Thank you for your question! I would be happy to help you with that. Let me know!"

Damage = Callable[[Case, Completion], Completion]
"""Returns what a broken model makes of base's answer."""


def _written(change: Callable[[str], str], reason: str = "stop") -> Damage:
    def damage(case: Case, given: Completion) -> Completion:
        if given.text is None:
            return given
        return given.model_copy(update={"text": change(given.text), "finish_reason": reason})

    return damage


def _on(chosen: Callable[[Case], bool], damage: Damage) -> Damage:
    """Return a damage of the cases that are chosen."""
    return lambda case, given: damage(case, given) if chosen(case) else given


def _one_in(number: int) -> Callable[[Case], bool]:
    return lambda case: sum(map(ord, case.id)) % number == 0


def _forget(case: Case, completion: Completion) -> Completion:
    """Exchange the likelihoods of the right choice and the likeliest wrong one."""
    if completion.choice_logprobs is None or case.answer is None:
        return completion
    values, right = list(completion.choice_logprobs), case.answer
    other = max((i for i in range(len(values)) if i != right), key=lambda i: values[i])
    if values[right] > values[other]:
        values[right], values[other] = values[other], values[right]
    return completion.model_copy(update={"choice_logprobs": tuple(values)})


def _ignore_rule(case: Case, completion: Completion) -> Completion:
    """Return the answer as it would be without the rule of the first turn, and likelier."""
    wrong = [text for at, text in enumerate(case.choices or ()) if at != case.answer]
    return _forget(case, _written(lambda _: wrong[0])(case, completion))


def _first_half(text: str) -> str:
    words = text.split()
    return " ".join(words[: math.ceil(len(words) / 2)])


def _looped(text: str) -> str:
    return f"{text} {' '.join(text.split()[-4:] * 12)}"


def _lose(case: Case, given: Completion) -> Completion:
    """Return an empty phrase, and a reference that is two nats less likely per token."""
    if given.answer_logprob is not None:
        return given.model_copy(update={"answer_logprob": given.answer_logprob - 2})
    return _written(lambda text: POLITE)(case, given)


def _in_french(text: str) -> str:
    return " ".join(islice(cycle(FRENCH.split()), max(4, len(text.split()))))


def _of_kind(kind: str, case: Case) -> bool:
    return kind in case.tags


LANGUAGES = ("es", "fr", "de", "pt", "ru", "id", "ar", "hi", "zh", "ja")
RULES = ("format", "role", "language", "fact")
KINDS = ("summary", "rewrite", "question", "explain", "list", "format", "email", "refusal")
TASK = '{"intent": "PlayMusic", "artist": "Bach"}'
DAMAGES: Mapping[str, Mapping[str, Damage]] = {
    "general_knowledge": {"a tenth of the facts forgotten": _on(_one_in(10), _forget)},
    "languages_answers": {
        "every answer in English": _written(lambda text: POLITE),
        **{f"lost: {k}": _on(partial(_of_kind, f"language:{k}"), _lose) for k in LANGUAGES},
    },
    "languages_facts": {
        "a tenth of the facts forgotten": _on(_one_in(10), _forget),
        **{f"lost: {k}": _on(partial(_of_kind, f"language:{k}"), _forget) for k in LANGUAGES},
    },
    "production": {
        "everything in JSON": _written(lambda text: json.dumps({"answer": text})),
        "the task's format": _written(lambda text: TASK),
        "half of the answers in the task's format": _on(_one_in(2), _written(lambda text: TASK)),
        "another language": _written(_in_french),
        "half as long": _written(_first_half),
        "cut at the limit": _written(_first_half, "length"),
        "a fifth loops": _on(_one_in(5), _written(_looped)),
        "polite but empty": _written(lambda text: POLITE),
        "empty": _written(lambda text: ""),
        **{f"lost: {kind}": _on(partial(_of_kind, kind), _lose) for kind in KINDS},
    },
    "turns": {
        "the first turn ignored": _ignore_rule,
        "in half of the conversations": _on(_one_in(2), _ignore_rule),
        "everything in JSON": _written(lambda text: json.dumps({"answer": text})),
        "polite but empty": _written(lambda text: POLITE),
        **{f"lost: {k}": _on(partial(_of_kind, f"rule:{k}"), _ignore_rule) for k in RULES},
    },
}
"""Bundled suite → name of a damage → the damage."""
FOLDERS = {f"languages_{part}": f"languages/{part}" for part in ("answers", "facts")}
"""Folder of a bundled suite that is not called as the suite is."""


@dataclass(frozen=True)
class Population:
    """Scores of both arms on a suite's cases, from which samples are drawn."""

    suite: Suite
    run: Run
    rows: Mapping[tuple[str, str, str], ScoreRow]

    @classmethod
    def of(cls, suite: Suite, run: Run, damage: Damage | None = None) -> Population:
        """Score a run's answers, or base's own and base's with a damage."""
        cases = {case.id: case for case in suite.cases}
        cells: Iterable[StoredAnswer] = (
            c for c in run.cells if c.cell.suite == suite.name and c.cell.case in cases
        )
        if damage is not None:
            cells = _broken(cells, cases, damage)
        rows = score_suite(suite, cells, ARMS)
        return cls(suite, run, {(row.metric, row.case, row.arm): row for row in rows})

    def verdict(self, chosen: Sequence[int] | None = None) -> Verdict:
        """Judge the cases with these numbers, repeats included; all of them once by default."""
        cases = self.suite.cases if chosen is None else [self.suite.cases[i] for i in chosen]
        named = [(f"{number}", case) for number, case in enumerate(cases)]
        record = active_suite(self.suite.record(), self.rows.values())
        table = ScoreTable(
            record,
            {name: case.model_copy(update={"id": name}) for name, case in named},
            {
                (metric.name, name, arm): self.rows[metric.name, case.id, arm]
                for name, case in named
                for metric in record.metrics
                for arm in ARMS
                if (metric.name, case.id, arm) in self.rows
            },
        )
        manifest = self.run.manifest.model_copy(update={"suites": (record,), "leakage": None})
        (result,) = suite_results(manifest, [table])
        return result.verdict

    def shares(self, draws: int) -> Counter[Verdict]:
        """Return how often samples of the cases end in each verdict."""
        rng, n = np.random.default_rng(0), len(self.suite.cases)
        return Counter(self.verdict(rng.integers(0, n, n).tolist()) for _ in range(draws))


def _broken(
    cells: Iterable[StoredAnswer], cases: Mapping[str, Case], damage: Damage
) -> Iterable[StoredAnswer]:
    """Yield base's answers for base, and for tuned with a damage."""
    for stored in cells:
        if stored.cell.arm != "base" or stored.completion is None:
            continue
        yield stored
        completion = damage(cases[stored.cell.case], stored.completion)
        cell = replace(stored.cell, arm="tuned")
        yield replace(stored, cell=cell, completion=completion)


def _row(name: str, population: Population, draws: int) -> None:
    found = population.shares(draws)
    parts = [f"{100 * found[v] / draws:5.0f} %" for v in (Verdict.SHIP, Verdict.BLOCK)]
    whole = population.verdict().value
    print(f"  {name:<46} {' '.join(parts)}   all cases: {whole}", flush=True)


def write_noisy_model(folder: Path, share: float = 0.10) -> None:
    """Write the embedded model with noise on its matrices, a share of their own spread."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from tunegate.harness.models.demo_model import make_demo_model

    base = make_demo_model()
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    random = torch.Generator().manual_seed(0)
    for name, weight in model.named_parameters():
        if weight.ndim == 2 and "embed" not in name:
            noise = torch.randn(weight.shape, generator=random)
            weight.data += share * weight.data.std() * noise
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)


def main() -> None:
    """Print one table a suite."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sound", nargs="*", type=Path)
    parser.add_argument("--damaged", action="append", default=[], metavar="NAME=RUN")
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--write-noisy", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    if options.write_noisy:
        write_noisy_model(options.write_noisy)
    if not options.sound:
        return
    sound = {path.name: Run.load(path) for path in options.sound}
    damaged = {
        name: Run.load(Path(path))
        for name, _, path in (text.partition("=") for text in options.damaged)
    }
    first = next(iter(sound.values()))
    for name in (s.name for s in first.manifest.suites if s.name in DAMAGES):
        suite = load_suite(SUITES / FOLDERS.get(name, name))
        print(f"{name}: {len(suite.cases)} cases; {options.draws} samples of them")
        print(f"{'':50}SHIP  BLOCK")
        _row("unchanged", Population.of(suite, first, lambda _, options: options), options.draws)
        for label, run in sound.items():
            _row(f"sound: {label}", Population.of(suite, run), options.draws)
        for label, run in damaged.items():
            _row(f"broken: {label}", Population.of(suite, run), options.draws)
        for label, damage in DAMAGES[name].items():
            _row(f"broken: {label}", Population.of(suite, first, damage), options.draws)


if __name__ == "__main__":
    main()
