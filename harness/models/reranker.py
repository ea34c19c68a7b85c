"""`reranker:PATH`: a `CrossEncoder` of sentence-transformers, which reads query and text together.

Texts are cut, and scores scaled, as sentence-transformers does where the model is deployed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tunegate.harness.models._load_classifier import refuse_lost_head
from tunegate.harness.models._ranking_model import RankingModel, open_ranking_model
from tunegate.harness.records.errors import ModelError

SPEC = "reranker:PATH"


def reranker(target: str, *, dtype: str = "auto") -> RankingModel:
    """Open a reranker."""
    arm = open_ranking_model("CrossEncoder", target, _score, dtype)
    if arm.model.num_labels != 1:
        raise ModelError(
            f"{arm.spec}: its head has {arm.model.num_labels} outputs, and a reranker gives one "
            f"score; write classifier:{target} if they are labels"
        )
    loaded = type(arm.model.transformers_model).__name__
    if loaded.endswith("ForSequenceClassification") and (arm.folder / "config.json").is_file():
        refuse_lost_head(arm.folder)
    return arm


def _score(model: Any, query: str, texts: Sequence[str]) -> Sequence[float]:
    scores: Sequence[float] = model.predict(
        [(query, text) for text in texts], show_progress_bar=False
    ).tolist()
    return scores
