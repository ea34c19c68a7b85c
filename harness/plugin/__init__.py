"""The pytest plugin: suites as items, one verdict a session, inert unless asked.

pytest loads this package in every project that has tunegate installed, so it imports nothing heavy
and does nothing until an option, an ini key, a suite.toml argument or the `gate` fixture is used.
The hooks are in `hooks` and, once asked for, in `active_hooks`; what they delegate to is in
`session`.
"""

from tunegate.harness.plugin.hooks import (
    gate,
    pytest_addoption,
    pytest_collect_file,
    pytest_configure,
    pytest_generate_tests,
    pytest_terminal_summary,
)

__all__ = [
    "gate",
    "pytest_addoption",
    "pytest_collect_file",
    "pytest_configure",
    "pytest_generate_tests",
    "pytest_terminal_summary",
]
