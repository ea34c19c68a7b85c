"""Suites of training rows against the rows that tuned was trained on: are they the same?"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tunegate.harness.checks.contamination.training_rows import TrainingRowStream, TrainingSource
from tunegate.harness.records.errors import NotComparable
from tunegate.harness.records.secret_values import secret_values
from tunegate.harness.suite import Suite


def refuse_unseen_rows(suites: Sequence[Suite], sources: Sequence[TrainingSource]) -> None:
    """Refuse a suite of training rows whose values are in no row of tuned's training.

    It would ship any fine-tune, for nothing can be remembered that was never seen.
    """
    values = {suite.name: _values_of(suite) for suite in suites}
    every = sorted(set().union(*values.values()))
    if not every:
        return
    form = re.compile("|".join(map(re.escape, every)))
    rows = TrainingRowStream(sources)
    count, seen = 0, set[str]()
    for row in rows:
        count += 1
        seen.update(value for text in row.texts for value in form.findall(text))
    unseen = [name for name, own in values.items() if own and not own & seen]
    if count and unseen:
        files = ", ".join(file.path for file in rows.files if file.compared)
        raise NotComparable(
            f"{unseen[0]}: none of its {len(values[unseen[0]])} values is in the {count} rows that "
            f"tuned was trained on ({files}), so it cannot show what tuned remembers of them; "
            "write the suite from these files: tunegate rows FILE --write-suite DIR"
        )


def _values_of(suite: Suite) -> set[str]:
    values = set()
    for case in suite.plain_cases:
        try:
            values.add(secret_values(case)[0])
        except ValueError:
            continue  # the metrics say so
    return values
