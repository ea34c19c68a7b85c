"""Recorded scores of real models, converted for `benchmarks.wild`.

    python -m benchmarks.wild_sources SNAPSHOTS FOLDER

SNAPSHOTS holds a git directory of each repository below (a bare clone will do), called
`OWNER+NAME` or `OWNER+NAME/repo`; only files of HEAD are read, and files that the clone lacks are
left out. FOLDER gets one JSON file per set of items:

    {"source": "github.com/WildEval/ZeroEval result_dirs/gsm at 8c1485e",
     "kind": "pass/fail", "range": [0, 1], "binary": true, "documents": null,
     "models": {"gpt-4o-mini-2024-07-18": [1, 0, null, …], …}}

Higher scores are better; the n-th score of every model is of the same item, null where it has none.
`documents` names each item's document where items belong together.

| repository | files | score |
|---|---|---|
| WildEval/ZeroEval | `result_dirs/{gsm,math-l5,crux}` | answer right or wrong |
| tatsu-lab/alpaca_eval | `results/*/alpaca_eval_gpt4` | judge: 0, 0.5 or 1 |
| tatsu-lab/alpaca_eval | `results/*/weighted_alpaca_eval_gpt4_turbo` | judge: 0 to 1 |
| allenai/WildBench | `eval_results/v2.0522/score.v2/eval=gpt-4-turbo-2024-04-09` | judge: 1 to 10 |
| google/wmt-mqm-human-evaluation | `newstest20{20,21}` (`.avg_seg_scores.tsv`) | people: -25 to 0 |
| wmt-conference/wmt24-news-systems | `humeval/esa_generalMT2024_wave{2,3}.csv` | people: 0 to 100 |

What a model answered is right in ZeroEval if the first number of its answer is that of the
reference (`crux`: if both are written alike). The levels found so are those that the repository
publishes, to within 0.3 points for nine models of ten.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Scores = dict[str, float]
"""Item → score."""


@dataclass(frozen=True, slots=True)
class SourceSet:
    """Where the scores of one set of items are, and what they are."""

    name: str
    repository: str
    folder: str
    pattern: str
    """Regular expression of the paths below the folder; its group names the model."""
    kind: str
    """`pass/fail`, `judge` or `people`."""
    range: tuple[float, float]
    binary: bool
    read: Callable[[bytes], Scores]

    def models(self, snapshot: Path) -> Iterator[tuple[str, Scores]]:
        """Yield each model with its scores."""
        for path in _paths(snapshot, self.folder):
            match = re.fullmatch(self.pattern, path[len(self.folder) + 1 :])
            content = _content(snapshot, path) if match else None
            if match and content:
                yield match[1], self.read(content)


def _paths(snapshot: Path, folder: str) -> list[str]:
    listing = _git(snapshot, "ls-tree", "-r", "--name-only", "-z", "HEAD", folder + "/")
    return [path.decode() for path in listing.split(b"\0") if path]


def _content(snapshot: Path, path: str) -> bytes:
    """Return a file; empty if the clone lacks it."""
    return _git(snapshot, "show", f"HEAD:{path}", check=False)


def _git(snapshot: Path, *arguments: str, check: bool = True) -> bytes:
    command = ["git", "-C", str(snapshot), *arguments]
    return subprocess.run(command, check=check, capture_output=True).stdout


def _answer(text: str) -> str | None:
    """Return the field `answer` of the JSON object that a model was asked to write."""
    quoted = re.search(r'"answer"\s*:\s*"((?:[^"\\]|\\.)*)"', text, re.DOTALL)
    if quoted:
        try:
            return str(json.loads(f'"{quoted[1]}"', strict=False))
        except json.JSONDecodeError:
            return quoted[1]
    bare = re.search(r'"?answer"?\s*:\s*([^,\s}]+)', text)
    return bare[1] if bare else None


def _number(text: str) -> float | None:
    found = re.search(r"-?\d+(?:\.\d+)?", text.replace("$", "").replace(",", ""))
    return float(found[0]) if found else None


def _numbers(content: bytes) -> Scores:
    """Read answers that are right if their first number is that of the reference."""
    found = {}
    for item in json.loads(content):
        given = _number(_answer(item["output"][0]) or "")
        wanted = _number(str(item["answer"]).replace("#", ""))
        found[str(item["id"])] = float(given is not None and given == wanted)
    return found


def _literals(content: bytes) -> Scores:
    """Read answers that are right if they are written like the reference."""
    found = {}
    for item in json.loads(content):
        given = (_answer(item["output"][0]) or "").strip("'\"")
        found[str(item["id"])] = float(given == str(item["answer"]).strip("'\""))
    return found


def _preferences(content: bytes) -> Scores:
    """Read a judge's choice: 1 is the reference model, 2 the model, 0 and 1.5 are neither."""
    return {
        item["instruction"]: (item["preference"] or 1.5) - 1.0
        for item in json.loads(content)
        if item["preference"] is not None
    }


def _marks(content: bytes) -> Scores:
    """Read a judge's marks, 1 to 10."""
    found: Scores = {}
    for item in json.loads(content):
        try:
            found[item["session_id"]] = float(item["score"])
        except (TypeError, ValueError):
            continue
    return {name: score for name, score in found.items() if 1 <= score <= 10}


def _assessments(contents: Iterable[bytes], language: str) -> dict[str, Scores]:
    """Read people's marks, 0 to 100, of all systems; an item is a document and its segment.

    Marks of deliberately damaged translations and of the tutorial are left out; of a translation
    that was marked twice the mean counts.
    """
    marks: dict[str, dict[str, list[float]]] = {}
    for content in contents:
        for row in csv.reader(io.StringIO(content.decode())):
            _, system, segment, kind, _, target, score, document, *_ = row
            if kind == "TGT" and target == language and "tutorial" not in document:
                item = f"{document}{SEPARATOR}{segment}"
                marks.setdefault(system, {}).setdefault(item, []).append(float(score))
    return {
        system: {item: sum(given) / len(given) for item, given in items.items()}
        for system, items in marks.items()
    }


def _segments(content: bytes) -> dict[str, Scores]:
    """Read people's error scores of all systems; 0 is a perfect translation, −25 the worst."""
    found: dict[str, Scores] = {}
    for line in content.decode().splitlines()[1:]:
        system, score, segment = line.replace("\t", " ").rsplit(" ", 2)
        if score != "None":
            found.setdefault(system, {})[segment] = float(score) + 0.0
    return found


_ZERO = "WildEval/ZeroEval"
_ALPACA = "tatsu-lab/alpaca_eval"
_WILD = "eval_results/v2.0522/score.v2/eval=gpt-4-turbo-2024-04-09"
SETS = (
    SourceSet(
        "gsm", _ZERO, "result_dirs/gsm", r"([^/]+)\.json", "pass/fail", (0, 1), True, _numbers
    ),
    SourceSet(
        "math", _ZERO, "result_dirs/math-l5", r"([^/]+)\.json", "pass/fail", (0, 1), True, _numbers
    ),
    SourceSet(
        "crux", _ZERO, "result_dirs/crux", r"([^/]+)\.json", "pass/fail", (0, 1), True, _literals
    ),
    SourceSet(
        "alpaca",
        _ALPACA,
        "results",
        r"([^/]+)/alpaca_eval_gpt4/annotations\.json",
        "judge",
        (0, 1),
        False,
        _preferences,
    ),
    SourceSet(
        "alpaca-weighted",
        _ALPACA,
        "results",
        r"([^/]+)/weighted_alpaca_eval_gpt4_turbo/annotations\.json",
        "judge",
        (0, 1),
        False,
        _preferences,
    ),
    SourceSet(
        "wildbench", "allenai/WildBench", _WILD, r"([^/]+)\.json", "judge", (1, 10), False, _marks
    ),
)
SEPARATOR = "\x1f"
"""Between a document's name and the place of an item in it."""
ESA = "wmt-conference/wmt24-news-systems"
ESA_FILES = tuple(f"humeval/esa_generalMT2024_wave{wave}.csv" for wave in (2, 3))
ESA_LANGUAGES = ("ces", "hin", "jpn", "zho")
MQM = "google/wmt-mqm-human-evaluation"
MQM_SETS = ("newstest2020/ende", "newstest2020/zhen", "newstest2021/ende", "newstest2021/zhen")


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert what the snapshots hold and print what was found."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.wild_sources",
        description="Convert recorded scores of real models for benchmarks.wild.",
    )
    parser.add_argument("snapshots", type=Path, help="folder of git directories, OWNER+NAME")
    parser.add_argument("folder", type=Path, help="where the sets are written")
    parsed = parser.parse_args(arguments)
    parsed.folder.mkdir(parents=True, exist_ok=True)
    for chosen in SETS:
        snapshot = _snapshot(parsed.snapshots, chosen.repository)
        models = dict(chosen.models(snapshot))
        facts = {"kind": chosen.kind, "range": chosen.range, "binary": chosen.binary}
        source = f"{chosen.repository} {chosen.folder}"
        _write(parsed.folder, chosen.name, source, snapshot, facts, models)
    snapshot = _snapshot(parsed.snapshots, MQM)
    for place in MQM_SETS:
        test, pair = place.split("/")
        path = f"{place}/mqm_{test}_{pair}.avg_seg_scores.tsv"
        facts = {"kind": "people", "range": (-25, 0), "binary": False}
        models = _segments(_content(snapshot, path))
        _write(parsed.folder, f"mqm-{test[-4:]}-{pair}", f"{MQM} {path}", snapshot, facts, models)
    snapshot = _snapshot(parsed.snapshots, ESA)
    waves = [_content(snapshot, path) for path in ESA_FILES]
    for language in ESA_LANGUAGES:
        facts = {"kind": "people", "range": (0, 100), "binary": False}
        source = f"{ESA} {ESA_FILES[0]} and wave 3, {language}"
        models = _assessments(waves, language)
        _write(parsed.folder, f"esa-2024-{language}", source, snapshot, facts, models)
    return 0


def _snapshot(folder: Path, repository: str) -> Path:
    found = folder / repository.replace("/", "+")
    return found / "repo" if (found / "repo").is_dir() else found


def _write(
    folder: Path,
    name: str,
    source: str,
    snapshot: Path,
    facts: dict[str, Any],
    models: dict[str, Scores],
) -> None:
    """Write one set: without models of few items, and of models with equal scores the first."""
    most = max(map(len, models.values()), default=0)
    whole = {model: scores for model, scores in models.items() if len(scores) > 0.8 * most}
    items = sorted({item for scores in whole.values() for item in scores})
    columns: dict[str, list[float | None]] = {}
    for model, scores in sorted(whole.items()):
        column = [scores.get(item) for item in items]
        if column not in columns.values():
            columns[model] = column
    grouped = any(SEPARATOR in item for item in items)
    content = {
        "source": f"github.com/{source} at {_commit(snapshot)}",
        **facts,
        "documents": [item.split(SEPARATOR)[0] for item in items] if grouped else None,
        "models": columns,
    }
    (folder / f"{name}.json").write_text(json.dumps(content) + "\n")
    print(f"{name}: {len(columns)} models, {len(items)} items", flush=True)


def _commit(snapshot: Path) -> str:
    return _git(snapshot, "rev-parse", "--short", "HEAD").decode().strip()


if __name__ == "__main__":
    raise SystemExit(main())
