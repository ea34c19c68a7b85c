"""Installed versions against the tested combinations."""

from __future__ import annotations

import pytest

from tunegate.harness.contracts import tested_stacks

STACKS = (
    tested_stacks.StackRecord(
        "older",
        "2026-11-01",
        {"python": "3.11.7", "torch": "2.10.0", "transformers": "5.16.1", "peft": "0.18.1"},
    ),
    tested_stacks.StackRecord(
        "newer",
        "2026-11-02",
        {"python": "3.13.0", "torch": "2.15.0", "transformers": "5.24.0", "peft": "0.21.2"},
    ),
)
OLDER, NEWER = (dict(stack.versions) for stack in STACKS)


@pytest.mark.parametrize(
    ("installed", "status", "said"),
    [
        # the first two numbers decide; a build's own mark does not count
        (
            NEWER | {"torch": "2.15.1+cpu", "transformers": "5.24.3", "peft": "0.21.0"},
            "tested",
            "major and minor versions of the stack 'newer' (2026-11-02): "
            "python 3.13.0, torch 2.15.1+cpu",
        ),
        # without PEFT the rest decides
        (
            {"python": "3.11.9", "torch": "2.10.0", "transformers": "5.16.0"},
            "tested",
            "of the stack 'older'",
        ),
        (
            NEWER | {"transformers": "5.16.0"},
            "between tested ends",
            "nearest stack 'newer' differs in transformers 5.16.0 (there: 5.24.0)",
        ),
        # another Python is another combination
        (
            OLDER | {"python": "3.12.1"},
            "between tested ends",
            "nearest stack 'older' differs in python 3.12.1 (there: 3.11.7)",
        ),
        (
            NEWER | {"transformers": "5.25.0", "peft": "0.17.0"},
            "untested",
            "transformers 5.25.0 (tested: 5.16 to 5.24), peft 0.17.0 (tested: 0.18 to 0.21)",
        ),
        (NEWER | {"python": "3.14.0"}, "untested", "python 3.14.0 (tested: 3.11 to 3.13)"),
        # 5.9 is older than 5.16, although its text sorts behind it
        (OLDER | {"transformers": "5.9.0"}, "untested", "transformers 5.9.0 (tested: 5.16"),
        # a package that no stack has was not tested with the others
        (NEWER | {"trl": "1.16.0"}, "untested", "trl 1.16.0 (no version of it was tested)"),
    ],
)
def test_a_combination_is_compared_with_the_tested_ones(
    installed: dict[str, str], status: str, said: str
) -> None:
    found = tested_stacks.explain_combination(installed, STACKS)

    assert found is not None
    assert status == found[0]
    assert said in found[1]


def test_a_package_of_another_stack_alone_is_not_tested_with_this_one() -> None:
    with_trl = tested_stacks.StackRecord("trainer", "2026-11-01", OLDER | {"trl": "1.9.0"})

    found = tested_stacks.explain_combination(NEWER | {"trl": "1.9.0"}, (STACKS[1], with_trl))

    assert found is not None
    assert found[0] is tested_stacks.CombinationStatus.BETWEEN
    assert "nearest stack 'newer' differs in trl 1.9.0 (there: none)" in found[1]


def test_without_any_tested_stack_everything_is_untested() -> None:
    found = tested_stacks.explain_combination(NEWER, ())

    assert found is not None
    assert found[0] is tested_stacks.CombinationStatus.UNTESTED


def test_without_a_model_library_there_is_no_combination() -> None:
    assert tested_stacks.explain_combination({"pydantic": "2.14"}, STACKS) is None


def test_the_tested_stacks_are_within_the_ranges_of_the_extras() -> None:
    from packaging.version import Version

    from tunegate.harness.cli.doctor import extra_requirements

    stacks = {stack.name: stack.versions for stack in tested_stacks.tested_stacks()}
    hf = {one.name: one.specifier for one in extra_requirements()["hf"]}

    assert {"oldest", "newest"} <= set(stacks)
    for versions in stacks.values():
        assert all(hf[n].contains(v.partition("+")[0]) for n, v in versions.items() if n in hf)
    assert hf["transformers"].contains(stacks["oldest"]["transformers"])
    assert Version(stacks["oldest"]["trl"]) < Version("1.10") < Version(stacks["newest"]["trl"])
