"""Rerankers and embedders as arms: their scores, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.tiny_classifiers import drop_tensors, edit_json, save_pair_classifier
from tests.tiny_models import make_tokenizer
from tunegate.harness.checks.comparability import refuse_other_cuts
from tunegate.harness.checks.liveness import check_liveness
from tunegate.harness.contracts.environment import has_feature
from tunegate.harness.contracts.model import RankingArm, Request
from tunegate.harness.models._ranking_model import ranking_text
from tunegate.harness.models.embedder import embedder
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.models.replay import replay
from tunegate.harness.models.reranker import reranker
from tunegate.harness.records.answers import Cell, CellKind, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import ModelError, NotComparable, UnsafeWeights, UsageError
from tunegate.harness.records.generation import GenerationSettings

Copy = Callable[..., Path]
needs_library = pytest.mark.skipif(not has_feature("rank"), reason="needs tunegate[rank]")
TEXTS = ("the parcel is late", "a refund", "the capital of Spain", "late")
CASE = Case(id="q", prompt="where is it?", positive=TEXTS[:1], negative=TEXTS[1:])
ONE = GenerationSettings()


@pytest.fixture(name="pair", scope="module")
def _pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cross-encoder as Transformers saves it."""
    folder = tmp_path_factory.mktemp("pair") / "model"
    save_pair_classifier(folder, {0: "LABEL_0"})
    (folder / "chat_template.jinja").unlink()  # sentence-transformers would render it
    return folder


@pytest.fixture(name="static", scope="module")
def _static(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An embedder with prefixes."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("static") / "model"
    prompts = {"query": "late ", "document": "refund "}
    model = SentenceTransformer(
        modules=[StaticEmbedding(make_tokenizer(), embedding_dim=8)], device="cpu", prompts=prompts
    )
    model.save_pretrained(str(folder))
    return folder


def answer(arm: Any, case: Case = CASE) -> StoredAnswer:
    cell = Cell(suite="s", case=case.id, arm="tuned", kind=CellKind.GENERATE, key="k")
    [found] = arm.complete([Request(cell, case, arm.prompt(case, ONE), ONE, 0)])
    return found  # type: ignore[no-any-return]


def scores(arm: Any) -> Sequence[float]:
    completion = answer(arm).completion
    assert completion is not None
    found = completion.candidate_scores or ()
    assert completion.text == ranking_text(["p1", "n1", "n2", "n3"], found)
    return found


@needs_library
def test_a_rerankers_scores_are_those_of_transformers(pair: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model: Any = AutoModelForSequenceClassification.from_pretrained(pair).eval()
    tokenizer = AutoTokenizer.from_pretrained(pair)
    with torch.inference_mode():
        wanted = [
            float(model(**tokenizer(CASE.prompt, text, return_tensors="pt")).logits.sigmoid())
            for text in TEXTS
        ]
    arm = reranker(str(pair))

    assert scores(arm) == pytest.approx(wanted, abs=1e-6)
    assert isinstance(arm, RankingArm)
    assert arm.identity["dtype"] == "float32"


@needs_library
def test_an_embedder_uses_its_own_prefixes_and_similarity(static: Path) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(static), device="cpu")
    asked = model.encode([f"late {CASE.prompt}"])
    read = model.encode([f"refund {text}" for text in TEXTS])
    arm = embedder(str(static))

    assert scores(arm) == pytest.approx(model.similarity(asked, read)[0].tolist(), abs=1e-6)
    assert arm.identity["prefixes"] == {"query": "late ", "document": "refund "}


@needs_library
def test_a_moved_folder_is_the_same_arm_and_another_prefix_is_not(
    static: Path, copied: Copy
) -> None:
    moved, other = copied(static), copied(static, "other")
    edit_json(other / "config_sentence_transformers.json", prompts={})

    assert embedder(str(moved)).fingerprint == embedder(str(static)).fingerprint
    assert embedder(str(other)).fingerprint != embedder(str(static)).fingerprint


@needs_library
def test_a_reranker_and_an_embedder_are_compared(pair: Path, static: Path) -> None:
    arms = open_arms({"base": f"embedder:{static}", "tuned": f"reranker:{pair}"})

    assert arms["base"].prompt(CASE, ONE).equals(arms["tuned"].prompt(CASE, ONE))


@needs_library
def test_the_number_format_is_the_one_asked_for(pair: Path) -> None:
    arms = open_arms({"base": f"reranker:{pair}", "tuned": f"reranker:{pair}"}, dtype="bfloat16")

    assert arms["tuned"].identity["dtype"] == "bfloat16"
    assert scores(arms["tuned"]) == pytest.approx(scores(reranker(str(pair))), abs=0.01)


@needs_library
def test_a_lost_head_is_refused(pair: Path, copied: Copy) -> None:
    lost = copied(pair)
    drop_tensors(lost, "classifier.")

    with pytest.raises(ModelError, match=r"its head is lost: classifier\.weight is missing"):
        reranker(str(lost))


@needs_library
def test_several_scores_are_no_ranking(tmp_path: Path) -> None:
    save_pair_classifier(tmp_path / "m", {0: "no", 1: "yes"})

    with pytest.raises(ModelError, match="its head has 2 outputs"):
        reranker(str(tmp_path / "m"))


@needs_library
def test_the_other_class_is_named(static: Path) -> None:
    with pytest.raises(ModelError, match=rf"saved as a SentenceTransformer.*embedder:{static}"):
        reranker(str(static))


@needs_library
def test_code_in_the_folder_is_not_run(static: Path, copied: Copy) -> None:
    hostile = copied(static)
    (hostile / "evil.py").write_text("raise SystemExit('run')\n", encoding="utf-8")
    modules = [{"idx": 0, "name": "0", "path": "", "type": "evil.Module"}]
    (hostile / "modules.json").write_text(json.dumps(modules), encoding="utf-8")

    with pytest.raises(ModelError, match=r"references the module class 'evil\.Module'"):
        embedder(str(hostile))


@needs_library
def test_a_pickle_in_a_modules_folder_is_refused(static: Path, copied: Copy) -> None:
    hostile = copied(static)
    (hostile / "1_Dense").mkdir()
    (hostile / "1_Dense" / "pytorch_model.bin").write_bytes(b"x")

    with pytest.raises(UnsafeWeights, match="only there as a pickle"):
        embedder(str(hostile))


@needs_library
def test_a_score_that_is_no_number_leaves_the_case_unscored(pair: Path) -> None:
    arm: Any = reranker(str(pair))
    object.__setattr__(arm, "scorer", lambda *_: [0.1, float("nan"), 0.2, 0.3])

    assert answer(arm).error == "a candidate's score is NaN"


@needs_library
@pytest.mark.parametrize(
    ("case", "settings", "message"),
    [
        ({"messages": [{"role": "user", "content": "hi"}]}, {}, "takes no messages"),
        ({"prompt": "hi"}, {}, "write `positive` and `negative`"),
        ({"prompt": "hi", "positive": ["a"]}, {"system": "Be kind."}, "takes no system prompt"),
    ],
)
def test_cases_without_candidates_are_refused(
    pair: Path, case: Any, settings: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        reranker(str(pair)).prompt(Case(id="a", **case), GenerationSettings(**settings))


@needs_library
def test_adapters_are_to_be_merged(pair: Path, copied: Copy) -> None:
    adapter = copied(pair)
    (adapter / "adapter_config.json").write_text("{}", encoding="utf-8")

    with pytest.raises(ModelError, match="is an adapter; merge it into its base"):
        reranker(str(adapter))


@needs_library
def test_a_folder_without_its_prefix_is_refused_with_it(static: Path, tiny: Any) -> None:
    with pytest.raises(ModelError, match=rf"writes no text; name it embedder:{static}"):
        open_arms({"base": str(tiny.base()), "tuned": str(static)})


def test_the_library_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)

    with pytest.raises(UsageError, match=r"needs sentence-transformers>=6, .*tunegate\[rank\]"):
        embedder(str(tmp_path))


def test_scores_of_any_other_ranker_are_recorded_answers(tmp_path: Path) -> None:
    line = {"id": "q", "completion": "p1 > n1", "candidate_scores": [0.9, 0.1]}
    (tmp_path / "a.jsonl").write_text(json.dumps(line), encoding="utf-8")
    found = answer(replay(str(tmp_path / "a.jsonl"))).completion

    assert found is not None
    assert found.candidate_scores == (0.9, 0.1)


def test_a_ranking_shows_ties() -> None:
    assert ranking_text(["p1", "n1", "n2"], [0.2, 0.7, 0.2]) == "n1 > p1 = n2"


@pytest.fixture(name="bert", scope="module")
def _bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An embedder of two BERT layers."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel

    torch.manual_seed(2)
    out = tmp_path_factory.mktemp("bert")
    tokenizer = make_tokenizer(template=None)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=64,
    )  # fmt: skip
    BertModel(config).save_pretrained(out / "body")
    tokenizer.save_pretrained(out / "body")
    body = Transformer(str(out / "body"), max_seq_length=32)
    SentenceTransformer(modules=[body, Pooling(16)], device="cpu").save_pretrained(
        str(out / "model")
    )
    return out / "model"


def trained(folder: Path) -> Path:
    """Change the weights a little."""
    from safetensors.torch import load_file, save_file

    tensors = {
        name: tensor * 1.1 for name, tensor in load_file(folder / "model.safetensors").items()
    }
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


@needs_library
def test_an_embedder_with_fewer_layers_than_its_weights_is_refused(
    bert: Path, copied: Copy
) -> None:
    assert embedder(str(bert)).configuration.num_hidden_layers == 2
    with pytest.raises(ModelError, match=r"tensor encoder\.layer\.1\..* does not use it"):
        embedder(str(copied(bert, num_hidden_layers=1)))


@needs_library
def test_base_is_compared_with_its_fine_tune_by_settings_too(bert: Path, copied: Copy) -> None:
    tuned = trained(copied(bert, "tuned"))
    for name, told in (("hidden_act", "hidden_act"), ("layer_norm_eps", "layer_norm_eps")):
        other = copied(bert, name, **{name: "relu" if name == "hidden_act" else 0.5})
        arms = open_arms({"base": f"embedder:{other}", "tuned": f"embedder:{tuned}"})
        with pytest.raises(NotComparable, match=told):
            check_liveness(arms)
    arms = open_arms({"base": f"embedder:{bert}", "tuned": f"embedder:{tuned}"})
    assert check_liveness(arms)["tuned"]["status"] == "proven"


@needs_library
def test_equal_weights_are_never_two_arms(bert: Path, copied: Copy) -> None:
    other = copied(bert, "prefixed")
    edit_json(other / "config_sentence_transformers.json", prompts={"query": "late "})
    arms = open_arms({"base": f"embedder:{other}", "tuned": f"embedder:{bert}"})

    with pytest.raises(NotComparable, match="identical weights and differ in their settings alone"):
        check_liveness(arms)


@needs_library
def test_models_of_one_size_cut_texts_alike(bert: Path, static: Path, copied: Copy) -> None:
    tuned, short = trained(copied(bert, "tuned")), copied(bert, "short")
    edit_json(short / "sentence_bert_config.json", max_seq_length=2)
    suite: Any = SimpleNamespace(name="s", cases=[CASE])

    def refuse(base: Path) -> None:
        arms = open_arms({"base": f"embedder:{base}", "tuned": f"embedder:{tuned}"})
        refuse_other_cuts([suite], arms)

    refuse(bert)
    refuse(static)  # of another kind
    with pytest.raises(NotComparable, match="max_length is 2 in base and 32 in tuned"):
        refuse(short)
