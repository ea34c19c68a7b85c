"""Records what BFCL writes into `result/` and `score/`, into `tests/results/recorded/bfcl/`.

    python tools/recordings/record_bfcl.py

Run it where bfcl-eval is installed (2026.3.23 wrote the files); the clients of its model handlers
are not needed. Questions, checker and files are BFCL's. Answers are made of its possible answers:
some right, some wrong, one that BFCL wrote for a call that raised.
"""

from __future__ import annotations

import json
import shutil
import sys
import types
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parents[2] / "tests/results/recorded/bfcl"
MODELS = {"base-prompt": {1, 3}, "tuned-prompt": {3}}
"""Model → places of the answers that are wrong."""
FAILED = 4
"""Place of the question whose call raised."""
COUNT = 6


def call(answer: dict[str, dict[str, list[Any]]], *, wrong: bool) -> str:
    """Return a possible answer as the call that a model writes."""
    ((name, arguments),) = answer.items()
    given = ", ".join(f"{key}={values[0]!r}" for key, values in arguments.items() if values[0])
    return f"[{name}_other({given})]" if wrong else f"[{name}({given})]"


def main() -> None:
    """Write results, and let BFCL's runners score them."""
    stand_in: Any = types.ModuleType("bfcl_eval.constants.model_config")
    plain = types.SimpleNamespace(underscore_to_dot=False)
    stand_in.MODEL_CONFIG_MAPPING = dict.fromkeys(MODELS, plain)
    sys.modules[stand_in.__name__] = stand_in
    from bfcl_eval.eval_checker import eval_runner
    from bfcl_eval.model_handler.utils import default_decode_ast_prompting
    from bfcl_eval.utils import (
        get_directory_structure_by_category,
        load_dataset_entry,
        load_ground_truth_entry,
        write_list_of_dicts_to_file,
    )

    class Handler:
        def decode_ast(self, result: str, language: Any, has_tool_call_tag: bool = False) -> Any:
            return default_decode_ast_prompting(result, language, has_tool_call_tag)

    shutil.rmtree(RECORDED, ignore_errors=True)
    simple = load_dataset_entry("simple_python")[:COUNT]
    answers = load_ground_truth_entry("simple_python")[:COUNT]
    off_topic = load_dataset_entry("irrelevance")[:COUNT]
    for model, wrong in MODELS.items():
        numbers = {"input_token_count": 200, "output_token_count": 20, "latency": 0.5}
        calls = [
            call(right["ground_truth"][0], wrong=place in wrong)
            for place, right in enumerate(answers)
        ]
        calls[FAILED] = "Error during inference: Error code: 429 - rate limited"
        results = [
            {"id": entry["id"], "result": text, **numbers}
            for entry, text in zip(simple, calls, strict=True)
        ]
        refusals = [
            {"id": entry["id"], "result": "[f(x=1)]" if place in wrong else "I cannot.", **numbers}
            for place, entry in enumerate(off_topic)
        ]
        score = RECORDED / "score"
        for category, found in {"simple_python": results, "irrelevance": refusals}.items():
            folder = RECORDED / "result" / model / get_directory_structure_by_category(category)
            write_list_of_dicts_to_file(f"BFCL_v4_{category}_result.json", found, folder)
        prompts = [json.loads(json.dumps(entry)) for entry in simple]
        eval_runner.ast_file_runner(
            Handler(), results, prompts, answers, "simple_python", model, score
        )
        eval_runner.relevance_file_runner(
            Handler(), refusals, off_topic, model, "irrelevance", score
        )
    for lock in RECORDED.rglob("*.lock"):
        lock.unlink()


if __name__ == "__main__":
    main()
