"""What is refused before anything starts."""

import subprocess
import sys

import pytest

from heliostat.core.errors import UserError
from heliostat.core.settings import parse
from heliostat.corpus.config import CorpusConfig
from heliostat.tasks.text_classification import TextClassification


def problems(**settings):
    return CorpusConfig(**settings).problems(TextClassification())


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "x.csv"
    rows = [f"hello number {i},{'ab'[i % 2]},me\n" for i in range(6)]
    path.write_text("Body,label,author\n" + "".join(rows))
    return {"use": "csv", "paths": [str(path)]}


def test_a_good_config_has_no_problem(table):
    assert problems(sources=[table], columns={"text": "Body"}, slices=["author"], split={"group": "author"}) == []
    assert problems(sources=[{**table, "columns": {"text": "Body"}}]) == []


def test_missing_columns_are_told_with_the_ones_there_are(table):
    found = problems(sources=[table], columns={"text": "body"}, slices=["year"], split={"group": "autor"})
    assert [p.split(":")[0] for p in found] == ["corpus.columns.text", "corpus.slices.0", "corpus.split.group"]
    assert "no column 'body'. Did you mean 'Body'? It has: Body, label, author." in found[0]
    assert "Did you mean 'author'?" in found[2]


def test_a_column_that_many_files_lack_is_told_once(table, tmp_path):
    text = (tmp_path / "x.csv").read_text()
    paths = [tmp_path / f"{name}.csv" for name in "pqr"]
    for path in paths:
        path.write_text(text)
    (found,) = problems(sources=[{"use": "csv", "paths": list(map(str, paths))}], columns={"text": "Body"}, slices=["year"])
    assert found.startswith("corpus.slices.0: corpus.sources.0 ('p.csv' and 2 more) has no column 'year'.")


def test_every_source_is_told_with_its_place(table, tmp_path):
    found = problems(sources=[{"use": "jsonl", "paths": [str(tmp_path / "*.jsonl")]}, {**table, "paths": [str(tmp_path / "y.csv")]}])
    assert found[0].startswith("corpus.sources.0.paths: no file matches")
    assert found[1].startswith("corpus.sources.1.paths: there is no file or folder")
    assert f"Did you mean '{tmp_path / 'x.csv'}'?" in found[1]


def test_one_class_folder_is_told(tmp_path):
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "1.txt").write_text("hello")
    (found,) = problems(sources=[{"use": "class_folders", "paths": str(tmp_path)}])
    assert found.startswith("corpus.sources.0.paths: only one class folder holds texts: 'good'")


OTHER = {"empty": b"", "blank": b"\n\n", "zip": b"PK\x03\x04\xff\xfe\0\0", "utf-16": "text,label\nx,y\n".encode("utf-16")}


@pytest.mark.parametrize("data", OTHER.values(), ids=OTHER)
@pytest.mark.parametrize("use", ["csv", "jsonl", "parquet"])
def test_a_file_of_another_kind_is_told(tmp_path, use, data):
    (tmp_path / "x").write_bytes(data)
    (found,) = problems(sources=[{"use": use, "paths": str(tmp_path / "x")}])
    assert found.startswith("corpus.sources.0.paths: ")
    assert str(tmp_path / "x") in found


def test_a_filter_that_cannot_work_is_told(table):
    found = problems(sources=[table], columns={"text": "Body"}, filters=[{"use": "length", "min_characters": 9, "max_characters": 3}])
    assert found[0].startswith("corpus.filters.0: min_characters 9")


def test_a_slice_may_not_hide_a_column_of_the_corpus(table):
    found = problems(sources=[table], columns={"text": "Body"}, slices=["label"])
    assert found[0].startswith("corpus.slices: 'label'")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sources": []}, "sources"),
        ({"sources": [{"use": "cvs", "paths": "x"}]}, "Did you mean 'csv'?"),
        ({"sources": [{"use": "csv", "paths": "x", "encoding": "gbk"}]}, "Did you mean 'encodings'?"),
        ({"sources": [{"use": "csv"}]}, "paths"),
        ({"sources": ["x"], "filters": ["lenght"]}, "Did you mean 'length'?"),
        ({"sources": [{"use": "csv", "paths": "x"}], "split": {"valid": 0.6, "test": 0.5}}, "leave nothing to train on"),
    ],
)
def test_wrong_settings_are_explained(settings, said):
    with pytest.raises(UserError, match=said.replace("?", r"\?")):
        parse(CorpusConfig, settings)


def test_identity_holds_content_and_options_and_no_place(table, tmp_path):
    config = CorpusConfig(sources=[table])
    assert str(tmp_path) not in str(config.identity())
    assert "rows_per_shard" not in config.identity()
    before = config.identity()
    (tmp_path / "x.csv").write_text("Body,label,author\nhello,b,me\n")
    assert CorpusConfig(sources=[table]).identity() != before


def test_a_config_survives_being_written_and_read(table):
    config = CorpusConfig(sources=[table])
    assert CorpusConfig.model_validate(config.dump()) == config


def test_the_config_is_light_to_import():
    code = "import sys, heliostat.corpus.config as c; c.CorpusConfig(sources=[{'use': 'parquet', 'paths': 'x'}])"
    code += "; sys.exit(bool({'ray', 'torch', 'pandas', 'pyarrow'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)
