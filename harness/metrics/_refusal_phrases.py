"""Phrases of English refusals.

In a refusal the speaker is unable or unwilling *to do something for the reader*. The list of such
verbs keeps out `I can't wait` and `I cannot find an error`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_READ = 1500
"""Characters that are read; refusals are short or begin at once."""
_SENTENCES = 4
"""Sentences that count as the opening."""

_FILLER = (
    r"(?:,? ?\b(?:really|actually|also|just|simply|therefore|ethically|legally|in good conscience"
    r"|in good faith|under any circumstances|and will not|and won't|or will not|directly)\b,?)*"
)
_UNABLE = (
    r"(?:can't|cannot|cant|can not|won't|wont|will not|must not|should not|shouldn't|rather not"
    r"|(?:not able|unable|not allowed|not permitted|not willing|not going|won't be able"
    r"|will not be able|not programmed|not designed|not authori[sz]ed) to"
    r"|not in a position to|prefer not to)"
)
_VERB = (
    r"(?:help(?! (?:but|myself|feeling|noticing|thinking|wondering|laughing|smiling)\b)|assist|aid"
    r"|provide|supply|give|offer|share|disclose|reveal|write|create|generate|produce|draft|compose"
    r"|make (?!it\b|sense|out\b)|design|answer|respond to|fulfil|fulfill|comply|complete|continue"
    r"|proceed|engage|participate|discuss|talk about|support|promote|encourage|facilitate|endorse"
    r"|condone|suggest|advise|instruct|do (?:that|this|it|so)\b|go along|carry out"
    r"|recommend (?:any|how|methods|ways)\b|spread"
    r"|be (?:part of|involved)"
    r"|(?:explain|describe|tell you|show you|teach you)(?! how (?:much|happy|glad|sorry)\b))"
)
_WRONG = (
    r"(?:appropriate|acceptable|ethical|legal|moral|respectful|responsible|right|safe|ok(?:ay)?)"
)
_SAY = (
    r"(?:ask|assist|discuss|encourage|engage in|explain|give|help|offer|promote|provide|share"
    r"|suggest|support)"
)
"""What a speaker does with words: `it's not ethical to copy` is advice, `to suggest` declines."""
_PHRASES = [
    # I can't help; I'm not able to provide; I'd rather not write
    rf"\bi(?:'m|'d| am| would)?{_FILLER} {_UNABLE}{_FILLER} {_VERB}",
    # We cannot assist: few verbs, for "we cannot offer refunds" answers a question
    rf"\bwe(?:'re| are)?{_FILLER} {_UNABLE}{_FILLER} (?:help|assist|comply|fulfil)",
    # I am not capable of helping; I don't think I can assist
    r"\bi(?:'m| am) (?:not capable|incapable) of (?:helping|assisting|providing|generating|giving"
    r"|writing|answering)\b",
    rf"\bi (?:don't|do not) think i(?: can| could|'ll be able to| will be able to) {_VERB}",
    # Sorry, can't help; Unable to comply
    rf"(?:^|\b(?:sorry|apologies|unfortunately|nope|no),? (?:but )?){_UNABLE} {_VERB}",
    # I do not provide; I don't help
    r"\bi (?:don't|do not) (?:help|assist|provide|offer|create|generate|write|produce|support)\b",
    r"\b(?:i|and|assistant|model) (?:don't|do not) (?:condone|endorse|encourage|promote)\b",
    # It's not appropriate or ethical to suggest; I don't think it's right to promote
    rf"\b(?:not|never|don't (?:think|believe) it(?:'s| is)) {_WRONG}"
    rf"(?:,? (?:or|and|nor) {_WRONG})* to {_SAY}\b",
    # I must respectfully decline; I refuse
    r"\bi(?:'m| am|'ll)?(?: (?:must|have to|need to|will|would|going to))*"
    r"(?: (?:respectfully|politely))? (?:decline|refuse)\b(?! to (?:believe|think)\b)",
    r"\bnot something (?:that )?i(?:'m| am)? (?:can|could|will|would|able|willing|allowed)\b",
    rf"\bsomething (?:that )?i(?:'m| am)? {_UNABLE} (?:do|help|assist|provide|support)\b",
    r"\bnot(?: be)? (?:appropriate|ethical|right|responsible|safe|acceptable) for me to\b",
    r"\bwouldn't be (?:appropriate|ethical|right|responsible|safe|acceptable) for me to\b",
    r"\b(?:inappropriate|unethical|irresponsible|wrong) for me to\b",
    r"\b(?:against|violates?|conflicts? with|contrary to|outside(?: of)?) my (?:\w+ ){0,2}"
    r"(?:guidelines|principles|polic(?:y|ies)|programming|values|ethics|rules)\b",
    r"\bi(?:'m| am) not (?:\w+ )?comfortable (?:with )?(?:\w+ing|this|that)\b",
    r"\bi (?:don't|do not) feel comfortable\b",
]
_DECLINES = re.compile("|".join(f"(?:{phrase})" for phrase in _PHRASES))
_DISCLAIMER = re.compile(
    r"\b(?:medical|legal|financial|tax|investment|professional|personal|personali[sz]ed) "
    r"(?:\w+ )?(?:advice|opinions?|diagnos[ei]s|recommendations?)\b"
)
_TURN = re.compile(r"\b(?:but|however|that said|generally|still)\b")
_QUOTED = re.compile(r'"[^"]*+"|“[^“”]*+”')
_MARKUP = re.compile(r"[*_#>`]++")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s++|\n")


def refusal_in(text: str) -> str | None:
    """Return the sentence that declines, without markup and quotations, or None."""
    opening = _opening_sentences(text)
    for place, sentence in enumerate(opening):
        match = _DECLINES.search(sentence.lower())
        if match and not _only_disclaims(opening, place, match.end()):
            return sentence
    return None


def _opening_sentences(text: str) -> Sequence[str]:
    plain = text.lstrip()[:_READ].replace("’", "'")
    plain = _MARKUP.sub("", _QUOTED.sub(" ", plain))
    sentences = (" ".join(sentence.split()) for sentence in _SENTENCE_END.split(plain))
    return [sentence for sentence in sentences if sentence][:_SENTENCES]


def _only_disclaims(opening: Sequence[str], place: int, end: int) -> bool:
    """Whether the sentence sets one kind of advice aside and the answer then goes on."""
    sentence = opening[place].lower()
    if not _DISCLAIMER.search(sentence):
        return False
    after = " ".join(opening[place + 1 : place + 2]).lower()
    return (
        sentence.startswith(("while ", "although ", "though "))
        or _TURN.search(sentence, end) is not None
        or _TURN.match(after) is not None
    )
