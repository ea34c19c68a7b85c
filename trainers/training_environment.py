"""Environments in training: an episode's tools and `reset`, as TRL calls them.

TRL calls `reset` with every column of its dataset; the class it gets calls the environment's with
the case of that row, as the gate does. For a model whose chat template shows no tools, tools are
text in the prompt, as in a suite with `tools = "system"`, and calls are read in the same way.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.episode_environment import EnvironmentSource, reset_arguments
from tunegate.harness.episodes.transcript import messages_in_text, opening_case, turn_calls
from tunegate.harness.records.cases import Case
from tunegate.harness.records.episodes import EpisodeSettings
from tunegate.harness.records.errors import UsageError
from tunegate.trainers.job import TrainingJob
from tunegate.trainers.prompt_rows import PromptRow


def environment_arguments(job: TrainingJob, rows: Sequence[PromptRow]) -> dict[str, Any]:
    """Return TRL's arguments for `--environment`; nothing without it."""
    spec, file = getattr(job.config.own, "environment", None), job.config.config_file
    if spec is None:
        return {}
    place, _, name = spec.rpartition(":")
    path = Path(place) if file is None or Path(place).is_file() else file.parent / place
    if place.endswith(".py"):
        spec = f"{path.name}:{name}"
    environment = training_environment(spec, path.parent, rows, job.tokenizer)
    if environment.in_text:
        job.say('tools, calls and results are text, as a suite with tools = "system" shows them')
    return {
        "environment_factory": environment.factory,
        "processing_class": environment.tokenizer,
    }


@dataclass(frozen=True)
class TrainingEnvironment:
    """An environment in training."""

    factory: Callable[[], Any] = field(repr=False)
    """Makes the instances, for TRL."""
    tokenizer: Any = field(repr=False)
    """The tokenizer to train with; it shows tools and reads calls."""
    in_text: bool
    """Whether tools, calls and results are text, as with `tools = "system"` in a suite."""


def training_environment(
    spec: str, folder: Path, rows: Sequence[PromptRow], tokenizer: Any
) -> TrainingEnvironment:
    """Return a factory of environments for TRL, and a tokenizer that shows their tools."""
    from trl.chat_template_utils import supports_tool_calling

    source = EnvironmentSource(spec, str(folder))
    problems = [
        text if ".jsonl:" in text else f"--environment: {text}"
        for text in source.problems([row.case for row in rows])
    ]
    if problems:
        raise UsageError("\n".join(problems))
    environment: Any = source.load()

    def reset(self: Any, **columns: Any) -> str | None:
        case = rows[int(columns["row"])].case
        begun: str | None = environment.reset(
            self, **reset_arguments(environment, case, int(columns["row"]))
        )
        return begun

    trl_class = type(
        environment.__name__, (environment,), {"reset": reset, "__doc__": environment.__doc__}
    )
    if supports_tool_calling(tokenizer):
        return TrainingEnvironment(trl_class, tokenizer, in_text=False)
    if not tokenizer.chat_template:
        raise UsageError(
            f"--environment {spec}: an episode is a conversation, and this model has no chat "
            "template; train an instruct model"
        )
    return TrainingEnvironment(trl_class, _tokenizer_in_text(tokenizer, source.tools), in_text=True)


def _tokenizer_in_text(tokenizer: Any, tools: Sequence[Mapping[str, Any]]) -> Any:
    """Return a copy of a tokenizer that shows tools, calls and results as text.

    TRL renders conversations by `apply_chat_template` and reads answers by `parse_response`. The
    chat template stays the model's, and what is saved is the tokenizer that was given.
    """
    shown = copy.copy(tokenizer)
    settings = EpisodeSettings(environment="", tools="system")

    def in_text(messages: Sequence[Mapping[str, Any]], with_tools: bool) -> list[dict[str, Any]]:
        texts = messages_in_text(messages)
        if not with_tools:
            return texts
        case = Case(id="prompt", messages=tuple(texts))
        return [*opening_case(case, settings, tools, None).input_messages()]

    def apply_chat_template(conversation: Any, tools: Any = None, **options: Any) -> Any:
        batched = bool(conversation) and not isinstance(conversation[0], Mapping)
        chats = conversation if batched else [conversation]
        texts = [in_text(messages, bool(tools)) for messages in chats]
        return tokenizer.apply_chat_template(texts if batched else texts[0], **options)

    def parse_response(ids: Any, **_: Any) -> dict[str, Any]:
        # TRL passes the prefix and, with Transformers 5.15, the tools. It reads any exception as
        # "no calls", so an unexpected argument would silently disable all calls.
        text = tokenizer.decode(ids, skip_special_tokens=True)
        calls = [
            {"type": "function", "function": {"name": c.name, "arguments": dict(c.arguments)}}
            for c in turn_calls(text, tools)
        ]
        if not calls:
            return {"role": "assistant", "content": text}
        before = text.partition("<tool_call>")[0].strip()
        return {"role": "assistant", "content": before, "tool_calls": calls}

    shown.apply_chat_template = apply_chat_template
    shown.parse_response = parse_response
    shown.response_template = {}  # TRL would look for the template among those that it knows
    shown.save_pretrained = tokenizer.save_pretrained
    return shown
