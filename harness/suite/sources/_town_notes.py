"""Filler for long prompts: notes of a small town, made of phrases written for this project."""

from __future__ import annotations

import random
import string
from collections.abc import Iterator

PHRASES = {
    "who": (
        "the baker", "the ferryman", "the postwoman", "a carpenter", "the schoolteacher",
        "two fishermen", "the organist", "a retired sailor", "the gardener", "the blacksmith",
        "the innkeeper", "a travelling painter", "the beekeeper", "the stationmaster",
        "the midwife", "a young apprentice", "the librarian", "the glazier", "three farmers",
        "the tailor", "the watchmaker", "a shepherd", "the miller", "the bookbinder",
        "the night nurse", "the potter", "a visiting cousin", "the choir", "the roofers",
        "an old neighbour",
    ),
    "place": (
        "at the mill", "behind the church", "near the well", "on the north quay",
        "in the orchard", "by the old wall", "under the lime trees", "at the edge of the marsh",
        "in the square", "beside the forge", "along the canal", "on the upper road",
        "in the school yard", "at the ford", "outside the bakery", "in the long barn",
        "by the weir", "on the common", "next to the dairy", "below the vineyard",
        "in front of the inn", "at the crossroads", "in the reading room", "on the wooden bridge",
        "by the lime kiln", "in the back garden",
    ),
    "thing": (
        "a basket of pears", "an oak door", "four sacks of barley", "a rolled carpet",
        "a broken wheel", "a crate of glass jars", "some rope", "a painted sign",
        "a bundle of reeds", "an iron stove", "two benches", "a box of nails", "a fishing net",
        "a wicker chair", "a copper kettle", "a stack of slates", "a wooden ladder",
        "a barrel of cider", "a coil of wire", "a pair of boots", "a sheaf of letters", "a kite",
        "a handcart", "an old map", "a bolt of linen", "a cracked bell jar", "a lump of wax",
        "a garden gate",
    ),
    "time": (
        "early in the morning", "before noon", "after the rain", "towards evening",
        "at first light", "on market day", "during the harvest", "late in the week",
        "on a cold Sunday", "in the last days of spring", "while the fog held", "after supper",
        "between two showers", "in the quiet hour", "as the wind turned", "on the way home",
        "when the shops had closed", "in the middle of the week", "not long after dawn",
        "once the snow was gone",
    ),
    "how": (
        "slowly", "without a word", "with great care", "in good spirits", "for the second time",
        "to everyone's surprise", "as promised", "with a borrowed cart", "in spite of the mud",
        "with some help", "rather late", "and nobody minded", "by lantern light",
        "free of charge", "with both hands", "on foot", "more or less by chance",
        "and whistled all the while",
    ),
    "weather": (
        "A thin mist", "Light rain", "A dry wind", "Pale sunshine", "A heavy dew", "Soft thunder",
        "The smell of hay", "A low cloud", "Warm air", "The first frost", "A grey haze", "Hail",
    ),
}  # fmt: skip
SENTENCES = (
    "{time}, {who} carried {thing} and left it {place}.",
    "{who} mended {thing} {place} {how}.",
    "{weather} lay over the roofs {time}, and {who} stayed indoors.",
    "Somebody had put {thing} {place}, and {who} took it away {how}.",
    "{who} and {who2} met {place} {time} to talk about {thing}.",
    "{place}, {who} was seen with {thing} {time}.",
    "{who} sold {thing} to {who2} {how}.",
    "Nothing much happened {place} {time}, except that {who} dropped {thing}.",
    "{weather} arrived {time}; {who} noticed it {place}.",
    "It took {who} a while to find {thing}, which was {place} after all.",
    "{who} had meant to repair {thing}, but {who2} did it {how}.",
    "{time} the children played {place} while {who} looked on.",
    "{who} wrote home about {thing} and about the weather.",
    "People still speak of how {who} pulled {thing} out of the ditch {place}.",
    "{who} would rather have had {thing}, yet went home {how}.",
    "{place} there is a bench where {who} rests {time}.",
    "The path was muddy, so {who} brought {thing} round by the longer way {how}.",
    "{who} asked {who2} for {thing} and got it {time}.",
    "{weather} kept {who} from working {place}.",
    "For a few coins {who} let {who2} borrow {thing} {time}.",
    "{who} counted the swallows {place} {time} and lost count.",
    "A cart with {thing} stood {place} until {who} moved it {how}.",
    "{who} painted the fence {place} {how}.",
    "There was soup for everyone {place} {time}, and {who} brought {thing}.",
    "{who} does not care for {thing}, as {who2} found out {time}.",
    "Whoever left {thing} {place} should ask {who} about it.",
    "{who} told {who2} a long story {place} {how}.",
    "The dog of {who} slept {place} {time}.",
    "{time} a wagon came through, and {who} bought {thing} from the driver.",
    "{who} hung up {thing} to dry {place}, though {weather2} was on its way.",
)


def town_notes(rng: random.Random) -> Iterator[str]:
    """Yield sentences without end, no two of them the same."""
    written: set[str] = set()
    while True:
        sentence = _sentence(rng)
        if sentence not in written:
            written.add(sentence)
            yield sentence


def _sentence(rng: random.Random) -> str:
    form = rng.choice(SENTENCES)
    who, who2 = rng.sample(PHRASES["who"], 2)
    weather2 = rng.choice(PHRASES["weather"]).lower()
    names = [name for _, name, _, _ in string.Formatter().parse(form) if name in PHRASES]
    drawn = {name: rng.choice(PHRASES[name]) for name in names}
    text = form.format(**{**drawn, "who": who, "who2": who2, "weather2": weather2})
    return text[0].upper() + text[1:]
