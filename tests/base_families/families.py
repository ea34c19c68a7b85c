"""Tiny random-weight models of the families that people fine-tune, by the names of Transformers.

Each has the layers that make its family special: sliding windows, chunks, experts, a running state,
a vision tower around the text model. Weights are wide, so that argmaxes are clear.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.tiny_models import CONTEXT, LATER_STOPS, WINDOW, make_tokenizer

WORDS = {"vocab_size": 320, "bos_token_id": 1, "eos_token_id": 0, "pad_token_id": 0}
SPREAD = 0.3
TEXT: dict[str, Any] = {
    **WORDS,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": CONTEXT,
    "initializer_range": SPREAD,
    "attention_dropout": 0.0,
}
ALTERNATING = {
    "sliding_window": WINDOW,
    "layer_types": ["sliding_attention", "full_attention"],
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
LINEAR = {
    "layer_types": ["linear_attention", "full_attention"],
    "linear_num_value_heads": 2,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}
MAMBA2 = {
    "mamba_n_heads": 8,
    "mamba_d_head": 8,
    "mamba_d_state": 8,
    "mamba_n_groups": 1,
    "mamba_chunk_size": 16,
    "mamba_expand": 2,
}
LATENT = {
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "head_dim": 4,
    "num_key_value_heads": 4,
}
ROUTED = {
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "n_shared_experts": 1,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
}
TEXT_ONLY: dict[str, dict[str, Any]] = {
    # dense
    "Llama": {},
    "Qwen3": {},
    "SmolLM3": {"no_rope_layers": [1, 0]},
    "Granite": {"logits_scaling": 2.0},
    "Glm4": {},
    "GPT2": {},
    "Phi3": {},
    "Mpt": {
        "d_model": 32,
        "n_heads": 4,
        "n_layers": 2,
        "max_seq_len": CONTEXT,
        "expansion_ratio": 2,
    },
    "Phi3-long": {
        "original_max_position_embeddings": 40,
        "rope_parameters": {
            "rope_type": "longrope",
            "rope_theta": 1e4,
            "original_max_position_embeddings": 40,
            "short_factor": [1.0] * 4,
            "long_factor": [1.0, 2.0, 4.0, 8.0],
        },
    },
    # sliding windows
    "Mistral": {"sliding_window": WINDOW},
    "Ministral3": {
        "sliding_window": None,
        "rope_parameters": {
            "rope_type": "yarn",
            "rope_theta": 1e4,
            "factor": 2.0,
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "mscale": 1.0,
            "mscale_all_dim": 1.0,
            "original_max_position_embeddings": 16,
            "llama_4_scaling_beta": 0.1,
        },
    },
    "Gemma2": ALTERNATING,
    "Gemma3": ALTERNATING,
    "Gemma3n": {
        **ALTERNATING,
        "num_hidden_layers": 4,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "vocab_size_per_layer_input": 320,
        "hidden_size_per_layer_input": 8,
        "num_kv_shared_layers": 2,
        "laurel_rank": 4,
        "activation_sparsity_pattern": [0.0] * 4,
        "intermediate_size": [48] * 4,
    },
    "Gemma4": {
        **ALTERNATING,
        "global_head_dim": 16,
        "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": 320,
        "num_hidden_layers": 4,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "num_kv_shared_layers": 2,
    },
    "Olmo3": ALTERNATING,
    "Cohere2": ALTERNATING,
    "Exaone4": ALTERNATING,
    # experts
    "Qwen3Moe": EXPERTS,
    "Mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "Olmoe": EXPERTS,
    "DeepseekV3": {**LATENT, **ROUTED},
    "Glm4Moe": ROUTED,
    "GptOss": {**ALTERNATING, "num_local_experts": 4, "num_experts_per_tok": 2},
    "Llama4": {
        "attention_chunk_size": WINDOW,
        "num_local_experts": 2,
        "intermediate_size_mlp": 48,
        "layer_types": ["chunked_attention", "full_attention"],
        "no_rope_layers": [1, 0],
        "floor_scale": 8,
        "interleave_moe_layer_step": 2,
    },
    "GraniteMoe": {"num_local_experts": 4, "num_experts_per_tok": 2},
    # a running state
    "Mamba": {"state_size": 8},
    "FalconMamba": {"state_size": 8},
    "Mamba2": {"state_size": 8, "num_heads": 8, "head_dim": 8, "n_groups": 1, "chunk_size": 16},
    "Jamba": {
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "expert_layer_period": 2,
        "expert_layer_offset": 1,
        "num_experts": 2,
        "num_experts_per_tok": 1,
        "use_mamba_kernels": False,
        "mamba_d_state": 8,
        "mamba_dt_rank": 4,
    },
    "Bamba": {**MAMBA2, "attn_layer_indices": [1]},
    "FalconH1": {**MAMBA2, "mamba_d_ssm": 64},
    "GraniteMoeHybrid": {
        **MAMBA2,
        "layer_types": ["mamba", "attention"],
        "num_local_experts": 2,
        "num_experts_per_tok": 1,
        "shared_intermediate_size": 16,
    },
    "NemotronH": {
        "layers_block_type": ["mamba", "attention", "mlp"],
        "num_hidden_layers": 3,
        "mamba_num_heads": 8,
        "mamba_head_dim": 8,
        "ssm_state_size": 8,
        "n_groups": 1,
        "chunk_size": 16,
    },
    "Zamba2": {
        "num_hidden_layers": 3,
        "layers_block_type": ["mamba", "mamba", "hybrid"],
        "mamba_d_state": 8,
        "n_mamba_heads": 8,
        "mamba_ngroups": 1,
        "chunk_size": 16,
        "num_mem_blocks": 1,
        "use_shared_attention_adapter": False,
        "adapter_rank": 4,
    },
    "Lfm2": {"layer_types": ["conv", "full_attention"]},
    "Lfm2Moe": {
        **EXPERTS,
        "layer_types": ["conv", "full_attention"],
        "num_dense_layers": 1,
    },
    "RecurrentGemma": {
        "num_hidden_layers": 3,
        "attention_window_size": WINDOW,
        "block_types": ("recurrent", "recurrent", "attention"),
    },
    "Qwen3Next": {**EXPERTS, **LINEAR, "shared_expert_intermediate_size": 16},
    "Qwen3_5": LINEAR,
    "Qwen3_5Moe": {**EXPERTS, **LINEAR, "shared_expert_intermediate_size": 16},
    "MiniMax": {
        "num_local_experts": 2,
        "num_experts_per_tok": 1,
        "block_size": 16,
        "layer_types": ["linear_attention", "full_attention"],
    },
    "KimiLinear": {
        **EXPERTS,
        **LATENT,
        "layer_types": ["linear_attention", "full_attention"],
        "linear_head_dim": 8,
        "linear_num_heads": 2,
    },
}
"""Prefix of the classes → what is special in the configuration of a text model."""

SMALL = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
VIT = {**SMALL, "num_attention_heads": 2, "image_size": 16, "patch_size": 8}
QWEN_VIT = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "depth": 1,
    "num_heads": 2,
    "patch_size": 8,
    "out_hidden_size": 32,
    "num_position_embeddings": 16,
}
QWEN_TOKENS = {
    "image_token_id": 316,
    "video_token_id": 317,
    "vision_start_token_id": 318,
    "vision_end_token_id": 319,
}
QWEN_ROPE = {"rope_type": "default", "mrope_section": [2, 1, 1], "mrope_interleaved": True}
GEMMA_TOKENS = {
    "image_token_id": 316,
    "video_token_id": 317,
    "boi_token_id": 318,
    "eoi_token_id": 319,
    "audio_token_id": 315,
    "boa_token_id": 314,
    "eoa_token_index": 313,
}

WITH_VISION: dict[str, dict[str, Any]] = {
    "Qwen3_5": {
        "text_config": {
            "model_type": "qwen3_5_text",
            **LINEAR,
            "rope_parameters": {**QWEN_ROPE, "rope_theta": 1e4, "partial_rotary_factor": 1.0},
        },
        "vision_config": QWEN_VIT,
        **QWEN_TOKENS,
    },
    "Qwen3_5Moe": {
        "text_config": {
            "model_type": "qwen3_5_moe_text",
            **TEXT_ONLY["Qwen3_5Moe"],
            "rope_parameters": {**QWEN_ROPE, "rope_theta": 1e4, "partial_rotary_factor": 1.0},
        },
        "vision_config": QWEN_VIT,
        **QWEN_TOKENS,
    },
    "Qwen3VL": {
        "text_config": {
            "model_type": "qwen3_vl_text",
            "rope_parameters": {**QWEN_ROPE, "rope_theta": 1e4},
        },
        "vision_config": {**QWEN_VIT, "deepstack_visual_indexes": [0]},
        **QWEN_TOKENS,
    },
    "Qwen2_5_VL": {
        "text_config": {
            "model_type": "qwen2_5_vl_text",
            "use_sliding_window": False,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e4,
                "mrope_section": [2, 1, 1],
            },
        },
        "vision_config": {
            **{k: v for k, v in QWEN_VIT.items() if k != "num_position_embeddings"},
            "fullatt_block_indexes": [0],
        },
        **QWEN_TOKENS,
    },
    "Gemma3": {
        "text_config": {"model_type": "gemma3_text", **ALTERNATING},
        "vision_config": {"model_type": "siglip_vision_model", **VIT},
        "mm_tokens_per_image": 4,
        "image_token_index": 316,
        "boi_token_index": 318,
        "eoi_token_index": 319,
    },
    "Gemma4": {
        "text_config": {"model_type": "gemma4_text", **TEXT_ONLY["Gemma4"]},
        "vision_config": {
            **SMALL,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "patch_size": 8,
            "position_embedding_size": 64,
        },
        "audio_config": None,
        **GEMMA_TOKENS,
    },
    "Gemma4Unified": {
        "text_config": {
            "model_type": "gemma4_unified_text",
            **ALTERNATING,
            "global_head_dim": 16,
            "num_global_key_value_heads": 1,
            "attention_k_eq_v": True,
        },
        "vision_config": {
            "patch_size": 8,
            "mm_embed_dim": 16,
            "mm_posemb_size": 16,
            "output_proj_dims": 16,
        },
        "audio_config": None,
        **GEMMA_TOKENS,
    },
    "Mistral3": {
        "text_config": {"model_type": "ministral3", **TEXT_ONLY["Ministral3"]},
        "vision_config": {"model_type": "pixtral", **VIT, "head_dim": 8},
        "image_token_index": 316,
    },
    "Llama4": {
        "text_config": {"model_type": "llama4_text", **TEXT_ONLY["Llama4"]},
        "vision_config": {
            **VIT,
            "vision_output_dim": 16,
            "projector_input_dim": 16,
            "projector_output_dim": 16,
        },
        "boi_token_index": 317,
        "eoi_token_index": 318,
        "image_token_index": 319,
    },
    "Lfm2Vl": {
        "text_config": {"model_type": "lfm2", **TEXT_ONLY["Lfm2"]},
        "vision_config": {
            "model_type": "siglip2_vision_model",
            **SMALL,
            "num_attention_heads": 2,
            "patch_size": 8,
            "num_patches": 4,
        },
        "image_token_id": 316,
        "projector_hidden_size": 16,
    },
    "SmolVLM": {
        "text_config": {"model_type": "llama"},
        "vision_config": VIT,
        "image_token_id": 316,
    },
    "InternVL": {
        "text_config": {"model_type": "qwen2"},
        "vision_config": {**VIT, "image_size": [16, 16], "patch_size": [8, 8]},
        "image_token_id": 316,
    },
    "Glm4v": {
        "text_config": {
            "model_type": "glm4v_text",
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e4,
                "mrope_section": [1, 1],
                "partial_rotary_factor": 0.5,
            },
        },
        "vision_config": {
            **{k: v for k, v in QWEN_VIT.items() if k != "num_position_embeddings"},
            "image_size": 16,
        },
        "image_token_id": 316,
        "video_token_id": 317,
        "image_start_token_id": 318,
        "image_end_token_id": 319,
    },
    "Mllama": {
        "text_config": {
            "model_type": "mllama_text_model",
            "num_hidden_layers": 3,
            "cross_attention_layers": [1],
        },
        "vision_config": {
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_global_layers": 1,
            "attention_heads": 2,
            "image_size": 16,
            "patch_size": 8,
            "vision_output_dim": 32,
            "intermediate_layers_indices": [0],
        },
        "image_token_index": 316,
    },
    "Llava": {
        "text_config": {"model_type": "llama"},
        "vision_config": {"model_type": "clip_vision_model", **VIT},
        "image_token_index": 316,
    },
}
"""Prefix of the classes → configuration of a vision-language model, used for text alone."""


def make_config(family: str) -> Any:
    """Return the configuration of a family; `Name` is a text model, `Name+` one with vision."""
    import transformers

    name = family.removesuffix("+")
    if family == name:
        special, name = TEXT_ONLY[name], name.partition("-")[0]
        kind = getattr(transformers, f"{name}TextConfig", None)
        kind = kind or getattr(transformers, f"{name}Config")
        return kind(**{**TEXT, **special})
    own = WITH_VISION[name]
    text = {**TEXT, **own["text_config"]}
    words = {key: WORDS[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    return getattr(transformers, f"{name}Config")(**{**own, "text_config": text, **words})


def model_class(family: str) -> Any:
    """Return the class whose weights the family's folder holds."""
    import transformers

    name = family.removesuffix("+")
    if family != name:
        return getattr(transformers, f"{name}ForConditionalGeneration")
    name = name.partition("-")[0]
    causal = getattr(transformers, f"{name}ForCausalLM", None)
    found = causal or getattr(transformers, f"{name}LMHeadModel", None)
    if found is None:
        import pytest

        pytest.skip(f"the installed Transformers has no {name}")
    return found


def save_family(family: str, out: Path, *, seed: int = 0) -> None:
    """Write a model of the family with random weights, and the tiny tokenizer."""
    import torch

    torch.manual_seed(seed)
    model = model_class(family)(make_config(family))
    model.generation_config.eos_token_id = [0, *LATER_STOPS]
    model.save_pretrained(out)
    make_tokenizer().save_pretrained(out)


FAMILIES = (*TEXT_ONLY, *(f"{name}+" for name in WITH_VISION))
