"""Real llama-server: SmolLM2 as GGUF with an adapter is proven; at half its scale it is found.

It runs where llama-server is on PATH or TUNEGATE_LLAMA_SERVER names it, and the demo's model is in
the cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.gguf_files import needs_gguf
from tests.gguf_writer import write_gguf, write_lora
from tunegate.harness.models.demo_model import existing_demo_model
from tunegate.harness.models.gguf_format.converters import find_program
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.records.errors import ModelError, NotComparable
from tunegate.harness.run.served_proof import prove_served

pytestmark = [pytest.mark.slow, pytest.mark.long, needs_gguf]


@pytest.fixture(name="arms")
def _arms(tmp_path: Path) -> Mapping[str, Any]:
    """Base and an adapter of it in one server."""
    try:
        find_program("llama-server")
    except ModelError as error:
        pytest.skip(str(error))
    folder = existing_demo_model()
    if folder is None:
        pytest.skip("the demo's model is not in the cache: tunegate demo")
    write_gguf(folder, tmp_path / "base.gguf", "Q8_0")
    write_lora(tmp_path / "lora.gguf", rank=8, wide=576, out=192)
    base = f"llama-server:{tmp_path}/base.gguf"
    return open_arms({"base": base, "tuned": f"{base}?lora={tmp_path}/lora.gguf&scale=0.1"})


def test_a_sound_server_is_proven_and_half_an_adapter_is_found(arms: Mapping[str, Any]) -> None:
    exactly = partial(open_arms, dtype="float32")
    found = prove_served(arms, exactly, lambda line: None)

    assert found is not None
    assert {record["status"] for record in found.record.values()} == {"proven"}
    assert {record["arithmetic"] for record in found.record.values()} == {"8 bit"}

    arm = arms["tuned"]
    (own,) = arm.client.form.plain["lora"]
    plain = {**arm.client.form.plain, "lora": [{**own, "scale": own["scale"] / 2}]}
    client = replace(arm.client, form=replace(arm.client.form, plain=plain))
    with pytest.raises(NotComparable, match="tuned: the served weights differ from"):
        prove_served({**arms, "tuned": replace(arm, client=client)}, exactly, lambda line: None)
    arm.process.stop()
