"""Rewards: the metrics that gate, named in YAML or by flags, with their own rules at the start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.hashing import file_sha256
from tunegate.harness.sandbox import chosen
from tunegate.harness.sandbox.none import NoSandbox
from tunegate.trainers import verifiable_rewards
from tunegate.trainers.datasets import TrainingRows
from tunegate.trainers.prompt_rows import PromptRow, load_prompts

HERE = "tests.trainers.test_trainers_verifiable_rewards"


def fixed(case: Any, completion: Any, *, value: float = 0.25) -> float:
    """A metric of the user's own."""
    return value


def of_trl(completions: list[Any], **columns: Any) -> list[float]:
    """A function of TRL's kind."""
    return [1.0 for _ in completions]


def load(*entries: Any, folder: Path = Path()) -> tuple[verifiable_rewards.Reward, ...]:
    """Load entries as a configuration has them."""
    return verifiable_rewards.load_rewards(entries, folder=folder, where="grpo.yaml: rewards")


def test_entries_are_names_mappings_or_yaml_text() -> None:
    named, mapped, text = (
        load(entry)[0] for entry in ("numeric", {"use": "numeric"}, "{use: numeric, weight: 2}")
    )

    assert "numeric" == named.name == mapped.name == text.name
    assert named.metric == mapped.metric == text.metric
    assert (1.0, 1.0, 2.0) == (named.weight, mapped.weight, text.weight)


def test_options_are_bound_as_in_a_suite(tmp_path: Path) -> None:
    schema = tmp_path / "ticket.json"
    schema.write_text(json.dumps({"type": "object"}))

    (reward,) = load({"use": "json_schema", "schema": "ticket.json"}, folder=tmp_path)

    assert reward.metric is not None
    assert schema == reward.metric.options["schema"]
    assert {
        "name": "json_schema",
        "use": "json_schema",
        "weight": 1.0,
        "options": {"schema": "ticket.json"},
        "files": {"schema": file_sha256(schema)},
    } == reward.record()


def test_less_is_better_turns_the_weight_round() -> None:
    """Of `truncated` less is better, so TRL gets a negative weight, and logs its own 0 and 1."""
    (reward,) = load({"use": "truncated", "weight": 0.5})

    assert -0.5 == reward.signed_weight


def test_functions_of_ones_own() -> None:
    """`pkg.mod:fn` is a metric with options, or of TRL's kind where it takes a batch."""
    own, batch = load({"use": f"{HERE}:fixed", "value": 0.5}, f"{HERE}:of_trl")

    assert own.metric is not None
    assert {"value": 0.5} == own.metric.options
    assert of_trl is batch.function
    assert ("fixed", "of_trl") == (own.name, batch.name)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("numbric", "entry 1: unknown metric 'numbric'; did you mean 'numeric'?"),
        ({"metric": "numeric"}, "must be a name or {use: NAME, …}"),
        ("{use: [", "is not valid YAML"),
        ({"use": "numeric", "weight": 0}, "weight=0 must be a number above 0"),
        ({"use": "numeric", "weight": -1}, "weight=-1 must be a number above 0"),
        ({"use": "numeric", "weight": True}, "weight=True must be"),
        ({"use": "numeric", "weight": float("inf")}, "weight=inf must be"),
        ({"use": "numeric", "tolerence": 1}, "did you mean 'tolerance'"),
        ({"use": "json_schema", "schema": "nowhere.json"}, "no such file"),
        ({"use": "choice_probability"}, "needs choices questions; a reward is a metric"),
        ({"use": "faithfulness"}, "needs a judge"),
        ({"use": f"{HERE}:of_trl", "value": 1}, "takes no options"),
        ("no.such:thing", "cannot import 'no.such'"),
    ],
)
def test_mistakes_say_where_and_what(entry: Any, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(entry)

    lines = str(caught.value).splitlines()
    assert any(said in line for line in lines), lines
    assert all(line.startswith("grpo.yaml: rewards: entry 1") for line in lines)


def test_all_mistakes_at_once_and_no_name_twice() -> None:
    """Problems of all entries are listed; a second metric of one name asks for a name."""
    with pytest.raises(UsageError) as caught:
        load("numbric", "numeric", {"use": "numeric", "tolerance": 0.5})

    first, second = str(caught.value).splitlines()
    assert "unknown metric" in first
    assert "entry 3: a second reward 'numeric'; give it a `name`" in second
    assert 2 == len(load("numeric", {"use": "numeric", "name": "loosely", "tolerance": 0.5}))


def test_no_reward_names_the_flag() -> None:
    with pytest.raises(UsageError, match="--reward json_schema"):
        load()


def test_rows_are_held_to_the_metrics_rules() -> None:
    used = load("numeric")
    bare = Case(id="a", prompt="1 + 1").with_place("rows.jsonl:1")
    wordy = Case(id="b", prompt="1 + 1", expected="two").with_place("rows.jsonl:2")

    with pytest.raises(UsageError, match=r"rows\.jsonl:1: case 'a' has no 'expected'"):
        verifiable_rewards.check_rewards(used, [bare, wordy], where="rewards")
    with pytest.raises(UsageError, match=r"case 'b' has expected='two'.*no number"):
        verifiable_rewards.check_rewards(used, [wordy], where="rewards")


def test_tests_that_cannot_fail_are_no_reward(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen, "_chosen", NoSandbox())
    test = "def check(candidate):\n    assert candidate(4) == 8"
    uncalled = Case(id="a", prompt="Write double.", tests=(test,)).with_place("rows.jsonl:7")
    called = Case(id="b", prompt="Write double.", tests=(f"{test}\ncheck(double)",))

    with pytest.raises(UsageError, match=r"rows\.jsonl:7: case 'a': its tests pass on an answer"):
        verifiable_rewards.check_rewards(load("code_tests"), [uncalled, called], where="rewards")
    verifiable_rewards.check_rewards(load("code_tests"), [called], where="rewards")


class _Pieces:
    """A tokenizer of whole pieces."""

    pieces = ("<think>Hm.</think>", "Oslo", "<end>", "<think>Oslo", "</think>", "Rome")
    eos_token_id, pad_token_id = 2, 2

    def decode(self, ids: Any, *, skip_special_tokens: bool) -> str:
        """Join the pieces without the end marker."""
        return "".join(self.pieces[i] for i in ids if i != 2)


@pytest.mark.parametrize(
    ("ids", "prompt", "value"),
    [
        ([0, 1, 2], "Where?", 1.0),
        ([3, 2], "Where?", 0.0),  # the right word, within thoughts that never end
        ([3, 4, 5, 2], "Where?", 0.0),
        ([1, 4, 1, 2], "Where?<think>", 1.0),
        ([1, 2], "Where?<think>", 0.0),
    ],
)
def test_a_reward_reads_the_answer_behind_the_thoughts(
    ids: list[int], prompt: str, value: float
) -> None:
    """As the gate does: a right answer is paid, a right word in the thoughts is not."""
    case = Case(id="a", prompt=prompt, expected="Oslo")
    rows = [PromptRow(case, prompt, {})]
    verifier = verifiable_rewards.RewardVerifier(load("exact_match"), rows, _Pieces())

    (reward,) = verifier.functions()

    assert reward(completions=["?"], completion_ids=[ids], row=[0]) == [value]


class _Letters(_Pieces):
    """A tokenizer of letters."""

    def decode(self, ids: Any, *, skip_special_tokens: bool) -> str:
        return "".join(map(chr, ids))


def test_queries_are_paid_for_their_result(tmp_path: Path) -> None:
    script = "CREATE TABLE t (x INTEGER); INSERT INTO t VALUES (1), (2);"
    (tmp_path / "shop.sql").write_text(script)
    row = {"prompt": "All x?", "expected": "SELECT x FROM t", "database": "shop"}
    rows = load_prompts(TrainingRows(rows=(row,), files=(), places=("rows.jsonl:1",)))
    used = load({"use": "sql_result", "databases": "."}, folder=tmp_path)
    verifiable_rewards.check_rewards(used, [one.case for one in rows], where="rewards")
    (reward,) = verifiable_rewards.RewardVerifier(used, rows, _Letters()).functions()
    answers = ["SELECT x FROM t ORDER BY 1 DESC", "SELECT 1", "SELECT y FROM t", "DELETE FROM t"]
    ids = [[ord(letter) for letter in answer] for answer in answers]

    assert reward(completions=answers, completion_ids=ids, row=[0] * 4) == [1.0, 0.0, 0.0, 0.0]
    assert set(used[0].record()["files"]) == {"databases"}
