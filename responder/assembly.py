"""Putting a responder together from its settings."""

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from contract import RequestLimits, Subjects, new_ulid
from responder.admission import Admission
from responder.answers import Answers
from responder.arguments import ArgumentPolicy
from responder.attended import Instance
from responder.claims import Claims
from responder.cli_environment import CLIEnvironment
from responder.cli_probe import CLIProbe
from responder.demand import Demand
from responder.execution import Execution
from responder.fitness import Fitness, Pace
from responder.freshness import Freshness
from responder.health import Health
from responder.keyed import Keyed
from responder.looks import Looks, memory_left
from responder.micro import Micro
from responder.records import MemoryRecords
from responder.run import RunLimits, Runner
from responder.service import Service
from responder.settings import ResponderSettings
from responder.slots import Slots
from responder.standby import Standby
from responder.standby_arguments import mold_of_arguments
from responder.standby_limits import ReuseLimits, StandbyLimits
from responder.standby_process import Ground
from responder.statistics import Statistics
from responder.sweep import Sweeper
from responder.tracing import Tracing
from responder.working_directory import WorkingDirectories

BEAT_S = 0.75
# Of a request that comes in parts: JSON doubles a prompt of quotes and line ends; arguments come on top.
_MIB = 1024 * 1024
_REQUEST_REST_BYTES = 4 * _MIB


@dataclass(frozen=True)
class Parts:
    """What a responder is made of, put together by `assemble`."""

    settings: ResponderSettings
    mark: str
    instance: Instance
    sweeper: Sweeper
    runner: Runner
    probe: CLIProbe
    looks: Looks
    service: Service
    health: Health
    micro: Micro


def version() -> str:
    """Give the version of claude-nats."""
    try:
        return importlib.metadata.version("claude-nats")
    except importlib.metadata.PackageNotFoundError:
        return "0.0.0"


def argument_policy(settings: ResponderSettings) -> ArgumentPolicy:
    """Give the argument policy that the operator has set."""
    return ArgumentPolicy(frozenset(settings.allow), settings.models, settings.tools, settings.max_budget_usd)


def assemble(settings: ResponderSettings, host: Mapping[str, str], *, tracing: bool, pace: Pace | None = None) -> Parts:
    """Put a responder together.

    Args:
        settings: What it is started with.
        host: This process's environment.
        tracing: Whether the CLI exports its spans.
        pace: How long it stays away when it is not fit for work; None for the usual.
    """
    cli = settings.cli_path()
    subjects = Subjects(settings.subject_prefix)
    sweeper = Sweeper()
    limits = RunLimits(output_max_bytes=settings.output_max_bytes, stop_step_s=settings.stop_step_s)
    runner = Runner(sweeper, limits)
    mark = new_ulid()
    environment = CLIEnvironment(host, settings.cli_env, settings.cli_max_retries, tracing, mark)
    directories = WorkingDirectories([Path(root) for root in settings.cwd_roots], settings.scratch)
    request_limits = RequestLimits(
        prompt_max_bytes=settings.prompt_max_bytes, timeout_max_ms=round(settings.timeout_max_s * 1000)
    )
    spans = Tracing()
    request_max_bytes = 2 * settings.prompt_max_bytes + _REQUEST_REST_BYTES
    instance = Instance(new_ulid(), settings.name, BEAT_S, request_max_bytes, settings.inbox_prefix)
    policy = argument_policy(settings)
    ground = Ground(str(cli), environment.build_ahead(), directories, sweeper, limits, runner.stopped)
    fitness = Fitness(pace)
    standby = None if cli is None else _standby(settings, policy, ground, Freshness(cli, host))
    if standby is not None:
        standby.is_fit, standby.memory_left = lambda: fitness.reason is None, memory_left
    service = Service(
        inbox_prefix=settings.inbox_prefix,
        admission=Admission(request_limits, policy, directories),
        slots=Slots(settings.slots, settings.backlog_max, settings.batch_max_wait_s),
        execution=Execution(cli, runner, environment, directories, spans, standby),
        keyed=Keyed(Claims(MemoryRecords(settings.keep_results_s), instance.id)),
        answers=Answers(settings.name, environment.secrets()),
        tracing=spans,
        statistics=Statistics(datetime.now(UTC)),
        fitness=fitness,
    )
    probe = CLIProbe(cli, runner, environment)
    looks = Looks(probe, service.slots, settings.scratch)
    health = Health(service, probe, version())
    micro = Micro(settings.name, version(), subjects, service.slots, service.statistics, service.fitness)
    return Parts(settings, mark, instance, sweeper, runner, probe, looks, service, health, micro)


def _standby(
    settings: ResponderSettings, policy: ArgumentPolicy, ground: Ground, freshness: Freshness
) -> Standby | None:
    count_max = 3 * settings.slots if settings.standby_max is None else settings.standby_max
    if not count_max:
        return None
    molds = (mold_of_arguments(policy.arguments(args)) for args in settings.standby_args)
    reuse = ReuseLimits(settings.reuse_max, settings.reuse_age_max_s, settings.reuse_memory_mb * _MIB)
    limits = StandbyLimits(
        count_max, settings.standby_memory_mb * _MIB, age_max_s=settings.standby_age_max_s, reuse=reuse
    )
    return Standby(ground, limits, Demand(mold for mold in molds if mold is not None), freshness)
