"""Future AGI's ai-evaluation as a judge of tunegate: `command:` and a Python of its own.

Its dependencies clash with ours, so it lives in an environment of its own:

    python -m venv fi && fi/bin/pip install ai-evaluation
    tunegate gate suites/answers --tuned … \
        --judge "command:fi/bin/python examples/judges/ai_evaluation.py faithfulness --model gpt-4o"

The first argument is what to evaluate: a name of `fi.evals.evaluate` (asked with `augment=True`,
without which a model is refused), or `custom`, a `CustomLLMJudge` whose grading criteria are the
`criteria` of the suite's rubric.

An outage that it reports as a finished evaluation with score 0.0, the cause only in `reason`, is an
error here. So is a score that is missing, and an empty answer is an abstention, not faithful.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import sys
from collections.abc import Mapping
from typing import Any

OUTAGES = (
    "LLM provider failed",
    "Failed to parse",
    "Input validation failed",
    "Error",
    "Exception",
)
"""How a `reason` begins where the evaluation did not happen."""


def main() -> None:
    """Answer each line of standard input."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name", help="faithfulness, factual_consistency … or custom")
    parser.add_argument("--model", help="litellm name of the judge model; none runs it locally")
    args = parser.parse_args()
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            with contextlib.redirect_stdout(sys.stderr):  # standard output is for answers alone
                said = judged(asked, args.name, args.model)
        except Exception as error:
            said = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps({"key": asked["key"], **said}) + "\n")
        sys.stdout.flush()


def judged(asked: Mapping[str, Any], name: str, model: str | None) -> dict[str, Any]:
    """Return value and reason, or why it was not judged."""
    text, case = asked["completion"] or "", asked["case"]
    if not text.strip():
        return {"abstained": "the answer is empty"}
    if name == "custom":
        return custom(text, case, asked["options"], model)
    from fi.evals import evaluate

    settings = {"augment": True, "model": model} if model else {}
    inputs = {"output": text, "context": case.get("context", ""), "input": prompt_of(case)}
    result = evaluate(name, **inputs, **settings)
    if result.status != "completed":
        return {"error": f"{result.status}: {result.error or result.reason}"}
    return outcome(result.score, result.reason)


def custom(
    text: str, case: Mapping[str, Any], options: Mapping[str, Any], model: str | None
) -> dict[str, Any]:
    """Ask a `CustomLLMJudge` with the rubric's criteria."""
    from fi.evals.llm import LiteLLMProvider
    from fi.evals.metrics import CustomLLMJudge

    config = {"name": "rubric", "grading_criteria": options["criteria"], "model": model}
    judge = CustomLLMJudge(provider=LiteLLMProvider(), config=config)
    found = judge.evaluate([{"prompt": prompt_of(case), "response": text}]).eval_results[0]
    return outcome(found.output, found.reason)


def outcome(score: Any, reason: str | None) -> dict[str, Any]:
    """Return a score as a value, unless it is an outage in disguise."""
    said = reason or ""
    if said.startswith(OUTAGES):
        return {"error": said}
    if not isinstance(score, (int, float)) or not math.isfinite(score):
        return {"error": f"no score ({score!r}): {said}"}
    return {"value": float(score), "reason": said}


def prompt_of(case: Mapping[str, Any]) -> str:
    """Return what was asked."""
    return case.get("prompt") or str(case["messages"][-1].get("content", ""))


if __name__ == "__main__":
    main()
