"""Thumbnails: the images of a case, drawn small from the copies in its run folder.

A run folder may be a stranger's: a copy is drawn only if it has the hash that the case names, and
is an image that a suite may have.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

from tunegate.harness.records.cases import Case
from tunegate.harness.records.files import read_file
from tunegate.harness.records.hashing import bytes_sha256
from tunegate.harness.records.images import FOLDER, LARGEST_IMAGE, MEDIA_TYPES, is_image
from tunegate.harness.suite.case_images import image_type

_HASH = re.compile(r"[0-9a-f]{64}")
LARGEST = 360
"""Longest side in pixels: a small form can still be read."""


def case_images(folder: Path, case: Case) -> Iterator[dict[str, Any]]:
    """Yield name, file and thumbnail of each image of a case, or why it is not drawn."""
    for turn in case.messages or ():
        content = turn.get("content")
        for part in content if isinstance(content, list | tuple) else ():
            if is_image(part):
                yield {"name": str(part["image"]), **_find_image(folder, str(part["sha256"]))}


def _find_image(folder: Path, sha256: str) -> dict[str, str]:
    if find_spec("PIL") is None:
        return {"why": "not drawn: pip install 'tunegate[images]'"}
    if not _HASH.fullmatch(sha256):
        return {"why": "has no hash"}
    types = dict.fromkeys(kind.removeprefix("image/") for kind in MEDIA_TYPES.values())
    for name in (f"{FOLDER}/{sha256}.{kind}" for kind in types):
        try:
            if (folder / name).is_symlink():
                continue
            content = read_file(folder / name, LARGEST_IMAGE)
            if bytes_sha256(content) == sha256:
                return {"file": name, "src": _draw_small(content)}
        except (OSError, ValueError):
            continue
    return {"why": f"not in the run's folder under {FOLDER}/"}


def _draw_small(content: bytes) -> str:
    """Return a small copy as a data URL."""
    from PIL import Image, ImageOps

    image_type(content)  # decodes it within our limits
    with Image.open(BytesIO(content)) as image:
        image.thumbnail((LARGEST, LARGEST))
        small = ImageOps.exif_transpose(image).convert("RGBA")
    file = BytesIO()
    small.save(file, "WEBP", quality=70)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
