"""CLAP, which transformers has no classifier for: ours has its weights and its embedding, and its export opens without us."""

import subprocess
import sys

import numpy as np
import pytest
import torch
import transformers as tf

from contracts.media_samples import hearing, recording, wave
from heliostat.core import seeds
from heliostat.core.errors import UserError
from heliostat.engine import models
from heliostat.engine.models import open_model
from heliostat.engine.orders import ModelSource
from heliostat.tasks.audio_classification import AudioClassification
from heliostat.tasks.config import ModelConfig

RNG = seeds.rng(4, "test", "clap")
TASK = AudioClassification(seconds=2)
OPEN = """
import sys, numpy as np, torch
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification
model, info = AutoModelForAudioClassification.from_pretrained(sys.argv[1], trust_remote_code=True, output_loading_info=True)
assert not info["missing_keys"] and not info["unexpected_keys"], info
heard = AutoFeatureExtractor.from_pretrained(sys.argv[1])(np.load(sys.argv[2]), sampling_rate=8000, return_tensors="pt")
with torch.no_grad():
    np.save(sys.argv[3], model.eval()(heard["input_features"].float()).logits.numpy())
assert "heliostat" not in sys.modules
"""


@pytest.fixture(scope="module", params=["clap", "fused clap"])
def folder(request, tmp_path_factory):
    return hearing(tmp_path_factory.mktemp("models") / "model", request.param)


def batch(folder, files):
    extractor = TASK.processor(folder)
    return TASK.read(TASK.prepared(files, extractor), extractor)


def test_its_embedding_is_the_one_clap_shares_with_texts(folder):
    clip = wave(RNG, 1.2, rate=8000)
    clap = tf.ClapModel.from_pretrained(folder).eval()
    heard = tf.AutoFeatureExtractor.from_pretrained(folder)(clip, sampling_rate=8000, return_tensors="pt")
    module, missing = TASK.model(folder, None, None)
    with torch.no_grad():
        theirs = clap.get_audio_features(heard["input_features"].float(), torch.tensor([[False]])).pooler_output
        ours = TASK.embed(module.train(), batch(folder, [recording(clip, rate=8000)]))
    assert missing == []
    assert torch.allclose(ours, theirs, atol=1e-3), "features are kept as float16"
    assert torch.allclose(ours.norm(dim=-1), torch.ones(1))


def test_only_the_classifier_is_new_and_the_text_tower_is_left_out(folder):
    module, missing = TASK.model(folder, ["low", "high", "other"], None)
    assert sorted(missing) == ["classifier.bias", "classifier.weight"]
    assert not [name for name, _ in module.named_parameters() if name.startswith(("text_", "logit_scale"))]
    assert module(batch(folder, [recording(wave(RNG))] * 2)["input_features"], labels=torch.tensor([0, 2])).loss > 0
    assert module.config.id2label == {0: "low", 1: "high", 2: "other"}


def test_an_export_opens_in_plain_transformers_and_answers_the_same(folder, tmp_path):
    source, labels = ModelSource(folder=folder), ("low", "high")
    base, _ = open_model(source, labels, TASK)
    module, _ = open_model(source, labels, TASK)
    models.draw_missing(module, ["classifier.weight", "classifier.bias"], seed=3)
    clip = wave(RNG, 1.5, rate=8000)
    probe = batch(folder, [recording(clip, rate=8000, subtype="FLOAT")])
    before = models.raw_logits(TASK, module.eval(), probe)
    out = tmp_path / "model"
    told = {"base": base, "source": source, "processor": TASK.processor(folder), "task": TASK}
    models.export(module, out, **told, probe=(probe, before))
    np.save(tmp_path / "clip.npy", clip)
    asked = [sys.executable, "-c", OPEN, str(out), str(tmp_path / "clip.npy"), str(tmp_path / "logits.npy")]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert np.load(tmp_path / "logits.npy") == pytest.approx(before, abs=1e-3)
    again, missing = open_model(ModelSource(folder=str(out)), labels, TASK)
    assert missing == []
    assert models.raw_logits(TASK, again.eval(), probe) == pytest.approx(before, abs=1e-6)


def test_what_it_does_not_have_is_refused(folder):
    long = AudioClassification(seconds=12)
    assert "hears at most 10 s. Allowed: 0.25 to 10." in long.problems(ModelConfig(path=folder))[0]
    assert TASK.problems(ModelConfig(path=folder)) == []
    with pytest.raises(UserError, match="a CLAP has no list of equal encoder layers"):
        open_model(ModelSource(folder=folder, layers=1), ("low", "high"), TASK)
    with pytest.raises(UserError, match=r"no list of .* encoder layers"):
        models.freeze(TASK.model(folder, ["low", "high"], None)[0], 1)
