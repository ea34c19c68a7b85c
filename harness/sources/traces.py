"""Cases from production traces: each call of a language model is a prompt to ask again.

Read are OpenTelemetry's files (OTLP as JSON lines, JSON or protobuf, also gzipped) with calls in
any of the conventions of harness/tracing/conventions. A case has the call's messages and tools, the
recorded answer as `expected` (its tool calls as `expected_calls`), model and route as tags, and the
trace as cluster: the calls of an agent belong together, and each is asked with the conversation and
the tool results that the trace recorded. It keeps the request's settings, sampling left aside.

What cannot be asked again (images, audio, a call whose content was not captured) is left out and
counted; the account is printed with the suite.

Example:
    [cases]
    from = "traces"
    file = "traces/*.jsonl.gz"
    sample = 200
    stratify = ["model", "route"]
    only = { provider = "openai" }
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from harness.source import Accounted
from harness.sources._table import Count
from harness.sources._traces import Wanted, collect


def traces(  # noqa: PLR0913 - each is a key of the suite file
    folder: Path,
    *,
    file: str | tuple[str, ...],
    limit: Count | None = None,
    sample: Count | None = None,
    seed: int = 0,
    stratify: tuple[str, ...] = (),
    repeated: Literal["drop", "keep"] = "drop",
    scrub: str = "pii",
    only: dict[str, Any] | None = None,
    settings: str | tuple[str, ...] = "greedy",
) -> Accounted:
    """Return one case a call, in the order of the files, and what became of the others.

    Args:
        folder: The suite's folder.
        file: Paths from the suite's folder: files, folders and patterns.
        limit: The first so many calls.
        sample: So many, drawn by seed; all of them where there are fewer.
        seed: Seed of the draw.
        stratify: Of what each value is drawn by its share: `model`, `provider`, `route`, `day`,
            `hour` (UTC).
        repeated: Whether of calls with the same prompt the first is kept, or all of them.
        scrub: `pii` puts `<email>`, `<phone>`, `<card>`, `<iban>`, `<ip>` and `<key>` for what has
            their form; `none` leaves texts as they are; `pkg.mod:fn` is a function of your own,
            which returns a text for a text.
        only: What the calls must be: `model`, `provider`, `route`, `day`, `hour` or an attribute
            of the span → a pattern such as `"gpt-4o*"`, or several.
        settings: Which settings of the requests the cases keep: `greedy` all that can be kept but
            how was sampled, `recorded` also `temperature` and `top_p`, `none`, or a list of
            `max_tokens`, `stop`, `tool_choice`, `response_format`, `temperature` and `top_p`.

    Raises:
        SuiteError: an option is wrong, a path names nothing, or no call is left.
    """
    paths = [folder / one for one in ([file] if isinstance(file, str) else file)]
    wanted = Wanted(limit, sample, seed, stratify, repeated, scrub, only or {}, settings)
    found = collect(paths, wanted)
    return Accounted(found.cases, found.account)
