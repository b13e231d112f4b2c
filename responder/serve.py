"""One responder from its start to its end: put together, listen, drain, stop."""

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from responder.assembly import Parts, assemble
from responder.child import Child, ChildStartError
from responder.durable import Durable
from responder.embedded import embedded_server
from responder.endpoints import Listening, listen
from responder.fitness import Pace
from responder.link import Link
from responder.processes import can_list_children
from responder.settings import ResponderSettings
from responder.shared import share, take_durable
from responder.signals import Signals
from responder.sweep import Sweeper, become_subreaper

_log = logging.getLogger(__name__)
# Killing takes milliseconds and a sweep three seconds at most; the rest is for sending the last replies.
_FORCED_STOP_MAX_S = 8.0
_LOOK_EVERY_S = 0.01
# Three for each run; the usual soft limit of 1024 is not enough for many slots.
_OPEN_FILES = 65_536


class ServeError(Exception):
    """The responder cannot run here; the message is one line that says why."""


@dataclass(frozen=True)
class Stop:
    """How long a stop may take.

    Attributes:
        grace_s: Seconds in which what was accepted is finished.
        forced_max_s: Seconds in which the rest is ended, and its replies are sent.
    """

    grace_s: float
    forced_max_s: float = _FORCED_STOP_MAX_S


async def serve(
    settings: ResponderSettings,
    host: Mapping[str, str],
    *,
    tracing: bool,
    pace: Pace | None = None,
    stop: Stop | None = None,
) -> int:
    """Run a responder until it is told to stop.

    SIGTERM or SIGINT drains: it leaves the group, finishes what it has accepted, and ends with status 0; a second
    signal ends the runs at once.

    Args:
        settings: What it is started with.
        host: This process's environment.
        tracing: Whether the CLI exports its spans.
        pace: How long it stays away when it is not fit for work; None for the usual.
        stop: How long its end may take; None for the usual, with the grace of the settings.

    Returns:
        The exit status: 0 after a drain, 1 after a forced stop or when something it needs has ended.

    Raises:
        ServeError, LinkError, EmbeddedServerError: It cannot run.
    """
    prepare_host()
    _require_cli(settings)
    parts = assemble(settings, host, tracing=tracing, pace=pace)
    signals = Signals()
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(signals.caught())
        directories = parts.service.execution.directories
        stack.push_async_callback(directories.close)
        directories.remove_leftovers()
        guard = await stack.enter_async_context(watchdog(parts.mark, parts.sweeper))
        is_unreachable: set[asyncio.Future[Any]] = set()
        if settings.embedded:
            server = await stack.enter_async_context(
                embedded_server(settings.servers[0], parts.sweeper, parts.mark, settings.embedded_store)
            )
            is_unreachable.add(server.exited)
        link = await _connect(settings, signals)
        if link is None:
            return 0
        stack.push_async_callback(link.close)
        await link.require_inbox()
        shared = await share(settings, link)
        if shared.records is not None:
            parts.service.keyed.claims.records = shared.records
        listening = await stack.enter_async_context(listen(parts, link))
        durable = None
        if shared.queue is not None:
            durable, membership = await take_durable(parts, link, shared.queue)
            listening.memberships.append(membership)
        _log.info(
            "ready: responder %s listens on %s with %d slots",
            settings.name,
            parts.micro.subjects.execute,
            settings.slots,
        )
        gc.freeze()  # what is there now stays; going through it again and again took 3 % of the time of each request
        standby = parts.service.execution.standby
        if standby is not None:
            await stack.enter_async_context(standby.kept())
        is_unreachable.add(link.closed)
        ends: set[asyncio.Future[Any]] = {signals.first, guard.exited, *is_unreachable}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not signals.first.done():
            _log.error("stopping: the connection to NATS, the embedded server or the watchdog has ended")
        if standby is not None:
            standby.stop_starting()
        # Nobody would hear what is still finished once NATS has gone for good.
        is_lost = any(future.done() for future in is_unreachable)
        if is_lost:
            listening.attendance.give_up()
        finishing = asyncio.ensure_future(_leave_and_finish(link, listening, durable))
        stop = stop or Stop(settings.drain_grace_s)
        return await _drain(parts, listening, finishing, signals, replace(stop, grace_s=0.0) if is_lost else stop)


def prepare_host() -> None:
    """Make this process one that can run CLIs and leave none behind.

    Raises:
        ServeError: Something is missing for it.
    """
    if not can_list_children():
        raise ServeError("this kernel does not list children in /proc (CONFIG_PROC_CHILDREN), which the sweep needs")
    try:
        become_subreaper()
    except OSError as error:
        raise ServeError(f"cannot become a child subreaper: {error.strerror}") from error
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, _OPEN_FILES), hard))


def _require_cli(settings: ResponderSettings) -> None:
    """Refuse to start without a CLI: such a responder would answer faster than the others, and wrongly."""
    cli = settings.cli_path()
    if cli is None or not os.access(cli, os.X_OK):
        where = f"at {cli}" if cli else "on PATH"
        raise ServeError(f"no CLI {where}: npm install -g @anthropic-ai/claude-code, or name it with --cli")


@contextlib.asynccontextmanager
async def watchdog(mark: str, sweeper: Sweeper) -> AsyncIterator[Child]:
    """Have a process that ends what carries the mark if this one is killed, as long as the context lasts.

    It is armed from the start on.

    Raises:
        ServeError: It cannot be started.
    """
    argv = [sys.executable, "-m", "responder.watchdog", str(os.getpid()), mark]
    package = Path(__file__).parent.parent
    try:
        child = Child.start(argv, env={"PYTHONPATH": str(package)}, cwd=os.sep, stdin=b"")
    except ChildStartError as error:
        raise ServeError(f"the watchdog could not be started: {error}") from error
    sweeper.register_other(child.pid)
    with contextlib.closing(child):
        try:
            await _wait_until_armed(child)
            yield child
        finally:
            child.send_signal(signal.SIGTERM)
            await child.wait()


async def _wait_until_armed(child: Child) -> None:
    for_ever: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    while not child.output_bytes():
        if await child.wait_or(for_ever, _LOOK_EVERY_S):
            raise ServeError("the watchdog ended at once")


async def _connect(settings: ResponderSettings, signals: Signals) -> Link | None:
    """Connect to NATS, which may take as long as it is away; None when a signal came first."""
    connecting = asyncio.ensure_future(
        Link.connect(
            settings.servers, f"claude-responder {settings.name}", settings.inbox_prefix, settings.tls_context()
        )
    )
    waited_for: set[asyncio.Future[Any]] = {connecting, signals.first}
    await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
    if connecting.done():
        return connecting.result()
    connecting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await connecting
    return None


async def _drain(
    parts: Parts, listening: Listening, finishing: asyncio.Future[None], signals: Signals, stop: Stop
) -> int:
    """Leave the group, let go of what waits, finish what runs within the grace, then end what still runs."""
    is_asked = signals.first.done()
    _log.info("draining: %r", parts.service.slots)
    ends: set[asyncio.Future[Any]] = {finishing, signals.second}
    await asyncio.wait(ends, timeout=stop.grace_s, return_when=asyncio.FIRST_COMPLETED)
    is_finished = finishing.done()
    if not is_finished:
        _log.warning("stopping at once: %r", parts.service.slots)
        parts.service.slots.close()
        parts.runner.stop_all()
        await asyncio.wait({finishing}, timeout=stop.forced_max_s)
        listening.attendance.give_up()
    finishing.cancel()
    is_sent = (await asyncio.gather(finishing, return_exceptions=True))[0] is None
    if not is_sent:
        _log.error("NATS is away: the last replies may not have been sent")
    elif is_finished:
        _log.info("drained")
    return 0 if is_asked and is_finished and is_sent else 1


async def _leave_and_finish(link: Link, listening: Listening, durable: Durable | None) -> None:
    if durable is not None:
        await durable.stop()
    if listening.routing is not None:
        listening.routing.thief.stop()
    joined = await listening.presence.stop()
    await link.leave([*joined[::-1], *listening.memberships[::-1]])
    # What has not been started moves to another responder; it could not come back here now.
    listening.attendance.drain()
    if listening.routing is not None:
        await listening.routing.retire()
    await link.wait_until_handled()
    if listening.routing is not None:
        await listening.routing.thief.wait_until_done()
    if durable is not None:
        await durable.wait_until_done()
    await link.wait_until_sent()
