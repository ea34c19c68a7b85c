"""Log-likelihoods against one plain forward per text; tokens split as lm-eval splits them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lm_eval_tasks import MMLU
from tests.tiny_models import ARCHITECTURES, muted
from tunegate.harness.contracts.environment import cache_name
from tunegate.harness.contracts.model import Prompt
from tunegate.harness.engine.inference import local_engine, loglikelihood, prefix_cache
from tunegate.harness.engine.inference.loglikelihood import Continuation, score_continuations
from tunegate.harness.models._continuations import encode_continuation
from tunegate.harness.records.cases import Case
from tunegate.harness.suite.sources.lm_eval import lm_eval

LONG = "the capital of France is Paris, the capital of Spain is Madrid, and so on; "
CASES = (
    ("the capital of", ("A", "B", "C", "D")),
    ("2 + 2 =", ("four of course, as everyone knows", "5")),
    ("a", ("the customer", "refund", "zz")),
    ("the parcel that never came is", ("late",)),
)


def _plain(tiny: Any, architecture: str, arm: str) -> Any:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny.base(architecture)).eval()
    if arm == "tuned":
        with muted():
            model = PeftModel.from_pretrained(model, tiny.adapter(architecture)).eval()
    return model


def _reference(model: Any, context: tuple[int, ...], continuation: tuple[int, ...]) -> float:
    """lm-eval's formula: log-softmax of one full forward, summed over the continuation's tokens."""
    import torch

    ids = torch.tensor([[*context, *continuation]])
    with torch.inference_mode():
        logprobs = torch.log_softmax(model(input_ids=ids).logits[0].float(), dim=-1)
    first = len(context) - 1
    return sum(float(logprobs[first + i, token]) for i, token in enumerate(continuation))


def _asked_alone(
    arm: Any, model: Any, prompts: list[Prompt], asked: list[Continuation]
) -> list[float]:
    """Score each continuation in a call of its own."""
    return [
        score_continuations(arm, model, [prompts[c.row]], [Continuation(0, c.token_ids)])[0]
        for c in asked
    ]


@pytest.mark.parametrize("shared", ["", LONG], ids=["no prefix", "shared prefix"])
@pytest.mark.parametrize("arm", ["base", "tuned"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_equals_a_full_forward(tiny: Any, architecture: str, arm: str, shared: str) -> None:
    """Single- and multi-token choices, another number of them in each case: within 1e-4."""
    opened = tiny.pair(architecture)[arm]
    prompts, wanted = [], []
    for row, (text, choices) in enumerate(CASES):
        prompt = Prompt(shared + text, tuple(opened.tokenizer(shared + text)["input_ids"]))
        prompts.append(prompt)
        wanted += [
            Continuation(row, encode_continuation(opened.tokenizer, prompt, choice, delimiter=" "))
            for choice in choices
        ]
    assert {len(c.token_ids) > 2 for c in wanted} == {True, False}
    with opened.active() as model:
        sums = score_continuations(opened, model, prompts, wanted)
    model = _plain(tiny, architecture, arm)
    expected = [_reference(model, prompts[c.row].token_ids or (), c.token_ids) for c in wanted]
    assert sums == pytest.approx(expected, abs=1e-4)


def test_continuations_of_about_one_length_are_read_together(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 40 continuations of 2 to 41 tokens no forward has more padding than a forward costs; the
    cache that they share is left as it was, so that each is as likely as if asked alone.
    """
    arm = tiny.pair("llama")["tuned"]
    prompts = [Prompt(t, tuple(arm.tokenizer(t)["input_ids"])) for t, _ in CASES]
    asked = [Continuation(i % len(prompts), tuple(range(5, 7 + i))) for i in range(40)]
    read: list[list[int]] = []
    rest = loglikelihood._rest

    def noted(model: Any, ready: Any, wanted: Any) -> Any:
        read.append([len(one.token_ids) - 1 for one in wanted])
        return rest(model, ready, wanted)

    with arm.active() as model:
        alone = _asked_alone(arm, model, prompts, asked)
        monkeypatch.setattr(loglikelihood, "_rest", noted)
        found = score_continuations(arm, model, prompts, asked)

    assert found == pytest.approx(alone, abs=1e-4)
    assert sorted(length for one in read for length in one) == list(range(1, 41))
    assert max(len(one) * max(one) - sum(one) for one in read) <= 60
    assert 2 <= len(read) <= 10


def test_prompts_of_about_one_length_are_computed_together(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of ten prompts five are ten times as long. Apart where one token is asked, in one forward
    where longer continuations would need further ones; each is as likely as if asked alone.
    """
    arm = tiny.pair("llama")["tuned"]
    prompts = [Prompt("", tuple(range(4 + i, 14 + i * i))) for i in range(5)]
    prompts += [Prompt("", (5 + i, *range(4, 100 + i))) for i in range(5)]
    asked = [Continuation(row, (token,)) for row in range(10) for token in (7, 8)]
    asked += [Continuation(row, (9, 10, 11)) for row in (2, 7)]
    sizes: list[list[int]] = []
    prefill = loglikelihood.prefill_prompts

    def noted(arm: Any, model: Any, ids: Any, **settings: Any) -> Any:
        sizes.append(sorted(map(len, ids)))
        return prefill(arm, model, ids, **settings)

    with arm.active() as model:
        alone = _asked_alone(arm, model, prompts, asked)
        monkeypatch.setattr(loglikelihood, "prefill_prompts", noted)
        found = score_continuations(arm, model, prompts, asked)

    assert found == pytest.approx(alone, abs=1e-4)
    assert sizes == [[12, 99], [97, 98, 100, 101], [10, 10, 16, 22]]


def test_blocks_do_not_change_the_result(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    arm = tiny.pair("llama")["base"]
    prompts = [Prompt(t, tuple(arm.tokenizer(t)["input_ids"])) for t, _ in CASES]
    wanted = [
        Continuation(row, encode_continuation(arm.tokenizer, prompts[row], choice, delimiter=" "))
        for row, (_, choices) in enumerate(CASES)
        for choice in choices
    ]
    with arm.active() as model:
        whole = score_continuations(arm, model, prompts, wanted)
        monkeypatch.setattr(loglikelihood, "_LOGIT_BYTES", 1)
        assert score_continuations(arm, model, prompts, wanted) == pytest.approx(whole, abs=1e-5)


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_rows_of_a_cache_leave_it_as_it_was(kind: str, tiny: Any) -> None:
    import torch

    model = _plain(tiny, kind, "base")
    ids = torch.arange(12).reshape(3, 4)
    with torch.inference_mode():
        cache = getattr(model(input_ids=ids, use_cache=True), cache_name())
        before = [(layer.keys.clone(), layer.values.clone()) for layer in cache.layers]
        own = prefix_cache.selected_rows(cache, torch.tensor([2, 0, 0, 1]))
        model(input_ids=ids[[2, 0, 0, 1], :2], use_cache=True, **{cache_name(): own})

    for layer, theirs, (keys, values) in zip(cache.layers, own.layers, before, strict=True):
        assert torch.equal(layer.keys, keys)
        assert torch.equal(layer.values, values)
        assert cache.get_seq_length() == keys.shape[2] == 4
        assert torch.equal(theirs.keys[:, :, :4], keys[[2, 0, 0, 1]])
        assert theirs.keys.shape[2] == 6


@pytest.mark.parametrize("rows", [1, 8, 9, 20])
def test_log_probabilities_by_parts_are_those_of_all_rows(rows: int) -> None:
    import torch

    torch.manual_seed(rows)
    logits, words = torch.randn(rows, 640), torch.randint(0, 640, (rows, 3))

    found = loglikelihood._read_words(logits, words)

    assert torch.equal(found, torch.log_softmax(logits, dim=-1).gather(-1, words))


def test_choices_of_a_case(tiny: Any, ask: Callable[..., list[Any]]) -> None:
    arm = tiny.pair("llama")["base"]
    cases = [
        Case(id=f"c{i}", prompt=text, choices=choices, answer=0)
        for i, (text, choices) in enumerate(CASES)
    ]
    answers = {
        a.key: a.completion for a in local_engine.complete_requests(arm, ask(arm, cases, "choices"))
    }
    model = _plain(tiny, "llama", "base")
    for case in cases:
        context = tuple(arm.tokenizer(case.prompt)["input_ids"])
        wholes = [arm.tokenizer(f"{case.prompt} {c}")["input_ids"] for c in case.choices or ()]
        expected = [_reference(model, context, tuple(ids[len(context) :])) for ids in wholes]
        assert answers[case.id].choice_logprobs == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("arm", ["base", "tuned"])
@pytest.mark.usefixtures("lm_eval_installed")
def test_cases_of_lm_evals_tasks_have_the_likelihoods_of_its_hf_model(
    tiny: Any, task: Callable[..., Path], ask: Callable[..., list[Any]], arm: str
) -> None:
    rows = [
        {
            "question": f"{LONG * (i % 2)}What does customer {i} want?",
            "choices": ["a refund", "the parcel, which is late", "Paris", f"nothing {i}"],
            "answer": i % 4,
        }
        for i in range(7)
    ]
    texts = {**MMLU, "doc_to_text": "{{question}} \n", "doc_to_choice": "{{choices}}"}
    configs = {"letters": MMLU, "texts": texts, "spaces": {**texts, "target_delimiter": ""}}
    for name, config in configs.items():
        folder = task(name, rows, **config)
    opened = tiny.pair("llama")[arm]
    with muted():
        from lm_eval import simple_evaluate
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager

        adapter = {"peft": str(tiny.adapter("llama"))} if arm == "tuned" else {}
        theirs = simple_evaluate(
            HFLM(str(tiny.base("llama")), dtype="float32", device="cpu", batch_size=3, **adapter),
            tasks=list(configs),
            task_manager=TaskManager(include_path=str(folder / "tasks"), include_defaults=False),
            num_fewshot=1,
            bootstrap_iters=0,
        )
        cases = list(lm_eval(folder, tasks=tuple(configs), include_path="tasks", num_fewshot=1))

    ours = {
        answer.key: answer.completion.choice_logprobs
        for answer in local_engine.complete_requests(opened, ask(opened, cases, "choices"))
    }

    samples = {f"{name}:{s['doc_id']}": s for name in configs for s in theirs["samples"][name]}
    assert samples.keys() == ours.keys()
    for case, sample in samples.items():
        expected = [resp[0][0] for resp in sample["resps"][:4]]
        assert ours[case] == pytest.approx(expected, abs=1e-4)


def test_the_answer_is_a_mean_per_token(tiny: Any, ask: Callable[..., list[Any]]) -> None:
    arm = tiny.pair("llama")["tuned"]
    case = Case(id="c", prompt="the capital of Spain is", expected="Madrid, I think")
    (answer,) = local_engine.complete_requests(arm, ask(arm, [case], "answer"))
    context = tuple(arm.tokenizer(case.prompt)["input_ids"])
    tokens = tuple(arm.tokenizer(f"{case.prompt} {case.expected}")["input_ids"])[len(context) :]
    expected = _reference(_plain(tiny, "llama", "tuned"), context, tokens) / len(tokens)
    assert len(tokens) > 3
    assert answer.completion.answer_logprob == pytest.approx(expected, abs=1e-4)


def test_of_several_right_answers_the_likeliest_counts(
    tiny: Any, ask: Callable[..., list[Any]]
) -> None:
    arm = tiny.pair("llama")["base"]
    texts = ("Madrid", "the city of Madrid", "x")
    single = [Case(id=t, prompt="the capital of Spain is", expected=t) for t in texts]
    alone = [
        a.completion.answer_logprob
        for a in local_engine.complete_requests(arm, ask(arm, single, "answer"))
    ]
    case = Case(id="c", prompt="the capital of Spain is", expected=texts)
    (answer,) = local_engine.complete_requests(arm, ask(arm, [case], "answer"))
    assert len(set(alone)) == 3
    assert answer.completion.answer_logprob == pytest.approx(max(alone), abs=1e-5)


def test_a_plain_prompt_and_its_text_are_one_space_apart(
    tiny: Any, ask: Callable[..., list[Any]]
) -> None:
    """template = "none": "Q" + "yes" is scored as "Q yes"; after a space nothing is added."""
    arm = tiny.pair("llama")["base"]
    model = _plain(tiny, "llama", "base")
    for prompt, text in (("Q:", " yes"), ("Q:\n", "yes"), ("Q: ", "yes")):
        case = Case(id="c", prompt=prompt, choices=("yes",), answer=0)
        (answer,) = local_engine.complete_requests(arm, ask(arm, [case], "choices"))
        context = tuple(arm.tokenizer(prompt)["input_ids"])
        tokens = tuple(arm.tokenizer(text)["input_ids"])
        expected = _reference(model, context, tokens)
        assert answer.completion.choice_logprobs == pytest.approx([expected], abs=1e-4)


@pytest.mark.parametrize("delimiter", ["", "\n", " "])
def test_a_case_says_what_stands_between(
    tiny: Any, ask: Callable[..., list[Any]], delimiter: str
) -> None:
    arm = tiny.pair("llama")["base"]
    case = Case(id="c", prompt="Q:", choices=("yes",), expected="yes", delimiter=delimiter)
    (chosen,) = local_engine.complete_requests(arm, ask(arm, [case], "choices"))
    (answered,) = local_engine.complete_requests(arm, ask(arm, [case], "answer"))
    context = tuple(arm.tokenizer("Q:")["input_ids"])
    tokens = tuple(arm.tokenizer(f"Q:{delimiter}yes")["input_ids"])[len(context) :]
    expected = _reference(_plain(tiny, "llama", "base"), context, tokens)
    assert chosen.completion.choice_logprobs == pytest.approx([expected], abs=1e-4)
    assert answered.completion.answer_logprob == pytest.approx(expected / len(tokens), abs=1e-4)


def test_a_chat_prompt_and_its_text_touch(tiny: Any, ask: Callable[..., list[Any]]) -> None:
    arm = tiny.pair("llama")["base"]
    case = Case(id="c", prompt="Q", choices=("yes",), answer=0)
    (request,) = ask(arm, [case], "choices", template="chat")
    (answer,) = local_engine.complete_requests(arm, [request])
    rendered = "<|start|>user\nQ<|end|>\n<|start|>assistant\n"
    assert request.prompt.text == rendered
    context = tuple(arm.tokenizer(rendered)["input_ids"])
    tokens = tuple(arm.tokenizer("yes")["input_ids"])
    expected = _reference(_plain(tiny, "llama", "base"), context, tokens)
    assert answer.completion.choice_logprobs == pytest.approx([expected], abs=1e-4)


def test_encode_after_a_token_in_front(tiny_tokenizer: Callable[..., Any]) -> None:
    tokenizer = tiny_tokenizer(bos=True)
    prompt = Prompt("the capital", tuple(tokenizer("the capital")["input_ids"]))
    assert prompt.token_ids[0] == 1
    ids = encode_continuation(tokenizer, prompt, "of Spain", delimiter=" ")
    whole = tokenizer("the capital of Spain")["input_ids"]
    assert [*prompt.token_ids, *ids] == whole


def test_encode_across_a_border(tiny_tokenizer: Callable[..., Any]) -> None:
    """Where one token would hold the end of the prompt and the text, the text stands alone."""
    tokenizer = tiny_tokenizer()
    joined = tokenizer("the")["input_ids"]
    prompt = Prompt("t", tuple(tokenizer("t")["input_ids"]))
    assert len(joined) == 1
    assert encode_continuation(tokenizer, prompt, "he", delimiter="") == tuple(
        tokenizer("he")["input_ids"]
    )


def test_encode_nothing(tiny_tokenizer: Callable[..., Any]) -> None:
    """A text without tokens cannot be scored."""
    tokenizer = tiny_tokenizer()
    prompt = Prompt("t", tuple(tokenizer("t")["input_ids"]))
    with pytest.raises(ValueError, match="'' has no tokens to score"):
        encode_continuation(tokenizer, prompt, "", delimiter="")
