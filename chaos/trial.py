"""Carrying out one case: set up, load, fault, the end of everything, and only then the judgement."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chaos.cases import Case, Topology
from chaos.checks import Check
from chaos.cli import CLI, real, stand_in
from chaos.clock import now
from chaos.evidence import LOST_AFTER_S, Evidence
from chaos.fleet import Fleet, fleet
from chaos.namespaces import NamespaceError, namespaces
from chaos.plan import RESPONDERS, Plan
from chaos.servers import Server, server_cluster, single_server
from chaos.wire import Wire, relayed

# The real CLI takes about a second to start on two busy cores.
_PACE_OF_REAL = 8.0
_NO_API_THERE = "the real CLI asks the API on loopback"


@dataclass(frozen=True)
class Options:
    """How the cases are carried out.

    Attributes:
        is_short: With fewer requests and shorter outages.
        cli: The real CLI; None for the stand-in.
        is_relayed: Whether a relay stands in for the network, also where there could be namespaces.
    """

    is_short: bool = False
    cli: Path | None = None
    is_relayed: bool = False


@dataclass(frozen=True)
class Verdict:
    """What has become of a case.

    Attributes:
        case: The case.
        evidence: What was seen.
        checks: What it had to show, and whether it has.
        seconds: How long it took.
    """

    case: Case
    evidence: Evidence
    checks: Sequence[Check]
    seconds: float

    @property
    def is_good(self) -> bool:
        """Whether it has shown all."""
        return all(check.is_good for check in self.checks)


@dataclass(frozen=True)
class NoVerdict:
    """Why a case has none.

    Attributes:
        case: The case.
        reason: Why.
    """

    case: Case
    reason: str


async def carry_out(case: Case, options: Options, folder: Path) -> Verdict:
    """Carry out a case.

    Args:
        case: Which.
        options: How.
        folder: An empty directory for its files.

    Raises:
        ChaosError, NamespaceError, OSError: It could not be carried out.
    """
    began = now()
    plan = case.plan(is_short=options.is_short, pace=_PACE_OF_REAL if options.cli else 1.0)
    async with (
        _cli(options, plan, folder) as cli,
        _nats(case.topology, options, folder) as (servers, wires),
        fleet(plan, folder, servers, cli, wires) as running,
    ):
        running.begin()
        fault = await case.inflict(running)
        await _wait_for_end(case, running)
    evidence = Evidence(
        plan,
        running.journal.read(),
        cli.ledger.runs(),
        fault,
        len(running.processes()),
        running.exits(),
        running.defects(),
    )
    return Verdict(case, evidence, [judge(evidence) for judge in case.judges()], now() - began)


async def _wait_for_end(case: Case, running: Fleet) -> None:
    """Wait until every request has ended, or must be called lost."""
    if case.has_requester:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(running.plan.duration_s + running.plan.timeout_s + LOST_AFTER_S):
                await running.load.wait()


@contextlib.asynccontextmanager
async def _cli(options: Options, plan: Plan, folder: Path) -> AsyncIterator[CLI]:
    if options.cli is None:
        yield stand_in(folder)
        return
    async with real(options.cli, plan) as cli:
        yield cli


@contextlib.asynccontextmanager
async def _nats(
    topology: Topology, options: Options, folder: Path
) -> AsyncIterator[tuple[list[Server], Mapping[str, Wire]]]:
    async with contextlib.AsyncExitStack() as stack:
        match topology:
            case Topology.CLUSTER:
                yield await stack.enter_async_context(server_cluster(folder)), {}
            case Topology.SINGLE:
                yield await stack.enter_async_context(single_server(folder)), {}
            case Topology.WIRED:
                yield await _wired(stack, options, folder)


async def _wired(
    stack: contextlib.AsyncExitStack, options: Options, folder: Path
) -> tuple[list[Server], Mapping[str, Wire]]:
    """Give every responder a wire of its own: a namespace each, or a relay each where that cannot be."""
    wires: Sequence[Wire]
    reason = "as asked" if options.is_relayed else _NO_API_THERE
    if options.cli is None and not options.is_relayed:
        try:
            wires = made = await stack.enter_async_context(namespaces(len(RESPONDERS)))
            servers = await stack.enter_async_context(single_server(folder, made[0].server))
            return servers, dict(zip(RESPONDERS, wires, strict=True))
        except NamespaceError as error:
            reason = str(error)
    servers = await stack.enter_async_context(single_server(folder))
    wires = [await stack.enter_async_context(relayed(servers[0].url, reason)) for _ in RESPONDERS]
    return servers, dict(zip(RESPONDERS, wires, strict=True))
