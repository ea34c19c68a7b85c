"""Export losses: what base's files have and a fine-tune's have not, before anything is loaded.

A fine-tune can answer a suite well and still be worse in production: its export has lost a head
that drafts, half of the context, the sampling defaults. Each rule compares what both sets of files
state (`models/_model_contents.py`); what one of them does not state is never a loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tunegate.harness.contracts.further_arm import SHIPPED
from tunegate.harness.models._folder_contents import folder_contents
from tunegate.harness.models._model_contents import ModelContents
from tunegate.harness.models._model_folder import is_adapter, prefix_errors
from tunegate.harness.models._thinking_switch import SWITCHES, read_variables
from tunegate.harness.models._weight_parts import TIED_PARTS
from tunegate.harness.models.open_arms import model_file
from tunegate.harness.records.errors import NotComparable
from tunegate.harness.records.wording import count_noun
from tunegate.harness.suite import Suite

TIED = "tie_word_embeddings"
"""Key of config.json that may contradict the tensors."""
_IMAGES = "a vision tower"
_SHOWN = 4
"""Names of tokens, settings or tensors that a sentence lists."""
_NEUTRAL = {
    "temperature": (1.0,),
    "top_p": (1.0,),
    "top_k": (0, -1),
    "min_p": (0.0,),
    "repetition_penalty": (1.0,),
}
"""Setting of sampling → the values that change nothing."""


@dataclass(frozen=True, slots=True)
class ExportLoss:
    """Something of base that a model's files lack."""

    what: str
    effect: str
    """What a user of the server will notice."""
    remedy: str
    refused_unless: str = ""
    """Key of config.json whose difference must be allowed; "" where the loss is only told."""
    sees: bool = False
    """Whether cases with images need it."""
    intended_if: str = ""
    """Key of config.json that makes it no loss where the user allows that key to differ."""

    @property
    def sentence(self) -> str:
        """The loss in one line."""
        return f"{self.what}: {self.effect}; {self.remedy}"


def find_export_losses(
    specs: Mapping[str, str | None], *, allowed: str = ""
) -> dict[str, tuple[ExportLoss, ...]]:
    """Return what tuned and the deployed artifact lack of base; an arm without a loss is left out.

    Adapters share base's files, and models that are elsewhere show none. `allowed` names keys of
    config.json that differ on purpose.

    Raises:
        ModelError: files are not there or not readable.
    """
    others = {name: spec for name in ("tuned", SHIPPED) if (spec := specs.get(name))}
    exported = {name: contents for name, spec in others.items() if (contents := contents_of(spec))}
    named = specs.get("base")
    base = contents_of(named) if named and exported else None
    if base is None:
        return {}
    keys = _allowed_keys(allowed)
    losses = {
        name: tuple(x for x in export_losses(base, contents) if x.intended_if not in keys)
        for name, contents in exported.items()
        if contents.place != base.place
    }
    return {name: of for name, of in losses.items() if of}


def _allowed_keys(allowed: str) -> set[str]:
    return {key.strip() for key in allowed.split(",") if key.strip()}


def contents_of(spec: str) -> ModelContents | None:
    """Return what a model spec's files state; None of adapters and of models that are elsewhere.

    Raises:
        ModelError: the files are not there or not readable.
    """
    place = model_file(spec)
    if place is None:
        return None
    if place.suffix == ".gguf":
        from tunegate.harness.models.gguf_format.contents import gguf_contents

        return gguf_contents(place)
    with prefix_errors(f"{place}: not readable as a model"):
        return None if is_adapter(place) else folder_contents(place)


def refuse_broken_exports(
    losses: Mapping[str, Sequence[ExportLoss]], suites: Iterable[Suite], *, allowed: str = ""
) -> None:
    """Refuse an arm whose files contradict its configuration, or lack what its cases need.

    Raises:
        NotComparable: the loss.
    """
    keys = _allowed_keys(allowed)
    seen = sum(bool(case.images) for suite in suites for case in suite.cases)
    for name, loss in ((name, loss) for name, of in losses.items() for loss in of):
        if loss.refused_unless and loss.refused_unless not in keys:
            raise NotComparable(f"{name}: {loss.sentence}")
        if loss.sees and seen:
            raise NotComparable(f"{name}: {loss.sentence}; {count_noun(seen, 'case')} need it")


def loss_lines(losses: Mapping[str, Sequence[ExportLoss]]) -> Iterator[str]:
    """Yield one line for each loss."""
    yield from (f"{name}: {loss.sentence}" for name, of in losses.items() for loss in of)


def export_losses(base: ModelContents, model: ModelContents) -> Iterator[ExportLoss]:
    """Yield what a model's files lack of base's."""
    for rule in _RULES:
        yield from rule(base, model)


def _parts(base: ModelContents, model: ModelContents) -> Iterator[ExportLoss]:
    kinds: dict[str, list[str]] = {kind: [] for kind in sorted(base.kinds - model.kinds)}
    if base.parts and model.parts:
        for part in sorted(base.parts.keys() - model.parts.keys() - TIED_PARTS):
            kinds.setdefault(base.parts[part], []).append(part)
    for kind, parts in kinds.items():
        effect, remedy = _PARTS.get(kind, ("only servers that use them miss them", _COPY))
        named = f", {kind}" if parts and kind else ""
        yield ExportLoss(
            f"its files lack {_listed(parts) or kind} of base{named}",
            effect,
            _CONVERT if model.is_gguf else remedy,
            sees=kind == _IMAGES,
        )


_COPY = "merge the adapter with ship-check, which keeps them, or copy them from base"
_CONVERT = "convert it with a llama.cpp that writes it, or serve its own file beside (mmproj)"
_PARTS = {
    "a head that drafts (MTP)": ("a server that drafts with it fails, or is slower", _COPY),
    _IMAGES: ("a server refuses images", _COPY),
    "an audio tower": ("a server refuses audio", _COPY),
}
"""Kind of a part → what a server's users notice without it, and how to get it back."""


def _experts(base: ModelContents, model: ModelContents) -> Iterator[ExportLoss]:
    if base.experts and model.experts is not None and model.experts < base.experts:
        yield ExportLoss(
            f"its files have {model.experts} experts a layer, base's {base.experts}",
            "a server fails, or routes to experts that are not there",
            "save all of them again",
        )


def _context(base: ModelContents, model: ModelContents) -> Iterator[ExportLoss]:
    if base.context and model.context and model.context < base.context:
        yield ExportLoss(
            f"its context is {model.context:,} tokens, base's {base.context:,}",
            "a server cuts or refuses longer prompts",
            "set max_position_embeddings in config.json as in base"
            + (", and convert again" if model.is_gguf else ""),
        )


def _rope(base: ModelContents, model: ModelContents) -> Iterator[ExportLoss]:
    ours, theirs = base.rope, model.rope
    if not ours or theirs is None:
        return
    gone = [
        f"{key} {_values(values)} is {_values(theirs[key]) if key in theirs else 'gone'}"
        for key, values in ours.items()
        if key != "factor" or "rope_type" in theirs or "factor" in theirs
        if not theirs.get(key, frozenset()) & values
    ]
    if gone:
        yield ExportLoss(
            f"its rotary positions are not base's ({', '.join(gone)})",
            "answers get worse, to long prompts first",
            "copy rope_parameters, or rope_scaling and rope_theta, from base's config.json",
            intended_if="rope_parameters",
        )


def _head(base: ModelContents, model: ModelContents) -> Iterator[ExportLoss]:
    if (base.tied, base.head) == (model.tied, model.head):
        return
    if model.head == "own" and model.tied:
        yield ExportLoss(
            f"{TIED} is true in config.json, and its files hold an output head that is not a copy "
            "of the embeddings",
            "a server drops the head and answers nonsense",
            f"set {TIED} to false",
            refused_unless=TIED,
        )
    if model.head == "none" and model.tied is False:
        yield ExportLoss(
            f"{TIED} is false in config.json, and its files hold no output head",
            "a server fails, or answers with random weights",
            f"set {TIED} to true if base ties them, or save the head",
            refused_unless=TIED,
        )


def _vocabulary(base: ModelContents, model: ModelContents) -> Iterator[ExportLoss]:
    if base.tokens and not model.tokens:
        yield ExportLoss(
            "it has no tokenizer", "a server does not start", "copy base's tokenizer files"
        )
        return
    lost = [text for text in base.tokens or () if text not in (model.tokens or {})]
    if lost:
        yield ExportLoss(
            f"its tokenizer lacks {_listed(lost)} of base",
            "these texts are split into pieces, and a template or stop that uses them breaks",
            "copy base's tokenizer files",
        )
    last, rows = model.last_token, model.rows
    fits = base.rows is None or base.last_token is None or base.last_token < base.rows
    if last is not None and rows is not None and last >= rows and fits:
        yield ExportLoss(
            f"its embeddings have {rows:,} rows, and its tokenizer ids up to {last:,}",
            "a server fails at such a token",
            "save the embeddings with all of base's rows",
        )


def _stops(base: ModelContents, model: ModelContents) -> Iterator[ExportLoss]:
    ours, theirs = base.stops, model.stops
    if not ours or theirs is None:
        return
    # llama.cpp finds the stops that a GGUF file does not name by their texts.
    if theirs < ours and not (theirs and model.is_gguf):
        yield ExportLoss(
            f"its list of stop tokens lacks {_token_texts(base, ours - theirs)} of base",
            "a server lets answers run on to their limit",
            "copy eos_token_id from base's generation_config.json",
        )


def _sampling(base: ModelContents, model: ModelContents) -> Iterator[ExportLoss]:
    ours, theirs = base.sampling, model.sampling
    if ours is None or theirs is None:
        return
    lost = [
        f"{key} {ours[key]:g}"
        for key, neutral in _NEUTRAL.items()
        if isinstance(ours.get(key), int | float) and ours[key] not in neutral
        if theirs.get(key) is None
    ]
    if lost:
        yield ExportLoss(
            f"its generation_config.json lacks base's {_listed(lost)}",
            "a server that reads its defaults there samples differently",
            "copy base's generation_config.json",
        )


def _template(base: ModelContents, model: ModelContents) -> Iterator[ExportLoss]:
    ours, theirs = base.templates or {}, model.templates or {}
    if ours.keys() - theirs.keys():
        names = sorted(ours.keys() - theirs.keys())
        what = "a chat template" if "default" in names else f"the chat templates {_listed(names)}"
        yield ExportLoss(
            f"it lacks {what} of base",
            "a server refuses conversations, or renders another prompt",
            "copy base's chat_template.jinja and tokenizer_config.json",
        )
    for name in sorted(ours.keys() & theirs.keys()):
        before, after = (read_variables(of[name], _BRANCHES) for of in (ours, theirs))
        for variable in sorted(before - after):
            branch = "tools" if variable == "tools" else "thoughts"
            yield ExportLoss(
                f"its chat template does not read {variable!r}, and base's does",
                f"a server leaves {branch} of a request out without an error",
                "copy base's chat template",
            )


_BRANCHES = ("tools", "documents", *SWITCHES)


def _inputs(base: ModelContents, model: ModelContents) -> Iterator[ExportLoss]:
    lost = sorted((base.inputs or frozenset()) - (model.inputs or frozenset()))
    if lost and model.inputs is not None:
        yield ExportLoss(
            f"it lacks base's preprocessing of {' and '.join(lost)}",
            "a server refuses them, or prepares them differently",
            "copy base's processor_config.json and *preprocessor_config.json",
        )


def _numbers(base: ModelContents, model: ModelContents) -> Iterator[ExportLoss]:
    if model.packed and model.quantised is False:
        yield ExportLoss(
            f"its weights are packed ({model.number_format}), and config.json has no "
            "quantization_config",
            "a server cannot unpack them",
            "save config.json with the quantisation's settings",
        )
    if model.quantised and model.number_format and not model.packed and base.quantised is False:
        yield ExportLoss(
            f"config.json has a quantization_config, and its weights are plain "
            f"{model.number_format}",
            "a server fails, or quantises them again",
            "remove quantization_config",
        )
    if base.number_format == "BF16" and model.number_format == "F16":
        yield ExportLoss(
            "its weights are stored in float16, base's in bfloat16",
            "large activations overflow, and answers turn to NaN",
            "save it in bfloat16",
        )


def _code(base: ModelContents, model: ModelContents) -> Iterator[ExportLoss]:
    if model.code and not base.code:
        yield ExportLoss(
            f"it lacks {_listed(sorted(model.code))}, which its config.json takes classes from",
            "a server does not start",
            "copy these files from base",
        )


_RULES = (
    _parts, _experts, _context, _rope, _head, _vocabulary, _stops, _sampling, _template, _inputs,
    _numbers, _code,
)  # fmt: skip


def _token_texts(base: ModelContents, ids: Iterable[int]) -> str:
    texts = {number: text for text, number in (base.tokens or {}).items()}
    return _listed([texts.get(number, str(number)) for number in sorted(ids)])


def _values(values: Iterable[object]) -> str:
    return "/".join(sorted(map(str, values)))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (" …" if len(names) > _SHOWN else "")
