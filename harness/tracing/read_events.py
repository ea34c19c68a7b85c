"""Events of spans that stand apart from them, kept on disk until their span comes by."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator

from harness.tracing.read_record import EventRecord
from harness.tracing.span import SpanEvent

_TABLE = """
create table events
(trace text, span text, name text, attributes text, body text, place text, claimed int default 0)
"""


class Events:
    """Log records by span; nothing is made on disk where there are none."""

    def __init__(self) -> None:
        self._database: sqlite3.Connection | None = None

    def add(self, records: Iterable[EventRecord]) -> None:
        """Keep records."""
        rows = (
            (
                record.trace_id,
                record.span_id,
                record.event.name,
                json.dumps(record.event.attributes),
                json.dumps(record.event.body),
                record.where,
            )
            for record in records
        )
        for row in rows:
            self._opened().execute("insert into events values (?, ?, ?, ?, ?, ?, 0)", row)

    def of(self, trace_id: str, span_id: str) -> tuple[SpanEvent, ...]:
        """Return the events of a span, in the order in which they were added."""
        if self._database is None:
            return ()
        found = self._database.execute(
            "select rowid, name, attributes, body from events where span = ? and trace = ?"
            " order by rowid",
            (span_id, trace_id),
        ).fetchall()
        numbers = [(row[0],) for row in found]
        self._database.executemany("update events set claimed = 1 where rowid = ?", numbers)
        return tuple(
            SpanEvent(name, json.loads(known), json.loads(body)) for _, name, known, body in found
        )

    def unclaimed(self) -> Iterator[str]:
        """Yield the places of the records whose span did not come."""
        if self._database is not None:
            yield from (
                row[0]
                for row in self._database.execute(
                    "select place from events where not claimed order by rowid"
                )
            )

    def close(self) -> None:
        """Forget everything."""
        if self._database is not None:
            self._database.close()

    def _opened(self) -> sqlite3.Connection:
        if self._database is None:
            # The empty name is SQLite's for a database of its own in a temporary file.
            self._database = sqlite3.connect("", isolation_level=None)
            self._database.execute("pragma journal_mode = off")
            self._database.execute(_TABLE)
            self._database.execute("create index spans on events (span)")
        return self._database
