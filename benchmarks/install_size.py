"""What each extra adds to a plain installation: `python -m benchmarks.install_size`.

Counts the packages that an extra brings, with all that they need, and the bytes of their files in
this environment, where all extras must be installed. torch is the build that is installed here.
"""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

NAME = "tunegate"


def needed(name: str, extras: frozenset[str], packages: set[str]) -> set[str]:
    """Return the installed packages that a package needs, with some of its extras."""
    try:
        requires = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return packages
    for text in requires:
        requirement = Requirement(text)
        environments = [{"extra": extra} for extra in (*extras, "")]
        marker = requirement.marker
        if marker is not None and not any(map(marker.evaluate, environments)):
            continue
        package = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if package == NAME or package not in packages:
            packages.add(package)
            needed(package, frozenset(requirement.extras), packages)
    return packages


def size(package: str) -> int:
    """Return the bytes of a package's files; 0 if it is not installed."""
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        return 0
    paths = (Path(str(file.locate())) for file in files)
    return sum(path.stat().st_size for path in paths if path.is_file())


def main() -> None:
    """Print a row for the plain installation, and one for each extra."""
    plain = needed(NAME, frozenset(), set()) - {NAME}
    print(f"{'extra':<14}{'packages':>9}{'MB':>8}")
    print(f"{'none':<14}{len(plain):>9}{sum(map(size, plain)) / 1e6:>8.0f}")
    for extra in metadata.metadata(NAME).get_all("Provides-Extra") or []:
        added = needed(NAME, frozenset([extra]), set()) - plain - {NAME}
        missing = [package for package in added if not size(package)]
        note = f"  not installed here: {', '.join(sorted(missing)[:3])}" if missing else ""
        print(f"{extra:<14}{len(added):>9}{sum(map(size, added)) / 1e6:>8.0f}{note}")


if __name__ == "__main__":
    main()
