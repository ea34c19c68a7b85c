"""Records what tau2-bench writes for a run of each of two models, into
`tests/results/recorded/tau2/`.

    TAU2_DATA_DIR=tau2-bench/data PYTHONPATH=tau2-bench/src python tools/recordings/record_tau2.py

Run it on a checkout of tau2-bench (1.0.1 wrote the files). Domain, agent, simulated user and
grading are its own; completions are looked up. Four tasks run twice. The API refuses a call of the
third task in its second trial; in the fourth the simulated user breaks the protocol.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parents[2] / "tests/results/recorded/tau2"
TASKS = ("create_task_1", "update_task_1", "impossible_task_1",
         "update_task_with_initialization_actions")  # fmt: skip
CALLS: dict[tuple[str, str], tuple[str, dict[str, str]]] = {
    ("create", "base"): ("create_task", {"user_id": "user_1", "title": "Meeting"}),
    ("create", "tuned"): ("create_task", {"user_id": "user_1", "title": "Important Meeting"}),
    ("update", "base"): ("update_task_status", {"task_id": "task_1", "status": "completed"}),
    ("update", "tuned"): ("update_task_status", {"task_id": "task_1", "status": "completed"}),
}
WISHES = {"create a task": "create", "delete all": "delete", "Continue the conversation": "go on"}


class Models:
    """Completions of agent and user, looked up by what was said before."""

    def __init__(self) -> None:
        """Count how often the agent was asked to delete."""
        self.deletions = 0

    def answer(self, *, model: str, messages: list[dict[str, Any]], **_: Any) -> Any:
        """Return what litellm would."""
        said = [str(turn.get("content") or "") for turn in messages]
        if model == "user":
            text = self._user(said)
            return self._reply(text, ("no_tool", {}) if text == "go on" else None)
        if messages[-1]["role"] == "tool":
            return self._reply("That is done.", None)
        return self._reply(*self._act(model, said[-1]))

    def _user(self, said: list[str]) -> str:
        if len(said) > 2:
            return "###STOP###"
        return next((short for text, short in WISHES.items() if text in said[0]), "update")

    def _act(self, model: str, wish: str) -> tuple[str | None, Any]:
        if wish == "delete":
            self.deletions += 1
            if self.deletions % 2 == 0:
                raise ConnectionError("503 Service Unavailable")
            return "I cannot delete tasks.", None
        return None, CALLS[wish, model]

    def _reply(self, text: str | None, call: tuple[str, dict[str, str]] | None) -> Any:
        from litellm import ModelResponse

        message: dict[str, Any] = {"role": "assistant", "content": text}
        if call:
            function = {"name": call[0], "arguments": json.dumps(call[1])}
            message["tool_calls"] = [{"id": "call_1", "type": "function", "function": function}]
        usage = {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107}
        return ModelResponse(
            model="offline", usage=usage, choices=[{"message": message, "finish_reason": "stop"}]
        )


def main() -> None:
    """Run each model, one of them also in the form of a folder."""
    import tau2.utils.llm_utils
    from tau2.data_model.simulation import Results, TextRunConfig
    from tau2.runner import get_tasks, run_tasks

    shutil.rmtree(RECORDED, ignore_errors=True)
    for model in ("base", "tuned"):
        models = Models()
        tau2.utils.llm_utils.completion = models.answer
        config = TextRunConfig(
            domain="mock", agent="llm_agent", llm_agent=model, llm_args_agent={"temperature": 0.0},
            user="user_simulator", llm_user="user", llm_args_user={"temperature": 0.0},
            enforce_communication_protocol=True, num_trials=2, max_steps=12, max_concurrency=1,
            max_retries=0, retry_delay=0.0, seed=300,
        )  # fmt: skip
        place = RECORDED / model / "results.json"
        run_tasks(config, get_tasks("mock", task_ids=list(TASKS)), save_path=place,
                  console_display=False)  # fmt: skip
        found = Results.load(place)
        for simulation in found.simulations:
            (simulation.info or {}).pop("error_traceback", None)
        (RECORDED / f"{model}.json").write_text(found.model_dump_json(indent=1) + "\n")
        shutil.rmtree(RECORDED / model)
        if model == "base":
            (RECORDED / "base_folder").mkdir()
            found.save(RECORDED / "base_folder", format="dir")


if __name__ == "__main__":
    main()
