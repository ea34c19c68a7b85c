"""Records what verifiers writes into `traces.jsonl`, into `tests/results/recorded/verifiers/`.

    python tools/recordings/record_verifiers.py

Run it where verifiers is installed (0.4.0 wrote the files). The episodes are built of verifiers'
own records, as no model is asked; serialising and writing is verifiers'. Each task has two
episodes; in one of them a reward was not computed, one failed, one ran into its time limit.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from verifiers.v1.configs.agent import WireAgentConfig
from verifiers.v1.episode import EnvInfo, Episode
from verifiers.v1.graph import MessageNode
from verifiers.v1.task import TaskData, task_key
from verifiers.v1.trace import AgentInfo, Error, Reward, Trace, TraceTask
from verifiers.v1.types import AssistantMessage, UserMessage
from verifiers.v1.utils.trace_store import write_episode

RECORDED = Path(__file__).parents[2] / "tests/results/recorded/verifiers"
QUESTIONS = ["2 + 2?", "3 + 5?", "6 + 3?", "7 + 7?"]
RIGHT = ["4", "8", "9", "14"]
ANSWERS = {
    "base": [["4", "4"], ["9", "8"], ["9", "8"], ["14", "14"]],
    "tuned": [["4", "4"], ["8", "8"], ["9", "9"], ["14", "15"]],
}


def episode(model: str, place: int, sample: int, answer: str) -> Episode:
    """Return the episode of one question, with what went wrong in some of them."""
    data = TaskData(idx=place, prompt=QUESTIONS[place], system_prompt="Answer with a number.")
    wire = data.model_dump(exclude_none=True, mode="json")
    task = TraceTask(type="SumTask", data=data, key=task_key(wire), hash=task_key(wire))
    trace = Trace(
        task=task,
        agent=AgentInfo(config=WireAgentConfig(model=model)),
        nodes=[
            MessageNode(message=UserMessage(content=QUESTIONS[place])),
            MessageNode(parent=0, message=AssistantMessage(content=answer), sampled=True),
        ],
        rewards={
            "correct": Reward(score=float(answer == RIGHT[place])),
            "short": Reward(score=0.5, weight=0.2),
        },
        metrics={"characters": float(len(answer))},
        ok=True,
        is_completed=True,
        stop_condition="agent_completed",
    )
    whole = Episode(env=EnvInfo(id="sums"), task=task, traces=[trace], ok=True)
    if (place, sample) == (2, 1):
        trace.rewards["correct"] = None
    if (place, sample) == (3, 0) and model == "tuned":
        failure = Error(type="ModelError", message="429 Too Many Requests", status_code=429)
        trace.ok, trace.errors, trace.rewards = False, [failure], {}
        whole.ok = False
    if (place, sample) == (3, 1):
        whole.ok, whole.is_timeout, whole.traces = False, True, []
    return whole


def main() -> None:
    """Write one folder for each arm."""
    shutil.rmtree(RECORDED, ignore_errors=True)
    for model, answers in ANSWERS.items():
        (RECORDED / model).mkdir(parents=True)
        for place, several in enumerate(answers):
            for sample, answer in enumerate(several):
                write_episode(RECORDED / model, episode(model, place, sample, answer))


if __name__ == "__main__":
    main()
