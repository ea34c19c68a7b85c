"""Record what MLX computes: groups of weights at each width, and a layer with LoRA and with DoRA.

    python record_mlx.py tests/models/mlx_format/recorded/mlx.safetensors

Runs in an environment with mlx-lm; recorded with mlx 0.32.4 and mlx-lm 0.32.2.
"""

from __future__ import annotations

import sys

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.tuner.dora import DoRALinear
from mlx_lm.tuner.lora import LoRALinear

RANK, SCALE, INPUTS, OUTPUTS = 4, 20.0, 32, 24

mx.random.seed(7)
recorded = {}
for bits in (2, 3, 4, 5, 6, 8):
    plain = mx.random.normal((3, 128))
    weight, scales, biases = mx.quantize(plain, group_size=64, bits=bits)
    unpacked = mx.dequantize(weight, scales, biases, group_size=64, bits=bits)
    for name, value in zip(
        ("weight", "scales", "biases", "plain"), (weight, scales, biases, unpacked), strict=True
    ):
        recorded[f"{bits}.{name}"] = value
x = mx.random.normal((5, INPUTS))
for kind in (LoRALinear, DoRALinear):
    linear = nn.Linear(INPUTS, OUTPUTS, bias=False)
    layer = kind.from_base(linear, r=RANK, scale=SCALE)
    layer.lora_b = 0.1 * mx.random.normal((RANK, OUTPUTS))
    name = kind.__name__
    recorded |= {f"{name}.weight": linear.weight, f"{name}.x": x, f"{name}.y": layer(x)}
    recorded |= {f"{name}.lora_a": layer.lora_a, f"{name}.lora_b": layer.lora_b}
    if kind is DoRALinear:
        layer.m = layer.m * mx.random.uniform(0.8, 1.2, layer.m.shape)
        recorded |= {f"{name}.m": layer.m, f"{name}.y": layer(x)}
mx.save_safetensors(sys.argv[1], recorded)
