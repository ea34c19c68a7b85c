"""Served identity: does a server compute with the weights that are on the disk?

Every served arm is asked for the log-probabilities of the token after fixed pieces of text, and
Transformers and PEFT compute the same from the folders. With x = served − expected and
d = tuned − base, both over the tokens that the server reports:

- r = rms(x) / rms(d) is the error as a share of what the fine-tune changes; not applied, it is 1.
- c = ⟨x, d⟩ / ⟨d, d⟩ is its part along the fine-tune: −1 not applied, 1 applied to base. Rounding
  has no direction, so that c shows a wrong scale which r cannot distinguish from rounding.

What a 16-bit format may change is measured: the same weights, computed in bfloat16 here; and what
the 8-bit activations of llama.cpp's quantised weights may, by rounding activations here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.free_memory import available_memory
from tunegate.harness.contracts.further_arm import SHIPPED
from tunegate.harness.contracts.model import Arm, LocalArm, ServedArm
from tunegate.harness.models.servers.faults import name_fault
from tunegate.harness.models.servers.reference import (
    ServedError,
    expected_logprobs,
    in_served_arithmetic,
    served_arithmetic,
    served_error,
)
from tunegate.harness.records.errors import BackendError, ModelError, NotComparable, UsageError

PROBES = (
    "def median(values):\n    values = sorted(values)\n    middle = len(values) // 2\n    ret",
    "The parcel was sent on Monday and should arrive by Thursday, unless the weather delays it.",
    "Question: What is the capital of France?\nAnswer: The capital of France is Paris, on the",
    '{"intent": "book_flight", "city": "Rome", "passengers": 2, "date": "2026-05-04"}',
    "Der Zug nach München fährt um acht Uhr von Gleis drei ab, und das Gepäck bleibt im",
    "In 1969, two astronauts walked on the Moon; 12 × 12 = 144 and 17 + 25 = 42, so",
    "Dear Ms. Keller,\n\nthank you for your letter of 3 March. We are sorry that the order was",
    "user: Book a table for two in Oslo tonight.\nassistant: Of course. At what time would",
)
"""Texts of several kinds: code, prose, facts, JSON, German, numbers, a letter, a dialogue."""
_PLACES = 8
"""Places in each text after which the next token is asked for."""
EXACT = 1e-3
"""Largest r of the same arithmetic: 200 times that of vLLM 0.32 in float32."""
_EXACT_NATS = 2e-4
"""Largest error of the same arithmetic in nats, however little a fine-tune changes."""
_ROUNDED = 2.0
"""Multiple of the error of bfloat16, as measured here, that another kernel's rounding may have."""
_ALONG = 0.02
"""Largest c that rounding may leave, besides four of its standard errors."""
_MEMORY = 0.7
"""Share of the free memory that the weights may take in float32."""

OpenArms = Callable[[Mapping[str, str]], Mapping[str, Arm]]


@dataclass
class ServedIdentity:
    """Results of the weights on the disk; served arms are compared with them, twice in a run."""

    record: dict[str, Any] = field(default_factory=dict)
    """Served arm → what was proven, or why it is taken on trust."""
    prefixes: list[list[list[int]]] = field(default_factory=list)
    expected: dict[str, Any] = field(default_factory=dict)
    """Arm → log-probabilities by its files, float32 [places, vocabulary]."""
    folders: Mapping[str, str] = field(default_factory=dict)
    """Served arm that is compared → the model spec of its weights."""
    rounding: dict[str, float] = field(default_factory=dict)
    """Arm → by how much coarser arithmetic moves its log-probabilities, in nats, where needed."""
    arithmetic: dict[str, str] = field(default_factory=dict)
    """Arm → how coarsely a server of its weights may compute."""
    floors: dict[str, float] = field(default_factory=dict)
    """Address of a server → the error of base there."""
    reference: Mapping[str, LocalArm] = field(default_factory=dict, repr=False)
    """The arms as loaded here, during the first check only."""

    @classmethod
    def prove(
        cls, arms: Mapping[str, Arm], open_arms: OpenArms, report: Callable[[str], None]
    ) -> ServedIdentity:
        """Prove that every served arm is the model in its folder, as far as possible."""
        identity = cls()
        served = {name: arm for name, arm in arms.items() if isinstance(arm, ServedArm)}
        for name, arm in served.items():
            if why := _not_at_hand(arm):
                identity.record[name] = _trust_record(why)
        chosen = {name: arm for name, arm in served.items() if name not in identity.record}
        if not chosen:
            return identity
        identity.folders = {
            n: f for n, arm in chosen.items() if (f := arm.weights_spec) is not None
        }
        specs = reference_specs(arms, identity.folders)
        try:
            _refuse_too_large(identity.folders.values())
            report(f"reading {' and '.join(dict.fromkeys(specs.values()))} to prove what is served")
            opened = open_arms(specs)
        except UsageError as error:
            why = f"its weights cannot be computed here: {error}"
            identity.record |= {name: _trust_record(why) for name in chosen}
            identity.folders = {}  # there is nothing that a later check could compare with
            return identity
        identity._read(opened)
        identity._refuse_base_itself()
        try:
            identity.check(arms)
        finally:
            identity.reference = {}
        return identity

    def _read(self, opened: Mapping[str, Arm]) -> None:
        self.reference = {n: arm for n, arm in opened.items() if isinstance(arm, LocalArm)}
        self.prefixes = probe_prefixes(self.reference["base"].tokenizer)
        values = {
            name: expected_logprobs(arm, self.prefixes) for name, arm in self.reference.items()
        }
        self.arithmetic = {name: served_arithmetic(arm) for name, arm in self.reference.items()}
        # An adapter may bring further tokens, which base cannot be compared on.
        shared = min(rows.shape[-1] for rows in values.values())
        self.expected = {name: rows[:, :shared] for name, rows in values.items()}

    def _refuse_base_itself(self) -> None:
        """Refuse an artifact whose files compute what base's do: the fine-tune is not in them."""
        shipped = self.expected.get(SHIPPED)
        if SHIPPED not in self.folders or shipped is None:
            return
        if float(abs(shipped - self.expected["base"]).max()) < _SAME_NATS:
            raise NotComparable(
                f"{SHIPPED}: {self.folders[SHIPPED]} gives answers of base under the adapter's "
                "name: fused or merged without effect; make it again"
            )

    def check(self, arms: Mapping[str, Arm]) -> None:
        """Compare what is served with the files, base first."""
        for name in sorted(self.folders, key=lambda name: name != "base"):
            arm = arms[name]
            assert isinstance(arm, ServedArm)
            reported = arm.next_logprobs(flat(self.prefixes))
            if reported is None:
                raise BackendError(f"{name}: the server reports no log-probabilities any more")
            error = served_error(reported, self.expected[name], self._ends(name))
            limit = self._exact_limit(name, arm, error)
            exact = error.size <= limit and not arm.rounds
            if not exact and arm.address not in self.floors:
                limit = self._rounded_limit(name)
            how = "exact" if exact else self.arithmetic[name]
            self.record[name] = _proof(error, limit, arithmetic=how, checks=self._checks(name))
            if name == "base" and exact:
                self.floors[arm.address] = error.size
            # Rounding that is larger than the fine-tune also takes a part of it away.
            scaled = not exact and limit < error.movement and _is_scaled(error)
            if error.size > limit or scaled:
                raise NotComparable(self._refusal(name, reported, error, limit))

    def _checks(self, name: str) -> int:
        return int(self.record.get(name, {}).get("checks", 0)) + 1

    def _ends(self, name: str) -> tuple[Any, Any] | None:
        """Return base's and the fine-tune's log-probabilities: what an error is measured by."""
        other = name if name != "base" else next((n for n in self.expected if n != "base"), None)
        return None if other is None else (self.expected["base"], self.expected[other])

    def _exact_limit(self, name: str, arm: ServedArm, error: ServedError) -> float:
        """Return the largest error, in nats, of the arithmetic that is used here."""
        floor = self.floors.get(arm.address)
        nats = _EXACT_NATS if floor is None else min(_EXACT_NATS, 10 * floor)
        return max(nats, EXACT * error.movement)

    def _rounded_limit(self, name: str) -> float:
        """Return the largest error, in nats, of a 16-bit format, or of quantised weights."""
        if self.reference and not self.rounding:
            import numpy as np

            for reference_name, arm in self.reference.items():
                with in_served_arithmetic(arm):
                    values = expected_logprobs(arm, self.prefixes)
                values = values[:, : self.expected[reference_name].shape[-1]]
                apart = (values - self.expected[reference_name])[
                    self.expected[reference_name] > _LIKELY
                ]
                self.rounding[reference_name] = float(np.sqrt(np.mean(apart**2)))
        return _ROUNDED * self.rounding.get(name, 0.0)

    def _refusal(
        self, name: str, reported: Sequence[Mapping[int, float]], error: ServedError, limit: float
    ) -> str:
        after = self.record[name]["checks"] > 1
        if after:
            cause = "it was when the run began, so the server changed while it answered"
        else:
            limits = dict.fromkeys(self.expected, limit)
            limits |= {n: _ROUNDED * nats for n, nats in self.rounding.items()} | {name: limit}
            cause = name_fault(name, reported, self.prefixes, self.reference, self.expected, limits)
        share = f"; r = {error.ratio:.2g} of what the fine-tune changes" if error.movement else ""
        allowed = f" (at most {limit / error.movement:.2g})" if error.movement else ""
        return (
            f"{name}: the served weights differ from {self.folders[name]}: {cause}{share}"
            f"{allowed}; serve that folder under this name, and look at the server's log"
        )


_SAME_NATS = 1e-4
"""Largest change of a log-probability that the order of float32 additions makes in equal weights;
a fine-tune that changes no more has no effect."""
_LIKELY = -12.0
"""Log-probability from which on a token is among those that a server reports."""


def flat(prefixes: Sequence[Sequence[Sequence[int]]]) -> list[list[int]]:
    """Return the pieces of all texts in one list."""
    return [list(prefix) for text in prefixes for prefix in text]


def probe_prefixes(tokenizer: Any) -> list[list[list[int]]]:
    """Return, for each probe text, its token ids up to each of its places."""
    prefixes = []
    for text in PROBES:
        ids = list(tokenizer(text)["input_ids"])
        ends = sorted({max(2, round(len(ids) * (i + 1) / _PLACES)) for i in range(_PLACES)})
        prefixes.append([ids[:end] for end in ends])
    return prefixes


def _not_at_hand(arm: ServedArm) -> str:
    """Return why an arm cannot be compared with its weights; empty if it can."""
    if arm.weights_spec is None:
        return "its weights are not here; name them in the spec with ?weights=FOLDER_OR_GGUF"
    if arm.tokenizer is None:
        return "no tokenizer is known; name its folder in the spec with ?tokenizer=FOLDER"
    if arm.next_logprobs(flat(probe_prefixes(arm.tokenizer))[:1]) is None:
        return "the server reports no log-probabilities by token id (vLLM does)"
    return ""


def reference_specs(arms: Mapping[str, Arm], folders: Mapping[str, str]) -> dict[str, str]:
    """Return which weights are loaded: of base in any case, since adapters are put on it."""
    base = folders.get("base")
    if base is None and not isinstance(arms["base"], LocalArm):
        raise ModelError("the weights of base are not here")
    spec = str(base or arms["base"].identity["spec"])
    others = {name: folder for name, folder in folders.items() if name != "base"}
    return {"base": spec, "tuned": spec, **others}


def _refuse_too_large(specs: Iterable[str]) -> None:
    """Refuse weights that would not fit into the free memory in float32."""
    size = sum(map(_float32_bytes, specs))
    free = available_memory()
    if size > _MEMORY * free:
        raise ModelError(
            f"they take about {size / 1e9:.0f} GB in float32, and {free / 1e9:.0f} GB of memory "
            "are free"
        )


def _float32_bytes(spec: str) -> int:
    """Return about how much memory weights take: files in 16 bits double, a GGUF file by count."""
    if not spec.startswith("gguf:"):
        return 2 * sum(file.stat().st_size for file in Path(spec).glob("*.safetensors"))
    from tunegate.harness.models.gguf_format.file import read_gguf

    file = read_gguf(Path(spec.removeprefix("gguf:").partition("?")[0]))
    return 4 * sum(int(tensor.n_elements) for tensor in file.tensors.values())


def _is_scaled(error: ServedError) -> bool:
    return bool(error.movement) and abs(error.along) > max(_ALONG, 4 * error.spread)


def _proof(error: ServedError, limit: float, *, arithmetic: str, checks: int) -> dict[str, Any]:
    """Return the record of a comparison."""
    record: dict[str, Any] = {
        "status": "proven",
        "places": len(PROBES) * _PLACES,
        "checks": checks,
        "arithmetic": arithmetic,
        "error_nats": _round(error.size),
        "limit_nats": _round(limit),
    }
    if error.movement:
        record |= {
            "r": _round(error.ratio),
            "hides_r_below": _round(limit / error.movement),
            "along": _round(error.along),
        }
        hidden = 1 + error.along < 4 * error.spread or _is_scaled(error)
        if arithmetic != "exact" and limit >= error.movement and hidden:
            record |= _trust_record(
                f"rounding to {arithmetic.replace(' bit', ' bits')} moves more than the fine-tune: "
                "serve in float32"
            )
    return record


def _trust_record(why: str) -> dict[str, Any]:
    return {"status": "declared", "note": f"what is served is declared, not proven: {why}"}


def _round(value: float) -> float:
    """Two significant digits: threads and processors move the rest."""
    return float(f"{value:.2g}")
