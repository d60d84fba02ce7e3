"""Prepared rows are made once; the rows of a step are a pure function, whatever the number of workers."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from heliostat.core import family
from heliostat.core.manifest import read_json
from heliostat.engine import streams
from heliostat.engine.streams import Batches, Prepared, Tokenise, prepare, steps_per_epoch
from heliostat.tasks.text_classification import TextClassification

ROWS, BATCH = 43, 8  # the last batch has 3 rows
STEPS = 6
LABELS = ("art", "sport")


def workers(world, accumulation, *, rows=ROWS, seed=5):
    return [Batches(np.arange(rows), BATCH, accumulation, seed, rank, world) for rank in range(world)]


class Halved(TextClassification):
    """Two pieces of every text with an even number."""

    def tokenise(self, columns, processor, labels):
        pieces = [piece for text in columns["text"] for piece in range(2 - int(text) % 2)]
        return {"input_ids": [[7]] * len(pieces), "piece": pieces}

    def targets(self, columns, labels):
        return [int(text) for text in columns["text"]]


def test_pieces_bear_what_their_row_bears(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "processor", lambda task, folder, revision: None)
    file = tmp_path / "x.parquet"
    pq.write_table(pa.table({"id": ["a", "b", "c"], "weight": [0.5, 1.0, 2.0], "text": ["1", "2", "4"], "year": [1, 2, 3]}), file)
    rows = streams.Rows(Tokenise("", Halved(), LABELS, ("year",))({"file": str(file)}))
    assert rows.take(range(5))["id"] == ["a", "b", "b", "c", "c"]
    assert (rows.column("weight").tolist(), rows.column("year").tolist()) == ([0.5, 1.0, 1.0, 2.0, 2.0], [1, 2, 2, 3, 3])
    assert (rows.first_N.tolist(), rows.origin_N.tolist(), rows.columns) == ([0, 1, 3], [0, 1, 1, 2, 2], ["input_ids"])
    assert rows.targets(Halved()).tolist() == [1, 2, 4]
    assert rows.added(np.arange(10.0, dtype=np.float32).reshape(5, 2)).tolist() == [[0, 1], [6, 8], [14, 16]]


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("world", [1, 2, 4])
def test_every_row_is_seen_once_per_epoch(world, accumulation):
    for epoch in range(2):
        seen = []
        for step in range(epoch * STEPS, (epoch + 1) * STEPS):
            for worker in workers(world, accumulation):
                seen += [row for micro in worker.share(step) if not micro.filler for row in micro.rows]
        assert sorted(seen) == list(range(ROWS))


@pytest.mark.parametrize("accumulation", [1, 2, 3])
@pytest.mark.parametrize("world", [1, 2, 4])
def test_the_shares_are_the_global_batch_and_it_does_not_depend_on_them(world, accumulation):
    for step in range(2 * STEPS):
        whole = Batches(np.arange(ROWS), BATCH, 1, 5).whole(step)
        union = []
        for worker in workers(world, accumulation):
            assert (worker.whole(step) == whole).all()
            union += [row for micro in worker.share(step) if not micro.filler for row in micro.rows]
        assert sorted(union) == sorted(whole)


@pytest.mark.parametrize("rows", [1, 3, 8, 43])
@pytest.mark.parametrize(("world", "accumulation"), [(1, 1), (2, 2), (4, 1), (4, 2), (3, 5)])
def test_every_worker_makes_the_same_number_of_passes_and_none_is_empty(world, accumulation, rows):
    for step in range(steps_per_epoch(rows, BATCH)):
        shares = [worker.share(step) for worker in workers(world, accumulation, rows=rows)]
        assert {len(share) for share in shares} == {accumulation}
        assert all(len(micro.rows) for share in shares for micro in share)


def test_a_filler_stands_only_where_a_part_would_be_empty():
    """A batch of 3 rows among 4 workers of 2 passes: 3 passes have a row, 5 fill up."""
    last = STEPS - 1
    fillers = [micro for worker in workers(4, 2) for micro in worker.share(last) if micro.filler]
    assert len(fillers) == 5
    assert all(len(micro.rows) == 1 for micro in fillers)
    assert not any(micro.filler for step in range(last) for worker in workers(4, 2) for micro in worker.share(step))


def test_the_order_is_another_one_in_each_epoch_and_for_each_seed():
    orders = [tuple(Batches(np.arange(ROWS), BATCH, 1, seed).order(epoch)) for seed in (5, 6) for epoch in (0, 1, 2)]
    assert len(set(orders)) == 6


def test_a_step_is_the_same_whatever_was_asked_before():
    """Resume seeks, it does not replay."""
    forward = Batches(np.arange(ROWS), BATCH, 1, 5)
    rows = [forward.whole(step) for step in range(3 * STEPS)]
    back = Batches(np.arange(ROWS), BATCH, 1, 5)
    assert all((back.whole(step) == rows[step]).all() for step in reversed(range(3 * STEPS)))


@pytest.mark.parametrize(("rows", "batch", "epochs", "steps"), [(43, 8, 1.0, 6), (40, 8, 1.0, 5), (43, 8, 2.5, 15), (43, 8, 0.01, 1)])
def test_steps_of_a_training(rows, batch, epochs, steps):
    assert Batches(np.arange(rows), batch).steps(epochs) == steps


class Letters:
    """A tokenizer that gives one id per letter."""

    def __call__(self, texts, *, max_length, **options):
        return {"input_ids": [[ord(c) for c in text[:max_length]] for text in texts]}


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """Two parquet files of 4 and 3 rows, and a stub in place of every tokenizer."""
    monkeypatch.setattr(streams, "processor", lambda task, folder, revision: Letters())
    texts = ["abcdefghij", "ab", "abc", "abcd", "x" * 9, "y", "z" * 12]
    labels = ["sport", "art", "art", "sport", "chess", "art", "sport"]
    files = []
    for name, part in [("a", slice(0, 4)), ("b", slice(4, 7))]:
        ids = [f"{name}{i}" for i in range(len(texts[part]))]
        weights = np.linspace(0.5, 1, len(ids))
        files.append(tmp_path / f"{name}.parquet")
        pq.write_table(pa.table({"id": ids, "text": texts[part], "label": labels[part], "weight": weights, "slice": ids}), files[-1])
    return files


class Mapping:
    """`map_pieces` in this process; counts its calls."""

    calls = 0

    def __call__(self, pieces, function):
        self.calls += 1
        return map(function, pieces)


def prepared(tmp_path, files, mapping, *, identity="corpus", labels=LABELS, **options):
    function = Tokenise("anywhere", TextClassification(**options), labels)
    return prepare(tmp_path / "rows", files, function, identity=identity, map_pieces=mapping)


def test_prepared_rows_come_back_in_corpus_order(tmp_path, corpus):
    rows = Prepared(prepared(tmp_path, corpus, Mapping(), max_tokens=10))
    assert len(rows) == 7
    assert rows.columns == ["input_ids", "labels"]
    assert rows.column("labels").tolist() == [1, 0, 0, 1, -100, 0, 1]  # chess is no label of this task
    assert rows.lengths_N.tolist() == [10, 2, 3, 4, 9, 1, 10]
    taken = rows.take([5, 0, 5])
    assert taken["id"] == ["b1", "a0", "b1"]
    assert taken["input_ids"] == [[ord("y")], [ord(c) for c in "abcdefghij"], [ord("y")]]
    # float32 of 0.75 and 0.5 is exact
    assert taken["weight"] == [0.75, 0.5, 0.75]
    assert read_json(rows.folder / "manifest.json") == {"rows": 7, "trainable": 6, "tokens": 39, "labels": list(LABELS)}


def test_rows_are_prepared_once(tmp_path, corpus):
    mapping = Mapping()
    assert prepared(tmp_path, corpus, mapping) == prepared(tmp_path, corpus, mapping)
    assert mapping.calls == 1


def test_whatever_decides_the_rows_decides_the_folder(tmp_path, corpus):
    mapping = Mapping()
    folders = {
        prepared(tmp_path, corpus, mapping),
        prepared(tmp_path, corpus, mapping, max_tokens=9),
        prepared(tmp_path, corpus, mapping, identity="another corpus"),
        prepared(tmp_path, corpus, mapping, labels=("sport", "art")),
    }
    assert len(folders) == 4


def test_a_preparation_that_was_cut_off_is_made_again(tmp_path, corpus):
    def torn(pieces, function):
        yield function(pieces[0])
        raise ConnectionError("the cluster is gone")

    with pytest.raises(ConnectionError):
        prepared(tmp_path, corpus, torn)
    assert len(Prepared(prepared(tmp_path, corpus, Mapping()))) == 7


@pytest.mark.parametrize("size", [1, 3, 7, 50])
def test_by_length_gives_every_row_once_longest_first(tmp_path, corpus, size):
    rows = Prepared(prepared(tmp_path, corpus, Mapping()))
    batches = list(rows.by_length(size))
    order = [int(i) for batch in batches for i in batch]
    assert sorted(order) == list(range(7))
    assert [rows.lengths_N[i] for i in order] == sorted(rows.lengths_N, reverse=True)
    assert all(len(batch) == size for batch in batches[:-1])


@pytest.mark.parametrize("task", ["text_classification", "image_classification", "audio_classification"])
def test_what_reads_for_a_model_is_of_the_same_revision_as_its_weights(task, monkeypatch):
    import transformers

    asked, given = [], SimpleNamespace(pad_token_id=0, model_type="bert", chunk_length=30, sampling_rate=16_000, hop_length=160)
    for name in ("AutoTokenizer", "AutoImageProcessor", "AutoFeatureExtractor", "AutoConfig"):
        told = lambda hub_id, revision=None, **_: asked.append((hub_id, revision)) or given  # noqa: E731
        monkeypatch.setattr(getattr(transformers, name), "from_pretrained", told)
    streams.processor(family.build("tasks", task), "org/some", "v2")
    assert set(asked) == {("org/some", "v2")}


def test_a_kept_column_that_is_null_in_a_whole_file_has_the_type_of_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "processor", lambda task, folder, revision: None)
    made = []
    for name, topics in (("a", ["x", "y"]), ("b", [None, None])):
        columns = {"id": [name + "0", name + "1"], "weight": [1.0, 1.0], "text": ["1", "2"], "topic": pa.array(topics, pa.string())}
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
        made.append(Tokenise("", Halved(), LABELS, ("topic",))({"file": str(tmp_path / f"{name}.parquet")}))
    assert made[0].schema == made[1].schema
