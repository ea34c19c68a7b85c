"""Adapters that cannot be switched on and off on one base: refused by the name of what they do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.base_families import adapters
from tests.tiny_models import muted
from tunegate.harness.models.adapters.supported_kinds import refuse_unsupported_kind
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.records.errors import ModelError, NotComparable

REFUSED = [
    ({"peft_type": "XLORA"}, r"X-LoRA .* server:URL#NAME"),
    ({"peft_type": "POLY"}, r"Poly adapter needs task ids"),
    ({"peft_type": "MULTITASK_PROMPT_TUNING"}, r"multitask prompt tuning needs task ids"),
    ({"alora_invocation_tokens": [9, 110]}, r"\(aLoRA\) acts only behind its invocation tokens"),
    ({"arrow_config": {"top_k": 2}}, r"Arrow adapter chooses among several"),
    ({"kasa_config": {"beta": 1e-4}}, r"KaSA adapter drops parts of base's own weights; merge it"),
    ({"layer_replication": [[0, 2], [1, 2]]}, r"copies of base's, in a deeper model; merge it"),
    *(
        ({"init_lora_weights": start}, rf"init_lora_weights='{start}' changes base's own weights")
        for start in ("pissa", "pissa_niter_16", "olora", "corda", "loftq", "lora_ga")
    ),
]
TAKEN: list[dict[str, Any]] = [
    *({"init_lora_weights": start} for start in (True, False, "gaussian", "eva", "orthogonal")),
    {"alora_invocation_tokens": None, "layer_replication": None, "arrow_config": None},
    {"peft_type": "LOHA"},
]


@pytest.mark.parametrize(("fields", "said"), REFUSED)
def test_an_unsupported_kind_is_refused_by_its_name(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        refuse_unsupported_kind("./tuned", {"peft_type": "LORA", **fields})

    assert str(caught.value).startswith("./tuned: not supported: ")
    assert "\n" not in str(caught.value)


def test_an_option_of_a_later_peft_is_not_left_out() -> None:
    """PEFT would drop it with a warning, and compute another model; which version to install."""
    config = {"peft_type": "LORA", "use_later": True, "peft_version": "0.99.0"}

    with pytest.raises(ModelError, match=r"use_later=True is unknown .*'peft>=0\.99\.0'"):
        refuse_unsupported_kind("./tuned", config)
    refuse_unsupported_kind("./tuned", {**config, "use_later": False})


@pytest.mark.parametrize(
    ("kind", "said"),
    [({"peft_type": "LATER"}, "peft_type='LATER'"), ({}, "peft_type='missing'")],
)
def test_a_kind_that_peft_does_not_have(kind: dict[str, Any], said: str) -> None:
    """By its name, with the installed version; and a configuration that names none."""
    with pytest.raises(ModelError, match=rf"{said} is unknown to PEFT \d"):
        refuse_unsupported_kind("./tuned", kind)


@pytest.mark.parametrize("fields", TAKEN)
def test_what_can_be_switched_is_left_to_peft(fields: dict[str, Any]) -> None:
    refuse_unsupported_kind("./tuned", {"peft_type": "LORA", **fields})


@pytest.fixture(name="changed")
def _changed(tiny: Any, tmp_path: Path) -> Any:
    """Return a function that opens a LoRA whose file or configuration was changed."""

    def open_changed(rename: tuple[str, str] = ("", ""), **fields: Any) -> Any:
        shutil.copytree(tiny.adapter("llama"), tmp_path / "adapter")
        path = tmp_path / "adapter" / "adapter_config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps({**config, **fields}), encoding="utf-8")
        adapters.rewrite(
            tmp_path / "adapter", lambda t: {k.replace(*rename): v for k, v in t.items()}
        )
        with muted():
            return open_arms({"base": str(tiny.base()), "tuned": str(tmp_path / "adapter")})

    return open_changed


def test_the_kind_is_named_before_weights_are_compared(changed: Any) -> None:
    """An activated LoRA has no effect on the probe prompts, which would look like a dead one."""
    with pytest.raises(ModelError, match="activated LoRA"):
        changed(alora_invocation_tokens=[9, 110])


def test_a_tensor_of_a_later_peft_is_not_called_another_base(changed: Any) -> None:
    with pytest.raises(ModelError, match=r"LORA adapter with unknown tensors: later_A of model"):
        changed(("lora_A", "later_A"))


def test_a_module_that_base_lacks_is_still_another_base(changed: Any) -> None:
    with pytest.raises(NotComparable, match=r"no module model\.layers\.9.*; it has another base"):
        changed(("layers.1", "layers.9"))
