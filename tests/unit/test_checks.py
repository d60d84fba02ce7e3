"""Problems between settings: each is found before anything starts, whatever else is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from heliostat.commands.tiny import write_project
from heliostat.config import read_config
from heliostat.core import seeds
from heliostat.core.errors import UserError
from heliostat.core.layout import Layout
from heliostat.tune.trial import corpus_mark

DOCS = "evaluate.general={docs: {use: retrieval}}"
TWO = Layout(workers=2, local_cpus=2)


def problems(path: Path, *assignments: str, layout: Layout | None = None) -> list[str]:
    with pytest.raises(UserError) as caught:
        read_config(path, assignments, layout)
    return [problem.removeprefix(f"{path}: ") for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("assignments", "words"),
    [
        (["train.freeze=3"], ["train.freeze: 3", "the model has 2", "Allowed: 0 to 2"]),
        (['train.freeze=["**", "*.0.*"]'], ["train.freeze: '**'", "matches every parameter", "nothing would be left to train"]),
        (["train.freeze=true"], ["train.freeze: true does not say what is frozen"]),
        (["train.schedule={use: cosine_restarts, cycles: 400, stretch: 10}"], ["train.schedule", "Use at most 10", "a smaller stretch"]),
        (["distil.layers=3"], ["distil.layers: 3", "the model has 2", "Allowed: 1 to 2"]),
        (["distil.layers=2", "model.layers=1"], ["distil.layers: 2", "the model has 1"]),
        (["model.layers=3"], ["model.layers: 3", "has 2 encoder layers"]),
        (["task.max_tokens=65"], ["task.max_tokens: 65", "at most 64", "Allowed: 8 to 64"]),
        (["train.objective=distillation"], ["train.objective", "only `distil` has one", "Allowed: cross_entropy"]),
        (["task.also=[f1_marco]"], ["task.also.0", "Did you mean 'f1_macro'"]),
        (["train.packing=true"], ["train.packing: rows of text_classification", "Allowed with: causal_lm, masked_lm"]),
        (["task.metric=no_such_package.metric"], ["task.metric", "cannot be imported"]),
        (["tune={metric: acuracy}"], ["tune.metric", "Did you mean 'accuracy'"]),
        (["tune={mode: min}"], ["tune.mode: min was given, and accuracy is better at its max"]),
        (["tune={trials: 2}"], ["tune.finalists: 4", "Use at most 2"]),
        (["tune={finalists: 2}", "ensemble={candidates: 3}"], ["ensemble.candidates: 3", "tune.finalists keeps 2"]),
        (["report.gates=[{metric: acuracy, min: 0.5}]"], ["report.gates.0.metric", "Did you mean 'accuracy'", "latency_ms_p50"]),
        (["report.gates=[{metric: auc, min: 0.5}]"], ["report.gates.0.metric", "add it to task.also"]),
        (["report.gates=[{suite: domian, metric: accuracy, min: 0.5}]"], ["report.gates.0.suite", "Did you mean 'domain'"]),
        (["report.gates=[{suite: docs, metric: accuracy, min: 0.5}]", DOCS], ["report.gates.0.metric: docs metric", "recall_at_1"]),
        (["tune.space={trian.batch: {choice: [8]}}"], ["tune.space.trian.batch", "Did you mean 'train.batch'"]),
        (
            ["tune.space={train.optimizer.lrr: {uniform: [0.1, 0.2]}}"],
            ["tune.space.train.optimizer.lrr", "Did you mean 'train.optimizer.lr'"],
        ),
        (["tune.space={train.epochs.x: {uniform: [1, 2]}}"], ["tune.space.train.epochs.x", "no settings below it"]),
        (["tune.space={train.precision: {choice: [fp32, fp16, bf16]}}"], ["tune.space.train.precision", "fp16 needs a GPU"]),
        (["tune.space={train.optimizer.lr: {choice: [0.1, x, 0.2]}}"], ["tune.space.train.optimizer.lr", "'x' was given"]),
        (["train.auxiliary=[{column: theme}]"], ["train.auxiliary.0.column: 'theme' is not kept", "Add it to corpus.slices"]),
        (["distil={layers: 1, train: {auxiliary: [{column: theme}]}}"], ["distil.train.auxiliary.0.column: 'theme' is not kept"]),
        (["pseudo_label={corpus: {sources: [{use: csv, paths: [no.csv]}]}}"], ["pseudo_label.corpus.sources.0.paths", "no.csv"]),
        (
            ["pseudo_label={corpus: {sources: [{use: csv, paths: [.]}]}, min_confidence: 2}"],
            ["min_confidence", "less than 1"],
        ),
        (["trackers=[tensorboard, tensorboard]"], ["trackers.1: 'tensorboard' is given twice"]),
        (["trackers=[tensorbord]"], ["trackers.0", "Did you mean 'tensorboard'"]),
        (["trackers=[{use: mlflow, tracking_uri: ./mlruns}]"], ["trackers.0.tracking_uri: './mlruns' is a folder", "sqlite:///"]),
        (["corpus.columns={txt: text}"], ["corpus.columns.txt", "Did you mean 'text'"]),
        (["corpus.columns={text: label}"], ["column 'label'", "text and label at once"]),
    ],
)
def test_settings_that_do_not_go_together_are_told(tiny_config: Path, assignments: list[str], words: list[str]) -> None:
    (told,) = problems(tiny_config, *assignments)
    assert all(word in told for word in words), told


@pytest.mark.parametrize(
    "assignments",
    [
        ["distil.layers=2"],
        ["task.max_tokens=64"],
        ["distil={layers: 1, train: {batch: 16}}"],
        ["report.gates=[{metric: bytes, max: 5}, {suite: docs, metric: recall_at_1, max_drop: 0.1}]", DOCS],
        ["train.adapter=lora", "tune.space={train.batch: {int: [8, 12]}, train.adapter.r: {int: [2, 4]}}"],
    ],
)
def test_settings_that_go_together_are_not(tiny_config: Path, assignments: list[str]) -> None:
    assert read_config(tiny_config, assignments).name == "tiny"


@pytest.mark.parametrize(
    ("assignments", "words"),
    [
        (["task.metric=accuracy"], ["task.metric: 'accuracy' judges labels", "answers with tags", "Allowed: span_f1"]),
        (["task.scheme=plain", "task.metric=span_f1"], ["task.metric: 'span_f1' counts spans", "tag_accuracy"]),
        (["task.scheme=bmes"], ["task.scheme", "'bioes'"]),
        (["distil.layers=1"], ["distil: it works on one class per row", "Leave `distil` out"]),
        (["corpus.filters=[mask_personal]"], ["corpus.filters.0: mask_personal changes the text", "reads tokens"]),
        (["corpus.columns={token: words}"], ["corpus.columns.token", "Did you mean 'tokens'"]),
        (["train.layer_decay=1.5"], ["train.layer_decay", "1.5 was given"]),
        (["tune.space={task.scheme: {choice: [bio, iob1]}}"], ["tune.space.task.scheme", "it says what tags mean"]),
    ],
)
def test_what_does_not_go_with_tagged_words_is_told(tmp_path: Path, assignments: list[str], words: list[str]) -> None:
    file = tmp_path / "words.conll"
    file.write_text("\n\n".join(f"w{i} O\nwater B-LOC\nbank{i} I-LOC" for i in range(20)))
    sources = [{"use": "conll", "paths": [str(file)]}]
    task = {"use": "token_classification", "max_tokens": 32}
    config = write_project(tmp_path / "project", task=task, corpus={"sources": sources, "near_duplicates": None})
    assert read_config(config, ["train.head_lr=1e-2", "tune.space={train.head_lr: {log_uniform: [1e-3, 1e-1]}}"]).train.head_lr == 1e-2
    told = problems(config, *assignments)
    assert any(all(word in problem for word in words) for problem in told), told


def test_texts_of_a_pretraining_are_packed_but_not_along_a_curriculum(tiny_config: Path) -> None:
    corpus = f"corpus: {{sources: [{{use: csv, paths: {tiny_config.parent / 'rows.csv'}}}]}}"
    task = "task: {use: masked_lm, max_tokens: 32, whole_word: true}"
    read_config(tiny_config, [f"pretrain={{{task}, {corpus}, train: {{batch: 8, packing: true}}}}"])
    (told,) = problems(tiny_config, f"pretrain={{{task}, {corpus}, train: {{batch: 8, packing: true, curriculum: length}}}}")
    assert told.startswith("pretrain.train.packing: a sequence of several rows has no place in a curriculum")


def test_a_tried_batch_must_divide_too(tiny_config: Path) -> None:
    told = problems(tiny_config, "tune.space={train.batch: {choice: [8, 9, 10]}}", layout=TWO)
    assert told == ["tune.space.train.batch: 9 rows do not divide among 2 workers. Nearest batches that do: 8 or 10."]
    told = problems(tiny_config, "distil={layers: 1, train: {batch: 9}}", layout=TWO)
    assert told == ["distil.train.batch: 9 rows do not divide among 2 workers. Nearest batches that do: 8 or 10."]


OPTIMIZERS = (
    "train.optimizer: {choice: [adamw, sgd]}, train.optimizer.beta1: {uniform: [0.8, 0.9], when: {train.optimizer: adamw}},"
    " train.optimizer.momentum: {uniform: [0.8, 0.9], when: {train.optimizer: sgd}}"
)


@pytest.mark.parametrize("batch", ["{int: [8, 1024]}", "{log_int: [8, 1024]}", "{int: [8, 4096], step: 5}", "{int: [8, 200]}"])
def test_values_between_the_ends_are_tried_and_what_is_alike_is_told_thrice(tiny_config: Path, batch: str) -> None:
    told = problems(tiny_config, f"tune.space={{train.batch: {batch}}}", layout=TWO)
    assert all("do not divide among 2 workers" in problem for problem in told[:3])
    assert len(told) == 4
    assert "more of the values of train.batch that were tried are wrong in the same way" in told[3]
    read_config(tiny_config, ["tune.space={train.batch: {int: [8, 1024], step: 2}}"], TWO)


SWEEPS = [
    ("space: {}", ["tune.space: the space is empty", "for example train.optimizer.lr"]),
    ("space: {train.batch: {log_unifrom: [8, 16]}}", ["tune.space.train.batch", "Did you mean 'log_uniform'"]),
    ("space: {optimizer.lr: {uniform: [0, 1]}}", ["only values below train, model, task and corpus", "'train.optimizer.lr'"]),
    ("space: {report.title: {choice: [a]}}", ["tune.space.report.title: 'report' does not decide a training"]),
    ("space: {task: {choice: [text_classification]}}", ["a whole section cannot be searched", "task.max_tokens"]),
    ("space: {task.metric: {choice: [accuracy]}}", ["tune.space.task.metric", "measured by the same numbers"]),
    ("space: {task.max_tokens: {choice: [32, 65]}}", ["tune.space.task.max_tokens: 65", "Allowed: 8 to 64"]),
    ("space: {model.path: {choice: [./nowhere]}}", ["tune.space.model.path: './nowhere' does not exist"]),
    ("space: {model.layers: {choice: [1, 2, 3]}}", ["tune.space.model.layers: 3", "Allowed: 1 to 2"]),
    (
        "space: {train.adapter: {choice: [{use: lora, targets: [q_proj]}]}}",
        ["tune.space.train.adapter", "called q_proj", "query, value"],
    ),
    ("space: {train.optimizer.use: {choice: [adamw, sgdd]}}", ["tune.space.train.optimizer.use", "Did you mean 'sgd'"]),
    ("space: {corpus.split.valid: {choice: [0.1]}}", ["tune.space.corpus.split.valid", "on the same rows"]),
    ("space: {corpus.columns.label: {choice: [a]}}", ["tune.space.corpus.columns.label", "may change the labels"]),
    ("space: {corpus.sources.0.delimiter: {choice: [';']}}", ["only encodings and max_row_bytes"]),
    ("space: {corpus.filters.1.min_chars: {int: [1, 4]}}", ["'corpus.filters.1' has no 'min_chars'", "'corpus.filters.1.min_characters'"]),
    ("space: {corpus.filters.9: {choice: [length]}}", ["'corpus.filters' has no '9'", "Allowed: 0, 1, 2."]),
    ("space: {corpus.near_duplicates.threshold: {uniform: [0.5, 0.9]}}", ["a corpus of its own", "uniform with a step"]),
    ("space: {corpus.filters.1.min_characters: {int: [1, 40]}}", ["make 40 different corpora", "At most 32"]),
    ("space: {train.batch: {choice: [8, 16]}}, constraints: [train.batch > 20]", ["none of 4,096 random settings satisfies"]),
    (
        "space: {train.precision: {choice: [fp32, bf16]}}, constraints: [train.precision > 3]",
        ["tune.constraints.0", "numbers go with numbers"],
    ),
    ("space: {train.batch: {choice: [8, 16]}}, first_points: [{train.bach: 8}]", ["tune.first_points.0.train.bach", "'train.batch'"]),
    ("space: {train.batch: {choice: [8, 16]}}, first_points: [{train.batch: 9}]", ["tune.first_points.0.train.batch: 9", "8, 16"]),
    (
        "space: {train.batch: {choice: [8, 16]}, train.epochs: {int: [1, 3]}}, constraints: [train.batch * train.epochs < 40],"
        " first_points: [{train.batch: 16, train.epochs: 3}]",
        ["tune.first_points.0: it does not satisfy train.batch * train.epochs < 40"],
    ),
    (
        "space: {train.batch: {choice: [8, 16]}, train.epochs: {int: [4, 6]}}, constraints: [train.batch * train.epochs < 40],"
        " first_points: [{train.batch: 8}, {train.batch: 16}]",
        ["tune.first_points.1: whatever it leaves open", "train.batch * train.epochs < 40"],
    ),
    (
        f"space: {{{OPTIMIZERS}}}, first_points: [{{train.optimizer.beta1: 0.8, train.optimizer.momentum: 0.9}}]",
        ["tune.first_points.0: train.optimizer.beta1 and train.optimizer.momentum are never there together"],
    ),
    (
        f"space: {{{OPTIMIZERS}}}, first_points: [{{train.optimizer: sgd, train.optimizer.beta1: 0.8}}]",
        ["tune.first_points.0.train.optimizer.beta1: it exists only while train.optimizer is adamw, and this point has 'sgd'"],
    ),
    (
        f"space: {{{OPTIMIZERS}}}, constraints: [train.optimizer == 'sgd']",
        ["tune.space.train.optimizer.beta1: when: with tune.constraints"],
    ),
    ("trials: 4, finalists: 2, first_points: [{}]", ["tune.first_points.0: it is empty"]),
    ("scheduler: {use: asha, eta: 1}", ["tune.scheduler.eta", "1 was given"]),
    ("confirm: {seeds: 3, folds: 3}", ["tune.confirm: give either seeds or folds"]),
    (
        "confirm: {folds: 3}, space: {corpus.filters.1.min_characters: {choice: [2, 9]}}",
        ["tune.confirm.folds: corpus.filters.1.min_characters is searched", "tune.confirm: {seeds: 3}"],
    ),
    ("space: {train.batch: {choice: [8, 16]}}, constraints: [train.batch < 20, train.bach < 3]", ["tune.constraints.1: 'train.bach < 3'"]),
    (
        "space: {train.clip: {choice: [null, 1.0]}}, constraints: [train.clip < 2]",
        [
            "tune.constraints.0: 'train.clip < 2' cannot be worked out for train.clip = None: None is no value and 2 is a number",
            "== None or",
        ],
    ),
    ("budget: {cost: 3}", ["tune.budget.cost: the layout has no price", "cost_per_hour"]),
    ("objectives: [latencyy]", ["tune.objectives.0", "Did you mean 'latency'"]),
    ("objectives: [general]", ["tune.objectives.0: it needs a suite, and evaluate.general has none"]),
    ("objectives: [latency, latency]", ["tune.objectives.1", "weighed twice"]),
    ("objectives: [{use: domain, metric: rmse}]", ["tune.objectives.0.metric: 'rmse' judges numbers", "log_loss"]),
    ("objectives: [{use: domain, metric: accuracy}]", ["tune.objectives.0.metric: 'accuracy' ranks the trials already"]),
    ("scheduler: pbt, confirm: {seeds: 3}", ["confirm: a trial of pbt", "trained again from its start it is another one"]),
]


@pytest.mark.parametrize(("tune", "words"), SWEEPS, ids=[tune for tune, _ in SWEEPS])
def test_what_cannot_be_searched_is_told_with_the_next_step(tiny_config: Path, tune: str, words: list[str]) -> None:
    (told,) = problems(tiny_config, f"tune={{{tune}}}")
    assert all(word in told for word in words), told


@pytest.mark.parametrize("kept", ["split={group: source}", "near_duplicates={action: group}"])
def test_folds_would_part_rows_that_belong_together(tiny_config: Path, kept: str) -> None:
    tune = "tune={trials: 4, finalists: 1, confirm: {folds: 3}}"
    told = problems(tiny_config, f"corpus.{kept}", tune)
    assert any(t.startswith("tune.confirm.folds: corpus.") and "keeps rows together" in t and "{seeds: 3}" in t for t in told), told


def test_folds_have_no_losses_of_a_reference_model_for_their_validation_rows(tiny_config: Path) -> None:
    folder = next(tiny_config.parent.rglob("config.json")).parent
    tune = "tune={trials: 4, finalists: 1, confirm: {folds: 3}}"
    (told,) = problems(tiny_config, f"train.curriculum={{use: loss, model: {folder}}}", tune)
    assert told.startswith("train.curriculum: folds train on validation rows too")


def test_trials_that_others_go_on_from_do_not_stop_early(tiny_config: Path) -> None:
    pbt = "tune={trials: 4, finalists: 1, scheduler: pbt, space: {train.optimizer.lr: {log_uniform: [1.0e-5, 1.0e-3]}}}"
    (told,) = problems(tiny_config, pbt, "train.early_stopping={patience: 2}")
    assert "train.early_stopping: under pbt others go on from the state of a trial" in told


NUMBERS = ["task={use: text_regression, max_tokens: 32}", "corpus.columns={target: label}"]


@pytest.mark.parametrize(
    ("assignments", "words"),
    [
        (
            ["train.objective=mean_squared_error"],
            ["train.objective: 'mean_squared_error' trains on numbers, and text_classification", "Allowed: cross_entropy"],
        ),
        (["train.objective=binary_cross_entropy"], ["trains on names", "answers with labels"]),
        (
            ["task={use: multilabel_classification, max_tokens: 32}", "corpus.columns={labels: label}", "train.objective=cross_entropy"],
            ["'cross_entropy' trains on labels or", "multilabel_classification answers with names", "Allowed: binary_cross_entropy"],
        ),
        ([*NUMBERS, "train.objective=cross_entropy"], ["answers with numbers", "huber, mean_absolute_error, mean_squared_error"]),
        (
            [*NUMBERS, "task.metric=accuracy", "task.max_tokens=32"],
            ["task.metric: 'accuracy' judges labels", "Allowed: mae, pearson, r2, rmse, spearman"],
        ),
        ([*NUMBERS, "distil={layers: 1}"], ["distil: it works on one class per row, and text_regression answers with numbers"]),
        (["distil={layers: 1, train: {objective: cross_entropy}}"], ["distil.train.objective", "does not read a teacher", "distillation"]),
        (["task=seq2seq", "corpus.columns={target_text: label}"], ["task: seq2seq needs an encoder-decoder"]),
        (["task={use: text_classification, max_tokens: 32, pair: true}"], ["corpus.columns.text_pair", "has no column 'text_pair'"]),
        (
            ["tune.space={train.objective: {choice: [cross_entropy, huber]}}"],
            ["tune.space.train.objective", "'huber' trains on numbers"],
        ),
    ],
)
def test_a_task_is_trained_and_judged_by_what_fits_it(tiny_config: Path, assignments: list[str], words: list[str]) -> None:
    (told,) = problems(tiny_config, *assignments)
    assert all(word in told for word in words), told


@pytest.mark.parametrize("freeze", ["1", "['*embeddings*']"])
def test_layers_are_not_frozen_beside_an_adapter(tiny_config: Path, freeze: str) -> None:
    (told,) = problems(tiny_config, "train.adapter=lora", f"train.freeze={freeze}")
    assert told.startswith("train.freeze: with train.adapter everything but the adapter and the head is frozen already.")
    read_config(tiny_config, ["train.adapter=lora", "train.freeze=0"])


def test_what_goes_wrong_only_beside_another_value_is_told_with_it(tiny_config: Path) -> None:
    (told,) = problems(tiny_config, "tune.space={model.layers: {choice: [1, 2]}, train.freeze: {int: [0, 2]}}")
    assert "train.freeze: 2 layers asked for" in told
    assert "beside model.layers = 1" in told
    (told,) = problems(tiny_config, "tune.space={train.optimizer: {choice: [adamw, sgd]}, train.optimizer.beta1: {uniform: [0.8, 0.9]}}")
    assert "tune.space.train.optimizer.beta1: this key is not known" in told
    assert "beside train.optimizer = 'sgd'" in told


@pytest.mark.parametrize(
    "tune",
    [
        "space: {model.layers: {choice: [1, 2]}, train.freeze: {int: [0, 2]}}, constraints: [train.freeze <= model.layers]",
        "space: {train.optimizer: {choice: [adamw, sgd]}, train.optimizer.beta1: {uniform: [0.8, 0.9], when: {train.optimizer: adamw}}}",
        "space: {train.optimizer.use: {choice: [adamw, sgd]}, train.optimizer.momentum: {uniform: [0.8, 0.9],"
        " when: {train.optimizer.use: sgd}}, train.optimizer.lr: {log_uniform: [1.0e-3, 1.0e-1]}}",
        "space: {train.adapter: {choice: [null, {use: lora, r: 4}]},"
        " train.adapter.alpha: {int: [2, 4], when: {train.adapter: {use: lora, r: 4}}}}",
        "space: {train.adapter: {choice: [null, lora]}, train.freeze: {int: [0, 2], when: {train.adapter: null}}}",
        "space: {corpus.near_duplicates.threshold: {uniform: [0.5, 0.9], step: 0.1}, task.max_tokens: {choice: [16, 32]}}",
        "space: {corpus.filters.1: {choice: [length, {use: length, min_characters: 9}]}, corpus.sources.0.encodings: {choice: [[utf-8]]}}",
    ],
)
def test_any_value_that_decides_a_training_can_be_searched(tiny_config: Path, tune: str) -> None:
    assert read_config(tiny_config, [f"tune={{{tune}}}"]).tune


def test_the_corpora_of_a_sweep(tiny_config: Path) -> None:
    space = (
        "tune.space={corpus.near_duplicates: {choice: [null, {threshold: 0.7}]}, corpus.filters.1.min_characters: {choice: [2, 9]},"
        " corpus.near_duplicates.shingle_words: {choice: [1, 2, 3], when: {corpus.near_duplicates: {threshold: 0.7}}}}"
    )
    run = read_config(tiny_config, [space])
    assert run.tune
    corpora = run.corpora()
    assert len(corpora) == 2 * (1 + 3)
    searched = run.tune.searched()
    for point in seeds.rng(1, "corpora").random((50, 3)):
        settings = searched.at(point)
        corpus = corpora[str(corpus_mark(settings))]
        assert corpus == run.with_settings(settings).corpus
    assert read_config(tiny_config, ["tune.trials=4"]).corpora() == {}
    assert corpus_mark({"train.batch": 8}) is None


def test_a_corpus_value_that_hangs_on_another_section_is_there_in_some_trials_only(tiny_config: Path) -> None:
    space = "tune.space={train.batch: {choice: [8, 16]}, corpus.filters.1.min_characters: {choice: [3, 9], when: {train.batch: 8}}}"
    assert len(read_config(tiny_config, [space]).corpora()) == 2


def test_a_malformed_section_hides_nothing_that_does_not_depend_on_it(tiny_config: Path) -> None:
    told = problems(
        tiny_config,
        "train.epohcs=1",
        "task.metric=acuracy",
        "model.path=./nowhere",
        "corpus.columns.text=txet",
        "tune.space={train.epochs.x: {uniform: [1, 2]}}",
        "ensemble={candidates: 9}",
        "report.gates=[{suite: nothing, metric: accuracy, min: 1}]",
    )
    places = [problem.split(":")[0] for problem in told]
    wanted = ["train.epohcs", "model.path", "task.metric", "corpus.columns.text", "ensemble.candidates", "report.gates.0.suite"]
    assert sorted(places) == sorted(wanted), "and what may be tried in train waits until train is well formed"


def test_no_false_problem_follows_from_a_section_that_is_malformed(tiny_config: Path) -> None:
    assert len(problems(tiny_config, "tune.trails=3", "ensemble={candidates: 3}")) == 1
    assert len(problems(tiny_config, "model=3", "distil.layers=9")) == 1


PLACES = {
    "train": "train={}",
    "distil.train": "distil={{layers: 1, train: {}}}",
    "pseudo_label.train": "pseudo_label={{corpus: CORPUS, train: {}}}",
    "pretrain.train": "pretrain={{task: {{use: masked_lm, max_tokens: 32}}, corpus: CORPUS, train: {}}}",
}
"""Where a training stands, and how it is set there."""
LEARNERS = [place for place in PLACES if place != "distil.train"]

WRONG_ANYWHERE = [
    (
        "{packing: true}",
        ["packing: rows of", "cannot share a sequence", "Allowed with: causal_lm, masked_lm"],
        [place for place in PLACES if place != "pretrain.train"],
    ),
    ("{objective: mean_squared_error}", ["objective: 'mean_squared_error' trains on numbers", "cross_entropy"], LEARNERS),
    (
        "{objective: {use: cross_entropy, class_weights: balanced}}",
        ["objective.class_weights: masked_lm answers with likelihood, so there are no classes", "Leave it out"],
        ["pretrain.train"],
    ),
    ("{objective: distillation}", ["objective: 'distillation' reads a teacher", "cross_entropy"], LEARNERS),
    ("{curriculum: {use: column, column: theme}}", ["curriculum.column: 'theme' is not kept", "corpus.slices (none so far)"], [*PLACES]),
    ("{curriculum: {use: loss, model: nowhere}}", ["curriculum.model: 'nowhere' is not a model folder"], [*PLACES]),
    ("{freeze: 9}", ["freeze: 9 layers asked for", "Allowed: 0 to"], [*PLACES]),
    ("{adapter: {use: lora, targets: [q_proj]}}", ["adapter.targets: no weight of the model is called q_proj", "query"], [*PLACES]),
    ("{regularizer: fgm, gradient_checkpointing: true}", ["gradient_checkpointing", "Use one of the two"], [*PLACES]),
    ("{precision: fp16}", ["precision: fp16 needs a GPU"], [*PLACES]),
]


@pytest.mark.parametrize(("train", "words", "places"), WRONG_ANYWHERE, ids=[train for train, *_ in WRONG_ANYWHERE])
def test_a_training_is_looked_at_wherever_it_stands(tiny_config: Path, train: str, words: list[str], places: list[str]) -> None:
    corpus = f"{{sources: [{{use: csv, paths: [{tiny_config.parent / 'rows.csv'}]}}]}}"
    for place in places:
        (told,) = problems(tiny_config, PLACES[place].format(train).replace("CORPUS", corpus))
        assert told.startswith(f"{place}."), told
        assert all(word in told for word in words), told


@pytest.mark.parametrize(
    ("assignments", "words"),
    [
        (["tune.space={train.packing: {choice: [false, true]}}"], ["tune.space.train.packing: rows of text_classification cannot share"]),
        (
            ["tune.space={train.curriculum: {choice: [null, {use: column, column: theme}]}}"],
            ["tune.space.train.curriculum.column: 'theme' is not kept", "corpus.slices"],
        ),
        (
            [
                "task={use: multilabel_classification, max_tokens: 32}",
                "corpus.columns={labels: label}",
                "tune.space={train.regularizer: {choice: [null, r_drop]}}",
            ],
            ["tune.space.train.regularizer: r_drop compares one class", "multilabel_classification answers with names"],
        ),
    ],
)
def test_a_trial_is_looked_at_like_the_training_of_a_config(tiny_config: Path, assignments: list[str], words: list[str]) -> None:
    (told,) = problems(tiny_config, *assignments)
    assert all(word in told for word in words), told


def test_a_trial_has_its_auxiliary_tasks_or_is_refused(tmp_path: Path) -> None:
    config = write_project(tmp_path, train={"auxiliary": [{"column": "theme"}]})
    rows = tmp_path / "rows.csv"
    rows.write_text("\n".join(f"{line},{'theme' if i == 0 else i % 2}" for i, line in enumerate(rows.read_text().splitlines())))
    (told,) = problems(config, "corpus.slices=[theme]", "tune.space={train.regularizer: {choice: [null, fgm]}}")
    assert told.startswith("tune.space.train.auxiliary: train.regularizer makes further passes")
    assert "beside train.regularizer = 'fgm'" in told


def test_a_student_has_its_own_layers(tiny_config: Path) -> None:
    (told,) = problems(tiny_config, "distil={layers: 1, train: {freeze: 2}}")
    assert told == "distil.train.freeze: 2 layers asked for, and the student has 1. Allowed: 0 to 1."


@pytest.mark.parametrize(
    ("max_tokens", "vectors", "allowed"),
    [
        (60, 20, "Allowed: 1 to 4 vectors, or a task.max_tokens of 8 to 44."),
        (64, 20, "Allowed: a task.max_tokens of 8 to 44."),
        (32, 57, "Allowed: 1 to 32 vectors."),
        (64, 57, "Allowed: less of both."),
    ],
)
def test_learned_vectors_and_the_text_are_no_more_than_the_model_reads(
    tiny_config: Path, max_tokens: int, vectors: int, allowed: str
) -> None:
    adapter = f"train.adapter={{use: prompt_tuning, tokens: {vectors}}}"
    (told,) = problems(tiny_config, f"task.max_tokens={max_tokens}", adapter)
    given = f"{vectors} vectors before a text of task.max_tokens {max_tokens}, and the model reads at most 64"
    assert told == f"train.adapter.tokens: {given}. {allowed}"


def test_learned_vectors_that_fit_are_allowed_and_a_text_that_does_not_is_told_once(tiny_config: Path) -> None:
    adapter = "train.adapter={use: prompt_tuning, tokens: 20}"
    assert read_config(tiny_config, ["task.max_tokens=44", adapter]).train.adapter
    (told,) = problems(tiny_config, "task.max_tokens=65", adapter)
    assert told.startswith("task.max_tokens: 65 asked for")


@pytest.mark.parametrize(
    ("adapter", "words"),
    [
        ("{use: lora, targets: [query, valeu]}", ["train.adapter.targets", "called valeu. Did you mean 'value'?", "It has: dense, key,"]),
        ("{use: dora, targets: [query, self.valeu]}", ["train.adapter.targets", "called self.valeu. Did you mean 'self.value'?"]),
        ("{use: mixture, targets: [o_proj, query]}", ["train.adapter.targets", "called o_proj", "It has: dense, key, query, value."]),
        ("{use: ia3, feedforward: [dens]}", ["train.adapter.feedforward", "called dens. Did you mean 'dense'?", "It has: dense, key,"]),
    ],
)
def test_every_name_of_an_adapter_is_that_of_a_module(tiny_config: Path, adapter: str, words: list[str]) -> None:
    (told,) = problems(tiny_config, f"train.adapter={adapter}")
    assert all(word in told for word in words), told


@pytest.mark.parametrize("adapter", ["{use: lora, targets: [query, self.value]}", "{use: ia3, feedforward: [dense]}", "dora"])
def test_names_of_modules_may_be_their_ends(tiny_config: Path, adapter: str) -> None:
    assert read_config(tiny_config, [f"train.adapter={adapter}"]).train.adapter


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("train.batch_tokens=4096", ["train.batch_tokens: a row of image_classification holds no tokens. Use train.batch."]),
        ("train.curriculum=length", ["train.curriculum: it counts tokens", "holds none", "by a column"]),
    ],
)
def test_what_counts_tokens_is_refused_for_pictures(tiny_config: Path, given: str, words: list[str]) -> None:
    sources = "corpus.sources=[{use: image_folders, paths: pictures}]"
    told = problems(tiny_config, "task=image_classification", sources, given)
    assert any(all(word in one for word in words) for one in told), told
