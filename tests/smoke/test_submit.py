"""A real cluster with token authentication, a real job: it ends as the run ends, well or badly."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]
BIN = Path(sys.executable).parent
JOBS = Path(__file__).parents[2] / "jobs"


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a client of a head node that asks for a token; the node's own processes end with it."""
    folder = tmp_path_factory.mktemp("submit")
    token = folder / "token"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    port, dashboard, client, agent, runtime = free_ports(5)
    environment = {k: v for k, v in os.environ.items() if k not in ("RAY_ADDRESS", "RAY_AUTH_TOKEN")}
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "PATH": f"{BIN}:{os.environ['PATH']}"}
    short = Path(f"/tmp/hs-{os.getpid()}")  # Ray's sockets need a short path
    head = [str(BIN / "ray"), "start", "--head", "--block", "--disable-usage-stats", "--num-cpus=3", f"--port={port}"]
    head += [f"--dashboard-port={dashboard}", f"--ray-client-server-port={client}", f"--dashboard-agent-listen-port={agent}"]
    head += [f"--runtime-env-agent-port={runtime}", "--include-dashboard=true", f"--temp-dir={short}", "--object-store-memory=150000000"]
    process = subprocess.Popen(head, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    url = f"http://127.0.0.1:{dashboard}"
    try:
        wait_for(url, token.read_text())
        yield {**environment, "HELIOSTAT_TEST_ADDRESS": url}
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        shutil.rmtree(short, ignore_errors=True)


def wait_for(url: str, token: str) -> None:
    request = urllib.request.Request(f"{url}/api/jobs/", headers={"Authorization": f"Bearer {token}"})
    last: object = None
    for _ in range(120):
        try:
            with urllib.request.urlopen(request, timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError as error:
            last = error
        time.sleep(0.5)
    pytest.fail(f"the cluster at {url} did not come up: {last}")


def submit(cluster: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "heliostat"), "submit", *arguments, "--address", cluster["HELIOSTAT_TEST_ADDRESS"]]
    return subprocess.run(command, env=cluster, capture_output=True, text=True, timeout=380, check=False)


def test_a_job_ends_as_the_run_ends(cluster: dict[str, str], tmp_path: Path, tiny_config: Path) -> None:
    done = submit(cluster, str(tiny_config), "--storage", str(tmp_path / "runs"))
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "runs" / "tiny" / "report" / "report.json").exists()
    assert "report: done" in done.stderr

    tree = yaml.safe_load(tiny_config.read_text())
    tree["report"] = {"gates": [{"metric": "accuracy", "min": 1.01}]}
    strict = tmp_path / "strict.yaml"
    strict.write_text(yaml.safe_dump(tree))
    missed = submit(cluster, str(strict), "--storage", str(tmp_path / "runs"), "--replace")
    assert missed.returncode == 3, missed.stderr[-3000:]
    assert "a gate was not met" in missed.stderr


def ray_job(cluster: dict[str, str], script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "ray"), "job", "submit", "--address", cluster["HELIOSTAT_TEST_ADDRESS"], "--"]
    command += [sys.executable, str(JOBS / script), *arguments]
    return subprocess.run(command, env=cluster, capture_output=True, text=True, timeout=380, check=False)


def test_the_scripts_in_jobs_run_under_ray_job_submit(cluster: dict[str, str], tmp_path: Path, tiny_config: Path) -> None:
    tree = yaml.safe_load(tiny_config.read_text())
    tree |= {"tune": {"trials": 2, "finalists": 2}, "ensemble": {"candidates": 2}}
    tiny_config.write_text(yaml.safe_dump(tree))
    runs = tmp_path / "runs"
    swept = ray_job(cluster, "sweep.py", str(tiny_config), "--storage", str(runs))
    assert swept.returncode == 0, swept.stdout[-3000:]
    assert (runs / "tiny/tune/manifest.json").exists()
    assert not (runs / "tiny/ensemble").exists()
    failed = ray_job(cluster, "full.py", str(tiny_config), "--storage", str(runs), "--set", "task.max_tokens=16")
    assert failed.returncode != 0
    assert "made with other settings" in failed.stdout + failed.stderr


def test_a_job_that_fails_on_the_cluster_fails_here(cluster: dict[str, str], tmp_path: Path, tiny_config: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the storage should be a folder")
    done = submit(cluster, str(tiny_config), "--storage", str(blocked))
    assert done.returncode == 2, done.stderr[-3000:]
    assert "cannot be written" in done.stderr


def test_without_the_token_nothing_is_sent(cluster: dict[str, str], tmp_path: Path, tiny_config: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text(secrets.token_hex(32))
    refused = submit({**cluster, "RAY_AUTH_TOKEN_PATH": str(wrong)}, str(tiny_config), "--storage", str(tmp_path / "runs"))
    assert refused.returncode == 2
    assert "RAY_AUTH_TOKEN" in refused.stderr
    assert not (tmp_path / "runs").exists()
    command = [str(BIN / "ray"), "job", "list", "--address", cluster["HELIOSTAT_TEST_ADDRESS"]]
    listed = subprocess.run(command, env=cluster, capture_output=True, text=True, check=False)
    assert listed.returncode == 0, json.dumps(listed.stderr[-500:])
