"""Images of a suite's cases: each is read once, checked by its content, and named by its hash.

Parts are accepted as OpenAI's APIs write them (`image_url`, `input_image`) and as TRL and
Transformers do (`image` with `image`, `path` or `url`). Nothing is ever fetched.
"""

from __future__ import annotations

import base64
import binascii
import re
import warnings
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.keyword_options import outside_problem
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import MissingExtra, error_summary
from tunegate.harness.records.files import read_file
from tunegate.harness.records.hashing import bytes_sha256
from tunegate.harness.records.images import LARGEST_IMAGE, MEDIA_TYPES, CaseImage
from tunegate.harness.records.problems import short_value, summarize_problems

MOST_PIXELS = 50_000_000
"""Most pixels of an image: 200 MB when it is unpacked as RGBA."""
_KEYS = ("image_url", "image", "path", "url")
IMAGE_TYPES = ("image_url", "input_image", "image")
"""Types of the parts that are read."""
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:", re.IGNORECASE)
_DATA = re.compile(r"data:[^,]*;base64,", re.IGNORECASE)


def read_images(cases: Iterable[Case], folder: Path) -> tuple[list[Case], list[str]]:
    """Return the cases with their images read, and the problems of images that cannot be."""
    read_cases: list[Case] = []
    problems: list[str] = []
    for case in cases:
        if not any(isinstance(turn.get("content"), list) for turn in case.messages or ()):
            read_cases.append(case)
            continue
        images: list[CaseImage] = []
        messages = []
        for turn in case.messages or ():
            content = turn.get("content")
            if isinstance(content, list):
                parts = [_read_part(p, folder, case.where, images, problems) for p in content]
                turn = {**turn, "content": parts}
            messages.append(turn)
        read_cases.append(case.with_images(messages, images) if images else case)
    return read_cases, summarize_problems(problems)


def _read_part(
    part: Any, folder: Path, where: str, images: list[CaseImage], problems: list[str]
) -> Any:
    """Return a part in our form, and add its image or its problem; other parts stay."""
    if not isinstance(part, Mapping) or part.get("type") not in IMAGE_TYPES:
        return part
    part_value = next((part[key] for key in _KEYS if key in part), None)
    link = part_value if isinstance(part_value, Mapping) else part
    source = part_value.get("url") if isinstance(part_value, Mapping) else part_value
    try:
        if not isinstance(source, str):
            raise ValueError(
                "has no path; write "
                '{"type": "image_url", "image_url": {"url": "folder/1.png"}}, or a data URL'
            )
        image = _open_image(source, folder)
        if part.get("sha256", image.sha256) != image.sha256:
            raise ValueError(f"is another image than its sha256 {part['sha256']!r:.20} says")
    except ValueError as error:
        problems.append(f"{where}: image {short_value(source)}: {error}")
        return part
    images.append(image)
    detail = {"detail": link["detail"]} if isinstance(link.get("detail"), str) else {}
    return {"type": "image", "image": image.name, "sha256": image.sha256, **detail}


def _open_image(source: str, folder: Path) -> CaseImage:
    """Return an image after checking its content."""
    if source[:5].lower() == "data:":
        return _open_data_url(source)
    if _SCHEME.match(source):
        raise ValueError("images are never fetched: download it, and write its path")
    if problem := outside_problem(folder, source):
        raise ValueError(problem.removeprefix(f"{source!r} "))  # the message names it already
    path = folder / source
    try:
        content = read_file(path, LARGEST_IMAGE)
    except FileNotFoundError:
        raise ValueError(f"no such file in {folder}; paths start there") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ValueError(f"cannot be read ({reason})") from None
    return CaseImage(source, bytes_sha256(content), image_type(content), path)


def _open_data_url(source: str) -> CaseImage:
    start = _DATA.match(source)
    if start is None:
        raise ValueError("a data URL must begin like data:image/png;base64,")
    try:
        content = base64.b64decode(source[start.end() :], validate=True)
    except (ValueError, binascii.Error):
        raise ValueError("its data is not base64") from None
    return CaseImage("data URL", bytes_sha256(content), image_type(content), content)


_KNOWN: dict[str, str] = {}
"""Hash → media type of content that was decoded: a command may read a suite several times."""


def image_type(content: bytes) -> str:
    """Return the media type of an image after decoding all of it, whatever its name says."""
    name = bytes_sha256(content)
    if name not in _KNOWN:
        _KNOWN[name] = _decoded_type(content)
    return _KNOWN[name]


def _decoded_type(content: bytes) -> str:
    if find_spec("PIL") is None:
        raise MissingExtra("a suite with images", "images")
    from PIL import Image, UnidentifiedImageError

    if not content:
        raise ValueError("is empty")
    if len(content) > LARGEST_IMAGE:
        raise ValueError(f"{len(content):,} bytes, at most {LARGEST_IMAGE:,} are read")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # our limit is below the one that Pillow warns about
        try:
            with Image.open(BytesIO(content), formats=("PNG", "JPEG", "WEBP", "GIF")) as image:
                _refuse_unusable(image)
                return MEDIA_TYPES[str(image.format)]
        except UnidentifiedImageError:
            raise ValueError("not a PNG, JPEG, WebP or GIF image; convert it to one") from None
        except _Unusable:
            raise
        except Exception as error:  # whatever a decoder raises over hostile bytes
            raise ValueError(
                f"damaged or cut short ({error_summary(error)}); save it again"
            ) from None


class _Unusable(ValueError):
    """An image that could be decoded, but is not to be."""


def _refuse_unusable(image: Any) -> None:
    """Decode an image; raise `_Unusable` before if it is too large, or more than one picture."""
    if image.width * image.height > MOST_PIXELS:
        raise _Unusable(
            f"{image.width} × {image.height} pixels, at most {MOST_PIXELS:,} are decoded; "
            "make it smaller"
        )
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise _Unusable("an animation; save the frame that is meant")
    image.draft("L", (1, 1))  # a JPEG is decoded to its end, at an eighth of its size
    image.load()
