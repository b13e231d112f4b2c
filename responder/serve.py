"""One responder from its start to its end: put together, listen, drain, stop."""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from responder.assembly import Parts, assemble
from responder.child import SETPRIV, Child, ChildStartError
from responder.embedded import embedded_server
from responder.endpoints import listen
from responder.link import Link, Membership
from responder.processes import can_list_children
from responder.settings import ResponderSettings
from responder.signals import Signals
from responder.sweep import Sweeper, become_subreaper

_log = logging.getLogger(__name__)


class ServeError(Exception):
    """The responder cannot run here; the message is one line that says why."""


async def serve(settings: ResponderSettings, host: Mapping[str, str], *, tracing: bool) -> int:
    """Run a responder until it is told to stop.

    SIGTERM or SIGINT drains: it leaves the group, finishes what it has accepted, and ends with status 0; a second
    signal ends the runs at once.

    Returns:
        The exit status: 0 after a drain, 1 after a forced stop or when something it needs has ended.

    Raises:
        ServeError, LinkError, EmbeddedServerError: It cannot run.
    """
    prepare_host()
    parts = assemble(settings, host, tracing=tracing)
    signals = Signals()
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(signals.caught())
        needed = [await stack.enter_async_context(watchdog(parts.mark, parts.sweeper))]
        if settings.embedded:
            needed.append(await stack.enter_async_context(embedded_server(settings.servers[0], parts.sweeper)))
        link = await _connect(settings, signals)
        if link is None:
            return 0
        stack.push_async_callback(link.close)
        memberships = await listen(parts, link)
        _log.info(
            "ready: responder %s listens on %s with %d slots",
            settings.name,
            parts.micro.subjects.execute,
            settings.slots,
        )
        ends: set[asyncio.Future[Any]] = {signals.first, link.closed, *(child.exited for child in needed)}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not signals.first.done():
            _log.error("stopping: NATS, the watchdog or the embedded server has ended")
        return await _drain(parts, link, memberships, signals)


def prepare_host() -> None:
    """Make this process one that can run CLIs and leave none behind.

    Raises:
        ServeError: Something is missing for it.
    """
    if shutil.which(SETPRIV) is None:
        raise ServeError("setpriv is missing: install util-linux")
    if not can_list_children():
        raise ServeError("this kernel does not list children in /proc (CONFIG_PROC_CHILDREN), which the sweep needs")
    try:
        become_subreaper()
    except OSError as error:
        raise ServeError(f"cannot become a child subreaper: {error.strerror}") from error


@contextlib.asynccontextmanager
async def watchdog(mark: str, sweeper: Sweeper) -> AsyncIterator[Child]:
    """Have a process that ends what carries the mark if this one is killed, as long as the context lasts.

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
            yield child
        finally:
            child.send_signal(signal.SIGTERM)
            await child.wait()


async def _connect(settings: ResponderSettings, signals: Signals) -> Link | None:
    """Connect to NATS, which may take as long as it is away; None when a signal came first."""
    connecting = asyncio.ensure_future(Link.connect(settings.servers, f"claude-responder {settings.name}"))
    waited_for: set[asyncio.Future[Any]] = {connecting, signals.first}
    await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
    if connecting.done():
        return connecting.result()
    connecting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await connecting
    return None


async def _drain(parts: Parts, link: Link, memberships: list[Membership], signals: Signals) -> int:
    """Leave the group, finish what was accepted within the grace, then end what still runs."""
    is_asked = signals.first.done()
    _log.info("draining: %r", parts.service.slots)
    finished = asyncio.ensure_future(_leave_and_finish(link, memberships))
    await asyncio.wait(
        {finished, signals.second}, timeout=parts.settings.drain_grace_s, return_when=asyncio.FIRST_COMPLETED
    )
    if not finished.done():
        _log.warning("stopping at once: %r", parts.service.slots)
        parts.service.slots.close_backlog()
        parts.runner.stop_all()
        await finished
        return 1
    _log.info("drained")
    return 0 if is_asked else 1


async def _leave_and_finish(link: Link, memberships: list[Membership]) -> None:
    await link.leave(memberships[::-1])
    await link.wait_until_handled()
