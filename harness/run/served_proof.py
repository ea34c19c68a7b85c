"""Served proof: whether a server has the model in its folder, and builds the trained prompt."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tunegate.harness.contracts.model import Arm, RecordedArm, RemoteArm, ServedArm
from tunegate.harness.records.errors import NotComparable
from tunegate.harness.records.wording import count_noun
from tunegate.harness.run.prepared_run import PreparedRun

if TYPE_CHECKING:
    from tunegate.harness.models.servers.identity import OpenArms, ServedIdentity


def prove_served(
    arms: Mapping[str, Arm], opened: OpenArms, report: Callable[[str], None]
) -> ServedIdentity | None:
    """Prove that every served arm is the model in its folder; None if no arm is served.

    Args:
        arms: The opened arms, base among them.
        opened: Opens folders with Transformers, in float32.
        report: Takes a line to show before the weights are read.

    Raises:
        NotComparable: a server computes with other weights than those in the folder.
    """
    addresses = [arm.address for arm in arms.values() if isinstance(arm, ServedArm)]
    if not addresses:
        return None
    from tunegate.harness.models._model_folder import models_on_cpu
    from tunegate.harness.models.servers.identity import ServedIdentity
    from tunegate.harness.models.servers.target import is_this_machine

    def exactly(specs: Mapping[str, str]) -> Mapping[str, Arm]:
        # A server on this machine may take the GPU's memory.
        with models_on_cpu(needed=any(map(is_this_machine, addresses))):
            return opened(specs)

    return ServedIdentity.prove(arms, exactly, report)


def prove_prompts(run: PreparedRun) -> ServedPrompts:
    """Compare the prompts that servers build with those that were trained.

    A server that arms share must not mix up their caches; this is seen before the run, since leaked
    answers would be paid for, and stored.

    Raises:
        ModelError: a server's context is too short for a prompt of the run.
    """
    arms = {name: arm for name, arm in run.arms.items() if name in run.answering_arms}
    if not any(isinstance(arm, RemoteArm) for arm in arms.values()):
        return ServedPrompts()
    from tunegate.harness.models.servers.image_support import UNKNOWN, find_dropped_images
    from tunegate.harness.models.servers.prefix_leak import find_prefix_leaks
    from tunegate.harness.models.servers.prompt_length import refuse_short_context
    from tunegate.harness.models.servers.served_prompt import PromptProof

    requests = tuple(run.plan.requests.values())
    blind, unknown = find_dropped_images(requests, arms)
    cut = refuse_short_context(requests, arms)
    proof = PromptProof.prove(requests, run.plan.prompts, arms)
    for name, note in cut.items():
        proof.record.setdefault(name, {})["cut_answers"] = note
    for name in unknown:
        _add_note(proof.record, name, UNKNOWN)
    unasked = set(arms) - {c.arm for c in run.plan.cells if c.key not in run.stored}
    leaks = find_prefix_leaks(arms, unasked)
    for (first, name), found in leaks.record.items():
        proof.record.setdefault(name, {}).setdefault("prefix_cache", {})[first] = found
        if found["status"] == "unknown":
            why = f"not checked for leaks between {first} and {name} on their server"
            _add_note(proof.record, name, f"{why}: {found['why']}")
    return ServedPrompts(proof.record, blind or proof.refusal, proof.equal, leaks.refusal)


def _add_note(proofs: dict[str, dict[str, Any]], name: str, note: str) -> None:
    record = proofs.setdefault(name, {})
    record["note"] = "; ".join(filter(None, (record.get("note"), note)))


@dataclass(frozen=True)
class ServedPrompts:
    """What was found about the prompts that servers build."""

    record: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    """Served arm → its proof, or how its prompt differs."""
    refusal: str = ""
    equal: Collection[str] = ()
    """Arms that were seen to get the same prompts as those that they are compared with."""
    leak: str = ""
    """That a server mixes up the caches of two arms."""

    def refuse_different(self, *, allowed: bool) -> None:
        """Refuse arms that do not get the same prompt, unless it is allowed, and leaks."""
        if self.leak:
            raise NotComparable(self.leak)
        if self.refusal and not allowed:
            raise NotComparable(self.refusal)

    def comparability(self, run: PreparedRun) -> Mapping[str, Any]:
        """Return what was proven about the prompts of the run, by the servers themselves as well.

        Messages are taken on trust until the server shows its prompt.
        """
        proven = run.comparability
        unseen = {
            n for n, arm in run.answering_arms.items() if arm.identity.get("prompts") == "messages"
        }
        if any(prompt.images for prompt in run.plan.prompts.values()):
            return proven  # no server shows what it makes of an image
        recorded = any(isinstance(arm, RecordedArm) for arm in run.answering_arms.values())
        if not unseen or recorded or not unseen <= set(self.equal):
            return proven
        return {
            "status": "proven",
            "prompts": proven["prompts"],
            "by": "what the servers show of one conversation of each shape",
        }

    def sentences(self, kind: str) -> tuple[str, ...]:
        """Return the notes or warnings about the arms."""
        return tuple(f"{n}: {found[kind]}" for n, found in self.record.items() if found.get(kind))

    def lines(self) -> tuple[str, ...]:
        """Return what was proven about the arms, one line each."""
        prompts = (
            f"{name}: prompt proven by {record['by']} for "
            f"{count_noun(record['conversations'], 'conversation')}: {', '.join(record['shapes'])}"
            for name, record in self.record.items()
            if record.get("status") == "proven"
        )
        caches = (
            f"no leak between {first} and {name} on {found['prefixes']} shared prefixes"
            for name, record in self.record.items()
            for first, found in record.get("prefix_cache", {}).items()
            if found["status"] == "isolated"
        )
        return *prompts, *caches
