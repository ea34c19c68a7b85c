"""Attempts at an undeserved SHIP: `python -m benchmarks.attacks.undeserved_ship`.

Tuned has lost 46 of 60 answers, asks one question 60 times, or was trained on the cases, and each
attack tampers with one thing. It is survived if no command ends with 0, or if the rules that the
user wrote allow a SHIP and the output says what was lost. `--only WORD` runs the attacks that have
the word in their name. The table of docs/concepts/security.md says what happens in each.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.attacks import agent_payloads, payloads
from benchmarks.attacks.attempt import last_word
from benchmarks.attacks.project import AttackedProject, N, answer


def main(words: list[str] | None = None) -> int:
    """Run the attacks and print what became of each; return how many were not survived."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", help="run the attacks whose name contains this")
    return run(parser.parse_args(words).only)[1]


def run(only: str) -> tuple[int, int]:
    """Run the attacks and the controls; return how many attacks, and how many of both failed."""
    chosen = [attack for attack in attacks() if only in f"{attack.family}: {attack.name}"]
    failed = sum(not survived for survived in map(_report, chosen))
    controls = list(_controls())
    for line in controls:
        print(line)
    print(f"tried {len(chosen)}, survived {len(chosen) - failed}, failed {failed}")
    return len(chosen), failed + len(controls)


def attacks() -> Iterator[payloads.UndeservedShip]:
    """Yield all attacks."""
    yield from payloads.attacks()
    yield from agent_payloads.attacks()


def _report(attack: payloads.UndeservedShip) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        survived, outcome = attempt(attack, Path(folder))
    print(f"{'ok  ' if survived else 'FAIL'} {attack.family}: {attack.name}: {outcome}", flush=True)
    return survived


def attempt(attack: payloads.UndeservedShip, folder: Path) -> tuple[bool, str]:
    """Carry an attack out; return whether it was survived, and what happened."""
    project = AttackedProject(folder)
    project.begin()
    attack.change(project)
    done = project.gate()
    said = last_word(done.stdout + done.stderr)
    if done.returncode == 0:
        told = bool(attack.told) and attack.told in done.stdout
        return told, f"exit 0, {'and reported' if told else 'not reported'}: {said}"
    if project.then is None:
        return True, f"exit {done.returncode}: {said}"
    project.then(project)
    for command in project.commands:
        done = project.tunegate(*command)
        said = last_word(done.stderr or done.stdout)
        if done.returncode == 0:
            return False, f"tunegate {' '.join(command)}: exit 0: {said}"
    return True, f"tunegate {project.commands[-1][0]}: exit {done.returncode}: {said}"


def _controls() -> Iterator[str]:
    """Yield what is wrong with the project itself: a good fine-tune ships, a bad one blocks."""
    for name, right, code in (("a good fine-tune", True, 0), ("a bad one", False, 1)):
        with tempfile.TemporaryDirectory() as folder:
            project = AttackedProject(Path(folder))
            project.begin()
            project.answers("tuned", [answer("tuned", i, right=right) for i in range(N)])
            found = project.gate().returncode
        if found != code:
            yield f"FAIL control: {name} ends with {found} instead of {code}"


if __name__ == "__main__":
    raise SystemExit(main())
