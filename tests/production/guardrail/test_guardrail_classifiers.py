"""The slot for a classifier: a model of Transformers, or any program."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.models._text_classifier import harmful_classes
from tunegate.harness.production.guardrail.classifiers import open_classifier
from tunegate.harness.production.guardrail.classifiers.command import ClassifierProgram
from tunegate.harness.records.errors import ModelError, UsageError

PROGRAM = """
import json, sys, time
for line in sys.stdin:
    text = json.loads(line)["text"]
    if text == "end": sys.exit()
    if text == "late": time.sleep(60)
    if text == "odd": print("odd"); sys.stdout.flush(); continue
    if text == "lost": print(json.dumps({"error": "no model"})); sys.stdout.flush(); continue
    print(json.dumps({"score": 2 if text == "two" else text.count("!") / 10}), flush=True)
"""


@pytest.fixture(name="program")
def _program(tmp_path: Path) -> Iterator[ClassifierProgram]:
    """Yield a program that scores exclamation marks."""
    file = tmp_path / "score.py"
    file.write_text(PROGRAM, encoding="utf-8")
    found: Any = open_classifier(f"command:{sys.executable} {file}")
    assert isinstance(found, ClassifierProgram)
    found.deadline_s = 1.0
    yield found
    found.close()


def test_a_program_scores_texts(program: ClassifierProgram) -> None:
    assert program.attack_probability("stop!!!") == 0.3
    first = program._process
    assert program.attack_probability("наконец\n!") == 0.1
    assert program._process is first


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("odd", "not JSON: 'odd'"),
        ("lost", "no model"),
        ("two", "no score from 0 to 1"),
        ("end", "the program ended"),
        ("late", "no answer within 1 s"),
    ],
)
def test_a_program_without_an_answer_is_an_error(
    program: ClassifierProgram, text: str, why: str
) -> None:
    program.attack_probability("!")
    with pytest.raises(RuntimeError, match=why):
        program.attack_probability(text)

    assert program.attack_probability("a!") == 0.1


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("llm-guard", "must be hf:FOLDER_OR_ID or command:PROGRAM ARGUMENTS"),
        ("hf:", "must be hf:FOLDER_OR_ID"),
        ("command:no-such-program-here -x", "no program 'no-such-program-here' on this machine"),
        ("command:'", "No closing quotation"),
    ],
)
def test_a_wrong_spec_is_refused(spec: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        open_classifier(spec)


@pytest.mark.parametrize(
    ("names", "attacks"),
    [
        ({0: "LABEL_0", 1: "LABEL_1"}, (1,)),
        ({0: "SAFE", 1: "INJECTION"}, (1,)),  # protectai/deberta-v3-base-prompt-injection-v2
        ({0: "BENIGN", 1: "INJECTION", 2: "JAILBREAK"}, (1, 2)),  # meta-llama/Prompt-Guard-86M
        ({0: "LEGIT", 1: "INJECTION"}, (1,)),  # deepset/deberta-v3-base-injection
        ({0: "benign", 1: "jailbreak"}, (1,)),  # jackhhao/jailbreak-classifier
        ({0: "score"}, (0,)),
    ],
)
def test_the_class_of_attacks_is_found_by_name(names: Any, attacks: tuple[int, ...]) -> None:
    assert harmful_classes("guardrail", names) == attacks


def test_labels_that_say_nothing_are_refused() -> None:
    with pytest.raises(ModelError, match="rename them"):
        harmful_classes("guardrail", {0: "ham", 1: "spam"})


@pytest.mark.slow
def test_a_model_reads_long_texts_in_windows(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from transformers import BertConfig, BertForSequenceClassification

    from tests.tiny_models import make_tokenizer

    tokenizer = make_tokenizer()
    tokenizer.model_max_length = 32
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=32, id2label={0: "SAFE", 1: "INJECTION"},
        label2id={"SAFE": 0, "INJECTION": 1},
    )  # fmt: skip
    torch.manual_seed(0)
    BertForSequenceClassification(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    found: Any = open_classifier(f"hf:{tmp_path}")

    def alone(text: str) -> float:
        encoded = tokenizer(text, return_tensors="pt")
        with torch.inference_mode():
            return float(found.classifier.model(**encoded).logits.softmax(-1)[0, 1])

    assert found.attack_probability("parcel") == pytest.approx(alone("parcel"), abs=1e-5)
    long = "parcel " * 300
    assert found.attack_probability(long) >= 0
    with pytest.raises(ModelError, match="cannot be loaded"):
        open_classifier(f"hf:{tmp_path / 'nowhere'}")
