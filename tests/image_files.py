"""Images for tests, made without Pillow."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def png(shade: int = 200, width: int = 4, height: int = 4) -> bytes:
    """Return a grey PNG."""
    return png_with_header(width, height, (b"\0" + bytes([shade]) * width) * height)


def png_with_header(width: int, height: int, raw: bytes) -> bytes:
    """Return a PNG whose header has this size, whatever its pixels are."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(raw)), chunk(b"IEND", b""))
    )


def image_case(name: str, source: Any, **fields: Any) -> dict[str, Any]:
    """Return a case that asks about an image, in OpenAI's form if `source` is a text."""
    part = source
    if isinstance(source, str):
        part = {"type": "image_url", "image_url": {"url": source}}
    parts = [{"type": "text", "text": "What is the total?"}, part]
    turn = {"role": "user", "content": parts}
    return {"id": name, "messages": [turn], "expected": "7", **fields}


def write_image_suite(
    folder: Path, cases: Mapping[str, Any], *, name: str = "seen", gates: str = ""
) -> Path:
    """Write a suite that asks about images; `cases` maps ids to paths, data URLs or parts."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(image_case(case, source)) for case, source in cases.items()]
    (folder / "cases.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "suite.toml").write_text(
        f'name = "{name}"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "exact_match"\n{gates}',
        encoding="utf-8",
    )
    return folder
