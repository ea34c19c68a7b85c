"""--gate-prompted and --gate-teacher: base with a prompt, and the model that tuned replaces."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.fake_server import FakeServer, completion
from tests.tiny_models import Tiny, make_tokenizer

SHOTS = [{"prompt": f"example {i}", "completion": "yes"} for i in range(4)]
SHOWN = "".join(f"user: example {i}\nassistant: yes\n" for i in range(4))
TEACHER = (
    "floor = 0.2\ngain = 0.1\n"
    '[[gates]]\nmetric = "exact_match"\nagainst = "teacher"\ntolerance = 0.1'
)


@pytest.fixture(name="shots")
def _shots(project: Any) -> Path:
    """Write four solved examples."""
    file: Path = project.path / "shots.jsonl"
    file.write_text("\n".join(map(json.dumps, SHOTS)), encoding="utf-8")
    return file


def models(project: Any, *, base: int, prompted: int, tuned: int) -> tuple[str, ...]:
    """Return the options of a base that gets more cases right behind the examples."""
    right = {f"{SHOWN}user: q{i}": "yes" if i < prompted else "no" for i in range(100)}
    alone = {f"c{i:03}": "yes" if i < base else "no" for i in range(100)}
    script = json.dumps({"completions": {**alone, **right}})
    (project.path / "base.json").write_text(script, encoding="utf-8")
    return "--gate-base=scripted:base.json", f"--gate-tuned={project.model('tuned', tuned)}"


@pytest.mark.parametrize(("prompted", "code"), [(30, 0), (60, 0), (94, 11), (100, 11)])
def test_a_fine_tune_ships_only_if_no_prompt_does_it(
    project: Any, shots: Path, prompted: int, code: int
) -> None:
    """Tuned has 95 of 100 right, and base 30."""
    project.suite()

    arms = models(project, base=30, prompted=prompted, tuned=95)
    result = project.gate(*arms, f"--gate-prompted={shots}")

    assert result.ret == code
    gates = {g.get("against"): g for g in project.verdict()["suites"][0]["gates"][1:]}
    assert gates["prompted"]["base"] == prompted / 100
    assert gates[None]["base"] == 0.3


def test_every_output_names_the_prompt_that_does_it(project: Any, shots: Path) -> None:
    project.suite()
    said = "a prompt alone does it: base with 4 examples reaches 94.0 % exactly right answers"

    result = project.gate(
        *models(project, base=30, prompted=94, tuned=95), f"--gate-prompted={shots}"
    )

    result.stdout.fnmatch_lines([f"HOLD: demo: {said}*", "prompted: base with 4 examples"])
    for name in ("report.html", "summary.md", "comment.md"):
        text = (project.run / name).read_text(encoding="utf-8")
        assert "a prompt alone does it" in text
        assert "base with 4 examples" in text
    names = [c.get("name") for c in ET.parse(project.run / "junit.xml").getroot().iter("testcase")]
    assert "exact_match::gain@prompted" in " ".join(map(str, names))


def test_the_gate_against_the_prompt_is_an_item_that_can_be_selected(
    project: Any, shots: Path
) -> None:
    project.suite()

    result = project.pytest_here(
        "suites", *project.models(), f"--gate-prompted={shots}", "--collect-only", "-q"
    )

    assert "suites/demo/suite.toml::exact_match::gain@prompted" in result.outlines


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_a_suites_own_table_needs_no_option(
    project: Any, shots: Path, workers: tuple[str, ...]
) -> None:
    file = project.suite()
    (file.parent / "shots.jsonl").write_bytes(shots.read_bytes())
    table = f"{file.read_text(encoding='utf-8')}\n[prompted]\nexamples = 'shots.jsonl'\n"
    file.write_text(table, encoding="utf-8")

    result = project.gate(*models(project, base=30, prompted=94, tuned=95), *workers)

    assert result.ret == 11


def test_base_and_tuned_answer_what_they_answer_without(project: Any, shots: Path) -> None:
    """The answers of a run without the prompt are found in the store: nothing is asked twice."""
    project.suite()
    arms = models(project, base=30, prompted=94, tuned=95)
    project.gate(*arms, "--gate-early-stop=off")
    before = project.stored()

    project.gate(*arms, f"--gate-prompted={shots}")

    after = project.stored()
    assert len(after) == len(before) + 100
    assert all(after[key] == count for key, count in before.items())


@pytest.mark.parametrize(("right", "code"), [(95, 0), (100, 0), (90, 0)])
def test_tuned_may_replace_a_teacher_that_it_is_close_to(
    project: Any, right: int, code: int
) -> None:
    project.suite(gates=TEACHER)

    teacher = project.model("teacher", right)
    result = project.gate(*project.models(tuned=98), f"--gate-teacher={teacher}")

    assert result.ret == code
    result.stdout.fnmatch_lines(
        ["SHIP: demo: as good as the teacher within 10 points of exactly right answers*"]
    )
    result.stdout.fnmatch_lines([f"teacher: {teacher}"])


def test_tuned_may_not_replace_a_teacher_that_is_better(project: Any) -> None:
    project.suite(gates=TEACHER)

    result = project.gate(
        *project.models(tuned=70), f"--gate-teacher={project.model('teacher', 100)}"
    )

    assert result.ret == 1
    result.stdout.fnmatch_lines(["BLOCK: demo: exactly right answers (against teacher) fell *"])


def test_a_teacher_renders_its_prompts_by_itself(project: Any) -> None:
    """Another chat template would make tuned NOT COMPARABLE; of a teacher it is expected."""
    project.suite(gates=TEACHER)
    teacher = project.model("teacher", 95, prefix="<|im_start|>")

    result = project.gate(*project.models(tuned=98), f"--gate-teacher={teacher}")

    assert result.ret == 0


def test_the_suite_is_asked_whole(project: Any) -> None:
    """The looks of a suite that may end early are about base and tuned alone."""
    project.suite(gates=TEACHER, n=300)
    answers = {"completions": {f"c{i:03}": "yes" for i in range(300)}}
    for name in ("tuned", "teacher"):
        text = json.dumps({**answers, "delay_s": 0.0, "default": name})
        (project.path / f"{name}.json").write_text(text, encoding="utf-8")
    base = project.model("base", 30, n=300)

    project.gate(
        f"--gate-base={base}", "--gate-tuned=scripted:tuned.json",
        "--gate-teacher=scripted:teacher.json",
    )  # fmt: skip

    assert project.verdict()["suites"][0]["n_scored"] == 300


def _teacher_is(name: str) -> Any:
    return lambda project: (f"--gate-teacher=scripted:{project.path}/{name}.json",)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (lambda _: (), 4, "against = 'teacher', and no teacher is named"),
        (_teacher_is("base"), 12, "base and teacher have identical content"),
        (_teacher_is("tuned"), 12, "tuned and teacher have identical content"),
        (_teacher_is("none"), 4, "none.json"),
    ],
)
def test_a_wrong_teacher_is_one_line(project: Any, arguments: Any, code: int, said: str) -> None:
    project.suite(gates=TEACHER)

    result = project.gate(*project.models(), *arguments(project))

    assert result.ret == code
    assert said in result.stdout.str() + result.stderr.str()
    assert "Traceback" not in result.stdout.str()


def test_examples_that_are_cases_are_refused(project: Any) -> None:
    long = "the parcel that I ordered two weeks ago has still not been delivered to my address"
    cases = [
        {"id": f"c{i}", "prompt": f"{long} number {i} {'abcdefgh'[i % 8] * 3}", "expected": "yes"}
        for i in range(30)
    ]
    file = project.suite()
    project.raw_suite(file.read_text(encoding="utf-8"), cases)
    shots = project.path / "shots.jsonl"
    shots.write_text(json.dumps({"prompt": cases[7]["prompt"], "completion": "yes"}))

    result = project.gate(*project.models(), f"--gate-prompted={shots}")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    told = result.stdout.str() + result.stderr.str()
    assert "shots.jsonl:1: this example of [prompted] is case 'c7' of demo" in told


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("careful.txt", "", "is empty"),
        ("shots.jsonl", "", "has no examples"),
        ("shots.jsonl", '{"prompt": "x"}', "is not a solved example"),
    ],
)
def test_a_wrong_prompt_is_one_line(project: Any, name: str, content: str, said: str) -> None:
    project.suite()
    file = project.path / name
    file.write_text(content, encoding="utf-8")

    result = project.gate(*project.models(), f"--gate-prompted={file}")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert said in result.stdout.str() + result.stderr.str()


def test_a_recorded_base_has_no_answers_to_another_prompt(project: Any, shots: Path) -> None:
    project.suite()
    rows = [{"id": f"c{i:03}", "completion": "no"} for i in range(100)]
    (project.path / "base.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    tuned = project.models()[1]

    result = project.gate("--gate-base=replay:base.jsonl", tuned, f"--gate-prompted={shots}")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "base's answers are recorded" in result.stdout.str() + result.stderr.str()


def _recorded(project: Any, arm: str, right: int, *first: dict[str, str], n: int = 100) -> str:
    """Write answers with the messages that were asked; return their spec."""
    rows = [
        {
            "id": f"c{i:03}",
            "completion": "yes" if i < right else "no",
            "messages": [*first, {"role": "user", "content": f"q{i}"}],
        }
        for i in range(n)
    ]
    text = "\n".join(map(json.dumps, rows))
    (project.path / f"{arm}.jsonl").write_text(text, encoding="utf-8")
    return f"--gate-{arm}=replay:{arm}.jsonl"


SYSTEM = {"role": "system", "content": "Answer yes or no."}


@pytest.mark.parametrize("recorded_base", [True, False])
def test_a_recorded_teachers_undeclared_system_prompt_is_not_comparable(
    project: Any, recorded_base: bool
) -> None:
    project.suite(gates=TEACHER)
    arms = (
        [_recorded(project, "base", 30), _recorded(project, "tuned", 97)]
        if recorded_base
        else project.models(tuned=97)
    )

    result = project.gate(*arms, _recorded(project, "teacher", 95, SYSTEM))

    assert result.ret == 12
    [line] = [line for line in result.outlines if line.startswith("NOT COMPARABLE")]
    assert "[teacher]" in line


@pytest.mark.parametrize("recorded_base", [True, False])
def test_with_its_system_prompt_declared_the_recorded_teacher_is_compared(
    project: Any, recorded_base: bool
) -> None:
    file = project.suite(gates=TEACHER)
    table = f"{file.read_text(encoding='utf-8')}\n[teacher]\nsystem = 'careful.txt'\n"
    file.write_text(table, encoding="utf-8")
    (file.parent / "careful.txt").write_text(f"{SYSTEM['content']}\n", encoding="utf-8")
    arms = (
        [_recorded(project, "base", 30), _recorded(project, "tuned", 97)]
        if recorded_base
        else project.models(tuned=97)
    )

    result = project.gate(*arms, _recorded(project, "teacher", 95, SYSTEM))

    assert result.ret == 0
    result.stdout.fnmatch_lines(["teacher: replay:teacher.jsonl with its own system prompt"])


@pytest.mark.parametrize("arm", ["teacher", "base"])
def test_an_arm_of_an_earlier_run_serves_as_the_teacher(project: Any, arm: str) -> None:
    """Its answers are read from the run folder, and nobody pays twice."""
    project.suite(gates=TEACHER)
    first = {"teacher": project.model("teacher", 95), "base": project.model("base", 30)}
    project.gate(
        f"--gate-base={first['base'] if arm == 'teacher' else project.model('big', 96)}",
        f"--gate-tuned={project.model('tuned', 97)}",
        f"--gate-teacher={first['teacher']}",
    )
    earlier = project.path / "earlier"
    project.run.rename(earlier)

    result = project.gate(
        f"--gate-base={first['base']}",
        f"--gate-tuned={project.model('newer', 98)}",
        f"--gate-teacher=replay:earlier#{arm}",
    )

    assert result.ret == 0
    result.stdout.fnmatch_lines([f"teacher: replay:earlier#{arm}*"])


def test_twenty_eight_cases_with_24_25_and_27_right_are_undecided(project: Any) -> None:
    """The public table: close to the teacher, and too few cases to say so; a number is named."""
    gates = 'gain = 0.01\n[[gates]]\nmetric = "exact_match"\nagainst = "teacher"\ntolerance = 0.15'
    project.suite(gates=gates, n=28)

    result = project.gate(
        *(_recorded(project, arm, right, n=28)
          for arm, right in (("base", 24), ("tuned", 25), ("teacher", 27)))
    )  # fmt: skip

    assert result.ret == 10
    [gate] = [g for g in project.verdict()["suites"][0]["gates"] if g.get("against")]
    assert gate["status"] == "undecided"
    assert [gate["base"], gate["tuned"]] == pytest.approx([27 / 28, 25 / 28], abs=1e-6)
    assert gate["needed_n"] == 60


def _results(project: Any, arm: str, right: int, *first: dict[str, str]) -> str:
    """Write another tool's results with prompts and scores; return their option."""
    rows = [
        {
            "id": f"c{i:03}",
            "prompt": [*first, {"role": "user", "content": f"q{i}"}] if first else f"q{i}",
            "completion": "yes" if i < right else "no",
            "score": float(i < right),
        }
        for i in range(100)
    ]
    text = "\n".join(map(json.dumps, rows))
    (project.path / f"{arm}_results.jsonl").write_text(text, encoding="utf-8")
    return f"--gate-{arm}=results:{arm}_results.jsonl"


@pytest.mark.parametrize("write", [_results, _recorded])
@pytest.mark.parametrize(
    ("first", "declared", "code"), [((), "", 0), ((SYSTEM,), "", 12), ((SYSTEM,), "system", 0)]
)
def test_results_of_another_tool_serve_as_the_teacher(
    project: Any, write: Any, first: Any, declared: str, code: int
) -> None:
    """Beside results of base and tuned, or beside their recorded answers."""
    file = project.suite(gates=TEACHER)
    if declared:
        table = f"{file.read_text(encoding='utf-8')}\n[teacher]\nsystem = 'careful.txt'\n"
        file.write_text(table, encoding="utf-8")
        (file.parent / "careful.txt").write_text(SYSTEM["content"], encoding="utf-8")

    result = project.gate(
        write(project, "base", 30), write(project, "tuned", 97),
        _results(project, "teacher", 95, *first),
    )  # fmt: skip

    assert result.ret == code
    if code:
        [line] = [line for line in result.outlines if line.startswith("NOT COMPARABLE")]
        assert "under [teacher]" in line


def test_a_teacher_behind_a_server_gets_its_own_prompt(
    project: Any, fake_server: Callable[..., FakeServer]
) -> None:
    """Base and tuned are models here, with the suite's prompt; the teacher renders its own."""
    file = project.suite(gates=TEACHER, n=60)
    (file.parent / "careful.txt").write_text("Answer yes or no.", encoding="utf-8")
    table = f"{file.read_text(encoding='utf-8')}\n[teacher]\nsystem = 'careful.txt'\n"
    file.write_text(table, encoding="utf-8")

    def reply(model: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        told = body["messages"][0] == {"role": "system", "content": "Answer yes or no."}
        return completion("yes" if told else "no")

    fake = fake_server(reply=reply)
    arms = {"base": project.model("base", 10, n=60), "tuned": project.model("tuned", 60, n=60)}

    result = project.gate(
        *(f"--gate-{arm}={spec}" for arm, spec in arms.items()),
        f"--gate-teacher=server:{fake.url}#tuned",
    )

    assert result.ret == 0
    result.stdout.fnmatch_lines([f"teacher: server:{fake.url}#tuned with its own system prompt"])
    assert project.verdict()["suites"][0]["gates"][2]["base"] == 1.0


def test_a_local_teacher_has_another_architecture_vocabulary_and_template(
    project: Any, tiny: Tiny, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Each of the three would make tuned NOT COMPARABLE."""
    teacher = tmp_path_factory.mktemp("teacher") / "gpt2"
    shutil.copytree(tiny.base("gpt2"), teacher)
    other = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }} {% endfor %}"
    make_tokenizer(bos=True, template=other).save_pretrained(teacher)
    toml = (
        'name = "demo"\ncases = "cases.jsonl"\n[generation]\nmax_new_tokens = 2\n'
        '[[metrics]]\nuse = "length"\n[[gates]]\nmetric = "length"\ntolerance = 100\n'
        '[[gates]]\nmetric = "length"\nagainst = "teacher"\ntolerance = 100\n'
    )
    project.raw_suite(toml, [{"id": f"c{i}", "prompt": f"hello {i}"} for i in range(8)])

    project.gate(
        f"--gate-base={tiny.base()}", f"--gate-tuned={tiny.adapter()}", f"--gate-teacher={teacher}"
    )

    verdict = project.verdict()
    assert verdict["verdict"] != "NOT_COMPARABLE", verdict["sentence"]
    assert verdict["comparability"]["status"] == "proven"
    assert [gate["n"] for gate in verdict["suites"][0]["gates"]] == [8, 8]


def test_examples_beyond_the_context_are_one_line(project: Any, tiny: Tiny) -> None:
    project.suite(n=8)
    long = {"prompt": "hello " * 5000, "completion": "yes"}
    (project.path / "long.jsonl").write_text(json.dumps(long), encoding="utf-8")

    result = project.gate(
        f"--gate-base={tiny.base()}", f"--gate-tuned={tiny.adapter()}", "--gate-prompted=long.jsonl"
    )

    told = result.stdout.str() + result.stderr.str()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "tokens of prompted, whose context has" in told
    assert "n_examples" in told


def test_an_arm_that_gates_nothing_is_said_to_do_so(project: Any, shots: Path) -> None:
    """Both are asked and decide nothing: a reader would take a SHIP for a proof against them."""
    project.suite(gates="floor = 0.2")
    teacher = project.model("teacher", 100)

    result = project.gate(
        *project.models(), f"--gate-prompted={shots}", f"--gate-teacher={teacher}"
    )

    nothing = "which no gate compares tuned with"
    result.stdout.fnmatch_lines([f"teacher: {teacher}, {nothing}"])
    result.stdout.fnmatch_lines([f"prompted: base with 4 examples, {nothing}"])


@pytest.mark.parametrize("option", [True, False])
def test_a_prompted_run_is_verified_by_the_suite_that_it_judged(
    project: Any, shots: Path, option: bool
) -> None:
    """The option adds goals that suite.toml does not have: nobody changed the run's files."""
    file = project.suite()
    if not option:
        (file.parent / "shots.jsonl").write_bytes(shots.read_bytes())
        table = f"{file.read_text(encoding='utf-8')}\n[prompted]\nexamples = 'shots.jsonl'\n"
        file.write_text(table, encoding="utf-8")
    given = (f"--gate-prompted={shots}",) if option else ()
    assert project.gate(*models(project, base=30, prompted=30, tuned=95), *given).ret == 0

    promoted = project.tunegate("promote", project.run, "--suite", file.parent)

    assert promoted.ret == 0, promoted.stderr.str()


def test_an_annotation_of_a_gate_stands_at_its_own_line(project: Any) -> None:
    """Two tolerances on one metric: that against base holds, and that against the teacher fails."""
    of_base = '[[gates]]\nmetric = "exact_match"\ntolerance = 0.1'
    file = project.suite(gates=f'against = "teacher"\ntolerance = 0.1\n{of_base}')
    first = file.read_text(encoding="utf-8").splitlines().index("tolerance = 0.1") + 1

    project.gate(*project.models(tuned=70), f"--gate-teacher={project.model('teacher', 100)}")

    rows = json.loads((project.run / "codequality.json").read_text(encoding="utf-8"))
    assert {row["location"]["lines"]["begin"] for row in rows} == {first}


def test_a_prompted_base_that_repeats_its_prompt_is_broken(project: Any, shots: Path) -> None:
    """It is no proof that prompting fails: the examples were put into the wrong place."""
    cases = [
        {"id": f"c{i:03}", "prompt": f"is {i} an even number?", "expected": ("yes", "no")[i % 2]}
        for i in range(100)
    ]
    toml = project.suite().read_text(encoding="utf-8")
    project.raw_suite(toml, cases)
    right = {case["id"]: case["expected"] for case in cases}
    echo = {f"{SHOWN}user: {case['prompt']}": f"user: {case['prompt']}" for case in cases}
    scripts = {"base": {**dict.fromkeys(right, "no idea"), **echo}, "tuned": right}
    for name, completions in scripts.items():
        text = json.dumps({"completions": completions})
        (project.path / f"{name}.json").write_text(text, encoding="utf-8")

    result = project.gate(
        "--gate-base=scripted:base.json", "--gate-tuned=scripted:tuned.json",
        f"--gate-prompted={shots}",
    )  # fmt: skip

    assert result.ret == 10
    assert "prompted looks broken: 100 of its 100 answers repeat the prompt" in result.stdout.str()
