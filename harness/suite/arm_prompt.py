"""Arm prompts: the system prompt and the solved examples that one further arm gets.

Base and tuned are always asked the suite's own prompts. A further arm that stands for another way
of doing the task, such as base with its best prompt, may have a table of its name in suite.toml:

    [prompted]
    system = "careful.txt"
    examples = "shots.jsonl"
    n_examples = 4
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.keyword_options import outside_problem
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import SuiteError
from tunegate.harness.records.files import read_file
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.records.hashing import canonical_json, sha256
from tunegate.harness.records.manifest import ArmPromptRecord
from tunegate.harness.records.problems import summarize_problems
from tunegate.harness.suite.sources._text import json_rows
from tunegate.harness.suite.toml_file import TomlFile

LARGEST = 1_000_000
"""Bytes of the largest system prompt."""
FORMS = "messages, prompt and completion, or prompt and expected"
"""Forms of a line of examples."""

ROLES = ("system", "user", "assistant", "tool")

Turn = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SolvedExample:
    """One conversation with its right answer, for a prompt."""

    where: str
    """File and line."""
    turns: tuple[Turn, ...]
    """The user's turns and the assistant's, ending with the answer."""

    @classmethod
    def of(cls, where: str, row: Any) -> SolvedExample:
        """Return the example in a row; ValueError if it has no question, no answer or no form."""
        return cls(where, tuple(_turns(row)))

    def as_text(self, delimiter: str = " ") -> str:
        """Return prompt and answer as text, for prompts without a chat template."""
        *asked, answer = map(_content, self.turns)
        return "\n".join(asked) + delimiter + answer


@dataclass(frozen=True, slots=True)
class ArmPrompt:
    """What one further arm gets in place of the suite's system prompt, and in front of a case."""

    system: str | None = None
    """Takes the place of the suite's and of a case's own system prompt; None keeps those."""
    examples: tuple[SolvedExample, ...] = ()
    inside: str = "turns"
    """`turns` puts the examples in front as turns, `system` at the end of the system prompt."""

    def apply(self, case: Case, generation: GenerationSettings) -> tuple[Case, GenerationSettings]:
        """Return the case and the settings as the arm is asked them."""
        system = generation.system if self.system is None else self.system
        if generation.template == "none":
            if case.prompt is None:
                return case, generation  # rendering it says what is wrong
            delimiter = " " if case.delimiter is None else case.delimiter
            shots = [example.as_text(delimiter) for example in self.examples]
            parts = [system, *shots, case.prompt]
            text = "\n\n".join(part for part in parts if part)
            plain = generation.model_copy(update={"system": None})
            return case.model_copy(update={"prompt": text}), plain
        if self.system is not None:
            case = case.model_copy(update={"without_system": False})
        turns: list[Turn] = [*case.input_messages(system)]
        first = turns[:1] if turns[0]["role"] == "system" else []
        rest = turns[len(first) :]
        if first and self.system is not None:
            first = [{"role": "system", "content": self.system}]
        shots_as_turns: list[Turn] = []
        if self.inside == "turns":
            shots_as_turns = [turn for example in self.examples for turn in example.turns]
        elif self.examples:
            shown = "\n\n".join(map(_as_dialogue, self.examples))
            start = f"{first[0]['content']}\n\n" if first else ""
            first = [{"role": "system", "content": f"{start}Examples:\n\n{shown}"}]
        messages = tuple(map(dict, (*first, *shots_as_turns, *rest)))
        return case.model_copy(update={"messages": messages, "prompt": None}), generation

    def record(self) -> ArmPromptRecord:
        """Return what the run records of it."""
        return ArmPromptRecord(
            system=self.system is not None,
            examples=len(self.examples),
            sha256=sha256([self.system, self.inside, [[*e.turns] for e in self.examples]]),
        )


def prompt_schema() -> dict[str, Any]:
    """Return the JSON schema of the table of a further arm."""
    text = {"type": "string", "minLength": 1}
    return {
        "type": "object",
        "additionalProperties": False,
        "anyOf": [{"required": ["system"]}, {"required": ["examples"]}],
        "properties": {
            "system": {
                **text,
                "description": "Text file with the arm's system prompt, in place of the suite's.",
            },
            "examples": {
                **text,
                "description": "JSON lines of solved examples that the arm sees in front of each "
                f"case: {FORMS}. Take them from the training rows, never from the cases.",
            },
            "n_examples": {
                "type": "integer",
                "minimum": 1,
                "description": "Use the first N examples; all by default.",
            },
            "inside": {
                "enum": ["turns", "system"],
                "description": "Give the examples as turns of the conversation (the default), or "
                "inside the system prompt.",
            },
        },
    }


def read_arm_prompt(source: TomlFile, name: str) -> ArmPrompt:
    """Return the prompt that a table of suite.toml gives a further arm.

    Raises:
        SuiteError: a file is missing, outside the project or empty, or lines are not examples.
    """
    table, folder = source.data[name], source.path.parent
    for key in ("system", "examples"):
        outside = outside_problem(folder, table[key]) if key in table else None
        if outside is not None:
            raise SuiteError([f"{source.where(name, key)}: {outside}"])
    system = examples = None
    if "system" in table:
        system = read_system_prompt(folder / table["system"], source.where(name, "system"))
    if "examples" in table:
        where = source.where(name, "examples")
        examples = read_examples(folder / table["examples"], where)
        wanted = table.get("n_examples", len(examples))
        if wanted > len(examples):
            raise SuiteError(
                [
                    f"{source.where(name, 'n_examples')}: n_examples={wanted}, and "
                    f"{table['examples']} has {len(examples)}"
                ]
            )
        examples = examples[:wanted]
    return ArmPrompt(system, examples or (), table.get("inside", "turns"))


def read_prompt_file(path: Path, option: str) -> ArmPrompt:
    """Return the prompt in a file: examples in .jsonl or .json, else a system prompt.

    Raises:
        SuiteError: it cannot be read, is empty, or lines are not examples.
    """
    if path.suffix.lower() in (".jsonl", ".json"):
        return ArmPrompt(examples=read_examples(path, option))
    if path.suffix.lower() in (".csv", ".tsv", ".parquet"):
        raise SuiteError([f"{option}: a table is no prompt; write examples as JSON lines: {FORMS}"])
    return ArmPrompt(system=read_system_prompt(path, option))


def read_system_prompt(path: Path, where: str) -> str:
    """Return the text of a file."""
    try:
        text = read_file(path, LARGEST).decode("utf-8").strip()
    except (OSError, ValueError) as error:
        raise SuiteError(
            [f"{where}: {path} is not a text file ({type(error).__name__}); write the prompt there"]
        ) from error
    if not text:
        raise SuiteError([f"{where}: {path} is empty; write the system prompt into it"])
    return text


def read_examples(path: Path, where: str) -> tuple[SolvedExample, ...]:
    """Return the examples of a file."""
    try:
        rows = list(json_rows(path, form="write one example a line"))
    except SuiteError as error:
        raise SuiteError([f"{where}: {problem}" for problem in error.problems]) from error
    examples, problems = [], []
    for place, row in rows:
        try:
            examples.append(SolvedExample.of(place, row))
        except ValueError as error:
            problems.append(f"{place}: {error}")
    if problems:
        raise SuiteError(summarize_problems(problems))
    if not examples:
        raise SuiteError([f"{where}: {path} has no examples; write one a line: {FORMS}"])
    return tuple(examples)


def _turns(row: Any) -> Iterator[Turn]:
    """Yield the turns of an example, without its system prompt.

    Raises:
        ValueError: it has no question, no answer, or another form.
    """
    if isinstance(row, str):
        raise ValueError(row)
    if "messages" in row:
        asked: Any = row["messages"]
    else:
        prompt, answer = row.get("prompt"), row.get("completion", row.get("expected"))
        several = isinstance(answer, list) and answer and isinstance(answer[0], str)
        answer = answer[0] if several else answer
        asked = [*_as_turns(prompt, "user"), *_as_turns(answer, "assistant")]
    turns = [turn for turn in asked if turn.get("role") != "system"] if _is_chat(asked) else []
    if len(turns) < 2 or turns[-1]["role"] != "assistant":
        raise ValueError(f"is not a solved example in text; write {FORMS}")
    yield from turns


def _as_turns(value: Any, role: str) -> Sequence[Any]:
    if isinstance(value, Mapping):
        return [value]
    return value if isinstance(value, list) else [{"role": role, "content": value}]


def _is_chat(turns: Any) -> bool:
    return isinstance(turns, list) and all(map(_is_turn, turns))


def _is_turn(turn: Any) -> bool:
    """Return whether a value is a turn of text or tool calls; images are not supported."""
    if not isinstance(turn, Mapping) or turn.get("role") not in ROLES:
        return False
    content, calls = turn.get("content"), turn.get("tool_calls")
    is_text = isinstance(content, str) and bool(content)
    return is_text or (not content and isinstance(calls, list) and bool(calls))


def _as_dialogue(example: SolvedExample) -> str:
    return "\n".join(f"{str(t['role']).capitalize()}: {_content(t)}" for t in example.turns)


def _content(turn: Turn) -> str:
    """Return what a turn says, or else the calls that it makes."""
    content = turn.get("content") or turn.get("tool_calls") or ""
    return content if isinstance(content, str) else canonical_json(content)
