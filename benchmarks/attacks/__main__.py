"""Attacks, class by class: `python -m benchmarks.attacks [CLASS …]`.

Prints what became of each attempt and a table at the end, and ends with 1 where one failed.
"""

from __future__ import annotations

import argparse
from importlib import import_module

from benchmarks.attacks.attempt import report

CLASSES = (
    "servers", "suites", "traces", "pages", "models", "faults", "ledger", "guardrail",
    "undeserved_ship", "broken_bases",
)  # fmt: skip
"""Modules of this folder, each with a function `attempts`."""


def main(argv: list[str] | None = None) -> int:
    """Run the classes that are named, or all; return 1 if an attack was not survived."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("classes", nargs="*", metavar="CLASS", help=", ".join(CLASSES))
    chosen = parser.parse_args(argv).classes or CLASSES
    if unknown := [name for name in chosen if name not in CLASSES]:
        parser.error(f"unknown class {unknown[0]!r}; there are: {', '.join(CLASSES)}")
    totals: dict[str, tuple[int, int]] = {}
    for name in chosen:
        print(f"== {name}", flush=True)
        totals[name] = report(import_module(f"benchmarks.attacks.{name}").attempts())
    print(f"\n{'class':<18}{'tried':>7}{'survived':>10}{'failed':>8}")
    for name, (tried, failed) in totals.items():
        print(f"{name:<18}{tried:>7}{tried - failed:>10}{failed:>8}")
    return int(any(failed for _, failed in totals.values()))


if __name__ == "__main__":
    raise SystemExit(main())
