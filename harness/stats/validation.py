"""Checks on arguments, each raising `ValueError` of the form ``name=value must …``."""

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
"""A numpy array of float64."""
Ints = NDArray[np.int64]
"""A numpy array of int64."""
Labels = Sequence[Hashable] | NDArray[np.generic]
"""One cluster label per case, in the order of the cases."""


def check_count(name: str, value: int, *, least: int = 0) -> int:
    """Return a whole number of at least `least`; 3.0 and True are refused."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least:
        raise ValueError(f"{name}={value} must be a whole number of at least {least}")
    return int(value)


def check_between(name: str, value: float, low: float, high: float) -> float:
    """Return a number strictly between `low` and `high`."""
    if not low < value < high:
        raise ValueError(f"{name}={value} must be strictly between {low} and {high}")
    return float(value)


def check_within(name: str, value: float, low: float, high: float) -> float:
    """Return a number from `low` to `high`, both included."""
    if not low <= value <= high:
        raise ValueError(f"{name}={value} must be between {low} and {high}")
    return float(value)


def check_finite(name: str, value: float) -> float:
    """Return a number that is neither NaN nor infinite."""
    if not math.isfinite(value):
        raise ValueError(f"{name}={value} must be finite")
    return float(value)


def check_positive(name: str, value: float) -> float:
    """Return a finite number above zero."""
    if not 0 < value < math.inf:
        raise ValueError(f"{name}={value} must be positive and finite")
    return float(value)


def check_discordant(wins: int, losses: int, n: int) -> None:
    """Check the counts of a paired binary comparison: `wins + losses <= n`, `n >= 1`."""
    check_count("n", n, least=1)
    check_count("wins", wins)
    check_count("losses", losses)
    if wins + losses > n:
        raise ValueError(f"wins+losses={wins + losses} must not exceed n={n}")


def check_vector(name: str, values: ArrayLike) -> Floats:
    """Return a one-dimensional float array of at least one finite value."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name}.ndim={array.ndim} must be 1")
    if array.size == 0:
        raise ValueError(f"{name} must hold at least one value")
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        raise ValueError(f"{name}[{bad[0]}]={array[bad[0]]} must be finite")
    return array


def check_ranged(name: str, values: ArrayLike, low: float, high: float) -> Floats:
    """Return a float array like `check_vector` with all values from `low` to `high`."""
    array = check_vector(name, values)
    bad = np.flatnonzero((array < low) | (array > high))
    if bad.size:
        raise ValueError(f"{name}[{bad[0]}]={array[bad[0]]} must be between {low} and {high}")
    return array


def check_paired(first: Floats, second: Floats, names: str) -> None:
    """Check that two arrays describe the same cases."""
    if first.shape != second.shape:
        raise ValueError(f"{names} shapes={first.shape}, {second.shape} must be equal")


def check_labels(name: str, values: Labels, size: int) -> Ints:
    """Return cluster numbers 0..G-1 in order of first appearance, with at least two clusters."""
    members = list(values)
    if len(members) != size:
        raise ValueError(f"len({name})={len(members)} must equal the number of cases, {size}")
    # Cases without a label would silently become one cluster.
    if None in members:
        raise ValueError(f"{name}[{members.index(None)}]=None must be a label")
    numbers = {label: number for number, label in enumerate(dict.fromkeys(members))}
    if len(numbers) < 2:
        raise ValueError(f"number of {name}={len(numbers)} must be at least 2")
    return np.array([numbers[label] for label in members], dtype=np.int64)


def design_effect(deff: float) -> float:
    """Return a planned design effect: finite and at least 1."""
    if not 1 <= deff < math.inf:
        raise ValueError(f"deff={deff} must be finite and at least 1")
    return float(deff)


def check_exceeds(effect: float, margin: float) -> None:
    """Check that a planned effect exceeds the margin."""
    if not effect > margin:
        raise ValueError(f"effect={effect} must exceed margin={margin}")
