"""Tags of words: how the usual schemes mark spans with them, and the order in which a model answers with them.

Inside Heliostat spans are always BIO: B-PER begins a span of type PER, I-PER goes on with it, O is outside of any. Among a
model's outputs O has index 0, the beginning of the k-th type (from 0) has 2k + 1 and what goes on with it 2k + 2, so that
indices alone tell where spans begin and end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

OUTSIDE = "O"
Scheme = Literal["bio", "iob1", "bioes", "plain"]
BAD_TAG, BROKEN_SPAN = "bad_tag", "broken_span"
BEGIN, INSIDE, END, SINGLE = "B", "I", "E", "S"
ROLES = {
    "bio": {"B": BEGIN, "I": INSIDE},
    "iob1": {"B": BEGIN, "I": INSIDE},
    "bioes": {"B": BEGIN, "I": INSIDE, "M": INSIDE, "E": END, "L": END, "S": SINGLE, "U": SINGLE},
}
"""What the letter before the type says, by scheme; BMES and BILOU are BIOES with other letters."""


def as_bio(tags: Sequence[str], scheme: Scheme) -> list[str] | str:
    """The same spans in BIO, or the reason word why the tags are none of the scheme: a tag it does not have, or a span that goes on
    or ends without having begun (in BIOES also one that never ends).

    In IOB1 a span begins with I- unless it follows one of its own type without a gap; B- is allowed anywhere.
    """
    if scheme == "plain":
        return list(tags)
    made: list[str] = []
    running: str | None = None
    for tag in tags:
        letter, dash, kind = tag.partition("-")
        role = None if tag == OUTSIDE else ROLES[scheme].get(letter)
        if tag != OUTSIDE and (role is None or bool(dash) != bool(kind)):
            return BAD_TAG
        goes_on = role in (INSIDE, END) and (scheme != "iob1" or running == kind)
        if running != kind if goes_on else (scheme == "bioes" and running is not None):
            return BROKEN_SPAN
        made.append(OUTSIDE if role is None else tagged(INSIDE if goes_on else BEGIN, kind))
        running = None if role in (None, END, SINGLE) else kind
    return BROKEN_SPAN if running is not None and scheme == "bioes" else made


def tagged(letter: str, kind: str) -> str:
    """B-PER; the letter alone where spans have no type."""
    return f"{letter}-{kind}" if kind else letter


def marked(length: int, kind: str | None) -> list[str]:
    """The tags of so many words that are one span of a type, or that are outside."""
    return [OUTSIDE] * length if kind is None else [tagged(BEGIN if i == 0 else INSIDE, kind) for i in range(length)]


def type_of(tag: str) -> str:
    """PER of B-PER; nothing where spans have no type."""
    return tag.partition("-")[2]


def outputs(tags: Iterable[str]) -> list[str]:
    """The names of a model's outputs for BIO tags: what the rows hold, and what they lack of a type they have."""
    kinds = dict.fromkeys(type_of(tag) for tag in tags if tag != OUTSIDE)
    return [OUTSIDE, *(tagged(letter, kind) for kind in kinds for letter in (BEGIN, INSIDE))]
