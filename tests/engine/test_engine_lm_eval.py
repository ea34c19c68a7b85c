"""lm-eval on our engine against lm-eval's own `hf` model: the same numbers, text for text."""

from __future__ import annotations

import importlib
import json
import logging
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.lm_eval_tasks import MMLU
from tests.tiny_models import CONTEXT, muted
from tunegate.harness.engine.inference import local_engine
from tunegate.harness.records.errors import BackendError, MissingExtra, UsageError

pytestmark = pytest.mark.usefixtures("lm_eval_installed")

HEADER = "the capital of France is Paris, the capital of Spain is Madrid, and so on. "
ROWS = [
    {
        "question": f"{HEADER * (i % 2)}What does customer {i} want?",
        "choices": ["a refund", "the parcel, which is late", "Paris", f"nothing {i}"],
        "answer": i % 4,
        "text": "the customer never got the parcel " * (1 + 20 * (i == 3)),
    }
    for i in range(7)
]
TASKS: dict[str, dict[str, Any]] = {
    "letters": MMLU,
    "texts": {
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}\nAnswer:",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "answer",
        "fewshot_split": "dev",
        "metric_list": [
            {"metric": name, "aggregation": "mean", "higher_is_better": True}
            for name in ("acc", "acc_norm", "acc_mutual_info")
        ],
    },
    "spaces": {
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}} \n",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "answer",
        "target_delimiter": "",
    },
    "last": {
        "output_type": "loglikelihood",
        "doc_to_text": "question",
        "doc_to_target": " {{choices[1]}}",
        "metric_list": [
            {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
            {"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False},
        ],
    },
    "rolling": {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "text",
        "metric_list": [
            {"metric": "bits_per_byte", "aggregation": "bits_per_byte", "higher_is_better": False}
        ],
    },
    "written": {
        "output_type": "generate_until",
        "doc_to_text": "question",
        "doc_to_target": "{{choices[0]}}",
        "generation_kwargs": {"until": ["e", "\n"], "max_gen_toks": 24, "do_sample": False},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    },
}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Let lm-eval and its libraries warn of each other."""
    with muted():
        yield


@pytest.fixture
def tasks(task: Callable[..., Path]) -> Path:
    """The folder of all tasks."""
    for name, config in TASKS.items():
        folder = task(name, ROWS, **config)
    return folder / "tasks"


def evaluated(model: Any, folder: Path, names: list[str], **options: Any) -> Mapping[str, Any]:
    """Run lm-eval's own evaluation."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(folder), include_defaults=False)
    found: Mapping[str, Any] = simple_evaluate(
        model=model, tasks=names, task_manager=manager, bootstrap_iters=0, **options
    )
    return found


@pytest.fixture(scope="module")
def pair(tiny: Any) -> Callable[[str, str], tuple[Any, Any]]:
    """Open our model of an arm and lm-eval's of the same files.

    Their only end marker is the tokenizer's: of others, lm-eval leaves the text in the answer.
    """
    from tunegate.harness.models.open_arms import open_arms

    opened: dict[str, Any] = {}

    def folder(architecture: str) -> Path:
        copy: Path = tiny.root / f"{architecture}-one-stop"
        if not copy.is_dir():
            shutil.copytree(tiny.base(architecture), copy)
            settings = copy / "generation_config.json"
            kept = {**json.loads(settings.read_text()), "eos_token_id": 0}
            settings.write_text(json.dumps(kept))
        return copy

    def make(architecture: str, arm: str) -> tuple[Any, Any]:
        from lm_eval.models.huggingface import HFLM

        from tunegate.harness.engine.lm_eval import TunegateLM

        base, adapter = str(folder(architecture)), str(tiny.adapter(architecture))
        if architecture not in opened:
            opened[architecture] = open_arms({"base": base, "tuned": adapter})
        with_adapter = {"peft": adapter} if arm == "tuned" else {}
        theirs = HFLM(pretrained=base, dtype="float32", device="cpu", batch_size=3, **with_adapter)
        return TunegateLM(opened[architecture][arm]), theirs

    return make


def answers(found: Mapping[str, Any], name: str) -> list[Any]:
    """Return a task's answers in the order of its documents."""
    samples = sorted(found["samples"][name], key=lambda s: s["doc_id"])
    return [resp[0] for sample in samples for resp in sample["resps"]]


@pytest.mark.parametrize("shots", [0, 2])
@pytest.mark.parametrize(
    ("architecture", "arm"), [("llama", "base"), ("llama", "tuned"), ("gpt2", "base")]
)
def test_numbers_are_those_of_hf(
    pair: Any, tasks: Path, architecture: str, arm: str, shots: int
) -> None:
    """Log-likelihoods within 1e-4, greedy flags, texts and every metric of every kind of task."""
    ours, theirs = (
        evaluated(model, tasks, list(TASKS), num_fewshot=shots) for model in pair(architecture, arm)
    )

    for name in TASKS:
        for mine, other in zip(answers(ours, name), answers(theirs, name), strict=True):
            if name == "written":
                assert mine == other
            elif name == "rolling":
                assert mine == pytest.approx(other, rel=1e-6)  # hundreds of tokens
            else:
                assert mine[0] == pytest.approx(other[0], abs=1e-4)
                assert mine[1] == other[1]
        numbers = {k: v for k, v in theirs["results"][name].items() if isinstance(v, float)}
        assert {k: ours["results"][name][k] for k in numbers} == pytest.approx(
            numbers, abs=1e-4, rel=1e-4
        )
    assert any(mine for mine in answers(ours, "written"))


def test_greedy_flags_are_true_where_they_should_be(pair: Any) -> None:
    """A continuation that the model itself would write is greedy; with another end it is not."""
    import torch

    ours, theirs = pair("llama", "base")
    ids = ours.tok_encode("the customer")
    written = []
    for _ in range(4):
        with torch.inference_mode():
            written.append(int(theirs.model(torch.tensor([ids + written])).logits[0, -1].argmax()))
    wrong = [*written[:3], (written[3] + 1) % 320]
    requests = [(None, ids, written), (None, ids, wrong), (None, ids, written[:1])]

    assert [greedy for _, greedy in ours._loglikelihood_tokens(requests)] == [True, False, True]


def test_chat_templates(pair: Any, tasks: Path) -> None:
    """With `apply_chat_template` the prompts and numbers are the same as well."""
    ours, theirs = (
        evaluated(
            model, tasks, ["texts", "written"], apply_chat_template=True, system_instruction="Be."
        )
        for model in pair("llama", "base")
    )

    assert ours["samples"]["texts"][0]["arguments"] == theirs["samples"]["texts"][0]["arguments"]
    assert answers(ours, "written") == answers(theirs, "written")
    assert [a[0] for a in answers(ours, "texts")] == pytest.approx(
        [a[0] for a in answers(theirs, "texts")], abs=1e-4
    )


def test_too_long_is_cut_as_lm_eval_cuts(
    pair: Any, task: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{**row, "question": HEADER * 8} for row in ROWS[:2]]
    for name in ("texts", "written", "rolling"):
        folder = task(name, [{**row, "text": HEADER * 9} for row in rows], **TASKS[name])
    with caplog.at_level(logging.WARNING, logger="tunegate.harness.engine.lm_eval"):
        ours, theirs = (
            evaluated(model, folder / "tasks", ["texts", "written", "rolling"])
            for model in pair("llama", "base")
        )

    assert answers(ours, "written") == answers(theirs, "written")
    assert answers(ours, "rolling") == pytest.approx(answers(theirs, "rolling"), rel=1e-6)
    assert [a[0] for a in answers(ours, "texts")] == pytest.approx(
        [a[0] for a in answers(theirs, "texts")], abs=1e-4
    )
    assert "beyond the model's context were cut off" in caplog.text


def test_cases_of_the_source_have_the_same_likelihoods(
    pair: Any, tasks: Path, ask: Callable[..., list[Any]]
) -> None:
    """`from = "lm_eval"` and our metrics see the numbers that lm-eval's hf sees."""
    from tunegate.harness.suite.sources.lm_eval import lm_eval

    names = ["letters", "texts", "spaces"]
    ours, theirs = pair("llama", "tuned")
    found = evaluated(theirs, tasks, names, num_fewshot=1)
    arm = ours.arm
    for name in names:
        source = lm_eval(tasks.parent, tasks=(name,), include_path="tasks", num_fewshot=1)
        cases = list(source)
        made = {
            a.key: a.completion
            for a in local_engine.complete_requests(arm, ask(arm, cases, "choices"))
        }
        samples = sorted(found["samples"][name], key=lambda s: s["doc_id"])
        for case, sample in zip(cases, samples, strict=True):
            expected = [resp[0][0] for resp in sample["resps"][:4]]
            assert made[case.id].choice_logprobs == pytest.approx(expected, abs=1e-4)


def test_memory_is_tried_in_halves(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that does not fit is halved; a single request that does not is one line."""
    from tunegate.harness.engine import lm_eval as lm_eval_module
    from tunegate.harness.engine.inference import loglikelihood as module

    ours = lm_eval_module.TunegateLM(tiny.pair("llama")["base"])
    requests = [(None, [5 + i, 7], [11, 12]) for i in range(6)]
    whole = ours._loglikelihood_tokens(requests)
    true, most = module.measure_likelihoods, 2

    def narrow(arm: Any, model: Any, prompts: Any, wanted: Any) -> Any:
        if len(prompts) > most:
            raise RuntimeError("CUDA out of memory")
        return true(arm, model, prompts, wanted)

    monkeypatch.setattr(lm_eval_module, "measure_likelihoods", narrow)
    halved = ours._loglikelihood_tokens(requests)
    most = 0

    assert [value for value, _ in halved] == pytest.approx([v for v, _ in whole], abs=1e-5)
    with pytest.raises(BackendError, match="one request alone does not fit the memory"):
        ours._loglikelihood_tokens(requests)


def request(context: str, **settings: Any) -> Any:
    """A request of lm-eval's."""
    return SimpleNamespace(args=(context, settings))


def test_sampled_repetitions_differ(tiny: Any) -> None:
    """The same request twice draws twice, and the same again in another run."""
    from tunegate.harness.engine.lm_eval import TunegateLM

    model = TunegateLM(tiny.pair("llama")["base"])
    asked = [request("the", do_sample=True, temperature=1.5, max_gen_toks=20)] * 4
    first, again = model.generate_until(asked), model.generate_until(asked)

    assert first == again
    assert len(set(first)) > 1


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"num_beams": 4}, r"generation_kwargs \{'num_beams': 4\}: our engine decodes with until,"),
        ({"do_sample": True, "temperature": 1.0, "top_k": 5}, r"\{'top_k': 5\}"),
        ({"max_gen_toks": CONTEXT}, "256 tokens leaves no room for a prompt in the model's"),
    ],
)
def test_what_our_decoding_has_not(tiny: Any, settings: dict[str, Any], expected: str) -> None:
    """Refused in one line: another answer than lm-eval's would be worse than none."""
    from tunegate.harness.engine.lm_eval import TunegateLM

    model = TunegateLM(tiny.pair("llama")["base"])
    with pytest.raises(UsageError, match=expected):
        model.generate_until([request("the", **settings)])


def test_settings_without_effect_are_taken(tiny: Any) -> None:
    """A greedy request may say what only sampling or beams would read."""
    from tunegate.harness.engine.lm_eval import TunegateLM

    model = TunegateLM(tiny.pair("llama")["base"])
    plain = model.generate_until([request("the parcel", max_gen_toks=5)])

    assert plain == model.generate_until(
        [request("the parcel", max_gen_toks=5, top_k=3, num_beams=1, do_sample=False)]
    )


def test_without_lm_eval(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says how to install it."""
    monkeypatch.delitem(sys.modules, "tunegate.harness.engine.lm_eval", raising=False)
    monkeypatch.setitem(sys.modules, "lm_eval.api.model", None)
    with pytest.raises(MissingExtra, match=r"pip install 'tunegate\[lm-eval\]'"):
        importlib.import_module("tunegate.harness.engine.lm_eval")
