"""Loading a suite: find suite.toml, read its parts, and join equal prompts."""

from __future__ import annotations

from pathlib import Path

from tunegate.harness.records.defaults import MAX_UNSCORED
from tunegate.harness.records.errors import SuiteError
from tunegate.harness.suite import consistency
from tunegate.harness.suite.equal_prompts import join_equal_prompts
from tunegate.harness.suite.find import FILE_NAME, cases_file_problem
from tunegate.harness.suite.parts import SuiteParts
from tunegate.harness.suite.suite import Suite
from tunegate.harness.suite.suite_hash import hash_suite
from tunegate.harness.suite.toml_file import read_toml
from tunegate.harness.suite.variants import variants_of


def load_suite(path: Path | str, *, max_cases: int | None = None) -> Suite:
    """Load a suite and check everything that can be checked without a model.

    Args:
        path: The suite's folder, or its suite.toml.
        max_cases: Keep only the first cases, and their variants.

    Raises:
        SuiteError: every problem found, each as `file:line: what; remedy`.
    """
    path = Path(path)
    file = path / FILE_NAME if path.is_dir() else path
    if problem := cases_file_problem(path):
        raise SuiteError([problem])
    if not file.exists():
        raise SuiteError([f"{file}: no such suite; `tunegate suite new {path.name}` makes one"])
    source = read_toml(file)
    parts = SuiteParts(source)
    if parts.problems:
        raise SuiteError(parts.problems)
    cases = parts.cases[:max_cases]
    if parts.episode is not None:
        from tunegate.harness.suite.episode_table import open_cases

        cases = list(open_cases(parts.episode, cases, parts.generation))
    metrics = tuple(parts.metrics.values())
    joined = join_equal_prompts(cases, dict.fromkeys(used.needs for used in metrics))
    copies = {name for group in joined.groups for name in group[1:]}
    worded = [case for case in joined.cases if case.id not in copies]
    variants = variants_of(parts.variants, worded)
    return Suite(
        name=source.data["name"],
        path=file,
        cases=(*joined.cases, *variants),
        generation=parts.generation,
        metrics=metrics,
        gates=parts.gates,
        goal_rule=source.data.get("goal_rule", "primary"),
        max_unscored=source.data.get("max_unscored", MAX_UNSCORED),
        alpha_per_attempt=source.data.get("alpha_per_attempt", False),
        sealed=source.data.get("sealed", False),
        definition=source.data,
        hash=hash_suite(source, parts),
        episode=parts.episode,
        notes=(
            *consistency.wide_guardrails(metrics, parts.gates),
            *consistency.unseen_images(metrics, joined.cases),
            *consistency.metric_caveats(metrics, joined.cases),
            *joined.notes,
            *parts.notes,
        ),
        equal_prompts=joined.groups,
        arm_prompts=parts.arm_prompts,
    )
