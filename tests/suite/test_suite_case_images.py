"""Images of cases: accepted forms, what is refused, and what their hash decides."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from tests.image_files import png, png_with_header, write_image_suite
from tunegate.harness.records.errors import MissingExtra, SuiteError
from tunegate.harness.suite import case_images, load_suite

pytest.importorskip("PIL")

PNG = png()
DATA_URL = "data:image/png;base64," + base64.b64encode(PNG).decode()


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("pictures/1.png", "pictures/1.png"),
        ({"type": "image_url", "image_url": "pictures/1.png"}, "pictures/1.png"),
        ({"type": "input_image", "image_url": "pictures/1.png"}, "pictures/1.png"),
        ({"type": "image", "image": "pictures/1.png"}, "pictures/1.png"),
        ({"type": "image", "path": "pictures/1.png"}, "pictures/1.png"),
        ({"type": "image", "url": "pictures/1.png"}, "pictures/1.png"),
        (DATA_URL, "data URL"),
    ],
)
def test_every_form_in_use_becomes_one(tmp_path: Path, part: Any, name: str) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "1.png").write_bytes(PNG)

    (case,) = load_suite(write_image_suite(tmp_path, {"a": part})).cases

    (image,) = case.images
    read = {"type": "image", "image": name, "sha256": image.sha256}
    assert case.messages == (
        {"role": "user", "content": [{"type": "text", "text": "What is the total?"}, read]},
    )
    assert image.read() == PNG
    assert image.data_url() == DATA_URL
    assert image.file_name == f"{image.sha256}.png"


def test_the_detail_that_openai_asks_for_is_kept(tmp_path: Path) -> None:
    part = {"type": "image_url", "image_url": {"url": DATA_URL, "detail": "low"}}

    (case,) = load_suite(write_image_suite(tmp_path, {"a": part})).cases

    assert case.messages is not None
    assert case.messages[0]["content"][1]["detail"] == "low"


@pytest.mark.parametrize(
    ("kind", "media_type"),
    [("JPEG", "image/jpeg"), ("WEBP", "image/webp"), ("GIF", "image/gif")],
)
def test_the_content_decides_on_the_type_whatever_the_name_says(
    tmp_path: Path, kind: str, media_type: str
) -> None:
    from PIL import Image

    Image.new("RGB", (8, 8), "red").save(tmp_path / "1.png", kind)

    (case,) = load_suite(write_image_suite(tmp_path, {"a": "1.png"})).cases

    assert case.images[0].media_type == media_type


def _animation() -> bytes:
    from PIL import Image

    frames = [Image.new("L", (4, 4), shade) for shade in (0, 255)]
    file = BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


def _jpeg_cut_short() -> bytes:
    from PIL import Image

    file = BytesIO()
    Image.effect_noise((64, 64), 50).save(file, "JPEG")
    return file.getvalue()[:-400]


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "bomb.png": (lambda: png_with_header(12_000, 12_000, b""), "12000 × 12000 pixels, at most"),
    "larger_bomb.png": (lambda: png_with_header(90_000, 90_000, b""), "DecompressionBombError"),
    "script.svg": (
        lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        "not a PNG, JPEG, WebP or GIF",
    ),
    "page.png": (lambda: b"<!doctype html><p>not found", "not a PNG, JPEG, WebP or GIF"),
    "empty.png": (lambda: b"", "is empty"),
    "cut.png": (lambda: png(width=64, height=64)[:-30], "damaged or cut short"),
    "cut.jpg": (_jpeg_cut_short, "damaged or cut short"),
    "bad_pixels.png": (lambda: png_with_header(64, 64, b"\0"), "damaged or cut short"),
    "many.gif": (_animation, "an animation; save the frame that is meant"),
    "huge.png": (lambda: PNG + b"\0" * 20_000_000, "20,000,0"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    content, reason = HOSTILE[name]
    (tmp_path / name).write_bytes(content())

    with pytest.raises(SuiteError) as refusal:
        load_suite(write_image_suite(tmp_path, {"a": name}))

    (problem,) = refusal.value.problems
    assert problem.startswith(f'{tmp_path}/cases.jsonl:1: image "{name}": ')
    assert reason in problem
    assert "\n" not in problem


def test_what_is_not_a_file_of_the_project_is_refused(tmp_path: Path) -> None:
    (tmp_path / "outside.png").write_bytes(PNG)
    suite = tmp_path / "suite"
    suite.mkdir()
    (suite / "link.png").symlink_to(tmp_path / "outside.png")
    os.mkfifo(suite / "pipe.png")
    cases = {
        "outside": "../outside.png",
        "link": "link.png",
        "pipe": "pipe.png",
        "missing": "missing.png",
        "remote": "https://example.com/1.png",
        "scheme": "file:///etc/passwd",
        "letters": "data:image/png;base64,?",
        "plain": "data:image/svg+xml,<svg/>",
        "nothing": {"type": "image"},
        "other": {"type": "image", "path": "../suite", "sha256": "0"},
    }

    with pytest.raises(SuiteError) as refusal:
        load_suite(write_image_suite(suite, cases))

    problems = [line.partition(": image ")[2] for line in refusal.value.problems]
    assert [line.partition(": image ")[0] for line in refusal.value.problems] == [
        f"{suite}/cases.jsonl:{number}" for number in range(1, len(cases) + 1)
    ]
    assert problems[0].startswith('"../outside.png": is outside the suite\'s folder')
    assert problems[1].startswith('"link.png": is outside')
    assert "a pipe or device" in problems[2]
    assert "no such file" in problems[3]
    assert "never fetched: download it" in problems[4]
    assert "never fetched" in problems[5]
    assert "not base64" in problems[6]
    assert "must begin like data:image/png;base64," in problems[7]
    assert "has no path" in problems[8]
    assert "a folder" in problems[9]


def test_many_problems_of_one_kind_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(SuiteError) as refusal:
        load_suite(write_image_suite(tmp_path, {f"c{n}": f"{n}.png" for n in range(30)}))

    (problem,) = refusal.value.problems
    assert "29 more rows like it" in problem


def test_another_image_under_the_same_name_is_another_suite(tmp_path: Path) -> None:
    suite = write_image_suite(tmp_path, {"a": "1.png"})
    (tmp_path / "1.png").write_bytes(PNG)
    first = load_suite(suite)
    (tmp_path / "1.png").write_bytes(png(shade=1))

    with pytest.raises(ValueError, match=r"image 1\.png: was changed since the suite was read"):
        first.cases[0].images[0].read()
    assert load_suite(suite).hash != first.hash


def test_an_image_that_its_hash_does_not_fit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(PNG)
    part = {"type": "image", "image": "1.png", "sha256": "0" * 64}

    with pytest.raises(SuiteError, match="is another image than its sha256 '000"):
        load_suite(write_image_suite(tmp_path, {"a": part}))


def test_the_same_image_under_two_names_is_one_cluster(tmp_path: Path) -> None:
    for name, shade in (("1", 9), ("2", 9), ("3", 10)):
        (tmp_path / f"{name}.png").write_bytes(png(shade))

    suite = load_suite(write_image_suite(tmp_path, {n: f"{n}.png" for n in "123"}))

    assert suite.equal_prompts == (("1", "2"),)


def test_without_pillow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(case_images, "find_spec", lambda name: None)
    unseen = base64.b64encode(png(shade=77)).decode()

    with pytest.raises(MissingExtra, match=r"tunegate\[images\]"):
        load_suite(write_image_suite(tmp_path, {"a": f"data:;base64,{unseen}"}))


def test_an_episode_with_an_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(PNG)
    suite = write_image_suite(tmp_path, {"a": "1.png"}, gates='[[metrics]]\nuse = "episode_pass"\n')

    with pytest.raises(SuiteError, match=r"jsonl:1: case 'a' has an image, and episodes are text"):
        load_suite(suite)
