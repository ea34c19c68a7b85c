"""One case with all that was answered to it, for the terminal: the differences are marked by word.

`[-so-]` stands only in what base wrote, `{+so+}` only in what tuned wrote, as in `git diff
--word-diff`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.records import Case, StoredCell

WIDTH = 78


def lines(case: Case, cells: Mapping[str, StoredCell], *, where: str) -> Iterator[str]:
    """Yield the lines to print.

    Args:
        case: The case.
        cells: Arm → the cell that holds what it wrote.
        where: Where the case came from.
    """
    from reports.escapes import plain

    labels = " · ".join([where, *case.tags])
    yield plain(f"{case.id}  ({labels})")
    for turn in case.input_messages():
        yield _rule(str(turn.get("role", "turn")))
        yield plain(_said(turn))
    if case.tools:
        yield _rule("tools")
        yield plain(", ".join(str(t.get("function", t).get("name")) for t in case.tools))
    marked = _marked(cells)
    for arm in (*(a for a in cells if a not in marked), *(a for a in cells if a in marked)):
        yield _rule(arm, _how(cells[arm]))
        yield plain(marked.get(arm) or _text(cells[arm]))


def _rule(name: str, about: str = "") -> str:
    head = f"── {name}{f' ({about})' if about else ''} "
    return head + "─" * max(WIDTH - len(head), 0)


def _said(turn: Mapping[str, Any]) -> str:
    content = turn.get("content") or ""
    calls = [call.get("function", call) for call in turn.get("tool_calls") or ()]
    called = [f"→ {call.get('name')}({call.get('arguments')})" for call in calls]
    return "\n".join([*([str(content)] if content else []), *called])


def _how(cell: StoredCell) -> str:
    done = cell.completion
    if done is None:
        return cell.status
    known = [
        f"{done.output_tokens} tokens" if done.output_tokens is not None else "",
        f"{done.latency_s:.2f} s" if done.latency_s is not None else "",
        done.finish_reason or "",
    ]
    return ", ".join(one for one in known if one)


def _text(cell: StoredCell) -> str:
    if cell.completion is None:
        return cell.error or "no answer"
    return cell.completion.text or "(empty)"


def _marked(cells: Mapping[str, StoredCell]) -> dict[str, str]:
    """Return arm → its answer with what the other has not marked."""
    from reports.words import compare

    both = [cells[arm].completion for arm in ("base", "tuned") if arm in cells]
    if len(both) < 2 or any(one is None or one.text is None for one in both):
        return {}
    base, tuned = (one.text or "" for one in both if one is not None)
    segments = compare(base, tuned).segments
    return {
        "base": "".join(_mark("[-", s.base, "-]", s.changed) for s in segments),
        "tuned": "".join(_mark("{+", s.tuned, "+}", s.changed) for s in segments),
    }


def _mark(left: str, text: str, right: str, changed: bool) -> str:
    return f"{left}{text}{right}" if changed and text else text
