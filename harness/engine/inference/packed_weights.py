"""Packed weights: matrices in oneDNN's own order, for a model that computes on a processor.

A product by a matrix in its usual order rearranges it first, part by part, at every call: for the
few rows of a decoding step that takes longer than the product itself. A model that is evaluated
keeps its weights, so they are rearranged once and used for all products that follow, of base and of
every adapter on it. In float32 the results differ by rounding alone.

The packed matrices are copies within a bound of memory, kept as long as their model or until
`release_copies`, which a training has to call before it goes on. A layer uses its copy in inference
mode alone. Weights that have changed are packed again: other storage and torch's count of changes
are checked in every product, and some of the numbers themselves before every batch, since fused
optimizers and changes through `.data` are not counted.

Packed are `torch.nn.Linear` layers in float32, those inside of an adapter's layers included.
Everything else computes as before: other number formats, quantised layers, GPT-2's Conv1D.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from tunegate.harness.contracts.free_memory import available_memory

PACKED_BYTES = 1_500_000_000
"""Memory for the packed matrices of a model; those beyond it are used as they are."""
FREE_SHARE = 4
"""At most one in this many bytes of free memory is used."""
SMALLEST = 65_536
"""Weights from which a matrix is packed: below, a product costs its call."""
ROWS = 32
"""Rows for which the order is chosen; with 8 and with 1,000 it is as fast as any."""
SAMPLE = 64
"""Weights of a matrix that are compared with those that were packed."""

_copies: WeakKeyDictionary[Any, _PackedMatrix] = WeakKeyDictionary()
"""Layer → its packed matrix."""
_rooms: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
"""First layer of a model → bytes that its packed matrices may take."""


@dataclass(frozen=True, slots=True)
class _PackedMatrix:
    """A packed matrix."""

    state: tuple[Any, ...]
    """Storage and count of changes of what it was packed from."""
    origin: tuple[Any, ...]
    """The tensors themselves, so that no other one gets their storage."""
    sample: Any
    """Some of the weights as they were."""
    product: Callable[[Any], Any]


@contextmanager
def packed_weights(model: Any) -> Iterator[None]:
    """Let the layers of a model use packed matrices inside; the first time packs them.

    Which are packed is decided once for a model, whatever is asked of it, so that all batches are
    computed alike.
    """
    changed: list[Any] = []
    try:
        if _can_pack(model):
            for layer, copy in _packed_layers(model):
                changed.append(layer)
                layer.forward = _forward(layer, copy)
        yield
    finally:
        for layer in changed:
            vars(layer).pop("forward", None)  # not there if an interrupt came before it was


def release_copies(model: Any) -> None:
    """Free the packed matrices of a model."""
    for module in model.modules():
        _copies.pop(module, None)
        _rooms.pop(module, None)


def _can_pack(model: Any) -> bool:
    """Return whether this torch has the products, and computes them in float32."""
    import torch

    if model.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        return False
    if not torch.backends.mkldnn.enabled or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    x = torch.linspace(-1, 1, 4 * 64).reshape(4, 64)
    weight = torch.linspace(-1, 1, 64 * 96).reshape(96, 64).cos()
    try:
        product = _product(weight, None)(x)
    except (AttributeError, NotImplementedError, RuntimeError):
        return False
    # Compared in float64: products may have been set to bfloat16, with packed matrices or without.
    return torch.allclose(product.double(), x.double() @ weight.double().T, rtol=0, atol=1e-4)


def _packed_layers(model: Any) -> Iterator[tuple[Any, _PackedMatrix]]:
    """Yield layers with their packed matrix, made where it is not there; the head comes first."""
    head = _head(model)
    layers = [head, *(layer for layer in model.modules() if layer is not head)]
    fitting = [layer for layer in layers if _is_plain(layer)]
    if not fitting:
        return
    if fitting[0] not in _rooms:
        _rooms[fitting[0]] = min(PACKED_BYTES, available_memory() // FREE_SHARE)
    room = _rooms[fitting[0]]
    for layer in fitting:
        if layer.weight.nbytes > room:
            continue
        room -= layer.weight.nbytes
        if not _is_kept(layer):
            _copies.pop(layer, None)  # the old copy goes before there is a new one
            _copies[layer] = _pack(layer)
        yield layer, _copies[layer]


def _head(model: Any) -> Any:
    try:
        return model.get_output_embeddings()
    except (AttributeError, NotImplementedError):
        return None


def _is_plain(layer: Any) -> bool:
    import torch

    # A subclass, such as a quantised layer, and a forward of another library compute more.
    if type(layer) is not torch.nn.Linear or "forward" in vars(layer):
        return False
    weight = layer.weight
    fits = weight.dtype == torch.float32 and weight.device.type == "cpu"
    return fits and not weight.is_inference() and weight.numel() >= SMALLEST


def _pack(layer: Any) -> _PackedMatrix:
    weight, bias = layer.weight.detach(), layer.bias
    detached = bias.detach() if bias is not None else None
    return _PackedMatrix(
        _state(layer), (weight, detached), _sample(layer).clone(), _product(weight, detached)
    )


def _is_kept(layer: Any) -> bool:
    """Return whether a layer has a packed matrix of the weights that it has now."""
    import torch

    copy = _copies.get(layer)
    return copy is not None and _fits(layer, copy) and torch.equal(copy.sample, _sample(layer))


def _sample(layer: Any) -> Any:
    weights = layer.weight.detach().flatten()
    return weights[:: max(1, len(weights) // SAMPLE)]


def _fits(layer: Any, copy: _PackedMatrix) -> bool:
    return not layer.weight.is_inference() and copy.state == _state(layer)


def _state(layer: Any) -> tuple[Any, ...]:
    """Return the storage of a layer's tensors and how often torch says that they were changed."""
    tensors = (layer.weight, layer.bias)
    return tuple((t.data_ptr(), t._version) for t in tensors if t is not None)


def _forward(layer: Any, copy: _PackedMatrix) -> Callable[[Any], Any]:
    """Return a forward by the packed matrix; where it does not hold, the layer's own."""
    import torch

    original = layer.forward

    def forward(input: Any) -> Any:  # torch calls it so
        exact = input.dtype == torch.float32 and torch.is_inference_mode_enabled()
        return copy.product(input) if exact and _fits(layer, copy) else original(input)

    return forward


def _product(weight: Any, bias: Any) -> Callable[[Any], Any]:
    """Return the product by a matrix that is packed here."""
    import torch

    packed = torch.ops.mkldnn._reorder_linear_weight(weight, ROWS)
    multiply = torch.ops.mkldnn._linear_pointwise
    return lambda x: multiply(x, packed, bias, "none", [], "")
