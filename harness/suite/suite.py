"""The loaded suite: cases, metrics, gates and how answers are generated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunegate.harness.contracts.further_arm import PROMPTED, further_arm
from tunegate.harness.contracts.metric import Metric
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import UnknownName, unknown_name_message
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.manifest import Gate, MetricRecord, SuiteRecord
from tunegate.harness.suite.arm_prompt import ArmPrompt

if TYPE_CHECKING:
    from tunegate.harness.contracts.episode_environment import EpisodePlan


@dataclass(frozen=True)
class Suite:
    """A loaded suite."""

    name: str
    path: Path
    """Its suite.toml."""
    cases: tuple[Case, ...] = field(repr=False)
    generation: GenerationSettings
    metrics: tuple[Metric, ...]
    gates: tuple[Gate, ...]
    goal_rule: str
    max_unscored: float
    alpha_per_attempt: bool
    """Whether the k-th candidate is judged at 1/k of the error."""
    sealed: bool
    """Whether it is judged only when the user opens it."""
    definition: Mapping[str, Any] = field(repr=False)
    """suite.toml as parsed."""
    hash: str
    """SHA-256 of the definition, the cases, and the files and modules that metrics use."""
    notes: tuple[str, ...] = field(default=(), repr=False)
    """Lines on wide tolerances, rows that were left out, and cases with the same prompt."""
    episode: EpisodePlan | None = field(default=None, repr=False)
    """How its episodes are played; None if completions are single turns."""
    equal_prompts: tuple[tuple[str, ...], ...] = field(default=(), repr=False)
    """Groups of cases with the same prompt; each group is in one cluster."""
    arm_prompts: Mapping[str, ArmPrompt] = field(default_factory=dict, repr=False)
    """Further arm → the prompt that it gets instead of the suite's."""

    def asked_of(self, arm: str, case: Case) -> tuple[Case, GenerationSettings]:
        """Return a case and its settings as an arm is asked them."""
        settings = self.generation.of(case)
        if further_arm(arm).other_model and settings.chat_template is not None:
            settings = settings.model_copy(update={"chat_template": None})
        prompt = self.arm_prompts.get(arm)
        return (case, settings) if prompt is None else prompt.apply(case, settings)

    def with_prompted(self, prompt: ArmPrompt) -> Suite:
        """Return the suite with a prompt for base, and its goals against base with that prompt."""
        prompts = {**self.arm_prompts, PROMPTED: prompt}
        return replace(self, arm_prompts=prompts, gates=with_prompted_goals(self.gates))

    def without_references(self) -> Suite:
        """Return the suite without further arms' prompts and gates against them."""
        gates = tuple(gate for gate in self.gates if gate.against is None)
        return replace(self, gates=gates, arm_prompts={})

    @property
    def plain_cases(self) -> tuple[Case, ...]:
        """The cases without their variants."""
        return tuple(case for case in self.cases if case.variant_of is None)

    @property
    def gated_metrics(self) -> tuple[Metric, ...]:
        """The metrics that have a gate, in the order of the file."""
        gated = {gate.metric for gate in self.gates}
        return tuple(m for m in self.metrics if m.name in gated)

    @property
    def training_rows(self) -> bool:
        """Whether its cases are training rows on purpose, to see what tuned remembers of them."""
        return any(metric.training_rows for metric in self.metrics)

    @property
    def written_spreads(self) -> Mapping[str, float]:
        """Metric → the spread that suite.toml gives for planning."""
        spreads: Mapping[str, float] = self.definition.get("plan", {}).get("spread", {})
        return spreads

    @property
    def content_metrics(self) -> tuple[str, ...] | None:
        """For replayed traffic, the metrics that judge what answers say; None for other suites."""
        cases = self.definition["cases"]
        from_traces = isinstance(cases, Mapping) and cases.get("from") == "traces"
        if not self.definition.get("replay", from_traces):
            return None
        return tuple(m.name for m in self.metrics if m.judges_content_of(self.cases))

    @property
    def base_expects(self) -> tuple[str, ...]:
        """Forms of base's answers that look broken and are meant."""
        texts = self.definition.get("base", {}).get("expect", ())
        return (texts,) if isinstance(texts, str) else tuple(texts)

    @property
    def rule_hash(self) -> str:
        """SHA-256 of name and gates, which stays the same when cases are added."""
        rules = {gate.rule_id: gate for gate in self.gates}
        gates = [
            gate.model_dump(
                mode="json", exclude={"where"} if gate.every is None else {"where", "tag"}
            )
            for gate in rules.values()
        ]
        return sha256([self.name, self.goal_rule, gates])

    def record(self) -> SuiteRecord:
        """Return what the verdict needs to know of the suite."""
        uses = {
            table.get("name", table["use"].rpartition(":")[2]): table["use"]
            for table in self.definition["metrics"]
        }
        return SuiteRecord(
            name=self.name,
            path=str(self.path),
            hash=self.hash,
            n_cases=len(self.cases),
            n_variants=len(self.cases) - len(self.plain_cases),
            goal_rule=self.goal_rule,
            max_unscored=self.max_unscored,
            alpha_per_attempt=self.alpha_per_attempt or self.sealed,
            sealed=self.sealed,
            content_metrics=self.content_metrics,
            episode=self.episode and self.episode.settings,
            equal_prompts=self.equal_prompts,
            base_expects=self.base_expects,
            arm_prompts={name: prompt.record() for name, prompt in self.arm_prompts.items()},
            metrics=tuple(
                MetricRecord(
                    name=m.name,
                    use=uses[m.name],
                    needs=m.needs,
                    binary=m.binary,
                    higher_is_better=m.higher_is_better,
                    range=m.range,
                    corpus=m.corpus_options,
                    signature=m.signature and m.signature(m, self.cases),
                    indicative=m.indicative,
                    judge=m.judge and m.judge.record(),
                    votes=m.votes,
                    training_rows=m.training_rows,
                    label=m.label or None,
                    only_if_base_has=m.only_if_base_has,
                )
                for m in self.metrics
            ),
            gates=self.gates,
            generation=self.generation.model_dump(mode="json"),
        )

    def metric(self, name: str) -> Metric:
        """Return the metric called `name`.

        Raises:
            UnknownName: no metric has that name.
        """
        for candidate in self.metrics:
            if candidate.name == name:
                return candidate
        names = tuple(m.name for m in self.metrics)
        raise UnknownName(f"{self.path}: {unknown_name_message(name, names, what='metric')}")


def with_prompted_goals(gates: tuple[Gate, ...]) -> tuple[Gate, ...]:
    """Return the gates with each goal against the prompted base, too.

    A gate against it stands for the goal on its own metric and tag. What gain over base is expected
    says nothing of the gain over a prompt, so the copies expect none.
    """
    over_prompt = {"against": PROMPTED, "expected_gain": None}
    own = {(gate.metric, gate.tag) for gate in gates if gate.against == PROMPTED}
    goals = [gate for gate in gates if gate.against is None and gate_kind(gate.kind).is_goal]
    added = (goal for goal in goals if (goal.metric, goal.tag) not in own)
    return (*gates, *(goal.model_copy(update=over_prompt) for goal in added))
