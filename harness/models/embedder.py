"""`embedder:PATH`: a `SentenceTransformer`, which ranks texts by their similarity to the query.

The prefixes (`prompts`) and the similarity are those of the model's configuration. A Transformers
model without such a configuration takes the mean of its tokens, as in sentence-transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tunegate.harness.models._ranking_model import RankingModel, open_ranking_model

SPEC = "embedder:PATH"
_MOST_KEPT = 50_000
"""Vectors of texts that are kept: queries often share their candidates."""


def embedder(target: str, *, dtype: str = "auto") -> RankingModel:
    """Open an embedder."""
    import numpy as np

    kept: dict[str, Any] = {}

    def score(model: Any, query: str, texts: Sequence[str]) -> Sequence[float]:
        if len(kept) > _MOST_KEPT:
            kept.clear()
        new = [text for text in dict.fromkeys(texts) if text not in kept]
        if new:
            kept.update(zip(new, model.encode_document(new, show_progress_bar=False), strict=True))
        query_embedding = model.encode_query([query], show_progress_bar=False)
        read = np.stack([kept[text] for text in texts])
        scores: Sequence[float] = model.similarity(query_embedding, read)[0].tolist()
        return scores

    return open_ranking_model("SentenceTransformer", target, score, dtype)
