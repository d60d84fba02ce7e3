"""What is done to a picture between its file and the model, and what is refused."""

import io
import json

import numpy as np
import pytest
import torch
import transformers as tf
from PIL import Image

from contracts.media_samples import SIDE, SMALL, picture, pixels, seeing
from heliostat.core import seeds
from heliostat.core.errors import UserError
from heliostat.engine import models
from heliostat.tasks import _pixels
from heliostat.tasks.config import ModelConfig
from heliostat.tasks.image_classification import ImageClassification, unfit

RNG = seeds.rng(1, "test", "images")
TASK = ImageClassification()


def reason(data, task=TASK):
    return task.row({"image": data, "label": "x"})


def jpeg_turned(array, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = io.BytesIO()
    Image.fromarray(array).save(out, "PNG", exif=exif)
    return out.getvalue()


def test_a_picture_is_opened_upright():
    array = pixels(RNG, width=40, height=20)
    turned = _pixels.opened(jpeg_turned(array, 6))  # to be turned by a quarter, clockwise
    assert turned.size == (20, 40)
    assert np.array_equal(np.asarray(turned), np.rot90(array, -1))


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "LA", "RGBA", "YCbCr"])
def test_every_mode_becomes_rgb_or_grey(mode):
    form = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"
    data = picture(pixels(RNG), form, mode)
    assert (_pixels.opened(data).mode, _pixels.opened(data, grey=True).mode) == ("RGB", "L")
    assert isinstance(reason(data), dict)


def test_sixteen_bit_greys_keep_their_upper_half():
    deep = RNG.integers(0, 65536, (30, 30)).astype(np.uint16)
    out = io.BytesIO()
    Image.fromarray(deep).save(out, "PNG")
    assert np.array_equal(np.asarray(_pixels.opened(out.getvalue(), grey=True)), deep >> 8)


def test_numbers_without_a_range_are_no_picture():
    out = io.BytesIO()
    Image.fromarray(RNG.normal(size=(30, 30)).astype(np.float32)).save(out, "TIFF")
    assert reason(out.getvalue()) == "unknown_pixel_range"


def test_what_cannot_be_used_has_a_reason_word(monkeypatch):
    whole = picture(pixels(RNG, 60, 60))
    assert reason(whole[:500]) == "broken_image"
    assert reason(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n") == "not_an_image", "nothing here starts Ghostscript"
    assert reason(picture(pixels(RNG, 7, 60))) == "too_small"
    assert isinstance(reason(picture(pixels(RNG, 7, 60)), ImageClassification(min_side=7)), dict)
    monkeypatch.setattr(_pixels, "MOST_PIXELS", 60 * 60)
    assert reason(picture(pixels(RNG, 60, 61))) == "too_many_pixels"
    assert isinstance(reason(whole), dict)


def test_metadata_makes_no_other_picture_and_a_turn_does():
    array = pixels(RNG)
    contents = [TASK.content({"image": data}) for data in (picture(array), jpeg_turned(array, 1), jpeg_turned(array, 3))]
    assert contents[0] == contents[1] != contents[2]


PROCESSORS = {
    "ViT": tf.ViTImageProcessorPil(size={"height": SIDE, "width": SIDE}),
    "DeiT": tf.DeiTImageProcessorPil(size={"height": 40, "width": 40}, crop_size={"height": SIDE, "width": SIDE}),
    "DINOv2": tf.BitImageProcessorPil(size={"shortest_edge": 40}, crop_size={"height": SIDE, "width": SIDE}),
    "ConvNeXT": tf.ConvNextImageProcessorPil(size={"shortest_edge": SIDE}),
    "EfficientNet": tf.EfficientNetImageProcessorPil(size={"height": SIDE, "width": SIDE}),
    "EfficientNet, offset": tf.EfficientNetImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, rescale_offset=True, rescale_factor=1 / 127.5
    ),
    "MobileViT, channels turned": tf.MobileViTImageProcessorPil(size={"shortest_edge": 40}, crop_size={"height": SIDE, "width": SIDE}),
    "no scale": tf.ViTImageProcessorPil(size={"height": SIDE, "width": SIDE}, do_normalize=False, do_rescale=False),
}


@pytest.mark.parametrize("name", list(PROCESSORS))
def test_pixels_kept_once_are_what_the_models_own_processor_makes(name):
    processor = PROCESSORS[name]
    files = [picture(pixels(RNG, *size)) for size in ((50, 40), (33, 70), (SIDE, SIDE))]
    kept = TASK.prepared(files, processor)
    assert {len(each) for each in kept["pixels"]} == {3 * SIDE * SIDE}
    plain = processor(images=[_pixels.opened(data) for data in files], return_tensors="pt")["pixel_values"]
    # the constants are found from averages in float32, so they are right to a millionth of the range
    assert torch.allclose(TASK.read(kept, processor)["pixel_values"], plain.float(), atol=1e-6 * float(plain.abs().max()) + 1e-6)


class Sharpened(tf.ViTImageProcessorPil):
    """Does more than scale: what a pixel becomes depends on the picture."""

    def normalize(self, image, mean, std, **options):
        return image - image.mean()


def test_a_processor_that_does_more_than_scale_is_asked_for_every_batch():
    processor = Sharpened(size={"height": SIDE, "width": SIDE})
    files = [picture(pixels(RNG, *size)) for size in ((50, 40), (33, 70))]
    kept = TASK.prepared(files, processor)
    assert kept == {"image": files}
    assert TASK.read(kept, processor)["pixel_values"].mean((1, 2, 3)).abs().max() < 1e-5


@pytest.mark.parametrize("keep", ["pixels", "files"])
def test_a_processor_that_gives_pictures_of_different_sizes_is_refused(keep):
    processor = tf.BitImageProcessorPil(size={"shortest_edge": SIDE}, do_center_crop=False)
    with pytest.raises(UserError, match=r"different sizes .* Set a fixed size .* preprocessor_config\.json"):
        ImageClassification(keep=keep).prepared([picture(pixels(RNG))], processor)


def test_the_first_layers_of_an_image_encoder_can_be_taken_and_frozen(tmp_path):
    for kind in ("vit", "clip"):
        module, _ = TASK.model(seeing(tmp_path / kind, kind), ["a", "b"], 1)
        assert len(models.encoder_layers(module)[2]) == 1
        models.freeze(module, 1)
        trained = {name for name, p in module.named_parameters() if p.requires_grad}
        assert trained >= {"classifier.weight", "classifier.bias"}
        assert not any("embeddings" in name or ".0." in name for name in trained)
        models.keep_spread(module, 1)
        module.save_pretrained(tmp_path / "again")
        assert not TASK.reopen(tmp_path / "again")[1]["missing_keys"]


def test_a_resnet_has_no_list_of_layers_and_says_so(tmp_path):
    folder = seeing(tmp_path / "resnet", "resnet")
    module, _ = TASK.model(folder, ["a", "b"], None)
    with pytest.raises(UserError, match="no list of encoder layers was found in ResNetForImageClassification"):
        models.freeze(module, 1)
    with pytest.raises(ValueError, match=r"model\.layers: a resnet has no list of equal encoder layers"):
        TASK.model(folder, ["a", "b"], 1)
    told = ModelConfig(path=folder)
    assert told.depth() is None
    assert told.shapeless() == f"'{folder}' (resnet) has no list of equal encoder layers."
    assert ModelConfig(path=folder, layers=1).problems() == [f"model.layers: {told.shapeless()} Leave it out."]


def test_batch_statistics_are_those_of_the_pretrained_model_also_in_training(tmp_path):
    folder = seeing(tmp_path / "resnet", "resnet")
    module, _ = TASK.model(folder, ["a", "b"], None)
    before = {name: value.clone() for name, value in module.named_buffers()}
    processor = TASK.processor(folder)
    rows = TASK.prepared([picture(pixels(RNG, 40, 40)) for _ in range(4)], processor) | {"labels": [0, 1, 0, 1]}
    batch = TASK.collate(rows, processor)
    module.train()
    together = TASK.logits(module, batch)
    apart = torch.cat([TASK.logits(module, {"pixel_values": batch["pixel_values"][i : i + 2]}) for i in (0, 2)])
    assert torch.allclose(together, apart, atol=1e-5), "an update does not depend on how a batch is cut"
    assert all(torch.equal(value, before[name]) for name, value in module.named_buffers())


def test_a_model_and_a_processor_that_do_not_fit_are_told(tmp_path):
    folder = seeing(tmp_path / "vit")
    assert TASK.problems(ModelConfig(path=folder)) == []
    facts = json.loads((tmp_path / "vit" / "preprocessor_config.json").read_text())
    (tmp_path / "vit" / "preprocessor_config.json").write_text(json.dumps(facts | {"size": {"height": 48, "width": 48}}))
    (told,) = TASK.problems(ModelConfig(path=folder))
    assert "makes pictures of 48 pixels, and the model reads 32" in told
    assert "for 3 channels, and the model reads 1" in unfit("x", {"num_channels": 1}, {"image_mean": [0.1, 0.2, 0.3]})[0]
    assert unfit("x", {"model_type": "swin", "image_size": 224}, {"size": {"height": 48, "width": 48}}) == [], "a Swin reads any size"


def test_a_missing_package_is_told_before_anything_starts(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert TASK.problems(ModelConfig(path=str(tmp_path))) == [
        "task: image_classification needs the package PIL, which is not installed. Install it with: pip install 'heliostat[image]'"
    ]


def test_an_embedding_is_the_class_token_and_the_mean_of_all(tmp_path):
    module, _ = TASK.model(seeing(tmp_path / "vit"), None, None)
    values = torch.randn(3, 3, SIDE, SIDE)
    with torch.no_grad():
        found = TASK.embed(module.eval(), {"pixel_values": values})
        hidden = module(pixel_values=values).last_hidden_state
    width = SMALL["hidden_size"]
    for part, expected in ((found[:, :width], hidden.mean(1)), (found[:, width:], hidden[:, 0])):
        assert torch.allclose(part * 2**0.5, torch.nn.functional.normalize(expected, dim=-1), atol=1e-6)
