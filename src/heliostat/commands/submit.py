"""`heliostat submit`: send a config to a Ray cluster as a job, follow its log, end with its exit code.

What travels is one resolved config and one layout; Heliostat itself is installed on the cluster, and the data and the
storage lie where the cluster sees them: paths that exist here are sent as absolute ones.
"""

from __future__ import annotations

import shlex
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import yaml

from heliostat.commands.request import Request
from heliostat.core.layout import read_layout
from heliostat.core.settings import assign, parse_assignment, read_yaml

JOBS: dict[str, list[str]] = {"full": [], "sweep": ["--set", "ensemble=null", "--set", "distil=null", "--set", "pseudo_label=null"]}
"""Job to what it adds to `heliostat run`."""
MODEL = "model.path"


@dataclass(frozen=True)
class Submission:
    """The options of submit."""

    config: Path
    address: str
    job: str = "full"
    cluster: str | None = None
    assignments: tuple[str, ...] = ()
    name: str | None = None
    storage: str | None = None
    replace: bool = False
    detach: bool = False


def submit(submission: Submission) -> None:
    """Send, follow, and end as the job ends. The job's id is the last line of stdout."""
    from heliostat.engine.jobs import Jobs

    asked = Request(submission.config, submission.cluster, submission.assignments, submission.name)
    run, layout, _ = asked.resolve({"address": submission.address})  # the room there is the cluster's, not this machine's
    jobs = Jobs(submission.address)
    with tempfile.TemporaryDirectory(prefix="heliostat-job-") as folder:
        pack(submission, Path(folder))
        job = jobs.send(command(submission), Path(folder), {"heliostat_run": run.name})
    click.echo(f"job {job} at {submission.address} ({layout.workers} worker(s) per training)", err=True)
    if submission.detach:
        click.echo(job)
        return
    try:
        code = jobs.follow(job, _to_stderr)
    except KeyboardInterrupt:
        click.echo(f"\nThe job goes on without you. To stop it: ray job stop --address {submission.address} {job}", err=True)
        raise
    click.echo(job)
    if code:
        raise click.exceptions.Exit(code)


def pack(submission: Submission, folder: Path) -> None:
    """Write what travels: `config.yaml` and `layout.yaml`."""
    tree = read_yaml(submission.config)
    for text in submission.assignments:
        tree = assign(tree, *parse_assignment(text))
    layout = read_layout(submission.cluster)
    storage = submission.storage or str(Path(layout.storage).expanduser().resolve())
    places = {**layout.dump(), "address": layout.address or "auto", "storage": storage}
    for name, value in (("config.yaml", absolute(tree)), ("layout.yaml", places)):
        (folder / name).write_text(yaml.safe_dump(value, allow_unicode=True, sort_keys=False), encoding="utf-8")


def absolute(tree: dict[str, Any]) -> dict[str, Any]:
    """The config with the paths of data, models and an older run that exist here made absolute."""
    out = dict(tree)
    model, corpus, tune = out.get("model"), out.get("corpus"), out.get("tune")
    if isinstance(model, dict) and isinstance(model.get("path"), str):
        out["model"] = {**model, "path": _here(model["path"])}
    if isinstance(tune, dict):
        out["tune"] = _absolute_sweep(tune)
    if isinstance(corpus, dict) and isinstance(corpus.get("sources"), list):
        out["corpus"] = {**corpus, "sources": [_absolute_source(source) for source in corpus["sources"]]}
    return out


def command(submission: Submission) -> str:
    """What the job runs."""
    words = ["python", "-m", "heliostat", "run", "config.yaml", "--cluster", "layout.yaml"]
    words += ["--name", submission.name] if submission.name else []
    words += ["--replace"] if submission.replace else []
    return shlex.join([*words, *JOBS[submission.job]])


def _absolute_source(source: Any) -> Any:
    paths = source.get("paths") if isinstance(source, dict) else None
    if paths is None:
        return source
    return {**source, "paths": [_absolute(path) for path in ([paths] if isinstance(paths, str) else paths)]}


def _absolute_sweep(tune: dict[str, Any]) -> dict[str, Any]:
    """The older run, and the searched models wherever the sweep names one; a name in the storage or in a hub stays as it is."""
    warm, space = tune.get("warm_start"), tune.get("space")
    if isinstance(warm, dict) and isinstance(warm.get("run"), str):
        tune = {**tune, "warm_start": {**warm, "run": _here(warm["run"])}}
    spec = space.get(MODEL) if isinstance(space, dict) else None
    listed = spec.get("choice") if isinstance(spec, dict) else None
    moved = {path: _here(path) for path in listed if isinstance(path, str)} if isinstance(listed, list) else {}
    moved = {path: place for path, place in moved.items() if path != place}
    if not moved:
        return tune
    parts: dict[str, Any] = {name: _models_moved(tune[name], moved) for name in ("space", "first_points") if name in tune}
    if isinstance(tune.get("constraints"), list):
        parts["constraints"] = [_quoted_moved(text, moved) if isinstance(text, str) else text for text in tune["constraints"]]
    return {**tune, **parts}


def _models_moved(value: Any, moved: dict[str, str], is_model: bool = False) -> Any:
    """`value` with the new path of every model that is named below a key `model.path`."""
    if isinstance(value, dict):
        return {key: _models_moved(each, moved, key == MODEL or (is_model and key == "choice")) for key, each in value.items()}
    if isinstance(value, list):
        return [_models_moved(each, moved, is_model) for each in value]
    return moved.get(value, value) if is_model and isinstance(value, str) else value


def _quoted_moved(text: str, moved: dict[str, str]) -> str:
    for old, new in moved.items():
        text = text.replace(f"'{old}'", f"'{new}'").replace(f'"{old}"', f'"{new}"')
    return text


def _here(path: str) -> str:
    """An absolute path when there is something at it here; else as it is."""
    place = Path(path).expanduser()
    return str(Path.cwd() / place) if place.exists() else path


def _absolute(path: str) -> str:
    beginning = Path(path.split("*", 1)[0].split("?", 1)[0]).expanduser()
    there = beginning if beginning.exists() else beginning.parent
    is_here = there.exists() and there != Path() and ":" not in path
    return str(Path.cwd() / Path(path).expanduser()) if is_here else path


def _to_stderr(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
