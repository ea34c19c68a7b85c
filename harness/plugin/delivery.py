"""After a gate: its runs go to the trackers, and how it ended to a webhook, if the user asked."""

from __future__ import annotations

from tunegate.harness.plugin.session import GateSession
from tunegate.harness.records.command_line import typed_options
from tunegate.harness.records.errors import TunegateError, error_summary
from tunegate.harness.records.files import read_record
from tunegate.harness.records.manifest import Manifest
from tunegate.harness.records.verdict import Verdict


def deliver(session: GateSession) -> list[str]:
    """Send what was asked for; return the lines to print.

    Nothing is raised: failed deliveries never change the exit code.
    """
    lines: list[str] = []
    for step in (_log_runs, _notify):
        try:
            step(session, lines)
        except (Exception, KeyboardInterrupt) as error:
            lines.append(f"warning: not everything was sent ({error_summary(error)})")
    return lines


def _log_runs(session: GateSession, lines: list[str]) -> None:
    """Log each run with a report to each tracker."""
    if not session.options["log-to"]:
        return
    from tunegate.harness.contracts.tracker import TrackedRun, log_run, tracker_names
    from tunegate.harness.records.files import relative_path

    for folder in session.reported_folders():
        run = TrackedRun.read(folder, folder / "report.html")
        for name in tracker_names(session.options["log-to"]):
            try:
                lines.append(log_run(name, run))
            except TunegateError as error:
                again = f"tunegate report {relative_path(folder)} --log-to {name}"
                lines.append(f"warning: {error}; try again: {again}")


def _notify(session: GateSession, lines: list[str]) -> None:
    """Post how the session ended; with a mistake or an interrupt there is no verdict."""
    if not session.options["notify"]:
        return
    from tunegate.harness.run.notify import describe_ending
    from tunegate.harness.run.origin import origin_facts
    from tunegate.harness.telemetry.export.webhook import post_json, webhook_host

    verdict = session.verdict
    if session.error is not None and verdict is not None and verdict.verdict is not Verdict.ERROR:
        verdict = None  # judged, but the command failed afterwards
    manifest = session.folder / "manifest.json"
    why = str(session.error or session.why or "no suite.toml was judged")
    code = session.exit_status or 0 if session.error is None else session.error.exit_code
    if session.why and not code:
        code = Verdict.ERROR.exit_code  # pytest calls `--collect-only` a success
    payload = describe_ending(
        verdict,
        typed_options(why, session.command),
        code,
        session.folder.name,
        read_record(manifest, Manifest).origin if verdict is not None else origin_facts(),
    )
    url = session.options["notify"]
    problem = post_json(url, payload)
    host = webhook_host(url)
    lines.append(f"warning: {host} was not notified ({problem})" if problem else f"notified {host}")
