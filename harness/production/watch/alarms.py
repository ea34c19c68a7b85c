"""New alarms, appended to a file or posted to a webhook."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tunegate.harness.production.watch.look_record import WatchRecord, alarm_sentence
from tunegate.harness.records.errors import error_summary
from tunegate.harness.telemetry.export.webhook import post_json


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
    if target.startswith(("http://", "https://")):
        return post_json(target, payload)
    try:
        with Path(target).open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(payload, ensure_ascii=False)}\n")
    except (OSError, ValueError) as error:
        return error_summary(error)
    return None
