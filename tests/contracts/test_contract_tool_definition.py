"""Tool definitions, compared with those of Transformers, which TRL shows a model in training."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, Literal

import pytest

from tunegate.harness.contracts.tool_definition import UndefinableTool, tool_definition


class Colour(Enum):
    """Colours, by their names on the wire."""

    RED = "red"
    BLUE = "blue"


class Shelf:
    """Methods with everything that an annotation and a docstring may hold."""

    def plain(self, a: str, b: int = 3, c: float = 0.5, d: bool = False) -> str:
        """Do a thing.

        It takes a second paragraph to say which.

        Args:
            a: The first.
            b (int, optional): The second, described
                in two lines.
            c: The third.
            d: The last.

        Returns:
            What came of it.

        Raises:
            ValueError: never.
        """
        return a

    def nested(
        self,
        rows: list[dict[str, int]],
        pair: tuple[int, str],
        maybe: str | None,
        either: int | str,
        many: list[int] | str = "x",
        free: Any = None,
        table: dict[str, list[float]] | None = None,
    ) -> bytes:
        """Take containers and unions.

        Args:
            rows: Rows.
            pair: A pair.
            maybe: Perhaps.
            either: One of two.
            many: Several.
            free: Anything.
            table: A table.
        """
        return b""

    def chosen(self, colour: Colour, size: Literal["s", "m", 3], drink: str = "tea") -> None:
        """Choose.

        Args:
            colour: A colour.
            size: A size.
            drink: A drink (choices: ["tea", "coffee"])
        """

    @classmethod
    def of_class(cls, n: int) -> int:
        """Count.

        Args:
            n: How far.
        """
        return n

    def nothing(self) -> None:
        """Take no argument."""


SHELF = Shelf()
METHODS = [SHELF.plain, SHELF.nested, SHELF.chosen, SHELF.of_class, SHELF.nothing]


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)
def test_a_definition_is_that_of_transformers(method: Callable[..., Any]) -> None:
    """Key for key, so that a model is tested on the tools that it was trained with."""
    from transformers.utils import get_json_schema

    assert tool_definition(method) == get_json_schema(method)


def test_a_definition_in_openais_form() -> None:
    found = tool_definition(SHELF.of_class)

    assert found["type"] == "function"
    assert found["function"]["parameters"] == {
        "type": "object",
        "properties": {"n": {"type": "integer", "description": "How far."}},
        "required": ["n"],
    }


@pytest.mark.slow
def test_what_transformers_refuses_is_refused() -> None:
    from transformers.utils import get_json_schema

    def bare(a: str) -> None: ...

    def untyped(a) -> None:  # type: ignore[no-untyped-def]  # that is the point
        """Do it.

        Args:
            a: What.
        """

    def undescribed(a: str) -> None:
        """Do it."""

    def of_bytes(a: bytes) -> None:
        """Do it.

        Args:
            a: What.
        """

    for function in (bare, untyped, undescribed, of_bytes):
        with pytest.raises(UndefinableTool, match=function.__name__):
            tool_definition(function)
        with pytest.raises(Exception, match=r"docstring|type hint|description|bytes"):
            get_json_schema(function)
