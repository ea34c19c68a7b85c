"""The first day, as a newcomer has it: `python -m benchmarks.first_day`.

Installs the wheel of this tree in a fresh environment and goes the whole way with its commands
alone, on data that it makes: customers' messages and their intents, a plain TRL script that knows
nothing of tunegate, a suite from a CSV file, a fine-tune that is not good enough (exit code 1),
one that is (exit code 0), and the page. The minutes of each step are printed. Every exit code and
verdict is checked; the first that differs ends the way with exit code 1. With `--folder` a way that
was cut off continues after its last finished step.

The model is SmolLM2-135M-Instruct, which tunegate makes from a package of the index unless
`--model` names another. With `--here` pip takes the libraries of this environment instead of the
index's, which measures all but their download.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]

TRAIN = '''"""A fine-tune as its author had it before: TRL and PEFT, and no tunegate."""

import csv
import sys

from datasets import Dataset
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer

steps, out, model = int(sys.argv[1]), sys.argv[2], sys.argv[3]
rows = list(csv.DictReader(open("train.csv", encoding="utf-8")))
data = Dataset.from_list(
    [
        {
            "prompt": [{"role": "user", "content": row["utterance"]}],
            "completion": [{"role": "assistant", "content": row["intent"]}],
        }
        for row in rows
    ]
)
trainer = SFTTrainer(
    model,
    args=SFTConfig(
        out, max_steps=steps, per_device_train_batch_size=8, learning_rate=1e-3, seed=0,
        report_to="none", logging_steps=10, save_strategy="no", use_cpu=True, bf16=False,
        gradient_checkpointing=False,
    ),
    train_dataset=data,
    peft_config=LoraConfig(r=8, lora_alpha=16, target_modules="all-linear"),
)
trainer.train()
trainer.save_model(out)
'''

GATES = """
[[gates]]
metric = "exact_match"
floor = 0.80           # never ship below this
gain = 0.20            # and only if it beats base by more than this
expected_gain = 0.60   # worth having
"""

BODIES = {
    "refund": (
        "I want my money back for the {0}",
        "please return the payment for my {0}",
        "the {0} broke after two days and I would like a refund",
        "you charged me twice for the {0}, give me one payment back",
        "I sent the {0} back last week, when is the money returned",
        "cancel the {0} and refund me",
    ),
    "delivery": (
        "where is my {0}",
        "the {0} has not arrived yet",
        "my parcel with the {0} says delivered but nobody saw it",
        "when will the {0} be shipped",
        "can you send the {0} to another address",
        "the courier lost my {0}",
    ),
    "account": (
        "I cannot log in to order the {0}",
        "the reset mail for my password never came, I wanted to buy a {0}",
        "please delete my account, the {0} was my last order",
        "change the mail address of my account where I bought the {0}",
        "my account was locked while I paid for the {0}",
        "how do I change my password before I order a {0}",
    ),
    "question": (
        "is the {0} available in blue",
        "how heavy is the {0}",
        "does the {0} come with a cable",
        "which size of the {0} should I take",
        "is the {0} made of wood",
        "what colours does the {0} have",
    ),
}
"""Intent → messages about a product; the same sentences with other products train and test."""
PRODUCTS = (
    "lamp", "desk", "chair", "kettle", "jacket", "phone", "sofa", "mirror", "carpet", "toaster",
    "bicycle", "camera", "blanket", "shelf", "clock", "radio", "fan", "tent", "suitcase", "guitar",
)  # fmt: skip
POLITE = ("", "hello, ", "good morning, ", "hi there, ")


@dataclass
class FirstDay:
    """The way of one newcomer: a folder, an environment, and the minutes of each step."""

    folder: Path
    here: bool
    """Whether libraries come from this environment instead of the index."""
    minutes: dict[str, float] = field(default_factory=dict)

    @property
    def environment(self) -> Path:
        """The fresh environment."""
        return self.folder / "environment"

    def step(self, name: str, work: Callable[[], None]) -> None:
        """Do a step that has not been done, and keep its minutes in the folder."""
        kept = self.folder / "minutes.json"
        if kept.is_file():
            self.minutes = json.loads(kept.read_text(encoding="utf-8"))
        if name in self.minutes:
            return
        print(f"--- {name}", flush=True)
        began = time.monotonic()
        work()
        self.minutes[name] = (time.monotonic() - began) / 60
        print(f"--- {name}: {self.minutes[name]:.1f} min", flush=True)
        kept.write_text(json.dumps(self.minutes, indent=1), encoding="utf-8")

    def run(self, *words: str, code: int = 0, said: str = "") -> str:
        """Run a command of the environment; return its output.

        Raises:
            SystemExit: another exit code, or an output without the text that belongs to it.
        """
        done = subprocess.run(
            [self.environment / "bin" / words[0], *words[1:]],
            cwd=self.folder,
            env=self._variables(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        print("$ " + " ".join(words))
        print("\n".join(done.stdout.splitlines()[-12:]), flush=True)
        if done.returncode != code or said not in done.stdout:
            sys.exit(f"first_day: exit code {done.returncode} instead of {code}, or no {said!r}")
        return done.stdout

    def _variables(self) -> Mapping[str, str]:
        """Return the variables of a terminal in which nothing of this tree is set."""
        ours = ("PYTHONPATH", "PYTEST_", "TUNEGATE_", "GITHUB_", "VIRTUAL_ENV")
        kept = {name: text for name, text in os.environ.items() if not name.startswith(ours)}
        path = f"{self.environment / 'bin'}{os.pathsep}{kept['PATH']}"
        # Threads that wait for each other by spinning cost minutes where a core is shared.
        return {"OMP_WAIT_POLICY": "PASSIVE", **kept, "PATH": path}

    def install(self) -> None:
        """Make the environment, and install the wheel of this tree with what it needs."""
        from hatchling.builders.wheel import WheelBuilder

        (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(self.folder), versions=["standard"])
        venv.create(self.environment, symlinks=True)
        pip = [sys.executable, "-m", "pip", "--python", str(self.environment / "bin" / "python")]
        pip += ["--disable-pip-version-check", "install", "-q"]
        wanted = [wheel, "--no-deps"] if self.here else [f"{wheel}[train]"]
        subprocess.run([*pip, *wanted], check=True)
        if self.here:
            libraries = sysconfig.get_path("purelib")
            (site,) = self.environment.glob("lib/python*/site-packages")
            # Folders that this environment takes from others are taken from there, too.
            others = [p for p in sys.path if p.endswith("site-packages") and p != libraries]
            (site / "libraries.pth").write_text("\n".join([*others, libraries]) + "\n")

    def model(self) -> str:
        """Return the folder of the small model, which is fetched on the first call."""
        module = "tunegate.harness.models.demo_model"
        make = f"from {module} import make_demo_model; print(make_demo_model())"
        return self.run("python", "-c", make).splitlines()[-1]

    def write_data(self) -> None:
        """Write 240 messages to train on and 120 others to judge by, and the training script."""
        draw = random.Random(0)
        rows = [
            (f"{hello}{body.format(product)}", intent)
            for intent, bodies in BODIES.items()
            for body in bodies
            for product in PRODUCTS
            for hello in [draw.choice(POLITE)]
        ]
        draw.shuffle(rows)
        for name, part in (("train.csv", rows[:240]), ("messages.csv", rows[240:360])):
            with (self.folder / name).open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([("utterance", "intent"), *part])
        (self.folder / "train.py").write_text(TRAIN, encoding="utf-8")

    def make_suite(self) -> None:
        """Write the suite from the CSV file, and gates in the place of the proposed one."""
        self.run("tunegate", "suite", "new", "suites/intents", "--from", "messages.csv")
        path = self.folder / "suites" / "intents" / "suite.toml"
        text = path.read_text(encoding="utf-8")
        text = text.replace("max_new_tokens = 64", "max_new_tokens = 8")  # an intent is one word
        path.write_text(text[: text.index("[[gates]]")] + GATES.lstrip(), encoding="utf-8")
        self.run("tunegate", "suite", "check", "suites/intents")

    def gate(self, adapter: str, model: str, *, code: int, verdict: str) -> None:
        """Gate an adapter, and see that the page is there."""
        said = self.run(
            "tunegate", "gate", "suites/intents", "--base", model, "--tuned", adapter,
            "--training-data", "train.csv",
            code=code, said=f"{verdict}: ",
        )  # fmt: skip
        (page,) = {line[8:] for line in said.splitlines() if line.startswith("report: ")}
        if not (self.folder / page).is_file():
            sys.exit(f"first_day: {page} is not there")


def main() -> int:
    """Go the way and print the minutes of each step."""
    parser = argparse.ArgumentParser(description="Go the way of a newcomer's first day.")
    parser.add_argument("--here", action="store_true", help="take this environment's libraries")
    parser.add_argument("--model", help="folder or id of the base model")
    parser.add_argument("--steps", type=int, default=24, help="steps of the good fine-tune")
    parser.add_argument("--folder", type=Path, help="keep the files here, and continue there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = (options.folder or Path(place)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        day = FirstDay(folder, options.here)
        day.step("install", day.install)
        model = options.model or day.model()
        day.step("data and script", day.write_data)
        day.step("suite from a CSV", day.make_suite)
        day.step("training, 2 steps", lambda: _train(day, 2, "out/first", model))
        day.step("red run", lambda: day.gate("out/first", model, code=1, verdict="BLOCK"))
        steps = options.steps
        day.step(f"training, {steps} steps", lambda: _train(day, steps, "out/second", model))
        day.step("green run", lambda: day.gate("out/second", model, code=0, verdict="SHIP"))
        for name, minutes in day.minutes.items():
            print(f"{name:<24} {minutes:5.1f} min")
        print(f"{'in all':<24} {sum(day.minutes.values()):5.1f} min")
    return 0


def _train(day: FirstDay, steps: int, out: str, model: str) -> None:
    """Run the newcomer's own script."""
    day.run("python", "train.py", str(steps), out, model)


if __name__ == "__main__":
    sys.exit(main())
