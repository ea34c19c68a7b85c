"""The Berkeley Function Calling Leaderboard's own checker, asked line by line.

`benchmarks.bfcl_agreement` runs this file with the Python of an environment that has `bfcl-eval`;
it imports nothing of tunegate. The first line of the output holds the data set's entries; each line
of the input is a question, and is answered with one line. The leaderboard's table of models is
replaced: it imports the SDK of every vendor, and the checker reads one switch of it.
"""

from __future__ import annotations

import importlib
import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CATEGORIES = (
    "simple_python", "multiple", "parallel", "parallel_multiple", "irrelevance", "live_simple",
    "live_multiple", "live_parallel", "live_parallel_multiple", "live_irrelevance",
)  # fmt: skip
HANDLERS = {
    "phi": ("phi", "PhiHandler"),
    "xlam": ("salesforce_qwen", "SalesforceQwenHandler"),
    "hammer": ("hammer", "HammerHandler"),
    "qwen": ("qwen_fc", "QwenFCHandler"),
    "llama": ("llama_3_1", "LlamaHandler_3_1"),
    "falcon": ("falcon_fc", "Falcon3FCHandler"),
    "functiongemma": ("functiongemma", "FunctionGemmaHandler"),
    "glm": ("glm", "GLMHandler"),
}


class _ModelTable(dict[str, Any]):
    def __missing__(self, name: str) -> Any:
        return types.SimpleNamespace(underscore_to_dot=name == "underscores")


def main() -> None:
    """Write the entries, then answer questions until the input ends."""
    models: Any = types.ModuleType("bfcl_eval.constants.model_config")
    models.MODEL_CONFIG_MAPPING = _ModelTable()
    sys.modules[models.__name__] = models
    entries = {entry["id"]: entry for entry in _entries()}
    print(json.dumps(list(entries.values())), flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        answer = _verdict(entries[question["id"]], question)
        print(json.dumps(answer), flush=True)


def _entries() -> Iterator[dict[str, Any]]:
    folder = Path(importlib.import_module("bfcl_eval").__file__ or "").parent / "data"
    for category in CATEGORIES:
        name = f"BFCL_v4_{category}.json"
        answers = {}
        if (folder / "possible_answer" / name).exists():
            rows = (folder / "possible_answer" / name).read_text().splitlines()
            answers = {row["id"]: row["ground_truth"] for row in map(json.loads, rows)}
        for row in map(json.loads, (folder / name).read_text().splitlines()):
            yield {
                "id": row["id"],
                "category": category,
                "functions": row["function"],
                "answer": answers.get(row["id"]),
            }


def _verdict(entry: dict[str, Any], question: dict[str, Any]) -> dict[str, Any]:
    """Return whether the leaderboard calls an answer valid, and its type of error."""
    utils = importlib.import_module("bfcl_eval.utils")
    calls = question.get("calls")
    try:
        if calls is None:
            calls = _decode(question["decoder"], question["text"])
        decoded = True
    except Exception:  # as eval_runner.py: whatever a decoder raises is a failure to decode
        decoded = False
    if entry["answer"] is None:
        called = decoded and not utils.is_empty_output(calls)
        return {"valid": not called, "error": "irrelevance_error" if called else ""}
    if not decoded or not utils.is_function_calling_format_output(calls):
        return {"valid": False, "error": "decoder_failed"}
    checker = importlib.import_module("bfcl_eval.eval_checker.ast_eval.ast_checker")
    language = importlib.import_module("bfcl_eval.constants.enums").Language.PYTHON
    try:
        found = checker.ast_checker(
            entry["functions"], calls, entry["answer"], language, entry["category"], "any"
        )
    except Exception as error:  # the checker fails on some values, such as null in a list
        return {"valid": False, "error": f"checker raised {type(error).__name__}"}
    return {"valid": found["valid"], "error": found.get("error_type", "")}


def _decode(decoder: str, text: str) -> Any:
    """Return the calls that a handler of the leaderboard reads from a text."""
    utils = importlib.import_module("bfcl_eval.model_handler.utils")
    form = importlib.import_module("bfcl_eval.constants.enums").ReturnFormat
    if decoder == "prompting":
        return utils.default_decode_ast_prompting(text)
    if decoder in ("JSON", "VERBOSE_XML", "CONCISE_XML"):
        return utils.default_decode_ast_prompting(text, form[decoder])
    if decoder == "TOOLCALL":
        return utils.default_decode_ast_prompting(text, form.PYTHON, has_tool_call_tag=True)
    file, name = HANDLERS[decoder]
    module = importlib.import_module(f"bfcl_eval.model_handler.local_inference.{file}")
    handler = object.__new__(getattr(module, name))
    return handler.decode_ast(text, form.PYTHON, False)


if __name__ == "__main__":
    main()
