"""What is done to a recording between its file and the model, and what is refused."""

import io

import numpy as np
import pytest
import torch
import transformers as tf

from contracts.media_samples import RATE, hearing, recording, wave
from heliostat.core import seeds
from heliostat.engine import models
from heliostat.engine.streams import processor
from heliostat.tasks import _sound
from heliostat.tasks.audio_classification import AudioClassification
from heliostat.tasks.config import ModelConfig

RNG = seeds.rng(1, "test", "sounds")
TASK = AudioClassification(seconds=2)


def reason(data, task=TASK):
    return task.row({"audio": data, "label": "x"})


def pitch(samples, rate):
    """The loudest frequency, in hertz."""
    return np.abs(np.fft.rfft(samples * np.hanning(len(samples)))).argmax() * rate / len(samples)


FORMS = [(8000, 1, "WAV"), (44_100, 2, "FLAC"), (48_000, 6, "WAV"), (22_050, 1, "OGG"), (11_025, 1, "MP3")]


@pytest.mark.parametrize(("rate", "channels", "form"), FORMS)
def test_a_recording_becomes_one_channel_at_the_models_rate(rate, channels, form):
    samples = wave(RNG, 1.5, rate, tone=700.0)
    clip = _sound.clip(recording(np.repeat(samples[:, None], channels, 1), rate, form), RATE, 5.0)
    assert clip.dtype == np.int16
    assert len(clip) == pytest.approx(1.5 * RATE, rel=0.08)  # MP3 fills up its frames
    assert pitch(clip[2000:-2000], RATE) == pytest.approx(700, abs=2)


def test_sixteen_bit_samples_at_the_models_rate_stay_as_they_are():
    samples = RNG.integers(-32767, 32768, 9000).astype(np.int16)
    kept = _sound.clip(recording(samples), RATE, 5.0)
    assert np.abs(kept.astype(int) - samples).max() <= 1  # files count to 32768, models to 32767


@pytest.mark.parametrize(("length", "kept"), [(3.0, 2.0), (1.0, 1.0), (0.12, 0.25)])
def test_a_clip_is_cut_at_the_end_and_filled_up_when_it_is_very_short(length, kept):
    samples = wave(RNG, length)
    clip = _sound.clip(recording(samples), RATE, 2.0)
    assert len(clip) == kept * RATE
    heard = min(len(samples), len(clip))
    assert np.abs(clip[:heard] / _sound.FULL - samples[:heard]).max() < 1e-3
    assert not clip[heard:].any()


def test_the_rest_of_a_long_recording_is_not_decoded(monkeypatch):
    import soundfile

    data, read = recording(wave(RNG, 30.0)), []
    before = soundfile.SoundFile.read
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda self, frames, **how: (read.append(frames), before(self, frames, **how))[1])
    _sound.clip(data, RATE, 2.0)
    assert sum(read) < 2.2 * RATE


def test_what_cannot_be_used_has_a_reason_word(monkeypatch):
    whole = recording(wave(RNG, 1.0), form="FLAC")
    assert isinstance(reason(whole), dict)
    assert reason(b"nothing that could be heard") == "not_audio"
    assert reason(whole[: len(whole) // 2]) == "broken_audio"
    assert reason(recording(np.zeros(0, np.int16))) == "empty_audio"
    assert reason(recording(np.zeros(9000, np.int16))) == "silent_audio"
    assert reason(recording(wave(RNG, 0.05))) == "too_short"
    monkeypatch.setattr(_sound, "BLOCK", 1000)
    _sound.listened_to.cache_clear()
    assert reason(whole[: 3 * len(whole) // 4]) == "broken_audio", "also in a later block"
    assert isinstance(reason(whole), dict)


def test_a_whisper_with_a_short_window_keeps_its_weights(tmp_path):
    folder = hearing(tmp_path / "whisper")
    whole = tf.WhisperModel.from_pretrained(folder).encoder
    module, _ = TASK.model(folder, None, None)
    assert isinstance(module, type(whole)), "the decoder is left out"
    assert module.config.max_source_positions == 100
    assert torch.equal(module.embed_positions.weight, whole.embed_positions.weight[:100])
    assert models.count(module) == models.count(whole) - 1400 * 16
    extractor = TASK.processor(folder)
    values = _sound.features([_sound.clip(recording(wave(RNG, 1.0)), RATE, 2.0)], extractor, 2.0)
    assert values["input_features"].shape == (1, 80, 200)
    assert values["frames"].tolist() == [100]


def test_an_ast_with_a_short_window_answers_as_the_whole_one_without_its_later_patches(tmp_path):
    folder = hearing(tmp_path / "ast", "ast")
    torch.manual_seed(5)
    model = tf.ASTModel.from_pretrained(folder)
    torch.nn.init.normal_(model.embeddings.position_embeddings)
    model.save_pretrained(folder)
    module, _ = TASK.model(folder, None, None)
    rows, columns = module.embeddings.get_shape(module.config)
    assert (rows, columns, module.config.max_length) == (12, 19, 200)
    values = torch.randn(1, 200, 128)
    with torch.no_grad():
        short = module.embeddings(values)
        whole = model.embeddings(torch.nn.functional.pad(values, (0, 0, 0, 824)))
    kept = whole[:, 2:].view(1, 12, 101, -1)[:, :, :19].reshape(1, 12 * 19, -1)
    assert torch.allclose(short, torch.cat([whole[:, :2], kept], 1), atol=1e-5)


@pytest.mark.parametrize("seconds", [0.3, 2.4, 30.0, 60.0])
def test_windows_are_never_made_longer_and_whispers_are_whole_seconds(tmp_path, seconds):
    task = AudioClassification(seconds=seconds)
    whisper = task.processor(hearing(tmp_path / "whisper"))
    window = min(30, int(np.ceil(seconds)))
    assert (whisper.chunk_length, whisper.n_samples, whisper.nb_max_frames) == (window, window * RATE, window * 100)
    module, _ = task.model(str(tmp_path / "whisper"), ["a", "b"], None)
    assert module.config.max_source_positions == window * 50
    assert task.processor(hearing(tmp_path / "ast", "ast")).max_length == min(1024, round(100 * seconds))


def test_a_window_the_model_does_not_have_is_refused(tmp_path):
    whisper, ast, waves = (ModelConfig(path=hearing(tmp_path / kind, kind)) for kind in ("whisper", "ast", "waves"))
    long = AudioClassification(seconds=31)
    assert "hears at most 30 s. Allowed: 0.25 to 30." in long.problems(whisper)[0]
    assert "hears at most 10.24 s" in long.problems(ast)[0]
    assert long.problems(waves) == TASK.problems(whisper) == TASK.problems(ast) == []


def test_each_length_of_window_has_its_own_extractor(tmp_path):
    folder = hearing(tmp_path / "whisper")
    lengths = [processor(AudioClassification(seconds=seconds), folder).chunk_length for seconds in (2, 3, 2)]
    assert lengths == [2, 3, 2]


def test_a_model_without_a_mask_hears_every_clip_at_full_length(tmp_path):
    files = [recording(wave(RNG, seconds)) for seconds in (0.5, 1.0)]
    for kind, shape in (("waves", (2, 2 * RATE)), ("masked waves", (2, RATE))):
        folder = hearing(tmp_path / kind, kind)
        extractor = TASK.processor(folder)
        batch = TASK.read(TASK.prepared(files, extractor), extractor)
        assert batch["input_values"].shape == shape
        assert ("attention_mask" in batch) == (kind == "masked waves")


def test_masks_drawn_in_training_follow_the_seed_of_the_step(tmp_path):
    folder = hearing(tmp_path / "waves", "masked waves")
    module, _ = TASK.model(folder, ["a", "b"], None)
    assert module.config.apply_spec_augment
    assert module.config.layerdrop == 0
    module.config.mask_time_prob, module.config.mask_time_min_masks = 0.5, 2
    extractor = TASK.processor(folder)
    batch = TASK.read(TASK.prepared([recording(wave(RNG, 1.5)) for _ in range(3)], extractor), extractor)
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        np.random.seed(len(found))  # whatever else drew from numpy's own generator
        with torch.no_grad():
            found.append(TASK.logits(module.train(), batch))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_freezing_reaches_what_stands_before_the_layers(tmp_path):
    for kind, front in (("whisper", "encoder.conv2.weight"), ("waves", "wav2vec2.feature_projection.projection.weight")):
        module, _ = TASK.model(hearing(tmp_path / kind, kind), ["a", "b"], None)
        models.freeze(module, 1)
        trained = {name for name, p in module.named_parameters() if p.requires_grad}
        assert front not in trained
        assert "projector.weight" in trained
        assert any(".layers.1." in name for name in trained)
        assert not any(".layers.0." in name for name in trained)


def test_an_embedding_leaves_out_the_silence_a_window_is_filled_up_with(tmp_path):
    folder = hearing(tmp_path / "whisper")
    module, _ = TASK.model(folder, None, None)
    extractor = TASK.processor(folder)
    batch = TASK.read(TASK.prepared([recording(wave(RNG, 0.5))], extractor), extractor)
    with torch.no_grad():
        found = TASK.embed(module.eval(), batch)
        hidden = module(batch["input_features"]).last_hidden_state[:, :25]
    assert torch.allclose(found, torch.nn.functional.normalize(hidden.mean(1), dim=-1), atol=1e-6)


def test_the_bytes_may_come_from_any_format_that_is_known(tmp_path):
    import soundfile

    samples = wave(RNG, 0.5)
    for form in ("WAV", "FLAC", "OGG", "AIFF", "MP3"):
        if form in soundfile.available_formats():
            assert isinstance(reason(recording(samples, form=form)), dict), form
    raw = io.BytesIO()
    soundfile.write(raw, samples, RATE, format="WAV", subtype="FLOAT")
    assert isinstance(reason(raw.getvalue()), dict)
