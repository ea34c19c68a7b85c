"""Modelfile: how Ollama is to serve a GGUF file, its prompt template included.

Ollama's templates are Go's, and a model's is Jinja. The pieces around each turn are read off the
Jinja template's output, put together as Go, and compared with it on whole conversations. Where
that fails, TEMPLATE is left out: an Ollama that runs llama-server then uses the file's own Jinja
template, unless it takes it for one that it knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tunegate.harness.models._chat_template import render_chat
from tunegate.harness.models._load_model import load_tokenizer
from tunegate.harness.models.adapters.weight_files import read_json
from tunegate.harness.models.gguf_format.file import GgufFile
from tunegate.harness.records.errors import ModelError
from tunegate.harness.records.files import write_atomic

NAME = "Modelfile"
CONTEXT = 8192
"""Tokens of num_ctx, unless the model has fewer: Ollama takes 4096 on a small GPU, and cuts longer
prompts without an error (docs/context-length.mdx in its repository)."""
_PARAMETERS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "repeat_penalty",
}
"""Key of generation_config.json → Ollama's parameter."""
_ROLES = ("system", "user", "assistant")
_MARKS = ("system-4711", "question-0815", "answer-1742", "question-9377")

Turns = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class TurnPieces:
    """What a chat template writes around the turns of plain conversations."""

    head: str
    around: dict[str, tuple[str, str]]
    """Role → text before and after a turn."""
    generation: str
    """Text in front of the answer."""
    default: str | None = None
    """System prompt of conversations without one. An empty one is still written."""

    def render(self, turns: Turns) -> str:
        """Return the conversation as Ollama would write it."""
        if self.default and turns[0][0] != "system":
            turns = [("system", self.default), *turns]
        written = "".join(text.join(self.around[role]) for role, text in turns)
        system = any(text for role, text in turns if role == "system")
        empty = "" if self.default != "" or system else self._empty
        return f"{self.head}{empty}{written}{self.generation}"

    @property
    def _empty(self) -> str:
        return "".join(self.around["system"])

    def template(self, *, bos: bool) -> str:
        """Return the Go template; with `bos` the server writes the head itself."""
        cases = [
            f'if eq .Role "{role}" }}}}{before}{{{{ .Content }}}}{after}'
            for role, (before, after) in self.around.items()
        ]
        body = "{{ else ".join(cases)
        head = "" if bos else self.head
        if self.default == "":  # Ollama takes no empty SYSTEM
            head += f"{{{{ if not .System }}}}{self._empty}{{{{ end }}}}"
        turns = f"{{{{ range .Messages }}}}{{{{ {body}{{{{ end }}}}{{{{ end }}}}"
        return f"{head}{turns}{self.generation}"


_PLAIN: tuple[Turns, ...] = (
    [("user", "Hello")],
    [("system", "Be brief."), ("user", "Hello")],
    [("user", "One"), ("assistant", "Two"), ("user", "Three")],
    [("system", "Be brief."), ("user", "Grüße, 你好"), ("assistant", "Ja."), ("user", "12 + 3")],
)
"""Conversations that must come out equal."""
_EDGES: tuple[tuple[str, Turns], ...] = (
    ("an empty system prompt", [("system", ""), ("user", "Hello")]),
    ("white space around a turn", [("user", "  Hello\n")]),
    ("white space around an answer", [("user", "A"), ("assistant", " B\n"), ("user", "C")]),
)
"""Shapes in which Ollama's template may differ, which the file then says."""


def write_modelfile(folder: Path, model: GgufFile, *, adapter: Path | None = None) -> Path:
    """Write the Modelfile next to a GGUF file and return its path.

    Args:
        folder: The model folder that was converted, with its tokenizer.
        model: The GGUF file.
        adapter: A LoRA adapter as GGUF that is applied to it.
    """
    fields = model.fields
    lines = ["# ollama create NAME -f Modelfile; then prove it: --artifacts ollama:NAME"]
    lines.append(f"FROM ./{model.path.name}")
    if adapter is not None:
        lines.append(f"ADAPTER ./{adapter.name}")
    tokenizer = load_tokenizer(folder)
    lines += _template_lines(tokenizer, bos=bool(fields.get("tokenizer.ggml.add_bos_token")))
    context = int(fields.get(f"{model.architecture}.context_length", CONTEXT))
    lines += _parameter_lines(folder, tokenizer, min(context, CONTEXT))
    path = model.path.parent / NAME
    write_atomic(path, "\n".join(lines) + "\n")
    return path


def _template_lines(tokenizer: Any, *, bos: bool) -> Iterator[str]:
    if not tokenizer.chat_template:
        yield "# the model has no chat template"
        return
    try:
        pieces = read_pieces(tokenizer)
    except ValueError as reason:
        yield f"# no TEMPLATE: {reason}. Ollama renders the file's own template or one it takes it"
        yield "# for; OLLAMA_GO_TEMPLATE=0 in the server's environment keeps it to the file's own"
        return
    yield f"# equal to the chat template on {len(_PLAIN)} conversations; tools and thoughts are not"
    yield "# in it"
    if "system" not in pieces.around:
        yield "# the model's template takes no system prompt, and this one leaves it out"
    for what, turns in _EDGES:
        if not _agrees(tokenizer, pieces, turns):
            yield f"# differs from it in {what}"
    yield f'TEMPLATE """{pieces.template(bos=bos and _begins_with_bos(tokenizer, pieces))}"""'
    if pieces.default:
        yield f'SYSTEM """{pieces.default}"""'


def _begins_with_bos(tokenizer: Any, pieces: TurnPieces) -> bool:
    return bool(pieces.head) and pieces.head == tokenizer.bos_token


def read_pieces(tokenizer: Any) -> TurnPieces:
    """Return the pieces of a tokenizer's chat template.

    Raises:
        ValueError: it writes conversations that no such pieces make.
    """
    if "strftime_now" in str(tokenizer.chat_template):
        raise ValueError("the chat template writes today's date")
    system, first, answer, second = _MARKS
    pair = [("user", first), ("assistant", answer), ("user", second)]
    known = _system_taken(tokenizer)
    turns = [("system", system), *pair] if known else pair
    pieces = _split(_render(tokenizer, turns), _MARKS if known else _MARKS[1:])
    after_user = _tail(tokenizer, turns[:-2], first, pieces[-3])
    after_answer = _tail(tokenizer, turns[:-1], answer, pieces[-2])
    user = (_without_front(pieces[-2], after_answer), after_user)
    around = {"user": user, "assistant": (_without_front(pieces[-3], after_user), after_answer)}
    generation = _without_front(pieces[-1], after_user)
    bos = tokenizer.bos_token or ""
    heads = [bos, ""] if bos and pieces[0].startswith(bos) else [""]
    if user[0].startswith(bos):  # it begins each turn, as in SmolLM2
        heads.reverse()
    for head in heads:
        found = TurnPieces(head, around, generation)
        if known:
            found = _with_system(tokenizer, found, pieces)
        if all(t[0][0] not in found.around or _agrees(tokenizer, found, t) for t in _PLAIN):
            _refuse_unwritable(found)
            return found
    raise ValueError("the chat template does more than write turns one after the other")


def _with_system(tokenizer: Any, found: TurnPieces, pieces: Sequence[str]) -> TurnPieces:
    """Return the pieces with those of the system prompt, and the one that is written by itself."""
    head, user = found.head, found.around["user"][0]
    before, after = pieces[0][len(head) :], pieces[1].removesuffix(user)
    plain = _split(_render(tokenizer, [("user", _MARKS[1])]), _MARKS[1:2])[0]
    default = None
    if plain != f"{head}{user}":
        default = plain.removeprefix(head + before).removesuffix(after + user)
    return replace(found, around={"system": (before, after), **found.around}, default=default)


def _refuse_unwritable(pieces: TurnPieces) -> None:
    texts = [pieces.head, pieces.generation, pieces.default or ""]
    texts += [text for pair in pieces.around.values() for text in pair]
    if any(part in text for text in texts for part in ("{{", "}}", '"""')) or '"' in {
        text[-1:] for text in (pieces.generation, pieces.default or "")
    }:
        raise ValueError("the chat template writes braces or quotes that a Modelfile cannot hold")


def _system_taken(tokenizer: Any) -> bool:
    try:
        return _MARKS[0] in _render(tokenizer, [("system", _MARKS[0]), ("user", _MARKS[1])])
    except ValueError:
        return False


def _agrees(tokenizer: Any, pieces: TurnPieces, turns: Turns) -> bool:
    try:
        return _render(tokenizer, turns) == pieces.render(turns)
    except (ValueError, KeyError):
        return True  # the template refuses it, so no training saw it


def _render(tokenizer: Any, turns: Turns, *, answer: bool = True) -> str:
    messages = [{"role": role, "content": text} for role, text in turns]
    more = {"continue_final_message": False}
    spec = "the model"
    try:
        return render_chat(
            tokenizer, messages, spec=spec, add_generation_prompt=answer, variables=more
        )
    except ModelError as error:
        raise ValueError(str(error)) from error


def _split(text: str, marks: Sequence[str]) -> list[str]:
    """Return the pieces of a text before, between and behind marks."""
    found, rest = [], text
    for mark in marks:
        before, there, rest = rest.partition(mark)
        if not there or mark in rest:
            raise ValueError("the chat template does not write each turn once, in order")
        found.append(before)
    return [*found, rest]


def _tail(tokenizer: Any, turns: Turns, mark: str, followed: str) -> str:
    """Return what ends the last turn; Phi-3's template also ends the whole text."""
    tail = _render(tokenizer, turns, answer=False).rpartition(mark)[2]
    return tail if followed.startswith(tail) else tail.removesuffix(tokenizer.eos_token or "")


def _without_front(text: str, front: str) -> str:
    if not text.startswith(front):
        raise ValueError("the chat template ends a turn differently where another follows")
    return text[len(front) :]


def _parameter_lines(folder: Path, tokenizer: Any, context: int) -> Iterator[str]:
    path = folder / "generation_config.json"
    configured = read_json(path) if path.is_file() else {}
    ids = configured.get("eos_token_id")
    listed = ids if isinstance(ids, list) else [ids]
    stops = dict.fromkeys(i for i in (tokenizer.eos_token_id, *listed) if i is not None)
    for number in stops:
        text = tokenizer.convert_ids_to_tokens(number)
        if number in tokenizer.all_special_ids or number in tokenizer.added_tokens_decoder:
            yield f'PARAMETER stop "{text}"'
    yield f"PARAMETER num_ctx {context}"
    for key, name in _PARAMETERS.items():
        value = configured.get(key)
        if value is not None:
            yield f"PARAMETER {name} {value}"
