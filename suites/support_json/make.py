"""Write cases.jsonl and train.jsonl from the hand-written material next to this file.

Owns how a ticket is put together and labelled; the sentences themselves are in
`material/*.toml`. The same seed gives the same bytes:

    python -m tunegate.suites.support_json.make
"""

import json
import random
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tunegate.suites.support_json import noise

HERE = Path(__file__).parent
SEED = 20240611
CASES = 250
TRAINING_ROWS = 750
LONG = 40  # words from which a ticket gets the tag "long"
DRAWS = 6  # tickets drawn for each one kept, for variety within a template
NEAR = 0.8  # token Jaccard from which two tickets count as the same
ORDER_ID = re.compile(r"\b[A-Z]{2}-[0-9]{4}\b")

Urgency = Literal["low", "normal", "high"]
Label = dict[str, str | bool | None]


@dataclass(frozen=True, slots=True)
class Ticket:
    """One labelled ticket, before it is written in the format of either file."""

    text: str
    label: Label
    tags: list[str]
    template: str

    @property
    def expected(self) -> str:
        """The one line of JSON that is asked for."""
        return json.dumps(self.label)

    @property
    def kind(self) -> tuple[bool | str | None, ...]:
        """Tell what was labelled, with any order id counting the same."""
        return self.label["urgency"], self.label["refund"], self.label["order"] is None


@dataclass(slots=True)
class Writer:
    """Draws tickets from one set of templates; order ids never repeat within `used`."""

    material: dict[str, Any]
    slots: dict[str, list[str]]
    rng: random.Random
    used: set[str] = field(default_factory=set)

    def order_id(self) -> str:
        """Draw an order id that no other ticket has."""
        while True:
            letters = "".join(self.rng.choices("ABCDEFGHKLMNPRSTVWXZ", k=2))
            drawn = f"{letters}-{self.rng.randrange(1000, 10000)}"
            if drawn not in self.used:
                self.used.add(drawn)
                return drawn

    def phrase(self, kind: str) -> str:
        """Draw one of the phrases of a kind."""
        drawn: str = self.rng.choice(self.material["phrases"][kind])
        return drawn

    def urgency(self, template: dict[str, Any]) -> Urgency:
        """Take the urgency of the text itself, else draw one to be added by a phrase."""
        if "urgency" in template:
            given: Urgency = template["urgency"]
            return given
        weights = (0, 70, 30) if template["style"] == "angry" else (25, 50, 25)
        levels: tuple[Urgency, ...] = ("low", "normal", "high")
        return self.rng.choices(levels, weights)[0]

    def refund_phrase(self, template: dict[str, Any]) -> tuple[bool, list[str]]:
        """Decide whether money is asked for, and by which added phrase if any."""
        if template.get("refund") != "maybe":
            return bool(template.get("refund", False)), []
        if self.rng.random() < 0.6:
            return True, [self.phrase("refund")]
        return False, [self.phrase("no_refund")] if self.rng.random() < 0.2 else []

    def order_phrases(self, category: str, template: dict[str, Any]) -> tuple[list[str], list[str]]:
        """Give what names the order: phrases before the text and phrases after it."""
        written = "{order}" in template["text"]
        if written or template.get("order") == "none" or self.rng.random() < 0.35:
            return [], []
        if category in ("account", "question"):
            return [], [self.phrase("order_context")]
        if self.rng.random() < 0.45:
            return [self.phrase("order_lead")], []
        return [], [self.phrase("order_tail")]

    def sentences(self, category: str, template: dict[str, Any]) -> tuple[list[str], Urgency, bool]:
        """Put the unfilled sentences of one ticket in order, and label them."""
        urgency = self.urgency(template)
        refund, asked = self.refund_phrase(template)
        before, after = self.order_phrases(category, template)
        if "urgency" not in template and urgency != "normal":
            if self.rng.random() < 0.2 and not before:
                before.append(self.phrase(f"{urgency}_lead"))
            else:
                asked.append(self.phrase(urgency))
        self.rng.shuffle(asked)
        after = asked + after if self.rng.random() < 0.7 else after + asked
        return [*before, template["text"], *after], urgency, refund

    def dressed(self, body: str, style: str) -> str:
        """Add a greeting and a signature where the tone allows them."""
        if style in ("terse", "angry"):
            return body
        if self.rng.random() < 0.4:
            body = f"{self.phrase('opening')} {body}"
        if self.rng.random() < 0.4:
            body = f"{body}\n{self.phrase('closing')}"
        return body

    def ticket(self, category: str, template: dict[str, Any]) -> Ticket:
        """Draw one ticket of a template."""
        parts, urgency, refund = self.sentences(category, template)
        style = template["style"]
        noisy, body = noise.apply(self.dressed(noise.join(parts), style), style, self.rng)
        text, order = self.fill(body)
        tags = [category, style]
        tags += ["noisy"] if noisy else []
        tags += ["long"] if len(text.split()) >= LONG else []
        label: Label = {"category": category, "urgency": urgency, "refund": refund, "order": order}
        return Ticket(text, label, tags, template["name"])

    def fill(self, text: str) -> tuple[str, str | None]:
        """Fill the {slots}: `{item}` is one value in a ticket, `{item2}` another one."""
        low, high = sorted(self.rng.sample(range(24, 260), 2))
        price = self.rng.choice(["${}", "€{}", "£{}", "{} EUR"])
        filled = {"price": price.format(self.cents(low)), "price2": price.format(self.cents(high))}
        if "{order}" in text:
            filled["order"] = self.order_id()
        for key, kind in re.findall(r"\{(([a-z]+)\d?)\}", text):
            while key not in filled:
                drawn = self.slot(kind)
                if drawn not in filled.values():
                    filled[key] = drawn
        written = text.format_map(filled)
        return written.upper() if noise.shouts(text) else written, filled.get("order")

    def slot(self, kind: str) -> str:
        """Draw the value of a slot: a word of slots.toml, or a number that is no order id."""
        rng = self.rng
        if kind in self.slots:
            return rng.choice(self.slots[kind])
        numbers: dict[str, Callable[[], str]] = {
            "n": lambda: str(rng.randrange(2, 8)),
            "qty": lambda: str(rng.choice([12, 20, 40, 75, 150])),
            "size": lambda: rng.choice(["S", "M", "L", "XL", "38", "42"]),
            "card": lambda: f"{rng.randrange(1000, 10000)}",
            "invoice": lambda: f"INV-{rng.randrange(10000, 99999)}",
            "po": lambda: f"PO {rng.randrange(10000, 99999)}",
            "tracking": lambda: f"1Z{rng.randrange(10**9, 10**10)}",
            "note": lambda: f"{rng.randrange(100000, 999999)}",
            "article": lambda: f"ART-{rng.randrange(1000, 10000)}",
            "serial": lambda: f"SN{rng.randrange(10**6, 10**7)}",
            "model": lambda: f"{rng.choice('BGKX')}-{rng.randrange(10, 90) * 10}",
            "phone": lambda: f"0{rng.randrange(151, 180)} {rng.randrange(10**6, 10**7)}",
            "email": lambda: f"{rng.choice(['anna', 'office', 'j.miller', 'kim88'])}@example.com",
        }
        return numbers[kind]()

    def cents(self, whole: int) -> str:
        """Write an odd amount with cents, an even one without."""
        return f"{whole}.{self.rng.choice(['50', '90', '95', '99'])}" if whole % 2 else str(whole)


def tickets(writer: Writer, count: int, seen: list[set[str]]) -> Iterator[Ticket]:
    """Give `count` tickets, all templates in turn, none nearly equal to one in `seen`."""
    groups = writer.material["templates"]
    rows = zip(*groups.values(), strict=True)  # so that every category gets its even share
    templates = [pair for row in rows for pair in zip(groups, row, strict=True)]
    given: dict[str, list[set[str]]] = {}
    for index in range(count):
        category, template = templates[index % len(templates)]
        siblings = given.setdefault(template["name"], [])
        ticket = unlike(siblings, [writer.ticket(category, template) for _ in range(DRAWS)])
        while any(likeness(words(ticket.text), other) >= NEAR for other in seen):
            ticket = writer.ticket(category, template)
        if ORDER_ID.findall(ticket.text) != [o for o in [ticket.label["order"]] if o]:
            raise ValueError(f"{ticket.template}: order id not unambiguous in {ticket.text!r}")
        siblings.append(words(ticket.text))
        seen.append(words(ticket.text))
        yield ticket


def words(text: str) -> set[str]:
    """Give the set of lower-case words and numbers of a text."""
    return set(re.findall(r"\w+", text.lower()))


def likeness(one: set[str], other: set[str]) -> float:
    """Give the Jaccard similarity of two word sets."""
    return len(one & other) / len(one | other)


def unlike(siblings: list[set[str]], drawn: list[Ticket]) -> Ticket:
    """Choose the ticket least like its template's earlier ones, among those labelled as the first.

    Without that condition the longer tickets would win, and with them low and high urgency.
    """
    alike = [ticket for ticket in drawn if ticket.kind == drawn[0].kind]
    return min(alike, key=lambda t: max((likeness(words(t.text), s) for s in siblings), default=0))


def case_line(number: int, ticket: Ticket) -> dict[str, Any]:
    """Write a ticket as a held-out case."""
    return {
        "id": f"t{number:03d}",
        "prompt": ticket.text,
        "expected": ticket.expected,
        "tags": ticket.tags,
        "cluster": ticket.template,
    }


def training_line(system: str, ticket: Ticket) -> dict[str, Any]:
    """Write a ticket as a conversational prompt/completion row of TRL."""
    return {
        "prompt": [
            {"role": "system", "content": system},
            {"role": "user", "content": ticket.text},
        ],
        "completion": [{"role": "assistant", "content": ticket.expected}],
    }


def write(path: Path, lines: list[dict[str, Any]]) -> None:
    """Write one JSON object a line."""
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    path.write_text(text, encoding="utf-8")


def load(name: str) -> dict[str, Any]:
    """Read a TOML file of this suite."""
    return tomllib.loads((HERE / name).read_text(encoding="utf-8"))


def main() -> None:
    """Write both files."""
    rng = random.Random(SEED)
    slots, used, seen = load("material/slots.toml"), {"AB-1234"}, list[set[str]]()
    drawn = {}
    for name, count in (("heldout", CASES), ("training", TRAINING_ROWS)):
        writer = Writer(load(f"material/{name}.toml"), slots, rng, used)
        drawn[name] = list(tickets(writer, count, seen))
        rng.shuffle(drawn[name])
    system = load("suite.toml")["generation"]["system"]
    cases = [case_line(number, t) for number, t in enumerate(drawn["heldout"], start=1)]
    write(HERE / "cases.jsonl", cases)
    write(HERE / "train.jsonl", [training_line(system, t) for t in drawn["training"]])


if __name__ == "__main__":
    main()
