"""What vLLM answers for a base and its adapter, computed by Transformers' own `generate`.

The reply function of a fake server: our engine has no part in it, so its answers can be compared.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from tests.fake_server import completion


class Served:
    """Answers completions and chat; texts, token ids, and lists of token ids."""

    def __init__(
        self,
        arms: Mapping[str, Any],
        *,
        ids: bool = True,
        logprobs: str | None = "prompt_logprobs",
        likeliest: bool = False,
    ) -> None:
        """Keep the arms.

        Args:
            arms: Model name → arm of an opened pair.
            ids: Whether token ids are taken.
            logprobs: The field by which log-probabilities are asked for; None tells none.
            likeliest: Whether the likeliest next tokens are told by their ids, as vLLM does.
        """
        self.arms, self.ids, self.logprobs, self.likeliest = arms, ids, logprobs, likeliest
        self.lock = threading.Lock()

    def __call__(self, model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the reply to one request."""
        arm = self.arms[model]
        if path == "/tokenize":
            raise LookupError(404, "no such page")
        if "messages" in body:
            text = arm.tokenizer.apply_chat_template(
                body["messages"], add_generation_prompt=True, tokenize=False
            )
            prompts = [arm.tokenizer(text, add_special_tokens=False)["input_ids"]]
        else:
            prompts = self._prompts(arm, body["prompt"])
        with self.lock, arm.active() as torch_model:
            choices = [self._choice(arm, torch_model, ids, body) for ids in prompts]
        for index, choice in enumerate(choices):
            choice["index"] = index
        usage = {
            "prompt_tokens": sum(map(len, prompts)),
            "completion_tokens": sum(choice.pop("tokens") for choice in choices),
        }
        return {"choices": choices, "usage": usage}

    def _prompts(self, arm: Any, prompt: Any) -> list[list[int]]:
        if isinstance(prompt, str):
            return [arm.tokenizer(prompt)["input_ids"]]
        if not self.ids:
            raise LookupError(400, "prompt must be a string.")
        return prompt if isinstance(prompt[0], list) else [prompt]

    def _choice(self, arm: Any, model: Any, ids: list[int], body: dict[str, Any]) -> dict[str, Any]:
        import torch

        inputs = torch.tensor([ids])
        with torch.inference_mode():
            out = model.generate(
                input_ids=inputs,
                attention_mask=torch.ones_like(inputs),
                max_new_tokens=body["max_tokens"],
                do_sample=False,
                eos_token_id=sorted(arm.stop_ids),
                pad_token_id=0,
            )[0, len(ids) :].tolist()
            ended = out[-1] in arm.stop_ids
            # The end marker is counted, and no part of the text.
            text = arm.tokenizer.decode(out[:-1] if ended else out, skip_special_tokens=True)
            choice = completion(text)["choices"][0]
            choice |= {"finish_reason": "stop" if ended else "length", "tokens": len(out)}
            if self.likeliest and body.get("return_tokens_as_token_ids"):
                logits = model(input_ids=inputs).logits[0, -1].float()
                best = torch.log_softmax(logits, dim=-1).topk(body["logprobs"])
                pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
                choice["logprobs"] = {"top_logprobs": [{f"token_id:{i}": v for i, v in pairs}]}
            if self.logprobs in body:
                logits = model(input_ids=inputs).logits[0].float()
                told = torch.log_softmax(logits, dim=-1)[:-1]
                values = [float(told[i, token]) for i, token in enumerate(ids[1:])]
                choice |= self._told(ids, values)
        return choice

    def _told(self, ids: list[int], values: list[float]) -> dict[str, Any]:
        """Tell log-probabilities as vLLM does, in one of its two forms."""
        if self.logprobs == "prompt_logprobs":
            places = [{str(t): {"logprob": v}} for t, v in zip(ids[1:], values, strict=True)]
            return {"prompt_logprobs": [None, *places]}
        return {"logprobs": {"token_logprobs": [None, *values, -0.5]}}
