"""Which model to ship, and why."""

from __future__ import annotations

from typing import ClassVar

from heliostat.artifacts import Gate
from heliostat.report.evidence import Evidence
from heliostat.report.markup import tile
from heliostat.report.sections.base import Base
from heliostat.report.verdict import domain_interval, general_changes
from heliostat.report.wording import bound, change, esc, millions, millis, percent, plural, score, size, words

COSTS_TOLD = {"latency_ms_p50": millis, "latency_ms_p99": millis, "bytes": size, "params": millions}


class Verdict(Base):
    """The decision, its reason, the key numbers and the gates."""

    title: ClassVar[str] = "Verdict"
    order: ClassVar[int] = 10

    def render(self, evidence: Evidence) -> str:
        verdict = evidence.verdict
        held = "Ship" if verdict.passed else "Do not ship yet:"
        state = "passed" if verdict.passed else "failed"
        return (
            f'<div class="verdict {state}"><p class="call">{held} <strong>{esc(verdict.ship)}</strong></p>'
            f'<p class="because">{esc(bound(_sentence(verdict.because)))}</p>'
            f'<dl class="tiles">{"".join(_tiles(evidence))}</dl>{_gates(verdict.gates)}</div>'
        )


def _sentence(because: str) -> str:
    return because[:1].upper() + because[1:]


def _tiles(evidence: Evidence) -> list[str]:
    ship, base, metric = evidence.shipped, evidence.base_model, evidence.metric.name
    best = next(m for m in evidence.contenders if m.name == evidence.verdict.best)
    found = domain_interval(ship, metric)
    assert found is not None
    tiles = [tile(f"Domain {words(metric)}", score(found.value), f"95 % interval {score(found.low)} to {score(found.high)}")]
    if ship.bytes:
        against = f", {percent(ship.bytes / best.bytes)} of {best.name}" if best.bytes and best.name != ship.name else ""
        tiles.append(tile("Size", size(ship.bytes), f"{millions(ship.params)} parameters{against}"))
    if "p50" in ship.latency_ms:
        slow = f"p99 {millis(ship.latency_ms['p99'])}" if "p99" in ship.latency_ms else "one row at a time"
        before = f", base {millis(base.latency_ms['p50'])}" if base and "p50" in base.latency_ms else ""
        tiles.append(tile("Latency p50", millis(ship.latency_ms["p50"]), slow + before))
    changes = general_changes(ship, base, metric)
    if changes:
        worst = min(changes, key=lambda c: c.gain)
        scope = f"{worst.suite} {words(worst.metric)}, {score(worst.before)} to {score(worst.after)}"
        tiles.append(tile("General change", change(worst.delta), f"{'lowest: ' if len(changes) > 1 else ''}{scope}"))
    return tiles


def _gates(gates: tuple[Gate, ...]) -> str:
    if not gates:
        return '<p class="quiet">No gates are set: nothing but the rule above was asked of this model.</p>'
    failed = sum(not g.passed for g in gates)
    told = f"{failed} of {plural(len(gates), 'gate')} failed" if failed else f"{plural(len(gates), 'gate')}, all passed"
    return f'<h3>{esc(told)}</h3><ul class="gates">{"".join(map(_gate, gates))}</ul>'


def _gate(gate: Gate) -> str:
    subject, _, kind = gate.name.rpartition(" ")
    asked = {"min": "at least", "max": "at most", "max_drop": "may drop at most"}.get(kind, kind)
    metric = subject.rpartition(" ")[2]
    tell = COSTS_TOLD.get(metric, score)
    state = "passed" if gate.passed else "failed"
    shape = '<path d="M3 8.5l3.2 3L13 4.5"/>' if gate.passed else '<path d="M4 4l8 8M12 4l-8 8"/>'
    mark = f'<svg class="mark" viewBox="0 0 16 16" role="img" aria-label="{state}"><title>{state}</title>{shape}</svg>'
    told = "not measured" if gate.value is None else f"{'dropped ' if kind == 'max_drop' else ''}{tell(gate.value)}"
    return (
        f'<li class="{state}">{mark}<span class="what">{esc(words(subject))}</span>'
        f'<span class="asked">{esc(asked)} {esc(tell(gate.limit))}</span><span class="got">{esc(told)}</span></li>'
    )
