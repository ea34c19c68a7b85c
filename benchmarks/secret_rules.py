"""Write the rules that find secrets from a checkout of betterleaks.

    python benchmarks/secret_rules.py ../betterleaks

Left out are rules that read the path only or describe half of a pair, and those whose time grows
with the square of the text. The expressions are rewritten for Python's `re`: a flag holds to the
end of its group, and what may stand beside a value also covers prose and JSON inside of JSON.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

RULES = Path(__file__).parents[1] / "harness/telemetry/export/secret_rules.json"
HALF_OF_A_PAIR = re.compile(r"(?:id|url|name|host|address|application-key)(?:\.\d)?$")
SLOW = (
    "curl-auth-header",
    "curl-auth-user",
    "gcp-application-default-credentials",
    "gcp-service-account",
)
REWRITTEN = (
    (r"""(?:\\?['"\x60]|[\s;]|\\[nr]|$)""", r"(?!\w)"),
    (r"""[\s'"]{0,3}""", r"""[\s'"\\]{0,5}"""),
    # a key that was cut off must not swallow what stands before the next one
    (r"[\s\S-]{64,}?", r"(?:(?!-----BEGIN)[\s\S]){64,}?"),
    (r"""[\x60'"\s=]{0,5}""", r"""[\x60'"\s=\\]{0,8}"""),
)
CLASSES = {"[:alnum:]": "A-Za-z0-9", "[:alpha:]": "A-Za-z", "[:xdigit:]": "0-9A-Fa-f"}


def python_pattern(pattern: str) -> str:
    """Return an expression of Go's regexp as Python's `re` reads it."""
    for old, new in REWRITTEN:
        pattern = pattern.replace(old, new)
    parts: list[str] = []
    opened = [0]  # groups that a flag opened, in each group that is open
    tokens = re.compile(r"\\.|\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\]|\(\?[ims]+\)|.", re.DOTALL)
    for token in tokens.findall(pattern):
        if re.fullmatch(r"\(\?[ims]+\)", token):
            parts.append(token[:-1] + ":")
            opened[-1] += 1
        elif token == "(":
            parts.append(token)
            opened.append(0)
        elif token == ")":
            parts.append(")" * (1 + opened.pop()))
        else:
            parts.append(_python_token(token))
    return "".join([*parts, ")" * opened.pop()])


def _python_token(token: str) -> str:
    if len(token) > 1 and token[0] == "[":
        for name, characters in CLASSES.items():
            token = token.replace(name, characters)
        return token[0] + token[1:].replace("[", r"\[")
    return r"\Z" if token == r"\z" else token


def usable_rules(source: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the fields of each rule that is kept."""
    for rule in source["rules"]:
        hidden = rule.get("skipReport") and HALF_OF_A_PAIR.search(rule["id"])
        if "regex" not in rule or "path" in rule or hidden or rule["id"] in SLOW:
            continue
        kept = {"id": rule["id"], "regex": python_pattern(rule["regex"])}
        kept["keywords"] = sorted(rule["keywords"])
        filtered = rule.get("filter", "")
        if least := re.search(r'entropy\(finding\["secret"\]\) <=? ([\d.]+)', filtered):
            kept["entropy"] = float(least[1])
        if "secretGroup" in rule:
            kept["group"] = rule["secretGroup"]
        if rule["id"] == "generic-api-key":
            listed = re.search(
                r'containsAny\(finding\["secret"\], \[(.*?)\]\)', filtered, re.DOTALL
            )
            context = re.search(r"matchesAny\(genericMatchContext, \[`(.*?)`\]\)", filtered)
            assert listed
            assert context
            kept["unless"] = python_pattern(context[1])
            kept["stopwords"] = sorted(re.findall(r'"([^"]+)"', listed[1]))
        re.compile(kept["regex"], re.ASCII)
        yield kept


def main(checkout: str) -> None:
    """Write the rules of a checkout's last commit."""

    def git(*command: str) -> str:
        done = subprocess.run(
            ["git", "-C", checkout, *command], check=True, capture_output=True, text=True
        )
        return done.stdout

    source = tomllib.loads(git("show", "HEAD:config/betterleaks.toml"))
    licence = git("show", "HEAD:LICENSE").strip()
    commit = git("rev-parse", "HEAD").strip()
    rules = ",\n".join(json.dumps(rule) for rule in usable_rules(source))
    head = {
        "source": f"https://github.com/betterleaks/betterleaks, commit {commit}",
        "made_by": "benchmarks/secret_rules.py",
        "licence": licence,
    }
    RULES.write_text(f'{json.dumps(head, indent=0)[:-2]},\n"rules": [\n{rules}\n]}}\n', "utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
