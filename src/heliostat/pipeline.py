"""The story of a run, straight-line. Read `artifacts.py` first; then any stage's `stage.py`.

`do` remembers: a finished stage is opened, a half-done one is resumed, a changed one is refused (see core/workspace.py).
With a `Plan` instead of a `Workspace` the same story answers what would happen, and starts nothing.
"""

from __future__ import annotations

from typing import Any

from heliostat.config import RunConfig
from heliostat.corpus import stage as corpus_stage
from heliostat.distil import stage as distil
from heliostat.ensemble import stage as ensemble
from heliostat.evaluate import stage as evaluate
from heliostat.pretrain import stage as pretrain
from heliostat.pseudo_label import stage as pseudo_label
from heliostat.report import stage as report
from heliostat.tasks.config import Adapted
from heliostat.train import stage as train
from heliostat.tune import stage as tune


def story(run: RunConfig, do: Any) -> Any:
    """Every stage the config names, in order; returns the `Report` (or, in a plan, what stands for it)."""
    task, model = run.task, run.model

    corpus = do(corpus_stage.build, run.corpus, task=task)
    base = do(evaluate.score, run.evaluate, name="evaluate-base", predictors=[model], corpus=corpus, task=task)

    if run.pretrain:
        own, beside_text = run.pretrain, {}
        text = do(corpus_stage.build, own.corpus, name="pretrain-corpus", task=own.task, apart_from=corpus)
        if own.replay:
            beside_text["general"] = do(corpus_stage.build, own.replay.corpus(), name="pretrain-replay", task=own.task)
        model = Adapted.of(model, do(pretrain.adapt, own, model=model, corpus=text, **beside_text))

    sweep = council = None
    if run.tune:
        beside: dict[str, Any] = {}
        if variants := run.corpora():  # searched values of the corpus: each distinct one is made once, and judged on the same rows
            beside["corpora"] = {
                mark: do(corpus_stage.build, own, name=f"corpus-{mark}", task=task, held_out=corpus) for mark, own in variants.items()
            }
        if run.tune.looks_at_general_ground():
            beside |= {"suites": run.evaluate.general, "base": base}
        sweep = do(tune.sweep, run.tune, train=run.train, model=model, corpus=corpus, task=task, beside=beside)
        contenders = sweep.best(1)
    else:
        contenders = [do(train.fit, run.train, model=model, corpus=corpus, task=task)]
    best = contenders[0]

    if run.ensemble and sweep:
        council = do(ensemble.combine, run.ensemble, members=sweep.best(run.ensemble.candidates), corpus=corpus, task=task)
        contenders = [*contenders, council]

    if run.pseudo_label:
        more = run.pseudo_label
        text = do(corpus_stage.build, more.corpus, name="unlabelled", task=more.reads(), apart_from=corpus)
        learnt = do(pseudo_label.learn, more, teacher=council or best, model=model, corpus=corpus, unlabelled=text, task=task)
        contenders = [*contenders, learnt]

    if run.distil:
        student = do(distil.teach, run.distil, teacher=council or best, best=best, model=model, corpus=corpus, task=task)
        contenders = [*contenders, student]

    scores = do(evaluate.score, run.evaluate, predictors=contenders, corpus=corpus, task=task)
    evidence = {
        "base": base,
        "scores": scores,
        "sweep": sweep,
        "council": council,
        "predictors": contenders,
        "corpus": corpus,
        "task": task,
    }
    return do(report.write, run.report, run_name=run.name, **evidence)
