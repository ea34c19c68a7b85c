"""Tiny models for the rooms that run one: random weights, a small tokenizer, adapters by PEFT.

Nothing is made before a test asks for it, and each folder once a session.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

TEMPLATE = (
    "{% for message in messages %}<|start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
TRAINING_TEXT = (
    "the parcel is late and the customer wants a refund",
    "a refund for the parcel that the customer never got",
    "the capital of France is Paris, the capital of Spain is Madrid",
)
ARCHITECTURES = (
    "llama", "gpt2", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "mistral", "phi3",
)  # fmt: skip
RUNNING_STATE = ("mamba", "lfm2", "qwen3_5", "recurrent_gemma")
"""Architectures with layers that carry a state instead of keys and values."""
WINDOW = 12
"""Tokens of the sliding windows."""
CONTEXT = 256
LATER_STOPS = (9, 33, 71, 105, 140, 166, 201, 237, 250, 270, 290, 305)
"""Ids that the tiny generation configs call end-of-sequence too, so that rows leave early."""


def make_tokenizer(*, bos: bool = False, template: str | None = TEMPLATE) -> Any:
    """A byte-level BPE tokenizer of at most 320 tokens; `bos` puts `<|start|>` in front."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        TRAINING_TEXT,
        trainers.BpeTrainer(
            vocab_size=320,
            special_tokens=["<|end|>", "<|start|>"],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<|start|> $A", special_tokens=[("<|start|>", 1)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|start|>",
        eos_token="<|end|>",
        pad_token="<|end|>",
        chat_template=template,
    )


def make_config(architecture: str) -> Any:
    """A two-layer configuration of the architecture, its weights wide enough for clear argmaxes."""
    import transformers as t

    common = {"vocab_size": 320, "bos_token_id": 1, "eos_token_id": 0, "pad_token_id": 0}
    if architecture == "gpt2":
        return t.GPT2Config(
            **common, n_embd=32, n_layer=2, n_head=4, n_positions=CONTEXT, initializer_range=0.3
        )
    shape = {
        **common,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT,
        "initializer_range": 0.3,
    }
    if architecture in RUNNING_STATE:
        return _running_state(architecture, shape)
    kinds = ["sliding_attention", "full_attention"]
    alternating = {"head_dim": 8, "sliding_window": WINDOW, "layer_types": kinds}
    make, more = {
        "llama": (t.LlamaConfig, {}),
        "qwen2": (t.Qwen2Config, {}),
        "qwen3": (t.Qwen3Config, {"head_dim": 8}),
        "gemma": (t.GemmaConfig, {"head_dim": 8}),
        "gemma2": (t.Gemma2Config, alternating),
        "gemma3": (t.Gemma3TextConfig, alternating),
        "mistral": (t.MistralConfig, {"sliding_window": WINDOW}),
        "phi3": (t.Phi3Config, {}),
    }[architecture]
    return make(**shape, **more)


def _running_state(architecture: str, shape: dict[str, Any]) -> Any:
    """A configuration with layers that carry a state, alone or beside attention."""
    import transformers as t

    if architecture == "mamba":
        without = ("intermediate_size", "num_attention_heads", "num_key_value_heads")
        return t.MambaConfig(**{k: v for k, v in shape.items() if k not in without}, state_size=8)
    if architecture == "lfm2":
        return t.Lfm2Config(**shape, layer_types=["conv", "full_attention"])
    if architecture == "recurrent_gemma":
        three = {**shape, "num_hidden_layers": 3}
        return t.RecurrentGemmaConfig(
            **three,
            attention_window_size=WINDOW,
            block_types=("recurrent", "recurrent", "attention"),
        )
    heads = dict.fromkeys(("linear_num_value_heads", "linear_num_key_heads"), 2)
    sizes = dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim"), 8)
    kinds = ["linear_attention", "full_attention"]
    return t.Qwen3_5TextConfig(**shape, head_dim=8, layer_types=kinds, **heads, **sizes)


@dataclass
class Tiny:
    """Folders of tiny models, made when asked for and kept."""

    root: Path
    made: dict[str, Path] = field(default_factory=dict)
    opened: dict[str, Any] = field(default_factory=dict)

    def base(self, architecture: str = "llama", *, seed: int = 0) -> Path:
        """The folder of a model."""
        name = f"{architecture}-{seed}"
        return self._once(name, lambda out: _save_model(out, architecture, seed))

    def adapter(self, architecture: str = "llama", *, seed: int = 1, dead: bool = False) -> Path:
        """The folder of a LoRA adapter of `base(architecture)`; a dead one has lora_B zero."""
        base = self.base(architecture)
        name = f"{architecture}-lora-{seed}{'-dead' if dead else ''}"
        return self._once(name, lambda out: _save_adapter(out, base, seed, dead=dead))

    def pair(self, architecture: str = "llama") -> dict[str, Any]:
        """Both arms of a base and its adapter, loaded once a session."""
        from tunegate.harness.models.open_arms import open_arms

        if architecture not in self.opened:
            specs = {"base": str(self.base(architecture)), "tuned": str(self.adapter(architecture))}
            self.opened[architecture] = open_arms(specs)
        return self.opened[architecture]

    def _once(self, name: str, make: Callable[[Path], None]) -> Path:
        if name not in self.made:
            make(self.root / name)
            self.made[name] = self.root / name
        return self.made[name]


@contextmanager
def muted() -> Iterator[None]:
    """Let PEFT and Transformers warn of each other: only our own code must be silent."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _save_model(out: Path, architecture: str, seed: int) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(make_config(architecture))
    model.generation_config.eos_token_id = [0, *LATER_STOPS]
    model.save_pretrained(out)
    make_tokenizer().save_pretrained(out)


def _save_adapter(out: Path, base: Path, seed: int, *, dead: bool) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(base)
    kind = {"fan_in_fan_out": True} if model.config.model_type == "gpt2" else {}
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", **kind)
    with muted():
        model = get_peft_model(model, config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name and not dead:
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(out)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Tiny models and adapters, and pairs of them opened by tunegate."""
    import torch

    torch.set_num_threads(1)
    return Tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Callable[..., Any]:
    """The function that makes the tiny models' tokenizer."""
    return make_tokenizer


@pytest.fixture(scope="session")
def ask() -> Callable[..., list[Any]]:
    """Make requests to an arm: one a case, of one kind, with the generation settings given."""
    from tunegate.harness.contracts.model import Prompt, Request
    from tunegate.harness.records.answers import Cell, CellKind
    from tunegate.harness.records.generation import GenerationSettings

    def make(
        arm: Any, cases: list[Any], kind: str = "generate", *, seed: int = 0, **generation: Any
    ) -> list[Request]:
        settings = GenerationSettings(**{"template": "none", **generation})
        return [
            Request(
                Cell(suite="suite", case=case.id, arm="", kind=CellKind(kind), key=case.id),
                case=case,
                prompt=arm.prompt(case, settings) if case.prompt else Prompt("", ()),
                generation=settings,
                seed=seed + i,
            )
            for i, case in enumerate(cases)
        ]

    return make


@pytest.fixture
def copied(tmp_path: Path) -> Callable[..., Path]:
    """Copy a model folder, with changes to one of its JSON files."""
    import shutil

    def copy(folder: Path, name: str = "copy", *, file: str = "config.json", **keys: Any) -> Path:
        out = tmp_path / name
        shutil.copytree(folder, out)
        if keys:
            value = json.loads((out / file).read_text(encoding="utf-8"))
            (out / file).write_text(json.dumps({**value, **keys}), encoding="utf-8")
        return out

    return copy


SUITE_CASES = 60
_WORDS = ("parcel", "late", "refund", "customer", "capital", "France", "Spain", "Madrid")


def write_suite(folder: Path, toml: str, tiny: Any, ask: Any) -> Path:
    """Write a suite whose right answers are those of the tiny adapter, six tokens each."""
    from tunegate.harness.engine.inference import local_engine
    from tunegate.harness.records.cases import Case

    cases = [
        Case(id=f"c{i}", prompt=f"{_WORDS[i % 8]} {_WORDS[i // 8]} the") for i in range(SUITE_CASES)
    ]
    with muted():
        tuned: Any = tiny.pair()["tuned"]
        answers = local_engine.complete_requests(tuned, ask(tuned, cases, max_new_tokens=6))
        right = {a.key: a.completion.text for a in answers if a.completion}
    rows = [{"id": c.id, "prompt": c.prompt, "expected": right[c.id]} for c in cases]
    folder.mkdir()
    (folder / "suite.toml").write_text(toml, encoding="utf-8")
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "cases.jsonl").write_text(lines, encoding="utf-8")
    return folder
