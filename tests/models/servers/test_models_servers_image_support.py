"""Blindness: a server that drops images without a word is refused before any case is spent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fake_server import FakeServer, completion
from tests.image_files import png, write_image_suite
from tunegate.harness.engine.plan import make_plan
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.models.servers.image_support import find_dropped_images
from tunegate.harness.suite import load_suite

pytest.importorskip("PIL")


def _counting(tokens: int | None) -> Callable[..., dict[str, Any]]:
    """Return replies whose prompt has 9 tokens, and so many for each image."""

    def reply(model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        images = str(body.get("messages")).count("data:image/png;base64,")
        usage = None if tokens is None else {"prompt_tokens": 9 + tokens * images}
        return {**completion("7"), "usage": usage}

    return reply


@pytest.mark.parametrize(("tokens", "refused"), [(64, False), (None, False), (0, True)])
def test_a_server_that_computes_no_token_for_an_image_is_named(
    tmp_path: Path, fake_server: Callable[..., FakeServer], tokens: int | None, refused: bool
) -> None:
    (tmp_path / "1.png").write_bytes(png())
    suite = load_suite(write_image_suite(tmp_path, {"a": "1.png"}))
    url = fake_server(reply=_counting(tokens)).url
    arms = open_arms({"base": f"server:{url}#base", "tuned": f"server:{url}#tuned"})
    requests = make_plan([suite], arms, seed=1).requests.values()

    found, unknown = find_dropped_images(requests, arms)

    assert bool(found) is refused
    assert unknown == (["base", "tuned"] if tokens is None else [])
    assert not refused or "base: server:" in found
    assert not refused or "drops images: it computes 9 tokens for seen, case 'a', and 9" in found
