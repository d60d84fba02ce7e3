"""`heliostat plan`: what a run would do, stage by stage, why, and what it would cost. Nothing is started."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from heliostat.commands import estimates, history
from heliostat.commands.display import clock
from heliostat.commands.page import page
from heliostat.commands.request import Request
from heliostat.config import RunConfig
from heliostat.core.layout import Layout, local_gpus
from heliostat.core.settings import identify
from heliostat.core.workspace import Decision, Plan

STYLES = {"kept": "dim", "resume": "yellow", "run": "cyan", "changed": "bold red"}
SHOWN_DIFFERENCES = 12
UNKNOWN = "unknown until measured"


def plan(request: Request) -> None:
    """Print the plan of the request."""
    run, layout, root = request.resolve()
    from heliostat import pipeline  # after the config is known to be good: it takes longer than to find an error

    asked = Plan(root, run.seed, layout=layout)
    made: dict[str, Any] = {}

    def do(stage: Any, config: Any, **inputs: Any) -> Any:
        artifact = asked.do(stage, config, **inputs)
        made[asked.decisions[-1].name] = artifact
        return artifact

    pipeline.story(run, do)
    show(run, layout, root, asked.decisions, made["corpus"], request.replace)


def show(run: RunConfig, layout: Layout, root: Path, decisions: list[Decision], corpus: Any, replace: bool) -> None:
    """The plan as a page on stdout."""
    out = page()
    rows = estimates.rows_of(run, corpus)
    before = history.earlier(root.parent, {"model": identify(run.model), "task": identify(run.task)})
    costs = Costs(run, layout, rows, before)
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
    for fact in (told_time(times), costs.memory(), costs.width()):
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

    def slots(self) -> int:
        """Trainings side by side on this machine; a cluster's are known when it is joined."""
        fits = max(1, self.layout.trainings_on(self.layout.training_cpus(), local_gpus()))
        fits = fits if self.layout.gangs == "auto" else min(fits, self.layout.gangs)
        lag = self.run.tune.scheduler.lag() if self.run.tune else None
        return fits if lag is None else min(fits, lag + 1)

    def work(self, stage: str) -> str:
        """What the stage has to do, in a few words."""
        run, rows = self.run, self.rows
        if stage == "corpus":
            told = f"{'' if rows.exact else 'about '}{rows.read:,} rows read"
            return told if not rows.exact else f"{told}: " + ", ".join(f"{n:,} {split}" for split, n in rows.splits.items())
        if stage == "evaluate-base" or stage == "evaluate":
            suites = len(run.evaluate.general) + 1
            return f"{rows.told('test')} test rows; {suites} suite{'s' if suites > 1 else ''}"
        if stage == "train":
            return f"{estimates.steps(run.train, rows.splits['train']):,} steps of {run.train.batch} rows"
        if stage == "tune" and run.tune:
            cost = estimates.sweep_cost(run.tune, run.seed)
            total = estimates.steps(run.train, rows.splits["train"])
            rungs = [f"{n} to {share:.3g}" for n, share in zip(cost.jobs, run.tune.scheduler.rungs(), strict=True)]
            saved = 1 - cost.trainings / run.tune.trials
            plain = f", {saved:.0%} less than training each to the end" if saved > 0.005 else ""
            return f"{run.tune.trials} trials of {total:,} steps; {sum(cost.jobs)} jobs ({', '.join(rungs)} of a training){plain}"
        if stage == "ensemble" and run.ensemble:
            return f"{run.ensemble.candidates} candidates"
        if stage == "distil" and run.distil:
            return f"{estimates.steps(run.distil.train, rows.splits['train']):,} steps, {run.distil.layers} layers"
        return ""

    def seconds(self, stage: str) -> float | None:
        """About how long the stage takes, by an earlier run's rates; None when none was measured."""
        if self.before is None:
            return None
        rate, rows = self.before.row_seconds(), self.rows.splits["train"]
        if stage == "tune" and self.run.tune and rate is not None:
            return estimates.sweep_cost(self.run.tune, self.run.seed).trainings * rate * rows * self.run.train.epochs / self.slots()
        if stage == "train" and rate is not None:
            return rate * rows * self.run.train.epochs
        took = self.before.seconds(stage)
        if took is None:
            return None
        scale = rows / max(1, self.before.rows["train"])
        return took * (max(1.0, scale) if stage in ("report", "ensemble") else scale)

    def memory(self) -> str:
        """Memory of one worker, and how many work at once."""
        params = estimates.parameters(self.run.model)
        if params is None:
            return "memory   unknown until the model is downloaded"
        each = estimates.memory_bytes(params, self.run.train, self.layout)
        how = "weights, gradients and optimiser states" if self.run.train.lora is None else "weights and adapters"
        zero = f", ZeRO {self.layout.zero} over {self.layout.workers} workers" if self.layout.zero and self.layout.workers > 1 else ""
        return f"memory   {size(each)} per worker for {params / 1e6:.1f} M parameters ({how}{zero}); activations come on top"

    def width(self) -> str:
        """How wide the run is."""
        layout = self.layout
        place = f"the Ray cluster at '{layout.joins()}'" if layout.joins() else "a local Ray"
        device = f"{layout.gpus_per_worker:g} GPU" if layout.gpus_per_worker else f"{layout.cpus_per_worker:g} CPU"
        micro = f"{layout.micro_rows(self.run.train.batch)} rows x {layout.accumulation(self.run.train.batch)} per worker and update"
        if self.run.tune is None:
            side = ""
        elif not layout.joins():
            side = f"; {self.slots()} training(s) side by side"
        else:
            side = "; as many trainings side by side as the cluster holds"
        return f"width    {place}: {layout.workers} worker(s) x {device}, {micro}{side}"


def size(count: float) -> str:
    """1.5 GB, 363 MB."""
    power = min(4, int(math.log(max(count, 1), 1000)))
    return f"{count / 1000**power:.3g} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"
