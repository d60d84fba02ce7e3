"""The house rules, held by reading the code: who may import whom, how large a file may grow, what a stage folder looks like."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "heliostat"
FILES = sorted(SOURCE.rglob("*.py"))
JOBS = sorted((ROOT / "jobs").glob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

ENGINES = {"ray", "deepspeed", "peft", "transformers"}
HEAVY = {*ENGINES, "torch", "pandas", "sklearn", "scipy"}
STAGES = ("corpus", "pretrain", "train", "tune", "ensemble", "pseudo_label", "distil", "evaluate", "report")
ALLOWED_BETWEEN_STAGES = {("tune", "train"), ("distil", "train"), ("pretrain", "train"), ("pseudo_label", "train")}
LINES, FUNCTION_LINES, PARAMETERS, JOB_LINES = 400, 60, 7, 40
COMMANDS_OF_CLICK = {"cli.py"}


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """(module, line) of every import in `tree`, wherever it stands; `from a import b` counts as a and a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def at_import(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Imports that happen when the module is imported: outside functions and `if TYPE_CHECKING`."""
    for node in tree.body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Try | ast.If):
            yield from imports(node)


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def told(path: Path) -> str:
    return str(path.relative_to(ROOT))


def part(path: Path) -> str:
    """The first folder below the package, or the module's name."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def members(family: str) -> list[Path]:
    folder = SOURCE / Path(*family.split("."))
    return [p for p in folder.glob("*.py") if p.name not in ("__init__.py", "config.py")]


TRAVEL = (SOURCE / "tasks" / "_clap.py",)
"""Model code that goes with exports, whole and alone."""


def is_light(path: Path) -> bool:
    """cli, core, configs, commands and family members answer at once: nothing heavy at import."""
    from heliostat.core.family import FAMILIES

    relative = path.relative_to(SOURCE)
    in_family = any(path in members(family) for family in FAMILIES) and path not in TRAVEL
    return relative.name in ("cli.py", "config.py", "space.py", "artifacts.py") or relative.parts[0] in ("core", "commands") or in_family


def test_engines_are_driven_in_the_engine_only() -> None:
    allowed = [SOURCE / "engine", SOURCE / "tune" / "samplers", SOURCE / "tune" / "schedulers", SOURCE / "serve" / "app.py", *TRAVEL]
    wrong = []
    for path in FILES:
        if any(path.is_relative_to(place) for place in allowed):
            continue
        tree = parsed(path)
        in_task = path in members("tasks")
        found = at_import(tree) if in_task else imports(tree)
        wrong += [f"{told(path)}:{line} imports {name}" for name, line in found if name.split(".")[0] in ENGINES]
    assert not wrong, "\n".join(sorted(set(wrong)))


def test_light_modules_import_nothing_heavy() -> None:
    found = ((path, name, line) for path in FILES if is_light(path) for name, line in at_import(parsed(path)))
    wrong = [f"{told(path)}:{line} imports {name} at the top" for path, name, line in found if name.split(".")[0] in HEAVY]
    assert not wrong, "\n".join(wrong)


def test_stages_do_not_import_stages() -> None:
    wrong = []
    for path in FILES:
        mine = part(path)
        if mine not in STAGES:
            continue
        for name, line in imports(parsed(path)):
            other = name.split(".")[1] if name.startswith("heliostat.") and name.count(".") else ""
            if other in STAGES and other != mine and (mine, other) not in ALLOWED_BETWEEN_STAGES and not _is_config(name):
                wrong.append(f"{told(path)}:{line} imports {name}")
    assert not wrong, "\n".join(sorted(set(wrong)))


def _is_config(name: str) -> bool:
    """A stage's frozen settings are vocabulary; what it does is not."""
    return name.split(".")[2:3] == ["config"]


@pytest.mark.parametrize(
    ("layer", "may"),
    [
        ("core", {"core"}),
        ("artifacts", {"core"}),
        ("metrics", {"core", "artifacts", "metrics"}),
        ("tasks", {"core", "artifacts", "tasks"}),
    ],
)
def test_layers_look_downward(layer: str, may: set[str]) -> None:
    wrong = []
    for path in (p for p in FILES if part(p) == layer):
        for name, line in imports(parsed(path)):
            words = name.split(".")
            if words[0] == "heliostat" and len(words) > 1 and words[1] not in may | {"__version__"}:
                wrong.append(f"{told(path)}:{line} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_nothing_below_the_command_line_imports_it() -> None:
    below = [path for path in FILES if part(path) not in ("cli", "commands", "__main__")]
    found = ((path, name, line) for path in below for name, line in imports(parsed(path)))
    wrong = [f"{told(p)}:{line} imports {n}" for p, n, line in found if n.startswith(("heliostat.cli", "heliostat.commands"))]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", FILES, ids=told)
def test_a_file_has_one_duty(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= LINES, f"{text.count(chr(10))} lines"
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "no docstring that says the file's duty"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= FUNCTION_LINES, f"{node.name} has {length} lines"
            count = len(node.args.args) + len(node.args.kwonlyargs) - (bool(node.args.args) and node.args.args[0].arg in ("self", "cls"))
            assert count <= PARAMETERS or path.name in COMMANDS_OF_CLICK, f"{node.name} takes {count} parameters"


@pytest.mark.parametrize("path", [*FILES, *JOBS], ids=told)
def test_no_name_or_handler_hides_what_it_does(path: Path) -> None:
    assert path.stem not in ("utils", "helpers", "common", "manager", "misc")
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"line {node.lineno}: a bare except"
            silent = len(node.body) == 1 and isinstance(node.body[0], ast.Pass)
            assert not (silent and ast.unparse(node.type) in ("Exception", "BaseException")), f"line {node.lineno}: swallows everything"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_folder_has_one_shape(stage: str) -> None:
    folder = SOURCE / stage
    body = parsed(folder / "__init__.py").body
    assert len(body) == 1, "__init__.py holds more than its docstring"
    assert isinstance(body[0], ast.Expr)
    names = [t.id for n in parsed(folder / "config.py").body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)]
    assert "VERSION" in names
    assert (folder / "stage.py").exists()


def test_jobs_are_short() -> None:
    assert JOBS
    for path in JOBS:
        assert path.read_text().count("\n") <= JOB_LINES, path
        assert not [n for n in ast.walk(parsed(path)) if isinstance(n, ast.FunctionDef | ast.ClassDef)], f"{path}: a job holds no logic"


def test_every_test_tests() -> None:
    wrong = []
    for path in TESTS:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                text = ast.unparse(node)
                if not any(word in text for word in ("assert", "raises", "check", "expect")):
                    wrong.append(f"{told(path)}:{node.lineno} {node.name}")
    assert not wrong, "\n".join(wrong)


def answer(*arguments: str) -> tuple[str, list[str]]:
    """(stdout, heavy modules that were imported) of one command in a fresh process."""
    loaded_heavy = f"print([m for m in {sorted(HEAVY)!r} if m in sys.modules])"
    code = f"import sys; from heliostat.cli import main; main({list(arguments)!r}); {loaded_heavy}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    told, _, loaded = done.stdout.strip().rpartition("\n")
    return told, ast.literal_eval(loaded)


@pytest.mark.parametrize("arguments", ["--help", "list", "list metrics", "plan configs/quickstart.yaml --set trian.x=1"])
def test_the_command_line_answers_without_torch_and_ray(arguments: str) -> None:
    assert answer(*arguments.split())[1] == []


def test_a_plan_starts_no_engine() -> None:
    told, loaded = answer("plan", "configs/quickstart.yaml")
    assert "tune" in told
    assert loaded == []
