"""How prompts are made and completions are decoded: a suite's settings, and a case's own."""

from __future__ import annotations

from typing import Any

from harness.records import Case, Record


class Generation(Record):
    """How prompts are made and completions are decoded; the same for every arm."""

    system: str | None = None
    template: str = "chat"
    """`chat` applies the model's chat template, `none` sends the prompt as it is."""
    max_new_tokens: int = 256
    temperature: float = 0.0
    """0 decodes greedily."""
    top_p: float = 1.0
    samples: int = 1
    """Completions per case and arm; more than one needs a temperature."""
    stop: tuple[str, ...] = ()
    """Texts that end a completion; they are cut off."""
    latency_cases: int = 30
    """Cases of the latency pass, where a metric asks for it."""

    def of(self, case: Case) -> Generation:
        """Return the settings with the case's own; the smaller number of tokens holds."""
        own: dict[str, Any] = {"temperature": case.temperature, "top_p": case.top_p}
        if case.max_new_tokens is not None:
            own["max_new_tokens"] = min(self.max_new_tokens, case.max_new_tokens)
        if case.stop:
            own["stop"] = (*self.stop, *case.stop)
        own = {name: value for name, value in own.items() if value is not None}
        return self.model_copy(update=own) if own else self
