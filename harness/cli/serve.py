"""`tunegate serve --base … --tuned …`: both models as an OpenAI-compatible endpoint here.

For tools that play their own tasks (Inspect, verifiers, BFCL): they ask the models `base` and
`tuned` over HTTP, and their results come back through `results:`. Runs until Ctrl-C or SIGTERM, or,
with `--each COMMAND`, until the command has ended for each of the models.
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tunegate.harness.cli._panels import Panel
from tunegate.harness.records.errors import BackendError, UsageError

if TYPE_CHECKING:
    from tunegate.harness.contracts.model import Arm
    from tunegate.harness.engine.interrupts import StopRequest
    from tunegate.harness.serving.endpoint import EndpointSettings

ORDER = 65
PANEL = Panel.LOOK_CLOSER
TOKEN = "TUNEGATE_SERVE_TOKEN"
"""Environment variable with the token; without it a random one is made."""

_NOT_HERE = "is not computed in this process; give a model's folder or hub id"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(serve)


def serve(  # noqa: PLR0913  # one for each option
    tuned: Annotated[str, typer.Option(help="Fine-tuned model, or adapter of base.")],
    base: Annotated[
        str | None, typer.Option(help="Base model; leave it out if the adapter names it.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 0,
    tools: Annotated[
        str,
        typer.Option(
            help="Who shows tools to the model: its chat `template`, or the `system` prompt."
        ),
    ] = "template",
    each: Annotated[
        str | None,
        typer.Option(
            metavar="COMMAND",
            help="Run a command for base, then for tuned, and end. `{model}` stands for the name.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of requests that name none.")] = 0,
    dtype: Annotated[
        str, typer.Option(help="Number format of both models; auto is float32 without a GPU.")
    ] = "auto",
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code in the folders of both models.")
    ] = False,
) -> None:
    """Serve base and tuned for tools that play their own tasks.

    Requests that come at the same time share the batch. The token is printed, or taken from
    TUNEGATE_SERVE_TOKEN. Exits 13 where a command of --each fails.

    Example: tunegate serve --base ./base --tuned ./adapter --each
    "inspect eval desk.py --model openai-api/tunegate/{model} --log-dir logs/{model}"
    """
    from tunegate.harness.cli.gate import refuse_unknown
    from tunegate.harness.serving.endpoint import EndpointSettings

    refuse_unknown(dtype)
    words = _command_words(each)
    shown: dict[str, Literal["template", "system"]] = {"template": "template", "system": "system"}
    if tools not in shown:
        raise UsageError(f"--tools {tools}: must be template or system")
    arms = _open({"base": base, "tuned": tuned}, dtype, trusted=trust_remote_code)
    token = os.environ.get(TOKEN) or secrets.token_urlsafe(24)
    _offer(arms, seed, EndpointSettings(token, port, shown[tools]), words)


def _offer(
    arms: Mapping[str, Arm], seed: int, settings: EndpointSettings, words: Sequence[str] | None
) -> None:
    """Serve until the user asks to stop, or the command has been run for each model."""
    from tunegate.harness.engine.interrupts import stop_on_signal
    from tunegate.harness.serving.batch_server import BatchServer
    from tunegate.harness.serving.endpoint import open_endpoint

    with (
        stop_on_signal() as stop,
        open_endpoint(BatchServer(arms, seed), settings) as address,
    ):
        print(f"serving {' and '.join(arms)}; Ctrl-C ends it")
        print(f"OPENAI_BASE_URL={address}\nOPENAI_API_KEY={settings.token}", flush=True)
        if words is not None:
            _run_each(words, list(arms), address, settings.token, stop)
            return
        while not stop.requested:
            time.sleep(0.2)
        print("stopping", file=sys.stderr)


def _command_words(each: str | None) -> list[str] | None:
    """Return the words of a command."""
    if each is None:
        return None
    try:
        words = shlex.split(each)
    except ValueError as error:
        raise UsageError(f"--each {each!r}: {error}") from None
    if not words or shutil.which(words[0]) is None:
        raise UsageError(f"--each {each!r}: there is no program {(words or [''])[0]!r}")
    if not any("{model}" in word for word in words):
        raise UsageError(f"--each {each!r}: write {{model}} where the model's name belongs")
    return words


def _run_each(
    words: Sequence[str], names: Sequence[str], address: str, token: str, stop: StopRequest
) -> None:
    """Run the command for one model after the other; the endpoint is in its environment."""
    variables = {
        f"{place}_{name}": value
        for place in ("OPENAI", "TUNEGATE")
        for name, value in (("BASE_URL", address), ("API_KEY", token))
    }
    for name in names:
        command = [word.replace("{model}", name) for word in words]
        print(f"{name}: {shlex.join(command)}", flush=True)
        with subprocess.Popen(command, env={**os.environ, **variables}) as child:
            while child.poll() is None and not stop.requested:
                with suppress(subprocess.TimeoutExpired):
                    child.wait(0.2)
            if child.poll() is None:
                child.terminate()
        stop.obey()
        if child.returncode:
            raise BackendError(
                f"{name}: {command[0]} ended with exit code {child.returncode}; fix it and run "
                "the command again"
            )


def _open(specs: Mapping[str, str | None], dtype: str, *, trusted: bool) -> dict[str, Arm]:
    """Open the arms; what is asked elsewhere, or only read, is refused."""
    from tunegate.harness.contracts.model import RecordedArm
    from tunegate.harness.models.open_arms import backend_of, is_remote, open_arms

    for name, spec in specs.items():
        backend = None if spec is None else backend_of(spec)
        if backend is not None and is_remote(backend):
            raise UsageError(f"--{name} {spec}: {_NOT_HERE}")
    arms = open_arms(specs, dtype=dtype, base_by="--base SPEC", trusted=trusted)
    for name, arm in arms.items():
        if isinstance(arm, RecordedArm):
            raise UsageError(f"--{name} {specs[name]}: {_NOT_HERE}")
    return arms
