"""`tunegate serve --base … --tuned …`: both models as an OpenAI-compatible endpoint here.

For tools that play their own tasks (Inspect, verifiers, BFCL): they ask the models `base` and
`tuned` over HTTP, and their results come back through `results:`. Runs until Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import os
import secrets
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tunegate.harness.errors import UsageError

if TYPE_CHECKING:
    from tunegate.harness.model import Arm

ORDER = 65
TOKEN = "TUNEGATE_SERVE_TOKEN"
"""Environment variable with the token; without it a random one is made."""

_NOT_HERE = "is not computed in this process; give a model's folder or hub id"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(serve)


def serve(  # noqa: PLR0913  # one an option
    tuned: Annotated[str, typer.Option(help="Fine-tuned model, or adapter of base.")],
    base: Annotated[
        str | None, typer.Option(help="Base model; may be left out where the adapter names it.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 0,
    tools: Annotated[
        str,
        typer.Option(
            help="Who shows tools to the model: its chat `template`, or the `system` prompt."
        ),
    ] = "template",
    seed: Annotated[int, typer.Option(help="Seed of requests that name none.")] = 0,
    dtype: Annotated[
        str, typer.Option(help="Number format of both models; auto is float32 without a GPU.")
    ] = "auto",
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code in the folders of both models.")
    ] = False,
) -> None:
    """Serve base and tuned on this machine for tools that play their own tasks.

    Requests that come at the same time share the batch. The token is printed, or taken from
    TUNEGATE_SERVE_TOKEN.
    """
    from tunegate.harness.cli.gate import refuse_unknown
    from tunegate.harness.engine.interrupts import stop_on_signal
    from tunegate.harness.serving.batch_server import BatchServer
    from tunegate.harness.serving.endpoint import EndpointSettings, open_endpoint

    refuse_unknown(dtype)
    shown: dict[str, Literal["template", "system"]] = {"template": "template", "system": "system"}
    if tools not in shown:
        raise UsageError(f"--tools {tools}: there are template and system")
    arms = _open({"base": base, "tuned": tuned}, dtype, trusted=trust_remote_code)
    token = os.environ.get(TOKEN) or secrets.token_urlsafe(24)
    settings = EndpointSettings(token, port, shown[tools])
    with (
        stop_on_signal() as stop,
        open_endpoint(BatchServer(arms, seed), settings) as address,
    ):
        print(f"serving {' and '.join(arms)}; Ctrl-C ends it")
        print(f"OPENAI_BASE_URL={address}\nOPENAI_API_KEY={token}", flush=True)
        idle = threading.Event()
        while not stop.requested:
            idle.wait(0.2)
        print("stopping", file=sys.stderr)


def _open(specs: Mapping[str, str | None], dtype: str, *, trusted: bool) -> dict[str, Arm]:
    """Open the arms; what is asked elsewhere, or only read, is refused."""
    from tunegate.harness.model import RecordedArm
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
