"""TensorBoard: an event file in the folder that TENSORBOARD_LOGGING_DIR names, or `runs`."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from tunegate.harness.contracts.tracker import TrackedRun

INSTALL = "tensorboard"


def tensorboard(run: TrackedRun) -> str:
    """Write facts as a text, numbers as scalars, and the page next to them."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.plugins.scalar.summary_v2 import scalar_pb
    from tensorboard.plugins.text.summary_v2 import text_pb
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    folder = Path(os.environ.get("TENSORBOARD_LOGGING_DIR") or "runs") / run.name
    facts = "\n".join(f"- {name}: {value}" for name, value in run.facts.items())
    summaries = [scalar_pb(name, value) for name, value in run.numbers.items()]
    summaries.append(text_pb("tunegate", facts))
    writer = EventFileWriter(str(folder))
    for summary in summaries:
        writer.add_event(Event(wall_time=time.time(), step=0, summary=summary))
    writer.close()
    shutil.copyfile(run.page, folder / run.page.name)
    return str(folder)
