"""A llama-server is compared with GGUF files: sound ones are proven, planted faults are found.

The server's replies are computed by Transformers from GGUF files, in the form of llama.cpp's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.fake_programs import Program
from tests.fake_server import FakeServer
from tests.gguf_files import few_stops, needs_gguf
from tests.gguf_writer import write_gguf, write_lora
from tests.tiny_models import Tiny
from tunegate.harness.models.gguf import gguf
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.models.servers.reference import (
    expected_logprobs,
    in_served_arithmetic,
    served_arithmetic,
)
from tunegate.harness.records.errors import ModelError, NotComparable
from tunegate.harness.run.served_proof import prove_served

pytestmark = needs_gguf
Start = Callable[..., FakeServer]


class _Served(Program):
    """A llama-server whose models are opened GGUF files."""

    arms: Mapping[str, Any]

    def __call__(self, model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if path != "/completion":
            return super().__call__(model, path, body)
        import torch

        values = expected_logprobs(self.arms[model], [[body["prompt"]]])
        found = torch.as_tensor(values[0]).topk(body["n_probs"])
        pairs = zip(found.indices.tolist(), found.values.tolist(), strict=True)
        listed = [{"id": i, "logprob": value} for i, value in pairs]
        return {"completion_probabilities": [{"id": listed[0]["id"], "top_logprobs": listed}]}

    def _answer(self, ids: list[int], body: dict[str, Any]) -> dict[str, Any]:
        reply = super()._answer(ids, body)
        reply["choices"][0]["text"] = f"{body['model']} says {len(ids)}"
        return reply


@pytest.fixture(scope="module", name="place")
def _place(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model in three precisions, a LoRA for it, and its tokenizer."""
    place = tmp_path_factory.mktemp("gguf")
    folder = few_stops(tiny.base(), place / "model")
    for kind in ("F16", "Q8_0", "Q4_0"):
        write_gguf(folder, place / f"{kind}.gguf", kind)
    write_lora(place / "lora.gguf", rank=4)
    return place


@pytest.fixture(name="prove")
def _prove(fake_server: Start, place: Path) -> Callable[..., dict[str, Any]]:
    """Serve `gguf:` targets of base and tuned, and return what is proven of those declared."""

    def prove(kind: str, **served: str) -> dict[str, Any]:
        own = {"base": f"{kind}.gguf", "tuned": f"{kind}.gguf?lora={place}/lora.gguf"}
        opened = {n: gguf(f"{place}/{target}") for n, target in (own | served).items()}
        program = _Served(opened["base"].tokenizer)  # type: ignore[attr-defined]
        program.arms = opened
        models = {name: {"owned_by": "llamacpp"} for name in own}
        url = fake_server(reply=program, models=models, pages=program.pages).url
        weights = {"base": f"{place}/{kind}.gguf"}
        weights["tuned"] = f"{weights['base']},{place}/lora.gguf"
        specs = {
            n: f"server:{url}?tokenizer={place}/model&weights={w}#{n}" for n, w in weights.items()
        }
        arms = open_arms(specs)
        found = prove_served(arms, partial(open_arms, dtype="float32"), lambda line: None)
        assert found is not None
        return found.record

    return prove


@pytest.mark.parametrize(("kind", "arithmetic"), [("F16", "16 bit"), ("Q8_0", "8 bit")])
def test_what_is_in_the_files_is_proven(
    prove: Callable[..., dict[str, Any]], kind: str, arithmetic: str
) -> None:
    """However small the error is, no arithmetic of llama.cpp's counts as exact."""
    record = prove(kind)

    assert [record[n]["status"] for n in ("base", "tuned")] == ["proven", "proven"]
    assert [record[n]["arithmetic"] for n in ("base", "tuned")] == [arithmetic] * 2
    assert record["tuned"]["hides_r_below"] < 0.2


@pytest.mark.parametrize(
    ("kind", "served", "cause"),
    [
        ("F16", {"tuned": "F16.gguf"}, "tuned: .*base answers under its name: .* not applied"),
        ("Q8_0", {"tuned": "Q8_0.gguf"}, "tuned: .*base answers under its name: .* not applied"),
        (
            "Q8_0",
            {"tuned": "Q8_0.gguf?lora={lora}&scale=0.5"},
            "tuned: .*the adapter is scaled by 0.5",
        ),
        ("Q8_0", {"base": "Q4_0.gguf"}, "base: .*its weights differ: quantised"),
        ("Q8_0", {"tuned": "Q4_0.gguf?lora={lora}"}, "tuned: "),
    ],
)
def test_planted_faults_are_found(
    prove: Callable[..., dict[str, Any]],
    place: Path,
    kind: str,
    served: dict[str, str],
    cause: str,
) -> None:
    targets = {n: target.format(lora=place / "lora.gguf") for n, target in served.items()}

    with pytest.raises(NotComparable, match=cause):
        prove(kind, **targets)


def test_eight_bits_move_more_than_nothing_and_less_than_four_bit_weights(place: Path) -> None:
    exact, four = (gguf(f"{place}/{kind}.gguf") for kind in ("Q8_0", "Q4_0"))
    prefixes = [[[5, 9, 70], [5, 9, 70, 31, 200]]]
    plain, other = (expected_logprobs(arm, prefixes) for arm in (exact, four))  # type: ignore[arg-type]
    with in_served_arithmetic(exact):  # type: ignore[arg-type]
        rounded = expected_logprobs(exact, prefixes)  # type: ignore[arg-type]
    again = expected_logprobs(exact, prefixes)  # type: ignore[arg-type]

    assert served_arithmetic(exact) == "8 bit"  # type: ignore[arg-type]
    assert 0 < abs(rounded - plain).mean() < abs(other - plain).mean() / 3
    assert (again == plain).all()


def test_weights_that_are_no_files_are_refused(place: Path) -> None:
    for named in (f"{place}/Q8_0.gguf,{place}/gone.gguf", f"{place}/gone.gguf"):
        with pytest.raises(ModelError, match=r"name that of the model or adapter, FILE\.gguf or"):
            open_arms(
                {
                    "base": f"server:http://127.0.0.1:9/v1?weights={named}#a",
                    "tuned": "server:http://127.0.0.1:9/v1#b",
                }
            )
