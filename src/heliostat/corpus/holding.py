"""What other corpora may not train on: where a corpus' valid and test rows came from, and which rows of another one are too like them.

A sweep that searches `corpus.` values trains on variants of the run's corpus and judges all of them on the same valid and
test rows. So no row of a variant's train split may be one of those, a duplicate of one, or a member of one's group, however
the variant reads and cleans it.

Places are (number of the file in reading order, line): they stay true when data and run are moved.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from heliostat.artifacts import Corpus
from heliostat.core.manifest import read_json
from heliostat.corpus import duplicates
from heliostat.corpus.config import NearDuplicates
from heliostat.corpus.shingles import key, signatures

HELD_OUT, OTHER_LABEL = "held_out", "label_not_in_corpus"
SPLITS = ("valid", "test")
TEXTS = ("text", "text_pair", "target_text")
POSITIONS, PROFILE = "positions.parquet", "profile.json"
Place = tuple[int, int]


def write_positions(folder: Path, tables: dict[str, Any], every: Any) -> None:
    """`positions.parquet`: split, file, line and group of each valid and test row, and (`kept` is false) of its dropped duplicates.

    `every` are the rows before duplicates were dropped; a duplicate has the `unit` of the row that stayed.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    split_of: dict[int, str] = {}
    groups: dict[Place, str | None] = {}
    for name in SPLITS:
        columns = (tables[name].column(column).to_pylist() for column in ("number", "line", "group", "unit"))
        for number, line, group, unit in zip(*columns, strict=True):
            split_of[unit] = name
            groups[number, line] = group
    found = [
        {"split": split_of[unit], "file": number, "line": line, "group": groups.get((number, line)), "kept": (number, line) in groups}
        for number, line, unit in zip(*(every.column(column).to_pylist() for column in ("number", "line", "unit")), strict=True)
        if unit in split_of
    ]
    fields = {"split": pa.string(), "file": pa.int64(), "line": pa.int64(), "group": pa.string(), "kept": pa.bool_()}
    pq.write_table(pa.Table.from_pylist(found, schema=pa.schema(list(fields.items()))), folder / POSITIONS, compression="zstd")


@dataclass(frozen=True)
class Held:
    """The valid and test rows of the run's own corpus."""

    corpus: Corpus
    places: frozenset[Place]
    """Where they came from."""
    duplicates: frozenset[Place]
    """Where rows came from that the corpus dropped as their duplicates."""
    groups: frozenset[str]
    contents: tuple[str | bytes, ...]
    """Their inputs."""
    near: NearDuplicates | None
    """How the corpus finds near-duplicates."""

    def measures(self, own: NearDuplicates | None) -> dict[str, NearDuplicates]:
        """Column of signatures to how they are made and compared, for a variant with its `own` way: that, and this corpus' when it
        is another one, at the looser of their thresholds."""
        theirs = self.near
        found = {} if own is None else {"signature": own}
        if theirs and (own is None or (own.shingle_words, own.permutations) != (theirs.shingle_words, theirs.permutations)):
            found["beside"] = theirs
        looser = min((near.threshold for near in (own, theirs) if near), default=1.0)
        return {column: near.model_copy(update={"threshold": looser}) for column, near in found.items()}

    def reasons(self, rows: Any, measures: dict[str, NearDuplicates]) -> list[str | None]:
        """Why each good row of a variant may not be trained on, or None.

        Valid and test rows are known by their places, and compared with the others as they read here and as they read in their
        own corpus.
        """
        places = list(zip(rows.column("number").to_pylist(), rows.column("line").to_pylist(), strict=True))
        own_N = np.array([place in self.places for place in places], dtype=bool)
        keys, groups, labels = (rows.column(name).to_pylist() for name in ("key", "group", "label"))
        held_keys = {key(content) for content in self.contents} | {keys[i] for i in np.flatnonzero(own_N)}
        held_groups = self.groups | {groups[i] for i in np.flatnonzero(own_N) if groups[i] is not None}
        known_places = self.places | self.duplicates
        told = zip(places, keys, groups, strict=True)
        like_N = np.array([p in known_places or k in held_keys or g in held_groups for p, k, g in told], dtype=bool)
        for column, near in measures.items():
            signatures_NP = duplicates.unpacked(rows.column(column), near.permutations)
            held_MP = np.concatenate(
                [signatures_NP[own_N], signatures([str(each) for each in self.contents], near.shingle_words, near.permutations)]
            )
            rest_K = np.flatnonzero(~like_N)
            like_N[rest_K] = duplicates.like_one_of(held_MP, signatures_NP[rest_K], near.threshold)
        known = {*self.corpus.labels, ""}
        return [HELD_OUT if like else None if label in known else OTHER_LABEL for like, label in zip(like_N, labels, strict=True)]

    def give(self, folder: Path) -> dict[str, Any]:
        """Put the valid and test files (and their positions) into `folder`, hard-linked where that is possible; their tables."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        tables = {}
        for name in SPLITS:
            (folder / name).mkdir(parents=True)
            for file in self.corpus.split(name):
                _link(file, folder / name / file.name)
            tables[name] = pa.concat_tables([pq.read_table(file, columns=_without_bytes(file)) for file in self.corpus.split(name)])
        (folder / POSITIONS).unlink(missing_ok=True)
        _link(self.corpus.path / POSITIONS, folder / POSITIONS)
        return tables


def held(corpus: Corpus, task: Any) -> Held:
    """What `corpus` holds out for others."""
    import pyarrow.parquet as pq

    rows = pq.read_table(corpus.path / POSITIONS).to_pylist()
    near = read_json(corpus.path / PROFILE)["near_duplicates"]
    return Held(
        corpus=corpus,
        places=frozenset((row["file"], row["line"]) for row in rows if row["kept"]),
        duplicates=frozenset((row["file"], row["line"]) for row in rows if not row["kept"]),
        groups=frozenset(row["group"] for row in rows if row["group"] is not None),
        contents=tuple(task.content(row) for name in SPLITS for f in corpus.split(name) for row in pq.read_table(f).to_pylist()),
        near=None if near is None else NearDuplicates.model_validate(near),
    )


def texts_of(corpus: Corpus) -> Held:
    """The texts that `corpus` holds out, for one that is read from anywhere for another task: places and groups mean nothing there."""
    import pyarrow.parquet as pq

    near = read_json(corpus.path / PROFILE)["near_duplicates"]
    files = (file for name in SPLITS for file in corpus.split(name))
    rows = (row for file in files for row in pq.read_table(file, columns=_without_bytes(file)).to_pylist())
    nothing: frozenset[Any] = frozenset()
    return Held(
        corpus=corpus,
        places=nothing,
        duplicates=nothing,
        groups=nothing,
        contents=tuple(text for row in rows for name in TEXTS if (text := row.get(name))),
        near=None if near is None else NearDuplicates.model_validate(near),
    )


def _without_bytes(file: Path) -> list[str]:
    """The columns of a file of a corpus, but for pictures and recordings."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    return [field.name for field in pq.read_schema(file) if not pa.types.is_large_binary(field.type)]


def _link(source: Path, target: Path) -> None:
    """One file in two places; a copy on a file system without hard links. Files of a corpus are replaced and never written into."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
