"""Sojourn times of the same traces in every way, real and simulated."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bench.routing.asking import Answer, ask_all, failures
from bench.routing.fleet import FLOOR, SLOTS, Shape, Way, fleet, fleet_ways
from bench.routing.idleness import Span, idle_while_waiting
from bench.routing.plot import sojourn_plot
from bench.routing.sheet import Sheet
from bench.routing.simulation import central_queue, random_group
from bench.routing.sojourns import Sojourns
from bench.routing.stand_in import Run
from bench.routing.trace import Trace, poisson_trace
from bench.routing.trials import Fleetwise, Trial, panels, sheet
from bench.routing.usage import Usage

IDEAL = "ideal: one queue (simulated)"
RANDOM = "random group (simulated)"
# What a request may wait while any slot of the fleet is free.
IDLE_MAX_S = 0.05


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        loads: Shares of all slots that are busy on average.
        seeds: One trace for each, at each load.
        responders: How many.
        duration_s: From the first request to the last.
    """

    loads: Sequence[float]
    seeds: Sequence[int]
    responders: int
    duration_s: float

    @property
    def slots(self) -> int:
        """How many there are in the whole fleet."""
        return self.responders * SLOTS


async def measure(plan: Plan, say: Callable[[str], None]) -> tuple[Sheet, str]:
    """Carry out every trial; gives the numbers and the plot.

    Args:
        plan: What is measured.
        say: Is told what begins.
    """
    trials: list[Trial] = []
    for load in plan.loads:
        for seed in plan.seeds:
            trace = poisson_trace(seed=seed, load=load, slots=plan.slots, duration_s=plan.duration_s)
            trials += _simulated(plan, trace, load, seed)
            for way in (FLOOR, *fleet_ways()):
                say(f"load {load:g}, seed {seed}, {way.name}: {len(trace.arrivals)} requests")
                trials.append(await _real(plan, trace, load, seed, way))
    title = f"Sojourn times: {plan.responders} responders of {SLOTS} slots, {plan.duration_s:g} s of requests"
    return sheet(f"{title}, median of {len(plan.seeds)} seeds", trials), sojourn_plot(title, panels(trials))


def _simulated(plan: Plan, trace: Trace, load: float, seed: int) -> list[Trial]:
    ideal = Sojourns(central_queue(trace, plan.slots))
    chosen = Sojourns(random_group(trace, members=plan.responders, slots=SLOTS, seed=seed))
    return [Trial(IDEAL, load, seed, ideal, ideal), Trial(RANDOM, load, seed, chosen, ideal)]


async def _real(plan: Plan, trace: Trace, load: float, seed: int, way: Way) -> Trial:
    shape = Shape(1, plan.slots, way) if way is FLOOR else Shape(plan.responders, SLOTS, way)
    async with fleet(shape) as running:
        before = await running.usage()
        answers = await ask_all(running.requester, trace)
        spent = await running.usage() - before
        runs = running.runs()
    seen = _fleetwise(trace, answers, runs, spent, plan.slots)
    ideal = Sojourns(central_queue(trace, plan.slots))
    return Trial(way.name, load, seed, _sojourns(answers), ideal, seen, failures(answers))


def _fleetwise(trace: Trace, answers: Sequence[Answer], runs: Sequence[Run], spent: Usage, slots: int) -> Fleetwise:
    count = len(answers)
    ended = max(answer.due_at + answer.sojourn_s for answer in answers)
    idle = _idle(answers, runs, slots)
    as_held = replace(trace, services=_as_held(trace, answers))
    return Fleetwise(
        to_own=_sojourns(answers).mean / Sojourns(central_queue(as_held, slots)).mean,
        per_s=count / (ended - answers[0].due_at),
        messages_in=spent.messages_in / count,
        messages_out=spent.messages_out / count,
        cpu_ms=1000 * spent.cpu_s / count,
        idle_max_ms=1000 * max(idle, default=0.0),
        idle_late=sum(seconds > IDLE_MAX_S for seconds in idle),
        sent_again=sum(answer.attempts > 1 for answer in answers),
        failed=sum(failures(answers).values()),
        run_again=len(runs) - len({run.token for run in runs}),
    )


def _idle(answers: Sequence[Answer], runs: Sequence[Run], slots: int) -> list[float]:
    started_at = {run.token: run.started_at for run in reversed(runs)}
    waits = [Span(answer.due_at, started_at[answer.token]) for answer in answers if answer.token in started_at]
    return idle_while_waiting(waits, [run.span for run in runs], slots)


def _as_held(trace: Trace, answers: Sequence[Answer]) -> tuple[float, ...]:
    """Give the service times as they were, with the start and the end of a process."""
    pairs = zip(answers, trace.services, strict=True)
    return tuple(answer.execution_s if answer.attempts else service for answer, service in pairs)


def _sojourns(answers: Sequence[Answer]) -> Sojourns:
    return Sojourns(answer.sojourn_s for answer in answers if answer.attempts)
