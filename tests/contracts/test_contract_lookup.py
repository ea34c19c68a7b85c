"""Names to objects, and what is said when a name matches nothing."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from tunegate.harness.contracts import lookup
from tunegate.harness.plugin.gate_options import OPTIONS
from tunegate.harness.records.errors import UnknownName


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
    names = lookup.available_names("tunegate.harness.metrics")

    assert list(names) == sorted(names)
    assert not any(name.startswith("_") for name in names)
    assert "unknown metric '_json'" in message("_json")


def test_everything_in_the_rooms_can_be_loaded() -> None:
    for room in ("tunegate.harness.metrics", "tunegate.harness.suite.sources"):
        for name in lookup.available_names(room):
            assert callable(lookup.find_object(room, name, what="thing"))


@pytest.mark.parametrize(
    ("room", "mark"),
    [
        ("tunegate.harness.cli", "register"),
        ("tunegate.harness.telemetry.read.conventions", "matches"),
        ("tunegate.reports.sections", "render"),
        ("tunegate.trainers", "METHOD"),
    ],
)
def test_what_is_listed_in_an_order_has_one(room: str, mark: str) -> None:
    """Each instance of a folder has its own `ORDER`; modules without one are not instances."""
    modules = {n: importlib.import_module(f"{room}.{n}") for n in lookup.module_names(room)}
    marked = {name for name, module in modules.items() if hasattr(module, mark)}
    ordered = lookup.ordered_modules(room)

    assert len({module.ORDER for module in ordered.values()}) == len(ordered)
    assert marked <= set(ordered)
    assert set(ordered) - marked <= {"vendor"}  # a method that trains elsewhere


@pytest.mark.parametrize(
    ("room", "name"),
    [
        ("tunegate.harness.models", "SPEC"),
        ("tunegate.harness.judges.backends", "SPEC"),
        ("tunegate.harness.suite.sources", "TEMPLATE"),
        ("tunegate.trainers", "SEQUENCES_PER_ROW"),
        ("tunegate.trainers", "WRITTEN_SHARE"),
    ],
)
def test_a_definition_is_found_in_the_source(room: str, name: str) -> None:
    modules = {n: importlib.import_module(f"{room}.{n}") for n in lookup.module_names(room)}
    defining = [n for n, module in modules.items() if hasattr(module, name)]

    assert sorted(lookup.definition_lines(room, name)) == defining != []


def test_definitions_come_in_their_order() -> None:
    """Trainers are listed as `tunegate train --help` lists them."""
    found = lookup.definition_lines("tunegate.trainers", "SEQUENCES_PER_ROW")

    assert list(found) == [n for n in lookup.ordered_modules("tunegate.trainers") if n in found]


def test_help_has_the_form_of_every_spec() -> None:
    texts = {option.name: option.help for option in OPTIONS}
    for option, room in (
        ("tuned", "tunegate.harness.models"),
        ("judge", "tunegate.harness.judges.backends"),
    ):
        forms = lookup.defined_texts(room, "SPEC")
        imported = {n: importlib.import_module(f"{room}.{n}").SPEC for n in forms}
        assert forms == imported
        assert len(forms) >= 5
        assert [form for form in forms.values() if form not in texts[option]] == []


def test_a_judge_backend_has_the_form_of_its_spec() -> None:
    """Each file of the folder is one, so each has a `SPEC`."""
    room = "tunegate.harness.judges.backends"

    assert list(lookup.defined_texts(room, "SPEC")) == list(lookup.module_names(room))


def test_a_name_that_is_like_nothing_gets_the_list() -> None:
    assert "there are: absolute_error, answer_form, answer_given, " in message("zzz")


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
    assert "run from the folder that contains it, or install it" in message("own_none:fn")
    assert "'own_bad' fails when imported (ZeroDivisionError: division by zero)" in message(
        "own_bad:fn"
    )
    assert "fails when imported (SyntaxError: " in message("own_syntax:fn")


@pytest.mark.parametrize("name", [":fn", ".mod:fn", "mod:", ":"])
def test_half_a_name_is_explained(name: str) -> None:
    assert message(name) == f"metric {name!r}: write it as 'package.module:function'"


def test_a_package_with_an_order_is_found_too() -> None:
    """`trainers/vendor` is a method; `trainers/artifacts`, without an `ORDER`, is not."""
    found = lookup.ordered_modules("tunegate.trainers")

    assert "vendor" in found
    assert "artifacts" not in found
    assert lookup.ordered_module("tunegate.trainers", "vendor") is found["vendor"]
