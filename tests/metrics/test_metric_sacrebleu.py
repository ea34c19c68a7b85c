"""BLEU, chrF and TER against sacrebleu itself: cases, corpora and signatures."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU, CHRF, TER

from tunegate.harness.contracts.metric import Metric
from tunegate.harness.metrics.bleu import bleu
from tunegate.harness.metrics.chrf import chrf
from tunegate.harness.metrics.ter import ter
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case

WORDS = st.sampled_from(["the", "cat", "Cat", "sat", "on", "mat", "."])
TEXTS = st.lists(WORDS, min_size=1, max_size=12).map(" ".join)
METRICS = pytest.mark.parametrize(
    ("metric", "library", "options"),
    [
        (bleu, BLEU, {}),
        (bleu, BLEU, {"lowercase": True}),
        (chrf, CHRF, {}),
        (chrf, CHRF, {"word_order": 1}),
        (chrf, CHRF, {"word_order": 2, "lowercase": True}),
        (ter, TER, {}),
        (ter, TER, {"case_sensitive": True}),
    ],
)


@METRICS
@given(st.lists(TEXTS, min_size=1, max_size=3), TEXTS)
def test_cases_agree_with_sacrebleu(
    metric: Metric, library: Any, options: dict[str, Any], expected: list[str], text: str
) -> None:
    scorer = library(**options, **({"effective_order": True} if library is BLEU else {}))
    case = Case(id="c", prompt="p", expected=tuple(expected))

    found = metric(case, Completion(text=text), **options).value

    assert found == pytest.approx(scorer.sentence_score(text, expected).score, abs=1e-9)


@METRICS
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5))
def test_corpora_agree_with_sacrebleu(
    metric: Metric, library: Any, options: dict[str, Any], pairs: list[tuple[str, str]]
) -> None:
    cases = [Case(id="c", prompt="p", expected=expected) for expected, _ in pairs]
    scores = [
        metric(case, Completion(text=text), **options)
        for case, (_, text) in zip(cases, pairs, strict=True)
    ]
    sums = [sum(column) for column in zip(*(s.counts or () for s in scores), strict=True)]
    expected, texts = ([pair[side] for pair in pairs] for side in (0, 1))

    assert metric.corpus is not None
    level = metric.corpus(sums)
    assert level == pytest.approx(
        library(**options).corpus_score(texts, [expected]).score, abs=1e-9
    )


@pytest.mark.parametrize(
    ("metric", "signature"),
    [
        (bleu, "case:mixed|eff:no|tok:13a|smooth:exp|version:2."),
        (chrf, "case:mixed|eff:yes|nc:6|nw:0|space:no|version:2."),
        (ter, "case:lc|tok:tercom|norm:no|punct:yes|asian:no|version:2."),
    ],
)
def test_the_signature_names_version_settings_and_number_of_references(
    metric: Metric, signature: str
) -> None:
    cases = [Case(id=str(n), prompt="p", expected=("x",) * n) for n in (2, 3)]

    assert metric.signature is not None
    assert metric.signature(metric, cases).startswith(f"nrefs:var|{signature}")
    assert metric.signature(metric, cases[:1]).startswith(f"nrefs:2|{signature}")
