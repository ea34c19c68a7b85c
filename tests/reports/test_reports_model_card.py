"""The model card: what the Hub reads in it, what people read, and what it leaves alone."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.run_folder import Run
from tunegate.reports import model_card
from tunegate.reports.model_card import BEGIN, END, update_readme

TRL = """\
---
base_model: HuggingFaceTB/SmolLM2-135M-Instruct
library_name: peft
model_name: support-lora
tags:
- lora
- sft
licence: license
---

# Model Card for support-lora

Trained with TRL.
"""


def read(text: str) -> Any:
    """Return a card as the Hub's own library reads it."""
    from huggingface_hub import ModelCard

    return ModelCard(text)


def test_the_hub_reads_the_levels_of_tuned(make_run: Any) -> None:
    run = make_run("BLOCK")

    data = read(update_readme(TRL, run, "x", proven=True)).data

    levels = {(r.dataset_type, r.metric_type): r.metric_value for r in data.eval_results}
    gates = {(s.name, g.metric): g.tuned for s in run.verdict.suites for g in s.gates}
    assert levels == gates
    assert len(levels) == 5  # six gates, two of them on json_schema
    assert data.model_name == "support-lora"
    assert data.eval_results[0].dataset_revision == run.verdict.suites[0].hash[:12]


def test_people_read_base_tuned_delta_interval_and_verdict(make_run: Any) -> None:
    run = make_run("SHIP")

    text = update_readme(TRL, run, "x", proven=True)

    own = text[text.index(BEGIN) : text.index(END)]
    assert "**✓ SHIP**: support\\_json: json\\_schema rises from" in own
    gate = run.verdict.suites[0].gates[1]
    row = next(line for line in own.splitlines() if "gain: better by more than 0.1" in line)
    for value in (gate.base, gate.tuned, gate.delta, gate.low, gate.high):
        assert f"{value:.3f}" in row
    assert "not proven here" not in own
    assert "not proven here" in update_readme(TRL, run, "x", proven=False)


def test_what_others_wrote_stays(make_run: Any) -> None:
    others = TRL.replace(
        "licence: license\n",
        "licence: license\nmodel-index:\n- name: support-lora\n  results:\n  - task:\n"
        "      type: text-generation\n    dataset:\n      type: cais/mmlu\n      name: MMLU\n"
        "    metrics:\n    - type: accuracy\n      value: 0.25\n",
    )
    once = update_readme(others, make_run("BLOCK"), "x", proven=True)
    below = once + "\n## License\n\nMine.\n"

    twice = update_readme(below, make_run("SHIP"), "x", proven=True)

    card = read(twice)
    assert "Trained with TRL." in card.text
    assert card.text.rstrip().endswith("Mine.")
    assert twice.count(BEGIN) == twice.count(END) == 1
    assert ("SHIP" in card.text, "BLOCK" in card.text) == (True, False)
    assert (card.data.to_dict()["licence"], card.data.tags) == ("license", ["lora", "sft"])
    assert sorted(r.dataset_type for r in card.data.eval_results) == [
        "cais/mmlu",
        "general_knowledge",
        "general_knowledge",
        "support_json",
        "support_json",
        "support_json",
    ]


def test_the_same_run_gives_the_same_card(make_run: Any) -> None:
    once = update_readme(TRL, make_run("SHIP"), "x", proven=True)

    assert update_readme(once, make_run("SHIP"), "x", proven=True) == once


@pytest.mark.parametrize("text", [None, "", "# Mine\n\nA card without metadata.\n"])
def test_a_readme_without_metadata_gets_some(make_run: Any, text: str | None) -> None:
    card = read(update_readme(text, make_run("SHIP"), "my-lora", proven=True))

    assert card.data.model_name == "my-lora"
    assert ("A card without" in card.text) == bool(text and "A card" in text)


def test_a_new_card_names_its_base(tmp_path: Path) -> None:
    card = read(model_card.new_readme("org/base", tmp_path / "my_lora"))

    assert (card.data.base_model, card.data.library_name) == ("org/base", "peft")
    assert "# my\\_lora" in card.text


@pytest.mark.parametrize("metadata", ["a: [", "- a\n- b", "model-index: [{name: x}]"])
def test_metadata_that_cannot_be_read_is_refused(make_run: Any, metadata: str) -> None:
    """A card that would lose what it says is not written."""
    with pytest.raises(UsageError, match=r"README\.md: its metadata cannot be read: "):
        update_readme(f"---\n{metadata}\n---\nx\n", make_run("SHIP"), "x", proven=True)


def test_poison_stays_between_the_markers(poisoned_run: Run) -> None:
    suite = poisoned_run.verdict.suites[0].model_copy(update={"name": f"{END} {BEGIN}"})
    verdict = poisoned_run.verdict.model_copy(update={"suites": (suite,), "sentence": END})
    run = replace(poisoned_run, verdict=verdict)

    twice = update_readme(update_readme(TRL, run, "x", proven=True), run, "x", proven=True)

    outside = twice[: twice.index(BEGIN)] + twice[twice.rindex(END) :]
    assert "evil.example" not in outside.split("model-index")[0]
    assert twice == update_readme(twice, run, "x", proven=True)
    bare = re.sub(r"(`+).*?\1", "", read(twice).text)
    assert bare.count(END) == bare.count(BEGIN) == 1
