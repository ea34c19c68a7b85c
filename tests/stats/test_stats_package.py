"""The package as a whole: records, import cost and documentation."""

import importlib
import re
import subprocess
import sys

import tunegate.harness.stats
from tunegate.harness.stats.types import Interval


def test_import_is_light():
    """Importing the package and its records loads neither numpy nor scipy."""
    code = "import sys, tunegate.harness.stats.types;print({'numpy', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"


def test_width():
    """The width is the distance between the limits."""
    assert Interval(0.0, -0.25, 0.5, 0.9, "x").width == 0.75


def test_map_names_existing_functions():
    named = re.findall(r"`(\w+)\.(\w+)`", tunegate.harness.stats.__doc__)

    assert len(named) > 20
    for module, function in named:
        assert callable(
            getattr(importlib.import_module(f"tunegate.harness.stats.{module}"), function)
        )
