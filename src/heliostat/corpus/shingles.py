"""What two texts share: words (a Chinese or Japanese character is one), runs of words, and MinHash signatures of them."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import numpy as np

_CHARACTER = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_CHARACTER}]|[^\W_{_CHARACTER}]+")
SEED = 1
"""Of the hash functions of MinHash; any fixed number does."""


def words(text: str) -> list[str]:
    """Lower-case words; every Chinese or Japanese character is a word of its own."""
    return _WORD.findall(text.casefold())


def key(content: str | bytes) -> str:
    """32 hex digits that are equal for texts that differ only in case and white space, and for the same bytes."""
    return digest(" ".join(content.casefold().split()) if isinstance(content, str) else whole(content))


def whole(content: str | bytes) -> str:
    """The text itself, or what stands for bytes."""
    return content if isinstance(content, str) else hashlib.blake2b(content, digest_size=16).hexdigest()


def digest(*parts: str) -> str:
    """32 hex digits for a sequence of texts."""
    return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest()


def shingles(text: str, length: int) -> set[str]:
    """Runs of `length` words; one shorter run when there are fewer words."""
    found = words(text)
    return {" ".join(found[i : i + length]) for i in range(max(1, len(found) - length + 1))} if found else {text}


def signatures(texts: list[str], length: int, permutations: int) -> Any:
    """MinHash signatures uint32 [texts, permutations] (Broder, 1997)."""
    import rensa

    rows = [shingles(text, length) for text in texts]
    found = rensa.RMinHash.digests_from_token_sets(rows, num_perm=permutations, seed=SEED)
    return np.array(found, dtype=np.uint32).reshape(-1, permutations)
