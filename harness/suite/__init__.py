"""Suites: suite.toml and its cases, loaded and checked as a whole.

Example:
    >>> from pathlib import Path
    >>> suite = load_suite(Path("suites/support_json"))
    >>> suite.name, suite.gates[0].kind
    ('support_json', 'floor')
"""

from tunegate.harness.suite.loading import load_suite
from tunegate.harness.suite.suite import Suite
from tunegate.harness.suite.suite_hash import hash_without_code
from tunegate.harness.suite.variants import describe_variants

__all__ = ["Suite", "describe_variants", "hash_without_code", "load_suite"]
