"""Environments in training: the class of a suite of episodes, as TRL's `GRPOTrainer` wants it.

```
tunegate train grpo --config grpo.yaml --environment desk.py:Desk
```
TRL calls `reset` with every column of its dataset. The class that TRL gets calls the environment's
with what is in `row`, as the gate does; nothing else differs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tunegate.harness.episode_environment import EnvironmentSource, reset_arguments
from tunegate.harness.errors import UsageError
from tunegate.trainers.prompt_rows import PromptRow


def training_environment(
    spec: str, folder: Path, rows: Sequence[PromptRow], tokenizer: Any
) -> Callable[[], Any]:
    """Return what TRL makes its environments with.

    Args:
        spec: `file.py:Class` or `package.module:Class`.
        folder: Where a file's path starts.
        rows: The rows, by the number that is in TRL's column `row`.
        tokenizer: Its chat template shows the tools.

    Raises:
        UsageError: the class is no environment, a row does not fit its `reset`, or the chat
            template cannot show tools.
    """
    source = EnvironmentSource(spec, str(folder))
    problems = [
        text if ".jsonl:" in text else f"--environment: {text}"
        for text in source.problems([row.case for row in rows])
    ]
    if problems:
        raise UsageError("\n".join(problems))
    _refuse_template(spec, tokenizer)
    found: Any = source.load()

    def reset(self: Any, **columns: Any) -> str | None:
        case = rows[int(columns["row"])].case
        begun: str | None = found.reset(self, **reset_arguments(found, case, int(columns["row"])))
        return begun

    made = type(found.__name__, (found,), {"reset": reset, "__doc__": found.__doc__})
    factory: Callable[[], Any] = made
    return factory


def _refuse_template(spec: str, tokenizer: Any) -> None:
    """Refuse a chat template in which TRL cannot read or show calls, before the model is loaded."""
    from trl.chat_template_utils import supports_tool_calling

    if not supports_tool_calling(tokenizer):
        raise UsageError(
            f"--environment {spec}: the chat template of this model shows no tools, calls and "
            "results; train a model whose template does (Qwen, Llama 3.1), or train on transcripts "
            'with `tunegate train sft` and `tools = "system"` in the suite'
        )
