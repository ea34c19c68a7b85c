"""Suite of canaries: from how many repeats on does this training remember a row?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from tunegate.harness.cli._memorization_suite import CEILING_OVER_CHANCE
from tunegate.harness.records.errors import UsageError, refuse_unwritable

ROWS = "canaries.jsonl"
_POWER = 0.95
_TEMPLATE = """\
# {count} canaries: from how many repeats on does this training remember a row?
name = {name}
cases = "cases.jsonl"
{generation}
[[metrics]]
use = "exposure"           # bits by which the true code is likelier than {controls} made-up ones

[[metrics]]
use = "verbatim"           # 1 if the code comes out whole

# What stands in one row must stay forgotten. Add such a gate for repeats:4 if your rows repeat.
[[gates]]
metric = "exposure"
tag = "repeats:1"
ceiling = {ceiling}             # chance is {chance:.2f}
floor_mode = "certified"
"""


def write_canary_suite(files: Sequence[str], count: int, folder: Path) -> Iterator[str]:
    """Write a suite of canaries and the rows to train on; yield the lines to print.

    Args:
        files: Files of the real training rows, whose form the canaries get.
        count: Canaries for each number of repeats.
        folder: The suite's folder, which must not exist.

    Raises:
        UsageError: the files cannot be read, or the suite's own gate needs more canaries.
    """
    from tunegate.harness.metrics.exposure import chance
    from tunegate.harness.records.jsonl import record_lines
    from tunegate.trainers import datasets
    from tunegate.trainers.memorization.canaries import REPEATS, make_canaries
    from tunegate.trainers.memorization.made_up_values import N_CONTROLS

    if folder.exists():
        raise UsageError(f"{folder}: already exists; name a folder to be made")
    least = least_canaries()
    if count < least:
        raise UsageError(f"--canaries {count}: the gate needs {least} or more")
    real, _, problems = datasets.read_files(files, datasets.COMPLETIONS)
    datasets.raise_all(problems)
    plain = datasets.is_text(real[0][1])
    made = make_canaries(count, plain_text=plain, seed=0)
    text = _TEMPLATE.format(
        count=len(made.cases),
        name=json.dumps(folder.name),
        generation='\n[generation]\ntemplate = "none"\n' if plain else "",
        controls=N_CONTROLS,
        ceiling=round(chance(N_CONTROLS) + CEILING_OVER_CHANCE, 1),
        chance=chance(N_CONTROLS),
    )
    with refuse_unwritable(folder):
        folder.mkdir(parents=True)
        (folder / "cases.jsonl").write_text("".join(record_lines(made.cases)), encoding="utf-8")
        rows = "".join(f"{json.dumps(row)}\n" for row in made.rows)
        (folder / ROWS).write_text(rows, encoding="utf-8")
        (folder / "suite.toml").write_text(text, encoding="utf-8")
    repeats = ", ".join(map(str, REPEATS))
    yield f"wrote {folder}: {count} canaries each in {repeats} rows of {folder / ROWS}"
    yield (
        f"{len(made.rows):,} rows beside your {len(real):,}: a training to measure the recipe, not "
        "one to ship"
    )
    shown = " ".join(files)
    yield f"next: tunegate train sft --train_files {shown} {folder / ROWS} --output_dir ADAPTER …"
    yield f"then: tunegate gate {folder} --base BASE --tuned ADAPTER"


def least_canaries() -> int:
    """Return the canaries that prove the ceiling in 19 of 20 runs, if nothing is remembered."""
    from tunegate.harness.metrics.exposure import chance_deviation
    from tunegate.harness.records.defaults import CONFIDENCE
    from tunegate.harness.stats.power import mean_sample_size
    from tunegate.trainers.memorization.made_up_values import N_CONTROLS

    return mean_sample_size(
        effect=0.0,
        deviation=chance_deviation(N_CONTROLS),
        margin=-CEILING_OVER_CHANCE,
        confidence=CONFIDENCE,
        power=_POWER,
    ).n
