"""GGUF files: header, weights and tokenizer, read strictly.

Everything that can be wrong with the file itself is found here, in one line and before any library
maps it: no GGUF at all, an unknown version, one part of several, an end in the middle.

Unpacking a GGUF file into a Transformers model, whole or not at all. Transformers passes over what
it does not know in a file: a bias, the frequencies of Llama 3, the scaling of positions. The model
would load and answer, and be another one; here it is refused, and the frequencies are applied.

The tokenizer of a GGUF file: as llama.cpp splits texts, or the one of a folder, proven equal.
Transformers builds the vocabulary out of the file. How texts are cut before the merges is a name in
the file (`gguf_tokenizer.ggml.pre`), of which Transformers knows some and takes GPT-2's rule for
the
others: numbers would be split in another way than the model was trained on, without error. Here a
name that is not known is refused.
"""

from __future__ import annotations

import io
import json
import mmap
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from functools import cache
from itertools import zip_longest
from math import prod
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from tunegate.harness.checks.weight_files import file_sha256
from tunegate.harness.errors import ModelError
from tunegate.harness.models._model_folder import require_modules
from tunegate.harness.models.transformers import (
    HfArm,
    LoadedModel,
    last_logits,
    load_tokenizer,
    prefix_errors,
    refuse_nan,
)

_SCALARS = dict(zip((*range(8), 10, 11, 12), "BbHhIif?Qqd", strict=True))
"""Value type of the format → its `struct` letter."""
_STRING, _ARRAY = 8, 9
_VERSIONS = (2, 3)


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """One tensor of the file."""

    kind: str
    """How it is stored: `F32`, `Q8_0` …"""
    begin: int
    """Offset from the beginning of the file, in bytes."""
    size: int
    """Bytes."""


@dataclass(frozen=True)
class GgufFile:
    """A whole GGUF file."""

    path: Path
    fields: Mapping[str, Any] = field(repr=False)
    """Metadata by key."""
    tensors: Mapping[str, GgufTensor] = field(repr=False)

    @property
    def architecture(self) -> str:
        """The name of the architecture, as llama.cpp spells it."""
        return str(self.fields["general.architecture"])

    @property
    def stored(self) -> dict[str, int]:
        """How many tensors are stored in which way."""
        return dict(sorted(Counter(tensor.kind for tensor in self.tensors.values()).items()))

    @property
    def stop_ids(self) -> list[int]:
        """Ids that the file names as the end of a text, a turn or a message."""
        keys = (f"tokenizer.ggml.{name}_token_id" for name in ("eos", "eot", "eom"))
        return sorted({int(self.fields[key]) for key in keys if key in self.fields})


def read_gguf(path: Path) -> GgufFile:
    """Read the header.

    Raises:
        ModelError: it is no GGUF file, or not a whole one.
        MissingExtra: the package that knows the format's numbers is not installed.
    """
    require_modules("gguf", what="a GGUF file", extra="gguf")
    if not path.is_file():
        raise ModelError(f"{path}: no such file; give the path of a .gguf file")
    size = path.stat().st_size
    with path.open("rb") as file:
        magic = file.read(4)
        if magic != b"GGUF":
            raise ModelError(
                f"{path}: not a GGUF file (it begins with {magic!r}); convert the model with "
                "llama.cpp's convert_hf_to_gguf.py, or give the model's folder as it is"
            )
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return _parse(path, _HeaderCursor(data, 4))
            except _TruncatedFile as error:
                raise ModelError(
                    f"{path}: the file ends in the middle ({size} bytes, at least {error.needed} "
                    "are needed); copy or download it again"
                ) from error
            except (KeyError, ValueError, RecursionError, struct.error) as error:
                raise ModelError(
                    f"{path}: the GGUF header is damaged ({error}); copy or download it again"
                ) from error


class _TruncatedFile(Exception):
    """The file is shorter than its header states."""

    def __init__(self, needed: int) -> None:
        super().__init__(needed)
        self.needed = needed


@dataclass
class _HeaderCursor:
    """A place in the header; nothing is read beyond the end."""

    data: mmap.mmap
    at: int

    def need(self, size: int) -> int:
        """Return the place `size` bytes further on."""
        if self.at + size > len(self.data):
            raise _TruncatedFile(self.at + size)
        return self.at + size

    def take(self, size: int) -> bytes:
        """Return the next bytes."""
        end = self.need(size)
        start, self.at = self.at, end
        return self.data[start:end]

    def numbers(self, letters: str) -> tuple[Any, ...]:
        """Return the next little-endian numbers."""
        return struct.unpack(f"<{letters}", self.take(struct.calcsize(f"<{letters}")))

    def text(self) -> str:
        """Return the next string."""
        (length,) = self.numbers("Q")
        return self.take(length).decode("utf-8")

    def value(self, kind: int) -> Any:
        """Return the next value of a type."""
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            return self.numbers(_SCALARS[kind])[0]
        inner, count = self.numbers("IQ")
        self.need(count)  # a damaged count must not be believed
        if inner in _SCALARS:
            return list(self.numbers(f"{count}{_SCALARS[inner]}"))
        return [self.value(inner) for _ in range(count)]


def _parse(path: Path, cursor: _HeaderCursor) -> GgufFile:
    version, n_tensors, n_fields = cursor.numbers("IQQ")
    if version not in _VERSIONS:
        raise ModelError(
            f"{path}: GGUF version {version}; versions 2 and 3 can be read: convert it again"
        )
    fields = {}
    for _ in range(n_fields):
        key = cursor.text()
        fields[key] = cursor.value(cursor.numbers("I")[0])
    if "general.architecture" not in fields:
        raise ValueError("general.architecture is missing")
    if fields.get("split.count", 1) > 1:
        raise ModelError(
            f"{path}: one of {fields['split.count']} parts; join them first with llama.cpp's "
            "llama-gguf-split --merge"
        )
    table = [_entry(cursor) for _ in range(n_tensors)]
    alignment = int(fields.get("general.alignment", 32))
    start = -(-cursor.at // alignment) * alignment
    tensors = {
        name: _tensor_at(path, (name, elements, kind), start + offset)
        for name, elements, kind, offset in table
    }
    cursor.at = 0
    cursor.need(max((t.begin + t.size for t in tensors.values()), default=start))
    return GgufFile(path, fields, tensors)


def _entry(cursor: _HeaderCursor) -> tuple[str, int, int, int]:
    """Return a tensor's name, number of elements, type and offset."""
    name = cursor.text()
    (dimensions,) = cursor.numbers("I")
    elements = prod(cursor.numbers(f"{dimensions}Q"))
    kind, offset = cursor.numbers("IQ")
    return name, elements, kind, offset


def _tensor_at(path: Path, entry: tuple[str, int, int], begin: int) -> GgufTensor:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    name, elements, kind = entry
    try:
        known = GGMLQuantizationType(kind)
    except ValueError as error:
        raise ModelError(
            f"{path}: tensor {name} is stored in a way that the installed gguf does not know "
            f"(type {kind}); quantise the model as Q8_0, or pip install --upgrade gguf"
        ) from error
    block, size = GGML_QUANT_SIZES[known]
    return GgufTensor(known.name, begin, elements // block * size)


_FREQUENCIES = "rope_freqs.weight"
"""By what each rotary frequency is divided, where positions are scaled as in Llama 3."""


@contextmanager
def _one_table_of_names() -> Iterator[None]:
    """Build gguf's table of tensor names once: Transformers asks for it for every module.

    With 30 layers that is 5 of the 9 seconds that loading takes.
    """
    import gguf

    with patch.object(gguf, "get_tensor_name_map", cache(gguf.get_tensor_name_map)):
        yield


def load_gguf(file: GgufFile, tokenizer: Any) -> LoadedModel:
    """Unpack the file to float32.

    Raises:
        ModelError: it cannot be loaded, or Transformers would compute another model.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils.quantization_config import GgufConfig

    _refuse_unread(file)
    path = file.path.resolve()
    # Its progress bars have no common switch.
    silent = redirect_stderr(io.StringIO())
    with prefix_errors(f"{file.path}: cannot be loaded"), silent, _one_table_of_names():
        both: Any = AutoModelForCausalLM.from_pretrained(
            path.parent,
            # The whole path: a bare name would be looked for in the working directory first.
            gguf_file=str(path),
            dtype=torch.float32,
            quantization_config=GgufConfig(dequantize=True),
            trust_remote_code=False,
            output_loading_info=True,
        )
    model, report = both
    if report["missing_keys"]:
        # Transformers would fill them with random numbers and go on.
        raise ModelError(
            f"{file.path}: tensor {min(report['missing_keys'])} is missing; convert it again"
        )
    _refuse_unused(file, model)
    _scale_frequencies(file, model)
    if torch.cuda.is_available():
        model.to("cuda")
    model.eval()
    model.generation_config.eos_token_id = file.stop_ids or None
    refuse_nan(model.named_parameters(), file.path)
    loaded = LoadedModel(model, tokenizer, file.path, file_sha256(path), "float32")
    loaded.pristine = last_logits(model, HfArm("", loaded, tokenizer).probe_ids())
    return loaded


def _refuse_unread(file: GgufFile) -> None:
    """Refuse what Transformers does not read, or reads without what it depends on."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
    from gguf.quants import dequantize
    from transformers.integrations.gguf.gguf_config_mapping import GGUF_CONFIG_ARCHS
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    known = {*GGUF_SUPPORTED_ARCHITECTURES, *GGUF_CONFIG_ARCHS}
    problem = ""
    if file.architecture not in known:
        problem = f"architecture {file.architecture!r} is not read by Transformers"
    scaling = file.fields.get(f"{file.architecture}.rope.scaling.type", "none")
    if scaling != "none" and file.architecture != "gpt-oss":
        problem = f"rope scaling {scaling!r} is not read by Transformers"
    for name in file.stored:
        kind = GGMLQuantizationType[name]
        try:
            dequantize(np.zeros((1, GGML_QUANT_SIZES[kind][1]), dtype=np.uint8), kind)
        except NotImplementedError:
            problem = f"tensors stored as {name} cannot be unpacked"
    if problem:
        raise ModelError(
            f"{file.path}: {problem}; let llama.cpp compute it: gguf:{file.path}?engine=llama.cpp"
        )


def _refuse_unused(file: GgufFile, model: Any) -> None:
    """Refuse a file of which a tensor found no place in the model."""
    from transformers.integrations.gguf.gguf_config_mapping import GGUF_CONFIG_ARCHS
    from transformers.modeling_gguf_pytorch_utils import (
        TENSOR_PROCESSORS,
        TensorProcessor,
        get_gguf_hf_weights_map,
    )

    if file.architecture in GGUF_CONFIG_ARCHS:
        return
    processor: Any = TENSOR_PROCESSORS.get(file.architecture, TensorProcessor)
    placed: Any = get_gguf_hf_weights_map(model, processor(config=model.config.to_dict()))
    for name in file.tensors:
        if name not in placed and name.rpartition(".")[0] not in placed and name != _FREQUENCIES:
            raise ModelError(
                f"{file.path}: tensor {name} is not read by Transformers, and the answers would "
                f"be another model's; let llama.cpp compute it: gguf:{file.path}?engine=llama.cpp"
            )


def _scale_frequencies(file: GgufFile, model: Any) -> None:
    """Scale the rotary frequencies by the file's factors; Transformers leaves that out."""
    import torch

    tensor = file.tensors.get(_FREQUENCIES)
    if tensor is None:
        return
    rotary = getattr(model.base_model, "rotary_emb", None)
    if file.architecture != "llama" or rotary is None or tensor.kind != "F32":
        raise ModelError(
            f"{file.path}: tensor {_FREQUENCIES} is not read by Transformers; let llama.cpp "
            f"compute it: gguf:{file.path}?engine=llama.cpp"
        )
    raw = np.fromfile(file.path, np.float32, tensor.size // 4, offset=tensor.begin)
    factors = torch.from_numpy(raw)
    for name in ("inv_freq", "original_inv_freq"):
        getattr(rotary, name).div_(factors)


_LIKE_GPT2 = (
    "gpt-2", "phi-2", "gigachat", "a.x-4.0", "mellum", "exaone4", "mpt", "olmo", "jais", "trillion",
)  # fmt: skip
_DIGITS_ALONE = (
    "smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b",
)  # fmt: skip
"""Names under which llama.cpp cuts every digit off before GPT-2's rule."""
_LIKE_LLAMA3 = (
    "llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2",
    "tekken",
)  # fmt: skip
"""Names under which a word that is in the vocabulary stays whole, whatever the merges are, and a
text begins with the bos token unless the file states otherwise."""
_UNUSED = 5
"""Token type of the ids that only fill the vocabulary up."""


def gguf_tokenizer(file: GgufFile, folder: Path | None) -> Any:
    """Return the tokenizer that the file describes, or `folder`'s with the file's chat template.

    Raises:
        ModelError: it cannot be built exactly, or the folder's has another vocabulary.
    """
    if folder is None:
        return _own_tokenizer(file)
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such folder; ?tokenizer= names a folder with a tokenizer")
    theirs = load_tokenizer(folder)
    _refuse_other_vocabulary(file, theirs, folder)
    template = file.fields.get("tokenizer.chat_template")
    if template:
        theirs.chat_template = template
    return theirs


def _own_tokenizer(file: GgufFile) -> Any:
    from transformers import PreTrainedTokenizerFast
    from transformers.integrations.gguf.gguf_tokenizer_mapping import (
        convert_gguf_tokenizer,
        get_gguf_tokenizer,
    )

    if "tokenizer.ggml.tokens" not in file.fields:
        raise ModelError(
            f"{file.path}: the file holds no vocabulary; name a folder that has the tokenizer: "
            f"gguf:{file.path}?tokenizer=DIR"
        )
    with prefix_errors(f"{file.path}: no usable tokenizer"):
        architecture, parts, settings = get_gguf_tokenizer(str(file.path))
        backend, _ = convert_gguf_tokenizer(architecture, parts)
        if parts.get("tokenizer_type") == "gpt2":
            _cut_as_named(file, backend)
        settings = _added_tokens(file, parts["tokenizer_type"]) | settings
        whole = _within(backend, len(parts["tokens"]))
        own: Any = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # it has no types
            tokenizer_object=whole, **settings
        )
    own.padding_side = "left"
    return own


def _added_tokens(file: GgufFile, kind: str) -> dict[str, bool]:
    """Return which tokens are put around every text, by the file or by llama.cpp's default.

    Transformers before 5.23 reads none of this.
    """
    if kind == "gemma4":  # its template writes the token
        return {"add_bos_token": False}
    flags = ("add_bos_token", "add_eos_token")
    stated = {flag: file.fields.get(f"tokenizer.ggml.{flag}") for flag in flags}
    llama3 = file.fields.get("tokenizer.ggml.pre") in _LIKE_LLAMA3
    default = {"add_bos_token": True} if kind == "llama" or llama3 else {}
    return default | {flag: bool(value) for flag, value in stated.items() if value is not None}


def _within(backend: Any, size: int) -> Any:
    """Return the tokenizer without tokens that the model has no embedding for.

    Transformers adds GPT-2's `<|endoftext|>` behind a vocabulary that lacks it.
    """
    from tokenizers import Tokenizer

    parts = json.loads(backend.to_str())
    parts["added_tokens"] = [entry for entry in parts["added_tokens"] if entry["id"] < size]
    return Tokenizer.from_str(json.dumps(parts))


def _cut_as_named(file: GgufFile, backend: Any) -> None:
    """Set how texts are cut before the merges; refuse a name whose rule is not known."""
    from tokenizers import pre_tokenizers
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    name = file.fields.get("tokenizer.ggml.pre")
    if name in _DIGITS_ALONE:
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )
    elif name not in _LIKE_GPT2 and name not in GGUF_PRE_TOKENIZER_SPLITS:
        raise ValueError(
            f"tokenizer.ggml.pre={name!r} names a way of splitting that is not known here; name a "
            f"folder that has the tokenizer: gguf:{file.path}?tokenizer=DIR"
        )
    if name in _LIKE_LLAMA3:
        backend.model.ignore_merges = True


def _refuse_other_vocabulary(file: GgufFile, theirs: Any, folder: Path) -> None:
    """Raise ModelError at the first id that stands for another token in the folder."""
    tokens = list(file.fields.get("tokenizer.ggml.tokens", ()))
    types = file.fields.get("tokenizer.ggml.token_type", ())
    by_id = {number: token for token, number in theirs.get_vocab().items()}
    while tokens and len(tokens) - 1 not in by_id and types[len(tokens) - 1 :] == [_UNUSED]:
        tokens.pop()
        types = types[: len(tokens)]
    ours = [by_id.get(number) for number in range(max(by_id, default=-1) + 1)]
    for number, (wanted, found) in enumerate(zip_longest(tokens, ours)):
        if wanted != found:
            raise ModelError(
                f"{folder}: id {number} is {found!r}, and {wanted!r} in {file.path}; name the "
                "tokenizer of the model that the file was made of"
            )
