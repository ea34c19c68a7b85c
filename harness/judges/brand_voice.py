"""Whether the answer speaks in the brand's voice, by its style guide and example texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tunegate.harness.judge import TEXT, Steps, judge, question
from tunegate.harness.records.cases import Case, Completion, Score

PROMPT = Path(__file__).with_suffix(".txt")
_VALUES = {"on_brand": 1.0, "mixed": 0.5, "off_brand": 0.0}


def check_guide(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
    """Return what is wrong with the guide."""
    guide = options["guide"]
    try:
        return [] if guide.read_text(encoding="utf-8").strip() else [f"{guide}: is empty"]
    except UnicodeDecodeError as error:
        return [f"{guide}: not UTF-8 at byte {error.start}"]


@judge(range=(0.0, 1.0), check=check_guide)
def brand_voice(
    case: Case, completion: Completion, *, guide: Path, examples: tuple[str, ...] = ()
) -> Steps:
    """Score 1 if the answer speaks in the brand's voice, 0.5 if in part, 0 if not.

    What it does:
        Shows the style guide and the examples and asks once. An empty answer is unscored.

    Why:
        A voice is what many fine-tunes are made for; a guide makes it a question with an answer.

    Known problems:
        Examples weigh more than rules with most judges: give several, on different subjects.

    Example:
        `guide = "voice.md"` with `examples = ["Done! Your refund lands by Friday."]`.

    Options:
        guide: The style guide, a text file next to suite.toml.
        examples: Texts in the voice.
    """
    text = (completion.text or "").strip()
    if not text:
        return Score.unscored("abstention: the answer is empty")
    shown = "\n\n".join(examples) or "(none are given)"
    (reply,) = yield [
        question(
            PROMPT,
            "verdict",
            data={"guide": guide.read_text(encoding="utf-8"), "examples": shown,
                  "completion": text},
            fields={"reason": TEXT, "verdict": {"enum": list(_VALUES)}},
            choice="verdict",
        )
    ]  # fmt: skip
    return Score.of(reply.expected(_VALUES), reply.said("reason"))
