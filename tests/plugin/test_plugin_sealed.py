"""Sealed suites: refused unless opened, and every candidate that opens them is counted."""

from __future__ import annotations

from typing import Any


def test_a_sealed_suite_is_judged_only_when_opened(project: Any) -> None:
    """It refuses before a model is opened; opened, the second candidate has half the error."""
    toml = project.suite()
    toml.write_text("sealed = true\n" + toml.read_text(encoding="utf-8"), encoding="utf-8")

    refused = project.gate(*project.models())
    opened = project.gate(*project.models(), "--gate-open-sealed")
    second = project.gate(*project.models(tuned=90), "--gate-open-sealed")
    again = project.gate(*project.models(), "--gate-open-sealed")

    assert refused.ret == 4
    assert "the suite is sealed" in refused.stdout.str()
    assert "opening" not in refused.stderr.str()
    assert (opened.ret, second.ret, again.ret) == (0, 0, 0)
    told = "candidate 2 on this suite, judged at 1/2 of the error"
    assert [told in r.stdout.str() for r in (opened, second, again)] == [False, True, False]
