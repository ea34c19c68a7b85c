"""Statement about a run: an in-toto statement from which its verdict can be decided again.

The predicate holds the run without texts: hashes of prompts and answers, what the texts show, and
all scores. A reader needs no model, suite or run folder to decide the run again, by the same code.

Source: in-toto attestation framework, Statement v1.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tunegate.harness.decision.answer_facts.answer_counts import AnswerCounts, whole_text
from tunegate.harness.decision.verdict.redecide import read_stored_answers
from tunegate.harness.models.adapters.weight_files import weights_fingerprint
from tunegate.harness.records.answers import StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.episodes import EpisodeRecord, EpisodeTurn
from tunegate.harness.records.errors import UsageError, refuse_unreadable
from tunegate.harness.records.files import record_json, record_problem
from tunegate.harness.records.hashing import file_sha256, sha256, text_hash
from tunegate.harness.records.jsonl import record_lines
from tunegate.harness.records.labels import LABELS_FILE, Label
from tunegate.harness.records.run_folder import Run, RunCase
from tunegate.harness.records.verdict import VerdictRecord
from tunegate.harness.run.verification import refuse_other_verdict

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "urn:tunegate:attestation:verdict:v1"
_ANSWERS = "answers.json"
_COUNTS = TypeAdapter(dict[str, AnswerCounts])
_RECORDS = ("cases.jsonl", "cells.jsonl", "scores.jsonl", LABELS_FILE)


def make_statement(run: Run) -> bytes:
    """Return the in-toto statement about a run: what is signed."""
    payload = canonical_json(_statement(run))
    _decide_from(json.loads(payload)["predicate"])
    return payload


def decide_statement(payload: bytes, name: str) -> VerdictRecord:
    """Decide the run of a verified statement again."""
    return _decide_from(_predicate_of(payload, name))


def judged_model(verdict: VerdictRecord) -> str:
    """Return which fine-tune a verdict is about, in words."""
    identity = verdict.arms.get("tuned", {})
    known = _judged_sha256(verdict)
    return f"{identity.get('spec')} ({f'SHA-256 {known}' if known else 'no SHA-256 is known'})"


def refuse_other_model(verdict: VerdictRecord, model: str, name: str) -> None:
    """Refuse a model that is not the fine-tune that was judged.

    Args:
        verdict: Of a verified statement.
        model: A folder of weights, a file, or the SHA-256 that `judged_model` names.
        name: What messages call the statement's file.
    """
    judged = _judged_sha256(verdict)
    if judged is None:
        raise UsageError(
            f"{name}: the run has no hash of {judged_model(verdict)}, so no model can be "
            "compared with it; judge local files, or trust the name with --model any"
        )
    path = Path(model)
    with refuse_unreadable(f"--model {model}"):
        if path.is_dir():
            digest = weights_fingerprint(path)
        elif path.is_file():
            digest = file_sha256(path)
        else:
            digest = model.removeprefix("sha256:").lower()
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise UsageError(f"--model {model}: not a folder, a file or a SHA-256 (64 hex digits)")
    if digest != judged:
        raise UsageError(
            f"--model {model}: {name} is about {judged_model(verdict)}, but this model is "
            f"{digest}; judge this one, or name the one that was judged"
        )


def _judged_sha256(verdict: VerdictRecord) -> str | None:
    """Return the hash of tuned's files: an adapter, whole weights, or recorded answers."""
    identity = verdict.arms.get("tuned", {})
    keys = ("adapter_sha256", "weights_sha256", "file_sha256", "script_sha256")
    digest = next((identity[key] for key in keys if identity.get(key)), None)
    return None if digest is None else str(digest)


def _predicate_of(payload: bytes, name: str) -> dict[str, Any]:
    try:
        statement = json.loads(payload)
        kinds = statement["_type"], statement["predicateType"]
        predicate: dict[str, Any] = statement["predicate"]
        if kinds != (STATEMENT, PREDICATE) or not isinstance(predicate, dict):
            raise ValueError(f"it is {kinds[0]} with {kinds[1]}")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{name}: signed, but not a statement about a verdict: {error}") from error
    return predicate


def _statement(run: Run) -> dict[str, Any]:
    identity = run.verdict.arms.get("tuned", {})
    identifying = {key: value for key, value in identity.items() if key != "spec"}
    subjects = [("tuned", sha256(identifying)), *((s.name, s.hash) for s in run.manifest.suites)]
    return {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in subjects],
        "predicateType": PREDICATE,
        "predicate": {
            "manifest.json": json.loads(record_json(run.manifest)),
            "verdict.json": json.loads(record_json(run.verdict)),
            _ANSWERS: _what_texts_show(run),
            "cases.jsonl": _rows(map(_without_texts, run.cases.values())),
            "cells.jsonl": _rows(map(_without_answer, run.cells)),
            "scores.jsonl": _rows(run.scores),
            LABELS_FILE: _rows(map(_label_of_hash, run.labels)),
        },
    }


def _what_texts_show(run: Run) -> dict[str, Any]:
    """Return suite → what its texts show, quoting only what the verdict quotes."""
    quoted = "\n".join(_texts(run.verdict.model_dump(mode="json")))
    return {
        suite: asdict(
            replace(
                counts,
                form=counts.form and counts.form.hidden(quoted),
                broken=_quoted(counts.broken, quoted),
                odd=_quoted(counts.odd, quoted),
            )
        )
        for suite, counts in read_stored_answers(run).items()
    }


def _quoted(sentences: Mapping[str, tuple[str, ...]], quoted: str) -> Mapping[str, tuple[str, ...]]:
    return {arm: tuple(why for why in of_arm if why in quoted) for arm, of_arm in sentences.items()}


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _rows(records: Any) -> list[Any]:
    return [json.loads(line) for line in record_lines(records)]


def _without_texts(row: RunCase) -> RunCase:
    """Return what deciding needs of a case, with hashes of its prompt."""
    whole = row.case
    prompt_sha256 = row.prompt_sha256 or sha256(json.loads(json.dumps(whole.input_messages())))
    case = Case(
        id=whole.id,
        prompt=text_hash(repr(whole.prompt or whole.messages)),
        tags=whole.tags,
        cluster=whole.cluster,
        variant_of=whole.variant_of,
    )
    return RunCase(suite=row.suite, case=case, where=row.where, prompt_sha256=prompt_sha256)


def _without_answer(stored: StoredAnswer) -> StoredAnswer:
    """Return an answer with the hashes of its texts, so that equal answers stay equal."""
    done = stored.completion
    if done is None:
        return stored
    hashes: dict[str, Any] = {
        name: text_hash(text)
        for name in ("text", "reasoning")
        if (text := getattr(done, name)) is not None
    }
    if (played := done.episode) is not None:
        turn = EpisodeTurn(prompt_sha256="", text=text_hash(whole_text(done) or ""))
        hashes["episode"] = EpisodeRecord(turns=(turn,), reward=played.reward, end=played.end)
    return replace(stored, completion=done.model_copy(update=hashes))


def _label_of_hash(label: Label) -> Label:
    return label.model_copy(update={"completion": text_hash(label.completion), "case": None})


def _decide_from(predicate: dict[str, Any]) -> VerdictRecord:
    """Write the predicate as a run folder, read that as a run, and decide it again."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name in ("manifest.json", "verdict.json"):
            (folder / name).write_text(json.dumps(predicate.get(name)), encoding="utf-8")
        for name in _RECORDS:
            rows = predicate.get(name)
            lines = (json.dumps(row) + "\n" for row in (rows if isinstance(rows, list) else ()))
            (folder / name).write_text("".join(lines), encoding="utf-8")
        run = Run.load(folder)
        refuse_other_verdict(run, _read_counts(predicate.get(_ANSWERS)))
        return run.verdict


def _read_counts(written: Any) -> Mapping[str, AnswerCounts]:
    try:
        return _COUNTS.validate_python(written)
    except ValidationError as error:
        raise UsageError(
            f"{_ANSWERS} in the statement: {record_problem(AnswerCounts, error)}: it was changed, "
            "or made by another version; sign the run again"
        ) from error


def canonical_json(value: Any) -> bytes:
    """Return a value in the one form in which it is written and read."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
