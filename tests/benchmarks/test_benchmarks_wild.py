"""The benchmark on recorded scores of real models: its populations, samples and converters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import wild, wild_sources
from benchmarks.error_rates import rules
from tunegate.harness.records.verdict import GateStatus

LETTERS = "abcdefgh"


def population(
    base: list[float], tuned: list[float], documents: list[int] | None = None
) -> wild.ModelPair:
    """Return a pair of models on a set of 0/1 scores, or of scores where they are documents."""
    of = rules.SCORE if documents else rules.ZERO_ONE
    places = None if documents is None else np.array(documents)
    scores = wild.ScoreSet("set", "pass/fail", of, 1.0, {}, places)
    return wild.ModelPair(scores, "a / b", np.array(base), np.array(tuned), places)


class TestPopulation:
    """A pair of models as a population whose truth is known."""

    def test_reading(self, tmp_path: Path) -> None:
        """Items that one model has no score of are left out; the better model is base."""
        models = {"a": [1, 0, 1, None, 0], "b": [1, 1, 1, 1, 0], "c": [0, 0, 0, 0, 0]}
        content = {"kind": "pass/fail", "range": [0, 1], "binary": True, "documents": None}
        (tmp_path / "x.json").write_text(json.dumps({**content, "models": models}))

        found = wild.ScoreSet.read(tmp_path / "x.json").populations(10, np.random.default_rng(1))

        # a / b differ by 1 of 4 items, more than .15; no two models differ by less.
        assert found == []
        models["a"] = [1, 0, *[1] * 18]
        models["b"] = [1, 1, *[1] * 17, None]
        models["c"] = [0] * 20
        (tmp_path / "x.json").write_text(json.dumps({**content, "models": models}))
        (pair,) = wild.ScoreSet.read(tmp_path / "x.json").populations(10, np.random.default_rng(1))
        assert (pair.n, pair.name) == (19, "a / b")
        assert pair.base.sum() == 19
        assert pair.difference == pytest.approx(-1 / 19)
        assert pair.discordance == pytest.approx(1 / 19)

    def test_half_of_the_pairs_are_alike(self) -> None:
        rng = np.random.default_rng(3)
        base = np.r_[np.ones(60), np.zeros(40)]
        models = {"base": base}
        for name, moved in zip(LETTERS, (2, 4, 8, 16, 20, 24, 28, 32), strict=True):
            models[name] = base.copy()
            models[name][: moved + 1] = 0.0
            models[name][60 : 60 + moved] = 1.0
        scores = wild.ScoreSet("set", "pass/fail", rules.ZERO_ONE, 1.0, models)

        found = scores.populations(4, rng)

        # Every letter loses one more than it wins, so only base differs in level from another:
        # by 3 losses and 2 wins of 100 from `a`, by 5 and 4 from `b`, by at least 17 from others.
        assert [round(100 * pair.discordance) for pair in found][:2] == [5, 9]
        assert len(found) == 4

    def test_balanced(self) -> None:
        """Each item twice, exchanged: no difference, the same discordance, other documents."""
        pair = population([0.9, 0.8, 0.1], [0.1, 0.8, 0.0], [0, 0, 1]).balanced

        assert pair.difference == pytest.approx(0.0, abs=1e-15)
        assert pair.discordance == pytest.approx(2 / 3)
        assert pair.documents is not None
        assert pair.documents.tolist() == [0, 0, 1, 2, 2, 3]

    @pytest.mark.parametrize(
        ("kind", "margin", "deserved"),
        [
            ("gain", 0.0, False),
            ("tolerance", 0.2, True),
            ("tolerance", 0.1, False),  # the difference is exactly the margin
            ("tolerance", "20%", False),  # of .5, which is .1
            ("tolerance", "21%", True),
        ],
    )
    def test_truth(self, kind: str, margin: float | str, deserved: bool) -> None:
        """Base has 5 of 10, tuned 4 of 10: worse by .1, which is 20 %."""
        pair = population([1] * 5 + [0] * 5, [1] * 4 + [0] * 6)

        assert pair.is_true(wild.gate_of(kind, margin)) is deserved


class TestSamples:
    """How cases are drawn."""

    def test_without_replacement(self) -> None:
        """No item comes twice, and both arms' scores are of the same item."""
        pair = population([i / 100 for i in range(50)], [i / 100 + 0.5 for i in range(50)])
        sample = pair.sample(20, np.random.default_rng(1), replaced=False)

        assert len(set(sample.base)) == sample.n == 20
        assert sample.tuned - sample.base == pytest.approx(0.5)
        assert sample.labels is None

    def test_documents_are_drawn_whole(self) -> None:
        """Of documents of 1, 2 and 3 items all items come, under a label for each draw."""
        pair = population([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0.0] * 6, [5, 7, 7, 9, 9, 9])
        sample = pair.sample(8, np.random.default_rng(2), replaced=True)
        drawn = [
            tuple(b for b, of in zip(sample.base, sample.labels or (), strict=True) if of == label)
            for label in dict.fromkeys(sample.labels or ())
        ]

        # 8 cases at 2 a document are 4 documents.
        assert len(drawn) == 4
        assert set(drawn) <= {(0.1,), (0.2, 0.3), (0.4, 0.5, 0.6)}

    def test_the_mean_of_samples_is_the_truth(self) -> None:
        pair = population([0.9, 0.2, 0.2, 0.1, 0.1, 0.1], [0.0] * 6, [1, 2, 2, 3, 3, 3])
        rng = np.random.default_rng(3)
        drawn = [pair.sample(200, rng, replaced=True) for _ in range(200)]
        mean = sum((s.tuned - s.base).sum() for s in drawn) / sum(s.n for s in drawn)

        assert mean == pytest.approx(pair.difference, abs=0.004)  # 20,000 documents of sd .4

    def test_looks_see_whole_documents(self) -> None:
        """Fifty documents of four cases: looks at 64, 96, … become counts of whole documents."""
        looks = wild.schedule((4,) * 50, binary=False)

        assert looks.sizes == (64, 96, 128, 160, 200)
        assert looks.shares == pytest.approx([size / 200 for size in looks.sizes])
        sample = wild.Sample(np.zeros(200), np.zeros(200), (4,) * 50).first(64)
        assert sample.units == (4,) * 16


class TestJudging:
    """Samples are decided by the functions that decide a run."""

    def test_outcomes(self) -> None:
        """40 wins pass a gain of 0, 40 losses fail it; at once and at the first look."""
        judge = wild.SampleJudge(rules.ZERO_ONE)
        ones, zeros, gate = np.ones(100), np.zeros(100), wild.gate_of("gain", 0.0)

        assert judge.outcome(gate, wild.Sample(zeros, ones)) is GateStatus.PASS
        assert judge.outcome(gate, wild.Sample(ones, zeros)) is GateStatus.FAIL
        assert judge.outcome(gate, wild.Sample(ones, ones)) is GateStatus.UNDECIDED
        assert judge.run(gate, wild.Sample(zeros, ones)) == (GateStatus.PASS, 0.32)
        assert judge.run(gate, wild.Sample(ones, ones)) == (GateStatus.UNDECIDED, 1.0)

    def test_advisory_gates_decide_nothing(self) -> None:
        judge = wild.SampleJudge(rules.UNBOUNDED)
        base = np.linspace(0.0, 1.0, 20)
        clear = wild.Sample(base, base + 5 + base**2)

        assert judge.outcome(wild.gate_of("gain", 0.0), clear) is GateStatus.UNDECIDED

    def test_margin_cases(self) -> None:
        """A pair that loses .1 of .5 is exactly at a gain and a tolerance of .1, and at 20 %."""
        found = wild.margin_cases([population([1] * 5 + [0] * 5, [1] * 4 + [0] * 6)])
        margins = {case.label: case.gate.margin for case in found}

        assert margins == {
            "gain 0": 0.0,
            "gain": pytest.approx(0.1),
            "tolerance": pytest.approx(0.1),
            "tolerance, %": "20.000000000%",
        }
        assert not any(case.pair.is_true(case.gate) for case in found)
        tolerance = found[2]
        # 52 cases without a change prove .05 and fewer do not prove .1: 10 are too few for it.
        assert not tolerance.is_provable(10)
        assert tolerance.is_provable(60)

    def test_command(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Both tables are printed, and whole runs end as their gates do."""
        rng = np.random.default_rng(1)
        scores = {name: (rng.random(90) < 0.6).astype(int).tolist() for name in LETTERS[:4]}
        content = {"kind": "pass/fail", "range": [0, 1], "binary": True, "documents": None}
        (tmp_path / "x.json").write_text(json.dumps({**content, "models": scores}))
        monkeypatch.setattr(wild, "SIZES", (40,))
        monkeypatch.setattr(wild, "AT_MARGIN", (40,))
        monkeypatch.setattr(wild, "WORST", 2)
        monkeypatch.setattr(wild, "USUAL", (("gain", 0.0), ("tolerance", "5%")))

        assert wild.main([str(tmp_path), "--pairs", "2", "--reps", "1"]) == 0

        shown = capsys.readouterr().out
        assert "x: pass/fail, 4 models, 90 items, 2 pairs" in shown
        assert "a whole run ends otherwise than its gate in 0 of 2 runs" in shown
        assert "n = half of the items, without replacement" in shown


class TestSources:
    """Each converter reads what its repository writes."""

    def test_numbers(self) -> None:
        """The first number counts, whatever stands around it."""
        items = [
            {"id": 1, "answer": "#### 1,200", "output": ['{"reasoning": "x", "answer": "$1200"}']},
            {"id": 2, "answer": "7", "output": ['{"answer": "about 7.5 miles"}']},
            {"id": 3, "answer": "-3", "output": ["I do not know."]},
            {"id": 4, "answer": "4", "output": ['{"answer": 4}']},
        ]

        found = wild_sources._numbers(json.dumps(items).encode())

        assert found == {"1": 1.0, "2": 0.0, "3": 0.0, "4": 1.0}

    def test_literals(self) -> None:
        """An answer must be written like the reference; quotes around it do not matter."""
        items = [
            {"id": "a", "answer": "[(4, 1)]", "output": ['{"answer": "[(4, 1)]"}']},
            {"id": "b", "answer": "'hi'", "output": ['{"answer": "hi"}']},
            {"id": "c", "answer": "x", "output": ['{"answer": "y"}']},
        ]

        found = wild_sources._literals(json.dumps(items).encode())

        assert found == {"a": 1.0, "b": 1.0, "c": 0.0}

    def test_judges(self) -> None:
        """Preferences become 0 to 1, a tie in either notation .5; marks out of range are none."""
        choices: list[dict[str, Any]] = [
            {"instruction": str(i), "preference": value}
            for i, value in enumerate((1, 2.0, 1.5, 0, 1.25, None))
        ]
        marks = [{"session_id": str(i), "score": s} for i, s in enumerate(("7", "-1", "", None))]

        assert wild_sources._preferences(json.dumps(choices).encode()) == {
            "0": 0.0,
            "1": 1.0,
            "2": 0.5,
            "3": 0.5,
            "4": 0.25,
        }
        assert wild_sources._marks(json.dumps(marks).encode()) == {"0": 7.0}

    def test_people(self) -> None:
        """Error scores by system and segment; marks of one language without damaged texts."""
        segments = b"system mqm_avg_score seg_id\nA\t-5.0 1\nA\tNone 2\nB.737 -0.5 1\n"
        rows = [
            "u,GPT-4,12,TGT,eng,jpn,90,doc-1,False,[],1,2",
            "v,GPT-4,12,TGT,eng,jpn,80,doc-1,False,[],1,2",
            "u,GPT-4,13,BAD,eng,jpn,10,doc-1,False,[],1,2",
            "u,GPT-4,12,TGT,eng,zho,70,doc-1,False,[],1,2",
            "u,GPT-4,1,TGT,eng,jpn,70,ende-tutorial1,False,[],1,2",
        ]

        marks = wild_sources._assessments(["\n".join(rows).encode()], "jpn")

        assert wild_sources._segments(segments) == {"A": {"1": -5.0}, "B.737": {"1": -0.5}}
        assert marks == {"GPT-4": {f"doc-1{wild_sources.SEPARATOR}12": 85.0}}

    def test_writing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Columns of the same items; no model with few of them, nor one that equals another."""
        monkeypatch.setattr(wild_sources, "_commit", lambda snapshot: "abc")
        item = "d{}" + wild_sources.SEPARATOR + "{}"
        items = [item.format(i // 2, i) for i in range(10)]
        models = {
            "a": dict.fromkeys(items, 1.0),
            "b": dict.fromkeys(items, 1.0),
            "c": {**dict.fromkeys(items[:9], 1.0)},
            "d": dict.fromkeys(items[:8], 0.0),
        }
        wild_sources._write(tmp_path, "x", "owner/name", tmp_path, {"kind": "people"}, models)
        content = json.loads((tmp_path / "x.json").read_text())

        assert content["models"] == {"a": [1.0] * 10, "c": [1.0] * 9 + [None]}
        assert content["documents"] == [f"d{i // 2}" for i in range(10)]
        assert content["source"] == "github.com/owner/name at abc"
