"""What a suite may ask of a classifier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.checks.answerable import check_label_maps
from tunegate.harness.checks.comparability import check_answerable
from tunegate.harness.models.majority import MajorityArm
from tunegate.harness.models.scripted import ModelScript, ScriptedArm
from tunegate.harness.records.errors import NotComparable, UsageError
from tunegate.harness.suite import Suite, load_suite

ARM = MajorityArm("majority:x", {"delivery": 0.4, "refund": 0.6})


@dataclass
class Suites:
    """Writes suites of two cases."""

    folder: Path

    def load(self, metrics: Sequence[str], expected: Sequence[str] = ("refund", "delivery")) -> Any:
        """Return a suite with these metrics and expected labels."""
        rows = "".join(
            f'{{"id": "c{i}", "prompt": "p{i}", "expected": "{label}"}}\n'
            for i, label in enumerate(expected)
        )
        (self.folder / "cases.jsonl").write_text(rows, encoding="utf-8")
        used = "".join(f'[[metrics]]\nuse = "{name}"\n' for name in metrics)
        path = self.folder / "suite.toml"
        path.write_text(f'name = "s"\ncases = "cases.jsonl"\n{used}', encoding="utf-8")
        return load_suite(path)


@pytest.fixture(name="load")
def _load(tmp_path: Path) -> Callable[..., Suite]:
    return Suites(tmp_path).load


def refusal(suite: Suite, **arms: Any) -> str:
    with pytest.raises(UsageError) as caught:
        check_answerable([suite], arms)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_metrics_that_compare_with_the_label_are_accepted(load: Callable[..., Suite]) -> None:
    names = ["classification", "exact_match", "label_probability", "brier_score"]
    check_answerable([load([*names, "calibration_error"])], {"base": ARM, "tuned": ARM})


@pytest.mark.parametrize("name", ["loops", "tokens", "length", "truncated", "language"])
def test_metrics_of_written_text_are_refused(load: Callable[..., Suite], name: str) -> None:
    message = refusal(load([name], expected=("en", "en")), tuned=ARM)

    assert message.startswith(f"s: metric {name!r} scores written text, and tuned is a classifier")


def test_judges_are_refused(load: Callable[..., Suite]) -> None:
    assert "'toxicity' asks a judge" in refusal(load(["toxicity"]), tuned=ARM)


def test_likelihoods_are_refused(load: Callable[..., Suite]) -> None:
    assert "gives a label and no answer" in refusal(load(["answer_logprob"]), tuned=ARM)


def test_probabilities_need_a_classifier(load: Callable[..., Suite]) -> None:
    arm = ScriptedArm("scripted:x", ModelScript(default="refund"))

    assert "'brier_score' needs the probabilities of labels, which base does not give" in refusal(
        load(["brier_score"]), base=arm
    )


def test_a_label_that_tuned_never_answers_is_refused(load: Callable[..., Suite]) -> None:
    message = refusal(load(["classification"], expected=("refund", "Delivery")), tuned=ARM)

    assert "case 'c1' expects 'Delivery', which tuned never answers" in message
    assert "its labels are delivery, refund" in message


def test_base_may_lack_a_new_label_but_not_all(load: Callable[..., Suite]) -> None:
    check_answerable([load(["classification"], expected=("refund", "new"))], {"base": ARM})
    generic = MajorityArm("majority:x", {"LABEL_0": 0.5, "LABEL_1": 0.5})

    assert "labels are LABEL_0, LABEL_1" in refusal(load(["classification"]), base=generic)


@dataclass
class Head:
    """Stands in for a classifier."""

    labels: tuple[str, ...]
    several: bool = False
    head_outputs: tuple[tuple[float, ...], ...] = ()


def test_labels_that_training_added_are_compared() -> None:
    for labels in (("a", "b"), ("a", "b", "c"), ("a", "ab", "b"), ("0", "a", "b")):
        check_label_maps("tuned", Head(("a", "b")), Head(labels))
        check_label_maps("tuned", Head(labels), Head(("a", "b")))


@pytest.mark.parametrize(
    ("base", "tuned", "told"),
    [
        (("b", "a"), ("a", "b"), "base has 'b' where tuned has 'a'"),
        (("b", "a"), ("a", "b", "c"), "base has 'b' where tuned has 'a'"),
        (("b", "c", "a"), ("a", "b"), "tuned has 'a' where base has 'b'"),
        (("a", "b2"), ("a", "b"), "base answers 'b2', which is no label of tuned (a, b)"),
        (("a", "b2"), ("a", "b", "c"), "base answers 'b2', which is no label of tuned (a, b, c)"),
        ((), ("a", "b"), "base gives a number and tuned one label"),
    ],
)
def test_exchanged_and_renamed_labels_are_not_comparable(
    base: tuple[str, ...], tuned: tuple[str, ...], told: str
) -> None:
    with pytest.raises(NotComparable) as caught:
        check_label_maps("tuned", Head(base), Head(tuned))
    assert told in str(caught.value)


def test_one_label_is_not_compared_with_several() -> None:
    labels = ("a", "b")
    with pytest.raises(NotComparable, match="base gives several labels and tuned one label"):
        check_label_maps("tuned", Head(labels, several=True), Head(labels))
