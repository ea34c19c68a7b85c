"""Groups of subjects: MMLU's as its authors have them, and those a suite writes itself."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from tunegate.harness.decision.gating.subject_groups import group_of


def test_mmlus_groups_are_those_of_lm_eval() -> None:
    """All 57 subjects are where lm-eval's task files have them; anatomy, which lm-eval calls STEM,
    is health and so "other" in the authors' own table.
    """
    spec = find_spec("lm_eval")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("lm-eval is not installed")
    folder = Path(spec.submodule_search_locations[0]) / "tasks/mmlu/default"
    words = {"stem": "STEM", "social_sciences": "social sciences"}
    theirs = {}
    for path in folder.glob("mmlu_*.yaml"):
        text = path.read_text(encoding="utf-8")
        (group,) = re.findall(r'"tag": "mmlu_(\w+)_tasks"', text)
        theirs[path.stem] = words.get(group, group)
    assert len(theirs) == 57
    assert {name: group_of(name) for name in theirs} == theirs | {"mmlu_anatomy": "other"}


def test_a_tag_may_name_its_group() -> None:
    """What stands before a slash is the group; an unknown subject has none."""
    assert group_of("languages/French") == "languages"
    assert group_of("high school biology") == "STEM"
    assert group_of("billing") is None
    assert group_of("/x") is None
