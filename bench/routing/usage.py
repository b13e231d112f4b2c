"""What it costs: messages through the server, and the CPU and memory of processes."""

import asyncio
import json
import os
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """What has been spent until a moment, or between two.

    Attributes:
        messages_in: What clients have sent to the server.
        messages_out: What the server has sent to clients.
        cpu_s: Of the responders' own processes, their children left out.
    """

    messages_in: int
    messages_out: int
    cpu_s: float

    def __sub__(self, other: "Usage") -> "Usage":
        return Usage(
            self.messages_in - other.messages_in, self.messages_out - other.messages_out, self.cpu_s - other.cpu_s
        )


async def usage(monitor_url: str, pids: Iterable[int]) -> Usage:
    """Ask the server, and look at the processes.

    Args:
        monitor_url: The server's monitoring address.
        pids: Of the responders.
    """
    varz = await asyncio.to_thread(_read, f"{monitor_url}/varz")
    return Usage(int(varz["in_msgs"]), int(varz["out_msgs"]), sum(map(cpu_s, pids)))


def monitor_url(folder: Path) -> str:
    """Give the monitoring address of the server that has its files there."""
    ports = next(folder.glob("nats-server_*.ports"))
    return str(json.loads(ports.read_text())["monitoring"][0])


def cpu_s(pid: int) -> float:
    """Give the CPU seconds that a process itself has taken (proc_pid_stat(5): utime and stime)."""
    # The name of the command may hold spaces and parentheses.
    fields = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def memory_mib(pid: int, *, peak: bool = False) -> float:
    """Give how much memory a process has in use, or had at most."""
    name = "VmHWM:" if peak else "VmRSS:"
    lines = (Path("/proc") / str(pid) / "status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


def _read(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own server on loopback
        return dict(json.load(answer))
