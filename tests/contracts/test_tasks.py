"""What every task promises, found by itself in the family."""

import pytest
import torch

from heliostat.commands.tiny import write_model
from heliostat.core import family

LABELS = ["art", "money", "sport"]
TEXTS = ["water boat bank", "an old oven", "x", "seed soil rose shovel leaf root hedge bloom weed lawn " * 5]


class Words:
    """A tokenizer: one id per word, from its length."""

    pad_token_id = 0

    def __call__(self, texts, *, truncation, max_length, padding, **options):
        ids = [[2, *(5 + len(word) for word in text.split()), 3] for text in texts]
        return {"input_ids": [row[:max_length] if truncation else row for row in ids]}


class Nines(Words):
    pad_token_id = 9


KINDS = {name: family.find("tasks", name) for name in family.names("tasks")}


@pytest.fixture(params=[name for name, kind in KINDS.items() if kind.answers_are == "labels" and kind.reads == "text"])
def task(request):
    return family.build("tasks", {"use": request.param, "max_tokens": 16})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks") / "model"
    write_model(folder)
    return str(folder)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Tiny models are fastest on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def rows(task, labels=("sport", "art", "chess", "money")):
    text, target = task.columns()
    return task.tokenise({text: TEXTS, target: list(labels)}, Words(), LABELS)


def test_its_metrics_are_members_of_metrics(task):
    assert {task.metric, *task.also} <= set(family.names("metrics"))


def test_each_column_says_what_it_holds(task):
    assert all(name.isidentifier() and words.strip() for name, words in task.columns().items())


def test_every_input_has_one_entry_per_row_and_a_limit(task):
    encoded = rows(task)
    assert {len(values) for values in encoded.values()} == {len(TEXTS)}
    assert max(map(len, encoded["input_ids"])) == 16


def test_labels_are_places_and_an_unknown_one_is_left_out_of_the_loss(task):
    assert rows(task)["labels"] == [2, 0, -100, 1]
    text, _ = task.columns()
    assert task.tokenise({text: TEXTS}, Words(), LABELS)["labels"] == [-100] * 4  # rows to predict have no target


def test_a_batch_is_padded_to_its_longest_row(task):
    encoded = {name: values[:3] for name, values in rows(task).items()}
    batch = task.collate(encoded, Nines())
    longest = max(map(len, encoded["input_ids"]))
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (3, longest)
    for i, ids in enumerate(encoded["input_ids"]):
        assert batch["input_ids"][i].tolist() == ids + [9] * (longest - len(ids))
        assert batch["attention_mask"][i].tolist() == [1] * len(ids) + [0] * (longest - len(ids))
    assert batch["labels"].tolist() == [2, 0, -100]


def test_logits_are_one_per_label_and_do_not_see_the_padding(task, folder):
    module, _ = task.model(folder, LABELS, None)
    module.eval()
    encoded = rows(task)
    with torch.no_grad():
        together = task.logits(module, task.collate(encoded, Words()))
        alone = torch.cat([task.logits(module, task.collate({k: v[i : i + 1] for k, v in encoded.items()}, Words())) for i in range(4)])
    assert together.shape == (4, len(LABELS))
    assert torch.allclose(together, alone, atol=1e-5)  # float32 additions over another length


@pytest.mark.parametrize("labels", [None, LABELS], ids=["base", "tuned"])
def test_embeddings_are_unit_vectors_that_do_not_see_the_padding(task, folder, labels):
    module, _ = task.model(folder, labels, None)
    module.eval()
    encoded = rows(task)
    with torch.no_grad():
        together = task.embed(module, task.collate(encoded, Words()))
        alone = torch.cat([task.embed(module, task.collate({k: v[i : i + 1] for k, v in encoded.items()}, Words())) for i in range(4)])
    assert together.shape == (4, module.config.hidden_size)
    assert together.norm(dim=-1).tolist() == pytest.approx([1.0] * 4, abs=1e-5)  # float32
    assert torch.allclose(together, alone, atol=1e-5)
    assert not torch.allclose(together[0], together[1], atol=1e-3)


def test_a_base_model_names_what_it_lacks_and_a_bare_one_lacks_nothing(task, folder):
    module, missing = task.model(folder, LABELS, None)
    assert missing
    assert set(missing) <= dict(module.named_parameters()).keys()
    assert task.model(folder, None, None)[1] == []
    assert [module.config.id2label[i] for i in range(3)] == LABELS


@pytest.mark.parametrize(("layers", "depth"), [(None, 2), (1, 1), (9, 2)])
def test_the_first_so_many_layers_are_taken(task, folder, layers, depth):
    for labels in (None, LABELS):
        module, _ = task.model(folder, labels, layers)
        encoder = getattr(module, module.base_model_prefix, module)
        assert len(encoder.encoder.layer) == module.config.num_hidden_layers == depth
