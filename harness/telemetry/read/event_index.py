"""Log records by the span they name, in a temporary database."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator

from tunegate.harness.telemetry.read.records import EventRecord
from tunegate.harness.telemetry.read.trace_types import SpanEvent

_TABLE = """
create table events
(trace text, span text, name text, attributes text, body text, place text, claimed int default 0)
"""


class EventIndex:
    """Log records by span; nothing is created on disk until the first one."""

    def __init__(self) -> None:
        self._database: sqlite3.Connection | None = None

    def add(self, records: Iterable[EventRecord]) -> None:
        """Keep records."""
        for record in records:
            event = record.event
            known, body = json.dumps(event.attributes), json.dumps(event.body)
            row = (record.trace_id, record.span_id, event.name, known, body, record.where)
            self._opened().execute("insert into events values (?, ?, ?, ?, ?, ?, 0)", row)

    def claim(self, trace_id: str, span_id: str) -> tuple[SpanEvent, ...]:
        """Return the events of a span, in the order in which they were added."""
        if self._database is None:
            return ()
        key = (span_id, trace_id)
        found = self._database.execute(
            "select name, attributes, body from events where span = ? and trace = ? order by rowid",
            key,
        ).fetchall()
        self._database.execute("update events set claimed = 1 where span = ? and trace = ?", key)
        return tuple(
            SpanEvent(name, json.loads(known), json.loads(body)) for name, known, body in found
        )

    def unclaimed(self) -> Iterator[str]:
        """Yield the places of the records whose span did not come."""
        if self._database is not None:
            query = "select place from events where not claimed order by rowid"
            yield from (row[0] for row in self._database.execute(query))

    def close(self) -> None:
        """Delete everything."""
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
