"""The address of a viewer: what may become a link on a page, and what may not."""

from __future__ import annotations

import pytest

from tunegate.harness.records.errors import UsageError
from tunegate.harness.telemetry.export.viewer import check_template, template_problem


@pytest.mark.parametrize(
    "template",
    [
        "http://localhost:16686/trace/{trace_id}?uiFind={span_id}",
        "https://phoenix.test/redirects/spans/{span_id}",
        "http://[::1]:3000/explore?left=%7B%22query%22:%22{trace_id}%22%7D",
    ],
)
def test_addresses_of_viewers_pass(template: str) -> None:
    assert check_template(template) == template


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("javascript:alert({trace_id})", "begin it with http:// or https:// and a host"),
        ("data:text/html,{trace_id}", "begin it with http:// or https:// and a host"),
        ("//viewer.test/{trace_id}", "begin it with http:// or https:// and a host"),
        ("http:{trace_id}", "begin it with http:// or https:// and a host"),
        ("https://me:secret@viewer.test/{trace_id}", "leave out user and password"),
        ("https://viewer.test/trace/", "put {trace_id} or {span_id}"),
        ("https://viewer.test/{trace}/{span_id}", "write others as %7B and %7D"),
        ('https://viewer.test/{trace_id}" onclick="x', "visible ASCII without quotes"),
        ("https://viewer.test/{trace_id}\u202e", "visible ASCII without quotes"),
        ("https://viewer.test/ {trace_id}", "visible ASCII without quotes"),
        ("http://[::1/{trace_id}", "Invalid IPv6 URL"),
        ("", "visible ASCII without quotes"),
    ],
)
def test_what_makes_no_safe_link_is_refused(template: str, why: str) -> None:
    assert why in str(template_problem(template))
    with pytest.raises(UsageError) as caught:
        check_template(template)

    shown = template.replace("me:secret", "…")
    assert str(caught.value).startswith(f"trace link {shown!r}: ")
    assert "\n" not in str(caught.value)
