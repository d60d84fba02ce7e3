"""`heliostat plan`: what a run would do, stage by stage, why, and what it would cost. Nothing is started."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from heliostat import weights
from heliostat.artifacts import Spent
from heliostat.commands import estimates, history
from heliostat.commands.display import clock
from heliostat.commands.page import page
from heliostat.commands.request import Request
from heliostat.commands.updates import LATER, Ahead, prepared_rows
from heliostat.config import RunConfig
from heliostat.core.layout import Layout, local_gpus
from heliostat.core.settings import identify
from heliostat.core.workspace import Decision, Plan
from heliostat.train.dividing import FILLED, Footprint, stages, worker_bytes
from heliostat.train.frozen import possible
from heliostat.tune import outlook
from heliostat.tune.config import TuneConfig
from heliostat.tune.outlook import Facts

STYLES = {"kept": "dim", "resume": "yellow", "run": "cyan", "changed": "bold red"}
SHOWN_DIFFERENCES = 12
UNKNOWN = "unknown until measured"


def plan(request: Request) -> None:
    """Print the plan of the request."""
    run, layout, root = request.resolve()
    decisions, corpus = survey(run, layout, root)
    show(run, layout, root, decisions, corpus, request.replace)


def survey(run: RunConfig, layout: Layout, root: Path) -> tuple[list[Decision], Any]:
    """(what would be done with each stage, the corpus: finished or pending). Nothing is started."""
    from heliostat import pipeline  # after the config is known to be good: it takes longer than to find an error

    asked = Plan(root, run.seed, layout=layout)
    made: dict[str, Any] = {}

    def do(stage: Any, config: Any, **inputs: Any) -> Any:
        artifact = asked.do(stage, config, **inputs)
        made[asked.decisions[-1].name] = artifact
        return artifact

    pipeline.story(run, do)
    return asked.decisions, made["corpus"]


def show(run: RunConfig, layout: Layout, root: Path, decisions: list[Decision], corpus: Any, replace: bool) -> None:
    """The plan as a page on stdout."""
    out = page()
    costs = costs_of(run, layout, root, corpus)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("stage", "what", "why", "work", "time"):
        table.add_column(name, no_wrap=name in ("stage", "what", "time"), overflow="fold")
    times: list[float | None] = []
    for decision in decisions:
        state = "again" if decision.state == "changed" and replace else decision.state
        seconds = None if decision.state == "kept" else costs.seconds(decision.name)
        if decision.state != "kept":
            times.append(seconds)
        told = "" if decision.state == "kept" else (f"about {clock(seconds)}" if seconds is not None else UNKNOWN)
        table.add_row(decision.name, Text(state, STYLES.get(state, "yellow")), decision.why, costs.work(decision.name), told)
    out.print(Text(f"{run.name} in {root}", "bold"))
    out.print(table)
    for line in differences(decisions, replace):
        out.print(line)
    out.print()
    for fact in (*costs.told_sweep(), told_time(times), costs.memory(), *costs.frozen(), costs.width()):
        out.print(Text(fact))


def told_time(times: list[float | None]) -> str:
    """The whole time, as far as it is known."""
    if not times:
        return "time     nothing to do: every stage is kept"
    known = sum(t for t in times if t is not None)
    missing = sum(t is None for t in times)
    if missing == len(times):
        return "time     unknown until a run with this model and task is in the storage"
    return f"time     about {clock(known)}" + (f", and {missing} stage(s) not measured yet" if missing else "")


def differences(decisions: list[Decision], replace: bool) -> list[Text]:
    """Why stages on disk do not fit this config, field by field."""
    lines: list[Text] = []
    for decision in decisions:
        if decision.state != "changed":
            continue
        lines += [Text(""), Text(f"{decision.name} was made with other settings:", "bold")]
        lines += [Text(f"    {line}") for line in decision.differences[:SHOWN_DIFFERENCES]]
        hidden = len(decision.differences) - SHOWN_DIFFERENCES
        lines += [Text(f"    and {hidden} more")] if hidden > 0 else []
    if lines and not replace:
        lines.append(Text("`heliostat run` refuses: add --replace to make these stages again, or choose another --name.", "yellow"))
    return lines


@dataclass(frozen=True)
class Costs:
    """Work and time of each stage, from rows, the config and an earlier run."""

    run: RunConfig
    layout: Layout
    rows: estimates.Rows
    before: history.Earlier | None
    prepared: Path | None = None
    """The training rows as model inputs, where an earlier attempt has made them."""

    @property
    def main(self) -> Ahead:
        """The training of the config itself."""
        return Ahead(self.run.train, self.run.task, self.rows.splits["train"], self.run.seed, self.prepared)

    def places(self) -> int | None:
        """Trainings that fit side by side; None for a cluster that is asked when it is joined."""
        if self.layout.joins():
            return None if self.layout.gangs == "auto" else self.layout.gangs
        fits = max(1, self.layout.trainings_on(self.layout.training_cpus(), local_gpus()))
        return fits if self.layout.gangs == "auto" else min(fits, self.layout.gangs)

    def slots(self) -> int | None:
        """Trainings that will run side by side."""
        places = self.places()
        return None if places is None else min(places, self.run.tune.side_by_side() if self.run.tune else 1)

    @cached_property
    def sweep(self) -> Spent | None:
        """What the sweep will take; None when there is none."""
        run, rate = self.run, self.before.row_seconds() if self.before else None
        if run.tune is None:
            return None
        trained = weights.trained(run.model, run.train)
        state, best = (None, None) if trained is None else estimates.checkpoint_bytes(trained, run.train)
        training_s = None if rate is None else rate * self.rows.splits["train"] * run.train.epochs
        facts = Facts(self.slots(), training_s, state, best, self.layout.cost_per_hour, run.train.epochs)
        return outlook.expected(run.tune, facts, seed=run.seed)

    def work(self, stage: str) -> str:
        """What the stage has to do, in a few words."""
        run, rows = self.run, self.rows
        if stage == "corpus" or stage.startswith("corpus-"):
            told = f"{'' if rows.exact else 'about '}{rows.read:,} rows read"
            known = rows.exact and stage == "corpus"
            return told + (": " + ", ".join(f"{n:,} {split}" for split, n in rows.splits.items()) if known else "")
        if stage == "evaluate-base" or stage == "evaluate":
            suites = len(run.evaluate.general) + 1
            return f"{rows.told('test')} test rows; {suites} suite{'s' if suites > 1 else ''}"
        if stage == "pretrain" and run.pretrain:
            own = run.pretrain
            return f"about {Ahead(own.train, own.task, estimates.pretraining_rows(run), run.seed).told()}"
        if stage in ("pretrain-corpus", "pretrain-replay") and run.pretrain:
            texts: Any = run.pretrain.corpus if stage == "pretrain-corpus" else run.pretrain.replay
            return f"about {sum(map(estimates.source_rows, texts.sources)):,} rows read"
        if stage == "train":
            return self.main.told()
        if stage == "tune" and run.tune and self.sweep:
            counts = estimates.step_range(run, self.main)
            few, many = counts or (0, 0)
            length = (f"{many:,}" if few == many else f"{few:,} to {many:,}") + " steps" if counts else f"a length {LATER}"
            saved = 1 - (self.sweep.trainings - outlook.repetitions(run.tune)) / run.tune.trials
            plain = f", {saved:.0%} less work than training each to the end" if saved > 0.005 else ""
            return f"{run.tune.trials:,} trials of {length}; {sum(self.sweep.jobs):,} jobs{plain}"
        if stage == "ensemble" and run.ensemble:
            return f"{run.ensemble.candidates} candidates"
        if stage == "unlabelled" and run.pseudo_label:
            return f"about {sum(map(estimates.source_rows, run.pseudo_label.corpus.sources)):,} texts read"
        if stage == "pseudo_label" and run.pseudo_label:
            return f"from {replace(self.main, train=run.pseudo_label.train).told()}, by how many texts are labelled"
        if stage == "distil" and run.distil:
            return f"{replace(self.main, train=run.distil.train).told()}, {run.distil.layers} layers"
        return ""

    def seconds(self, stage: str) -> float | None:
        """About how long the stage takes, by an earlier run's rates; None when none was measured."""
        if stage == "tune" and self.sweep:
            return self.sweep.wall_s
        if self.before is None:
            return None
        rate, rows = self.before.row_seconds(), self.rows.splits["train"]
        if stage == "train" and rate is not None:
            return rate * rows * self.run.train.epochs
        took = self.before.seconds("corpus" if stage.startswith("corpus-") else stage)
        if took is None:
            return None
        scale = rows / max(1, self.before.rows["train"])
        return took * (max(1.0, scale) if stage in ("report", "ensemble") else scale)

    def told_sweep(self) -> list[str]:
        """Rungs, time, disk and money of the sweep, and what holds it back."""
        tune, spent = self.run.tune, self.sweep
        if tune is None or spent is None:
            return []
        shares = tune.scheduler.rungs()
        rungs = ", ".join(f"{n:,} to {share_of(share)}" for n, share in zip(spent.jobs, shares, strict=True) if n)
        again = outlook.repetitions(tune)
        parts = [f"{tune.trials:,} trials: {rungs} of a training" + (f", {again} more to confirm the finalists" if again else "")]
        side = f" with {self.slots()} side by side" if self.slots() else ""
        parts += [f"about {clock(spent.wall_s)}{side}"] if spent.wall_s is not None else []
        parts += [f"{size(spent.checkpoint_bytes)} of checkpoints at most"] if spent.checkpoint_bytes else []
        parts += [f"cost {spent.cost:.2f}"] if spent.cost is not None else []
        return [f"sweep    {'; '.join(parts)}", *self._held_back(tune)]

    def _held_back(self, tune: TuneConfig) -> list[str]:
        """Places that stay empty because decisions wait for earlier results."""
        places, lag = self.places(), tune.scheduler.lag()
        if lag is None or places is None or places <= lag + 1 or tune.trials <= lag + 1:
            return []
        return [
            f"         decision_lag {lag} lets {lag + 1} trainings run side by side, and this layout holds {places}:"
            f" set tune.scheduler.decision_lag to {places - 1}, or to null for a sweep that need not be reproducible"
        ]

    def memory(self) -> str:
        """Memory of one worker for the largest model, and how many work at once."""
        known = {model: params for model in estimates.models(self.run) if (params := weights.parameters(model)) is not None}
        if not known:
            return "memory   unknown until the model is downloaded"
        model = max(known, key=known.__getitem__)
        params, train, layout = known[model], self.run.train, self.layout
        trained = weights.trained(model, train) or params
        held = estimates.footprint(params, trained, train, layout)
        how = "weights, gradients and optimiser states" if train.adapter is None else "weights and adapters"
        stage, why = self._stage(held)
        if layout.workers > 1:
            each = ", ".join(f"ZeRO {stage}: {size(held.at(stage))}" for stage in range(4))
            how += f", {why} over {layout.fewest()} workers; {each}"
        return f"memory   {size(held.at(stage))} per worker for {params / 1e6:.1f} M parameters ({how}); activations come on top"

    def frozen(self) -> list[str]:
        """Disk for what frozen layers give, where it is kept and files tell how large it is."""
        run, limit = self.run, self.layout.frozen_gb
        width, tokens = run.model.facts().get("hidden_size"), getattr(run.task, "max_tokens", None)
        if not isinstance(run.train.freeze, int) or not possible(run.train, run.task) or not width or not tokens or not limit:
            return []
        layers = f"{run.train.freeze} layer{'s' if run.train.freeze > 1 else ''}, computed once for each row"
        if run.task.splits():
            return [f"frozen   {layers}: how much that takes is {LATER}"]
        held = (self.rows.splits["train"] + self.rows.splits["valid"]) * tokens * width * (4 if run.train.precision == "fp32" else 2)
        fits = "" if held <= limit * 2**30 else f"; beyond {limit:g} GiB (layout.frozen_gb) they are computed at every pass"
        return [f"frozen   {layers}: at most {size(held)} on each node while the run lasts{fits}"]

    def _stage(self, held: Footprint) -> tuple[int, str]:
        """(the ZeRO stage, why)."""
        layout = self.layout
        if layout.zero != "auto":
            return layout.zero, f"ZeRO {layout.zero}"
        possible, room = stages(self.run.train, layout.offload, layout.workers), worker_bytes(layout, self.slots() or 1)
        if room is None:
            return possible[0], f"the first ZeRO stage that fits {FILLED:.0%} of a worker's memory, which only the cluster knows"
        stage = held.cheapest(room, possible)
        fits = "the first that fits" if held.at(stage) <= FILLED * room else "which holds the least and does not fit"
        return stage, f"ZeRO {stage}, {fits} {FILLED:.0%} of the {size(room)} of a worker,"

    def width(self) -> str:
        """How wide the run is."""
        layout = self.layout
        place = f"the Ray cluster at '{layout.joins()}'" if layout.joins() else "a local Ray"
        device = f"{layout.gpus_per_worker:g} GPU" if layout.gpus_per_worker else f"{layout.cpus_per_worker:g} CPU"
        batch = self.main.batch_rows(layout.workers)
        micro = f"{self.main.unit()} over all workers and update"
        if batch is not None:
            micro = f"{layout.micro_rows(batch)} {self.main.each()} x {layout.accumulation(batch)} per worker and update"
        side = ""
        if self.run.tune:
            slots = self.slots()
            side = "; as many trainings side by side as the cluster holds" if slots is None else f"; {slots} training(s) side by side"
        workers = f"{layout.fewest()} to {layout.workers}" if layout.is_elastic() else f"{layout.workers}"
        return f"width    {place}: {workers} worker(s) x {device}, {micro}{side}"


def expected(run: RunConfig, layout: Layout, root: Path, corpus: Any) -> dict[str, Any]:
    """What `run.json` keeps of the plan, to be compared with what comes true: stage to what it is expected to take."""
    costs = costs_of(run, layout, root, corpus)
    return {"tune": costs.sweep.model_dump()} if costs.sweep else {}


def costs_of(run: RunConfig, layout: Layout, root: Path, corpus: Any) -> Costs:
    """Costs by the rates of an earlier run in the same storage; `corpus` is finished or pending."""
    before = history.earlier(root.parent, {"model": identify(run.model), "task": identify(run.task), "packing": run.train.packing})
    return Costs(run, layout, estimates.rows_of(run, corpus), before, prepared_rows(run, root, corpus))


def share_of(share: float) -> str:
    """1/9, 0.3, 1."""
    parts = round(1 / share)
    return f"1/{parts}" if parts > 1 and abs(share * parts - 1) < 1e-6 else f"{share:.3g}"


def size(count: float) -> str:
    """1.5 GB, 363 MB."""
    power = min(4, int(math.log(max(count, 1), 1000)))
    return f"{count / 1000**power:.3g} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"
