"""Modelfile: the chat template as Go, proven on conversations, or left out with the reason."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.gguf_files import needs_gguf, set_keys
from tests.tiny_models import Tiny, make_tokenizer
from tunegate.trainers.artifacts import _modelfile

TURN = "{{ '<|start|>' + message['role'] + '\n' + message['content'] + '<|end|>\n' }}"
ASK = "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
PLAIN = f"{{% for message in messages %}}{TURN}{{% endfor %}}{ASK}"
DEFAULT = (
    "{% if messages[0]['role'] != 'system' %}<|start|>system\nBe kind.<|end|>\n{% endif %}" + PLAIN
)
EMPTY = DEFAULT.replace("Be kind.", "")
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('no system role') }}{% endif %}{% for message in messages %}"
    "<t>{{ message['role'] }}\n{{ message['content'] | trim }}</t>\n{% endfor %}"
    "{% if add_generation_prompt %}<t>model\n{% endif %}"
).replace("{{ message['role'] }}", "{{ 'model' if message['role'] == 'assistant' else 'user' }}")
PHI = PLAIN.replace("{% endif %}", "{% else %}{{ eos_token }}{% endif %}")
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST] "
    "{% if loop.last and messages[0]['role'] == 'system' %}{{ messages[0]['content'] }}\n\n"
    "{% endif %}{{ m['content'] }}[/INST]{% elif m['role'] == 'assistant' %}"
    "{{ m['content'] + eos_token }}{% endif %}{% endfor %}"
)


def _pieces(template: str) -> _modelfile.TurnPieces:
    return _modelfile.read_pieces(make_tokenizer(template=template))


def test_turns_become_a_range_of_messages() -> None:
    assert _pieces(PLAIN).template(bos=False) == (
        '{{ range .Messages }}{{ if eq .Role "system" }}<|start|>system\n{{ .Content }}<|end|>\n'
        '{{ else if eq .Role "user" }}<|start|>user\n{{ .Content }}<|end|>\n'
        '{{ else if eq .Role "assistant" }}<|start|>assistant\n{{ .Content }}<|end|>\n'
        "{{ end }}{{ end }}<|start|>assistant\n"
    )


@pytest.mark.parametrize(
    ("template", "default", "begins"),
    [
        (DEFAULT, "Be kind.", "{{ range .Messages }}"),
        (EMPTY, "", "{{ if not .System }}<|start|>system\n<|end|>\n{{ end }}{{ range .Messages }}"),
        (PHI, None, "{{ range .Messages }}"),
    ],
)
def test_a_default_system_prompt_and_a_closed_end_are_read(
    template: str, default: str | None, begins: str
) -> None:
    pieces = _pieces(template)

    assert pieces.default == default
    assert pieces.template(bos=False).startswith(begins)


def test_a_template_without_system_prompts_has_two_roles_and_its_bos() -> None:
    pieces = _pieces(GEMMA)

    assert list(pieces.around) == ["user", "assistant"]
    assert pieces.around["assistant"] == ("<t>model\n", "</t>\n")
    assert pieces.template(bos=False).startswith("<|start|>{{ range")
    assert pieces.template(bos=True).startswith("{{ range")


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (MISTRAL, "does not write each turn once, in order"),
        (PLAIN + "{{ strftime_now('%Y') if false }}", "writes today's date"),
        (PLAIN.replace("<|end|>", "}}".join(["{{ '", "' }}"])), "braces or quotes"),
        (
            PLAIN.replace("message['content']", "message['content'] | replace('Three', '3')"),
            "more than write turns one after the other",
        ),
    ],
)
def test_what_no_go_template_writes_is_refused(template: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        _pieces(template)


@needs_gguf
def test_the_file_names_model_stops_and_parameters(tiny: Tiny, tmp_path: Path) -> None:
    made = _written(tiny, tmp_path, DEFAULT)

    assert made.splitlines() == [
        "# ollama create NAME -f Modelfile; then prove it: --artifacts ollama:NAME",
        "FROM ./m.gguf",
        "# equal to the chat template on 4 conversations; tools and thoughts are not",
        "# in it",
        'TEMPLATE """{{ range .Messages }}{{ if eq .Role "system" }}<|start|>system',
        "{{ .Content }}<|end|>",
        '{{ else if eq .Role "user" }}<|start|>user',
        "{{ .Content }}<|end|>",
        '{{ else if eq .Role "assistant" }}<|start|>assistant',
        "{{ .Content }}<|end|>",
        "{{ end }}{{ end }}<|start|>assistant",
        '"""',
        'SYSTEM """Be kind."""',
        'PARAMETER stop "<|end|>"',
        "PARAMETER num_ctx 256",
        "PARAMETER temperature 0.6",
        "PARAMETER repeat_penalty 1.1",
    ]


@needs_gguf
def test_a_template_that_cannot_be_written_is_left_out_with_the_reason(
    tiny: Tiny, tmp_path: Path
) -> None:
    made = _written(tiny, tmp_path, MISTRAL)

    assert 'TEMPLATE "' not in made
    assert "# no TEMPLATE: the chat template does not write each turn once, in order" in made


def _written(tiny: Tiny, place: Path, template: str) -> str:
    from tests.gguf_writer import write_gguf
    from tunegate.harness.models.gguf_format.file import read_gguf

    folder = place / "model"
    tokenizer: Any = make_tokenizer(template=template)
    shutil.copytree(tiny.base(), folder)
    tokenizer.save_pretrained(folder)
    sampled = {"do_sample": True, "temperature": 0.6, "repetition_penalty": 1.1}
    set_keys(folder / "generation_config.json", eos_token_id=[0, 9], **sampled)
    write_gguf(folder, place / "m.gguf", "F32")
    path = _modelfile.write_modelfile(folder, read_gguf(place / "m.gguf"))
    return path.read_text(encoding="utf-8")
