"""Any number of labels per text."""

import numpy as np
import pytest
import torch

from heliostat.tasks.multilabel_classification import MultilabelClassification

TASK = MultilabelClassification()
LABELS = ["art", "money", "sport"]


def cleaned(labels, **options):
    return MultilabelClassification(**options).row({"text": "a", "labels": labels})


@pytest.mark.parametrize(
    ("given", "labels"),
    [
        (["sport", "art", "sport"], ["art", "sport"]),
        ("sport|art| |", ["art", "sport"]),
        ([3, 2.0, True], ["2", "3", "true"]),
        ([], []),
        ("", []),
        ("a, b", ["a, b"]),
    ],
)
def test_labels_are_names_each_once_in_order(given, labels):
    assert cleaned(given) == {"text": "a", "labels": labels, "label": ""}


def test_the_separator_is_an_option():
    assert cleaned("b, a", separator=",")["labels"] == ["a", "b"]


@pytest.mark.parametrize(("given", "reason"), [(None, "missing_labels"), (3, "labels_not_names"), ([["a"]], "labels_not_names")])
def test_what_is_no_list_of_names_has_a_reason(given, reason):
    assert cleaned(given) == reason


def test_the_order_of_labels_makes_no_other_answer():
    assert TASK.answer(cleaned("b|a")) == TASK.answer(cleaned(["a", "b", "a"])) != TASK.answer(cleaned("a"))


def test_targets_are_ones_in_their_places_and_unknown_names_are_left_out():
    columns = {"text": ["x", "y", "z"], "labels": [["sport", "art"], [], ["chess", "money"]]}
    targets_NC = TASK.stacked(TASK.targets(columns, LABELS))
    assert targets_NC.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    assert targets_NC.dtype == np.int8
    assert TASK.stacked(TASK.targets({"text": ["x", "y"]}, LABELS)).tolist() == [[0, 0, 0]] * 2  # rows to predict have no target


def test_a_batch_has_float_targets():
    class Padding:
        pad_token_id = 0

    batch = TASK.collate({"input_ids": [[2, 3], [2]], "labels": [[1, 0], [0, 1]]}, Padding())
    assert batch["labels"].dtype == torch.float32
    assert batch["labels"].tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_the_head_says_that_labels_exclude_each_other_not():
    from transformers import BertConfig

    config = BertConfig()
    TASK.describe(config, LABELS)
    assert (config.num_labels, config.problem_type, config.id2label[2]) == (3, "multi_label_classification", "sport")
