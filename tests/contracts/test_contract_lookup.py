"""Names to objects, and what is said when a name matches nothing."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest

from tunegate.harness import lookup
from tunegate.harness.errors import UnknownName
from tunegate.harness.plugin.options import OPTIONS


def message(name: str, room: str = "tunegate.harness.metrics") -> str:
    """Return what is said of a name that matches nothing."""
    with pytest.raises(UnknownName) as caught:
        lookup.find_object(room, name, what="metric")
    return str(caught.value)


def test_a_bare_name_is_the_module_of_that_name() -> None:
    """`exact_match` is harness/metrics/exact_match.py:exact_match."""
    from tunegate.harness.metrics.exact_match import exact_match

    assert (
        lookup.find_object("tunegate.harness.metrics", "exact_match", what="metric") is exact_match
    )


def test_private_modules_are_no_names() -> None:
    """Helpers of a room start with an underscore and cannot be asked for."""
    names = lookup.available_names("tunegate.harness.metrics")

    assert list(names) == sorted(names)
    assert not any(name.startswith("_") for name in names)
    assert "unknown metric '_json'" in message("_json")


def test_everything_in_the_rooms_can_be_loaded() -> None:
    """Each module of a room holds an object of its own name."""
    for room in ("tunegate.harness.metrics", "tunegate.harness.sources"):
        for name in lookup.available_names(room):
            assert callable(lookup.find_object(room, name, what="thing"))


@pytest.mark.parametrize(
    ("room", "mark"),
    [
        ("tunegate.harness.cli", "register"),
        ("tunegate.harness.otel_import.conventions", "matches"),
        ("tunegate.reports.sections", "render"),
        ("tunegate.trainers", "METHOD"),
    ],
)
def test_what_is_listed_in_an_order_has_one(room: str, mark: str) -> None:
    """Each instance of a folder has an `ORDER` of its own; what has none is no instance."""
    modules = {n: importlib.import_module(f"{room}.{n}") for n in lookup.module_names(room)}
    marked = {name for name, module in modules.items() if hasattr(module, mark)}
    ordered = lookup.ordered_modules(room)

    assert len({module.ORDER for module in ordered.values()}) == len(ordered)
    assert marked <= set(ordered)
    assert set(ordered) - marked <= {"vendor"}  # a method that trains elsewhere


def test_help_names_every_backend_and_trainer() -> None:
    """What the options' texts list is what there is; a text cannot import a folder to find out."""
    from tunegate.harness.cli.estimate import estimate
    from tunegate.trainers.estimate.losses import LOSSES

    tuned = next(option.help for option in OPTIONS if option.name == "tuned")
    backends = lookup.module_names("tunegate.harness.models")
    prefixes = [n for n in backends if lookup.has("tunegate.harness.models", n, marked="SPEC")]
    trainer = str(inspect.signature(estimate).parameters["trainer"].annotation)

    assert len(prefixes) >= 5
    assert [name for name in prefixes if f"{name}:" not in tuned] == []
    assert f"One of {', '.join(LOSSES)}, for memory." in trainer


def test_a_name_that_is_like_nothing_gets_the_list() -> None:
    """Without a near name, all names are given."""
    assert "there are: answer_logprob, bits_per_byte, " in message("zzz")


def test_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`pkg.mod:fn` is imported; each way to fail is one sentence with a remedy."""
    (tmp_path / "own_good.py").write_text("def fn(): ...\nfunniest = 1\n", encoding="utf-8")
    (tmp_path / "own_bad.py").write_text("1/0\n", encoding="utf-8")
    (tmp_path / "own_syntax.py").write_text("def\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    assert (
        lookup.find_object("tunegate.harness.metrics", "own_good:fn", what="metric").__name__
        == "fn"
    )
    assert (
        message("own_good:funiest")
        == "own_good: unknown metric 'funiest'; did you mean 'funniest'?"
    )
    assert "cannot import 'own_none'" in message("own_none:fn")
    assert "run from the folder that holds it, or install it" in message("own_none:fn")
    assert "'own_bad' fails when imported (ZeroDivisionError: division by zero)" in message(
        "own_bad:fn"
    )
    assert "fails when imported (SyntaxError: " in message("own_syntax:fn")


@pytest.mark.parametrize("name", [":fn", ".mod:fn", "mod:", ":"])
def test_half_a_name_is_explained(name: str) -> None:
    """A module and a function are needed, both by their full name."""
    assert message(name) == f"metric {name!r}: write it as 'package.module:function'"
