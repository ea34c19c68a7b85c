"""Quantised formats of vLLM, on numbers by hand."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import quantised_artifacts as formats

torch = pytest.importorskip("torch")


def unpacked(packed: Any, order: tuple[int, ...]) -> Any:
    """Return the eight numbers of 4 bits of each number of 32 in their own order."""
    parts = [(packed.long() >> (4 * order.index(i))) & 15 for i in range(8)]
    return torch.stack(parts, dim=-1).flatten(-2)


def test_eight_numbers_are_packed_from_the_low_end() -> None:
    """0 to 7 are 0x76543210; eight times 15 has all bits, which is −1 with a sign."""
    assert formats.pack(torch.tensor([list(range(8)), [15] * 8])).tolist() == [[0x76543210], [-1]]


def test_awq_packs_even_numbers_first() -> None:
    """Its order is 0, 2, 4, 6, 1, 3, 5, 7."""
    packed = formats.pack(torch.tensor([list(range(8))]), (0, 2, 4, 6, 1, 3, 5, 7))

    assert packed.tolist() == [[0x75316420]]


def test_eight_bits_have_a_scale_for_each_row() -> None:
    """1.27 is 127 hundredths, −0.5 is −50 of them."""
    tensors = formats.int8("a", torch.tensor([[1.27, -0.5]]))

    assert tensors["a.weight"].tolist() == [[127, -50]]
    assert tensors["a.weight_scale"].item() == pytest.approx(0.01, rel=0.01)


@pytest.fixture(name="weight")
def _weight() -> Any:
    """A matrix of 8 rows of two groups, multiples of 0.5 up to 3.5 in size: exact in 4 bits."""
    numbers = torch.arange(8 * 2 * formats.GROUP) * 7 % 15 - 7
    return (numbers * 0.5).reshape(8, 2 * formats.GROUP)


def test_gptq_is_read_back_by_its_formula(weight: Any) -> None:
    """(q − (z + 1)) · s, packed along the inputs."""
    tensors = formats.gptq("a", weight)
    q = unpacked(tensors["a.qweight"].t(), tuple(range(8)))
    zeros = unpacked(tensors["a.qzeros"], tuple(range(8)))
    group = tensors["a.g_idx"].long()

    found = (q.t() - (zeros[group] + 1)) * tensors["a.scales"].float()[group]
    assert torch.equal(found.t(), weight)


def test_awq_is_read_back_by_its_formula(weight: Any) -> None:
    tensors = formats.awq("a", weight)
    order = (0, 2, 4, 6, 1, 3, 5, 7)
    q, zeros = unpacked(tensors["a.qweight"], order), unpacked(tensors["a.qzeros"], order)
    group = torch.arange(weight.shape[1]) // formats.GROUP

    found = (q - zeros[group]) * tensors["a.scales"].float()[group]
    assert torch.equal(found.t(), weight)
