"""The tiny models and lm-eval tasks, for this room."""

from __future__ import annotations

from tests.lm_eval_tasks import lm_eval_installed, task
from tests.tiny_models import ask, copied, tiny, tiny_tokenizer

__all__ = ["ask", "copied", "lm_eval_installed", "task", "tiny", "tiny_tokenizer"]
