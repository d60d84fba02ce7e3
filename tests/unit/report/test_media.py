"""Pictures and sounds on the page: inside it, small, and never an error."""

import base64
import io
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from contracts.media_samples import RATE, picture, pixels, recording, wave
from heliostat.core import seeds
from heliostat.report.media import SIDE, shown
from heliostat.report.sections.errors import Errors
from heliostat.tasks.image_classification import ImageClassification

RNG = seeds.rng(1, "test", "media")


def inside(html):
    """(kind, bytes) of what a data URI holds."""
    kind, data = re.search(r'src="data:([a-z/]+);base64,([^"]+)"', html).groups()
    return kind, base64.b64decode(data)


def test_a_large_picture_is_made_small_and_a_tiny_one_is_enlarged_by_the_browser():
    html = shown(picture(pixels(RNG, 800, 400), "JPEG"), "test row 3", "image")
    kind, data = inside(html)
    assert kind == "image/png"
    assert Image.open(io.BytesIO(data)).size == (SIDE, SIDE // 2)
    assert f'alt="test row 3" width="{SIDE}" height="{SIDE // 2}"' in html
    tiny = shown(picture(pixels(RNG, 28, 28)), "x", "image")
    assert Image.open(io.BytesIO(inside(tiny)[1])).size == (28, 28)
    assert 'class="pixels"' in tiny
    assert 'width="56" height="56"' in tiny


def test_of_a_recording_a_few_seconds_are_heard():
    import soundfile

    html = shown(recording(wave(RNG, 9.0)), "test row 3", "audio")
    kind, data = inside(html)
    assert kind in ("audio/mpeg", "audio/flac")
    heard, rate = soundfile.read(io.BytesIO(data))
    assert (len(heard) / rate, rate) == (pytest.approx(5.0, abs=0.2), RATE)
    assert 'aria-label="test row 3"' in html
    assert len(html) < 150_000


def test_what_cannot_be_shown_is_told():
    assert shown(b"\x89PNG and then nothing", "test row 3", "image") == '<p class="text">test row 3, 21 B</p>'
    assert shown(b"nothing to hear", "test row 3", "audio") == '<p class="text">test row 3, 15 B</p>'
    assert shown(None, "test row 3", "image") == '<p class="text">test row 3</p>'
    assert shown("a <b> text", "test row 3", "text") == '<p class="text" dir="auto">a &lt;b&gt; text</p>'


def test_errors_of_an_image_run_show_the_pictures_of_their_rows(sample, tmp_path):
    evidence = sample.full(tmp_path)
    file = evidence.corpus.split("test")[0]
    table = pq.read_table(file)
    shades = [np.full((20, 20, 3), i % 256, np.uint8) for i in range(table.num_rows)]
    images = pa.array([picture(shade) for shade in shades], pa.large_binary())
    pq.write_table(table.drop_columns(["text"]).append_column("image", images), file, row_group_size=7)
    object.__setattr__(evidence, "task", ImageClassification())
    html = Errors().render(evidence)
    rows = [int(row) for row in re.findall(r'alt="test row (\d+)"', html)]
    assert rows
    assert all(not evidence.right[evidence.verdict.ship][row] for row in rows)
    for row, one in zip(rows, html.split("<li><p")[1:], strict=True):
        seen = np.asarray(Image.open(io.BytesIO(inside(one)[1])))
        assert np.unique(seen).tolist() == [row % 256]
