"""Rows for the configs debian_*.yaml, from the package index of a Debian system, and a small untrained model for one of them.

    python configs/examples/debian.py data/debian

The index tells of some 60,000 packages in one line each: what it does, its section, its tags (facets), its installed size. A
snapshot changes with time, and so do the rows. Tags need an index that has them: Debian's, not Ubuntu's.
"""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

ROWS = 3000
"""Most rows of each file."""
FACETS = 20
"""The most frequent tags that are kept."""
SECTIONS, LABELLED = 8, 400
"""The most frequent sections of the archive, and how many packages come with theirs."""
WORDS = 4
"""Shorter descriptions say too little."""


def packages(index: str) -> list[dict[str, str]]:
    """The packages of an index, one mapping of fields each; long fields are joined into one line, a description comes once."""
    found: dict[str, dict[str, str]] = {}
    for paragraph in index.split("\n\n"):
        fields: dict[str, str] = {}
        name = ""
        for line in paragraph.splitlines():
            if line.startswith(" "):
                fields[name] += line
            elif ": " in line:
                name, fields[line.partition(": ")[0]] = line.partition(": ")[0], line.partition(": ")[2]
        if len(fields.get("Description", "").split()) >= WORDS:
            found.setdefault(fields["Description"], fields)
    return sorted(found.values(), key=lambda fields: drawn(fields["Package"]))


def drawn(name: str) -> int:
    """A number that looks random and is always the same for the name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def sizes(index: list[dict[str, str]]) -> Iterator[dict[str, Any]]:
    """text_regression: how much disk a package takes, as the decimal logarithm of KiB; its section beside it."""
    for fields in index:
        if float(fields.get("Installed-Size", 0)) > 0:
            size = round(math.log10(float(fields["Installed-Size"])), 4)
            yield {"text": fields["Description"], "size": size, "section": fields.get("Section", "")}


def facets(index: list[dict[str, str]]) -> Iterator[dict[str, Any]]:
    """multilabel_classification: the frequent tags of a package; it may have none of them."""
    tags = {fields["Package"]: fields["Tag"].replace(" ", "").split(",") for fields in index if "Tag" in fields}
    kept = {tag for tag, _ in Counter(tag for each in tags.values() for tag in each).most_common(FACETS)}
    for fields in index:
        if fields["Package"] in tags:
            yield {"text": fields["Description"], "tags": [tag for tag in tags[fields["Package"]] if tag in kept]}


def pairs(index: list[dict[str, str]]) -> Iterator[dict[str, Any]]:
    """text_classification of pairs: whether a package is in a section; every other package is paired with that of another one."""
    known = [fields for fields in index if "Section" in fields]
    for i, fields in enumerate(known):
        section = fields["Section"]
        if i % 2:
            section = next(other["Section"] for other in [*known[i:], *known[:i]] if other["Section"] != section)
        yield {"text": fields["Description"], "section": section, "fits": "no" if i % 2 else "yes"}


def names(index: list[dict[str, str]]) -> Iterator[dict[str, Any]]:
    """seq2seq: the name of a package from what it does."""
    for fields in index:
        yield {"text": fields["Description"], "name": fields["Package"]}


def sections(index: list[dict[str, str]]) -> Iterator[dict[str, Any]]:
    """text_classification: the section of a package, for a few of them."""
    frequent = {section for section, _ in Counter(fields.get("Section", "") for fields in index).most_common(SECTIONS)} - {""}
    for fields in index:
        if fields.get("Section") in frequent:
            yield {"text": fields["Description"], "section": fields["Section"]}


def labelled(index: list[dict[str, str]]) -> Iterator[dict[str, Any]]:
    """The first of `sections`."""
    yield from islice(sections(index), LABELLED)


def unlabelled(index: list[dict[str, str]]) -> Iterator[dict[str, Any]]:
    """The others, without their section: text for `pseudo_label`."""
    yield from ({"text": row["text"]} for row in islice(sections(index), LABELLED, None))


def write_model(folder: Path) -> None:
    """An untrained T5 of two small layers that reads and writes bytes, so that nothing has to be downloaded."""
    import torch
    from transformers import ByT5Tokenizer, T5Config, T5ForConditionalGeneration

    torch.manual_seed(7)
    sizes = {"d_model": 128, "d_kv": 32, "d_ff": 256, "num_layers": 2, "num_heads": 4}
    config = T5Config(vocab_size=384, decoder_start_token_id=0, feed_forward_proj="gated-gelu", **sizes)
    T5ForConditionalGeneration(config).save_pretrained(folder)
    ByT5Tokenizer().save_pretrained(folder)


def write(index: list[dict[str, str]], folder: Path) -> None:
    """One JSON lines file per task."""
    folder.mkdir(parents=True, exist_ok=True)
    for rows in (sizes, facets, pairs, names, labelled, unlabelled):
        lines = [json.dumps(row, ensure_ascii=False) for _, row in zip(range(ROWS), rows(index), strict=False)]
        (folder / f"{rows.__name__}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    out = Path(sys.argv[1])
    write(packages(subprocess.run(["apt-cache", "dumpavail"], capture_output=True, text=True, check=True).stdout), out)
    write_model(out / "tiny-byt5")
    print(out)
