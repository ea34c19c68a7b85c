"""MLflow: a run in the store or on the server that MLFLOW_TRACKING_URI names."""

from __future__ import annotations

import os
import re

from tunegate.harness.contracts.quiet import default_variables
from tunegate.harness.contracts.tracker import PROJECT, TrackedRun

INSTALL = "mlflow"
_CHOICES = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID")
"""Variables by which the user chose where runs go."""
_BATCH = 1000
"""Metrics in a request: https://docs.databricks.com/api/experiments/v1/log-batch"""
_DEFAULTS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_DISABLE_TELEMETRY": "true"}
"""With MLflow's own seven retries, a server that is down costs more than four minutes. MLflow 3
tells its makers what is used: https://mlflow.org/docs/latest/community/usage-tracking/"""


def mlflow(run: TrackedRun) -> str:
    """Log facts as tags, numbers as metrics, and the page as an artifact."""
    with default_variables(_DEFAULTS):
        return _log(run)


def _log(run: TrackedRun) -> str:
    import mlflow as library

    if not any(os.environ.get(name) for name in _CHOICES):
        library.set_experiment(PROJECT)
    # Nested, so that an active run of the user's own does not end.
    with library.start_run(run_name=run.name, nested=True) as started:
        library.set_tags({f"{PROJECT}.{name}": value for name, value in run.facts.items()})
        # MLflow refuses the brackets of `exact_match::floor[de]`, and too much at once.
        named = [(re.sub(r"[^\w\-. :/]", "_", name), run.numbers[name]) for name in run.numbers]
        for at in range(0, len(named), _BATCH):
            library.log_metrics(dict(named[at : at + _BATCH]))
        library.log_artifact(str(run.page))
    return f"run {started.info.run_id} in {library.get_tracking_uri()}"
