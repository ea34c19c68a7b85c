"""What a candidate costs whose answers mostly stay: `python -m benchmarks.kept_answers`.

A tolerance of 1 point at 5 % discordance takes about 3,100 cases. Base's answers are known, and a
LoRA adapter changes a tenth of them; its strength is searched for until it does. The tuned arm
answers all cases twice with runner and store of a real run: without drafts, each answer decoded,
and with base's answers as drafts, of which one that is accepted whole is a prefill. Counted are
the forwards of a model of random weights, the rows in them (a row of a step is what a decoded token
costs where a step costs the same for one token or many), the tokens, and the processor's time.
Each count is told in decoded answers: by the count of an answer without drafts. Both runs must
answer alike. The aim is 600 decoded answers, in rows.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._forwards import Watch, watched
from benchmarks._prompts import everyday_prompts, prompts_suite
from tunegate.harness import suite as suites
from tunegate.harness.engine.answer_cache import AnswerCache
from tunegate.harness.engine.plan import make_plan
from tunegate.harness.engine.progress import ProgressReporter
from tunegate.harness.engine.runner import Runner, collect_answers
from tunegate.harness.engine.scheduling import Optimizations
from tunegate.harness.model import Arm

MOST = 600
"""Decoded answers that 3,100 may cost."""
CASES = 3_100
PROBED = 200
"""Cases on which the adapter's strength is searched for."""
STEPS = 10
"""Halvings of that search."""
OTHER = "other"
"""Token of all other words."""
TEMPLATE = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
WORDS = 900
"""Tokens of the vocabulary."""
SHAPE: dict[str, Any] = {
    "vocab_size": WORDS,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.2,
}
Answers = dict[str, str]


@dataclass(frozen=True, slots=True)
class Cost:
    """What the forwards of a run came to."""

    forwards: int
    rows: int
    """Rows of all forwards."""
    tokens: int
    """Tokens of all rows, padding included."""
    seconds: float
    """Of the whole run, on the processor."""

    @classmethod
    def of(cls, watch: Watch, seconds: float) -> Cost:
        """Add up what was watched."""
        return cls(
            len(watch.seen),
            sum(forward.rows for forward in watch.seen),
            sum(forward.rows * forward.tokens for forward in watch.seen),
            seconds,
        )

    def decoded_answers(self, plain: Cost, cases: int) -> dict[str, float]:
        """Return each count in answers of `plain`, which decoded so many cases."""
        counts = {"forwards": 0.0, "rows": 0.0, "tokens": 0.0, "seconds": 0.0}
        return {name: cases * getattr(self, name) / getattr(plain, name) for name in counts}


def main() -> int:
    """Print the table; return 1 if the aim is missed or an answer differs."""
    options = _options()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        arms = opened_arms(folder)
        few = prompts_suite(folder / "few", min(PROBED, options.cases), options.new_tokens)
        set_strength(arms, few, 1 - options.kept)
        suite = prompts_suite(folder / "all", options.cases, options.new_tokens)
        decoded, plain = second_candidate(arms, suite, folder / "decoded.sqlite", drafts=False)
        drafted, cost = second_candidate(arms, suite, folder / "drafted.sqlite", drafts=True)
    kept = sum(text == decoded["tuned"][case] for case, text in decoded["base"].items())
    found = cost.decoded_answers(plain, options.cases)
    allowed = MOST * options.cases / CASES
    held, equal = found["rows"] <= allowed, decoded == drafted
    print(f"{options.cases} cases, at most {options.new_tokens} new tokens, {kept} answers stay")
    print(f"{'of tuned':<12} {'decoded':>12} {'drafted':>12} {'in decoded answers':>20}")
    for name, value in found.items():
        print(
            f"{name:<12} {getattr(plain, name):12,.0f} {getattr(cost, name):12,.0f} {value:20,.0f}"
        )
    print("answers equal to those without drafts: " + ("all" if equal else "NOT ALL"))
    print(f"target: rows of {allowed:.0f} decoded answers: {'held' if held else 'MISSED'}")
    return int(not (held and equal))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--kept", type=float, default=0.9, help="share of answers that stay")
    return parser.parse_args()


def opened_arms(folder: Path) -> dict[str, Any]:
    """Make a model of random weights and an adapter of it, and open both as arms."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    from tunegate.harness.models.open_arms import open_arms

    torch.manual_seed(0)
    base, tuned = folder / "base", folder / "tuned"
    LlamaForCausalLM(LlamaConfig(**SHAPE)).save_pretrained(base)
    _tokenizer().save_pretrained(base)
    model: Any = LlamaForCausalLM.from_pretrained(base)
    config = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(model, config)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    model.save_pretrained(tuned)
    return dict(open_arms({"base": str(base), "tuned": str(tuned)}, dtype="float32"))


def _tokenizer() -> Any:
    """Return a tokenizer of whole words: whatever is written is read back as the same tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    said = Counter(word for text in everyday_prompts().values() for word in text.split())
    words = [word for word, _ in said.most_common() if word.isalpha()]
    known = dict(zip(("<|end|>", OTHER, *words), range(WORDS), strict=False))
    tokenizer = Tokenizer(models.WordLevel(known, unk_token=OTHER))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # Transformers is untyped there
        tokenizer_object=tokenizer,
        eos_token="<|end|>",
        pad_token="<|end|>",
        chat_template=TEMPLATE,
    )


def set_strength(arms: Mapping[str, Any], suite: suites.Suite, changed: float) -> None:
    """Scale the adapter until it changes about that share of the suite's answers."""
    modules = arms["tuned"].loaded.torch_model.modules()
    layers = [m for m in modules if isinstance(getattr(m, "scaling", None), dict)]
    whole = [dict(layer.scaling) for layer in layers]
    low, high = 0.0, 1.0
    for _ in range(STEPS):
        strength = (low + high) / 2
        for layer, full in zip(layers, whole, strict=True):
            layer.scaling = {name: value * strength for name, value in full.items()}
        with tempfile.TemporaryDirectory() as place:
            store = AnswerCache(Path(place) / "answers.sqlite")
            found = _answers(arms, suite, store, drafts=False)
        other = sum(text != found["tuned"][case] for case, text in found["base"].items())
        low, high = (strength, high) if other < changed * len(suite.cases) else (low, strength)


def second_candidate(
    arms: Mapping[str, Any], suite: suites.Suite, place: Path, *, drafts: bool
) -> tuple[dict[str, Answers], Cost]:
    """Return the answers of both arms, and what those of tuned cost where base's are known."""
    store = AnswerCache(place)
    _answers({"base": arms["base"]}, suite, store, drafts=False)
    with watched(arms["base"].loaded.torch_model) as watch:
        start = time.process_time()
        found = _answers(arms, suite, store, drafts=drafts)
        return found, Cost.of(watch, time.process_time() - start)


def _answers(
    arms: Mapping[str, Arm], suite: suites.Suite, store: AnswerCache, *, drafts: bool
) -> dict[str, Answers]:
    plan = make_plan([suite], arms, seed=0)
    progress = ProgressReporter(1.0, stream=io.StringIO())
    Runner(plan, arms, store, progress, levers=Optimizations(drafts=drafts)).run()
    found: dict[str, Answers] = {name: {} for name in arms}
    for stored in collect_answers(plan, store, set()):
        assert stored.completion is not None
        found[stored.cell.arm][stored.cell.case] = stored.completion.text or ""
    return found


if __name__ == "__main__":
    sys.exit(main())
