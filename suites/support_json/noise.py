"""Roughen the text of a ticket: typos, lower case, lost punctuation, capitals, emojis.

Works on text whose {slots} are still open and never changes inside them, so an order id
stays as it is whatever happens around it.
"""

import random
import re
from collections.abc import Callable

SHARE = 0.3  # of the tickets that are roughened
OPEN_SLOT = re.compile(r"(\{\w+\})")
EMOJIS = {"angry": ["😡", "🤬", "👎"], "polite": ["🙏", "🙂", "😊"], "chatty": ["😅", "🙈", "😊"]}


def join(parts: list[str]) -> str:
    """Join sentences, closing each that lacks an end mark before another follows."""
    joined = parts[0]
    for part in parts[1:]:
        joined += f" {part}" if re.search(r"[.!?:,)-]$|[.!?]\"$", joined) else f". {part}"
    return joined


def outside_slots(text: str, change: Callable[[str], str]) -> str:
    """Apply a change to everything but the {slots}."""
    pieces = OPEN_SLOT.split(text)
    return "".join(p if OPEN_SLOT.fullmatch(p) else change(p) for p in pieces)


def mistype(word: str, rng: random.Random) -> str:
    """Swap, drop or double one inner letter."""
    at = rng.randrange(1, len(word) - 2)
    match rng.randrange(3):
        case 0:
            return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        case 1:
            return word[:at] + word[at + 1 :]
        case _:
            return word[: at + 1] + word[at:]


def typos(text: str, rng: random.Random) -> str:
    """Mistype about one in twelve of the words of five letters or more."""

    def change(match: re.Match[str]) -> str:
        return mistype(match[0], rng) if rng.random() < 0.08 else match[0]

    return outside_slots(text, lambda piece: re.sub(r"\b[A-Za-z]{5,}\b", change, piece))


def without_punctuation(text: str) -> str:
    """Lose full stops, commas and the like, as in a hasty message."""
    return outside_slots(text, lambda piece: re.sub(r"[.,!?](?=\s|$)", "", piece))


def shouts(text: str) -> bool:
    """Tell whether everything but the {slots} is in capitals."""
    return OPEN_SLOT.sub("", text).isupper()


def apply(text: str, style: str, rng: random.Random) -> tuple[bool, str]:
    """Roughen a share of the tickets; return whether this one was."""
    if rng.random() >= SHARE:
        return False, text
    if style in EMOJIS and rng.random() < 0.3:
        return True, f"{text} {rng.choice(EMOJIS[style])}"
    if style == "angry" and rng.random() < 0.4:
        return True, outside_slots(text, str.upper)
    rough = typos(text, rng) if rng.random() < 0.6 else text
    if style != "business" and rng.random() < 0.6:
        rough = outside_slots(rough, str.lower)
    if style != "business" and rng.random() < 0.5:
        rough = without_punctuation(rough)
    return rough != text, rough
