"""The faults, each done for real to a fleet under load; what they have seen is judged elsewhere."""

import asyncio
import signal
from collections.abc import Awaitable, Callable

from chaos.clock import now
from chaos.evidence import Fault, open_slots
from chaos.fleet import Fleet
from chaos.ledger import Run
from chaos.plan import RESPONDERS, SLOTS
from chaos.processes import ChaosError, holds_within, wait_until

# From the kill of either side to the end of the last process that belongs to it.
GONE_WITHIN_S = 2.0
# From the return of a responder to the end of the runs that nobody awaits: a beat, its answer, the end of a CLI that
# obeys. One that was cut off has to connect again first: two seconds for an attempt that began while it was, and more.
ABANDONED_WITHIN_S = 3.0
ABANDONED_AFTER_CUT_S = 6.0

_AFTERWARDS_S = 1.0
_PICK_WITHIN_S = 5.0
_FULL_WITHIN_S = 1.5
_DRAIN_WITHIN_S = 60.0
_LOOK_EVERY_S = 0.05


async def kill(fleet: Fleet) -> Fault:
    """Kill a responder with SIGKILL, and see what is left of its runs after two seconds."""
    victim = await _pick(fleet)
    processes = len(fleet.processes(victim))
    fault = _fault(fleet, victim)
    fleet.kill(victim)
    fault.at, fault.processes = now(), processes
    fleet.no_more()
    fault.left, fault.gone_after_s = await fleet.watch_processes(GONE_WITHIN_S, victim)
    return fault


async def freeze(fleet: Fleet) -> Fault:
    """Stop a responder with SIGSTOP, and let it go on seconds later."""
    victim = await _pick(fleet)
    fault = _fault(fleet, victim)
    fleet.responders[victim].signal(signal.SIGSTOP)
    fault.at = now()
    await asyncio.sleep(fleet.plan.outage_s)

    async def thaw() -> None:
        fleet.responders[victim].signal(signal.SIGCONT)

    await _undo(fleet, fault, thaw, ABANDONED_WITHIN_S)
    fleet.no_more()
    return fault


async def partition(fleet: Fleet) -> Fault:
    """Cut a responder off without a word, and heal its wire seconds later."""
    victim = await _pick(fleet)
    wire = fleet.wires[victim]
    await wire.cut()
    # Afterwards, since cutting takes some hundredths of a second, in which runs begin and end.
    fault = _fault(fleet, victim)
    fault.note = wire.kind
    await asyncio.sleep(fleet.plan.outage_s)
    await _undo(fleet, fault, wire.heal, ABANDONED_AFTER_CUT_S)
    # The load goes on: what the old connection still holds arrives seconds after the healing, among what is new.
    await asyncio.sleep(max(0.0, fault.at + _sent_again_s(fleet.plan.outage_s) + _AFTERWARDS_S - now()))
    fleet.no_more()
    return fault


def _sent_again_s(outage_s: float) -> float:
    """Give after how many seconds of a cut TCP sends again what it could not bring through an outage.

    Source: RFC 6298, with Linux's 0.2 s at first: after 0.2, 0.6, 1.4, 3, 6.2 and 12.6 s.
    """
    sent_s = pause_s = 0.2
    while sent_s <= outage_s:
        pause_s *= 2
        sent_s += pause_s
    return sent_s


async def kill_node(fleet: Fleet) -> Fault:
    """Kill the node of a cluster at which the requester and a responder are."""
    fault = await _wait_for_runs(fleet)
    node = fleet.servers[0]
    clients = await node.clients()
    names = {f"claude-responder {RESPONDERS[0]}", "claude-requester"}
    if not names <= clients:
        raise ChaosError(f"{names - clients} is not at {node.name}")
    fault.note = f"{len(clients)} of 4 clients were there"
    fault.at = now()
    await node.kill()
    fleet.no_more()
    return fault


async def restart_server(fleet: Fleet) -> Fault:
    """Kill the only server, and start it again at the same address."""
    fault = await _wait_for_runs(fleet)
    await fleet.servers[0].kill()
    await asyncio.sleep(fleet.plan.outage_s)
    await fleet.servers[0].start()
    fault.healed_at = now()
    fleet.no_more()
    return fault


async def kill_everything(fleet: Fleet) -> Fault:
    """Kill all responders and the only server, and start them again."""
    fault = await _wait_for_runs(fleet)
    for name in RESPONDERS:
        fleet.kill(name)
    fault.at, fault.victims = now(), RESPONDERS
    await fleet.servers[0].kill()
    await asyncio.sleep(fleet.plan.outage_s)
    await fleet.servers[0].start()
    await asyncio.gather(*(fleet.start_responder(f"{name}-new") for name in RESPONDERS))
    fleet.no_more()
    return fault


async def kill_requester(fleet: Fleet) -> Fault:
    """Kill the requester with SIGKILL, see what is left of all runs after two seconds, and wait for what starts yet."""
    fault = await _wait_for_runs(fleet)
    fault.processes = len(fleet.processes())
    fleet.load.signal(signal.SIGKILL)
    fault.at = now()
    fault.left, fault.gone_after_s = await fleet.watch_processes(GONE_WITHIN_S)
    await asyncio.sleep(_AFTERWARDS_S)
    return fault


async def roll_stopping_first(fleet: Fleet) -> Fault:
    """Restart all responders, one after the other: each is told to stop, and replaced when it has ended."""
    return await _roll(fleet, starts_first=False)


async def roll_starting_first(fleet: Fleet) -> Fault:
    """Restart all responders, one after the other: each is told to stop when its replacement is ready."""
    return await _roll(fleet, starts_first=True)


async def _roll(fleet: Fleet, *, starts_first: bool) -> Fault:
    fault = await _wait_for_runs(fleet)
    for name in RESPONDERS:
        if starts_first:
            await fleet.start_responder(f"{name}-new")
        fleet.responders[name].signal(signal.SIGTERM)
        async with asyncio.timeout(_DRAIN_WITHIN_S):
            await fleet.responders[name].wait()
        if not starts_first:
            await fleet.start_responder(f"{name}-new")
    fault.healed_at = now()
    fleet.no_more()
    return fault


async def _wait_for_runs(fleet: Fleet) -> Fault:
    """Wait for the middle of the load, until a long run is under way."""
    await fleet.wait_until_sent(fleet.plan.middle)
    await wait_until(lambda: bool(_long_runs(fleet)), "a long run is under way", _PICK_WITHIN_S * fleet.plan.pace)
    at = now()
    return Fault(at, under_way=sum(run.is_under_way(at) for run in fleet.cli.ledger.runs()))


async def _pick(fleet: Fleet) -> str:
    """Wait for the middle of the load, and pick the responder with the most runs, a long one among them.

    If one has all its slots taken soon, it is that one: then none of its runs can be so new that the ledger does not
    know it yet.
    """
    await _wait_for_runs(fleet)
    await holds_within(lambda: _fault(fleet, _busiest(fleet)).open_slots == 0, _FULL_WITHIN_S)
    return _busiest(fleet)


def _busiest(fleet: Fleet) -> str:
    at, runs = now(), fleet.cli.ledger.runs()
    names = {run.responder for run in _long_runs(fleet)} or set(RESPONDERS)
    return min(sorted(names), key=lambda name: open_slots(runs, name, at))


def _fault(fleet: Fleet, victim: str) -> Fault:
    """Give a fault that is done to a responder now."""
    at = now()
    slots = open_slots(fleet.cli.ledger.runs(), victim, at)
    return Fault(at, (victim,), slots, SLOTS - slots)


def _long_runs(fleet: Fleet) -> list[Run]:
    tokens = fleet.plan.long_tokens()
    return [run for run in fleet.cli.ledger.runs() if run.token in tokens and run.is_under_way(now())]


async def _undo(fleet: Fleet, fault: Fault, undo: Callable[[], Awaitable[None]], within_s: float) -> None:
    """Undo a fault, and see whether the runs are ended whose requester has moved on."""
    ended = {asked.token for asked in fleet.journal.read() if asked.ended_at is not None}
    abandoned = [run for run in _runs_of(fleet, fault) if run.token in ended]
    await undo()
    fault.healed_at = now()
    fault.abandoned = len(abandoned)
    await holds_within(lambda: not _still_there(fleet, fault, abandoned), within_s, _LOOK_EVERY_S)
    fault.overdue = len(_still_there(fleet, fault, abandoned))


def _runs_of(fleet: Fleet, fault: Fault) -> list[Run]:
    return [run for run in fleet.cli.ledger.runs() if run.responder in fault.victims and run.is_under_way(now())]


def _still_there(fleet: Fleet, fault: Fault, runs: list[Run]) -> list[Run]:
    """Give those of some runs that have a process, or, where the ledger knows no processes, that have not ended."""
    processes = fleet.processes()
    tokens = {run.token for run in _runs_of(fleet, fault)}
    return [run for run in runs if (processes & set(run.pids) if run.pids else run.token in tokens)]
