"""The wire that is cut without a word."""

import asyncio
import subprocess
import sys
from asyncio.subprocess import PIPE

import pytest

from chaos.namespaces import namespaces

# Connects, and passes its stdin on.
_CALLER = """
import socket, sys
wire = socket.create_connection((sys.argv[1], int(sys.argv[2])))
for line in sys.stdin:
    wire.sendall(line.encode())
"""


def _is_permitted() -> bool:
    """Say whether this machine lets us make a namespace with a wire in it, asked without any code of ours."""
    argv = ["unshare", "--net", "ip", "link", "add", "cna", "type", "veth", "peer", "name", "cnb"]
    try:
        return subprocess.run(argv, check=False, capture_output=True, timeout=10).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not _is_permitted(), reason="needs root's right to make network namespaces, which CI has")
async def test_a_cut_wire_is_silent_until_it_is_healed() -> None:
    """What is sent meanwhile neither arrives nor fails; it arrives when the wire is whole again."""
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            heard.put_nowait(line)
        writer.close()

    async with asyncio.timeout(30), namespaces(1) as (wire,):
        server = await asyncio.start_server(listen, wire.server, 0)
        port = server.sockets[0].getsockname()[1]
        argv = [*wire.prefix, sys.executable, "-c", _CALLER, wire.server, str(port)]
        caller = await asyncio.create_subprocess_exec(*argv, stdin=PIPE)
        assert caller.stdin is not None
        caller.stdin.write(b"before\n")
        assert await heard.get() == b"before\n"
        await wire.cut()
        caller.stdin.write(b"meanwhile\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(heard.get(), 0.5)
        assert caller.returncode is None
        await wire.heal()
        assert await heard.get() == b"meanwhile\n"
        caller.stdin.close()
        assert await caller.wait() == 0
        server.close()
