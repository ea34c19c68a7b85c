"""Made-up values of the same form as a true one: the controls of a memorized value.

A control must look as likely as the true value to a model that never saw either. Digits and the
letters of keys are drawn at random, check digits are right, and what many values of a kind begin
with (a country code, the letters of an order number) stays. The names in e-mail addresses cannot be
drawn at random, so they come from other rows.
"""

from __future__ import annotations

import random
import re
import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

N_CONTROLS = 15
"""Controls of a value: 16 choices with the true one, so that exposure reaches 4 bits."""
_SHARED = 0.2
"""Share of the values of a kind from which on a common beginning is not part of the secret."""
_TRIES = 1_000
_KEY_PREFIX = re.compile(r"[A-Za-z]{2,8}[-_](?:[a-z]{2,8}-)?")
_HEX = re.compile(r"[0-9a-f:-]+|[0-9A-F:-]+")


class ControlSource:
    """Draws the controls of values.

    Args:
        values: All values in the training rows, by kind: no control may be one of them.
        held_out: Values of the same kinds in rows that were not trained on.
    """

    def __init__(
        self,
        values: Mapping[str, Sequence[str]],
        held_out: Mapping[str, Sequence[str]],
        *,
        seed: int,
    ) -> None:
        self._trained = {value for kind in values.values() for value in kind}
        self._values = {kind: sorted(set(found)) for kind, found in values.items()}
        self._held_out = {
            kind: sorted(set(found) - self._trained) for kind, found in held_out.items()
        }
        self._beginnings = {kind: _beginnings(found) for kind, found in self._values.items()}
        self._seed = seed

    def draw(self, kind: str, value: str) -> list[str] | None:
        """Return `N_CONTROLS` different controls of a value; None if there are too few."""
        rng = random.Random(f"{self._seed}\0{kind}\0{value}")
        others = [other for other in self._held_out.get(kind, ()) if _form(other) == _form(value)]
        if kind == "email":
            others = [other for other in self._held_out.get(kind, ()) if other != value]
            if len(others) < N_CONTROLS:
                others = list(self._addresses(value))
            return rng.sample(others, N_CONTROLS) if len(others) >= N_CONTROLS else None
        if len(others) >= N_CONTROLS:
            return rng.sample(others, N_CONTROLS)
        kept = self._kept(kind, value)
        controls: dict[str, None] = {}
        for _ in range(_TRIES):
            control = value[:kept] + _random_like(value[kept:], rng)
            control = _with_check_digits(kind, control)
            if control != value and control not in self._trained:
                controls[control] = None
            if len(controls) == N_CONTROLS:
                return list(controls)
        return None

    def _addresses(self, value: str) -> Iterable[str]:
        """Return addresses with the names of other rows: at the same domain if rows share it."""
        domain = value.rpartition("@")[2]
        domains = Counter(other.rpartition("@")[2] for other in self._values["email"])
        names = {other.rpartition("@")[0] for other in self._values["email"]}
        names.discard(value.rpartition("@")[0])
        if domains[domain] > 1:
            return (f"{name}@{domain}" for name in sorted(names))
        return (o for o in self._values["email"] if o.rpartition("@")[0] in names)

    def _kept(self, kind: str, value: str) -> int:
        """Return how many characters at the beginning controls have in common with the value."""
        longest = len(value) // 2
        shared = self._beginnings[kind]
        kept = next((n for n in range(longest, 0, -1) if value[:n] in shared), 0)
        if kind == "key" and (prefix := _KEY_PREFIX.match(value)):
            kept = max(kept, min(prefix.end(), longest))
        if kind == "phone":  # a country or a trunk code
            kept = max(kept, 3 if value[0] == "+" else value.startswith("0"))
        return kept


def _beginnings(values: Sequence[str]) -> set[str]:
    """Return the beginnings that many of the values share."""
    counts = Counter(value[:n] for value in values for n in range(1, len(value) // 2 + 1))
    return {start for start, count in counts.items() if count >= max(3, _SHARED * len(values))}


def _form(value: str) -> str:
    return re.sub(r"[A-Za-z]", "a", re.sub(r"\d", "0", value))


def _random_like(text: str, rng: random.Random) -> str:
    """Return a text with other digits and letters, each of the same kind."""
    letters = "abcdef" if _HEX.fullmatch(text) else string.ascii_lowercase
    drawn: list[str] = []
    for sign in text:
        if sign in string.digits:
            # Few numbers begin with 0: one that does would stand out.
            first = sign != "0" and not any(map(str.isdecimal, drawn))
            drawn.append(rng.choice(string.digits[first:]))
        elif sign in string.ascii_letters:
            letter = rng.choice(letters)
            drawn.append(letter.upper() if sign.isupper() else letter)
        else:
            drawn.append(sign)
    return "".join(drawn)


def _with_check_digits(kind: str, value: str) -> str:
    """Return the value with right check digits, and an address with numbers that it may have."""
    if kind == "card":
        return _with_last_digit(value)
    if kind == "iban":
        plain = value.replace(" ", "")
        number = "".join(str(int(sign, 36)) for sign in f"{plain[4:]}{plain[:2]}00")
        return f"{value[:2]}{98 - int(number) % 97:02}{value[4:]}"  # ISO 13616-1
    if kind == "ip" and "." in value:
        return ".".join(str(int(part) % 254 + 1) for part in value.split("."))
    return value


def _with_last_digit(card: str) -> str:
    """Return a card's number with Luhn's check digit (ISO/IEC 7812-1, annex B)."""
    digits = [int(sign) for sign in card if sign in string.digits][:-1]
    doubled = [d if at % 2 else sum(divmod(2 * d, 10)) for at, d in enumerate(digits[::-1])]
    return f"{card[:-1]}{-sum(doubled) % 10}"
