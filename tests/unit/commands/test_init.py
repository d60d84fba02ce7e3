"""`init` looks at data of any usual shape and writes a config that loads."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest

from contracts.media_samples import hearing, picture, pixels, recording, seeing, wave
from heliostat.cli import main
from heliostat.commands.tiny import write_model
from heliostat.config import read_config
from heliostat.core import seeds

WORDS = (("app crashes often", "technical"), ("invoice is wrong", "billing"))
ROWS = [(f"ticket {i}: the {WORDS[i % 2][0]}", WORDS[i % 2][1], str(i)) for i in range(60)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_model(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_csv(path: Path, names: tuple[str, ...] = ("message", "team", "number"), encoding: str = "utf-8") -> None:
    with path.open("w", newline="", encoding=encoding) as f:
        csv.writer(f).writerows([names, *ROWS])


def init(*arguments: str) -> int:
    return main(["init", *arguments, "--model", "model"])


def expect(path: str, text: str, label: str, use: str) -> None:
    run = read_config(Path(path))
    source = run.corpus.sources[0]
    assert source.name() == use
    assert (run.corpus.column(source, "text"), run.corpus.column(source, "label")) == (text, label)
    assert run.task.max_tokens in (32, 64)
    assert run.distil.layers == 1


def test_a_csv_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_csv(folder / "tickets.csv")
    assert init("tickets.csv") == 0
    told = capsys.readouterr()
    assert told.out == "tickets.yaml\n"
    assert "looked at 60 rows" in told.err
    assert "2 classes: technical 30, billing 30" in told.err
    expect("tickets.yaml", "message", "team", "csv")
    assert main(["plan", "tickets.yaml"]) == 0


def test_the_config_names_itself_and_labels_as_a_run_will(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [json.dumps({"text": text, "label": int(number) % 2 == 0}) for text, _, number in ROWS]
    (folder / "rows.jsonl").write_text("\n".join(lines))
    assert init("rows.jsonl", "-o", "my rows.yaml") == 0
    assert "heliostat plan 'my rows.yaml'" in (folder / "my rows.yaml").read_text()
    assert "true 30, false 30" in capsys.readouterr().err


def test_gzipped_json_lines_in_another_script(folder: Path) -> None:
    rows = [{"内容": f"第{i}个产品的质量非常好我很喜欢", "类别": "好坏"[i % 2]} for i in range(40)]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (folder / "评论.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    assert init("评论.jsonl.gz", "-o", "reviews.yaml") == 0
    expect("reviews.yaml", "内容", "类别", "jsonl")


def test_parquet_shards(folder: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (folder / "shards").mkdir()
    for i in range(3):
        pq.write_table(pa.table({"body": [r[0] for r in ROWS], "label": [r[1] for r in ROWS]}), folder / "shards" / f"{i}.parquet")
    assert init("shards") == 0
    expect("shards.yaml", "body", "label", "parquet")


def test_class_folders(folder: Path) -> None:
    for text, label, number in ROWS:
        place = folder / "letters" / label
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.txt").write_text(text)
    assert init("letters") == 0
    expect("letters.yaml", "text", "label", "class_folders")


@pytest.mark.parametrize(("part", "kind"), [("image", "vit"), ("image", "resnet"), ("audio", "whisper")])
def test_folders_of_pictures_and_recordings(folder: Path, part: str, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    rng = seeds.rng(1, "test", "init")
    for label in ("a", "b"):
        place = folder / "media" / label
        place.mkdir(parents=True)
        for i in range(12):
            data = picture(pixels(rng)) if part == "image" else recording(wave(rng, 0.3))
            (place / f"{i}.{'png' if part == 'image' else 'wav'}").write_bytes(data)
        (place / "readme.txt").write_text("where they came from")
    assert main(["init", "media"]) == 2
    assert "Name one with --model" in capsys.readouterr().err
    model = (seeing if part == "image" else hearing)(folder / "model", kind)
    assert main(["init", "media", "--model", model]) == 0
    run = read_config(Path("media.yaml"))
    assert run.task.name() == f"{part}_classification"
    assert (run.corpus.sources[0].name(), run.corpus.sources[0].paths) == (f"{part}_folders", ["media"])
    assert (run.distil is None) == (kind == "resnet"), "a ResNet has no list of layers to take some of"
    assert "24 files" in capsys.readouterr().err


def test_another_encoding_is_found(folder: Path) -> None:
    with (folder / "gb.csv").open("w", encoding="gb18030") as f:
        f.write("text,label\n" + "\n".join(f"第{i}个产品的质量很好,{'好' if i % 2 else '坏'}" for i in range(40)))
    assert init("gb.csv") == 0
    assert read_config(Path("gb.yaml")).corpus.sources[0].encodings == ["utf-8", "gb18030"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ticket.csv"], ["does not exist", "tickets.csv"]),
        (["tickets.csv", "--text", "mesage"], ["Did you mean 'message'", "Columns: message, team, number"]),
        (["tickets.csv", "--label", "tema"], ["Did you mean 'team'"]),
        (["notes.docx"], [".docx", "Allowed", ".csv"]),
        (["empty"], ["holds", "class folders"]),
        (["one.csv"], ["single class", "only"]),
        (["two.csv"], ["several columns", "k1 (2 values), k2 (3 values)", "--label"]),
    ],
)
def test_what_cannot_be_guessed_is_asked(folder: Path, arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    write_csv(folder / "tickets.csv")
    (folder / "notes.docx").write_text("x")
    (folder / "empty").mkdir()
    (folder / "one.csv").write_text("text,label\n" + "".join(f"text number {i},only\n" for i in range(20)))
    (folder / "two.csv").write_text("text,k1,k2\n" + "".join(f"text number {i} is here,{i % 2},{i % 3}\n" for i in range(50)))
    assert init(*arguments) == 2
    told = capsys.readouterr().err
    for word in words:
        assert word in told, told
    assert not list(folder.glob("*.yaml"))


def test_nothing_is_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_csv(folder / "tickets.csv")
    (folder / "tickets.yaml").write_text("mine")
    assert init("tickets.csv") == 2
    assert "-o FILE" in capsys.readouterr().err
    assert (folder / "tickets.yaml").read_text() == "mine"


def test_a_model_that_is_none_leaves_no_config(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_csv(folder / "tickets.csv")
    assert main(["init", "tickets.csv", "--model", "./nowhere"]) == 2
    assert "model.path" in capsys.readouterr().err
    assert not list(folder.glob("*.yaml"))


def tagged_rows(scheme: str) -> list[tuple[list[str], list[str]]]:
    ends = {"bio": ["B-LOC", "I-LOC"], "iob1": ["I-LOC", "I-LOC"], "bioes": ["B-LOC", "E-LOC"], "plain": ["NN", "VB"]}[scheme]
    return [([f"w{i}", "river", "bank", "old"], ["O" if scheme != "plain" else "DT", *ends, "O"]) for i in range(60)]


@pytest.mark.parametrize("scheme", ["bio", "iob1", "bioes", "plain"])
def test_words_with_tags_in_lists(folder: Path, capsys: pytest.CaptureFixture[str], scheme: str) -> None:
    lines = [json.dumps({"id": i, "words": words, "ner": tags}) for i, (words, tags) in enumerate(tagged_rows(scheme))]
    (folder / "rows.jsonl").write_text("\n".join(lines))
    assert init("rows.jsonl") == 0
    told = capsys.readouterr().err
    assert "words: 'words'; tags: 'ner'" in told
    assert ("LOC 60" in told) == (scheme != "plain")
    run = read_config(Path("rows.yaml"))
    assert (run.task.name(), run.task.scheme, run.task.max_tokens) == ("token_classification", scheme, 32)
    assert (run.corpus.columns["tokens"], run.corpus.columns["tags"]) == ("words", "ner")
    assert run.train.head_lr == 2e-3
    assert main(["plan", "rows.yaml"]) == 0


def test_a_word_per_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "\n\n".join("\n".join(f"{word} {tag}" for word, tag in zip(*row, strict=True)) for row in tagged_rows("bio"))
    (folder / "train.conll").write_text(text)
    assert init("train.conll") == 0
    assert "looked at 60 rows (conll)" in capsys.readouterr().err
    run = read_config(Path("train.yaml"))
    assert run.corpus.sources[0].name() == "conll"
    assert main(["plan", "train.yaml"]) == 0


def test_words_without_any_span_are_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "train.conll").write_text("\n\n".join(f"w{i} O\nold O" for i in range(60)))
    assert init("train.conll") == 2
    assert "there is nothing to learn" in capsys.readouterr().err
    assert not Path("train.yaml").exists()
