"""`results:PATH`: an arm whose answers another tool has recorded and scored.

The path is what lm-eval, Inspect and others wrote, a file or a folder; readers are in
`harness/results`. `results:PATH#RUN` names one run of several, `results:PATH?format=table&id=key`
the reader and its options. Metrics of the suite are `recorded`; where the answers are in the files,
tunegate's own metrics can score them as well.
"""

from __future__ import annotations

from tunegate.harness.contracts.result_set import ResultCompletions, ResultSet, read_results
from tunegate.harness.models._file_arm import FileArm
from tunegate.harness.records.errors import ModelError, UsageError

SPEC = "results:PATH[?format=FORMAT][#RUN]"


def results(target: str) -> FileArm:
    """Open the results of another tool."""
    try:
        return result_arm(f"results:{target}", read_results(target))
    except UsageError as error:
        raise ModelError(str(error)) from error


def result_arm(spec: str, result_set: ResultSet) -> FileArm:
    """Return an arm that answers from results."""
    facts = {
        "backend": "results",
        "tool": result_set.tool,
        "tool_version": result_set.logs[0].tool_version,
        "model": ", ".join(result_set.models) or None,
        "results_sha256": result_set.fingerprint,
        "cases": len(result_set.cases),
        "samples": result_set.samples,
    }
    return FileArm(
        spec=spec,
        facts={name: value for name, value in facts.items() if value is not None},
        fingerprint=result_set.fingerprint,
        answers=ResultCompletions(result_set.answers),
        failures=result_set.failures,
        request=lambda _, case: result_set.requests.get(case),
        results=result_set,
    )
