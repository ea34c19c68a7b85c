"""MLX worker: a model of mlx-lm in a process of its own. Run by MLX's Python, without tunegate.

Each line of standard input is a request in JSON, with the name of a function below; each answer is
one line, and `generate` writes a line for each text, then `{"done": true}`. Standard output belongs
to this protocol: what libraries print goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

_LOGIT_BYTES = 256_000_000
"""Memory for one block of logits: rows × tokens × vocabulary × 4 bytes."""
_LIKELIEST = 20
"""Tokens that `next_logprobs` reports for a place."""


class Worker:
    """The model, and the layers of each adapter, which take the places of base's."""

    def open(self, folder: str, adapters: dict[str, str], dtype: str) -> dict[str, Any]:
        """Load the model and all adapters."""
        from importlib.metadata import version

        import mlx.core as mx
        from mlx.utils import tree_flatten
        from mlx_lm import load
        from mlx_lm.tuner.utils import load_adapters

        self.model, self.tokenizer = load(folder)
        if dtype != "auto":
            self.model.set_dtype(getattr(mx, dtype))
        base = dict(self.model.named_modules())
        self.layers: dict[str | None, list[Any]] = {None: []}
        for name, path in adapters.items():
            load_adapters(self.model, path)
            self.layers[name] = [
                (place, module)
                for place, module in self.model.named_modules()
                if "lora_a" in module
            ]
            places = [(place, base[place]) for place, _ in self.layers[name]]
            self._put(places)
            self.layers[None] += places
        self.model.eval()
        formats = {
            str(value.dtype).rpartition(".")[2]
            for _, value in tree_flatten(self.model.parameters())
        }
        floats = formats - {"uint32", "uint8"}
        return {
            "dtype": "float32" if floats == {"float32"} else min(floats - {"float32"}),
            "rope_theta": getattr(getattr(self.model, "args", None), "rope_theta", None),
            "versions": {name: version(name) for name in ("mlx", "mlx-lm")},
        }

    def _put(self, layers: list[Any]) -> None:
        from mlx.utils import tree_unflatten

        self.model.update_modules(tree_unflatten(layers))

    def switch(self, adapter: str | None) -> None:
        """Let the model compute base, or base with an adapter."""
        self._put(self.layers[None])
        if adapter is not None:
            self._put(self.layers[adapter])
        self.model.eval()

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        """Return the ids of mlx-lm's own prompts, of a question of the user."""
        return [
            list(
                self.tokenizer.apply_chat_template(
                    [{"role": "user", "content": text}], add_generation_prompt=True
                )
            )
            for text in texts
        ]

    def generate(  # noqa: PLR0913  # one for each key of the request
        self,
        adapter: str | None,
        prompts: list[list[int]],
        limits: list[int],
        seeds: list[int],
        temperature: float,
        top_p: float,
        stop_ids: list[int],
    ) -> dict[str, bool]:
        """Write the texts together, greedily at temperature 0; a row's seed decides its draws."""
        import time

        from mlx_lm.generate import BatchGenerator

        self.switch(adapter)
        clock = time.perf_counter()
        batch = BatchGenerator(self.model, stop_tokens=[[token] for token in stop_ids])
        samplers = [_sampler(seed, temperature, top_p) for seed in seeds] if temperature else None
        rows = {
            uid: row for row, uid in enumerate(batch.insert(prompts, limits, samplers=samplers))
        }
        written: dict[int, list[int]] = {uid: [] for uid in rows}
        times: dict[int, list[float]] = {uid: [] for uid in rows}
        while rows:
            for step in batch.next_generated():
                stopped = step.finish_reason == "stop"
                if not stopped:
                    written[step.uid].append(step.token)
                    times[step.uid].append(time.perf_counter() - clock)
                if step.finish_reason is not None:
                    send(
                        {
                            "row": rows.pop(step.uid),
                            "ids": written[step.uid],
                            "times": times[step.uid],
                            "stopped": stopped,
                            "seconds": time.perf_counter() - clock,
                        }
                    )
        batch.close()
        return {"done": True}

    def score(self, adapter: str | None, rows: list[list[list[int]]]) -> list[float]:
        """Return the log-likelihood of each row's second ids after its first ones."""
        import mlx.core as mx

        self.switch(adapter)
        sums = [0.0] * len(rows)
        order = sorted(range(len(rows)), key=lambda i: -sum(map(len, rows[i])))
        at = 0
        while at < len(order):
            longest = sum(map(len, rows[order[at]]))
            words = self.vocabulary()
            part = order[at : at + max(1, _LOGIT_BYTES // (longest * words * 4))]
            at += len(part)
            # A causal model computes each token before the padding at the end.
            ids = [[*rows[i][0], *rows[i][1]] for i in part]
            logits = self.model(mx.array([row + [0] * (longest - len(row)) for row in ids]))
            for number, i in enumerate(part):
                start, scored = len(rows[i][0]), rows[i][1]
                own = logits[number, start - 1 : start - 1 + len(scored)].astype(mx.float32)
                found = mx.take_along_axis(own, mx.array(scored)[:, None], axis=-1)[:, 0]
                sums[i] = float((found - mx.logsumexp(own, axis=-1)).sum())
        return sums

    def vocabulary(self) -> int:
        """Return the width of the logits."""
        import mlx.core as mx

        return int(self.model(mx.array([[0]])).shape[-1])

    def next_logprobs(self, adapter: str | None, prefixes: list[list[int]]) -> list[Any]:
        """Return the likeliest next tokens after each prefix, with their log-probabilities."""
        import mlx.core as mx

        self.switch(adapter)
        likeliest: list[Any] = [None] * len(prefixes)
        longest: list[int] = []
        places: dict[int, list[int]] = {}
        for i in sorted(range(len(prefixes)), key=lambda i: -len(prefixes[i])):
            size = len(prefixes[i])
            # One computation gives all beginnings of a text.
            whole = next((k for k in longest if prefixes[k][:size] == prefixes[i]), None)
            if whole is None:
                longest.append(i)
            places.setdefault(i if whole is None else whole, []).append(i)
        for whole, parts in places.items():
            logits = self.model(mx.array([prefixes[whole]]))[0].astype(mx.float32)
            for i in parts:
                row = logits[len(prefixes[i]) - 1]
                logprobs = row - mx.logsumexp(row)
                top = mx.argsort(-logprobs)[:_LIKELIEST]
                likeliest[i] = [top.tolist(), logprobs[top].tolist()]
        return likeliest


def _sampler(seed: int, temperature: float, top_p: float) -> Any:
    """Return a sampler with a random generator of its own, so that a batch changes no draw."""
    import mlx.core as mx
    from mlx_lm.sample_utils import apply_top_p

    key = mx.random.key(seed % (1 << 63))

    def draw(logprobs: Any) -> Any:
        nonlocal key
        key, now = mx.random.split(key)
        scaled = logprobs.astype(mx.float32) / temperature
        scaled = scaled - mx.logsumexp(scaled, axis=-1, keepdims=True)
        kept = apply_top_p(scaled, top_p) if top_p < 1 else scaled
        return mx.random.categorical(kept, key=now)

    return draw


def send(answer: Any) -> None:
    """Write an answer."""
    _OUT.write(json.dumps(answer) + "\n")
    _OUT.flush()


def serve() -> None:
    """Answer requests until standard input closes."""
    worker = Worker()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            send(getattr(worker, request.pop("call"))(**request))
        except Exception as error:  # the parent says it in one line
            last = (str(error).strip().splitlines() or ["no message"])[-1].strip()
            send({"error": f"{type(error).__name__}: {last}"})


if __name__ == "__main__":
    _OUT = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve()
