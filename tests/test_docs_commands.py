"""Every command of every page, run as it is printed.

The commands of a page run in its order, in one folder, as a reader would type them. `PAGES` has
what a page takes for granted, and `NOT_RUN` every command that is not run here, with the reason.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.main import get_command

from tests.fake_server import FakeServer, completion, fake_server, prompt_of
from tests.otel_export.test_otel_export_collector_send import _collector as otel_collector
from tests.scripted_inspect import write_scripted_inspect
from tests.tiny_models import Tiny, make_tokenizer, muted, tiny
from tests.traced_calls import BAD, GOOD, SUITE, stream, write_traces
from tunegate.harness.cli import advise, app
from tunegate.harness.remote.litellm import litellm_library

__all__ = ["fake_server", "otel_collector", "tiny"]  # fixtures

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
PROGRAMS = (
    "(umask", "accelerate", "cat", "curl", "export", "fi/bin/pip", "for", "litellm", "make", "pip",
    "ppo/bin/tunegate", "pytest", "python", "tunegate", "vllm",
)  # fmt: skip
"""First words of a block without a language that holds commands."""
VERDICTS = (0, 1, 10, 11)
"""Exit codes of a run that was judged: which of them depends on the reader's models."""
NOT_RUN = {
    "litellm --config": "tests/guardrail/test_guardrail_guide.py runs the whole page",
    "curl ": "tests/guardrail/test_guardrail_guide.py runs the whole page",
    "make demo": "half an hour of a processor; tests/cli/test_cli_demo.py",
    "pip install": "takes packages from the index; the names of the extras are checked here",
    "ppo/bin/tunegate": "needs TRL up to 1.12 in an environment of its own",
    "python -m benchmarks.": "measures for minutes; that it can be called so is checked here",
    "python -m venv": "takes packages from the index",
    "vllm serve": "needs vLLM",
    "tunegate train sft --config examples/order_desk": (
        "trains for minutes; tests/examples/test_example_order_desk.py"
    ),
    "tunegate train grpo --config examples/order_desk": (
        "trains for minutes; tests/examples/test_example_order_desk.py reads its configuration"
    ),
    "tunegate gate order_desk --base embedded --tuned out/": "judges what these two have trained",
    "python answer.py": "needs vLLM; tests/test_docs_scale.py runs it with an engine of the test",
    "tunegate gate suites/support --base replay:base.jsonl": "judges what answer.py writes",
    "tunegate engine install vllm": "takes 3.5 GB from the index",
    "tunegate gate suites/answers --base B --tuned T --judge \"command:fi": (
        "needs the package ai-evaluation; tests/examples/test_example_ai_evaluation.py"
    ),
    "tunegate gate suites/refunds --base models/base --tuned gguf:": (
        "needs llama.cpp; tests/models/test_models_gguf.py"
    ),
    "tunegate gate suites/support --base vllm:": "needs vLLM",
    "tunegate gate suites/support --tuned ./adapter --engine vllm": "needs vLLM",
    "tunegate serve --base ./base --tuned ./adapter --each": (
        "needs inspect-ai; tests/serving runs --each with another program"
    ),
    "tunegate train sft --config suites/support_json/train.yaml": (
        "tests/examples/test_example_quickstart.py runs the whole page with its model"
    ),
    "tunegate gate suites/support_json --tuned out/": (
        "tests/examples/test_example_quickstart.py runs the whole page with its model"
    ),
    "tunegate gate suites --tuned adapter --engine ray": (
        "minutes of starting Ray; tests/engine/test_engine_ray.py"
    ),
    "tunegate verify tunegate.sigstore.json": "needs a job of GitHub; tests/local_sigstore.py",
    "tunegate attest run --keyless": "needs a job of GitHub; tests/local_sigstore.py",
    "tunegate judge calibrate trainers/demo/judge": (
        "tests/trainers/test_trainers_demo_judge.py, with the real model"
    ),
}  # fmt: skip
"""Start of a command → why it is not run here, and the test that runs it where there is one."""


@pytest.fixture(autouse=True, scope="module")
def _loaded() -> None:
    """Load litellm before pytester takes down `sys.meta_path`, which it puts back later."""
    litellm_library()


class Command(NamedTuple):
    """A command of a page, in one line."""

    page: str
    text: str

    @property
    def reason(self) -> str | None:
        """Why it is not run here; None if it is."""
        return next((why for start, why in NOT_RUN.items() if self.text.startswith(start)), None)


def _commands(page: str) -> list[Command]:
    """Return the commands of a page: blocks of a shell, lines after a `$`, and steps of CI."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found: list[str] = []
    for language, block, indented in re.findall(
        r"(?ms)^```(\w*)\n(.*?)^```$|(?<=\n\n)((?:    [^\n]+\n)+)(?=\n)", text
    ):
        body = re.sub(r"(?m)^    ", "", indented) or block
        prompts = body.startswith("$ ")
        if language == "yaml":
            found += re.findall(r"(?m)^ *- run: (tunegate .*)$", body)
        elif language in ("sh", "bash", "console") or (
            not language and (prompts or body.split(" ")[0] in PROGRAMS)
        ):
            found += _lines(body, prompts=prompts)
    return [Command(page, line) for line in found]


def _lines(body: str, *, prompts: bool) -> Iterator[str]:
    """Yield the commands of a block: continued lines joined, loops unrolled, texts kept whole."""
    body = re.sub(r"\\\n\s*", "", body)
    body = re.sub(r"(?ms)^for (\w+) in (.*?); do\n(.*?)\ndone$", _unrolled, body)
    body = re.sub(r"(?ms)^(cat > \S+ <<'END'\n.*?\nEND)$", lambda m: m[1].replace("\n", "\0"), body)
    for line in body.splitlines():
        if not prompts or line.startswith("$ "):
            yield line.removeprefix("$ ").replace("\0", "\n")


def _unrolled(loop: re.Match[str]) -> str:
    """Return the lines of a `for` loop, once for each of its words."""
    lines = [line.strip() for line in loop[3].splitlines()]
    return "\n".join(
        line.replace(f"${loop[1]}", word) for word in loop[2].split() for line in lines
    )


@dataclass
class Reader:
    """Somebody who follows a page: a folder, models of the sizes at hand, and addresses."""

    project: Any
    monkeypatch: pytest.MonkeyPatch
    request: pytest.FixtureRequest
    instead: dict[str, str] = field(default_factory=dict)
    """Address or folder of the page → that of the test."""

    def run(self, command: str) -> tuple[int, str]:
        """Run a command in the folder; return its exit code and what it printed."""
        for printed, here in self.instead.items():
            command = command.replace(printed, here)
        words = [os.path.expandvars(word) for word in shlex.split(command, comments=True)]
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            self.monkeypatch.setenv(name, value.replace("…", "sk-of-the-tests"))
            return 0, ""
        if words[:2] == ["tunegate", "serve"]:
            return self._serve_and_stop(words)
        if not {"&&", "||", ">", "<<END"} & set(words) and words[0] in ("tunegate", "pytest"):
            run = self.project.tunegate if words[0] == "tunegate" else self.project.pytest_here
            done = run(*words[1:])
            return int(done.ret), done.stdout.str() + done.stderr.str()
        paths = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
        shell = subprocess.run(
            ["bash", "-ec", command], env=paths, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, check=False,
        )  # fmt: skip
        return shell.returncode, shell.stdout

    def _serve_and_stop(self, words: list[str]) -> tuple[int, str]:
        """Start a server, and end it by Ctrl-C when it has printed its address."""
        lines = []
        with self.project.start(*words[1:]) as process:
            for line in process.stdout:
                lines.append(line)
                if line.startswith("OPENAI_API_KEY="):
                    process.send_signal(signal.SIGINT)
        return process.returncode, "".join(lines)

    def write(self, name: str, *rows: Any) -> None:
        """Write a file: a text, or rows of JSON."""
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        Path(name).write_text("\n".join(lines) + "\n", encoding="utf-8")

    def suite(self, folder: str, metric: str = 'use = "exact_match"', n: int = 12) -> None:
        """Write a suite of short answers."""
        name = metric.split('"')[1]
        self.write(
            f"{folder}/suite.toml",
            f'name = "{Path(folder).name}"\ncases = "cases.jsonl"',
            "[generation]\nmax_new_tokens = 4",
            f'[[metrics]]\n{metric}\n[[gates]]\nmetric = "{name}"\nfloor = 0.5\ngain = 0.1',
        )
        rows = [{"id": f"c{i}", "prompt": f"case {i}?", "expected": "yes"} for i in range(n)]
        self.write(f"{folder}/cases.jsonl", *rows)

    def models(self, base: str, *adapters: str) -> None:
        """Put a tiny base and adapters where the page has them."""
        made: Tiny = self.request.getfixturevalue("tiny")
        shutil.copytree(made.base(), base)
        for seed, adapter in enumerate(adapters, 1):
            shutil.copytree(made.adapter(seed=seed), adapter)
            config = Path(adapter, "adapter_config.json")
            text = json.loads(config.read_text(encoding="utf-8"))
            text["base_model_name_or_path"] = str(Path(base).resolve())
            config.write_text(json.dumps(text), encoding="utf-8")

    def judged(self, run: str = "run", *, right: tuple[int, int] = (30, 95)) -> None:
        """Make a run of scripted models that ends in SHIP."""
        self.project.suite(name="scripted")
        base, tuned = (self.project.model(n, k) for n, k in zip(("b", "t"), right, strict=True))
        code, text = self.run(
            f"tunegate gate suites/scripted --base {base} --tuned {tuned} --run-dir {run}"
        )
        assert code == 0, text

    def serve(self, printed: str, **settings: Any) -> FakeServer:
        """Start a server in the place of an address of the page."""
        served: FakeServer = self.request.getfixturevalue("fake_server")(**settings)
        self.instead[printed] = f"127.0.0.1:{served.port}"
        return served


class PageSetup(NamedTuple):
    """What a page takes for granted."""

    before: Mapping[str, Callable[[Reader], None]] = {}
    """Start of a command → what is there when it is typed; an empty start: before the first."""
    ends: Mapping[str, int | Sequence[int]] = {}
    """Start of a command → its exit codes, where they are not 0."""
    models: bool = False
    """Whether a model is loaded."""
    trains: bool = False
    """Whether models are trained, merged or measured, which takes longer than a test may."""

    @property
    def marks(self) -> list[pytest.MarkDecorator]:
        """Return the markers of the page's test."""
        slow = [pytest.mark.slow] if self.models or self.trains else []
        return [*slow, pytest.mark.long] if self.trains else slow


def _overview(reader: Reader) -> None:
    reader.suite("suites/refunds")
    reader.models("path/to/base", "path/to/adapter")


def _emptied(reader: Reader) -> None:
    """Begin in an empty folder, as each part of the page does."""
    shutil.rmtree("suites", ignore_errors=True)
    shutil.rmtree(".github", ignore_errors=True)


def _own_data(reader: Reader) -> None:
    reader.models("path/to/base", "out/first")
    rows = [f'"case {i}?",yes' for i in range(40)]
    reader.write("messages.csv", "utterance,intent", *rows)
    reader.write("train.csv", "utterance,intent", '"another?",no')


def _quick_base(reader: Reader) -> None:
    reader.suite("suites/support_json")
    reader.models("models/base")
    reader.write("rows.jsonl", *[{"prompt": f"q{i}", "completion": "yes"} for i in range(60)])
    reader.monkeypatch.setattr(advise, "_is_interactive", lambda: True)
    reader.monkeypatch.setattr(sys, "stdin", io.StringIO("y\nbehaviour\ny\nn\nn\nn\n"))


def _release(reader: Reader) -> None:
    reader.judged(".tunegate/runs/RUN")
    verdict = json.loads(Path(".tunegate/runs/RUN/verdict.json").read_text(encoding="utf-8"))
    reader.instead["--model ADAPTER"] = f"--model {verdict['arms']['tuned']['script_sha256']}"
    shutil.rmtree("suites")
    reader.suite("suites/kept")
    reader.models("BASE", "TUNED")
    reader.monkeypatch.setenv("RUNNER_TEMP", str(Path().resolve()))
    reader.write("deploy.sh", "#!/bin/sh", "exit 0")
    Path("deploy.sh").chmod(0o755)


def _secret_key(reader: Reader) -> None:
    """Move the key into a secret of the job."""
    reader.monkeypatch.setenv("TUNEGATE_KEY", Path("release.key").read_text(encoding="utf-8"))
    Path("release.key").unlink()


def _judged_replies(reader: Reader) -> None:
    rows = [{"id": f"c{i:03}", "prompt": f"q{i}", "expected": "yes"} for i in range(100)]
    toml = (
        'name = "replies"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "rubric"\nname = "METRIC"\n'
        'criteria = "Says yes."\n[[gates]]\nmetric = "METRIC"\ngain = 0.1\n'
    )
    reader.project.raw_suite(toml, rows, "replies")
    rule = {"contains": "yes\n<<</completion", "reply": {"score": 5}}
    reader.write("judge.json", {"rules": [rule], "default": {"score": 1}})
    base, tuned = reader.project.model("b", 30), reader.project.model("t", 95)
    arms = f"--base {base} --tuned {tuned} --judge scripted:judge.json"
    code, text = reader.run(f"tunegate gate suites/replies {arms} --run-dir RUN")
    assert code == 10, text
    reader.instead |= {
        "--base … --tuned … --judge SPEC": arms, "--judge SPEC": "--judge scripted:judge.json"
    }  # fmt: skip


def _filled_sheet(reader: Reader) -> None:
    """Label what was drawn, as a person does, and keep it under both names of the page."""
    sheet = Path("RUN/label-METRIC.jsonl")
    rows = [json.loads(line) for line in sheet.read_text(encoding="utf-8").splitlines()]
    filled = [{**row, "label": int(row["completion"] == "yes")} for row in rows]
    for name in ("label-METRIC.jsonl", "label-helpful.jsonl"):
        reader.write(name, *filled)


def _labels(reader: Reader) -> None:
    shutil.copy("RUN/labels.jsonl", "labels.jsonl")


def _tickets(reader: Reader) -> None:
    rows = [f'"case {i}?",yes' for i in range(40)]
    reader.write("exports/tickets.csv", "prompt,expected", *rows)


def _shipped_run(reader: Reader) -> None:
    reader.judged("tunegate-run")
    reader.write("out/adapter/README.md", "# An adapter")


def _checkpoints(reader: Reader) -> None:
    reader.suite("suites/kept")
    reader.models("path/to/base", "out/r4", "out/r16", "out/r64", "out/r64-long")


def _other_settings(reader: Reader) -> None:
    """Gate one of them with another limit of tokens."""
    toml = Path("suites/kept/suite.toml")
    toml.write_text(toml.read_text("utf-8").replace("max_new_tokens = 4", "max_new_tokens = 2"))
    reader.run(
        "tunegate gate suites --base path/to/base --tuned out/r4 --run-dir .tunegate/runs/other"
    )


def _desk(reader: Reader) -> None:
    """Write the files that the page shows, and models whose template shows tools."""
    page = (ROOT / "docs" / "guides" / "episodes.md").read_text(encoding="utf-8")
    blocks = re.findall(r"(?ms)^```(python|json|toml)\n(.*?)^```$", page)
    names = {"python": "desk.py", "json": "tasks.jsonl", "toml": "suite.toml"}
    for language, text in blocks[:3]:
        reader.write(f"suites/desk/{names[language]}", text.rstrip())
    shutil.copy("suites/desk/tasks.jsonl", "tasks.jsonl")
    rows = [json.loads(line) for line in Path("tasks.jsonl").read_text("utf-8").splitlines()]
    more = [
        {**row, "id": f"{row['id']}-{n}", "prompt": f"{n}. {row['prompt']}"}
        for n in range(30) for row in rows
    ]  # fmt: skip
    reader.write("suites/desk/tasks.jsonl", *more)
    reader.models("base", "adapter")
    _show_tools("base", "adapter")
    shutil.copytree("base", "qwen")


def _show_tools(base: str, adapter: str) -> None:
    """Give tiny models a chat template that shows tools, and room for what it writes."""
    template = Path(importlib.import_module("trl").__path__[0], "chat_templates", "qwen3.jinja")
    for folder in (base, adapter):
        make_tokenizer(template=template.read_text(encoding="utf-8")).save_pretrained(folder)
    file = Path(base, "config.json")
    config = {**json.loads(file.read_text(encoding="utf-8")), "max_position_embeddings": 8192}
    file.write_text(json.dumps(config), encoding="utf-8")


def _inspect_logs(reader: Reader) -> None:
    """Put logs of Inspect where --each leaves them, and begin a suite on them."""
    shutil.rmtree("suites")
    recorded = ROOT / "tests" / "results" / "recorded" / "inspect"
    for arm in ("base", "tuned"):
        shutil.copytree(recorded / arm, f"logs/{arm}")


def _inspect_task(reader: Reader) -> None:
    """Make the models, a task, and a program that plays 40 samples of it as Inspect does."""
    reader.models("base", "adapter")
    _show_tools("base", "adapter")
    reader.write("desk_task.py", "task = 'desk'")
    Path("orders.txt").write_text(" ".join(f"A{number}" for number in range(100, 140)))
    place = Path(".venv-inspect", "bin")
    place.mkdir(parents=True)
    write_scripted_inspect(place).rename(place / "python")
    Path("pyproject.toml").touch()


def _estimated(reader: Reader) -> None:
    reader.models("base")
    reader.write("rows.jsonl", *[{"prompt": f"q{i}", "completion": "yes"} for i in range(8)])
    reader.write(
        "support.yaml", "model_name_or_path: base\ntrain_files: [rows.jsonl]\noutput_dir: out\n"
        "use_peft: true\nmax_steps: 4\n",
    )  # fmt: skip
    # The id of a hub stands for its configuration, which is all that is read.
    reader.instead["meta-llama/Llama-3.1-8B"] = "base"


def _two_runs(reader: Reader) -> None:
    reader.judged(".tunegate/runs/first")
    reader.judged(".tunegate/runs/second", right=(30, 96))


def _hosted(reader: Reader) -> None:
    reader.project.suite(name="support")
    names = ("gpt-4o-mini-2024-07-18", "ft:gpt-4o-mini-2024-07-18:acme::abc123")

    def reply(model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        right = "q" + str(len(prompt_of(body)))
        return {"model": model, **completion("yes" if model == names[1] else f"no {right}")}

    served = reader.serve("api.openai.com", models={name: {} for name in names}, reply=reply)
    reader.monkeypatch.setenv("OPENAI_BASE_URL", served.url)
    reader.write(
        "support.yaml", "model_name_or_path: openai/gpt-4o-mini-2024-07-18\n"
        "train_files: [train.jsonl]\noutput_dir: out\nnum_train_epochs: 3",
    )  # fmt: skip
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    reader.write("train.jsonl", *[{"messages": turns} for _ in range(10)])


def _hosted_judge(reader: Reader) -> None:
    """Write a suite that a judge scores, and judges in the place of two providers."""
    toml = (
        'name = "replies"\ncases = "cases.jsonl"\n[generation]\nmax_new_tokens = 4\n[[metrics]]\n'
        'use = "rubric"\nname = "apology"\ncriteria = "Apologises."\n'
        '[[gates]]\nmetric = "apology"\ngain = 0.1\n'
    )
    rows = [{"id": f"c{i}", "prompt": f"case {i}?"} for i in range(4)]
    reader.project.raw_suite(toml, rows, "replies")
    reader.models("B", "T")

    def reply(model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        found = re.search(r"Nonce: (\w+)", json.dumps(body))
        assert found is not None
        text = json.dumps({"nonce": found[1], "reason": "r", "score": 2})
        usage = {"input_tokens": 5, "output_tokens": 5}
        blocks = {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "text", "text": text}],
        }
        return {
            **completion(text),
            "id": "1",
            "created": 1,
            "object": "chat.completion",
            **({**blocks, "stop_reason": "end_turn", "usage": usage} if "messages" in path else {}),
        }

    names = ("gpt-4o-mini", "claude-sonnet-4-5")
    served = reader.serve("api.openai.com", models={name: {} for name in names}, reply=reply)
    reader.monkeypatch.setenv("OPENAI_BASE_URL", served.url)
    reader.monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-tests")
    reader.monkeypatch.setenv("ANTHROPIC_API_BASE", served.url.removesuffix("/v1"))
    reader.monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-of-the-tests")


def _entailment(reader: Reader) -> None:
    """Make an NLI model of random weights, and let the suite ask for faithfulness."""
    from tests.judging.test_judging_hf_nli import LABELS, save

    save(Path("deberta-v3-nli"), LABELS)
    file = Path("suites/replies/suite.toml")
    text = file.read_text(encoding="utf-8").replace('criteria = "Apologises."\n', "")
    file.write_text(text.replace('"rubric"', '"faithfulness"'), encoding="utf-8")
    rows = [{"id": f"c{i}", "prompt": f"case {i}?", "context": "A b c."} for i in range(4)]
    reader.write("suites/replies/cases.jsonl", *rows)


def _stored_run(reader: Reader) -> None:
    """Give the run the name that the page has."""
    (run,) = Path(".tunegate/runs").iterdir()
    run.rename(".tunegate/runs/20261125-101500-0042")


def _leaked(reader: Reader) -> None:
    reader.suite("suites/routing")
    reader.models("path/to/base", "path/to/adapter")
    reader.write("rows.csv", "prompt,completion", '"another?",no')
    reader.write("more.jsonl", {"prompt": "and another", "completion": "yes"})


def _recorded(reader: Reader) -> None:
    reader.suite("suites/routing", n=60)
    for name, right in (("base", 20), ("tuned", 55)):
        rows = [{"id": f"c{i}", "completion": "yes" if i < right else "no"} for i in range(60)]
        reader.write(f"{name}.jsonl", *rows)


def _traces(reader: Reader) -> None:
    Path("examples").symlink_to(ROOT / "examples")
    shutil.copy(ROOT / "examples" / "traces" / "shop.jsonl", "traces.jsonl")
    reader.models("BASE", "ADAPTER")
    _show_tools("BASE", "ADAPTER")


def _replayed(reader: Reader) -> None:
    (run,) = Path(".tunegate/runs").iterdir()
    run.rename(".tunegate/runs/RUN")


def _results(reader: Reader) -> None:
    for arm in ("base", "tuned"):
        shutil.copytree(ROOT / "examples" / "results" / arm, f"runs/{arm}")
    reader.write(
        "suites/ours/suite.toml",
        'name = "ours"\n[cases]\nfrom = "results"',
        'path = "../../a.jsonl?id=example&scores=feedback.correct"',
        '[[metrics]]\nuse = "recorded"\nname = "correct"',
        'score = "feedback.correct"\nbinary = true',
        '[[gates]]\nmetric = "correct"\nfloor = 0.5',
    )
    for name, right in (("a", 20), ("b", 55)):
        rows = [
            {"example": f"e{i}", "prompt": f"q{i}", "feedback": {"correct": int(i < right)}}
            for i in range(60)
        ]
        reader.write(f"{name}.jsonl", *rows)


def _served(reader: Reader) -> None:
    reader.project.suite(name="support")
    names = ("llama", "support-lora")

    def reply(model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return {"model": model, **completion("yes" if model == names[1] else "no")}

    reader.serve("localhost:8000", models={name: {} for name in names}, reply=reply)


def _shippable(reader: Reader) -> None:
    for folder in ("SUITE", "SUITES", "suites/s"):
        reader.suite(folder)
    reader.models("BASE", "ADAPTER")


def _merged(reader: Reader) -> None:
    from peft import AutoPeftModelForCausalLM

    with muted():
        merged = AutoPeftModelForCausalLM.from_pretrained("ADAPTER").merge_and_unload()
        merged.save_pretrained("SPEC")
    make_tokenizer().save_pretrained("SPEC")


def _observed(reader: Reader) -> None:
    """Let no collector listen: the run prints a line, and its verdict is as it is."""
    reader.suite("suites/support")
    reader.models("base", "adapter")
    reader.serve("localhost:4318").kill()


def _listening(reader: Reader) -> None:
    """Start a collector, and give the run the name that the page has."""
    (run,) = Path(".tunegate/runs").iterdir()
    run.rename("RUN")
    reader.request.getfixturevalue("collector")


def _rewarded(reader: Reader) -> None:
    reader.models("base")
    rows = [{"prompt": f"q{i}", "expected": "7"} for i in range(2)]
    pairs = [{"prompt": f"q{i}", "chosen": "yes please", "rejected": "no"} for i in range(4)]
    reader.write("prompts.jsonl", *rows)
    reader.write("pairs.jsonl", *pairs)
    common = "model_name_or_path: base\nuse_peft: true\nmax_steps: 1\nlearning_rate: 1.0e-3\n"
    online = common + (
        "train_files: [prompts.jsonl]\nnum_generations: 2\nmax_completion_length: 4\n"
        "per_device_train_batch_size: 2\n"
    )
    reader.write("grpo.yaml", online + "output_dir: out/grpo\nrewards: [{use: length}]")
    reader.write("rloo.yaml", online + "output_dir: out/rloo")
    reader.write("reward.yaml", common + "train_files: [pairs.jsonl]\noutput_dir: .tunegate/reward")


def _without_other_rewards(reader: Reader) -> None:
    """Let the command line name what is rewarded, and keep the first fine-tune."""
    text = Path("grpo.yaml").read_text(encoding="utf-8")
    text = text.replace("rewards: [{use: length}]", "").replace("out/grpo", "out/second")
    Path("grpo.yaml").write_text(text, encoding="utf-8")


def _trained(reader: Reader) -> None:
    reader.suite("suites/support_json")
    reader.models("base", "out/sft")
    shutil.copytree("base", "larger")
    rows = [{"prompt": f"q{i}", "completion": "yes"} for i in range(4)]
    pairs = [{"prompt": f"q{i}", "chosen": "yes please", "rejected": "no"} for i in range(4)]
    reader.write("rows.jsonl", *rows)
    reader.write("pairs.jsonl", *pairs)
    reader.write("unseen.jsonl", *pairs)
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "yes"}]
    reader.write("chats.jsonl", *[{"messages": turns} for _ in range(4)])
    reader.write("triples.jsonl", *[{**pair, "reference": "yes"} for pair in pairs])


def _with_vllm(reader: Reader) -> None:
    """Serve the weights that the page names, as vLLM does."""
    from tests.served_models import Served

    reader.suite("suites/support")
    reader.models("base", "adapter")
    arms = reader.request.getfixturevalue("tiny").pair()
    names = {"llama": arms["base"], "support-lora": arms["tuned"]}
    reader.serve(
        "gpu-box:8000", models={name: {} for name in names}, reply=Served(names, likeliest=True)
    )


def _watched(reader: Reader) -> None:
    """Gate the answers that production gives, and write a week of its traces."""
    rows = [{"id": f"c{n}", "prompt": f"ticket {n:04d}", "expected": GOOD} for n in range(250)]
    reader.project.raw_suite(SUITE, rows, "tickets")
    for name in ("base", "tuned"):
        answers = [BAD if n % 50 == len(name) else GOOD for n in range(250)]
        cells = [{"id": f"c{n}", "completion": text} for n, text in enumerate(answers)]
        reader.write(f"{name}.jsonl", *cells)
    arms = "--base replay:base.jsonl --tuned replay:tuned.jsonl"
    code, text = reader.run(f"tunegate gate suites {arms} --run-dir runs/shipped")
    assert code == 0, text
    Path("otel").mkdir()
    calls = stream(1, 600, bad_every=50, model="support-ft")
    write_traces(Path("otel/traces.jsonl"), calls)
    reader.instead["/var/log/otel/"] = "otel/"


GATED = {"tunegate gate": VERDICTS}
PAGES: dict[str, PageSetup] = {
    "README.md": PageSetup(
        {"": _overview, "tunegate init": _emptied},
        {"tunegate gate suites/refunds": VERDICTS, "tunegate gate suites --base replay:": 1},
        models=True,
    ),
    "docs/getting-started/quickstart.md": PageSetup(
        {"tunegate init support_json": _emptied, "tunegate suite new": _own_data},
        {"tunegate gate suites --base replay:": 1, "tunegate gate suites/intents": VERDICTS},
        models=True,
    ),
    "docs/getting-started/write-a-suite.md": PageSetup({"": _overview}, GATED, models=True),
    "docs/guides/advise.md": PageSetup({"": _quick_base}, models=True),
    "docs/guides/attest.md": PageSetup(
        {"": _release, "(umask": _secret_key},
        {
            **GATED,
            "tunegate verify tunegate.intoto.json --key release.key.pub --model TUNED": VERDICTS,
        },
        models=True,
    ),
    "docs/guides/calibrate-a-judge.md": PageSetup(
        {
            "": _judged_replies,
            "tunegate judge label RUN --read label-METRIC": _filled_sheet,
            "tunegate judge calibrate labels": _labels,
        },
        GATED,
    ),
    "docs/guides/cases.md": PageSetup({"": _tickets}),
    "docs/guides/ci.md": PageSetup({"tunegate promote": _shipped_run}),
    "docs/guides/compare.md": PageSetup(
        {
            "": _checkpoints,
            "tunegate compare .tunegate/runs/r4 .tunegate/runs/other": _other_settings,
        },
        {
            **GATED,
            "tunegate compare": VERDICTS,
            "tunegate compare .tunegate/runs/r4 .tunegate/runs/other": 12,
        },
        models=True,
    ),
    "docs/guides/episodes.md": PageSetup(
        {"": _desk, "tunegate suite new": _inspect_logs},
        # Random weights are never paid: the training ends in the line that says so.
        {**GATED, "tunegate train grpo": 13},
        trains=True,
    ),
    "docs/guides/estimate.md": PageSetup({"": _estimated}, trains=True),
    "docs/guides/history.md": PageSetup({"": _two_runs}),
    "docs/guides/hosted-models.md": PageSetup({"": _hosted}, {**GATED, "tunegate train vendor": 2}),
    "docs/guides/inspect.md": PageSetup({"": _inspect_task}, GATED, models=True),
    "docs/guides/judges.md": PageSetup(
        {
            "": _hosted_judge,
            "tunegate judge run": _stored_run,
            "tunegate gate suites/replies --tuned": _entailment,
        },
        GATED,
        models=True,
    ),
    "docs/guides/leakage.md": PageSetup({"": _leaked}, GATED, models=True),
    "docs/guides/own-outputs.md": PageSetup({"": _recorded}),
    "docs/guides/replay-traces.md": PageSetup(
        {"": _traces, "tunegate replay .tunegate/runs/RUN": _replayed},
        {"tunegate replay": VERDICTS},
        models=True,
    ),
    "docs/guides/results.md": PageSetup({"": _results}, GATED),
    "docs/guides/servers.md": PageSetup({"": _served}, GATED),
    "docs/guides/ship-check.md": PageSetup(
        {"": _shippable, "tunegate gate": _merged},
        {"tunegate ship-check": VERDICTS, "tunegate gate": VERDICTS, "pytest": VERDICTS},
        trains=True,
    ),
    "docs/guides/traces-out.md": PageSetup(
        {"": _observed, "tunegate resend": _listening}, GATED, models=True
    ),
    "docs/guides/training-rl.md": PageSetup(
        {
            "": _rewarded,
            "tunegate train grpo --config grpo.yaml --reward_model": _without_other_rewards,
        },
        trains=True,
    ),
    "docs/guides/training.md": PageSetup(
        {"": _trained}, {"tunegate train sft": VERDICTS}, trains=True
    ),
    "docs/guides/vllm.md": PageSetup({"": _with_vllm}, GATED, models=True),
    "docs/guides/watch.md": PageSetup({"": _watched}),
}


def _pages() -> list[str]:
    files = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [str(file.relative_to(ROOT)) for file in files]


def _runs(page: str) -> list[Command]:
    return [command for command in _commands(page) if command.reason is None]


WITH_COMMANDS = [page for page in _pages() if _runs(page)]


def _first(found: Mapping[str, Any], text: str) -> Any:
    """Return the value of the longest start of a command."""
    starts = [start for start in found if start and text.startswith(start)]
    return found[max(starts, key=len)] if starts else None


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=PAGES.get(page, PageSetup()).marks) for page in WITH_COMMANDS],
)
def test_the_commands_of_a_page_run_as_printed(
    page: str, project: Any, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Each ends with exit code 0, or with the one that the page leads to."""
    granted = PAGES.get(page, PageSetup())
    reader = Reader(project, monkeypatch, request)
    if "" in granted.before:
        granted.before[""](reader)

    for command in _runs(page):
        prepare = _first(granted.before, command.text)
        if prepare:
            prepare(reader)
        code, text = reader.run(command.text)
        wanted = _first(granted.ends, command.text) or 0
        allowed = [wanted] if isinstance(wanted, int) else list(wanted)
        assert code in allowed, f"{command.text}\nexit code {code}\n{text}"
        assert "Traceback" not in text, text


def test_every_reason_belongs_to_a_command_and_every_test_of_one_exists() -> None:
    commands = [command.text for page in _pages() for command in _commands(page)]

    for start, reason in NOT_RUN.items():
        assert any(text.startswith(start) for text in commands), start
        for test in re.findall(r"tests/\S+\.py", reason):
            assert (ROOT / test).is_file(), test
    for page, setup in PAGES.items():
        for start in {*setup.before, *setup.ends} - {""}:
            assert any(c.text.startswith(start) for c in _runs(page)), (page, start)


def test_what_is_installed_is_an_extra() -> None:
    """`pip install 'tunegate[x]'` names extras of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    texts = [command.text for page in _pages() for command in _commands(page)]
    named = [re.search(r"(?:tunegate|\.)\[([\w,-]+)\]", t) for t in texts if "pip install" in t]
    extras = {extra for found in named if found for extra in found[1].split(",")}

    assert extras >= {"hf", "train", "attest", "proxy"}
    assert extras <= set(project["optional-dependencies"])


def test_benchmarks_have_the_options_they_are_called_with() -> None:
    texts = [command.text for page in _pages() for command in _commands(page)]
    called = [text for text in texts if text.startswith("python -m benchmarks.")]

    assert called
    for text in called:
        module, *rest = shlex.split(text)[2:]
        place = ROOT / module.replace(".", "/")
        files = [*place.glob("*.py")] or [place.with_suffix(".py")]
        source = "".join(file.read_text(encoding="utf-8") for file in files)
        for option in rest:
            assert not option.startswith("--") or f'"{option}"' in source, text


INLINE = re.compile(r"(?<!`)`tunegate ([^`]+)`(?!`)")


def test_commands_within_sentences_have_the_options_they_name() -> None:
    root: Any = get_command(app)
    wrong = []
    for page in _pages():
        text = (ROOT / page).read_text(encoding="utf-8")
        for span in INLINE.findall(" ".join(text.split())):
            words, command, known = span.split(), root, {"--help"}
            named = {re.split("[=…|,]", word)[0] for word in words if word.startswith("--")}
            for word in (word for word in words if not word.startswith("--")):
                known |= {o for one in command.params for o in (*one.opts, *one.secondary_opts)}
                if word not in getattr(command, "commands", ()):
                    break
                command = command.commands[word]
            known |= {o for one in command.params for o in (*one.opts, *one.secondary_opts)}
            free = command.context_settings.get("ignore_unknown_options")
            if named - known and not free:
                wrong.append((page, span, sorted(named - known)))
            if command is root and not named:
                wrong.append((page, span, ["no such command"]))

    assert wrong == []
