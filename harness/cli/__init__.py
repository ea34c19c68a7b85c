"""The `tunegate` command: one command a file, heavy imports inside the commands.

`main` is the console script. A user's mistake is printed as one line and exits 2; a defect of ours
keeps its traceback.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line."""
    # Two torch threads that spin beside another process run up to 30 times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # A few microseconds of spinning save the wake-up between two operations and cost nobody much.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    from tunegate.harness.cli.app import app
    from tunegate.harness.errors import TunegateError

    try:
        app(prog_name="tunegate")
    except KeyboardInterrupt:
        sys.exit(130)
    except TunegateError as error:
        for line in str(error).splitlines():
            print(f"tunegate: {line}", file=sys.stderr)
        sys.exit(error.exit_code)
