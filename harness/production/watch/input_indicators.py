"""Input indicators: is production asked what the gate was asked?

Language, length, wording, tools and route. A gate case is compared with the cases of other
clusters, so that unchanged traffic looks as strange as gate cases do to each other.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property, partial
from importlib.util import find_spec
from typing import Any

from tunegate.harness.production.watch.answered_case import AnsweredCase
from tunegate.harness.production.watch.indicators import LossKind, MonitoredFigure
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score
from tunegate.harness.suite import Suite

_NO_DETECTOR = "py3langid is not installed; pip install 'tunegate[metrics]'"
_GRAM = 4
"""Characters of the n-grams by which wording is compared."""
_MOST_CHARACTERS = 20_000
"""Characters of a prompt that are compared."""
_MINORITY = 0.05
"""Share of cases in other languages than the most common one from which they are watched."""
_LEAST_LETTERS = 20
"""Letters that it takes to detect the language of a prompt."""


def input_figures(suite: Suite) -> list[MonitoredFigure]:
    """Return the indicators that compare prompts with those of a suite's cases."""
    above, below, share = LossKind.ABOVE, LossKind.BELOW, LossKind.SHARE
    seen = _SeenInputs(suite.plain_cases)
    indicators: list[tuple[str, str, LossKind, Callable[[Case], Score]]] = [
        ("input_language", "prompts in a language of no other case", share, seen.language),
        ("input_wording", "prompts stranger in wording than the gate's strangest tenth", above,
         seen.wording),
        ("input_longer", "prompts longer than the gate's longest tenth", above, _characters),
        ("input_shorter", "prompts shorter than the gate's shortest tenth", below, _characters),
        ("input_tools", "calls that offer a tool of no other case", share, seen.tools),
    ]  # fmt: skip
    if suite.content_metrics is not None:  # replayed traffic: its tags are models and routes
        indicators.append(("input_route", "calls of a route of no other case", share, seen.route))
    if seen.is_multilingual:
        says = "prompts in another language than most cases"
        indicators.append(("input_other_language", says, share, seen.other_language))
    why = {"input_language": _NO_DETECTOR} if find_spec("py3langid") is None else {}
    return [
        MonitoredFigure(
            name,
            says,
            kind,
            partial(_of_case, measure),
            missing=why.get(name, "the gate's cases do not show it"),
        )
        for name, says, kind, measure in indicators
    ]


def _of_case(measure: Callable[[Case], Score], one: AnsweredCase) -> Score:
    return measure(one.case)


def asked_text(case: Case) -> str:
    """Return the user's last message; empty if the trace does not hold it."""
    turns = [turn for turn in case.input_messages() if turn.get("role") == "user"]
    content = turns[-1].get("content") if turns else None
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, Mapping)]
        content = "\n".join(text for text in parts if isinstance(text, str))
    return content if isinstance(content, str) else ""


def _characters(case: Case) -> Score:
    text = asked_text(case)
    return Score.of(float(len(text))) if text else Score.unscored("the prompt is not known")


def _grams(case: Case) -> frozenset[str]:
    """Return the n-grams of a prompt's words, with every digit as 0."""
    text = re.sub(r"\d", "0", asked_text(case)[:_MOST_CHARACTERS].casefold())
    grams: set[str] = set()
    for word in re.findall(r"\w+", text):
        padded = f" {word} "
        grams.update(padded[at : at + _GRAM] for at in range(max(1, len(padded) - _GRAM + 1)))
    return frozenset(grams)


def _tool_names(case: Case) -> frozenset[str]:
    tools = case.tools or ()
    return frozenset(str(tool.get("function", tool).get("name")) for tool in tools)


def _language(case: Case) -> str | None:
    """Return the language of a prompt; None if it is too short or not recognized."""
    text = asked_text(case)[:_MOST_CHARACTERS]
    detector = _detector()
    if detector is None or sum(sign.isalpha() for sign in text) < _LEAST_LETTERS:
        return None
    code, _ = detector.classify(text)
    return str(code)


@cache
def _detector() -> Any:
    try:
        from py3langid import langid
    except ImportError:
        return None
    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)


class _SeenInputs:
    """Traits of a suite's prompts, each counted once per cluster."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self._cases = cases
        self._units = {case.id: case.cluster or f"\0{case.id}" for case in cases}

    def language(self, case: Case) -> Score:
        """Score 1 for a language of no other case."""
        code = _language(case)
        if code is None:
            return Score.unscored("the language of the prompt is unknown")
        return self._strange(case, frozenset([code]), self._languages)

    @property
    def is_multilingual(self) -> bool:
        """Whether cases are in several languages, so that none of these is new in production."""
        total = self._languages.total()
        return total > 0 and self._languages[self._main_language] < (1 - _MINORITY) * total

    def other_language(self, case: Case) -> Score:
        """Score 1 for a language other than that of most cases."""
        code = _language(case)
        if code is None:
            return Score.unscored("the language of the prompt is unknown")
        return Score.of(float(code != self._main_language))

    def tools(self, case: Case) -> Score:
        """Score 1 for a tool that no other case offers."""
        return self._strange(case, _tool_names(case), self._tools)

    def route(self, case: Case) -> Score:
        """Score 1 for a route that no other case has."""
        if case.id not in self._units and not case.tags:
            return Score.unscored("the call names no route")
        names = frozenset(case.tags)
        has_route = any(self._others(case, name, self._routes) for name in names)
        return Score.of(float(not has_route))

    def wording(self, case: Case) -> Score:
        """Score the share of a prompt's n-grams that no other case has."""
        grams = _grams(case)
        if not grams:
            return Score.unscored("the prompt is not known")
        unseen = sum(not self._others(case, gram, self._wordings) for gram in grams)
        return Score.of(unseen / len(grams))

    def _strange(self, case: Case, names: frozenset[str], counts: Counter[str]) -> Score:
        return Score.of(float(any(not self._others(case, name, counts) for name in names)))

    def _others(self, case: Case, name: str, counts: Counter[str]) -> bool:
        """Return whether a case of another cluster has it; a production call has no cluster."""
        return counts[name] > int(case.id in self._units)

    def _counted(self, traits: Callable[[Case], frozenset[str]]) -> Counter[str]:
        found = {(self._units[case.id], name) for case in self._cases for name in traits(case)}
        return Counter(name for _, name in found)

    @cached_property
    def _languages(self) -> Counter[str]:
        return self._counted(lambda case: frozenset(filter(None, [_language(case)])))

    @cached_property
    def _main_language(self) -> str:
        # Ties go to the first by name, the same each time.
        return min(self._languages, key=lambda name: (-self._languages[name], name))

    @cached_property
    def _tools(self) -> Counter[str]:
        return self._counted(_tool_names)

    @cached_property
    def _routes(self) -> Counter[str]:
        return self._counted(lambda case: frozenset(case.tags))

    @cached_property
    def _wordings(self) -> Counter[str]:
        return self._counted(_grams)
