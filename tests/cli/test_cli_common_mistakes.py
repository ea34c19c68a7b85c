"""The commonest mistakes of a first day: one line, with the place and the remedy, and the code."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

SUITE = 'name = "s"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "exact_match"\n'
GATE = '[[gates]]\nmetric = "exact_match"\nfloor = 0.5\n'
TABLE = 'name = "s"\n[cases]\nfrom = "csv"\nfile = "t.csv"\n'
METRIC = '[[metrics]]\nuse = "exact_match"\n'
CASE = '{"id": "a", "prompt": "q", "expected": "yes"}\n'
CSV = "utterance,intent\n" + "".join(f"text {n},refund\n" for n in range(320))
TURNS = "".join(
    json.dumps({"prompt": [{"role": "user", "content": f"q{n}"}], "expected": "a"}) + "\n"
    for n in range(320)
)
ANSWERS = '{"id": "a", "completion": "yes"}\n'
MODELS = ("--base", "replay:ok.jsonl", "--tuned", "replay:ok.jsonl")
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n"
OBJECT = '{{"id": "{}", "prompt": "q", "expected": {{"city": "Rome"}}}}\n'
CHAT = '{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}\n'


class Mistake(NamedTuple):
    """What is there, what is typed, and what has to come of it."""

    words: Sequence[str]
    parts: Sequence[str]
    """Texts that one line of the output has."""
    files: Mapping[str, str | bytes] = {}
    code: int = 2


def checked(toml: str, *parts: str, **files: str | bytes) -> Mistake:
    """Return a mistake in a suite, found by `tunegate suite check`."""
    there: dict[str, str | bytes] = {"s/suite.toml": toml, "s/cases.jsonl": CASE}
    there |= {f"s/{name.replace('_', '.')}": text for name, text in files.items()}
    return Mistake(("suite", "check", "s"), parts, there)


def judged(*words: str, parts: Sequence[str], **files: str) -> Mistake:
    """Return a mistake in the options of `tunegate gate`."""
    there = {"s/suite.toml": SUITE + GATE, "s/cases.jsonl": CASE, "ok.jsonl": ANSWERS}
    return Mistake(("gate", *words), parts, {**there, **files})


MISTAKES = {
    "a column of another name": checked(
        TABLE + 'columns = { prompt = "utterance" }\n' + METRIC + GATE,
        "suite.toml:2", "320 of 320", "'expected'", "t.csv:2", "columns = { expected =",
        t_csv=CSV,
    ),
    "no such column": checked(
        TABLE + 'columns = { prompt = "uterance", expected = "intent" }\n' + METRIC + GATE,
        "t.csv:1", "'uterance'", "did you mean 'utterance'?", t_csv=CSV,
    ),
    "no column is the prompt": checked(
        TABLE + METRIC + GATE, "t.csv:1", "columns = { prompt =", "utterance, intent", t_csv=CSV
    ),
    "turns as the prompt": checked(
        SUITE + GATE, "cases.jsonl:1", "`messages`", "319 more rows", cases_jsonl=TURNS
    ),
    "turns in a column of the prompt": checked(
        'name = "s"\n[cases]\nfrom = "jsonl"\nfile = "t.jsonl"\n'
        'columns = { prompt = "prompt", expected = "expected" }\n' + METRIC + GATE,
        "t.jsonl:1", "messages", "319 more rows", t_jsonl=TURNS,
    ),
    "a semicolon between columns": checked(
        TABLE + METRIC + GATE, "t.csv:1", 'delimiter = ";"', t_csv="prompt;expected\nq;a\n"
    ),
    "a comma in a text without quotes": checked(
        TABLE + METRIC + GATE, "t.csv:2", "3 columns", "quote a text", "19 more rows",
        t_csv="prompt,expected\n" + "yes, please,a\n" * 20,
    ),
    "a file that is not there": checked(
        SUITE.replace("cases.jsonl", "case.jsonl") + GATE, "case.jsonl", "No such file"
    ),
    "no cases": checked(SUITE + GATE, "suite.toml:2", "no cases", cases_jsonl=""),
    "a line that is not JSON": checked(
        SUITE + GATE, "cases.jsonl:2", "JSON", cases_jsonl=CASE + '{"id": "b", "prompt"\n'
    ),
    "an id twice": checked(
        SUITE + GATE, "cases.jsonl:2", "'a'", "cases.jsonl:1", cases_jsonl=CASE * 2
    ),
    "a key that no case has": checked(
        SUITE + GATE, "cases.jsonl:1", "'promt'", "'prompt'",
        cases_jsonl='{"id": "a", "promt": "q", "expected": "a"}\n',
    ),
    "many ids twice": checked(
        SUITE + GATE, "cases.jsonl:2", "cases.jsonl:1 (58 more rows like it)",
        cases_jsonl=CASE * 60,
    ),
    "many cases that a metric cannot score": checked(
        SUITE.replace("exact_match", "numeric") + GATE.replace("exact_match", "numeric"),
        "suite.toml:4", "'a'", "no number", "(59 more rows like it)",
        cases_jsonl="".join(CASE.replace('"a"', f'"a{n or ""}"') for n in range(60)),
    ),
    "a list in place of lines": checked(
        SUITE + GATE, "cases.jsonl:1", "JSON list", "one case a line", ".json",
        cases_jsonl=f"[{CASE}]",
    ),
    "a file that git-lfs did not fetch": checked(
        SUITE + GATE, "cases.jsonl: a git-lfs pointer", "git lfs pull", cases_jsonl=POINTER
    ),
    "a parquet file that git-lfs did not fetch": checked(
        TABLE.replace("csv", "parquet") + METRIC + GATE, "t.parquet: a git-lfs pointer",
        "git lfs pull", t_parquet=POINTER,
    ),
    "a table in Latin-1": checked(
        TABLE + METRIC + GATE, "t.csv:2", "0xe9", "iconv -f WINDOWS-1252",
        t_csv="prompt,expected\ncafé,a\n".encode("latin-1"),
    ),
    "an object as what is expected": checked(
        SUITE + GATE, "cases.jsonl:1", r'"{\"city\": \"Rome\"}"', "json_fields", "59 more rows",
        cases_jsonl="".join(OBJECT.format(n) for n in range(60)),
    ),
    "a conversation with its answer": checked(
        SUITE + GATE, "cases.jsonl:1", "assistant's turn", "`expected`", cases_jsonl=CHAT
    ),
    "a name without quotes": checked("name = s\n", "suite.toml:1"),
    "a metric of another name": checked(
        SUITE.replace("exact_match", "exact_mach") + GATE,
        "suite.toml:4", "did you mean 'exact_match'?",
    ),
    "a gate of another name": checked(
        SUITE + GATE.replace("floor", "flor"), "suite.toml:", "'flor'", "'floor'"
    ),
    "a gate on a metric that is not listed": checked(
        SUITE + GATE.replace("exact_match", "token_f1"),
        "suite.toml:7", 'use = "token_f1"', "exact_match",
    ),
    "a gate on a listed metric's misspelled name": checked(
        SUITE + GATE.replace("exact_match", "exact_mach"), "suite.toml:7", "did you mean"
    ),
    "a decimal comma": checked(SUITE + GATE.replace("0.5", "0,8"), "suite.toml:7", "0,8", "0.8"),
    "one gate's table": checked(SUITE + GATE.replace("[[gates]]", "[gates]"), ":5", "[[gates]]"),
    "one metric's table": checked(
        SUITE.replace("[[metrics]]", "[metrics]") + GATE, ":3", "[[metrics]]"
    ),
    "a judge by no name": checked(
        SUITE.replace("exact_match", "judge") + GATE.replace("exact_match", "judge"),
        "suite.toml:4", "'judge'", "rubric",
    ),
    "a ceiling where more is better": checked(
        SUITE + GATE.replace("floor", "ceiling"), "suite.toml:7", "ceiling=0.5", "floor = 0.5"
    ),
    "a floor where less is better": checked(
        SUITE.replace("exact_match", "loops") + GATE.replace("exact_match", "loops"),
        "suite.toml:7", "floor=0.5", "ceiling = 0.5",
    ),
    "a prompt of another name": checked(
        SUITE + GATE, "cases.jsonl:1", "'question'", "did you mean 'prompt'?",
        cases_jsonl=CASE.replace("prompt", "question"),
    ),
    "an id in capitals": checked(
        SUITE + GATE, "cases.jsonl:1", "'ID'", "did you mean 'id'?",
        cases_jsonl=CASE.replace('"id"', '"ID"'),
    ),
    "what is expected, of another name": checked(
        SUITE + GATE, "cases.jsonl:1", "'answer'", "did you mean 'expected'?",
        cases_jsonl=CASE.replace("expected", "answer"),
    ),
    "CSV in place of lines": checked(
        SUITE + GATE, "cases.jsonl:1", "one case a line", 'from = "csv"',
        cases_jsonl="prompt,expected\nq,a\n",
    ),
    "Python in place of JSON": checked(
        SUITE + GATE, "cases.jsonl:1", "double quotes", "json.dumps",
        cases_jsonl=CASE.replace('"', "'"),
    ),
    "None in place of null": checked(
        SUITE + GATE, "cases.jsonl:1", "null", cases_jsonl=CASE.replace('"yes"', "None")
    ),
    "a comment in the cases": checked(
        SUITE + GATE, "cases.jsonl:2", "JSON has no comments", cases_jsonl=CASE + "// more\n"
    ),
    "a comment after a case": checked(
        SUITE + GATE, "cases.jsonl:1", "JSON has no comments", cases_jsonl=CASE[:-1] + " // one\n"
    ),
    "a floor in per cent": checked(SUITE + GATE.replace("0.5", "90"), "suite.toml:7", "0.9"),
    "a number as a text": checked(SUITE + GATE.replace("0.5", '"high"'), "suite.toml:7", "number"),
    "a tolerance that no such suite can prove": checked(
        SUITE + '[[gates]]\nmetric = "exact_match"\ntolerance = 0.001\n',
        "suite.toml:7", "tolerance", "cases",
    ),
    "samples of greedy decoding": checked(
        SUITE + "[generation]\nsamples = 3\n" + GATE, "suite.toml:6", "temperature"
    ),
    "a schema that is not there": checked(
        SUITE.replace('"exact_match"', '"json_schema"\nschema = "no.json"')
        + GATE.replace("exact_match", "json_schema"),
        "suite.toml:", "no.json", "no such file",
    ),
    "a chat template that is not there": checked(
        SUITE + '[generation]\nchat_template = "chat.jinja"\n' + GATE,
        "suite.toml:6", "'chat.jinja'", '"tuned"',
    ),
    "a file outside of the project": checked(
        SUITE.replace("cases.jsonl", "/etc/passwd") + GATE, "suite.toml:2", "outside the suite"
    ),
    "no such suite": Mistake(("suite", "check", "suites/x"), ("suites/x", "tunegate suite new x")),
    "a folder that is there": Mistake(
        ("suite", "new", "s"), ("s: is already there", "another name"), {"s/suite.toml": ""}
    ),
    "cases that are not there": Mistake(
        ("suite", "new", "n", "--from", "no.csv"), ("no.csv: no such file", ".csv")
    ),
    "traces of Langfuse instead of observations": Mistake(
        ("suite", "new", "n", "--from", "langfuse.csv"),
        ("langfuse.csv: 0 spans", "export its observations"),
        {"langfuse.csv": "id,timestamp,bookmarked,public,input,output\n1,2,false,false,Hi,Yes\n"},
    ),
    "no tuned model": judged("s", parts=("no tuned model", " --tuned SPEC")),
    "two tuned models": judged(
        "s", *MODELS, "--tuned", "replay:b.jsonl",
        parts=("--tuned is given twice", "ok.jsonl", "b.jsonl", "tunegate compare"),
    ),
    "an option of another name": judged(
        "s", "--tuend", "x", parts=("'--tuend'", "did you mean '--tuned'?")
    ),
    "an option without a value": judged("s", "--tuned", parts=("--tuned needs a value",)),
    "help in place of a value": judged(
        "s", "--tuned", "--help", parts=("--tuned needs a value",)
    ),
    "help in place of a value of replay": Mistake(
        ("replay", "traces.jsonl", "--sample", "--help"), ("--sample needs a value",)
    ),
    "a value that is not a choice": judged(
        "s", *MODELS, "--early-stop", "of", parts=("--early-stop", "'of'", "did you mean 'off'?")
    ),
    "a seed that is not a number": judged(
        "s", *MODELS, "--seed", "one", parts=(" --seed='one'", "whole number")
    ),
    "no suite named": judged(*MODELS, parts=("no suites", "suite.toml")),
    "a folder without a suite": judged(
        "empty", *MODELS, parts=("empty: no suite.toml", "tunegate suite new"),
        **{"empty/readme.md": ""},
    ),
    "a model folder that is not there": judged(
        "s", "--base", "./m", "--tuned", "./m", parts=("./m: no such folder", "hub id")
    ),
    "the output folder of a training": judged(
        "s", "--base", "out", "--tuned", "out",
        parts=("out: holds checkpoints", "checkpoint-9, checkpoint-10", "out/checkpoint-10"),
        **{f"out/checkpoint-{n}/config.json": "{}" for n in (10, 9)},
    ),
    "the cases in place of the suite": judged(
        "s/cases.jsonl", *MODELS, parts=("s/cases.jsonl", "name the suite's folder: s")
    ),
    "the cases in place of the suite, checked": Mistake(
        ("suite", "check", "s/cases.jsonl"), ("name the suite's folder: s",),
        {"s/suite.toml": SUITE, "s/cases.jsonl": CASE},
    ),
    "answers in place of the suite": judged(
        "ok.jsonl", *MODELS, parts=("ok.jsonl: not a suite", "suite.toml")
    ),
    "an option for the suite": judged(
        "--suite", "s", *MODELS, parts=("--suite", "did you mean `tunegate gate s …`")
    ),
    "answers without replay:": judged(
        "s", "--base", "ok.jsonl", "--tuned", "ok.jsonl", parts=("did you mean replay:ok.jsonl?",)
    ),
    "a server without server:": judged(
        "s", "--base", "http://127.0.0.1:1/v1", "--tuned", "replay:ok.jsonl",
        parts=("did you mean server:http://127.0.0.1:1/v1?",),
    ),
    "a run without replay:": judged(
        "s", "--base", "r", "--tuned", "r", parts=("a run folder; did you mean replay:r?",),
        **{"r/cells.jsonl": ""},
    ),
    "a GGUF file without gguf:": judged(
        "s", "--base", "m.gguf", "--tuned", "m.gguf", parts=("did you mean gguf:m.gguf?",),
        **{"m.gguf": "GGUF"},
    ),
    "an adapter without its configuration": judged(
        "s", "--base", "m", "--tuned", "a", parts=("a: an adapter without its adapter_config",),
        **{"m/config.json": "{}", "a/adapter_model.safetensors": ""},
    ),
    "the folder above an adapter": judged(
        "s", "--base", "m", "--tuned", "a", parts=("a: no model of its own", "a/final"),
        **{"m/config.json": "{}", "a/final/adapter_config.json": "{}"},
    ),
    "a folder without a model": judged(
        "s", "--base", "m", "--tuned", "s", parts=("s: neither config.json nor adapter_config",),
        **{"m/config.json": "{}"},
    ),
    "weights that git-lfs did not fetch": judged(
        "s", "--base", "m", "--tuned", "m",
        parts=("m/model.safetensors: a git-lfs pointer", "git lfs pull"),
        **{"m/config.json": "{}", "m/model.safetensors": POINTER},
    ),
    "answers that git-lfs did not fetch": judged(
        "s", "--base", "replay:a.jsonl", "--tuned", "replay:a.jsonl",
        parts=("a.jsonl: a git-lfs pointer",), **{"a.jsonl": POINTER},
    ),
    "a list of answers": judged(
        "s", "--base", "replay:a.jsonl", "--tuned", "replay:a.jsonl",
        parts=("a.jsonl:1: a JSON list", "one completion a line"), **{"a.jsonl": f"[{ANSWERS}]"},
    ),
    "a typing error in tuned, before base is loaded": judged(
        "s", "--base", "m", "--tuned", "./tunde", parts=("./tunde: no such folder",),
        **{"m/config.json": "{}"},
    ),
    "a typing error in recorded answers, before base is loaded": judged(
        "s", "--base", "m", "--tuned", "replay:no.jsonl", parts=("no.jsonl: no such file",),
        **{"m/config.json": "{}"},
    ),
    "answers that are not there": judged(
        "s", "--base", "replay:no.jsonl", "--tuned", "replay:no.jsonl", parts=("no.jsonl",)
    ),
    "a broken line of answers": judged(
        "s", "--base", "replay:bad.jsonl", "--tuned", "replay:bad.jsonl", parts=("bad.jsonl:2",),
        **{"bad.jsonl": ANSWERS + '{"id": 1}\n'},
    ),
    "no base": judged("s", "--tuned", "replay:ok.jsonl", parts=("no base model", " --base SPEC")),
    "workers without an engine that has them": judged(
        "s", *MODELS, "--workers", "2", parts=("--workers", "--engine ray")
    ),
    "answers to other cases": judged(
        "s", "--base", "replay:x.jsonl", "--tuned", "replay:ok.jsonl",
        parts=("replay:x.jsonl", "'x1', 'x2'", "'a', 'b'"),
        **{
            "s/cases.jsonl": CASE + CASE.replace('"a"', '"b"'),
            "x.jsonl": ANSWERS.replace('"a"', '"x1"') + ANSWERS.replace('"a"', '"x2"'),
        },
    ),
    "CSV in place of answers": judged(
        "s", "--base", "replay:x.jsonl", "--tuned", "replay:ok.jsonl",
        parts=("x.jsonl:1", "no JSON object", "completion"),
        **{"x.jsonl": "id,completion\na,yes\n"},
    ),
    "two suites of one name": judged(
        "s", "t", *MODELS, parts=("s and t", "called 's'", "another name"),
        **{"t/suite.toml": SUITE + GATE, "t/cases.jsonl": CASE},
    ),
    "two suites of one name, planned": Mistake(
        ("plan", "s", "t"), ("s and t", "called 's'"),
        {f"{name}/{file}": text for name in "st"
         for file, text in (("suite.toml", SUITE + GATE), ("cases.jsonl", CASE))},
    ),
    "a bracket in a suite's path": judged(
        "s[1]", *MODELS, parts=("s[1]/suite.toml", "pytest", "rename"),
        **{"s[1]/suite.toml": SUITE + GATE, "s[1]/cases.jsonl": CASE},
    ),
    "a suite without gates": judged(
        "s", *MODELS, parts=("[[gates]]", "suite.toml"), **{"s/suite.toml": SUITE}
    )._replace(code=10),
    "a run that is not there": Mistake(
        ("report", "runs/x"), ("runs/x: no such run folder", "tunegate history")
    ),
    "a run without its verdict": Mistake(
        ("report", "r"), ("r: no verdict.json", "tunegate resume r"), {"r/manifest.json": "{}"}
    ),
    "no runs to compare": Mistake(("compare",), ("two or more", "tunegate report")),
    "results that are not there": Mistake(
        ("suite", "new", "n", "--from", "results:no"), ("no: no such file or folder",)
    ),
    "traces that are not there": Mistake(
        ("replay", "no.jsonl", *MODELS), ("no.jsonl: no such file or folder", "trace files")
    ),
    "a training method of another name": Mistake(
        ("train", "stf", "--max_steps", "1"), ("'stf'", "did you mean 'sft'?")
    ),
    "a statement that is not there": Mistake(
        ("verify", "no.json", "--key", "k"), ("no.json: cannot be read",)
    ),
    "nothing to go on with": Mistake(("resume",), ("no runs here", "tunegate gate")),
    "no such bundled suite": Mistake(("init", "support_jsn"), ("did you mean 'support_json'?",)),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_common_mistake_is_one_line(project: Any, name: str) -> None:
    """One line names the place and what to do; the code is that of a mistake, never 0."""
    mistake = MISTAKES[name]
    for file, text in mistake.files.items():
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_bytes(text if isinstance(text, bytes) else text.encode())

    result = project.tunegate(*mistake.words)

    lines = result.outlines + result.errlines
    assert result.ret == mistake.code, lines
    assert any(all(part in line for part in mistake.parts) for line in lines), lines
    assert "Traceback" not in "".join(lines)
    assert sum(line.startswith("tunegate: s/") for line in lines) <= 1, lines


def test_a_letter_that_almost_any_answer_contains_is_a_note(project: Any) -> None:
    """Nothing is refused; the line names the first such case."""
    toml = (SUITE + GATE).replace("exact_match", "contains")
    case = {"id": "a", "prompt": "q", "expected": "B"}
    project.raw_suite(toml, [case, {**case, "id": "b", "prompt": "r"}])

    result = project.tunegate("suite", "check", "suites")

    assert result.ret == 0
    parts = ("suites/demo/cases.jsonl:1", "'B'", "2 of 2 cases")
    assert any(all(part in line for part in parts) for line in result.outlines)


def test_the_forty_commonest_are_here() -> None:
    assert len(MISTAKES) >= 40
