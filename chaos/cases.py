"""The cases: for each a load, a fault and what it must show."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from chaos import checks, faults
from chaos.checks import Judge
from chaos.evidence import Fault
from chaos.fleet import Fleet
from chaos.plan import Plan


class Topology(StrEnum):
    """What NATS is like."""

    SINGLE = "one server"
    CLUSTER = "a cluster of three"
    WIRED = "one server, every responder at a wire of its own"


@dataclass(frozen=True)
class Case:
    """One fault under load.

    Attributes:
        name: What it is called on the command line.
        does: The fault in a few words.
        inflict: Does it.
        must: What must be seen afterwards, besides what every case must show.
        topology: What NATS is like.
        long_s: How long the long runs take: longer than what the fault must not hide behind their natural end.
        outage_s: How long the fault lasts, where it ends.
        short_outage_s: The same in the short form.
        failover: What the requester is told.
        has_requester: Whether the requester lives to the end.
        is_durable: Whether the requests are submitted as durable work.
    """

    name: str
    does: str
    inflict: Callable[[Fleet], Awaitable[Fault]]
    must: tuple[Judge, ...]
    topology: Topology = Topology.SINGLE
    long_s: float = 4.5
    outage_s: float = 0.0
    short_outage_s: float = 0.0
    failover: str | None = None
    has_requester: bool = True
    is_durable: bool = False

    def plan(self, *, is_short: bool, pace: float) -> Plan:
        """Give its load.

        Args:
            is_short: Whether it is the short form.
            pace: By what all durations of runs are multiplied.
        """
        outage_s = self.short_outage_s if is_short else self.outage_s
        return Plan(
            self.name,
            SHORT_REQUESTS if is_short else REQUESTS,
            timeout_s=_TIMEOUT_S * pace,
            long_s=self.long_s * pace + outage_s,
            outage_s=outage_s,
            failover=self.failover,
            is_durable=self.is_durable,
            pace=pace,
        )

    def judges(self) -> tuple[Judge, ...]:
        """Give all that it must show."""
        return (*_ALWAYS, *(_OF_THE_LIVING if self.has_requester else ()), *self.must)


REQUESTS = 200
SHORT_REQUESTS = 40
_TIMEOUT_S = 30.0

_ALWAYS: tuple[Judge, ...] = (
    checks.met_runs,
    checks.none_wrong,
    checks.none_left_at_end,
    checks.exits_are_clean,
    checks.no_defects,
)
_OF_THE_LIVING: tuple[Judge, ...] = (checks.all_were_sent, checks.none_lost, checks.none_late)
_NOTHING_HAPPENED: tuple[Judge, ...] = (checks.all_answered, checks.none_twice)
_REPORTED: tuple[Judge, ...] = (checks.unstarted_answered, checks.failures_say_lost, checks.none_twice)
# Three beats are 2.25 s; a busy machine may look a second later.
_SILENCE: tuple[Judge, ...] = (*_REPORTED, checks.reported_within(3.5), checks.abandoned_ended)

CASES: tuple[Case, ...] = (
    Case(
        "kill",
        "kill -9 of a responder",
        faults.kill,
        (*_REPORTED, checks.reported_within(1.0), checks.none_left_in_time),
    ),
    Case(
        "kill-always",
        'the same, asked with failover="always"',
        faults.kill,
        (checks.all_answered, checks.twice_only_what_was_lost, checks.none_left_in_time),
        failover="always",
    ),
    Case(
        "freeze",
        "SIGSTOP of a responder, SIGCONT seconds later",
        faults.freeze,
        _SILENCE,
        long_s=faults.ABANDONED_WITHIN_S + 3.0,
        outage_s=10.0,
        short_outage_s=4.0,
    ),
    Case(
        "node",
        "kill -9 of the node in use, of a cluster of three",
        faults.kill_node,
        _NOTHING_HAPPENED,
        topology=Topology.CLUSTER,
        long_s=2.5,
    ),
    Case(
        "restart",
        "kill -9 of the only server, started again",
        faults.restart_server,
        _NOTHING_HAPPENED,
        long_s=2.5,
        outage_s=2.0,
        short_outage_s=1.0,
    ),
    Case(
        "partition",
        "silent partition of a responder, healed seconds later",
        faults.partition,
        _SILENCE,
        topology=Topology.WIRED,
        long_s=faults.ABANDONED_AFTER_CUT_S + 3.0,
        outage_s=8.0,
        short_outage_s=5.0,
    ),
    Case(
        "requester",
        "kill -9 of the requester's process",
        faults.kill_requester,
        (checks.none_left_in_time, checks.none_started_after_kill),
        long_s=8.0,
        has_requester=False,
    ),
    Case(
        "rolling",
        "restart of all responders, one by one: stop, then start",
        faults.roll_stopping_first,
        _NOTHING_HAPPENED,
        long_s=2.0,
    ),
    Case(
        "rolling-ahead",
        "the same: start, then stop",
        faults.roll_starting_first,
        _NOTHING_HAPPENED,
        long_s=2.0,
    ),
    Case(
        "durable",
        "kill -9 of all responders and the server, all started again",
        faults.kill_everything,
        (checks.all_answered, checks.twice_only_what_was_lost),
        long_s=2.5,
        outage_s=2.0,
        short_outage_s=1.0,
        failover="always",
        is_durable=True,
    ),
)
