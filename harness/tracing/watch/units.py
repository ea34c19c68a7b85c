"""The traces of a look: what the calls of each showed together, in one short row of numbers."""

from __future__ import annotations

from array import array


class Units:
    """A row a trace: when it began, and of each figure the sum of its losses and their number."""

    def __init__(self, figures: int) -> None:
        """Make room for so many figures."""
        self._width = 1 + 2 * figures
        self._rows: dict[str, array[float]] = {}

    def begin(self, trace: str, start: float) -> None:
        """Note a call of a trace; the earliest one says when the trace began."""
        row = self._rows.get(trace)
        if row is None:
            row = self._rows[trace] = array("d", bytes(8 * self._width))
            row[0] = start
        row[0] = min(row[0], start)

    def add(self, trace: str, figure: int, loss: float) -> None:
        """Add a call's loss to its trace."""
        row = self._rows[trace]
        row[1 + 2 * figure] += loss
        row[2 + 2 * figure] += 1

    def losses(self, figure: int) -> list[float]:
        """Return the mean loss of each trace that has one, in the order in which they began."""
        place = 1 + 2 * figure
        known = [(row[0], trace, row) for trace, row in self._rows.items() if row[place + 1]]
        known.sort(key=lambda entry: entry[:2])
        return [row[place] / row[place + 1] for _, _, row in known]
