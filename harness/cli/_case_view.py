"""One case with all answers to it, as lines for a terminal.

Differences are marked by word as in `git diff --word-diff`: `[-so-]` is only in base's answer,
`{+so+}` only in tuned's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tunegate.harness.cli._output import say

if TYPE_CHECKING:
    from tunegate.harness.records.answers import Completion, StoredAnswer
    from tunegate.harness.records.cases import Case

WIDTH = 78
"""Characters of a line."""


def print_case(lines: Iterable[str]) -> None:
    """Print a case, so that a CI log obeys nothing in it."""
    from tunegate.harness.plugin.terminal import without_workflow_commands

    with without_workflow_commands():
        say(*lines)


def case_lines(case: Case, cells: Mapping[str, StoredAnswer], *, where: str) -> Iterator[str]:
    """Yield the lines to print.

    Args:
        case: The case.
        cells: Arm → its answer.
        where: Where the case came from.
    """
    yield _harmless(f"{case.id}  ({' · '.join([where, *case.tags])})".replace("\n", " "))
    for turn in case.input_messages():
        yield _rule(str(turn.get("role", "turn")))
        yield _harmless(_turn_text(turn))
    if case.tools:
        yield _rule("tools")
        yield _harmless(", ".join(str(t.get("function", t).get("name")) for t in case.tools))
    marked = _mark_differences(cells)
    for arm in (*(a for a in cells if a not in marked), *(a for a in cells if a in marked)):
        yield from _thought_lines(arm, cells[arm].completion)
        yield _rule(arm, _completion_facts(cells[arm]))
        yield _harmless(marked.get(arm) or _text(cells[arm]))


_THOUGHTS = 400
"""Characters of thoughts to show, from their beginning and from their end."""


def _thought_lines(arm: str, done: Completion | None) -> Iterator[str]:
    """Yield the thoughts before an answer, without the middle of long ones."""
    from tunegate.harness.contracts.reasoning import thought_facts

    if done is None or not done.thinks:
        return
    yield _rule(f"{arm} thinks", ", ".join(thought_facts(done)))
    text = (done.reasoning or "(hidden by the provider)").strip()
    left = len(text) - 2 * _THOUGHTS
    if left > 0:
        text = f"{text[:_THOUGHTS]} […] {text[-_THOUGHTS:]}"
    yield _harmless(text)
    if left > 0:
        yield f"({left} characters left out; the whole is in cells.jsonl)"


_RULES = re.compile(r"^([^\S\n]*)─", re.MULTILINE)
"""Lines of a text that look like our headings."""


def _harmless(text: str) -> str:
    """Return a text that no terminal or CI obeys, without lines that look like our headings."""
    from tunegate.harness.records.hidden_text import escape_terminal

    return _RULES.sub(r"\1\\u2500", escape_terminal(text))


def _rule(name: str, about: str = "") -> str:
    name = _harmless(" ".join(name.split()))
    head = f"── {name}{f' ({about})' if about else ''} "
    return head + "─" * max(WIDTH - len(head), 0)


def _turn_text(turn: Mapping[str, Any]) -> str:
    from tunegate.harness.records.images import content_text

    content = content_text(turn.get("content")) or turn.get("content") or ""
    calls = [call.get("function", call) for call in turn.get("tool_calls") or ()]
    called = [f"→ {call.get('name')}({call.get('arguments')})" for call in calls]
    return "\n".join([*([str(content)] if content else []), *called])


def _completion_facts(cell: StoredAnswer) -> str:
    done = cell.completion
    if done is None:
        return cell.status
    facts = [
        f"{done.output_tokens} tokens" if done.output_tokens is not None else "",
        f"{done.latency_s:.2f} s" if done.latency_s is not None else "",
        done.finish_reason or "",
    ]
    return _harmless(" ".join(", ".join(fact for fact in facts if fact).split()))


def _text(cell: StoredAnswer) -> str:
    if cell.completion is None:
        return cell.error or "no answer"
    return cell.completion.text or "(empty)"


def _mark_differences(cells: Mapping[str, StoredAnswer]) -> dict[str, str]:
    """Return arm → its answer, with the words that the other lacks marked."""
    from tunegate.reports.text_diff import compare_texts

    completions = [cells[arm].completion for arm in ("base", "tuned") if arm in cells]
    if len(completions) < 2 or any(
        completion is None or completion.text is None for completion in completions
    ):
        return {}
    base, tuned = (completion.text or "" for completion in completions if completion is not None)
    segments = compare_texts(base, tuned).segments
    return {
        "base": "".join(_mark("[-", s.base, "-]", s.changed) for s in segments),
        "tuned": "".join(_mark("{+", s.tuned, "+}", s.changed) for s in segments),
    }


def _mark(left: str, text: str, right: str, changed: bool) -> str:
    return f"{left}{text}{right}" if changed and text else text
