"""No hop at all: the caller starts the command itself, `python -m bench.peers.bare_spawn popen|asyncio`."""

import asyncio
import os
import subprocess
import sys

from bench.peers.asking import ARGUMENTS, PROMPT, follow_orders

_COMMAND = (os.environ["COMMAND"], *ARGUMENTS)


async def spawn_with_asyncio() -> bytes:
    """Start it with what asyncio has, and give what it prints."""
    process = await asyncio.create_subprocess_exec(
        *_COMMAND, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate(PROMPT.encode())
    if process.returncode:
        raise RuntimeError(f"exit status {process.returncode}")
    return printed


async def spawn_with_popen() -> bytes:
    """Start it with Popen, stdin and stdout in memory files, and wait on a pidfd."""
    loop = asyncio.get_running_loop()
    stdin, stdout = os.memfd_create("stdin"), os.memfd_create("stdout")
    try:
        os.pwrite(stdin, PROMPT.encode(), 0)
        process = subprocess.Popen(_COMMAND, stdin=stdin, stdout=stdout)  # noqa: ASYNC220 - it does not block: vfork
        pidfd = os.pidfd_open(process.pid)
        exited = loop.create_future()
        loop.add_reader(pidfd, exited.set_result, None)
        try:
            await exited
        finally:
            loop.remove_reader(pidfd)
            os.close(pidfd)
        if process.wait():
            raise RuntimeError(f"exit status {process.returncode}")
        return os.pread(stdout, os.fstat(stdout).st_size, 0)
    finally:
        os.close(stdin)
        os.close(stdout)


if __name__ == "__main__":
    asyncio.run(follow_orders({"popen": spawn_with_popen, "asyncio": spawn_with_asyncio}[sys.argv[1]]))
