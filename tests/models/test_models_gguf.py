"""`gguf:`: a file unpacked by Transformers answers like the model it was made of, or is refused.

The files are written by our own writer, and read by Transformers: two implementations.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gguf_files import few_stops, needs_gguf, rewritten
from tests.short_models import ShortModel, short_model
from tests.tiny_models import Tiny, make_tokenizer
from tunegate.harness.engine.inference import local_engine
from tunegate.harness.models.gguf import gguf
from tunegate.harness.models.gguf_format.file import read_gguf
from tunegate.harness.models.open_arms import computes_here, open_arms
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import MissingExtra, ModelError, NotComparable

__all__ = ["short_model"]

pytestmark = needs_gguf

CASES = [
    Case(id=name, prompt=prompt, choices=("Paris", "Rome"), answer=0, expected=("Paris",))
    for name, prompt in (
        ("a", "the capital of France is"),
        ("b", "the parcel is late and"),
        ("c", "1, 22, 333,"),
    )
]


@pytest.fixture(scope="module", name="folder")
def _folder(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama with three ids that end a text, as many as a GGUF file can name."""
    return few_stops(tiny.base(), tmp_path_factory.mktemp("llama") / "model")


@pytest.fixture(scope="module", name="written")
def _written(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder as a GGUF file, stored as asked; written once."""
    from tests.gguf_writer import write_gguf

    root = tmp_path_factory.mktemp("gguf")

    def make(quantisation: str) -> Path:
        path = root / f"{quantisation}.gguf"
        if not path.exists():
            write_gguf(folder, path, quantisation)
        return path

    return make


def _answers(arm: Any, requests: list[Any]) -> dict[str, Any]:
    return {a.key: a.completion for a in local_engine.complete_requests(arm, requests)}


def test_a_float32_file_computes_the_folders_logits(
    folder: Path, written: Callable[[str], Path]
) -> None:
    arms: Any = open_arms({"base": str(folder), "tuned": f"gguf:{written('F32')}"})
    ids = arms["base"].probe_ids()

    assert arms["tuned"].probe_ids() == ids
    assert float((arms["tuned"].probe(ids) - arms["base"].probe(ids)).abs().max()) < 1e-4
    assert arms["tuned"].stop_ids == {0, 9, 33}
    assert arms["tuned"].context_length == arms["base"].context_length


@pytest.mark.parametrize(
    ("quantisation", "error", "stored"), [("F16", 0.1, 16), ("Q8_0", 2.0, 14), ("Q4_0", 20.0, 14)]
)
def test_rounded_files_are_close_and_not_equal(
    folder: Path, written: Callable[[str], Path], quantisation: str, error: float, stored: int
) -> None:
    """Rounding moves the logits, by more the fewer bits are left.

    Two layers of seven matrices, embeddings and head are 16; two of them have rows of 48 numbers,
    which do not fill blocks of 32.
    """
    arms: Any = open_arms({"base": str(folder), "tuned": f"gguf:{written(quantisation)}"})
    ids = arms["base"].probe_ids()
    moved = float((arms["tuned"].probe(ids) - arms["base"].probe(ids)).abs().max())

    assert error / 100 < moved < error
    assert arms["tuned"].identity["stored"][quantisation] == stored


@pytest.mark.parametrize("kind", ["generate", "choices", "answer"])
def test_every_kind_of_question_is_answered_as_by_the_folder(
    folder: Path, written: Callable[[str], Path], ask: Callable[..., list[Any]], kind: str
) -> None:
    arms: Any = open_arms({"base": str(folder), "tuned": f"gguf:{written('F32')}"})
    base, tuned = (_answers(arm, ask(arm, CASES, kind, max_new_tokens=12)) for arm in arms.values())

    for key, ours in tuned.items():
        assert ours.text == base[key].text
        assert ours.choice_logprobs == pytest.approx(base[key].choice_logprobs, abs=1e-4)
        assert ours.answer_logprob == pytest.approx(base[key].answer_logprob, abs=1e-4)


def test_the_fingerprint_is_the_content_and_not_the_place(
    written: Callable[[str], Path], tmp_path: Path
) -> None:
    """A moved file is the same arm; another rounding is another one."""
    moved = shutil.copyfile(written("F32"), tmp_path / "moved.gguf")

    assert gguf(str(moved)).fingerprint == gguf(str(written("F32"))).fingerprint
    assert gguf(str(written("F16"))).fingerprint != gguf(str(written("F32"))).fingerprint


def test_the_named_file_is_loaded_and_none_of_the_same_name_here(
    written: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "F32.gguf").write_bytes(b"GGUF")
    monkeypatch.chdir(tmp_path)

    assert gguf(str(written("F32"))).identity["backend"] == "gguf"


def test_files_beside_the_gguf_are_not_read(written: Callable[[str], Path], tmp_path: Path) -> None:
    shutil.copyfile(written("F32"), tmp_path / "F32.gguf")
    make_tokenizer(bos=True, template="{{ 1 }}").save_pretrained(tmp_path)
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": 5}', encoding="utf-8")

    alone, beside = gguf(str(written("F32"))), gguf(str(tmp_path / "F32.gguf"))
    assert beside.fingerprint == alone.fingerprint


def test_digits_are_split_as_the_file_says(written: Callable[[str], Path], tmp_path: Path) -> None:
    """`smollm` cuts every digit off; Transformers by itself would take GPT-2's rule."""
    from tokenizers import pre_tokenizers

    path = rewritten(written("F32"), tmp_path / "s.gguf", **{"tokenizer.ggml.pre": "smollm"})
    arm: Any = gguf(str(path))
    expected = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )

    cut = arm.tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str("in 2024 it's")
    assert cut == expected.pre_tokenize_str("in 2024 it's")
    assert [text for text, _ in cut] == ["in", "Ġ", "2", "0", "2", "4", "Ġit", "'s"]


def test_no_token_lies_behind_the_embeddings(written: Callable[[str], Path]) -> None:
    """A text with `<|endoftext|>` has only ids that the model knows."""
    arm: Any = gguf(str(written("F32")))

    assert max(arm.tokenizer("a<|endoftext|>b")["input_ids"]) < 320


def test_a_folder_may_bring_the_tokenizer(
    folder: Path, written: Callable[[str], Path], tmp_path: Path
) -> None:
    """`?tokenizer=DIR` helps where the way of splitting is unknown; the template is the file's."""
    path = rewritten(written("F32"), tmp_path / "u.gguf", **{"tokenizer.ggml.pre": "mine"})
    shutil.copytree(folder, tmp_path / "other")
    (tmp_path / "other" / "chat_template.jinja").write_text("{{ 1 }}", encoding="utf-8")

    with pytest.raises(ModelError, match=r"tokenizer\.ggml\.pre='mine'.*\?tokenizer=DIR"):
        gguf(str(path))
    arm: Any = gguf(f"{path}?tokenizer={tmp_path / 'other'}")
    plain: Any = gguf(str(written("F32")))
    assert arm.probe_ids() == plain.probe_ids()
    assert arm.tokenizer.chat_template == plain.tokenizer.chat_template


def test_another_vocabulary_is_refused(written: Callable[[str], Path], tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["<extra>"])
    tokenizer.save_pretrained(tmp_path / "other")

    with pytest.raises(ModelError, match=r"other: id \d+ is '<extra>', and None in .*F32\.gguf"):
        gguf(f"{written('F32')}?tokenizer={tmp_path / 'other'}")
    with pytest.raises(ModelError, match=r"nowhere: no such folder"):
        gguf(f"{written('F32')}?tokenizer={tmp_path / 'nowhere'}")


def _damaged(whole: bytes) -> Iterator[tuple[str, bytes, str]]:
    nested = struct.pack("<QQ", 0, 1) + struct.pack("<Q", 1) + b"a" + struct.pack("<I", 9)
    nested += struct.pack("<IQ", 9, 1) * 5_000
    yield "arrays in arrays", whole[:8] + nested, "damaged .* .maximum recursion depth"
    yield "empty", b"", "not a GGUF file"
    yield "pickle", b"\x80\x04" + whole[2:], "not a GGUF file"
    yield (
        "version",
        whole[:4] + struct.pack("<I", 1) + whole[8:],
        "version 1 which we cannot",
    )
    yield "header", whole[:200], "truncated, .*download it again"
    yield "tensors", whole[:-100], "truncated, .*download it again"
    at = whole.index(b"token_embd.weight") + len("token_embd.weight") + struct.calcsize("<IQQ")
    odd = whole[:at] + struct.pack("<I", 99) + whole[at + 4 :]
    yield "storage", odd, r"99\)? is not a valid GGMLQuantizationType.*pip install --upgrade gguf"
    yield "count", whole[:16] + struct.pack("<Q", 2**40) + whole[24:], "download it again"


@pytest.mark.parametrize(
    "which",
    ["empty", "pickle", "version", "header", "tensors", "storage", "count", "arrays in arrays"],
)
def test_a_broken_file_is_one_line(
    written: Callable[[str], Path], tmp_path: Path, which: str
) -> None:
    found = {name: (data, text) for name, data, text in _damaged(written("F32").read_bytes())}
    (tmp_path / "x.gguf").write_bytes(found[which][0])

    with pytest.raises(ModelError, match=rf"x\.gguf: .*{found[which][1]}") as caught:
        gguf(str(tmp_path / "x.gguf"))
    assert "\n" not in str(caught.value)


def test_weights_are_mapped_and_not_read(written: Callable[[str], Path]) -> None:
    import numpy as np

    tensors = read_gguf(written("Q8_0")).tensors

    assert {type(tensor.data) for tensor in tensors.values()} == {np.memmap}


def test_what_transformers_does_not_read_is_refused(
    written: Callable[[str], Path], tmp_path: Path
) -> None:
    source, out = written("F32"), tmp_path / "x.gguf"

    (tmp_path / "y.gguf").write_bytes(
        source.read_bytes().replace(b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0rwkv6", 1)
    )
    with pytest.raises(ModelError, match=r"architecture 'rwkv6'.*: llama-server:/"):
        gguf(str(tmp_path / "y.gguf"))
    with pytest.raises(ModelError, match=r"rope scaling 'yarn'.*: llama-server:/"):
        gguf(str(rewritten(source, out, **{"llama.rope.scaling.type": "yarn"})))
    with pytest.raises(ModelError, match=r"one of 3 parts.*--merge"):
        gguf(str(rewritten(source, out, **{"split.count": 3})))


def test_a_tensor_without_a_place_is_refused(
    written: Callable[[str], Path], tmp_path: Path
) -> None:
    """A bias that Transformers would pass over makes another model: refused by name."""
    import numpy as np
    from gguf import GGUFWriter

    original = GGUFWriter.write_header_to_file

    def with_bias(writer: Any, *rest: Any) -> None:
        writer.add_tensor("blk.0.attn_q.bias", np.ones(32, np.float32))
        original(writer, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GGUFWriter, "write_header_to_file", with_bias)
        path = rewritten(written("F32"), tmp_path / "b.gguf")
    with pytest.raises(ModelError, match=r"tensor blk\.0\.attn_q\.bias is not read"):
        gguf(str(path))


def test_bad_specs_say_what_is_allowed(written: Callable[[str], Path], tmp_path: Path) -> None:
    path = written("F32")

    with pytest.raises(ModelError, match=r"no\.gguf: no such file; give the path of a \.gguf"):
        open_arms({"base": f"gguf:{path}", "tuned": f"gguf:{tmp_path / 'no.gguf'}"})
    with pytest.raises(ModelError, match=r"'quant=4' is not an option; write tokenizer=DIR, lora"):
        gguf(f"{path}?quant=4")


@pytest.mark.parametrize("missing", ["gguf", "accelerate"])
def test_a_missing_package_is_one_line(
    written: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == missing else found(name, *a)
    )

    with pytest.raises(MissingExtra, match=r"a GGUF file needs .*pip install 'tunegate\[gguf\]'"):
        gguf(str(written("F32")))


def test_prompts_that_are_split_otherwise_are_not_comparable(folder: Path, tmp_path: Path) -> None:
    """Base's tokenizer has a token `20` and the file says that digits stand alone: refused."""
    from tests.gguf_writer import write_gguf
    from tunegate.harness.checks import comparability
    from tunegate.harness.records.generation import GenerationSettings

    base = tmp_path / "base"
    shutil.copytree(folder, base)
    _join_digits(base / "tokenizer.json")
    write_gguf(base, tmp_path / "gpt2.gguf", "F32")
    path = rewritten(
        tmp_path / "gpt2.gguf", tmp_path / "smollm.gguf", **{"tokenizer.ggml.pre": "smollm"}
    )
    arms = open_arms({"base": str(base), "tuned": f"gguf:{path}"})
    settings = GenerationSettings(template="none")
    words, digits = (
        {("s", c.id, name): arm.prompt(c, settings) for name, arm in arms.items()}
        for c in (Case(id="w", prompt="a refund"), Case(id="d", prompt="20 parcels"))
    )

    assert comparability.check_comparability(words, arms)["by"] == "token ids"
    with pytest.raises(NotComparable, match="the tokenizers split the same text differently"):
        comparability.check_comparability(digits, arms)


def _join_digits(path: Path) -> None:
    """Make `20` the last token of a vocabulary, by a merge."""
    parts = json.loads(path.read_text(encoding="utf-8"))
    model = parts["model"]
    last = "".join(model["merges"].pop())
    model["vocab"]["20"] = model["vocab"].pop(last)
    model["merges"].append(["2", "0"])
    path.write_text(json.dumps(parts), encoding="utf-8")


def test_its_logits_are_computed_here() -> None:
    assert computes_here("gguf:m.gguf?tokenizer=base")
    assert not computes_here("llama-server:m.gguf")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("quantisation", "error"), [("F32", 1e-3), pytest.param("Q8_0", 0.1, marks=pytest.mark.long)]
)
def test_a_real_model_survives_the_file(
    short_model: ShortModel,
    tmp_path: Path,
    ask: Callable[..., list[Any]],
    quantisation: str,
    error: float,
) -> None:
    """Real weights through a file: in float32 the same texts, in Q8_0 likelihoods that are close.

    Greedy texts of a rounded model part at the first close call, so they are compared in float32.
    """
    from tests.gguf_writer import write_gguf

    write_gguf(short_model.base, tmp_path / "m.gguf", quantisation)
    arms: Any = open_arms({"base": str(short_model.base), "tuned": f"gguf:{tmp_path / 'm.gguf'}"})
    base, tuned = (_answers(arm, ask(arm, CASES, "answer")) for arm in arms.values())
    texts = [
        {key: c.text for key, c in _answers(arm, ask(arm, CASES, max_new_tokens=16)).items()}
        for arm in arms.values()
    ]
    first = [arm.probe(arms["base"].probe_ids()).argmax(dim=-1) for arm in arms.values()]

    assert {k: c.answer_logprob for k, c in tuned.items()} == pytest.approx(
        {k: c.answer_logprob for k, c in base.items()}, abs=error
    )
    assert int((first[0] == first[1]).sum()) >= 7
    assert quantisation != "F32" or texts[0] == texts[1]
