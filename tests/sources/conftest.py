"""Small lm-eval tasks, for this room."""

from __future__ import annotations

from tests.lm_eval_tasks import lm_eval_installed, task

__all__ = ["lm_eval_installed", "task"]
