"""The reader of Inspect's logs: epochs, errors, scores of any form, archives of any state."""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.results.recorded_results import RECORDED, write_suite
from tests.results.test_results_gate import gate, sole
from tunegate.harness.contracts.result_set import ResultSet, read_results
from tunegate.harness.records.errors import MissingExtra, UsageError
from tunegate.harness.records.verdict import Verdict
from tunegate.harness.results._zip_archive import open_zip

INSPECT = RECORDED / "inspect"


def log_of(name: str) -> Path:
    """Return the one log of a recording."""
    (path,) = (INSPECT / name).iterdir()
    return path


def values(found: ResultSet, key: str) -> list[float | None]:
    """Return a score of every sample, in the order of cases and samples."""
    return [row.scores.get(key) for row in found.answers.values()]


def member(name: str, inner: str) -> Any:
    """Return a member of a recorded log."""
    with open_zip(log_of(name)) as archive:
        return json.loads(archive.read(inner))


def plain_log(path: Path, header: dict[str, Any], samples: list[Any]) -> Path:
    """Write a log in Inspect's form with members that are not compressed."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("header.json", json.dumps(header))
        for number, sample in enumerate(samples):
            archive.writestr(f"samples/{number}.json", json.dumps(sample))
    return path


@pytest.mark.parametrize("name", ["base", "tuned", "epochs", "json"])
def test_the_means_are_those_that_inspect_reports(name: str) -> None:
    path = log_of(name)
    header = (
        json.loads(path.read_text(encoding="utf-8"))
        if path.suffix == ".json"
        else member(name, "header.json")
    )
    reported = {
        score["name"]: next(iter(score["metrics"].values()))["value"]
        for score in header["results"]["scores"]
    }

    found = read_results(str(path))

    for ours, theirs in [
        ("match", "match"), ("tone", "tone"), ("style.polite", "polite"), ("graded", "graded"),
    ]:  # fmt: skip
        known = [value for value in values(found, ours) if value is not None]
        assert sum(known) / len(known) == pytest.approx(reported[theirs], abs=1e-9)


def test_epochs_are_samples_of_a_case() -> None:
    """Three epochs of eight questions are eight cases of three samples, not 24 cases."""
    found = read_results(str(INSPECT / "epochs"))

    assert (len(found.cases), found.samples, len(found.answers)) == (8, 3, 24)
    assert [found.answers["sums/q0", n].sample for n in range(3)] == [1, 2, 3]


def test_errors_and_nan_are_unscored_and_never_zero() -> None:
    """q4 raised; the rater of q2 returned NaN, which is not JSON."""
    found = read_results(str(INSPECT / "base"))

    failed, unrated = found.answers["sums/q4", 0], found.answers["sums/q2", 0]
    assert failed.error is not None
    assert "the sandbox timed out" in failed.error
    assert failed.scores == {}
    assert unrated.scores["tone"] is None
    assert "the rater did not answer" in unrated.errors["tone"]
    assert unrated.scores["match"] == 0.0


def test_letters_are_the_numbers_of_inspect() -> None:
    """C is 1, P 0.5, I and N are 0: recorded letters against the values that Inspect reduces."""
    found = read_results(str(INSPECT / "base"))
    reductions = member("base", "reductions.json")
    (graded,) = [one["samples"] for one in reductions if one["scorer"] == "graded"]

    reduced = {one["sample_id"]: one["value"] for one in graded}
    assert {"sums/" + name: value for name, value in reduced.items()} == {
        case: row.scores["graded"] for (case, _), row in found.answers.items() if row.error is None
    }
    assert len(set(reduced.values())) == 3


def test_equal_scorers_have_the_names_that_inspect_gives_them() -> None:
    """`match` twice is `match` and `match1`, each with its options among the settings."""
    found = read_results(str(INSPECT / "twice"))

    assert {summary.key for summary in found.scores} == {"match", "match1"}
    assert found.settings("sums")["options of scorer match1"] == {"location": "any"}


def test_samples_without_ids_are_named_by_their_input() -> None:
    one, other = (read_results(str(INSPECT / n)) for n in ("unnamed", "unnamed_reversed"))

    assert one.cases == other.cases
    prompts = [[found.row(case) for case in found.cases[:2]] for found in (one, other)]
    assert {row.prompt for row in prompts[0]} == {row.prompt for row in prompts[1]}
    assert [row.prompt_sha256 for row in one.answers.values() if not row.error] == [
        row.prompt_sha256 for row in other.answers.values() if not row.error
    ]


def test_both_forms_of_a_log_hold_the_same() -> None:
    archive, document = (read_results(str(INSPECT / name)) for name in ("base", "json"))

    assert archive.cases == document.cases
    assert values(archive, "match") == values(document, "match")


def suite_over(folder: Path, name: str, score: str = "match", **more: Any) -> Path:
    """Write a suite over a recorded log."""
    return write_suite(folder, INSPECT / name, score=score, options="", **more)


def test_a_log_whose_samples_all_failed_is_an_error(tmp_path: Path) -> None:
    assert member("failed", "header.json")["status"] == "success"

    verdict = gate(suite_over(tmp_path, "base"), INSPECT / "base", INSPECT / "failed")

    assert verdict.verdict is Verdict.ERROR
    assert "8 of 8 cases of tuned are unscored" in verdict.sentence


def test_one_failed_sample_of_eight_is_more_than_the_suite_allows(tmp_path: Path) -> None:
    verdict = gate(suite_over(tmp_path, "base"), INSPECT / "base", INSPECT / "tuned")

    assert verdict.verdict is Verdict.ERROR
    assert sole(verdict).n == 7


def test_answers_that_each_model_graded_itself_are_not_comparable(tmp_path: Path) -> None:
    suite = suite_over(tmp_path, "graded_by_base", "model_graded_qa")

    verdict = gate(suite, INSPECT / "graded_by_base", INSPECT / "graded_by_tuned")

    assert verdict.verdict is Verdict.NOT_COMPARABLE
    assert "mockllm/ink-base" in verdict.sentence
    assert "mockllm/ink-tuned" in verdict.sentence


def test_the_newest_of_several_logs_is_read(tmp_path: Path) -> None:
    for name in ("base", "json"):
        shutil.copy(log_of(name), tmp_path)

    found = read_results(str(tmp_path))

    assert len(found.cases) == 8
    assert found.answers["sums/q0", 0].where.startswith(f"{tmp_path}/{log_of('json').name}")
    assert any("1 older log left out" in note for note in found.notes)


def test_two_models_in_a_folder_are_two_runs(tmp_path: Path) -> None:
    for name in ("base", "tuned"):
        shutil.copy(log_of(name), tmp_path)

    with pytest.raises(UsageError, match="has 2 runs"):
        read_results(str(tmp_path))
    assert read_results(f"{tmp_path}#mockllm/ink-tuned").models == ("mockllm/ink-tuned",)


def test_without_a_decompressor_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python below 3.14 cannot read the members of an .eval archive itself."""
    for name in ("compression.zstd", "zstandard", "pyarrow"):
        monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(MissingExtra, match=r"tunegate\[inspect-logs\]") as caught:
        read_results(str(INSPECT / "base"))

    assert caught.value.exit_code == 2


HEADER = {"version": 2, "status": "success", "eval": {"task": "t", "model": "m"}}


@pytest.mark.parametrize("version", [1, 3, None, "2", [2]])
def test_unknown_versions_are_refused(tmp_path: Path, version: Any) -> None:
    path = plain_log(tmp_path / "a.eval", {**HEADER, "version": version}, [])

    with pytest.raises(UsageError, match="version 2 is read"):
        read_results(str(path))


def test_damaged_archives_are_one_line(tmp_path: Path) -> None:
    whole = log_of("base").read_bytes()
    path = tmp_path / "a.eval"
    for length in (2, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(UsageError) as caught:
            read_results(str(path))
        assert "\n" not in str(caught.value)
    at = whole.index(b"samples/q1_epoch_1.json") + 300
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])

    found = read_results(str(path))

    assert [line.where for line in found.unread] == [f"{path}: samples/q1_epoch_1.json"]
    assert len(found.cases) == 7


def test_a_member_that_grows_without_bound_is_not_read(tmp_path: Path) -> None:
    """A zip bomb; a name that leaves the folder is never written."""
    bomb = tmp_path / "bomb.eval"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", json.dumps(HEADER))
        archive.writestr("samples/1.json", b" " * 50_000_000)
    sound = json.dumps({"id": "1", "epoch": 1, "input": "?", "scores": {}})
    with zipfile.ZipFile(bomb, "a") as archive:
        archive.writestr("samples/../../x.json", sound)

    found = read_results(str(bomb))

    (line,) = found.unread
    assert "when decompressed" in line.problem
    assert len(found.cases) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bomb.eval"]


def test_fields_of_any_type_are_no_traceback(tmp_path: Path) -> None:
    header, sample = member("base", "header.json"), member("base", "samples/q0_epoch_1.json")
    wrong: list[Any] = [None, 0, -1, 1e308, "x", [], {}, [[]], {"a": {"b": []}}, True, [None]]
    path = tmp_path / "a.eval"
    for key in sample:
        for value in wrong:
            plain_log(path, header, [{**sample, key: value}, {**sample, "id": "sound"}])
            assert "sums/sound" in read_results(str(path)).cases
    for key in header["eval"]:
        for value in wrong:
            plain_log(path, {**header, "eval": {**header["eval"], key: value}}, [sample])
            assert len(read_results(str(path)).cases) == 1


def test_thoughts_are_kept_apart() -> None:
    """Inspect's content of type `reasoning` is the thoughts, its completion the answer alone."""
    found = read_results(str(log_of("thinking")))
    rows = [row for row in found.answers.values() if row.error is None]

    assert len(rows) == 7
    assert {row.reasoning for row in rows} == {
        f"Twice {number} is asked for." for number in (1, 2, 3, 4, 6, 7, 8)
    }
    assert all((row.completion or "").isdigit() for row in rows)
    assert {row.reasoning for row in read_results(str(log_of("base"))).answers.values()} == {None}
