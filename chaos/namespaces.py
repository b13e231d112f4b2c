"""Network namespaces, one for each responder, joined to the host by pairs of virtual interfaces.

They do not outlive the harness, not even one that is killed: a namespace goes with its last process, and its
interfaces with it.
"""

import asyncio
import contextlib
import os
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

# 198.18.0.0/15 is for measurements and never routed (RFC 2544): 2^17 addresses, of which each harness takes sixteen.
_NETWORK = 198
_HARNESSES = 2**13
# No interface has it. Packets with it leave, and nobody takes them.
_NOBODY = "02:00:00:00:00:01"
_HOLD_S = "86400"
_LOOK_EVERY_S = 0.01


class NamespaceError(Exception):
    """This machine makes no namespace for us; the message is one line that says why."""


@dataclass(frozen=True)
class Namespace:
    """A network namespace that lasts as long as its holder, a sleeping process, and takes its interfaces with it.

    Attributes:
        host: The host's address on the pair of interfaces.
        guest: The responder's.
        interfaces: Their names, here and inside.
        holder: The process id.
        server: The address on which the server listens: one of the host's, not always this pair's.
    """

    host: str
    guest: str
    interfaces: tuple[str, str]
    holder: int
    server: str

    @property
    def kind(self) -> str:
        """What it is, for the report."""
        return "network namespace"

    @property
    def prefix(self) -> tuple[str, ...]:
        """What runs a command in it."""
        return ("nsenter", f"--net=/proc/{self.holder}/ns/net")

    def url(self, port: int) -> str:
        """Give the address at which the responder finds the server."""
        return f"nats://{self.server}:{port}"

    async def join(self) -> None:
        """Make the pair of interfaces, one end here and one inside."""
        here, inside = self.interfaces
        await _run("ip", "link", "add", here, "type", "veth", "peer", "name", inside, "netns", str(self.holder))
        for address, name, prefix in ((self.host, here, ()), (self.guest, inside, self.prefix)):
            await _run(*prefix, "ip", "address", "add", f"{address}/30", "dev", name)
            await _run(*prefix, "ip", "link", "set", name, "up")
        await _run(*self.prefix, "ip", "link", "set", "lo", "up")
        await _run(*self.prefix, "ip", "route", "add", "default", "via", self.host)

    async def leave(self) -> None:
        """Remove the pair of interfaces now: what waits in a closed socket would keep the namespace for minutes."""
        with contextlib.suppress(NamespaceError):
            await _run("ip", "link", "delete", self.interfaces[0])

    async def cut(self) -> None:
        """Let both sides believe that the other has a hardware address which nobody has."""
        for address, name, prefix in self._neighbours():
            await _run(*prefix, "ip", "neigh", "replace", address, "lladdr", _NOBODY, "dev", name, "nud", "permanent")

    async def heal(self) -> None:
        """Let both sides ask for the other's hardware address again."""
        for address, name, prefix in self._neighbours():
            await _run(*prefix, "ip", "neigh", "del", address, "dev", name)

    def _neighbours(self) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
        here, inside = self.interfaces
        return (self.guest, here, ()), (self.host, inside, self.prefix)


@contextlib.asynccontextmanager
async def namespaces(count: int) -> AsyncIterator[list[Namespace]]:
    """Have network namespaces as long as the context lasts, or this process.

    Raises:
        NamespaceError: This machine does not permit it.
    """
    async with contextlib.AsyncExitStack() as stack:
        made: list[Namespace] = []
        for number in range(count):
            holder = await stack.enter_async_context(_holder())
            host, guest = (_address(number, last) for last in (1, 2))
            interfaces = (f"cnc{os.getpid()}-{number}", "cnc")
            made.append(Namespace(host, guest, interfaces, holder, _address(0, 1)))
            stack.push_async_callback(made[-1].leave)
            await made[-1].join()
        yield made


@contextlib.asynccontextmanager
async def _holder() -> AsyncIterator[int]:
    process = await asyncio.create_subprocess_exec(
        "setpriv", "--pdeathsig", "KILL", "--", "unshare", "--net", "sleep", _HOLD_S,
        stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        await _wait_until_apart(process)
        yield process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _wait_until_apart(holder: asyncio.subprocess.Process) -> None:
    while holder.returncode is None:
        if _is_apart(holder.pid):
            return
        await asyncio.sleep(_LOOK_EVERY_S)
    assert holder.stderr is not None  # noqa: S101 - it was started with a pipe
    raise NamespaceError(_first_line(await holder.stderr.read()) or "unshare failed")


def _is_apart(pid: int) -> bool:
    own, other = (Path("/proc") / name / "ns" / "net" for name in ("self", str(pid)))
    with contextlib.suppress(OSError):
        return other.readlink() != own.readlink()
    return False


async def _run(*argv: str) -> None:
    """Run a command of the system.

    Raises:
        NamespaceError: It failed.
    """
    try:
        process = await asyncio.create_subprocess_exec(*argv, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE)
    except OSError as error:
        raise NamespaceError(f"{argv[0]}: {error.strerror}") from error
    _, said = await process.communicate()
    if process.returncode:
        raise NamespaceError(_first_line(said) or f"{argv[0]} failed")


def _address(wire: int, last: int) -> str:
    """Give an address of this process's own: four for each wire, sixteen for each process."""
    number = 16 * (os.getpid() % _HARNESSES) + 4 * wire + last
    return f"{_NETWORK}.{number // 65536 + 18}.{number // 256 % 256}.{number % 256}"


def _first_line(said: bytes) -> str:
    return next(iter(said.decode(errors="replace").splitlines()), "")
