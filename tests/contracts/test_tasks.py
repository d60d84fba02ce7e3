"""What every task promises, found by itself in the family; a task's samples are in a `samples_*.py` beside this file.

What a task alone promises is in tests/unit/tasks.
"""

import importlib.util
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from heliostat.core import family
from heliostat.core.values import arrow_type

MOST = 16


def collected():
    """Task to its samples, from all files of them."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("samples_*.py")):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found |= module.SAMPLES
    return found


CASES = [(name, i, sample) for name, samples in collected().items() for i, sample in enumerate(samples)]


class Case:
    """A task with the clean rows of one sample, as columns."""

    def __init__(self, name, sample, folder):
        limits = {"max_tokens": MOST} if "max_tokens" in family.find("tasks", name).model_fields else {}
        self.task = family.build("tasks", {"use": name, **limits, **sample.options})
        self.sample, self.labels, self.folder = sample, sample.labels, str(folder)
        self.rows = [self.task.row(values) for values in sample.values]
        self.columns = {name: [row[name] for row in self.rows] for name in self.task.columns()}
        self.processor = self.task.processor(self.folder)
        self.encoded = self.tokenised(self.columns, self.labels)

    def tokenised(self, columns, labels):
        """Model inputs, of a row that is split those of its first piece."""
        encoded = self.task.tokenise(columns, self.processor, labels)
        first = [i for i, piece in enumerate(encoded.pop("piece", [0] * len(self.rows))) if piece == 0]
        return {name: [values[i] for i in first] for name, values in encoded.items()}

    def inputs(self, encoded, index=None):
        kept = {name: values for name, values in encoded.items() if name != "units"}
        return {name: [values[i] for i in index] for name, values in kept.items()} if index is not None else kept

    def batch(self, encoded=None, index=None):
        chosen = self.inputs(encoded or self.encoded, index)
        if self.task.is_drawn:
            places = index if index is not None else range(len(next(iter(chosen.values()))))
            chosen = self.task.drawn(chosen, [np.random.default_rng(i) for i in places], self.processor)
        return self.task.collate(chosen, self.processor)

    def model(self, labels):
        module, missing = self.task.model(self.folder, labels, None)
        return module.eval(), missing


@pytest.fixture(scope="module", params=CASES, ids=[f"{name}-{i}" for name, i, _ in CASES])
def case(request, tmp_path_factory):
    name, i, sample = request.param
    folder = tmp_path_factory.mktemp("tasks") / f"{name}-{i}"
    sample.write(folder)
    return Case(name, sample, folder)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Tiny models are fastest on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_every_task_that_reads_text_has_a_sample():
    assert {name for name, *_ in CASES} == {name for name in family.names("tasks") if family.find("tasks", name).reads == "text"}


def test_its_metrics_and_its_objective_can_judge_and_train_it(case):
    metrics = [family.find("metrics", name) for name in (case.task.metric, *case.task.also)]
    assert {metric.judges for metric in metrics} == {case.task.answers_are}
    assert case.task.answers_are in family.find("train.objectives", case.task.objective).takes
    assert case.task.pipeline_tag.replace("-", "").isalnum()


def test_each_column_says_what_it_holds_and_has_a_type(case):
    assert all(name.isidentifier() and words.strip() and arrow_type(name) for name, words in case.task.columns().items())
    assert case.task.stratified_by in {*case.task.columns(), "label"}


def test_a_clean_row_has_its_columns_and_what_the_corpus_reads(case):
    import pyarrow as pa

    fields = {name: arrow_type(name) for name in case.task.columns()} | {"text": pa.string(), "label": pa.string()}
    table = pa.Table.from_pylist(case.rows, schema=pa.schema(list(fields.items())))
    assert table.num_rows == len(case.rows)
    assert all(isinstance(case.task.content(row), str | bytes) and isinstance(case.task.answer(row), str) for row in case.rows)


def test_what_is_missing_has_a_reason_word(case):
    for column in case.task.columns():
        reason = case.task.row({**case.sample.values[0], column: None})
        assert isinstance(reason, str)
        assert reason.isidentifier()


def test_other_inputs_have_other_contents(case):
    assert len({case.task.content(row) for row in case.rows}) == len(case.rows)


def test_every_input_has_one_entry_per_row_or_piece_and_a_limit(case):
    encoded = case.task.tokenise(case.columns, case.processor, case.labels)
    pieces = encoded.get("piece", [0] * len(case.rows))
    assert {len(values) for values in encoded.values()} == {len(pieces)}
    assert pieces.count(0) == len(case.rows)
    assert case.task.splits() or not any(pieces)
    assert all(piece in (0, before + 1) for before, piece in pairwise([-1, *pieces]))
    if "input_ids" in encoded:
        assert max(map(len, encoded["input_ids"])) <= MOST


def test_logits_do_not_see_the_padding(case):
    module, _ = case.model(case.labels)
    with torch.no_grad():
        batch = case.batch()
        together = case.task.answers(case.task.logits(module, batch), batch)
        ones = [case.batch(index=[i]) for i in range(len(case.rows))]
        alone = torch.cat([case.task.answers(case.task.logits(module, one), one) for one in ones])
    assert len(together) == len(case.rows)
    assert together.dtype == torch.float32
    assert torch.allclose(together, alone, atol=1e-4)  # float32 additions over another length


def test_rows_to_predict_need_no_target(case):
    *names, target = case.task.columns()
    inputs = {name: case.columns[name] for name in names or [target]}  # what is learnt from itself has nothing else
    encoded = case.tokenised(inputs, [])
    module, _ = case.model(case.labels)
    with torch.no_grad():
        logits = case.task.logits(module, case.batch(encoded))
    assert len(logits) == len(case.rows)


def test_every_metric_gives_a_number(case):
    module, _ = case.model(case.labels)
    with torch.no_grad():
        batch = case.batch()
        answers = case.task.answers(case.task.logits(module, batch), batch).numpy()
    targets = case.task.stacked(case.task.targets(case.columns, case.labels))
    assert len(targets) == len(answers) == len(case.rows)
    values = [family.build("metrics", name).value(answers, targets) for name in (case.task.metric, *case.task.also)]
    assert np.isfinite(values).all()


def test_its_objective_reaches_every_trained_parameter_of_the_head(case):
    module, missing = case.model(case.labels)
    batch = {**case.batch(), "weight": torch.ones(len(case.rows))}
    units = case.task.units(case.task.logits(module, batch), batch)
    losses = family.build("train.objectives", case.task.objective).per_unit(units)
    assert losses.shape == units["weight"].shape
    expected = sum(case.encoded["units"]) if "units" in case.encoded else len(case.rows)
    assert float(units["weight"].sum()) == pytest.approx(expected), "what an update is divided by"
    losses.sum().backward()
    parameters = dict(module.named_parameters())
    assert all(parameters[name].grad is not None for name in missing)


@pytest.mark.parametrize("tuned", [False, True], ids=["base", "tuned"])
def test_embeddings_are_unit_vectors_that_do_not_see_the_padding(case, tuned):
    module, _ = case.model(case.labels if tuned or case.task.base == "itself" else None)
    with torch.no_grad():
        together = case.task.embed(module, case.batch())
        alone = torch.cat([case.task.embed(module, case.batch(index=[i])) for i in range(len(case.rows))])
    assert together.shape == (len(case.rows), module.config.hidden_size)
    assert together.norm(dim=-1).tolist() == pytest.approx([1.0] * len(case.rows), abs=1e-5)  # float32
    assert torch.allclose(together, alone, atol=1e-5)
    assert not torch.allclose(together[0], together[1], atol=1e-3)


def test_texts_alone_can_be_embedded_for_general_ground(case):
    if case.task.reads != "text":
        pytest.skip("it reads no text")
    module, _ = case.model(case.labels)
    encoded = case.tokenised({"text": [row["text"] for row in case.rows]}, [])
    with torch.no_grad():
        assert len(case.task.embed(module, case.batch(encoded))) == len(case.rows)


def test_a_base_model_names_what_it_lacks_and_a_bare_one_lacks_nothing(case):
    module, missing = case.model(case.labels)
    assert set(missing) <= dict(module.named_parameters()).keys()
    assert bool(missing) == (case.task.base != "itself")
    if case.task.base != "itself":
        assert case.task.model(case.folder, None, None)[1] == []
    if case.labels:
        assert [module.config.id2label[i] for i in range(len(case.labels))] == case.labels


@pytest.mark.parametrize(("layers", "depth"), [(None, 2), (1, 1), (9, 2)])
def test_the_first_so_many_layers_are_taken(case, layers, depth):
    from heliostat.engine.models import encoder_layers

    module, _ = case.task.model(case.folder, case.labels, layers)
    assert len(encoder_layers(module)[2]) == module.config.num_hidden_layers == depth
