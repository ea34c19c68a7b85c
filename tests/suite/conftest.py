"""The fixtures that write suites, for this room."""

from __future__ import annotations

from tests.suite_files import _case_line, _head, _refused, _written

__all__ = ["_case_line", "_head", "_refused", "_written"]
