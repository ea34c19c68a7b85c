"""`tunegate.compare`: a gate in one call, and what a notebook shows of it."""

from __future__ import annotations

import base64
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import tunegate
from tests.tiny_models import Tiny, make_tokenizer, muted
from tunegate.harness.records.errors import TunegateError
from tunegate.harness.records.verdict import Verdict

Scripted = Callable[..., str]
GAIN = [{"metric": "exact_match", "gain": 0.1}]
HOSTILE = "<script>alert(1)</script><b>bold</b>\u202e"


def test_it_is_a_gate_with_a_run_folder_and_an_attempt(
    scripted: Scripted, cases: list[dict[str, Any]]
) -> None:
    found = tunegate.compare(
        scripted("base", 20), scripted("tuned", 55), cases, metrics=["exact_match"], gates=GAIN
    )

    assert found.verdict is Verdict.SHIP
    assert found.folder.parent == Path.cwd() / ".tunegate/runs"
    assert (found.folder / "report.html").is_file()
    (line,) = Path("tunegate.ledger.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["verdict"] == "SHIP"
    assert " ".join(found.run.manifest.shell_words()) == (
        "tunegate gate .tunegate/notebook/notebook/suite.toml --base=scripted:base.json "
        "--tuned=scripted:tuned.json"
    )


def test_without_gates_every_metric_must_be_proven_better(
    scripted: Scripted, cases: list[dict[str, Any]]
) -> None:
    """A length that is not shorter keeps a better fine-tune from shipping."""
    weak, strong = scripted("weak", 20), scripted("strong", 55)
    both = ["exact_match", {"use": "length", "name": "words"}]

    better = tunegate.compare(weak, strong, cases, metrics=["exact_match"], name="one")
    worse = tunegate.compare(strong, weak, cases, metrics=["exact_match"], name="two")
    two = tunegate.compare(weak, strong, cases, metrics=both, name="three")

    assert better.verdict is Verdict.SHIP
    assert worse.verdict is Verdict.BLOCK
    assert two.run.manifest.suites[0].goal_rule == "all"
    assert [gate.metric for gate in two.run.manifest.suites[0].gates] == ["exact_match", "words"]


def test_the_second_candidate_counts_as_a_second_attempt(
    scripted: Scripted, cases: list[dict[str, Any]]
) -> None:
    base = scripted("base", 20)

    for number, right in enumerate((30, 50), start=1):
        found = tunegate.compare(base, scripted("tuned", right), cases, metrics=["exact_match"])
        assert [*found.run.verdict.attempts.values()] == [number]


def test_a_cell_shows_verdict_gates_and_typical_cases_as_inert_text(
    scripted: Scripted, cases: list[dict[str, Any]]
) -> None:
    html = tunegate.compare(
        scripted("base", 55), scripted("tuned", 20, HOSTILE), cases, metrics=["exact_match"]
    )._repr_html_()

    assert "BLOCK" in html
    assert "−" in html
    assert "Typical of 35 cases that lost" in html
    assert html.count("Ticket") == 3
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&lt;b&gt;bold&lt;/b&gt;\\u202e" in html
    assert not re.search(r"<script|<b>bold|\u202e|https?:|\bon\w+=", html)


def test_the_page_is_shown_in_a_frame_that_cannot_reach_the_notebook(
    scripted: Scripted, cases: list[dict[str, Any]]
) -> None:
    found = tunegate.compare(
        scripted("base", 20), scripted("tuned", 55), cases, metrics=["exact_match"]
    )

    frame = found.report(height=300)._repr_html_()

    page = re.search(r'src="data:text/html;charset=utf-8;base64,([^"]+)"', frame)
    assert page is not None
    assert base64.b64decode(page[1]) == (found.folder / "report.html").read_bytes()
    assert 'sandbox="allow-scripts allow-downloads"' in frame
    assert 'height="300"' in frame


def test_python_prints_what_a_terminal_shows(
    scripted: Scripted, cases: list[dict[str, Any]]
) -> None:
    found = tunegate.compare(
        scripted("base", 20), scripted("tuned", 55), cases, metrics=["exact_match"], name="teams"
    )

    lines = repr(found).splitlines()

    assert lines[0].startswith("SHIP: teams: exactly right answers rose 33.3 → 91.7 %")
    assert lines[-1] == f"report: .tunegate/runs/{found.folder.name}/report.html"


def test_cases_may_be_a_file_or_a_suite(scripted: Scripted, cases: list[dict[str, Any]]) -> None:
    models = scripted("base", 20), scripted("tuned", 55)
    text = "".join(json.dumps(case) + "\n" for case in cases)
    Path("held_out.jsonl").write_text(text, encoding="utf-8")

    from_file = tunegate.compare(*models, "held_out.jsonl", metrics=["exact_match"])
    from_suite = tunegate.compare(*models, Path(".tunegate/notebook/notebook"))

    assert from_file.verdict is from_suite.verdict is Verdict.SHIP
    with pytest.raises(TunegateError, match="a suite has its own metrics and gates"):
        tunegate.compare(*models, ".tunegate/notebook/notebook", metrics=["exact_match"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"metrics": []}, "metrics: none; name one, such as metrics=['exact_match']"),
        ({"metrics": ["exact_mach"]}, "suite.toml:6: unknown metric 'exact_mach'; did you mean"),
        ({"metrics": [lambda case, completion: 1]}, "<lambda> is defined in the notebook"),
        ({"gates": [{"metric": "exact_match", "gian": 1}]}, "unknown key 'gian'; did you mean"),
        ({"gates": [{"metric": "exact_match", "gain": object()}]}, "gain=<object object"),
        ({"gates": ["gain"]}, "gates: 'gain' must be a dict"),
        ({"name": "../up"}, "name='../up': use at most 80 letters"),
        ({"nmae": "x"}, "unknown key 'nmae'; did you mean 'name'?"),
        ({"cases": [{"promt": "x"}]}, "cases.jsonl:1: unknown key 'promt'; did you mean 'prompt'?"),
        ({"cases": [{"prompt": {1}}]}, "cases[0]: cannot be written as JSON"),
        ({"cases": ["text"]}, "cases[0]: 'text' must be a dict"),
        ({"cases": "nowhere.jsonl"}, "nowhere.jsonl: cannot be read (No such file or directory)"),
        ({"tuned": "scripted:no.json"}, "scripted:no.json: cannot be read"),
        ({"base": (None, None)}, "base is in memory and tuned is not"),
        ({"training_data": "rows.jsonl"}, "rows.jsonl"),
    ],
)
def test_a_mistake_is_one_sentence_in_a_notebook(
    given: dict[str, Any], said: str, scripted: Scripted, cases: list[dict[str, Any]]
) -> None:
    usual = {"base": scripted("base", 20), "tuned": scripted("tuned", 55), "cases": cases}

    with pytest.raises(TunegateError) as caught:
        tunegate.compare(**{**usual, "metrics": ["exact_match"], **given})

    (line,) = caught.value._render_traceback_()
    assert line.startswith("tunegate: ")
    assert said in line
    assert caught.value.exit_code == 2


def test_a_failed_run_says_that_the_same_call_continues(
    scripted: Scripted, cases: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*given: Any, **more: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tunegate.harness.run.evaluate.evaluate", stopped)

    with pytest.raises(TunegateError, match="the same call continues from there") as caught:
        tunegate.compare(scripted("a", 2), scripted("b", 5), cases, metrics=["exact_match"])

    assert caught.value.exit_code == 130


@pytest.fixture(name="model")
def _model(tiny: Tiny) -> Any:
    """A tiny model in memory, in training mode, with an adapter that has learned something."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    plain = AutoModelForCausalLM.from_pretrained(tiny.base("llama"))
    with muted():
        model = get_peft_model(plain, LoraConfig(r=2, target_modules="all-linear"))
    torch.nn.init.constant_([p for n, p in model.named_parameters() if "lora_B" in n][-1], 0.5)
    return model.train()


@pytest.mark.slow
def test_models_in_memory_are_compared_and_left_as_they_were(
    model: Any, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Base is the model without its adapter, or a second one; both give base the same answers."""
    monkeypatch.chdir(tmp_path)
    cases = [{"prompt": f"the parcel {n}", "expected": "x"} for n in range(8)]
    settings: Any = {"metrics": ["exact_match"], "generation": {"max_new_tokens": 4}}
    tokenizer = make_tokenizer()

    one = tunegate.compare(None, (model, tokenizer), cases, **settings)
    two = tunegate.compare(str(tiny.base("llama")), (model, tokenizer), cases, **settings)

    def answers(found: tunegate.Comparison) -> dict[Any, Any]:
        return {key: cell.completion.text for key, cell in found.run.completions.items()}

    assert one.run.verdict.verdict in (Verdict.UNDECIDED, Verdict.BLOCK)
    assert answers(one) == answers(two)
    assert model.training
    assert len(set(map(str, answers(one).values()))) > 1


@pytest.mark.slow
def test_a_base_that_peft_changed_in_place_is_refused(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tokenizer, cases = make_tokenizer(), [{"prompt": "p", "expected": "x"}]

    with pytest.raises(TunegateError, match="share their weights, which PEFT changes in place"):
        tunegate.compare(
            (model.get_base_model(), tokenizer), (model, tokenizer), cases, metrics=["exact_match"]
        )
    with pytest.raises(TunegateError, match="tuned has no adapter to switch off"):
        tunegate.compare(None, (model.unload(), tokenizer), cases, metrics=["exact_match"])


def test_inside_a_notebook_notes_go_to_the_cell(
    scripted: Scripted,
    cases: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))

    tunegate.compare(
        scripted("base", 20), scripted("tuned", 55), cases, metrics=["exact_match"], name="cell"
    )

    shown = capsys.readouterr()
    assert "tunegate: 120 answers planned" in shown.out
    assert shown.err == ""
