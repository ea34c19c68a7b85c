"""Keys of tags: a tag `language:de` says that a case has the value `de` of the key `language`.

A gate with `every = "language"` must hold under each value, so it becomes one gate for each value,
on the cases with that tag. A case may have several values of a key, and counts under each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tunegate.harness.records.cases import VARIANT, Case
from tunegate.harness.records.errors import unknown_name_message
from tunegate.harness.records.manifest import Gate
from tunegate.harness.records.wording import count_noun
from tunegate.harness.suite.toml_file import TomlFile


def tags_of_key(key: str, cases: Iterable[Case]) -> tuple[str, ...]:
    """Return the tags of a key, in the order of the cases."""
    start = f"{key}:"
    return tuple(dict.fromkeys(t for case in cases for t in case.tags if t.startswith(start)))


def on_every_value(gate: Gate, cases: Sequence[Case]) -> tuple[Gate, ...]:
    """Return a gate with a key as one gate for each value; any other gate as it is."""
    tags = () if gate.every is None else tags_of_key(gate.every, cases)
    return tuple(gate.model_copy(update={"tag": tag}) for tag in tags) or (gate,)


def key_problems(source: TomlFile, tables: Sequence[int], cases: Sequence[Case]) -> Iterator[str]:
    """Yield why gates on every value of a key have no values, or leave cases out.

    `tables` are the valid `[[gates]]` tables.
    """
    for index in tables:
        table = source.data["gates"][index]
        key = table.get("every")
        if key is None:
            continue
        place = f"{source.where('gates', index, 'every')}: every={key!r}"
        if "tag" in table:
            yield f"{place} with tag={table['tag']!r}: a gate has one of them; remove the other"
            continue
        tags = tags_of_key(key, cases)
        if not tags and key == VARIANT and "variants" in source.data:
            continue  # why the table makes none is told already
        if not tags:
            keys = dict.fromkeys(t.partition(":")[0] for c in cases for t in c.tags if ":" in t)
            if key == VARIANT:
                why = "a suite without a [variants] table has no variants; add one"
            elif keys:
                why = unknown_name_message(key, tuple(keys), what="key of tags")
            else:
                why = f'no case has a tag with that key; tag each case, such as "{key}:…"'
            yield f"{place}: {why}"
            continue
        without = [case for case in cases if not set(tags) & set(case.tags)]
        if without:
            count = f"{len(without)} of {count_noun(len(cases), 'case')}"
            yield (
                f"{without[0].where}: case {without[0].id!r} has no tag {key}:…; every={key!r} "
                f"would leave out {count}: tag each case"
            )
