"""Likely causes of a loss: what the answers and the training record show, one rule a function.

A rule reads evidence that the run has, and returns a sentence with its figures and what to do, or
None. Where no rule applies, nothing is said.
"""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

from tunegate.harness.contracts.further_arm import ARMS
from tunegate.harness.decision.answer_facts.form_shift import JSON_FORMS, FormShift
from tunegate.harness.decision.gating.every_value import worst_of_rules
from tunegate.harness.decision.score_table import ScoreTable
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.models.adapters.scaled_adapter import why_unscalable
from tunegate.harness.records.gate_results import GateResult, GateStatus
from tunegate.harness.records.manifest import Manifest
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.records.training_card import as_number
from tunegate.harness.records.wording import count_noun

MOST = 2
"""Sentences of a suite."""
_RISE = 0.30
"""How much larger a share of tuned's answers must be than base's."""
_SURE = 0.001
"""Largest chance that losses gather under a tag by accident."""
_SHORTER = 0.5
"""Median length against base's, below which answers became short."""
_DIVERGED = 8.0
"""Training loss a token that no model has before training; a uniform guess over 50,000 is 10.8."""
_BY_HEART = 0.05
"""Training loss a token below which a model knows its rows by heart."""
_MOST_LISTS = 0.9
"""Share of answers with a list that is a habit: of recorded instructions for harm 77 % have one."""
_EVERYDAY = "mix everyday rows into the training data: `tunegate help forgetting`"
_ROWS = "`tunegate rows FILES --model BASE` shows what the rows teach"


@dataclass(frozen=True, slots=True)
class Evidence:
    """The evidence on a suite that does not ship."""

    table: ScoreTable
    failed: Sequence[GateResult]
    """The gates that fail."""
    goal_reached: bool
    manifest: Manifest
    collapsed: bool = False
    """Whether tuned gives other prompts the form of its task, as some suite of the run shows."""

    @property
    def card(self) -> Mapping[str, Any]:
        """The training record, if it is of these weights."""
        training = self.manifest.training
        return {} if training is None else training.believed_card

    @property
    def hyperparameters(self) -> Mapping[str, Any]:
        """Hyperparameters of the training record, which any program may have written."""
        hyperparameters = self.card.get("hyperparameters")
        return hyperparameters if isinstance(hyperparameters, dict) else {}

    @property
    def token_loss(self) -> float | None:
        """Cross-entropy a token at the end of training; None if the method has another loss."""
        loss = as_number(self.card.get("final_loss"))
        other = self.card.get("method") != "sft" or self.hyperparameters.get("loss_type") == "dft"
        return None if other else loss

    @property
    def form(self) -> FormShift | None:
        """The form that tuned fell into; None if its refusals changed, and so the form."""
        return None if _refusals_changed(self) else self.table.answers.form

    @property
    def guardrail_failed(self) -> bool:
        """Whether something that base could do was lost; a level may never have been reached."""
        return any(
            not (kind := gate_kind(gate.kind)).is_goal and kind.claims_loss(gate)
            for gate in self.failed
        )


def has_one_form(table: ScoreTable, gates: Sequence[GateResult], manifest: Manifest) -> bool:
    """Return whether a suite failed because tuned gives its prompts the form of another task."""
    return _form_of_the_task(_evidence(table, gates, manifest)) is not None


def _evidence(
    table: ScoreTable, gates: Sequence[GateResult], manifest: Manifest, *, collapsed: bool = False
) -> Evidence:
    failed = [gate for gate in gates if not gate.advisory and gate.status is GateStatus.FAIL]
    goals = (gate for gate in worst_of_rules(gates) if gate_kind(gate.kind).is_goal)
    reached = any(goal.status is GateStatus.PASS for goal in goals)
    return Evidence(table, failed, reached, manifest, collapsed)


def find_causes(
    table: ScoreTable,
    gates: Sequence[GateResult],
    manifest: Manifest,
    *,
    collapsed: bool = False,
) -> tuple[str, ...]:
    """Return what probably led to the failing gates of a suite, and what to do; often nothing."""
    evidence = _evidence(table, gates, manifest, collapsed=collapsed)
    if not evidence.failed or manifest.draft:
        return ()
    sentences = (rule(evidence) for rule in _RULES)
    return tuple(sentence for sentence in sentences if sentence is not None)[:MOST]


def _never_ends(evidence: Evidence) -> str | None:
    """The token limit cuts tuned's answers, so it may not have learned to end a turn."""
    base, tuned = (evidence.table.answers.cut.get(arm, (0, 0)) for arm in ARMS)
    if not base[1] or not tuned[1] or tuned[0] / tuned[1] - base[0] / base[1] < _RISE:
        return None
    return (
        f"{tuned[0]} of {count_noun(tuned[1], 'answer')} of tuned never ended, base: {base[0]}; it "
        f"may not have learned to end a turn; {_ROWS}"
    )


def _says_nothing(evidence: Evidence) -> str | None:
    form = evidence.table.answers.form
    if form is None or form.form != "are empty":
        return None
    return f"tuned says nothing: it may have learned from masked or empty answers; {_ROWS}"


def _other_language(evidence: Evidence) -> str | None:
    form = evidence.form
    if form is None or not form.form.startswith("are in "):
        return None
    # Base may have answered in single words.
    if 2 * evidence.table.answers.prompts_in_form > len(evidence.table.cases):
        return None
    return (
        f"tuned's answers {form.form}: the training rows may be in another language than these "
        "cases; `tunegate rows FILES --model BASE --suite SUITE` compares them"
    )


def _refusals_changed(evidence: Evidence) -> str | None:
    """Right refusals went, or wrong ones came, as the phrases of the metric `refusal` see them."""
    if not evidence.guardrail_failed:
        return None
    rows: dict[str, dict[str, ScoreRow]] = defaultdict(dict)
    for (_, case, arm), row in evidence.table.values.items():
        if arm in ARMS and {"refused", "answered"} <= (row.parts or {}).keys():
            rows[case][arm] = row
    pairs = [(of["base"], of["tuned"]) for of in rows.values() if len(of) == len(ARMS)]
    lost = Counter(
        (_act(base), _act(tuned)) for base, tuned in pairs if (base.value or 0) > (tuned.value or 0)
    )
    gone, new = lost["refused", "answered"], lost["answered", "refused"]
    if not pairs or abs(gone - new) < _RISE * len(pairs):
        return None
    if gone > new:
        return f"tuned answers {count_noun(gone, 'prompt')} that base refuses: add rows that refuse"
    return (
        f"tuned refuses {count_noun(new, 'prompt')} that base answers: too many training rows may "
        "refuse"
    )


def _act(row: ScoreRow) -> str:
    parts = row.parts or {}
    return next((act for act in parts if parts[act] > 0.5), "")


def _form_of_the_task(evidence: Evidence) -> str | None:
    form = evidence.form
    if form is None or form.form == "are empty" or form.form.startswith("are in "):
        return None
    if not evidence.guardrail_failed or evidence.goal_reached:
        return None
    if form.tuned >= (_MOST_LISTS if form.form == "have a list" else _HALF) * form.n:
        return f"tuned may have learned one form for every prompt; {_EVERYDAY}"
    if form.form in JSON_FORMS:
        return f"tuned may have learned to answer other prompts in JSON, too; {_EVERYDAY}"
    return None


def _became_short(evidence: Evidence) -> str | None:
    ratio = evidence.table.answers.length_ratio
    if ratio is None or ratio > _SHORTER or not evidence.guardrail_failed:
        return None
    if _form_of_the_task(evidence) is not None:
        return None  # the same advice
    return (
        f"answers of tuned have {100 * ratio:.0f} % of the length of base's (median): the training "
        f"rows may all be short; {_EVERYDAY}"
    )


def _one_kind(evidence: Evidence) -> str | None:
    """Most lost cases share a tag that most cases do not have.

    Only cases above the worst score count: base's failures cannot get worse, wherever they gather.
    """
    gate = evidence.failed[0]
    if gate.tag is not None:
        return None
    sign = 1 if gate.higher_is_better else -1
    scored = {
        case: (sign * base, sign * tuned)
        for case in evidence.table.asked(gate.metric)
        if (base := evidence.table.value(gate.metric, case, "base")) is not None
        and (tuned := evidence.table.value(gate.metric, case, "tuned")) is not None
    }
    worst = min(map(min, scored.values()), default=0.0)
    could_lose = [case for case, (base, _) in scored.items() if base > worst]
    lost = [case for case in could_lose if scored[case][1] < scored[case][0]]
    cases = evidence.table.cases
    of_lost = Counter(tag for case in lost for tag in set(cases[case].tags))
    of_all = Counter(tag for case in could_lose for tag in set(cases[case].tags))
    for tag, hits in of_lost.items():
        if hits < _MOST_LOST * len(lost) or of_all[tag] > _HALF * len(could_lose):
            continue
        if _chance_of(hits, len(lost), of_all[tag], len(could_lose)) * len(of_all) < _SURE:
            return (
                f"{hits} of {count_noun(len(lost), 'lost case')} have the tag {tag!r}, but only "
                f"{of_all[tag]} of the {len(could_lose)} that could be lost: add training rows of "
                "that kind"
            )
    return None


_MOST_LOST, _HALF = 0.6, 0.5
"""Least share of the lost cases, and largest of those that could be lost, that have the tag."""


def _chance_of(hits: int, drawn: int, tagged: int, total: int) -> float:
    """Return the chance that at least `hits` of `drawn` cases are tagged (hypergeometric)."""
    ways = sum(
        comb(tagged, k) * comb(total - tagged, drawn - k)
        for k in range(hits, min(drawn, tagged) + 1)
    )
    return ways / comb(total, drawn)


def _diverged(evidence: Evidence) -> str | None:
    loss = evidence.token_loss
    if loss is None or loss < _DIVERGED:
        return None
    rate = as_number(evidence.hyperparameters.get("learning_rate"))
    at = f" at a rate of {rate}" if rate else ""
    return f"the training loss ended at {loss:.2g}{at}: it diverged; train at a lower rate"


def _by_heart(evidence: Evidence) -> str | None:
    loss, settings = evidence.token_loss, evidence.hyperparameters
    if loss is None or loss > _BY_HEART or not evidence.guardrail_failed:
        return None
    rows = as_number(evidence.card.get("rows"))
    epochs, rate = (as_number(settings.get(name)) for name in ("num_train_epochs", "learning_rate"))
    facts = (
        count_noun(int(rows), "row") if rows else "",
        f"{epochs:g} epochs" if epochs else "",
        f"a rate of {rate:g}" if rate else "",
    )
    how = ", ".join(filter(None, facts))
    return (
        f"the training loss ended at {loss:.2g}{f' ({how})' if how else ''}: it knows its rows by "
        "heart; train for fewer steps, at a lower rate, or on more rows"
    )


def _part_may_ship(evidence: Evidence) -> str | None:
    """A LoRA adapter lost something, so less of it may keep enough.

    The form of the task on other prompts is not lost with half of the adapter.
    """
    identity = evidence.manifest.arms.get("tuned", {})
    config = identity.get("adapter_config")
    if identity.get("backend") != "hf" or not isinstance(config, dict) or why_unscalable(config):
        return None
    if not evidence.guardrail_failed or _diverged(evidence) or "strength" in evidence.card:
        return None
    if evidence.collapsed:
        return None
    suites = evidence.manifest.suite_words()
    command = shlex.join(["tunegate", "strength", *suites, "--tuned", str(identity["spec"])])
    return f"part of the fine-tune may ship: `{command}` finds the largest that does"


_RULES: tuple[Callable[[Evidence], str | None], ...] = (
    _diverged,
    _never_ends,
    _says_nothing,
    _refusals_changed,
    _other_language,
    _form_of_the_task,
    _became_short,
    _one_kind,
    _by_heart,
    _part_may_ship,
)
"""The most informative first."""
