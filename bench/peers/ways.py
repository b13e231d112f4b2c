"""What is measured: who asks, who serves, and what each way needs."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from bench.peers.installed import Need

SLOTS = 50


class Runtime(StrEnum):
    """What runs a program: our virtual environment, that of the others, or Node."""

    OURS = "ours"
    PEERS = "peers"
    NODE = "node"


class Broker(StrEnum):
    """What carries the requests."""

    NATS = "nats"
    REDIS = "redis"


@dataclass(frozen=True)
class Program:
    """A program to start.

    Attributes:
        runtime: What runs it.
        arguments: Its command line; for Node the first is a file of this folder.
    """

    runtime: Runtime
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Way:
    """One way to have the command run.

    Attributes:
        name: For `--only` and the JSON.
        title: For the table.
        caller: The program that asks, which follows the orders of `asking.py`.
        server: The program that answers; None where the caller does it itself.
        broker: What is between them; None for nothing.
        share: How much of the usual number of calls it makes: less for what is slow.
        needs_cli: Whether it understands nothing but the real CLI.
    """

    name: str
    title: str
    caller: Program
    server: Program | None = None
    broker: Broker | None = None
    share: float = 1.0
    needs_cli: bool = False

    @property
    def needs(self) -> frozenset[Need]:
        """What must be installed for it."""
        found = {
            Need.PYTHON: self.caller.runtime is Runtime.PEERS,
            Need.NODE: self.caller.runtime is Runtime.NODE,
            Need.REDIS: self.broker is Broker.REDIS,
        }
        return frozenset(need for need, needed in found.items() if needed)


def _ours(module: str, *arguments: str) -> Program:
    return Program(Runtime.OURS, ("-m", module, *arguments))


def _peers(*arguments: str) -> Program:
    return Program(Runtime.PEERS, ("-m", *arguments))


def _node(*arguments: str) -> Program:
    return Program(Runtime.NODE, arguments)


_BARE, _PLAIN = "bench.peers.bare_spawn", "bench.peers.plain_nats"
_CELERY, _FASTSTREAM = "bench.peers.celery_worker", "bench.peers.faststream_service"
OURS = Way(
    "ours",
    "requester → claude-responder",
    _ours("bench.peers.ours"),
    _ours("responder", "serve", "--name", "bench", "--slots", str(SLOTS)),
    Broker.NATS,
)
WAYS = (
    Way("popen", "spawn in the caller: Popen, memfd, pidfd", _ours(_BARE, "popen")),
    Way("asyncio", "spawn in the caller: asyncio", _ours(_BARE, "asyncio")),
    Way("echo", "nats-py, no command", _ours(_PLAIN, "ask", "echo"), _ours(_PLAIN, "serve", "echo"), Broker.NATS),
    Way("nats", "nats-py, asyncio", _ours(_PLAIN, "ask", "exec"), _ours(_PLAIN, "serve", "exec"), Broker.NATS),
    OURS,
    Way(
        "faststream",
        "FastStream NATS RPC, asyncio",
        _peers(_FASTSTREAM, "ask"),
        _peers(_FASTSTREAM, "serve"),
        Broker.NATS,
    ),
    Way("option2", "Fastify, HMAC", _node("option2.mjs", "ask"), _node("option2.mjs", "serve")),
    Way(
        "celery",
        "Celery, Redis, prefork",
        _peers(_CELERY),
        _peers("celery", "-A", _CELERY, "worker", "--loglevel", "INFO"),
        Broker.REDIS,
    ),
    Way(
        "option1",
        "Redis pub/sub to a main process",
        _node("option1.mjs", "ask"),
        _node("option1.mjs", "serve"),
        Broker.REDIS,
        share=0.4,
    ),
    Way("sdk", "claude-agent-sdk query()", _peers("bench.peers.agent_sdk"), needs_cli=True),
)
# With the real CLI its own start outweighs what is around it: these are enough unless others are asked for.
WITH_CLI = frozenset(("asyncio", OURS.name, "sdk"))


def chosen(only: Collection[str] | None, *, with_cli: bool) -> list[Way]:
    """Give the ways to measure.

    Args:
        only: Their names; None for all that make sense.
        with_cli: Whether they start the real CLI.
    """
    if only is None:
        return [way for way in WAYS if (way.name in WITH_CLI if with_cli else not way.needs_cli)]
    return [way for way in WAYS if way.name in only]
