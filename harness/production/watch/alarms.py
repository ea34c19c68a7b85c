"""New alarms, appended to a file or posted to a webhook."""

from __future__ import annotations

import http.client
import json
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from tunegate.harness.production.watch.record import WatchRecord, alarm_sentence
from tunegate.harness.records.errors import error_summary

TIMEOUT_S = 10.0
"""Seconds that a webhook may take."""


def send_alarms(target: str, record: WatchRecord, names: Sequence[str]) -> str | None:
    """Append new alarms to a file as a JSON line, or post them to an http(s) webhook.

    Returns the reason if that fails. `text` is what Slack, Mattermost and Teams' connectors show.
    """
    if not names:
        return None
    figures = [figure for figure in record.figures if figure.name in names]
    sentence = "; ".join(map(alarm_sentence, figures))
    payload = {
        "text": f"tunegate watch: {record.suite} of run {record.run_id}: {sentence}",
        "verdict": record.verdict.value,
        "run_id": record.run_id,
        "suite": record.suite,
        "figures": [figure.model_dump(mode="json") for figure in figures],
    }
    content = json.dumps(payload, ensure_ascii=False)
    try:
        if not target.startswith(("http://", "https://")):
            with Path(target).open("a", encoding="utf-8") as file:
                file.write(f"{content}\n")
            return None
        head = {"Content-Type": "application/json"}
        request = urllib.request.Request(target, content.encode(), head)
        with urllib.request.urlopen(request, timeout=TIMEOUT_S):
            return None
    except (OSError, ValueError, http.client.HTTPException) as error:
        return error_summary(error)
