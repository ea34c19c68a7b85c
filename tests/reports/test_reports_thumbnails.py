"""Thumbnails: drawn from the run folder's copies, and from nothing else."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from tests.image_files import png
from tunegate.harness.records.cases import Case
from tunegate.harness.records.hashing import bytes_sha256
from tunegate.reports import thumbnails

pytest.importorskip("PIL")

WIDE = png(width=800, height=100)


def _case(sha256: str) -> Case:
    image = {"type": "image", "image": "receipts/1.png", "sha256": sha256}
    return Case(id="a", messages=({"role": "user", "content": [image]},))


def _drawn(folder: Path, sha256: str) -> dict[str, Any]:
    (image,) = thumbnails.case_images(folder, _case(sha256))
    assert image["name"] == "receipts/1.png"
    return image


def _store(folder: Path, content: bytes, sha256: str | None = None) -> str:
    sha256 = sha256 or bytes_sha256(content)
    (folder / "images").mkdir(exist_ok=True)
    (folder / "images" / f"{sha256}.png").write_bytes(content)
    return sha256


def test_an_image_is_drawn_small_and_names_its_file(tmp_path: Path) -> None:
    from PIL import Image

    sha256 = _store(tmp_path, WIDE)

    image = _drawn(tmp_path, sha256)

    assert image["file"] == f"images/{sha256}.png"
    kind, _, data = image["src"].partition(",")
    assert kind == "data:image/webp;base64"
    with Image.open(BytesIO(base64.b64decode(data))) as small:
        assert small.size == (360, 45)


def test_what_is_not_the_image_of_the_case_is_not_drawn(tmp_path: Path) -> None:
    other = _store(tmp_path, WIDE, sha256="0" * 64)
    script = _store(tmp_path, b"<svg><script>alert(1)</script></svg>")
    linked = bytes_sha256(png(shade=1))
    (tmp_path / "secret.png").write_bytes(png(shade=1))
    (tmp_path / "images" / f"{linked}.png").symlink_to(tmp_path / "secret.png")

    for sha256 in (other, script, linked, "f" * 64):
        assert _drawn(tmp_path, sha256)["why"] == "not in the run's folder under images/"
    assert _drawn(tmp_path, "../secret")["why"] == "has no hash"


def test_without_pillow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thumbnails, "find_spec", lambda name: None)

    assert "tunegate[images]" in _drawn(tmp_path, _store(tmp_path, WIDE))["why"]
