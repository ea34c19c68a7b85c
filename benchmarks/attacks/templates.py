"""Hostile chat templates and tokenizers: `python -m benchmarks.attacks.templates`.

Programs that loop for ever, fill the memory, or look for a way out of the sandbox. Each must end in
20 s, in less than a gigabyte, with a prompt or with a message of one line. The demo's tokenizer is
taken where it is stored, else one of three tokens.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.attacks.attempt import AttackAttempt, Outcome, report
from tunegate.harness.errors import TunegateError
from tunegate.harness.models import _chat_template
from tunegate.harness.records.cases import Case, GenerationSettings

LONGEST_S = 90.0
"""Seconds: a tokenizer.json has 60 s to be read in."""
_A = "{% for a in range(99999) %}"
_END = "{% endfor %}"
TEMPLATES = {
    "four loops of 99,999": _A * 4 + "x" + _END * 4,
    "a loop that writes": _A * 2 + "word" + _END * 2,
    "a text of 8 GB": "{{ 'a' * 8000000000 }}",
    "a text that doubles 70 times": "{% set n = namespace(s='ab') %}{% for i in range(70) %}"
    "{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s }}",
    "a list that grows": "{% set n = namespace(l=[]) %}" + _A * 2 + "{% set n.l = n.l + [a] %}"
    + _END * 2,
    "a power of 12 million digits": "{{ (7 ** 14000000) % 10 }}",
    "a number of 3 million digits as text": "{{ (10 ** 3000000) | string | length }}",
    "a prompt of 40 MB": "{{ 'ab ' * 13000000 }}",
    "padding of 4 GB": "{{ 'x' | center(4000000000) }}",
    "a format of 9 GB": "{{ '%09999999999d' % 1 }}",
    "wrapped at every letter": "{{ ('a ' * 9999999) | wordwrap(1) }}",
    "text that is no Latin": "{{ lipsum(n=999999) }}",
    "replaced and replaced": "{% set n = namespace(s='a') %}{% for i in range(40) %}"
    "{% set n.s = n.s | replace('a', 'aaaa') %}{% endfor %}{{ n.s | length }}",
    "4,000 nested conditions": "{% if 1 %}" * 4000 + "x" + "{% endif %}" * 4000,
    "100,000 parentheses": "{{ " + "(" * 100_000 + "1" + ")" * 100_000 + " }}",
    "a macro that calls itself": "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
    "a template of 30 MB": "{# " + "x" * 30_000_000 + " #}y",
    "a range of 10^15": "{{ range(10 ** 15) | list | length }}",
    "the class of a list": "{{ messages.__class__.__mro__[1].__subclasses__() }}",
    "the globals of a function": "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "a format string that reaches out": "{{ '{0.__class__.__mro__}'.format(messages) }}",
    "the file system by include": "{% include '/etc/passwd' %}",
    "half of a surrogate pair": "{{ '\\ud800' * 9 }}",
    "an error of many lines": "{{ raise_exception('no\n::error::x\n' * 1000) }}",
    "no template": "{% for %}",
    "JSON indented by a billion": "{{ messages | tojson(indent=999999999) }}",
    "text indented by a billion": "{{ 'a\nb' | indent(999999999) }}",
    "a list in batches of a billion": "{{ [1] | batch(999999999, 'x') | list | length }}",
    "a join that multiplies": "{{ ('b' * 99999) | join('c' * 99999) | length }}",
    "a slice of nothing, a billion times": "{{ [] | slice(999999999) | list | length }}",
    "the class by a filter": "{{ messages | map(attribute='__class__') | list }}",
    "the globals by a filter": "{{ [joiner] | map(attribute='__init__.__globals__') | list }}",
    "the class by its name in parts": "{{ messages | attr('__cl' ~ 'ass__') }}",
    "a date of a billion digits": "{{ strftime_now('%999999999d') }}",
    "a caller that calls itself": "{% macro f() %}{{ caller() }}{% call f() %}{% endcall %}"
    "{% endmacro %}{% call f() %}x{% endcall %}",
    "thoughts that are opened a million times": "{% for a in range(99999) %}<think>\n"
    "{% endfor %}" * 20,
    "a sort of a list of lists": "{{ [messages] * 9999999 | int | string | length }}"
    "{{ ([messages] * 9999999) | sort | length }}",
}  # fmt: skip


def replacement(text: str, by: str) -> dict[str, Any]:
    """Return a rule of tokenizer.json."""
    return {"type": "Replace", "pattern": {"String": text}, "content": by}


def split(pattern: str) -> dict[str, Any]:
    """Return a rule of tokenizer.json that splits at a pattern."""
    return {
        "type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False,
    }  # fmt: skip


TOKENIZERS: Mapping[str, Mapping[str, Any] | str] = {
    "eleven replacements of an `e`": {
        "normalizer": {"type": "Sequence", "normalizers": [replacement("e", "e" * 9)] * 11}
    },
    "eleven replacements of a rare letter": {
        "normalizer": {"type": "Sequence", "normalizers": [replacement("ß", "ß" * 9)] * 11}
    },
    "a pattern that backtracks": {"pre_tokenizer": split(r"(ß|ß?)+$")},
    "a pattern with a reference": {"pre_tokenizer": split(r"(?:(ß*)*)*\1x")},
    "nested counts": {"pre_tokenizer": split("(((ß{1,99}){1,99}){1,99})!")},
    "a pattern that is none": {"pre_tokenizer": split("(((")},
    "a decoder that multiplies": {
        "decoder": {"type": "Sequence", "decoders": [replacement("a", "aaaa")] * 9}
    },
    "a decoder with a long text": {"decoder": replacement("a", "x" * 999_999)},
    "a rule of no known type": {"normalizer": {"type": "Exec", "command": "id"}},
    "rules that are 400 deep": {
        "normalizer": json.loads(
            '{"type": "Sequence", "normalizers": [' * 400 + '{"type": "Lowercase"}' + "]}" * 400
        )
    },
    "JSON that is 200,000 deep": "[" * 200_000,
    "no JSON": "\0" * 1000,
}


def attempts() -> Iterator[AttackAttempt]:
    """Yield the attacks."""
    for name, template in TEMPLATES.items():
        yield AttackAttempt(f"template: {name}", lambda t=template: _render(t))  # type: ignore[misc]
    for name, fields in TOKENIZERS.items():
        yield AttackAttempt(f"tokenizer: {name}", lambda f=fields: _tokenise(f))  # type: ignore[misc]


def _render(template: str) -> Outcome:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    tokenizer: Any = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=Tokenizer(models.BPE(vocab={"a": 0}, merges=[]))
    )
    tokenizer.chat_template = template
    return _prompt(tokenizer, GenerationSettings())


def _tokenise(fields: Mapping[str, Any] | str) -> Outcome:
    from transformers import PreTrainedTokenizerFast

    model = {"type": "BPE", "vocab": {"a": 0, "e": 1}, "merges": []}
    plain = {"version": "1.0", "added_tokens": [], "model": model}
    text = fields if isinstance(fields, str) else json.dumps({**plain, **fields})
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "tokenizer.json").write_text(text, encoding="utf-8")
        began = time.monotonic()
        try:
            _chat_template.try_folder(Path(folder))
        except TunegateError as error:
            return _message(error, time.monotonic() - began)
        tokenizer: Any = PreTrainedTokenizerFast.from_pretrained(folder)
        return _prompt(tokenizer, GenerationSettings(template="none"))


def _prompt(tokenizer: Any, generation: GenerationSettings) -> Outcome:
    case = Case(id="a", prompt="ß" * 60 + "!", expected="x")
    began = time.monotonic()
    try:
        prompt = _chat_template.render_prompt(tokenizer, case, generation, spec="m")
    except (TunegateError, ValueError) as error:
        return _message(error, time.monotonic() - began)
    took = time.monotonic() - began
    secret = "root:" in prompt.text or "uid=" in prompt.text
    return took < LONGEST_S and not secret, f"{took:.1f} s: {len(prompt.text):,} characters"


def _message(error: Exception, took: float) -> Outcome:
    one_line = "\n" not in str(error)
    return one_line and took < LONGEST_S, f"{took:.1f} s: {error!s:.90}"


if __name__ == "__main__":
    raise SystemExit(report(attempts())[1])
