"""Records what Harbor writes for a job with two models, into `tests/results/recorded/harbor/`.

    python tools/recordings/record_harbor.py

Run it where harbor is installed (0.26.0 wrote the files). Job, trials and verifier are Harbor's;
the environment is a folder of this machine, and the agent looks its commands up. The API refuses
the agent on one task, one task's tests write no reward, one trial runs out of time after its work.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from harbor.agents.base import BaseAgent
from harbor.environments.base import BaseEnvironment, ExecResult
from harbor.environments.capabilities import EnvironmentCapabilities

RECORDED = Path(__file__).parents[2] / "tests/results/recorded/harbor"
SUMS = {"sum": "2+2=4", "product": "3*3=9", "refused": "1+1=2", "unscored": "5+5=10",
        "slow": "4+4=8"}  # fmt: skip
WRONG = {("base", "product"), ("tuned", "sum"), ("base", "sum")}
TASK = 'version = "1.0"\n[agent]\ntimeout_sec = 2\n[verifier]\ntimeout_sec = 60\n[environment]\n'
INSIDE = ("/logs", "/tests", "/solution", "/app")


class FolderEnvironment(BaseEnvironment):  # type: ignore[misc]  # harbor is not installed here
    """A folder in which paths of a container are looked up."""

    @staticmethod
    def type() -> str:
        """Return its name."""
        return "folder"

    @property
    def capabilities(self) -> EnvironmentCapabilities:
        """Say that it does nothing special."""
        return EnvironmentCapabilities()

    def _validate_definition(self) -> None:
        pass

    async def start(self, force_build: bool) -> None:
        """Make the folder."""
        self.place = Path(tempfile.mkdtemp())
        for name in INSIDE:
            (self.place / name[1:]).mkdir()
        for name in ("agent", "verifier", "artifacts"):
            (self.place / "logs" / name).mkdir()

    async def stop(self, delete: bool) -> None:
        """Remove it."""
        shutil.rmtree(self.place, ignore_errors=True)

    def _inside(self, path: Any) -> Path:
        return self.place / str(path).lstrip("/")

    def _here(self, command: str) -> str:
        for name in INSIDE:
            command = command.replace(f"{name}/", f"{self.place}{name}/")
        return command

    async def upload_file(self, source_path: Any, target_path: str) -> None:
        """Copy a file in."""
        self._inside(target_path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source_path, self._inside(target_path))

    async def upload_dir(self, source_dir: Any, target_dir: str) -> None:
        """Copy a folder in."""
        shutil.copytree(source_dir, self._inside(target_dir), dirs_exist_ok=True)
        for script in self._inside(target_dir).glob("*.sh"):
            script.write_text(self._here(script.read_text()))

    async def download_file(self, source_path: str, target_path: Any) -> None:
        """Copy a file out."""
        shutil.copy(self._inside(source_path), target_path)

    async def download_dir(self, source_dir: str, target_dir: Any) -> None:
        """Copy a folder out."""
        shutil.copytree(self._inside(source_dir), target_dir, dirs_exist_ok=True)

    async def exec(self, command: str, **_: Any) -> ExecResult:
        """Run a command with the paths of the folder."""
        command = self._here(command)
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        return ExecResult(stdout=done.stdout, stderr=done.stderr, return_code=done.returncode)


class LookedUpAgent(BaseAgent):  # type: ignore[misc]
    """An agent that writes the answer that its model is known for."""

    @staticmethod
    def name() -> str:
        """Return its name."""
        return "looked-up"

    def version(self) -> str:
        """Return its version."""
        return "1"

    async def setup(self, environment: Any) -> None:
        """Need nothing."""

    async def run(self, instruction: str, environment: Any, context: Any) -> None:
        """Write the answer."""
        task, model = instruction.strip().split(":")[0], str(self.model_name).split("/")[-1]
        if task == "refused":
            raise ConnectionError("503 Service Unavailable")
        right = SUMS[task].split("=")[1]
        answer = "0" if (model, task) in WRONG else right
        await environment.exec(f"echo {answer} > /app/answer.txt")
        context.n_input_tokens, context.n_output_tokens, context.cost_usd = 100, 7, 0.001
        if task == "slow":
            await asyncio.sleep(5)


def _write_task(folder: Path, name: str) -> None:
    asked, right = SUMS[name].split("=")
    files = {
        "task.toml": TASK,
        "instruction.md": f"{name}: how much is {asked}? Write the number to /app/answer.txt.\n",
        "environment/Dockerfile": "FROM scratch\n",
        "tests/test.sh": "#!/bin/bash\ntrue\n" if name == "unscored" else (
            f'#!/bin/bash\nif [ "$(cat /app/answer.txt)" = {right} ]; then reward=1; else reward=0;'
            ' fi\necho "{\\"reward\\": $reward, \\"format\\": 1}" > /logs/verifier/reward.json\n'
        ),
    }  # fmt: skip
    for path, text in files.items():
        (folder / name / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / name / path).write_text(text)


async def _run(folder: Path) -> None:
    from harbor.job import Job
    from harbor.models.job.config import DatasetConfig, JobConfig
    from harbor.models.trial.config import AgentConfig, EnvironmentConfig

    sys.path.insert(0, str(Path(__file__).parent))
    agents = [
        AgentConfig(import_path="record_harbor:LookedUpAgent", model_name=f"offline/{model}")
        for model in ("base", "tuned")
    ]
    job = await Job.create(
        JobConfig(
            job_name="sums", jobs_dir=folder / "jobs", n_attempts=2, n_concurrent_trials=1,
            quiet=True, agents=agents, datasets=[DatasetConfig(path=folder / "sums")],
            environment=EnvironmentConfig(import_path="record_harbor:FolderEnvironment"),
        )
    )  # fmt: skip
    await job.run()


def main() -> None:
    """Run the job and keep the results, without places of this machine."""
    shutil.rmtree(RECORDED, ignore_errors=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for task in SUMS:
            _write_task(folder / "sums", task)
        asyncio.run(_run(folder))
        for file in sorted((folder / "jobs" / "sums").glob("**/result.json")):
            target = RECORDED / file.relative_to(folder / "jobs" / "sums")
            target.parent.mkdir(parents=True, exist_ok=True)
            found = json.loads(file.read_text().replace(name, "/jobs"))
            if isinstance(found.get("exception_info"), dict):
                found["exception_info"]["exception_traceback"] = ""
            target.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
