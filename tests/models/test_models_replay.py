"""Recorded completions: every documented key, every broken line, nothing made up."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.contracts.model import Arm, Request
from tunegate.harness.models.replay import replay
from tunegate.harness.records import files
from tunegate.harness.records.answers import Cell, CellKind, Completion, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import ModelError, UsageError
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.records.jsonl import record_lines
from tunegate.harness.records.recorded_answer import RecordedRequest

FULL: dict[str, Any] = {
    "id": "r1",
    "completion": "refund",
    "finish_reason": "stop",
    "latency_s": 0.25,
    "input_tokens": 12,
    "output_tokens": 2,
    "cost": 0.0001,
    "choice_logprobs": [-1.0, -2.5],
    "answer_logprob": -0.75,
    "bits_per_byte": 1.5,
}


@pytest.fixture(name="recorded")
def _recorded(tmp_path: Path) -> Callable[..., str]:
    """Write lines, each as given or as JSON; return what `replay:` is given."""

    def write(*lines: Any) -> str:
        path = tmp_path / "recorded.jsonl"
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        path.write_text("\n".join(texts) + "\n", encoding="utf-8")
        return str(path)

    return write


def _ask(arm: Arm, case: str, kind: str = "generate", sample: int = 0) -> Any:
    asked = Case(id=case, prompt="Q")
    generation = GenerationSettings()
    cell = Cell(suite="suite", case=case, arm="", kind=CellKind(kind), sample=sample, key="key")
    request = Request(cell, asked, arm.prompt(asked, generation), generation, 0)
    (answer,) = arm.complete([request])
    assert answer.key == "key"
    return answer


def test_every_documented_key(recorded: Callable[..., str]) -> None:
    """All keys of a line come back in the completion."""
    answer = _ask(replay(recorded(FULL)), "r1")
    assert answer.error is None
    assert answer.completion == Completion(
        text="refund",
        finish_reason="stop",
        latency_s=0.25,
        input_tokens=12,
        output_tokens=2,
        cost=0.0001,
        choice_logprobs=(-1.0, -2.5),
        answer_logprob=-0.75,
        bits_per_byte=1.5,
    )


def test_id_and_completion_are_enough(recorded: Callable[..., str]) -> None:
    arm = replay(recorded({"id": "r1", "completion": ""}))
    assert _ask(arm, "r1").completion == Completion(text="")


def test_what_was_not_recorded_is_an_error(recorded: Callable[..., str]) -> None:
    arm = replay(recorded(FULL, {"id": "r2", "choice_logprobs": [-1.0]}))
    for asked in [("r3",), ("r1", "generate", 1), ("r2",), ("r2", "answer"), ("r2", "latency")]:
        answer = _ask(arm, *asked)
        assert answer.completion is None
        assert f"has no answer to {asked[0]!r}" in answer.error


@pytest.mark.parametrize("reason", ["content_filter", "error"])
def test_what_a_filter_withheld_is_no_answer(recorded: Callable[..., str], reason: str) -> None:
    arm = replay(recorded({"id": "r1", "completion": "half of", "finish_reason": reason}))

    answer = _ask(arm, "r1")

    assert answer.completion is None
    assert answer.error == f"its recorded finish_reason is '{reason}'"


def test_samples(recorded: Callable[..., str]) -> None:
    """Several completions of a case are distinguished by their sample number."""
    lines = [{"id": "r1", "completion": f"a{i}", "sample": i} for i in range(3)]
    arm = replay(recorded(*lines))
    assert [_ask(arm, "r1", sample=i).completion.text for i in range(3)] == ["a0", "a1", "a2"]


@pytest.mark.parametrize(
    ("keys", "kinds"),
    [
        (("completion",), {"generate"}),
        (("choice_logprobs",), {"choices"}),
        (("answer_logprob",), {"answer"}),
        (("bits_per_byte",), {"text"}),
        (("completion", "latency_s"), {"generate", "latency"}),
        (tuple(FULL), {"generate", "choices", "answer", "text", "latency"}),
    ],
)
def test_kinds(recorded: Callable[..., str], keys: tuple[str, ...], kinds: set[str]) -> None:
    """An arm can do what some line has the key for, and says of the rest which key is lacking."""
    arm = replay(recorded({"id": "r1", **{key: FULL[key] for key in keys}}))
    assert {kind.value for kind in arm.kinds} == kinds
    needed = {
        "generate": "completion",
        "choices": "choice_logprobs",
        "answer": "answer_logprob",
        "text": "bits_per_byte",
        "latency": "latency_s",
        "drafts": "drafted_tokens",
        "recorded": "scores",
    }
    for kind in set(CellKind) - arm.kinds:
        assert f"no answer has {needed[kind.value]!r}" in arm.cannot(kind)


def test_all_bad_lines_are_told_at_once(recorded: Callable[..., str]) -> None:
    target = recorded(
        FULL,
        "{broken",
        "",
        {"id": "r2", "completion": 5},
        {"id": "r3", "completion": "x", "colour": "red"},
        {"completion": "x"},
        '{"id": "r4", "completion": "x", "latency_s": NaN}',
        {"id": "r5", "completion": "x", "latency_s": -1},
        {"id": "r1", "completion": "again"},
        {"id": "r6", "completion": "fine"},
    )
    with pytest.raises(ModelError) as caught:
        replay(target)
    lines = str(caught.value).splitlines()
    assert [int(line.split(":")[1]) for line in lines] == [2, 4, 5, 6, 7, 8, 9]
    starts = [
        "broken JSON at column 2",
        "completion",
        "colour",
        "id",
        "",
        "latency_s",
        " id 'r1' is already in",
    ]
    for line, start in zip(lines, starts, strict=True):
        assert start in line.split(":", 2)[2]
    assert lines[-1].endswith("in line 1; give a sample number")


def test_a_line_with_a_key_twice_is_refused(recorded: Callable[..., str]) -> None:
    target = recorded(FULL, '{"id": "r2", "completion": "wrong", "completion": "right"}')

    with pytest.raises(ModelError, match=r":2: the key 'completion' is in the line twice"):
        replay(target)


def test_many_bad_lines_are_not_all_printed(recorded: Callable[..., str]) -> None:
    lines = [{"id": f"t{n}", "output": "Rome"} for n in range(30)]
    with pytest.raises(ModelError) as caught:
        replay(recorded(*lines))
    (problem,) = str(caught.value).splitlines()
    assert problem.endswith(":1: unknown key 'output'; call it 'completion' (29 more rows like it)")


def test_nothing_recorded(recorded: Callable[..., str], tmp_path: Path) -> None:
    """An empty file, one of blank lines and one that is not there are refused."""
    for target in (recorded(), recorded("", "  ")):
        with pytest.raises(ModelError, match="no lines; write one completion a line"):
            replay(target)
    with pytest.raises(ModelError, match="no such file or run folder"):
        replay(str(tmp_path / "nowhere.jsonl"))


def test_a_line_without_end_is_refused(
    recorded: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = recorded(FULL, {"id": "r2", "completion": "x" * 1000})
    monkeypatch.setattr(files, "LONGEST_LINE", 999)
    with pytest.raises(UsageError, match=":2: a line of more than 999 bytes"):
        replay(target)


def test_a_path_with_a_hash_sign(run: Path, tmp_path: Path) -> None:
    """What follows the last `#` is an arm only where no such path exists."""
    folder = tmp_path / "a#b"
    shutil.copytree(run, folder / "run")
    file = folder / "base.jsonl"
    file.write_text('{"id": "r1", "completion": "x"}\n', encoding="utf-8")
    assert _ask(replay(str(file)), "r1").completion.text == "x"
    base, tuned = replay(f"{folder}/run#base"), replay(f"{folder}/run")
    assert base.identity != tuned.identity


def test_a_byte_order_mark_and_windows_lines(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    lines = ['{"id": "a", "completion": "x"}', "", '{"id": "b", "completion": "y"}']
    path.write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    arm = replay(str(path))
    assert [_ask(arm, case).completion.text for case in "ab"] == ["x", "y"]


def test_the_file_is_the_identity(recorded: Callable[..., str], tmp_path: Path) -> None:
    """The bytes name the arm, not the path; another byte is another arm."""
    arm = replay(recorded(FULL))
    moved = tmp_path / "moved.jsonl"
    moved.write_bytes((tmp_path / "recorded.jsonl").read_bytes())
    assert replay(str(moved)).fingerprint == arm.fingerprint == arm.identity["file_sha256"]
    assert arm.identity["backend"] == "replay"
    assert arm.identity["lines"] == 1
    assert replay(recorded({**FULL, "completion": "r"})).fingerprint != arm.fingerprint


def test_the_prompt_is_the_conversation(recorded: Callable[..., str]) -> None:
    prompt = replay(recorded(FULL)).prompt(Case(id="c", prompt="Q"), GenerationSettings(system="S"))
    assert prompt.text == "system: S\nuser: Q"
    assert prompt.token_ids is None


def _cell(arm: str, case: str, kind: str, status: str = "ok", suite: str = "s", **done: Any) -> Any:
    cell = Cell(suite=suite, case=case, arm=arm, kind=CellKind(kind), key="k")
    completion = Completion(**done) if done else None
    error = None if done else "HTTP 500"
    return StoredAnswer(cell=cell, status=status, completion=completion, error=error)


@pytest.fixture(name="run")
def _run(tmp_path: Path) -> Path:
    """A run folder with the cells of two arms."""
    cells = [
        _cell("base", "c1", "generate", text="base says", latency_s=9.0),
        _cell("tuned", "c1", "generate", text="tuned says", latency_s=9.0, output_tokens=2),
        _cell("tuned", "c1", "choices", choice_logprobs=(-1.0, -2.0), latency_s=8.0),
        _cell("tuned", "c1", "answer", answer_logprob=-0.5, latency_s=8.0),
        _cell("tuned", "c2", "generate", status="error"),
        _cell("tuned", "c1", "generate", suite="t", text="in another suite"),
    ]
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "cells.jsonl").write_text("".join(record_lines(cells)), encoding="utf-8")
    return folder


def test_a_run_folder_replays_its_tuned_arm(run: Path) -> None:
    """`replay:RUN` answers as the run's tuned arm did, each suite its own; errors stay errors."""
    arm = replay(str(run))
    assert arm.spec == f"replay:{run}#tuned"
    in_t = arm.answers["t", "c1", 0]
    assert in_t.text == "in another suite"
    line = arm.answers["s", "c1", 0]
    assert line.text == "tuned says"
    assert line.output_tokens == 2
    assert (line.choice_logprobs, line.answer_logprob) == ((-1.0, -2.0), -0.5)
    assert ("s", "c2", 0) not in arm.answers


def test_a_run_folder_replays_its_base(run: Path) -> None:
    """`replay:RUN#base` answers as base did and is another arm than tuned."""
    base = replay(f"{run}#base")
    assert [line.text for line in base.answers.values()] == ["base says"]
    assert base.fingerprint != replay(str(run)).fingerprint


def test_batched_time_is_no_latency(run: Path) -> None:
    """The time of a whole batch does not become the latency of a case; a timed cell's does."""
    assert CellKind.LATENCY not in replay(str(run)).kinds
    timed = _cell("tuned", "c1", "latency", text="tuned says", latency_s=0.5, batch_size=1)
    with (run / "cells.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(record_lines([timed]))
    arm = replay(str(run))
    assert CellKind.LATENCY in arm.kinds
    assert arm.answers["s", "c1", 0].latency_s == 0.5
    assert arm.answers["s", "c1", 0].batch_size == 1


def test_counted_drafts_come_with_their_case(run: Path) -> None:
    """What a server drafted in the pass of its own, beside the answer of the other pass."""
    counted = _cell("tuned", "c1", "drafts", text="again", drafted_tokens=20, accepted_tokens=14)
    with (run / "cells.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(record_lines([counted]))

    line = replay(str(run)).answers["s", "c1", 0]

    assert (line.text, line.drafted_tokens, line.accepted_tokens) == ("tuned says", 20, 14)


def test_run_folders_that_do_not_do(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no completions of an arm 'incumbent'"):
        replay(f"{run}#incumbent")
    with pytest.raises(ModelError, match="no completions of an arm 'tuned'"):
        replay(str(tmp_path))
    (run / "cells.jsonl").write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match=r"cells.jsonl:1: not a StoredAnswer"):
        replay(str(run))


def test_a_line_may_carry_its_prompt(recorded: Callable[..., str]) -> None:
    """As text, as a conversation or as a hash; the completion is the same as without."""
    turns = [{"role": "user", "content": "Q"}]
    arm = replay(
        recorded(
            {"id": "r1", "completion": "x", "prompt": "Q"},
            {"id": "r2", "completion": "x", "messages": turns},
            {"id": "r3", "completion": "x", "prompt_sha256": "abc"},
            {"id": "r4", "completion": "x"},
        )
    )
    assert arm.recorded_request("s", "r1") == RecordedRequest(prompt="Q")
    assert arm.recorded_request("s", "r2") == RecordedRequest(messages=tuple(turns))
    assert arm.recorded_request("s", "r3") == RecordedRequest(prompt_sha256="abc")
    assert arm.recorded_request("s", "r4") == RecordedRequest()
    assert arm.recorded_request("s", "r5") is None
    assert _ask(arm, "r2").completion == Completion(text="x")


def test_samples_of_a_case_share_its_prompt(recorded: Callable[..., str]) -> None:
    target = recorded(
        {"id": "r1", "completion": "x", "prompt": "Q"},
        {"id": "r1", "completion": "y", "prompt": "Q", "sample": 1},
        {"id": "r1", "completion": "z", "prompt": "R", "sample": 2},
    )
    with pytest.raises(ModelError, match=r":3: id 'r1' has another prompt than in line 1"):
        replay(target)


def test_settings_of_recorded_answers_are_unknown(recorded: Callable[..., str]) -> None:
    """A file does not tell how its answers were generated; greedy decoding is not assumed."""
    assert replay(recorded(FULL)).identity["generation"] == "unknown"


def test_thoughts_in_a_line(recorded: Callable[..., str]) -> None:
    arm = replay(
        recorded(
            {"id": "a", "completion": "Oslo", "reasoning": "Hm.", "reasoning_tokens": 2},
            {"id": "b", "completion": "<think>Hm.</think>\n\nOslo"},
            {"id": "c", "completion": "Hm.\n</think>\n\nOslo"},
            {"id": "d", "completion": "", "reasoning": "Hm"},
            {"id": "e", "completion": "<think>Hm"},
            {"id": "f", "completion": "Oslo"},
        )
    )
    answers = {case: _ask(arm, case).completion for case in "abcdef"}

    assert {case: done.text for case, done in answers.items()} == {
        **dict.fromkeys("abcf", "Oslo"),
        "d": "",
        "e": "",
    }
    assert [answers[case].reasoning_closed for case in "abcdef"] == [True] * 3 + [False] * 2 + [
        None
    ]
    assert answers["a"].reasoning_tokens == 2
    assert answers["c"].reasoning == "Hm.\n"
    assert answers["f"].thinks is False


def test_times_of_thoughts_in_a_line(recorded: Callable[..., str]) -> None:
    """A line may say when the thoughts had ended; without it the time is not known, and not 0."""
    line = {"completion": "Oslo", "reasoning": "Hm.", "latency_s": 2.0}
    arm = replay(recorded({"id": "a", **line, "reasoning_s": 1.5}, {"id": "b", **line}))

    assert [_ask(arm, case).completion.reasoning_s for case in "ab"] == [1.5, None]


def test_a_file_without_permission_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tuned.jsonl"
    path.write_text('{"id": "a", "completion": "x"}\n', encoding="utf-8")

    def denied(path: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(ModelError, match=r"tuned\.jsonl: cannot be read \(Permission denied\)"):
        replay(str(path))


@pytest.mark.parametrize(
    "keys",
    [
        {"latency_s": 1e308},
        {"cost": 1e308},
        {"reasoning_s": 1e308},
        {"output_tokens": 10**400},
        {"input_tokens": 10**400},
        {"batch_size": 10**400},
        {"sample": 10**400},
    ],
    ids=lambda keys: next(iter(keys)),
)
def test_numbers_that_nothing_can_take_are_refused(
    recorded: Callable[..., str], keys: dict[str, Any]
) -> None:
    with pytest.raises(ModelError, match=f"jsonl:2: {next(iter(keys))}: .*1000000000000$"):
        replay(recorded(FULL, {"id": "r2", "completion": "refund", **keys}))


def test_scores_of_candidates_as_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    path.write_text('{"id": "a", "completion": "x", "candidate_scores": [1, "0.5"]}\n', "utf-8")

    with pytest.raises(ModelError, match=r"scores\.jsonl:1: candidate_scores\.1.*valid number"):
        replay(str(path))
