"""A model card for each exported model: what it is, how well it does, what it is for, where it stops."""

from __future__ import annotations

from collections.abc import Sequence

from heliostat.artifacts import Ensemble, Model, ModelScores
from heliostat.report.evidence import Evidence
from heliostat.report.wording import ABSENT, millions, millis, score, size, words

ANSWERS = {
    "labels": " with one of {labels} labels",
    "names": " with any number of {labels} labels",
    "tags": ", each word with one of {labels} tags",
    "numbers": " with a number",
    "likelihood": " with a text",
}
LIMITS = {
    "labels": "It always answers with one of its labels, also for a row that fits none of them.",
    "names": "Each label is decided by itself: it is given where its probability is above one half, and a row may get none.",
    "numbers": "It always answers with a number, also for a row unlike any it was trained on.",
    "likelihood": "Its scores tell how likely it finds the reference texts, not how good the texts are that it writes.",
}
"""What a model answers a row with and where that stops, by what its task answers with."""


def card(evidence: Evidence, predictor: Model | Ensemble) -> str:
    """The card of one model as Markdown."""
    scored = evidence.scores.of(predictor.name)
    parts = [*_head(evidence, predictor), *_what(evidence, predictor), *_scores(evidence, scored), *_data(evidence)]
    return "\n".join([*parts, *_use(evidence, predictor, scored)]) + "\n"


def file_name(name: str) -> str:
    """A model's name as the name of a file."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name).lstrip(".") or "_"


def _head(evidence: Evidence, predictor: Model | Ensemble) -> list[str]:
    task = evidence.task.pipeline_tag
    return ["---", f"pipeline_tag: {task}", "tags:", f"- {task}", "- heliostat", "---", "", f"# {plain(predictor.name)}", ""]


def _what(evidence: Evidence, predictor: Model | Ensemble) -> list[str]:
    lines = [f"Made by the stage `{predictor.stage}` of the run `{evidence.run_name}`; fingerprint `{predictor.fingerprint}`."]
    if isinstance(predictor, Ensemble):
        lines += ["", "It answers with the weighted mean of its members' probabilities:", ""]
        lines += [f"- {plain(m.name)}, weight {w:.3f}" for m, w in zip(predictor.members, predictor.weights, strict=True)]
    lines += ["", f"- Parameters: {millions(predictor.params)}", f"- Size on disk: {size(predictor.bytes)}"]
    lines += [f"- Labels: {', '.join(map(plain, predictor.labels))}"] if predictor.labels else []
    return [*lines, ""]


def _scores(evidence: Evidence, scored: ModelScores | None) -> list[str]:
    if scored is None:
        return ["## Scores", "", "This model was not scored.", ""]
    rows = []
    for suite, metrics in scored.scores.items():
        before = evidence.base_model.scores.get(suite, {}) if evidence.base_model else {}
        for metric, found in metrics.items():
            base = score(before[metric].value) if metric in before else ABSENT
            rows.append([plain(suite), words(metric), score(found.value), f"{score(found.low)} to {score(found.high)}", base])
    lines = ["## Scores", "", *_table(["suite", "metric", "value", "95 % interval", "base"], rows), ""]
    told = [f"{key} {millis(value)}" for key, value in scored.latency_ms.items()]
    return [*lines, f"One row is answered in {', '.join(told)}.", ""] if told else lines


def _data(evidence: Evidence) -> list[str]:
    corpus = evidence.corpus
    rows = ", ".join(f"{n:,} {split}" for split, n in corpus.rows.items())
    dropped = ", ".join(f"{n:,} {words(reason)}" for reason, n in corpus.dropped.items() if n) or "none"
    sentence = f"{corpus.read:,} rows were read. Kept: {rows}. Dropped: {dropped}. Corpus fingerprint `{corpus.fingerprint}`."
    return ["## Data", "", sentence, "", "Near-duplicates do not cross splits; the test rows were never trained on.", ""]


def _use(evidence: Evidence, predictor: Model | Ensemble, scored: ModelScores | None) -> list[str]:
    kind = evidence.task.answers_are if predictor.labels or evidence.task.names_from is None else ""  # no labels: they are not known
    answer = ANSWERS.get(kind, "").format(labels=len(predictor.labels))
    lines = ["## Intended use", "", f"The task is {words(evidence.task.name())}: it answers a row like those of the corpus{answer}.", ""]
    lines += ["## Limits", "", "- The scores hold for rows like the test rows. For another source, time or language, score it again."]
    weakest = _weakest(evidence, scored)
    lines += [weakest] if weakest else []
    lines += [f"- {LIMITS[kind]}"] if kind in LIMITS else []
    verdict = evidence.verdict
    if predictor.name == verdict.ship:
        lines += [f"- Gate not met: {g.name} {g.limit:g}." for g in verdict.gates if not g.passed]
    else:
        lines += [f"- The run's verdict is to ship {plain(verdict.ship)}, not this model."]
    return lines


def _weakest(evidence: Evidence, scored: ModelScores | None) -> str | None:
    """The class it finds least often, when that is known."""
    if scored is None or evidence.truth is None or scored.name not in evidence.right:
        return None
    shares = {label: evidence.right[scored.name][evidence.truth == i] for i, label in enumerate(evidence.corpus.labels)}
    known = {label: float(r.mean()) for label, r in shares.items() if len(r)}
    label = min(known, key=lambda name: known[name])
    return f"- Its weakest class is {plain(label)}: it finds {score(known[label])} of its test rows."


def plain(text: str) -> str:
    """Text from data on one line, with the characters that Markdown and HTML read escaped."""
    return "".join("\\" + c if c in "\\`*_[]<>|#" else c for c in " ".join(text.split()))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
