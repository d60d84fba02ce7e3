"""The command line: what may be asked, and how an error ends. What is done is in `commands/`, imported when it is needed.

Exit codes: 0 the goal was met; 2 the request was wrong; 3 a gate failed; 4 the run failed; 130/143 interrupted.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from heliostat import __version__
from heliostat.core.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, EXIT_WRONG_REQUEST, HeliostatError, UserError

EXIT_TERMINATED = 128 + signal.SIGTERM


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="heliostat")
def cli() -> None:
    """From a pretrained model and your own data to a small model you can trust.

    One YAML file says what to do; one command does it:

        heliostat run configs/quickstart.yaml

    Run the same command again to resume: finished stages are kept.
    """


def request(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which run is meant; shared by run and plan."""
    options = [
        click.argument("config", type=click.Path(path_type=Path)),
        click.option("--cluster", metavar="PLACE", help="Where to run: a folder with layout.yaml, such as cluster/laptop."),
        click.option("--set", "assignments", metavar="PATH=VALUE", multiple=True, help="Set one value: --set train.epochs=2."),
        click.option("--name", help="Name of the run, instead of the config's."),
        click.option("--storage", type=click.Path(path_type=Path), help="Folder of all runs, instead of the layout's."),
        click.option("--replace", is_flag=True, help="Throw away and make again stages that were made with other settings."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@cli.command()
@request
def run(**options: Any) -> None:
    """Run CONFIG, or go on with it. The last line of stdout is the run's folder."""
    from heliostat.commands.request import Request
    from heliostat.commands.run import run as run_it

    run_it(Request(**options))


@cli.command()
@request
def plan(**options: Any) -> None:
    """Show what `run` would do, stage by stage, and start nothing."""
    from heliostat.commands.plan import plan as plan_it
    from heliostat.commands.request import Request

    plan_it(Request(**options))


@cli.command(name="list")
@click.argument("family", required=False)
def list_members(family: str | None) -> None:
    """Show the families of parts, their members and their options."""
    from heliostat.commands.listing import show_families

    show_families(family)


@cli.command(short_help="Show the stages, scores and verdict of RUN.")
@click.argument("run", type=click.Path(path_type=Path))
def show(run: Path) -> None:
    """Show the stages, scores and verdict of RUN (a folder, or a name under runs/)."""
    from heliostat.commands.show import show as show_it

    show_it(run)


@cli.command(short_help="Show what the sweep of RUN found, finished or not.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--top", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="Trials on the leaderboard.")
@click.option("--json", "as_json", is_flag=True, help="Everything as one JSON value, curves too, for programs.")
def sweep(run: Path, top: int, as_json: bool) -> None:
    """Show what the sweep of RUN (a folder, or a name under runs/) found, what it cost, and what failed.

    A sweep that is running or was interrupted is shown as far as it came.
    """
    from heliostat.commands.sweep import sweep as show_sweep

    show_sweep(run, top=top, as_json=as_json)


@cli.command()
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
def diff(first: Path, second: Path) -> None:
    """Show in which settings and scores two runs differ."""
    from heliostat.commands.diff import diff as diff_them

    diff_them(first, second)


@cli.command(short_help="Look at DATA and write a config that runs.")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--model", help="Pretrained model: a folder, package:NAME/folder, or a hub id.")
@click.option("--text", help="Column that is classified; guessed when not given.")
@click.option("--label", help="Column of the class; guessed when not given.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Where to write the config; NAME.yaml when not given.")
def init(data: Path, model: str | None, text: str | None, label: str | None, output: Path | None) -> None:
    """Look at DATA (csv, jsonl, parquet, or class folders of texts, pictures or recordings) and write a config that runs."""
    from heliostat.commands.init import init as write_config

    write_config(data, model=model, text=text, label=label, output=output)


@cli.command()
def schema() -> None:
    """Print the JSON schema of a config, for editors."""
    from heliostat.commands.schema import print_schema

    print_schema()


@cli.command(short_help="Check this machine, and train a tiny model for real.")
@click.option("--address", help="Ray cluster to check as well, for example 127.0.0.1:6379 or ray://head:10001.")
@click.option("--no-training", is_flag=True, help="Leave out the tiny real training at the end.")
def doctor(address: str | None, no_training: bool) -> None:
    """Check this machine: versions, devices, compiler, Ray, disk; then train a tiny model for real."""
    from heliostat.commands.doctor import doctor as examine

    examine(address=address, train=not no_training)


@cli.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--address", required=True, metavar="URL", help="The cluster's dashboard, for example http://127.0.0.1:8265.")
@click.option("--job", type=click.Choice(["full", "sweep"]), default="full", show_default=True, help="The whole story, or up to the sweep.")
@click.option("--cluster", metavar="PLACE", help="Layout to send along; address 'auto' when not given.")
@click.option("--set", "assignments", metavar="PATH=VALUE", multiple=True, help="Set one value of the config.")
@click.option("--name", help="Name of the run, instead of the config's.")
@click.option("--storage", help="Folder of all runs, as the cluster sees it.")
@click.option("--replace", is_flag=True, help="Throw away and make again stages that were made with other settings.")
@click.option("--detach", is_flag=True, help="Print the job's id and do not wait for it.")
def submit(**options: Any) -> None:
    """Send CONFIG to a Ray cluster, follow its log, and end as it ends."""
    from heliostat.commands.submit import Submission
    from heliostat.commands.submit import submit as send

    send(Submission(**options))


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; every error ends here, as text a person reads and an exit code a program reads."""
    arguments = list(sys.argv[1:] if args is None else args)
    try:
        return int(cli.main(args=arguments, prog_name="heliostat", standalone_mode=False) or EXIT_OK)
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.ClickException as error:
        return _usage(error)
    except HeliostatError as error:
        return _told(error)
    except (KeyboardInterrupt, click.Abort):
        return _interrupted(arguments, EXIT_INTERRUPTED)
    except SystemExit as leave:  # SIGTERM, by our handler or Ray's
        if leave.code in (signal.SIGTERM, EXIT_TERMINATED):
            return _interrupted(arguments, EXIT_TERMINATED)
        raise
    except BrokenPipeError:  # `heliostat list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except Exception as error:  # noqa: BLE001 - the boundary: nothing may end in a traceback on the terminal
        return _unexpected(error)


def _say(text: str) -> None:
    mark = "\x1b[1;31merror:\x1b[0m" if sys.stderr.isatty() else "error:"
    print(f"{mark} {text}", file=sys.stderr, flush=True)


def _told(error: HeliostatError) -> int:
    problems = error.problems if isinstance(error, UserError) else [str(error)]
    if len(problems) == 1:
        _say(problems[0])
    else:
        _say("\n".join([f"{len(problems)} problems:", *(f"  - {p}" for p in problems)]))
    return error.exit_code


def _usage(error: click.ClickException) -> int:
    context = getattr(error, "ctx", None)
    hint = f"\n  See: {context.command_path} --help" if context else ""
    _say(error.format_message() + hint)
    return EXIT_WRONG_REQUEST


def _interrupted(arguments: list[str], code: int) -> int:
    again = shlex.join(["heliostat", *arguments])
    resume = f" What is finished is kept; go on with:\n  {again}" if arguments[:1] == ["run"] else ""
    print(f"\nInterrupted.{resume}", file=sys.stderr, flush=True)
    return code


def _unexpected(error: Exception) -> int:
    with tempfile.NamedTemporaryFile("w", prefix="heliostat-", suffix=".log", delete=False, encoding="utf-8") as log:
        traceback.print_exception(error, file=log)
    first = (str(error).strip().splitlines() or [""])[0]
    _say(f"{type(error).__name__}: {first}\n  This is not an error Heliostat knows. The traceback is in {log.name}")
    return EXIT_FAILED
