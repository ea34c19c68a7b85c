"""Images in cases: a part of a message names an image and its hash, and the bytes stay in a file.

A part has the form `{"type": "image", "image": "receipts/1.png", "sha256": "…"}`, whatever form the
file had; `tunegate.harness.suite.case_images` reads and checks it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunegate.harness.records.files import read_file
from tunegate.harness.records.hashing import bytes_sha256

FOLDER = "images"
"""Folder of a run with its images, each named after its hash."""
MEDIA_TYPES = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",  # the photo of a phone, with a preview behind it
    "WEBP": "image/webp",
    "GIF": "image/gif",
}
"""Pillow's names of the formats that are read → their media types."""
LARGEST_IMAGE = 20_000_000
"""Most bytes of an image: what OpenAI's and most other APIs take."""


@dataclass(frozen=True, slots=True)
class CaseImage:
    """An image of a case."""

    name: str
    """Its path from the cases, or `data URL`."""
    sha256: str
    """Hash of its bytes."""
    media_type: str
    source: Path | bytes = field(repr=False)

    def read(self) -> bytes:
        """Return the bytes that the hash was made of.

        Raises:
            ValueError: the file is gone, or was changed since the suite was read.
        """
        if isinstance(self.source, bytes):
            return self.source
        try:
            content = read_file(self.source, LARGEST_IMAGE)
        except OSError as error:
            raise ValueError(f"image {self.name}: cannot be read ({error.strerror})") from error
        if bytes_sha256(content) != self.sha256:
            raise ValueError(f"image {self.name}: was changed since the suite was read")
        return content

    def data_url(self) -> str:
        """Return the image as a data URL.

        Raises:
            ValueError: as `read` does.
        """
        return f"data:{self.media_type};base64,{base64.b64encode(self.read()).decode()}"

    @property
    def file_name(self) -> str:
        """Its name in a run folder."""
        return f"{self.sha256}.{self.media_type.removeprefix('image/')}"


def is_image(part: Any) -> bool:
    """Return whether a part of a message is an image that was read."""
    return isinstance(part, Mapping) and part.get("type") == "image" and "sha256" in part


def hashed_messages(turns: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a conversation whose images have their hash only: a renamed file is the same image."""
    return [
        {**turn, "content": [*map(hashed_part, turn["content"])]}
        if isinstance(turn.get("content"), list)
        else dict(turn)
        for turn in turns
    ]


def hashed_part(part: Any) -> Any:
    """Return a part of a message; an image that was read, or is a data URL, has its hash only."""
    if is_image(part):
        return {key: value for key, value in part.items() if key != "image"}
    link = part.get("image_url") if isinstance(part, Mapping) else None
    url = link.get("url") if isinstance(link, Mapping) else link
    if not isinstance(url, str) or not url.startswith("data:"):
        return part
    try:
        content = base64.b64decode(url.partition(",")[2], validate=True)
    except ValueError:
        return part
    detail = {"detail": link["detail"]} if isinstance(link, Mapping) and "detail" in link else {}
    return {"type": "image", "sha256": bytes_sha256(content), **detail}


def content_text(content: Any) -> str | None:
    """Return a message's text, with `[image NAME]` for each image; None for other content."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        return None
    texts = [f"[image {p['image']}]" if is_image(p) else _part_text(p) for p in content]
    return None if None in texts else "\n".join(map(str, texts))


def _part_text(part: Any) -> str | None:
    text = part.get("text") if isinstance(part, Mapping) else part
    return text if isinstance(text, str) else None
