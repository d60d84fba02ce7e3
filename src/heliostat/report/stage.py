"""The report: one page for people, one JSON for programs, a card for each model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from heliostat.artifacts import Report
from heliostat.core.family import members
from heliostat.core.manifest import write_atomic, write_json
from heliostat.core.workspace import Context
from heliostat.report.cards import card, file_name
from heliostat.report.config import ReportConfig
from heliostat.report.evidence import Evidence
from heliostat.report.record import record
from heliostat.report.sections.base import Base as Section
from heliostat.report.wording import plural, seconds, words

HERE = Path(__file__).parent


def write(config: ReportConfig, *, ctx: Context, **inputs: Any) -> Report:
    """Judge the models and write `index.html`, `report.json` and `cards/<model>.md`; `inputs` are the fields of `Evidence`."""
    evidence = Evidence(folder=ctx.folder, config=config, **inputs)
    verdict = evidence.verdict
    write_atomic(ctx.folder / "index.html", page(evidence))
    write_json(ctx.folder / "report.json", record(evidence), ctx.folder.parent)
    for predictor in evidence.predictors:
        write_atomic(ctx.folder / "cards" / f"{file_name(predictor.name)}.md", card(evidence, predictor))
    return Report(fingerprint=ctx.fingerprint, path=ctx.folder, ship=verdict.ship, because=verdict.because, gates=verdict.gates)


def page(evidence: Evidence) -> str:
    """The whole page as HTML."""
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup

    found = [cast(Section, kind()) for kind in members("report.sections").values()]
    sections = sorted(found, key=lambda section: section.order)
    rendered = [(s.name(), s.title, Markup(s.render(evidence))) for s in sections]
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("page.html").render(
        style=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup((HERE / "page.js").read_text(encoding="utf-8")),
        title=evidence.config.title or evidence.run_name,
        run=evidence.run_name,
        sections=[(name, title, inside) for name, title, inside in rendered if inside],
        facts=_facts(evidence),
    )


def _facts(evidence: Evidence) -> list[str]:
    """What the run was, in a few words under its name."""
    facts = [words(evidence.task.name()), plural(sum(evidence.corpus.rows.values()), "row")]
    facts += [plural(len(evidence.contenders), "model") + (" and the base" if evidence.base_model else "")]
    facts += [plural(len(evidence.sweep.trials), "trial")] if evidence.sweep else []
    facts += [seconds(sum(evidence.seconds.values()))] if evidence.seconds else []
    return facts
