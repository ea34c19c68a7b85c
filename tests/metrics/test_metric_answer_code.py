"""Programs in answers of many forms."""

from __future__ import annotations

import pytest

from tunegate.harness.metrics._answer_code import other_code, python_code

PREFIX = 'def add(a, b):\n    """Add.\n\n    >>> add(1, 2)\n    3\n    """\n'
WITH_IMPORT = f"import math\n\n\n{PREFIX}"
WITHOUT_BODY = "def add(a, b):\n"
CODE = "def add(a, b):\n    return a + b\n"
SESSION = ">>> def add(a, b):\n...     return a + b\n...\n>>> add(1, 2)\n3\n"
WHOLE = {
    "bare": CODE,
    "a fence": f"```python\n{CODE}```",
    "a fence without a name": f"```\n{CODE}```",
    "tildes": f"~~~py\n{CODE}~~~",
    "another case": f"```Python\n{CODE}```",
    "a name in braces": f"```{{.python}}\n{CODE}```",
    "a name with a title": f'```python title="add.py"\n{CODE}```',
    "another name": f"```text\n{CODE}```",
    "a fence without an end": f"Here:\n```python\n{CODE}",
    "an end on the last line": f"```python\n{CODE.rstrip()}```",
    "prose around": f"Sure! Here it is:\n\n```python\n{CODE}```\n\nIt adds `a` and `b`.",
    "a shell block first": f"```bash\npip install x\n```\n```python\n{CODE}```",
    "an example of use": f"```python\n{CODE}```\nUse:\n```python\nprint(add(2, 3))\n```",
    "an example that raises": f"```python\n{CODE}```\nUse:\n```python\nadd('a', 1)\n```",
    "an example with unknown names": f"```python\n{CODE}```\n```python\nr = add(x, y)\n```",
    "an example at the prompt": f"```python\n{CODE}```\n```python\n>>> add(2, 3)\n5\n```",
    "what it prints": f"```python\n{CODE}```\nOutput:\n```\nhello world\n```",
    "a correction": f"```python\ndef add(a, b):\n    return a - b\n```\nNo:\n```python\n{CODE}```",
    "a list": "1. Do:\n\n    ```python\n    def add(a, b):\n        return a + b\n    ```\n",
    "prose before bare code": f"Here is the function:\n\n{CODE}",
    "prose after bare code": f"{CODE}\nThis function adds two numbers.",
    "prose around bare code": f"Sure:\n\n{CODE}\nIt's done, isn't it?",
    "a session": SESSION,
    "a fenced session": f"```pycon\n{SESSION}```",
    "HTML in a docstring": f'"""\n<code>\nx\n</code>\n"""\n{CODE}',
    "lines of Windows": f"```python\r\n{CODE}```".replace("\n", "\r\n"),
    "tabs": "```python\ndef add(a, b):\n\treturn a + b\n```",
    "a fence inside": f"````python\n'''\n```\n'''\n{CODE}````",
    "a main block": f"```python\n{CODE}\nif __name__ == '__main__':\n    input()\n```",
    "a byte order mark": f"\ufeff{CODE}",
    "indented code": "    def add(a, b):\n        return a + b\n",
}
CONTINUED = {
    "the body": "    return a + b\n",
    "the body after an empty line": "\n    return a + b\n",
    "the body without indentation": "return a + b\n",
    "a body that lost its first spaces": "c = a + b\n    return c\n",
    "a body with a function": "    def inner():\n        return a + b\n    return inner()\n",
    "a fenced body": "```python\n    return a + b\n```",
    "a fenced body without indentation": "The body:\n```python\nc = a\nreturn c + b\n```\nDone.",
    "the body and another function": "    return a + b\n\n\ndef other():\n    pass\n",
    "the body and a cut function": "    return a + b\n\n\ndef other(x:\n",
    "the body and prose": "    return a + b\n\nThis adds the numbers.\n",
    "the end of the prompt's fence": "    return a + b\n```\n\nThis works.",
    "the prompt again": f"{PREFIX}    return a + b\n",
    "the prompt again in a fence": f"```python\n{PREFIX}    return a + b\n```",
}


def runs(code: str) -> bool:
    names: dict[str, object] = {"__name__": "answer"}
    exec(code, names)
    add = names["add"]
    assert callable(add)
    return bool(add(2, 3) == 5)


@pytest.mark.parametrize("prefix", [None, PREFIX, WITH_IMPORT, WITHOUT_BODY])
@pytest.mark.parametrize("text", WHOLE.values(), ids=WHOLE)
def test_the_whole_function_is_found(text: str, prefix: str | None) -> None:
    assert runs(python_code(text, prefix))


@pytest.mark.parametrize("prefix", [PREFIX, WITH_IMPORT, WITHOUT_BODY])
@pytest.mark.parametrize("text", CONTINUED.values(), ids=CONTINUED)
def test_a_beginning_is_continued(text: str, prefix: str) -> None:
    assert runs(python_code(text, prefix))


def test_the_prefix_brings_helpers_that_the_answer_leaves_out() -> None:
    code = python_code(
        "```python\ndef add(a, b):\n    return one(a) + b\n```",
        f"def one(x):\n    return x\n\n\n{PREFIX}",
    )
    assert runs(code)


def test_code_that_is_wrong_stays_wrong() -> None:
    assert "retur a" in python_code("```python\ndef add(a, b):\n    retur a + b\n```")
    assert python_code("I do not know.") == "I do not know."
    assert python_code("") == ""
    for stray in (f"{CODE}}}", f'""import math\n{CODE}""'):
        with pytest.raises(SyntaxError):
            runs(python_code(stray, PREFIX))


def test_another_language_takes_the_blocks_of_the_longest_one() -> None:
    text = "```js\nconst a = 1;\n```\n```bash\nnode x.js\n```\n```js\nconsole.log(a + 1);\n```"

    assert other_code(text) == "const a = 1;\n\nconsole.log(a + 1);\n"
    assert other_code("puts 1", "# ") == "# puts 1"
