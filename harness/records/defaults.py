"""Defaults that several modules share.

Records, options of the command line and of pytest, and the statistics refer to these. The module
imports nothing, since pytest loads it in every project.
"""

from __future__ import annotations

CONFIDENCE = 0.90
"""Two-sided confidence of gates and intervals: 5 % error at each end."""
POWER = 0.80
"""Power that plans aim at."""
MAX_UNSCORED = 0.05
"""Largest share of unscored cases of an arm; above it the verdict is ERROR."""
EARLY_STOP_CASES = 100
"""Number of cases from which interim looks are worth their price."""

MAX_NEW_TOKENS = 256
"""Largest number of tokens of a completion."""
THINKING_BUDGET = 4096
"""Largest number of tokens of thoughts, if thinking is switched on without a budget."""
TEMPERATURE = 0.0
"""Temperature of completions; 0 decodes greedily."""
LATENCY_CASES = 30
"""Cases of the latency pass."""

SEED = 0
"""Seed of sampling and of the order of cases."""

CONCURRENCY = 8
"""Maximum concurrent requests per model server."""
JUDGE_CONCURRENCY = 16
"""Maximum concurrent requests to a judge."""
DEADLINE_S = 120.0
"""Seconds that one request may take, with all its attempts."""

RUNS = ".tunegate/runs"
"""Folder of a project's runs."""
STORE = ".tunegate/store.sqlite"
"""Answer cache that all runs of a project share."""

ALLOW_OUTSIDE = "TUNEGATE_ALLOW_OUTSIDE"
"""Environment variable: 1 lets suites read files outside their folder and the project."""
