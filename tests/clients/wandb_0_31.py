"""W&B's client as Heliostat calls it: names, arguments and answers recorded from wandb 0.31.0, without its service and its server."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

RUN = (
    "entity project dir id name notes tags config config_exclude_keys config_include_keys allow_val_change group job_type mode force"
    " reinit resume resume_from fork_from save_code tensorboard sync_tensorboard monitor_gym settings anonymous"
).split()
"""Arguments of `wandb.init`."""


class Client:
    """Stands for the module; what was sent is in `runs`, by id, as the server of an online run would have it."""

    def __init__(self, *, key: bool = True):
        self.key, self.runs, self.alive, self.most_alive = key, {}, [], 0

    def login(self, *, prompt: bool = True, **others: Any) -> bool:
        assert not prompt, "nobody is there to answer"
        return self.key

    def Settings(self, *, console: str = "auto", silent: bool = False, x_disable_stats: bool = False) -> Any:
        return SimpleNamespace(console=console, silent=silent, x_disable_stats=x_disable_stats)

    def init(self, **given: Any) -> Run:
        assert not set(given) - set(RUN), "wandb.init has no such argument"
        assert given["reinit"] == "create_new", "otherwise a second call gives the first one's run"
        assert given["settings"].console == "off", "the terminal is ours"
        known = given["id"] in self.runs and given["mode"] == "online" and given["resume"] == "allow"
        if not known:
            self.runs[given["id"]] = SimpleNamespace(given=given, rows={}, summary={}, ignored=0, exit_code=None, opened=0)
        run = Run(self, given["id"])
        self.alive.append(run)
        self.most_alive = max(self.most_alive, len(self.alive))
        return run


class Run:
    """One run that is open."""

    def __init__(self, client: Client, id: str):
        self._client, self.id = client, id
        self._sent = client.runs[id]
        self._sent.opened += 1
        self.starting_step = max(self._sent.rows, default=-1) + 1
        self.summary = self._sent.summary
        self._open = True

    def log(self, data: dict[str, Any], step: int | None = None, commit: bool | None = None) -> None:
        assert self._open, "a finished run takes nothing"
        assert step is not None
        if step < max(self._sent.rows, default=0):
            self._sent.ignored += 1  # W&B says so in its log, and forgets the data
            return
        self._sent.rows.setdefault(step, {}).update(data)

    def finish(self, exit_code: int | None = None) -> None:
        self._open, self._sent.exit_code = False, exit_code or 0
        self._client.alive.remove(self)


def differences(real: Any) -> list[str]:
    """What the real client has not, of what this one stands for."""
    named = set(inspect.signature(real.init).parameters)
    lacking = [f"init({name})" for name in RUN if name not in named]
    lacking += [] if "prompt" in inspect.signature(real.login).parameters else ["login(prompt)"]
    members = [(real.Run, name) for name in ("log", "finish", "starting_step")]
    return lacking + [f"Run.{name}" for kind, name in members if not hasattr(kind, name)]
