"""What the corpus stage reads, cleans and splits. A config knows what is on disk well enough to refuse before anything starts."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, model_validator

from heliostat.core.errors import nearest, unknown
from heliostat.core.family import In
from heliostat.core.settings import Settings, unidentified

VERSION = 2
PEEKED_FILES = 20
STANDARD_COLUMNS = {"text": "text", "label": "label"}
DEFAULT_FILTERS: Any = ["fix_text", "length", "repetition"]


class NearDuplicates(Settings):
    """Near-duplicates by MinHash (Broder, 1997) over shingles of words; in Chinese and Japanese a character is a word."""

    threshold: float = Field(0.8, gt=0.3, le=1)
    """Estimated Jaccard similarity from which two texts count as near-duplicates."""
    shingle_words: int = Field(3, ge=1, le=20)
    """Words in one shingle."""
    permutations: int = Field(128, ge=16, le=1024)
    """Length of a MinHash signature; more is more exact and slower."""
    action: Literal["drop", "group"] = "drop"
    """drop keeps the first of a cluster; group keeps all of them, in the same split."""


class SplitConfig(Settings):
    """Shares of the rows of every class; near-duplicates and groups never cross a split."""

    valid: float = Field(0.15, gt=0, lt=1)
    """Share that measures while training."""
    test: float = Field(0.15, gt=0, lt=1)
    """Share that is scored once, at the end."""
    group: str | None = None
    """Column whose rows stay together (an author, a patient, a document); None splits row by row."""

    @model_validator(mode="after")
    def _leaves_rows_to_train_on(self) -> SplitConfig:
        if self.valid + self.test >= 1:
            raise ValueError(f"valid {self.valid:g} and test {self.test:g} leave nothing to train on; their sum must be below 1")
        return self


class CorpusConfig(Settings):
    """The team's data."""

    sources: list[In["corpus.sources"]] = Field(min_length=1)
    """Where rows come from, in order."""
    columns: dict[str, str] = STANDARD_COLUMNS
    """What a row needs to the column that holds it, for every source; a source's own `columns` go first."""
    slices: list[str] = []
    """Further columns carried to the end as text, to score and watch parts of the data apart."""
    filters: list[In["corpus.filters"]] = DEFAULT_FILTERS
    """What every row passes, in order."""
    near_duplicates: NearDuplicates | None = NearDuplicates()
    """How texts that are almost the same are found; None is off."""
    split: SplitConfig = SplitConfig()
    """How rows are dealt to train, valid and test."""
    max_bad_share: float = Field(0.05, ge=0, le=1)
    """Share of malformed rows above which the run stops."""
    rows_per_shard: int = unidentified(50_000, ge=1)
    """Rows of one output file."""

    def problems(self, task: Any) -> list[str]:
        """What is wrong with the data on disk, as far as the first lines of the first files tell; one sentence each."""
        problems = [p for i, source in enumerate(self.sources) for p in self._source_problems(i, source, task)]
        for i, each in enumerate(self.filters):
            problems += [f"corpus.filters.{i}: {p}" for p in each.problems()]
        if task.reads == "text" and not task.is_revised():
            told = f"changes the text, and a model of {task.name()} reads {next(iter(task.columns()))}: nothing would be hidden from it"
            hiding = [(i, each) for i, each in enumerate(self.filters) if each.hides]
            problems += [f"corpus.filters.{i}: {each.name()} {told}. Leave it out, and mask the data before." for i, each in hiding]
        taken = {"id", "text", "label", "source", "domain", "weight"}.intersection(self.slices)
        problems += [f"corpus.slices: '{name}' is a column every corpus has; choose another name for the slice." for name in sorted(taken)]
        problems += self._column_problems(task)
        problems += [
            f"corpus.{name}: it reads text, and a row of {task.name()} holds {task.reads}. Leave it out."
            for name in ("filters", "near_duplicates")
            if task.reads != "text" and name in self.model_fields_set and getattr(self, name)
        ]
        return problems or self._row_problems(task)

    def nearness(self, task: Any) -> NearDuplicates | None:
        """How near-duplicates of the task's rows are found; None where they are not."""
        return self.near_duplicates if task.reads == "text" else None

    def _row_problems(self, task: Any) -> list[str]:
        from heliostat.corpus import preview

        return preview.problems(self, task)

    def _column_problems(self, task: Any) -> list[str]:
        """Names that no row needs, and columns that are used twice."""
        wanted = list(task.columns())
        places = [("corpus.columns", self.columns), *((f"corpus.sources.{i}.columns", s.columns) for i, s in enumerate(self.sources))]
        strange = [(where, name) for where, columns in places for name in columns if name not in (*wanted, *STANDARD_COLUMNS)]
        problems = [f"{where}.{name}: {unknown('part of a row', name, wanted)}" for where, name in strange]
        for i, source in enumerate(self.sources):
            columns = [self.column(source, name) for name in wanted]
            twice = sorted({column for column in columns if columns.count(column) > 1})
            problems += [f"corpus.columns: column '{c}' of corpus.sources.{i} stands for {' and '.join(wanted)} at once." for c in twice]
        return problems

    def column(self, source: Any, name: str) -> str:
        """The column of `source` that holds the logical `name`."""
        return source.columns.get(name, self.columns.get(name, name))

    def _source_problems(self, index: int, source: Any, task: Any) -> list[str]:
        where = f"corpus.sources.{index}"
        found = source.problems()
        if found:
            return [f"{where}.{p}" for p in found]
        wanted = [(f"corpus.columns.{name}", self.column(source, name)) for name in task.columns()]
        wanted += [(f"corpus.slices.{i}", name) for i, name in enumerate(self.slices)]
        wanted += [("corpus.split.group", self.split.group)] if self.split.group else []
        lacking: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
        for file in source.files()[:PEEKED_FILES]:
            try:
                there = source.peek(file)
            except (OSError, EOFError, ValueError, zlib.error) as error:
                return [f"{where}.paths: '{file}' cannot be read: {error}"]
            if not there:
                tried = ", ".join(source.encodings)
                return [
                    f"{where}.paths: '{file}' has no row that can be read as {source.name()} in {tried}. Is it empty, or another format?"
                    f" For another encoding set {where}.encodings, for example [utf-8, gb18030]."
                ]
            for setting, column in wanted:
                if column not in there:
                    lacking.setdefault((setting, column, tuple(there)), []).append(file.name)
        return [_lacks(setting, where, files, column, there) for (setting, column, there), files in lacking.items()][:10]


def _lacks(setting: str, where: str, files: list[str], column: str, there: Sequence[str]) -> str:
    """That some files of a source, with the same columns, have not the one that a setting names."""
    close = nearest(column, there)
    hint = f" Did you mean '{close}'?" if close else ""
    others = f" and {len(files) - 1} more" if len(files) > 1 else ""
    return f"{setting}: {where} ('{files[0]}'{others}) has no column '{column}'.{hint} It has: {', '.join(there[:30])}."
