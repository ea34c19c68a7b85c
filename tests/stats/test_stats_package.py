"""The package as a whole: records, import cost and documentation."""

import dataclasses
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
import typing

import pytest

import tunegate.harness.stats
from tunegate.harness.stats.types import Interval, OneSidedTest, StudyDesign


def modules():
    """Return all modules of the package."""
    names = [info.name for info in pkgutil.iter_modules(tunegate.harness.stats.__path__)]
    return [importlib.import_module(f"tunegate.harness.stats.{name}") for name in names]


def public_functions():
    """Return all public functions defined in the package, once each."""
    return [
        member
        for module in modules()
        for name, member in inspect.getmembers(module, inspect.isfunction)
        if not name.startswith("_") and member.__module__ == module.__name__
    ]


def test_import_is_light():
    """Importing the package and its records loads neither numpy nor scipy nor statsmodels."""
    code = (
        "import sys, tunegate.harness.stats.types;"
        "print({'numpy', 'scipy', 'statsmodels'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("record", [Interval, OneSidedTest, StudyDesign])
def test_records_are_frozen(record):
    """Records cannot be changed and carry no dictionary."""
    values = {field.name: 0 for field in dataclasses.fields(record)}
    instance = record(**values)

    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(instance, next(iter(values)), 1)
    assert not hasattr(instance, "__dict__")


def test_test_is_not_collected():
    assert OneSidedTest.__test__ is False
    assert "__test__" not in {field.name for field in dataclasses.fields(OneSidedTest)}


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


def test_no_bare_tuples():
    """No public function returns a tuple."""
    for function in public_functions():
        returned = function.__annotations__["return"]
        assert typing.get_origin(returned) is not tuple
