"""Ray's job service: send a folder with a command to a cluster, follow its log, learn how it ended.

Tokens are Ray's own: with `RAY_AUTH_MODE=token` its client sends the token of `RAY_AUTH_TOKEN`, `RAY_AUTH_TOKEN_PATH`
or `~/.ray/auth_token`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from heliostat.core.errors import EXIT_FAILED, RunFailed, UserError

POLL_S = 0.5


class Jobs:
    """The job service at `address`, the URL of a cluster's dashboard."""

    def __init__(self, address: str):
        from ray.exceptions import RayError
        from ray.job_submission import JobSubmissionClient

        self.address = address
        self._refusals = (ConnectionError, RuntimeError, ValueError, RayError)
        try:
            self._client = JobSubmissionClient(address)
        except self._refusals as error:
            raise UserError(_unreachable(address, error)) from None

    def send(self, command: str, folder: Path, metadata: dict[str, str]) -> str:
        """Start `command` in a copy of `folder` on the cluster; the job's id."""
        try:
            return self._client.submit_job(entrypoint=command, runtime_env={"working_dir": str(folder)}, metadata=metadata)
        except self._refusals as error:
            raise UserError(_unreachable(self.address, error)) from None

    def follow(self, job: str, write: Callable[[str], Any]) -> int:
        """Hand the job's log to `write` until it ends; its exit code."""
        asyncio.run(self._tail(job, write))
        while not self._client.get_job_status(job).is_terminal():
            time.sleep(POLL_S)
        return self.exit_code(job)

    def exit_code(self, job: str) -> int:
        """How the job's command ended; 4 when Ray could not start or lost it."""
        info = self._client.get_job_info(job)
        if info.driver_exit_code is not None:
            return int(info.driver_exit_code)
        if str(info.status) == "SUCCEEDED":
            return 0
        if str(info.status) == "STOPPED":
            raise RunFailed(f"job '{job}' was stopped.")
        raise RunFailed(f"job '{job}' ended as {info.status}: {info.message} (exit {EXIT_FAILED}).")

    async def _tail(self, job: str, write: Callable[[str], Any]) -> None:
        async for text in self._client.tail_job_logs(job):
            write(text)


def _unreachable(address: str, error: Exception) -> str:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return (
        f"--address '{address}': the cluster's job service does not answer as it should: {first}\n"
        "  Give the dashboard's URL, such as http://127.0.0.1:8265. When the cluster asks for a token, set RAY_AUTH_MODE=token and put\n"
        "  the token in RAY_AUTH_TOKEN, in the file RAY_AUTH_TOKEN_PATH names, or in ~/.ray/auth_token."
    )
