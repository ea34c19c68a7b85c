"""Packed weights: the same products, made once for a model whose weights stay."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest

from tests.tiny_models import muted
from tunegate.harness.engine.inference import local_engine, packed_weights
from tunegate.harness.engine.inference.continuous_batching import decode_sequences
from tunegate.harness.engine.inference.packed_weights import packed_weights as packed
from tunegate.harness.engine.inference.packed_weights import release_copies
from tunegate.harness.engine.inference.sequence import start_sequence
from tunegate.harness.records.cases import Case

Ask = Callable[..., list[Any]]
IDS = [[5, 9, 33, 70], [8, 8, 12, 1]]


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether a copy held, for each product that could have used one."""
    found: list[bool] = []
    real = packed_weights._fits

    def watched(layer: Any, copy: Any) -> bool:
        found.append(real(layer, copy))
        return found[-1]

    monkeypatch.setattr(packed_weights, "_fits", watched)
    return found


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pack the matrices of tiny models, too."""
    monkeypatch.setattr(packed_weights, "SMALLEST", 200)


def _patched(model: Any) -> list[str]:
    return [name for name, module in model.named_modules() if "forward" in vars(module)]


def _copies(model: Any) -> dict[str, Any]:
    found = {name: packed_weights._copies.get(module) for name, module in model.named_modules()}
    return {name: copy for name, copy in found.items() if copy is not None}


def _logits(model: Any) -> Any:
    import torch

    with torch.inference_mode():
        return model(input_ids=torch.tensor(IDS)).logits


def _adapted(tiny: Any, config: Any) -> Any:
    """Return a tiny model with an adapter of random weights."""
    import torch
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    with muted():
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny.base()), config)
    for name, parameter in model.named_parameters():
        if "lora_" in name and "magnitude" not in name:
            torch.nn.init.normal_(parameter, std=0.3)
        elif "modules_to_save" in name or "ia3_" in name:
            parameter.data += 0.3 * torch.randn_like(parameter)
    return model.eval()


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("arm", ["base", "tuned"])
@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gpt2", "gemma3"])
def test_the_logits_are_the_same(tiny: Any, used: list[bool], architecture: str, arm: str) -> None:
    """Within 1e-4 of the model's own, with biases and with an adapter; then the layers are as they
    were.
    """
    import torch

    with tiny.pair(architecture)[arm].active() as model:
        expected = _logits(model)
        with packed(model):
            patched = _patched(model)
            used.clear()
            found = _logits(model)
        assert patched
        assert used
        assert all(used)
        assert not _patched(model)
        assert torch.equal(_logits(model), expected)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.mark.usefixtures("small")
def test_both_arms_use_the_same_copies(tiny: Any) -> None:
    kept = []
    for arm in tiny.pair("llama").values():
        with arm.active() as model, packed(model):
            kept.append(_copies(model))
            names = [name for name in _patched(model) if "q_proj" in name]
            assert names
            assert all(name.endswith("q_proj.base_layer") for name in names)
    assert kept[0] == kept[1]


KINDS = ("rslora", "dora", "bias", "saved head", "ia3", "prefix")


def _config(kind: str) -> Any:
    from peft import IA3Config, LoraConfig, PrefixTuningConfig

    if kind == "ia3":
        return IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=[])
    if kind == "prefix":
        return PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    settings = {
        "rslora": {"use_rslora": True},
        "dora": {"use_dora": True},
        "bias": {"lora_bias": True, "target_modules": ["q_proj"]},
        "saved head": {"modules_to_save": ["lm_head"]},
    }[kind]
    plain = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "down_proj"]}
    return LoraConfig(**{**plain, **settings}, task_type="CAUSAL_LM")


@pytest.mark.usefixtures("small")
@pytest.mark.filterwarnings("ignore:.past_key_values. is deprecated")  # PEFT's word for the cache
@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_adapters_compute_the_same(tiny: Any, used: list[bool], kind: str) -> None:
    import torch

    model = _adapted(tiny, _config(kind))
    expected = _logits(model)
    with packed(model):
        assert [name for name in _patched(model) if name.endswith("o_proj")]
        used.clear()
        torch.testing.assert_close(_logits(model), expected, atol=1e-4, rtol=0)
        assert used
        assert all(used)


@pytest.mark.usefixtures("small")
def test_a_layer_whose_weights_change_follows_them(tiny: Any) -> None:
    """A step of training on a matrix or its bias, and other weights in its place, count at once;
    the next batch packs them again.
    """
    import torch
    from transformers import AutoModelForCausalLM

    with muted():
        model = AutoModelForCausalLM.from_pretrained(tiny.base("qwen2"))
    layer = model.model.layers[0].self_attn.q_proj
    changes = {
        "matrix": lambda: layer.weight.add_(0.1),
        "bias": lambda: layer.bias.add_(1.0),
        "other": lambda: setattr(layer.weight, "data", layer.weight.data.clone().mul_(2)),
    }
    last = _logits(model)
    for name, change in changes.items():
        with packed(model), torch.no_grad():
            change()
            during = _logits(model)
        after = _logits(model)
        with packed(model):
            again = _logits(model)
        assert not torch.allclose(after, last, atol=1e-2), name
        torch.testing.assert_close(during, after, atol=1e-4, rtol=0)
        torch.testing.assert_close(again, after, atol=1e-4, rtol=0)
        last = after


@pytest.mark.usefixtures("small")
def test_gradients_pass_the_layers_themselves(tiny: Any) -> None:
    """Outside of inference mode no copy is used, so that training reaches every weight."""
    import torch
    from transformers import AutoModelForCausalLM

    with muted():
        model = AutoModelForCausalLM.from_pretrained(tiny.base())
    with packed(model):
        assert _patched(model)
        model(input_ids=torch.tensor(IDS)).logits.sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("change", ["fused optimizer", "data", "merged adapter"])
def test_changes_that_torch_does_not_count_are_seen(tiny: Any, change: str) -> None:
    """The next batch packs what a fused optimizer, `.data` or PEFT's merging has changed."""
    import torch

    model = _adapted(tiny, _config("rslora"))
    layer = model.base_model.model.model.layers[0].self_attn.q_proj
    with packed(model):
        before = _logits(model)
    version = layer.base_layer.weight._version
    if change == "fused optimizer":
        layer.base_layer.weight.requires_grad_(True)
        optimizer = torch.optim.AdamW([layer.base_layer.weight], lr=0.3, fused=True)
        model(input_ids=torch.tensor(IDS)).logits.sum().backward()
        optimizer.step()
    elif change == "data":
        layer.base_layer.weight.data.add_(0.1)
    else:
        model.merge_adapter()
    assert layer.base_layer.weight._version == version  # or the test shows nothing
    with packed(model):
        found = _logits(model)
    torch.testing.assert_close(found, _logits(model), atol=1e-4, rtol=0)
    assert change == "merged adapter" or not torch.allclose(found, before, atol=1e-2)


@pytest.mark.usefixtures("small")
def test_packing_stays_within_its_memory(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The head is packed first; what does not fit is used as it is. What was decided for a model
    holds for all its batches, though memory gets free or is taken; a machine without packs nothing.
    """
    with tiny.pair("llama")["base"].active() as model:
        release_copies(model)
        head = model.get_output_embeddings()
        size = head.weight.nbytes
        for free, bound in ((4 * size + 400, 10**12), (10**12, size + 100)):
            monkeypatch.setattr(packed_weights, "available_memory", lambda free=free: free)
            monkeypatch.setattr(packed_weights, "PACKED_BYTES", bound)
            for later in (free, 10**12, 0):
                monkeypatch.setattr(packed_weights, "available_memory", lambda later=later: later)
                with packed(model):
                    assert [name.split(".")[-1] for name in _patched(model)] == ["lm_head"]
            release_copies(model)
        monkeypatch.setattr(packed_weights, "available_memory", lambda: 0)
        with packed(model):
            assert not _patched(model)
        release_copies(model)


@pytest.mark.usefixtures("small")
@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated")
def test_a_layer_that_makes_its_weights_computes_them_itself() -> None:
    """A weight that a hook computes in each forward cannot be packed; a model without output
    embeddings has its other layers packed.
    """
    import torch

    layer = torch.nn.utils.weight_norm(torch.nn.Linear(32, 32))
    model = torch.nn.Sequential(layer, torch.nn.Linear(32, 32))
    model.device = torch.device("cpu")
    x = torch.linspace(-1, 1, 64).reshape(2, 32)
    with torch.inference_mode():
        expected = model(x)
        for _ in range(2):
            with packed(model):
                assert "1" in _patched(model)
                torch.testing.assert_close(model(x), expected, atol=1e-5, rtol=0)


@pytest.mark.usefixtures("small")
def test_copies_go_with_their_model(tiny: Any) -> None:
    from transformers import AutoModelForCausalLM

    with muted():
        model = AutoModelForCausalLM.from_pretrained(tiny.base())
    gc.collect()  # models of other tests
    before = len(packed_weights._copies)
    with packed(model):
        assert len(packed_weights._copies) > before
    release_copies(model)
    assert len(packed_weights._copies) == before
    with packed(model):
        pass
    assert len(packed_weights._copies) > before
    del model
    gc.collect()
    assert len(packed_weights._copies) == before


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("kind", ["plain", "bfloat16", "subclass", "accelerator", "forward"])
def test_only_plain_layers_in_float32_on_a_cpu_are_packed(kind: str) -> None:
    """A layer in bfloat16 computes as before, and so do a subclass, an accelerator, and a layer
    whose forward another library has replaced.
    """
    import torch

    class Quantised(torch.nn.Linear):
        """A layer that computes more than a product."""

    layer = Quantised if kind == "subclass" else torch.nn.Linear
    head = layer(32, 32, dtype=torch.bfloat16 if kind == "bfloat16" else torch.float32)
    model = torch.nn.ModuleDict({"head": head})
    model.device = torch.device("cuda" if kind == "accelerator" else "cpu")
    model.get_output_embeddings = lambda: head
    if kind == "forward":
        head.forward = head.forward
    with packed(model):
        assert ("head" in _copies(model)) == (kind == "plain")
        with torch.inference_mode():  # by name, as a model's own code may call it
            assert head(input=torch.ones(2, 32, dtype=head.weight.dtype)).shape == (2, 32)
    assert _patched(model) == (["head"] if kind == "forward" else [])


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("obstacle", ["raises", "differs", "autocast", "no oneDNN"])
def test_without_exact_products_nothing_is_packed(
    tiny: Any, monkeypatch: pytest.MonkeyPatch, obstacle: str
) -> None:
    """A torch that lacks the products or computes them in bfloat16 computes as before, copies or
    not.
    """
    import torch

    def refused(*_: Any) -> Any:
        raise RuntimeError("mkldnn: unsupported")

    real = packed_weights._product
    with tiny.pair("llama")["base"].active() as model:
        with packed(model):
            assert _patched(model)
        if obstacle == "raises":
            monkeypatch.setattr(packed_weights, "_product", refused)
        elif obstacle == "differs":
            monkeypatch.setattr(
                packed_weights, "_product", lambda w, b: real(w.bfloat16().float(), b)
            )
        elif obstacle == "no oneDNN":
            monkeypatch.setattr(type(torch.backends.mkldnn), "enabled", False)
        with torch.autocast("cpu", enabled=obstacle == "autocast"), packed(model):
            assert not _patched(model)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("arm", ["base", "tuned"])
@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gpt2"])
def test_the_answers_are_the_same(
    tiny: Any,
    ask: Ask,
    used: list[bool],
    architecture: str,
    arm: str,
) -> None:
    """Decoding with packed matrices writes the tokens that `model.generate` writes."""
    import torch

    opened = tiny.pair(architecture)[arm]
    cases = [Case(id=f"c{i}", prompt=f"the parcel {'late ' * (i % 7)}{i}") for i in range(10)]
    requests = ask(opened, cases, max_new_tokens=24)
    with opened.active() as model:
        with packed(model):
            found = decode_sequences(opened, model, [start_sequence(r) for r in requests])
            written = {row.request.key: row.token_ids for row in found}
        assert used
        assert all(used)
        for request in requests:
            prompt = torch.tensor([request.prompt.token_ids])
            whole = model.generate(
                input_ids=prompt,
                attention_mask=torch.ones_like(prompt),
                do_sample=False,
                max_new_tokens=24,
            )
            new = whole[0, prompt.shape[1] :].tolist()
            assert [token for token in new if token not in opened.stop_ids] == written[request.key]


@pytest.mark.usefixtures("small")
def test_a_batch_that_is_left_leaves_no_forward_behind(tiny: Any, ask: Ask) -> None:
    opened = tiny.pair("llama")["tuned"]
    cases = [Case(id=f"c{i}", prompt=f"the parcel {'late ' * i}") for i in range(6)]
    with opened.active() as model:
        found = local_engine.complete_requests(opened, ask(opened, cases, max_new_tokens=24))
        next(found)
        assert _patched(model)
        found.close()
        assert not _patched(model)
