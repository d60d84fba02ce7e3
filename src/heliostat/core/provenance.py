"""Where a result came from: the code, the versions, the machine, and the content of the files it read."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from heliostat import __version__
from heliostat.core.errors import UserError

PACKAGES = ("ray", "torch", "transformers", "deepspeed", "peft", "pyarrow", "numpy")
WHOLE_FILE_BYTES = 64 << 20
PACKAGE_SCHEME = "package:"


def describe() -> dict[str, Any]:
    """Versions, machine and commit, for `run.json`."""
    return {
        "heliostat": __version__,
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "machine": {"system": platform.platform(), "cpus": os.cpu_count(), "memory_bytes": memory_bytes()},
        "commit": _commit(),
        "command": sys.argv,
    }


def version(package: str) -> str | None:
    """The installed version, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def memory_bytes() -> int:
    """Physical memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _commit() -> str | None:
    result = subprocess.run(["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return result.stdout.strip() or None


def locate(path: str) -> Path:
    """A path as a person writes it: absolute, relative, `~`, or `package:NAME/inside` for data an installed package carries."""
    if not path.startswith(PACKAGE_SCHEME):
        return Path(path).expanduser()
    name, _, inside = path[len(PACKAGE_SCHEME) :].partition("/")
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"'{path}': the Python package '{name}' is not installed. Install it with: pip install {name.replace('_', '-')}")
    return Path(spec.submodule_search_locations[0]) / inside


def content_fingerprint(files: Iterable[Path], root: Path | None = None) -> str:
    """16 hex digits for the names (below `root`) and the bytes of `files`.

    Files over 64 MiB count by their size and their first, middle and last MiB, so that planning stays fast.
    """
    digest = hashlib.sha256()
    for file in sorted(files):
        name = str(file.relative_to(root)) if root else file.name
        size = file.stat().st_size
        digest.update(f"{name}\x00{size}\x00".encode())
        with file.open("rb") as f:
            if size <= WHOLE_FILE_BYTES:
                digest.update(f.read())
            else:
                for at in (0, size // 2, size - (1 << 20)):
                    f.seek(at)
                    digest.update(f.read(1 << 20))
    return digest.hexdigest()[:16]
