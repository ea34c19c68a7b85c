"""Served identity: planted serving faults are found with their cause, sound servers are proven.

The faults are made in files: an altered adapter or model is loaded by PEFT and Transformers and
answers under the name whose root is the unaltered folder.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.fake_server import FakeServer
from tests.served_models import Served
from tests.tiny_models import muted
from tunegate.harness.checks import liveness
from tunegate.harness.contracts.model import Arm
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.models.servers import identity
from tunegate.harness.models.servers.identity import EXACT, ServedIdentity
from tunegate.harness.records.errors import BackendError, NotComparable
from tunegate.harness.records.verdict import VerdictRecord

Start = Callable[..., FakeServer]
Change = Callable[[str, Any], Any]


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the keys of whoever runs the tests."""
    monkeypatch.delenv("TUNEGATE_SERVER_KEY", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def altered(
    folder: Path, out: Path, change: Change = lambda name, tensor: tensor, **config: Any
) -> Path:
    """Copy a model or adapter with other tensors, or other keys in its configuration."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, out)
    adapter = (out / "adapter_config.json").is_file()
    settings = out / ("adapter_config.json" if adapter else "config.json")
    settings.write_text(json.dumps({**json.loads(settings.read_text()), **config}))
    weights = out / ("adapter_model.safetensors" if adapter else "model.safetensors")
    tensors = {name: change(name, tensor) for name, tensor in load_file(weights).items()}
    save_file(tensors, weights, metadata={"format": "pt"})
    return out


def times(factor: float, *parts: str) -> Change:
    """Multiply lora_B of the modules whose names hold one of the parts; all without parts."""

    def change(name: str, tensor: Any) -> Any:
        chosen = not parts or any(part in name for part in parts)
        return tensor * factor if "lora_B" in name and chosen else tensor

    return change


def in_four_bits(name: str, tensor: Any) -> Any:
    """Round a matrix to 15 steps a row, as a 4-bit quantisation does."""
    if tensor.ndim != 2 or "embed" in name:
        return tensor
    step = tensor.abs().amax(dim=1, keepdim=True) / 7
    return (tensor / step).round() * step


@pytest.fixture(scope="module")
def adapter(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that moves the tiny base as much as a fine-tune does."""
    return altered(tiny.adapter(), tmp_path_factory.mktemp("adapter") / "own", times(0.15))


@pytest.fixture
def serve(fake_server: Start, tiny: Any, adapter: Path) -> Callable[..., dict[str, Arm]]:
    """Serve models under the names of base and tuned, whose roots are what they should be."""

    def start(
        base: str | Path | None = None,
        tuned: str | Path | None = None,
        *,
        root: Path | None = None,
        dtype: str = "float32",
    ) -> dict[str, Arm]:
        specs = {"base": str(tiny.base()), "tuned": str(tuned or adapter)}
        made = open_arms(specs, dtype=dtype)
        if base is not None:
            made |= {"base": open_arms({"base": str(base), "tuned": str(base)})["base"]}
        cards = {
            "base": {"owned_by": "vllm", "root": str(tiny.base())},
            "tuned": {"owned_by": "vllm", "root": str(root or adapter), "parent": "base"},
        }
        fake = fake_server(reply=Served(made, likeliest=True), models=cards)
        return open_arms({n: f"server:{fake.url}#{n}" for n in ("base", "tuned")})

    return start


def proof(arms: Mapping[str, Arm]) -> ServedIdentity:
    """Prove the arms as a run does."""
    return ServedIdentity.prove(
        arms, lambda specs: open_arms(specs, dtype="float32"), lambda line: None
    )


def test_what_is_served_from_its_files_is_proven(serve: Any) -> None:
    """The same arithmetic gives an error far under the limit; a second check counts as one."""
    arms = serve()
    found = proof(arms)
    found.check(arms)

    for name in ("base", "tuned"):
        record = found.record[name]
        assert (record["status"], record["arithmetic"]) == ("proven", "exact")
        assert record["checks"] == 2
        assert record["r"] < EXACT / 10


SCALED: Mapping[str, tuple[Any, str]] = {
    "another alpha": ({"lora_alpha": 12}, r"the adapter is scaled by 1\.[45]"),
    "5 % too strong": (times(1.05), r"scaled by 1\.0[3-6]"),
    "one kind of module": (times(0, "down_proj"), "down_proj are served without their part"),
    "two kinds of module": (times(0, "k_proj", "v_proj"), "k_proj, v_proj are served without"),
    "all kinds but two": (
        times(0, "k_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        "down_proj, gate_proj, k_proj, o_proj, up_proj are served without",
    ),
    "one module of one layer": (
        times(0, "layers.1.self_attn.q_proj"),
        "a part of the fine-tune is not applied",
    ),
    "one layer": (times(0, "layers.1."), "a part of the fine-tune is not applied"),
}


QUICK = "one kind of module"
"""The fault of `SCALED` that every run of the tests has; each loads a model three times."""


@pytest.mark.parametrize(
    "fault",
    [name if name == QUICK else pytest.param(name, marks=pytest.mark.long) for name in SCALED],
)
def test_an_adapter_that_is_applied_in_part_is_found(
    serve: Any, adapter: Path, tmp_path: Path, fault: str
) -> None:
    how, message = SCALED[fault]
    settings = how if isinstance(how, dict) else {}
    change = times(1) if isinstance(how, dict) else how
    served = altered(adapter, tmp_path / "served", change, **settings)

    with pytest.raises(NotComparable, match=f"tuned: .*{adapter}.*{message}"):
        proof(serve(tuned=served))


@pytest.mark.long  # each loads a model three times, as do the others that are marked
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"use_rslora": True}, "every module is scaled by lora_alpha / r, which does"),
        ({"alpha_pattern": {"q_proj": 64}}, "every module is scaled by lora_alpha / r, which"),
    ],
)
def test_a_scale_that_the_server_does_not_know_is_found(
    serve: Any, adapter: Path, tmp_path: Path, settings: Mapping[str, Any], message: str
) -> None:
    root = altered(adapter, tmp_path / "own", **settings)

    with pytest.raises(NotComparable, match=message):
        proof(serve(root=root))


def test_an_adapter_that_is_not_applied_is_found(serve: Any, tiny: Any, adapter: Path) -> None:
    with pytest.raises(NotComparable, match=r"base answers under its name.*not applied.*r = 1 of"):
        proof(serve(tuned=tiny.adapter(dead=True)))


@pytest.mark.long
def test_another_fine_tune_under_the_name_is_found(serve: Any, tiny: Any, tmp_path: Path) -> None:
    other = altered(tiny.adapter(seed=2), tmp_path / "other", times(0.15))

    with pytest.raises(NotComparable, match="another model or another fine-tune answers"):
        proof(serve(tuned=other))


def test_a_base_with_the_fine_tune_in_it_is_found(
    serve: Any, adapter: Path, tmp_path: Path
) -> None:
    merged = merge(adapter, tmp_path)

    with pytest.raises(NotComparable, match=r"base: .*tuned answers under its name"):
        proof(serve(base=merged))


@pytest.mark.long
def test_a_quantised_base_is_found(serve: Any, tiny: Any, tmp_path: Path) -> None:
    with pytest.raises(NotComparable, match=r"base: .*its weights differ: quantised"):
        proof(serve(base=altered(tiny.base(), tmp_path / "q", in_four_bits)))


def test_a_base_that_changes_while_it_answers_is_found(
    serve: Any, adapter: Path, tmp_path: Path
) -> None:
    """It was right before the run; afterwards a part of the fine-tune is in it."""
    arms = serve()
    found = proof(arms)
    spoiled = serve(tuned=altered(adapter, tmp_path / "half", times(0.5)))["tuned"]

    with pytest.raises(NotComparable, match=r"base: .*the server changed while it answered"):
        found.check({"base": spoiled, "tuned": arms["tuned"]})


@pytest.mark.parametrize("dtype", ["bfloat16", pytest.param("float16", marks=pytest.mark.long)])
def test_a_16_bit_server_is_proven_within_its_rounding(serve: Any, dtype: str) -> None:
    record = proof(serve(dtype=dtype)).record["tuned"]

    assert (record["status"], record["arithmetic"]) == ("proven", "16 bit")
    assert record["r"] < record["hides_r_below"] < 0.5


@pytest.mark.long
@pytest.mark.parametrize(
    "fault",
    ["another alpha", "5 % too strong", "one kind of module", "one layer", "all kinds but two"],
)
def test_a_fault_is_found_beyond_the_rounding_of_16_bits(
    serve: Any, adapter: Path, tmp_path: Path, fault: str
) -> None:
    how, message = SCALED[fault]
    settings = how if isinstance(how, dict) else {}
    change = times(1) if isinstance(how, dict) else how
    served = altered(adapter, tmp_path / "served", change, **settings)

    with pytest.raises(NotComparable, match=message):
        proof(serve(tuned=served, dtype="bfloat16"))


def test_a_weak_adapter_is_alive_and_proven(serve: Any, adapter: Path, tmp_path: Path) -> None:
    """It answers every probe text as base does; log-probabilities tell the two apart."""
    weak = altered(adapter, tmp_path / "weak", times(0.0002))
    arms = serve(tuned=weak, root=weak)

    alive = liveness.check_liveness(arms)["tuned"]
    record = proof(arms).record["tuned"]

    assert (alive["status"], alive["different_answers"]) == ("proven", 0)
    assert 0 < alive["largest_logprob_change"] < 0.1
    assert record["status"] == "proven"


def merge(adapter: Path, out: Path) -> Path:
    """Save the merged model of the tiny base and an adapter."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = json.loads((adapter / "adapter_config.json").read_text())["base_model_name_or_path"]
    with muted():
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter)
    folder = out / "merged"
    model.merge_and_unload().save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


@pytest.mark.long
def test_a_merged_model_is_proven(serve: Any, adapter: Path, tmp_path: Path) -> None:
    merged = merge(adapter, tmp_path)

    record = proof(serve(tuned=merged, root=merged)).record["tuned"]

    assert (record["status"], record["arithmetic"]) == ("proven", "exact")


def test_weights_elsewhere_are_declared(fake_server: Start, tiny: Any) -> None:
    fake = fake_server(reply=Served(tiny.pair(), likeliest=True))
    query = f"?tokenizer={tiny.base()}"
    arms = open_arms({n: f"server:{fake.url}{query}#{n}" for n in ("base", "tuned")})
    record = proof(arms).record

    assert [record[name]["status"] for name in ("base", "tuned")] == ["declared", "declared"]
    verdict = VerdictRecord.model_construct(comparability={}, served_identity=record, suites=())
    notes = verdict.trust_notes()
    assert [note.partition(":")[0] for note in notes] == ["base and tuned"]
    assert all("declared, not proven" in note and "?weights=FOLDER" in note for note in notes)


def test_weights_that_cannot_be_computed_here_are_declared(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too large for the memory, or quantised in a way that Transformers does not load: the check
    after the run has nothing to compare with either.
    """
    monkeypatch.setattr(identity, "_MEMORY", 0.0)
    arms = serve()
    found = proof(arms)
    found.check(arms)

    assert [found.record[name]["status"] for name in ("base", "tuned")] == ["declared"] * 2
    assert "its weights cannot be computed here: they take about" in found.record["tuned"]["note"]
    assert not found.folders


def test_a_folder_in_the_spec_proves_a_server_elsewhere(
    fake_server: Start, tiny: Any, adapter: Path
) -> None:
    """`weights=` names what must be served; the wrong folder is found."""
    fake = fake_server(reply=Served(tiny.pair(), likeliest=True))
    common = f"server:{fake.url}?tokenizer={tiny.base()}&weights="
    base = f"{common}{tiny.base()}#base"

    arms = open_arms({"base": base, "tuned": f"{common}{tiny.adapter()}#tuned"})
    assert proof(arms).record["tuned"]["status"] == "proven"
    with pytest.raises(NotComparable, match=f"tuned: .*{adapter}"):
        proof(open_arms({"base": base, "tuned": f"{common}{adapter}#tuned"}))


def test_a_server_that_ends_over_a_probe_is_told(fake_server: Start, tiny: Any) -> None:
    """The message names the question; it is a failure of the backend and not a wrong spec."""
    settings: dict[str, Any] = {"models": {"base": {"root": str(tiny.base())}, "tuned": {}}}
    served = Served(tiny.pair(), likeliest=True)
    fake: FakeServer

    def ending(model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if "logprobs" in body:
            fake.kill()
        return served(model, path, body)

    fake = fake_server(reply=ending, **settings)
    arm = open_arms(
        {n: f"server:{fake.url}#{n}" for n in ("base", "tuned")}
        | {"tuned": f"server:{fake.url}#base"}
    )
    with pytest.raises(
        BackendError, match="the server ended over a question: one token with the 20"
    ):
        proof(arm)
