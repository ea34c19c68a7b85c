"""`tunegate metric NAME`: a metric with its options and known problems, from its docstring."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunegate.harness.cli._output import say
from tunegate.harness.cli._panels import Panel
from tunegate.harness.contracts import lookup

if TYPE_CHECKING:
    from tunegate.harness.contracts.metric import Metric

ORDER = 172
PANEL = Panel.LOOK_CLOSER
_PARTS = ("Known problems", "Example", "Options")
_QUESTIONS = {
    "choices": "asks for the likelihood of each choice",
    "answer": "asks for the likelihood of the expected answer",
    "text": "asks for the likelihood of the prompt",
    "latency": "times completions in a pass of its own",
    "drafts": "counts drafted tokens of completions in a pass of its own",
    "recorded": "takes the scores of a `results:` arm",
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("metric")(show_metric)


def show_metric(
    name: Annotated[
        str, typer.Argument(help="Its name, or pkg.mod:fn of your own. Default: the list.")
    ] = "",
) -> None:
    """Explain a metric and its options, or list all of them.

    Example: tunegate metric token_f1
    """
    if name:
        say(*metric_entry(find_metric(name), full=True).splitlines())
        return
    names = lookup.available_names("tunegate.harness.metrics")
    width = max(map(len, names))
    for each in names:
        summary = docstring_parts(find_metric(each))[""].partition("\n\n")[0]
        say(f"{each:<{width}}  {' '.join(summary.split())}")


def find_metric(name: str) -> Metric:
    """Return a metric; a plain function is one with the defaults."""
    from tunegate.harness.contracts.metric import Metric

    loaded = lookup.find_object("tunegate.harness.metrics", name, what="metric")
    return loaded if isinstance(loaded, Metric) else Metric(name=name, score=loaded)


def metric_entry(metric: Metric, *, full: bool) -> str:
    """Return a metric in Markdown; without `full`, neither its details nor its example."""
    summary, _, details = docstring_parts(metric)[""].partition("\n\n")
    blocks = [f"## {metric.name}", f"{summary} *{_facts(metric)}.*"]
    blocks += [details] if details and full else []
    for name, text in docstring_parts(metric).items():
        if name == "Known problems" or (name == "Example" and full):
            between = "\n\n" if text.startswith("```") else " "
            blocks.append(f"**{name}:**{between}{_quote_fences(text)}")
    options = "\n".join(_options(metric))
    blocks += [options] if options else []
    return "\n\n".join(blocks) + "\n"


def docstring_parts(metric: Metric) -> dict[str, str]:
    """Return the named parts of a metric's docstring; the text before them is called ``."""
    lines: dict[str, list[str]] = {"": []}
    part = lines[""]
    for line in (inspect.getdoc(metric.score) or "").splitlines():
        if line.endswith(":") and line[:-1] in _PARTS:
            part = lines.setdefault(line[:-1], [])
        else:
            part.append(line)
    return {name: inspect.cleandoc("\n".join(["", *texts])) for name, texts in lines.items()}


def option_texts(metric: Metric) -> dict[str, str]:
    """Return option → its description in the docstring."""
    text = docstring_parts(metric).get("Options", "")
    pieces = re.split(r"^(\w+): ", text, flags=re.MULTILINE)
    return dict(zip(pieces[1::2], map(str.strip, pieces[2::2]), strict=True))


def _facts(metric: Metric) -> str:
    if metric.binary:
        values = "0 or 1"
    else:
        values = f"{metric.range[0]:g} to {metric.range[1]:g}" if metric.range else "unbounded"
    better = f"{'higher' if metric.higher_is_better else 'lower'} is better"
    needs = [f"needs {' and '.join(f'`{name}`' for name in metric.requires)}"]
    question = [_QUESTIONS[metric.needs.value]] if metric.needs.value in _QUESTIONS else []
    return "; ".join([values, better, *question, *(needs if metric.requires else [])])


def _options(metric: Metric) -> Iterator[str]:
    texts = option_texts(metric)
    for name, parameter in inspect.signature(metric.score).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            text = " ".join(texts.get(name, "").split())
            yield f"- `{name}`{_default(parameter.default)}{text and f': {text}'}"


def _default(value: Any) -> str:
    if value is inspect.Parameter.empty:
        return " (required)"
    return "" if value in (None, (), "", False, 0) else f" (default `{json.dumps(value)}`)"


def _quote_fences(text: str) -> str:
    """Quote a fence that is spoken of, not used: Markdown would take it for the start of code."""
    return re.sub(r"(?<=[^\s`]) ```(?= |$)", " `` ``` ``", text, flags=re.MULTILINE)
