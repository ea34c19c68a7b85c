"""The public names of tunegate: sorted, lazy, all of them there."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

import tunegate


def test_names_are_sorted_and_all_lazy() -> None:
    """`__all__`, the table of homes and `dir()` say the same."""
    assert tunegate.__all__ == sorted(tunegate.__all__)
    assert set(tunegate.__all__) == set(tunegate._HOMES)
    assert dir(tunegate) == tunegate.__all__


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(tunegate.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname or alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    assert seen == {name: home.partition(":")[0] for name, home in tunegate._HOMES.items()}


@pytest.mark.parametrize("name", tunegate.__all__)
def test_every_name_resolves_and_is_documented(name: str) -> None:
    found = getattr(tunegate, name)
    module, _, attribute = tunegate._HOMES[name].partition(":")

    assert found is getattr(import_module(module), attribute or name)
    assert found.__doc__


def test_other_names_are_refused_in_pythons_words() -> None:
    with pytest.raises(AttributeError, match="module 'tunegate' has no attribute 'Gate'"):
        _ = tunegate.Gate
