"""What every task that reads files of bytes promises, found by itself in the family; each with several kinds of models."""

import numpy as np
import pytest
import torch

from contracts.media_samples import RATE, hearing, picture, pixels, recording, seeing, wave
from heliostat.core import family, seeds
from heliostat.core.values import column_of_bytes
from heliostat.engine.zero import narrow_statistics
from heliostat.tasks._media import VALUES

KINDS = {name: kind for name in family.names("tasks") if (kind := family.find("tasks", name)).reads != "text"}
OPTIONS = {"audio": {"seconds": 2}}
MODELS = {
    "image": ("vit", "grey", "resnet", "clip"),
    "audio": ("whisper", "ast", "waves", "masked waves", "masked spectrograms", "clap", "fused clap"),
}
LABELS = ["art", "money", "sport"]
ROWS = 4


def files(reads):
    """Four files of different lengths, sizes and formats."""
    rng = seeds.rng(1, "test", reads)
    if reads == "image":
        sizes = ((40, 30, "PNG"), (33, 50, "JPEG"), (64, 64, "BMP"), (90, 20, "WEBP"))
        return [picture(pixels(rng, width, height), form) for width, height, form in sizes]
    lengths = ((1.0, RATE, "WAV"), (0.15, 8000, "WAV"), (2.7, 44_100, "FLAC"), (1.6, RATE, "OGG"))
    return [recording(wave(rng, seconds, rate), rate, form) for seconds, rate, form in lengths]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Tiny models are fastest on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=list(KINDS))
def task(request):
    kind = KINDS[request.param]
    return kind(**OPTIONS.get(kind.reads, {}))


@pytest.fixture(scope="module")
def given(task):
    return files(task.reads)


@pytest.fixture(scope="module", params=range(max(map(len, MODELS.values()))))
def folder(request, task, tmp_path_factory):
    kinds = MODELS[task.reads]
    if request.param >= len(kinds):
        pytest.skip("no further model")
    place = tmp_path_factory.mktemp("models") / "model"
    return {"image": seeing, "audio": hearing}[task.reads](place, kinds[request.param])


def rows(task, given, folder, labels=("sport", "art", "chess", "money")):
    encoded = task.tokenise({task.reads: given, "label": list(labels)}, task.processor(folder), LABELS)
    encoded.pop("units")
    return encoded


def batches(task, given, folder):
    """(the batch of all rows, those of each row alone)."""
    encoded, processor = rows(task, given, folder), task.processor(folder)
    alone = [task.collate({name: values[i : i + 1] for name, values in encoded.items()}, processor) for i in range(ROWS)]
    return task.collate(encoded, processor), alone


def test_it_reads_one_column_of_bytes_and_answers_with_labels(task):
    *_, target = task.columns()
    assert column_of_bytes(task.columns()) == task.reads
    assert (target, task.names_from, task.answers_are) == ("label", "label", "labels")
    assert all(words.strip() for words in task.columns().values())
    assert {task.metric, *task.also} <= set(family.names("metrics"))


def test_a_good_row_keeps_its_bytes_and_has_no_text(task, given):
    for data in given:
        assert task.row({task.reads: data, "label": 3.0}) == {task.reads: data, "label": "3", "text": ""}


@pytest.mark.parametrize(
    ("data", "reason"),
    [(None, "missing_{}"), (b"", "missing_{}"), (float("nan"), "missing_{}"), ("file.x", "{}_not_bytes"), (b"<svg></svg>" * 9, "not_")],
)
def test_what_is_no_such_file_has_a_reason_word(task, data, reason):
    assert task.row({task.reads: data, "label": "art"}).startswith(reason.format(task.reads))


def test_a_row_without_a_label_is_none(task, given):
    assert task.row({task.reads: given[0], "label": None}) == "missing_label"


@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_files_that_are_cut_off_are_no_rows_or_still_whole_ones(task, given, share):
    for data in given:
        made = task.row({task.reads: data[: int(share * len(data))], "label": "art"})
        assert isinstance(made, str | dict), "an error here would end the run"


def test_random_damage_never_raises(task, given):
    rng = seeds.rng(2, "test", "damage")
    for data in given:
        for _ in range(20):
            broken = bytearray(data)
            for place in rng.integers(0, len(data), 12):
                broken[place] = int(rng.integers(0, 256))
            made = task.row({task.reads: bytes(broken), "label": "art"})
            assert isinstance(made, str) or task.content(made)


def test_the_content_is_what_a_file_holds_and_not_how(task):
    rng = seeds.rng(3, "test", "content")
    if task.reads == "image":
        array = pixels(rng)
        same, other = (picture(array, "PNG"), picture(array, "BMP"), picture(array, "TIFF")), picture(array[:, ::-1], "PNG")
    else:
        samples = (32767 * wave(rng)).astype(np.int16)
        same, other = (recording(samples), recording(samples, form="FLAC")), recording(samples[::-1])
    contents = [task.content({task.reads: data}) for data in (*same, other)]
    assert len(set(contents[:-1])) == 1
    assert contents[-1] != contents[0]


def test_every_column_of_prepared_rows_has_one_entry_per_row(task, given, folder):
    encoded = task.tokenise({task.reads: given, "label": ["sport", "art", "chess", "money"]}, task.processor(folder), LABELS)
    assert {len(values) for values in encoded.values()} == {ROWS}
    assert encoded["labels"] == [2, 0, -100, 1]
    assert encoded["units"] == [1.0, 1.0, 0.0, 1.0]
    assert task.tokenise({task.reads: given}, task.processor(folder), [])["labels"] == [-100] * ROWS  # rows to predict have no target


@pytest.mark.parametrize("keep", ["files", "samples"])
def test_what_prepared_rows_hold_makes_no_difference(task, given, folder, keep):
    if keep not in str(type(task).model_fields["keep"].annotation):
        pytest.skip("the other task's word")
    other = task.model_copy(update={"keep": keep})
    one, two = (batches(each, given, folder)[0] for each in (task, other))
    assert one.keys() == two.keys()
    for batch in (one, two):
        if batch.get("input_features", torch.empty(0)).shape[:2] == batch.get("attention_mask", torch.empty(1)).shape:
            batch["input_features"] = batch["input_features"] * batch["attention_mask"][..., None]  # the rest is not looked at
    for name, value in one.items():
        # float16 features on the one side, float32 on the other; scaled pixels differ by float32 rounding
        close = {"rtol": 1e-3, "atol": 4e-3} if task.reads == "audio" else {"atol": 1e-5}
        assert torch.allclose(value.float(), two[name].float(), **close), name


@pytest.mark.parametrize("labels", [None, LABELS], ids=["base", "tuned"])
def test_answers_and_embeddings_do_not_depend_on_who_is_in_the_batch(task, given, folder, labels):
    module, missing = task.model(folder, labels, None)
    assert bool(missing) == (labels is not None)
    assert set(missing) <= dict(module.named_parameters()).keys()
    module.eval()
    together, alone = batches(task, given, folder)
    with torch.no_grad():
        vectors = task.embed(module, together)
        assert torch.allclose(vectors, torch.cat([task.embed(module, each) for each in alone]), atol=1e-5)  # float32
        assert vectors.norm(dim=-1).tolist() == pytest.approx([1.0] * ROWS, abs=1e-5)
        assert not torch.allclose(vectors[0], vectors[1], atol=1e-4)
        if labels:
            logits = task.logits(module, together)
            assert logits.shape == (ROWS, len(LABELS))
            assert torch.allclose(logits, torch.cat([task.logits(module, each) for each in alone]), atol=1e-5)
            assert [module.config.id2label[i] for i in range(3)] == LABELS


def test_the_base_model_and_a_tuned_one_embed_alike_before_training(task, given, folder):
    together, _ = batches(task, given, folder)
    found = []
    for labels in (None, LABELS):
        module, _ = task.model(folder, labels, None)
        with torch.no_grad():
            found.append(task.embed(module.eval(), together))
    assert torch.allclose(*found, atol=1e-6)


def test_an_export_is_opened_by_plain_transformers(task, given, folder, tmp_path):
    module, _ = task.model(folder, LABELS, None)
    together, _ = batches(task, given, folder)
    with torch.no_grad():
        before = task.logits(module.eval(), together)
    module.save_pretrained(tmp_path)
    task.processor(folder).save_pretrained(tmp_path)
    again, info = task.reopen(tmp_path)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    with torch.no_grad():
        assert torch.equal(task.logits(again.eval(), together), before)
    after, _ = batches(task, given, str(tmp_path))
    assert all(np.array_equal(value, after[name]) for name, value in together.items()), "the processor that was saved does the same"


def test_a_model_in_16_bits_answers_nearly_as_it_does_in_32(task, given, folder):
    """As DeepSpeed has it: parameters are cast, and of the buffers only those that torch wants alike."""
    module, _ = task.model(folder, LABELS, None)
    together, _ = batches(task, given, folder)
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        for parameter in module.parameters():
            parameter.data = parameter.data.to(dtype)
        narrow_statistics(module)
        with torch.no_grad():
            logits = task.logits(module.eval(), together)
            assert logits.dtype == dtype
            found.append((logits.float(), task.embed(module, together)))
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=0.05)  # three digits, added up over a few layers
    assert all(together[name].dtype == torch.float32 for name in VALUES if name in together), "the batch stays as it is"
