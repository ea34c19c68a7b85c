"""Make the score files of `evidence/scores` from clones of the public repositories.

    git clone https://github.com/WildEval/ZeroEval clones/ZeroEval   # and the others of pairs.toml
    python evidence/make_scores.py clones

The commits are those in pairs.toml. No text is kept: a prompt is the start of its SHA-256.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunegate.harness.metrics.answer_given import answer_given
from tunegate.harness.metrics.loops import loops
from tunegate.harness.metrics.numeric import numeric
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case

HERE = Path(__file__).parent
LETTER = (re.compile(r"answer is \(?([A-J])\)?"), re.compile(r"[aA]nswer:\s*([A-J])"))
"""MMLU-Pro's own rules, without its last one (any letter) and without its random guess."""
ANSWER_FIELD = (
    re.compile(r'"answer"\s*:\s*"([^"]*)"'),
    re.compile(r'"answer"\s*:\s*([^,\s]+)'),
    re.compile(r"answer\s*:\s*([^,\s]+)"),
)
"""Where ZeroEval finds the answer if the JSON cannot be read."""

Row = dict[str, Any]
"""`id`, `prompt`, `expected`, scores, and `answer`: the text, which is not written."""


def read_mmlu_pro(raw: bytes, part: str) -> Iterator[Row]:
    """Read a zip with one JSON list."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".json") and "__MACOSX" not in n)
        items = json.loads(archive.read(name))
    for item in items:
        if not isinstance(item, dict):  # some files end with their own totals
            continue
        text = item.get("model_outputs") or item.get("generated_text") or ""
        found = next((match[1] for rule in LETTER if (match := rule.search(text))), None)
        yield {
            "id": item["question_id"],
            "prompt": [item["question"], item["options"]],
            "expected": item["answer"],
            "category": item["category"],
            "score": int(found == item["answer"]),
            "answer": text,
            "answered": found is not None,
        }


def read_zero_eval(raw: bytes, part: str) -> Iterator[Row]:
    """Read a JSON list of ZeroEval; numbers are compared by tunegate's metric, code as text."""
    for item in json.loads(raw):
        text, expected = item["output"][0], item["answer"].replace("#", "").strip()
        found = read_json_answer(text)
        if item["dataset"] == "crux":
            plain = (found or "").replace("\n", "\\n").strip("'\"")
            score = int(found is not None and plain == item["answer"].strip("'\""))
        else:
            case = Case(id="-", prompt="-", expected=expected)
            score = int(numeric(case, Completion(text=found or "")).value or 0)
        yield {
            "id": str(item["id"]).rpartition("#")[2],
            "prompt": item["chat_history"],
            "expected": short_hash(expected),
            "score": score,
            "answer": text,
            "answered": found is not None,
        }


def read_json_answer(text: str) -> str | None:
    """Return the field `answer` of the first JSON object, or of what looks like one."""
    try:
        start = text.index("{")
        whole, _ = json.JSONDecoder(strict=False).raw_decode(text[start:].replace("\n", ""))
        return str(whole["answer"])
    except (ValueError, KeyError, TypeError):
        return next((found[1] for rule in ANSWER_FIELD if (found := rule.search(text))), None)


def read_grade_school(raw: bytes, part: str) -> Iterator[Row]:
    """Read one kind of solution from OpenAI's file."""
    for number, line in enumerate(raw.decode().splitlines()):
        item = json.loads(line)
        yield {
            "id": number,
            "prompt": item["question"],
            "expected": item["ground_truth"].rpartition("A:")[2].strip(),
            "score": int(item[part]["is_correct"]),
            "answer": item[part]["solution"],
        }


def read_self_instruct(raw: bytes, part: str) -> Iterator[Row]:
    """Read answers of GPT-3, scored by two metrics of tunegate."""
    case = Case(id="-", prompt="-")
    for number, line in enumerate(raw.decode().splitlines()):
        item = json.loads(line)
        said = Completion(text=item["response"] or "")
        yield {
            "id": number,
            "prompt": item["prompt"],
            "scores.no_loop": 1 - int(loops(case, said).value or 0),
            "scores.answer_given": int(answer_given(case, said).value or 0),
            "answer": said.text,
        }


def read_vicuna(raw: bytes, part: str) -> Iterator[Row]:
    """Read GPT-4's score of one of the two answers in each review."""
    for line in raw.decode().splitlines():
        item = json.loads(line)
        yield {
            "id": item["question_id"],
            "prompt": str(item["question_id"]),
            "score": item["score"][int(part)],
            "judge": "GPT-4",
            "answer": "",
        }


READERS = {
    "MMLU-Pro": read_mmlu_pro,
    "ZeroEval": read_zero_eval,
    "grade-school-math": read_grade_school,
    "self-instruct": read_self_instruct,
    "vicuna-blog-eval": read_vicuna,
}


def short_hash(value: object) -> str:
    """Return the first 30 bits of the SHA-256 of a text or of JSON, as five characters."""
    digest = hashlib.sha256(json.dumps(value).encode()).digest()
    return base64.urlsafe_b64encode(digest)[:5].decode()


def write_scores(file: Path, rows: list[Row], *, with_category: bool, every: int) -> Row:
    """Write the scores of every n-th id; return what the index says about all of them."""
    columns = [
        name
        for name in rows[0]
        if name not in ("answer", "answered") and (with_category or name != "category")
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow(columns)
        for row in rows:
            if every == 1 or int(row["id"]) % every == 0:
                row["prompt"] = short_hash(row["prompt"])
                table.writerow([row[name] for name in columns])
    said: Row = {"sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "cases": len(rows)}
    if "score" in rows[0]:
        said["mean_score"] = round(sum(float(row["score"]) for row in rows) / len(rows), 4)
    if any(row["answer"] for row in rows):
        said["mean_characters"] = round(sum(len(row["answer"]) for row in rows) / len(rows))
    if "answered" in rows[0]:
        said["without_answer"] = sum(not row["answered"] for row in rows)
    return said


def main(clones: Path) -> None:
    """Write every score file, and index.json with source, licence, commit and hashes."""
    listed = tomllib.loads((HERE / "pairs.toml").read_text(encoding="utf-8"))
    index = {}
    for task, about in listed["tasks"].items():
        source = listed["sources"][about["source"]]
        for number, (model, place) in enumerate(about["files"].items()):
            path, _, part = place.partition("#")
            git = ["git", "-C", str(clones / about["source"])]
            thing = f"{source['commit']}:{path}"
            raw = subprocess.run([*git, "show", thing], check=True, capture_output=True).stdout
            rows = list(READERS[about["source"]](raw, part))
            name = f"scores/{task}/{model}.csv"
            index[name] = {
                **{key: source[key] for key in ("repository", "commit", "licence")},
                "path": place,
                "source_sha256": hashlib.sha256(raw).hexdigest(),
                **write_scores(
                    HERE / name, rows, with_category=number == 0, every=about.get("every", 1)
                ),
            }
            print(f"{name}: {index[name]['cases']} cases")
    text = json.dumps(index, indent=1) + "\n"
    (HERE / "index.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
