"""The groups under which `tunegate --help` lists its commands."""

from __future__ import annotations

from enum import StrEnum


class Panel(StrEnum):
    """Heading of a group, in the order of the help."""

    DECIDE = "Decide"
    BEFORE_TRAINING = "Before training"
    AFTER_TRAINING = "After training"
    IN_PRODUCTION = "In production"
    KEEP_RECORDS = "Keep records"
    LOOK_CLOSER = "Look closer"
