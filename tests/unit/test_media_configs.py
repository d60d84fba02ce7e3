"""Whole configs for pictures and recordings: what fits together, what is refused, and the examples that ship."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.media_samples import COLOURS, TONES, hearing, picture, pixels, recording, seeing, wave
from heliostat.commands import plan
from heliostat.commands.estimates import rows_of
from heliostat.config import read_config
from heliostat.core import seeds
from heliostat.core.errors import UserError
from heliostat.core.layout import Layout

EXAMPLES = Path(__file__).parents[2] / "configs" / "examples"
FASHION = Path("/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz")
EACH = 8


def project(folder: Path, kind: str) -> Path:
    """A model, a folder per class and a config."""
    rng = seeds.rng(1, "test", "project")
    is_image = kind in ("vit", "resnet")
    (seeing if is_image else hearing)(folder / "model", kind)
    for label, what in (COLOURS if is_image else TONES).items():
        (folder / "data" / label).mkdir(parents=True)
        for i in range(EACH):
            data = picture(pixels(rng, tone=what)) if is_image else recording(wave(rng, 0.5, tone=what))
            (folder / "data" / label / f"{i}.{'png' if is_image else 'wav'}").write_bytes(data)
    config: dict[str, Any] = {
        "name": "media",
        "task": {"use": "image_classification"} if is_image else {"use": "audio_classification", "seconds": 1},
        "model": {"path": str(folder / "model")},
        "corpus": {"sources": [{"use": "image_folders" if is_image else "audio_folders", "paths": [str(folder / "data")]}]},
        "train": {"batch": 8},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder / "config.yaml"


def problems(path: Path, *assignments: str) -> list[str]:
    with pytest.raises(UserError) as caught:
        read_config(path, assignments)
    return [problem.removeprefix(f"{path}: ") for problem in caught.value.problems]


@pytest.mark.parametrize("kind", ["vit", "resnet", "whisper", "masked waves"])
def test_a_config_is_read_and_planned(tmp_path, kind):
    run = read_config(project(tmp_path, kind), [])
    rows = rows_of(run, None)
    assert rows.read == 3 * EACH
    costs = plan.Costs(run, Layout(local_cpus=2), rows, None)
    assert costs.work("train").endswith("steps of 8 rows")
    assert "parameters" in costs.memory()


def test_suites_of_texts_are_refused_for_pictures_and_sounds(tmp_path):
    for kind, reads in (("vit", "image"), ("whisper", "audio")):
        path = project(tmp_path / kind, kind)
        assert problems(path, "evaluate.general={docs: {use: retrieval}}") == [
            f"evaluate.general.docs: 'retrieval' measures text, and a row of {reads}_classification holds {reads}. Allowed: probe."
        ]
        source = f"{{use: {reads}_folders, paths: {tmp_path / kind / 'data'}}}"
        run = read_config(path, [f"evaluate.general={{colours: {{use: probe, source: {source}}}}}"])
        assert "24 rows with 3 classes" in run.evaluate.general["colours"].describe()


def test_what_needs_a_list_of_layers_is_refused_for_a_resnet(tmp_path):
    path = project(tmp_path, "resnet")
    no_list = f"'{tmp_path / 'model'}' (resnet) has no list of equal encoder layers."
    assert problems(path, "train.freeze=1") == [f"train.freeze: {no_list} Use 0, or patterns of parameters' names."]
    assert problems(path, "model.layers=1") == [f"model.layers: {no_list} Leave it out."]
    (told,) = problems(path, "distil={layers: 1}")
    assert told.startswith(f"distil.layers: {no_list}")
    read_config(path, ["train.freeze=['*embedder*']"])


def test_depth_and_limits_of_encoders_that_hear(tmp_path):
    path = project(tmp_path, "whisper")
    assert problems(path, "train.freeze=3") == ["train.freeze: 3 layers asked for, and the model has 2. Allowed: 0 to 2."]
    assert "hears at most 30 s" in problems(path, "task.seconds=40")[0]
    (tmp_path / "model" / "preprocessor_config.json").unlink()
    assert "holds no feature extractor" in problems(path)[0]


@pytest.mark.skipif(not FASHION.exists(), reason="the Debian package dataset-fashion-mnist is not installed")
def test_the_example_of_pictures_is_read(tmp_path):
    model = seeing(tmp_path / "model", "grey")
    run = read_config(EXAMPLES / "images.yaml", [f"model.path={model}"])
    assert rows_of(run, None).splits["train"] == 8000


@pytest.mark.parametrize(("name", "use", "kind"), [("images", "image_folders", "vit"), ("audio", "audio_folders", "whisper")])
def test_the_examples_fit_to_other_data_of_their_kind(tmp_path, name, use, kind):
    project(tmp_path, kind)
    source = f"corpus.sources=[{{use: {use}, paths: [{tmp_path / 'data'}]}}]"
    run = read_config(EXAMPLES / f"{name}.yaml", [source, f"model.path={tmp_path / 'model'}"])
    assert rows_of(run, None).read == 3 * EACH
    assert run.report.gates[0].metric == "accuracy"
