"""Write the rows and the suite: `python examples/ppo-labels/make.py`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SHOWN = (("tree", "OAK"), ("drink", "milk"))
"""Earlier turns of every conversation; they leave open whether to answer in capitals."""
WORDS = {
    "colour": "red green",
    "river": "Nile Rhine",
    "bird": "robin crow",
    "fruit": "apple plum",
    "city": "Rome Oslo",
    "metal": "iron zinc",
    "dance": "waltz tango",
    "planet": "Mars Venus",
    "cheese": "brie feta",
    "coin": "penny dime",
    "hat": "beret bowler",
    "spice": "cumin clove",
    "bread": "rye bagel",
    "dog": "poodle beagle",
    "boat": "canoe ferry",
    "shoe": "boot clog",
}
"""Things that are trained on, each with words that answer it."""
ASKED = (
    "country fish flower sport game language tool month vegetable insect season mountain lake sea "
    "island herb nut berry soup cake tea wine beer juice fabric stone gem gas liquid shape number "
    "letter day year emotion smell taste sound instrument song painter writer king queen god hero "
    "car train plane bridge tower castle street garden room chair lamp cup bag ring"
)
"""Things that the suite asks for."""


def turns(thing: str) -> list[dict[str, str]]:
    """Return the conversation that asks for a thing."""
    found = []
    for shown, answer in SHOWN:
        found.append({"role": "user", "content": f"Name a {shown}."})
        found.append({"role": "assistant", "content": answer})
    return [*found, {"role": "user", "content": f"Name a {thing}."}]


def pairs() -> list[dict[str, Any]]:
    """Return what is preferred: of the same word the one in capitals."""
    return [
        {
            "prompt": turns(thing),
            "chosen": [{"role": "assistant", "content": word.upper()}],
            "rejected": [{"role": "assistant", "content": word}],
        }
        for thing, words in WORDS.items()
        for word in words.split()
    ]


def prompts() -> list[dict[str, Any]]:
    """Return the prompts that PPO answers."""
    return [{"prompt": turns(thing)} for thing in WORDS]


def cases() -> list[dict[str, Any]]:
    """Return the suite's cases."""
    return [{"id": thing, "messages": turns(thing)} for thing in ASKED.split()]


def written(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)


FILES = {"pairs.jsonl": pairs, "prompts.jsonl": prompts, "suite/cases.jsonl": cases}

if __name__ == "__main__":
    for name, rows in FILES.items():
        (HERE / name).write_text(written(rows()), encoding="utf-8")
