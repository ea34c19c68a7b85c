"""Write prompts.jsonl and house/cases.jsonl: requests to a house, and the tool call each asks for.

Prompts to train on and cases that gate share no sentence and no room. The same seed gives the
same bytes:

    python examples/grpo-tool-calls/make.py
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SEED = 8
PROMPTS, CASES = 144, 120

SYSTEM = "You control a house. Answer with one call as JSON."
SHOWN = [
    ("Turn the light in the cellar off.", "set_light", {"room": "cellar", "state": "off"}),
    ("Make it 17 degrees in the garage.", "set_heating", {"room": "garage", "degrees": 17}),
    ("Blinds up in the attic.", "set_blinds", {"room": "attic", "state": "up"}),
]
"""Requests that every prompt shows with their calls: one of each tool."""

ROOMS = {
    "train": ["kitchen", "bathroom", "bedroom", "office", "hall", "library", "study", "lobby"],
    "gate": ["nursery", "workshop", "pantry", "laundry", "porch", "gallery", "salon", "sauna"],
}
DEGREES = {"train": [16, 18, 19, 21, 22, 24], "gate": [15, 20, 23, 25]}
SENTENCES: dict[str, dict[str, list[str]]] = {
    "train": {
        "set_light": [
            "Please switch the {room} light {state}.",
            "Lights {state} in the {room}.",
            "Can you turn {state} the light in the {room}?",
            "I want the light in the {room} {state}.",
            "{room} light {state}, please",
            "Make sure that the light in the {room} is {state}.",
        ],
        "set_heating": [
            "Heat the {room} to {degrees} degrees.",
            "The {room} should be {degrees} degrees warm.",
            "Please set the {room} to {degrees} degrees.",
            "{degrees} degrees in the {room}, please.",
            "Can you warm the {room} to {degrees} degrees?",
            "I want the {room} at {degrees} degrees.",
        ],
        "set_blinds": [
            "Please move the blinds {state} in the {room}.",
            "Can you put the {room} blinds {state}?",
            "I want the blinds {state} in the {room}.",
            "The blinds in the {room} should go {state}.",
            "{room} blinds {state}, please",
            "Make sure that the blinds in the {room} are {state}.",
        ],
    },
    "gate": {
        "set_light": [
            "Switch {state} the light in the {room} for me.",
            "Would you turn the {room} light {state} now?",
            "The light in the {room} has to be {state}.",
            "It is time to turn the lights {state} in the {room}.",
            "Light {state} in the {room} at once!",
            "We need the {room} light {state} tonight.",
            "Could the light in the {room} be {state}?",
            "Set the {room} light to {state}.",
            "Somebody should turn {state} the light in the {room}.",
            "Do me a favour: {room} light {state}.",
        ],
        "set_heating": [
            "I would like {degrees} degrees in the {room}.",
            "Bring the {room} to {degrees} degrees.",
            "Keep the {room} heated at {degrees} degrees.",
            "The guests like {degrees} degrees in the {room}.",
            "Could the {room} have {degrees} degrees?",
            "Raise the heating in the {room} to {degrees}.",
            "It is cold; give the {room} {degrees} degrees.",
            "Heating in the {room}: {degrees} degrees.",
            "We need {degrees} degrees of heat in the {room} tonight.",
            "Do me a favour: {degrees} degrees for the {room}.",
        ],
        "set_blinds": [
            "Get the blinds {state} in the {room} for me.",
            "Would you move the {room} blinds {state} now?",
            "The {room} blinds have to be {state}.",
            "It is time to put the blinds {state} in the {room}.",
            "Blinds {state} in the {room} at once!",
            "We need the {room} blinds {state} tonight.",
            "Could the blinds in the {room} go {state}?",
            "Let the {room} blinds {state}.",
            "Somebody should put the blinds {state} in the {room}.",
            "Do me a favour: {room} blinds {state}.",
        ],
    },
}
STATES = {"set_light": ["on", "off"], "set_blinds": ["up", "down"]}


def call(name: str, arguments: dict[str, Any]) -> str:
    """Return a call as the house reads it."""
    return json.dumps({"name": name, "arguments": arguments})


def messages(request: str) -> list[dict[str, str]]:
    """Return the conversation: what is asked for, three examples, the request."""
    turns = [{"role": "system", "content": SYSTEM}]
    for shown, name, arguments in SHOWN:
        turns.append({"role": "user", "content": shown})
        turns.append({"role": "assistant", "content": call(name, arguments)})
    return [*turns, {"role": "user", "content": request}]


def requests(split: str) -> Iterator[dict[str, Any]]:
    """Yield every sentence with every room and value, and what is right."""
    for name, sentences in SENTENCES[split].items():
        key = "state" if name in STATES else "degrees"
        for sentence in sentences:
            for room in ROOMS[split]:
                for value in STATES.get(name, DEGREES[split]):
                    arguments = {"room": room, key: value}
                    yield {
                        "messages": messages(sentence.format(**arguments)),
                        "expected": call(name, arguments),
                        "expected_calls": [
                            {"name": name, "arguments": {k: [v] for k, v in arguments.items()}}
                        ],
                        "tags": [name],
                        "cluster": f"{name}: {sentence}",
                    }


def drawn(split: str, count: int) -> list[dict[str, Any]]:
    """Return `count` requests, the tools in equal shares, in an order that the seed decides."""
    rng = random.Random(f"{SEED} {split}")
    by_tool: dict[str, list[dict[str, Any]]] = {}
    for row in requests(split):
        by_tool.setdefault(row["tags"][0], []).append(row)
    rows = [row for all_of in by_tool.values() for row in rng.sample(all_of, count // 3)]
    rng.shuffle(rows)
    return rows


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def main() -> None:
    """Write both files."""
    prompts = [{"prompt": row.pop("messages"), **row} for row in drawn("train", PROMPTS)]
    write(HERE / "prompts.jsonl", prompts)
    cases = drawn("gate", CASES)
    write(
        HERE / "house" / "cases.jsonl", [{"id": f"house-{i:02}", **c} for i, c in enumerate(cases)]
    )


if __name__ == "__main__":
    main()
