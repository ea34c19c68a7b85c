"""Do the arms see the same prompts? Proven token by token where the arms tokenise here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.errors import NotComparable
from harness.model import Arm, Prompt


def check(
    prompts: Mapping[tuple[str, str, str], Prompt], arms: Mapping[str, Arm]
) -> dict[str, Any]:
    """Return what was proven about the prompts of base and every other arm.

    Args:
        prompts: (suite, case, arm) → prompt as the arm sees it.
        arms: The opened arms, base among them.

    Raises:
        NotComparable: a prompt differs; the message names the first one and what differs.
    """
    replayed = [n for n, arm in arms.items() if arm.identity.get("backend") == "replay"]
    # What a recorded arm was really sent is not known here: only recordings compare with another.
    recorded_base = "base" in replayed
    others = [n for n in arms if n != "base" and (n in replayed) == recorded_base]
    compared = 0
    for (suite, case, arm), prompt in prompts.items():
        if arm != "base":
            continue
        for other in others:
            theirs = prompts.get((suite, case, other))
            if theirs is not None:
                compared += 1
                if not _same(prompt, theirs):
                    raise NotComparable(_difference(suite, case, other, prompt, theirs, arms))
    tokens = all(p.token_ids is not None for p in prompts.values())
    if replayed:
        return {
            "status": "declared",
            "prompts": len({key[:2] for key in prompts}),
            "note": f"{' and '.join(replayed)} recorded elsewhere: the prompts are taken on trust",
        }
    return {
        "status": "proven",
        "prompts": len({key[:2] for key in prompts}),
        "compared": compared,
        "by": "token ids" if tokens else "text",
        "template_sha256": arms["base"].identity.get("template_sha256"),
    }


def _same(base: Prompt, other: Prompt) -> bool:
    """Return whether prompts are equal: as token ids where both arms know them, else as text."""
    if base.token_ids is None or other.token_ids is None:
        return base.text == other.text
    return base.token_ids == other.token_ids


def _difference(
    suite: str, case: str, arm: str, base: Prompt, other: Prompt, arms: Mapping[str, Arm]
) -> str:
    """Return which prompt differs first and, if the template is to blame, that it is."""
    templates = {n: arms[n].identity.get("template_sha256") for n in ("base", arm)}
    cause = "the chat templates differ" if len(set(templates.values())) > 1 else _cause(base, other)
    at = _first_difference(base.text, other.text)
    return (
        f"{suite}, case {case!r}: base and {arm} get different prompts ({cause}); base has "
        f"{_excerpt(base.text, at)} where {arm} has {_excerpt(other.text, at)}; "
        "give both arms the same tokenizer and chat template"
    )


def _cause(base: Prompt, other: Prompt) -> str:
    if base.text == other.text:
        return "the tokenizers split the same text differently"
    return "the rendered texts differ"


def _first_difference(base: str, other: str) -> int:
    pairs = enumerate(zip(base, other, strict=False))
    return next((i for i, (b, o) in pairs if b != o), min(len(base), len(other)))


def _excerpt(text: str, at: int) -> str:
    return repr(text[max(0, at - 20) : at + 40])
