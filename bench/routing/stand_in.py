"""The stand-in for the CLI: takes the seconds its prompt says, to a millisecond, and keeps the ledger of its runs.

One process and one program started: bash tells the microseconds and waits by itself, where `sh` needs `sleep` and has
the hundredths of /proc/uptime. Measured over bare `setpriv`, per run: sh + sleep 1.2 ms of CPU and 3.1 ms too long,
bash 1.0 ms and 1.7 ms, perl 1.5 ms and 3.7 ms.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from bench.routing.idleness import Span

RESPONDER_VARIABLE = "BENCH_RESPONDER"
_FIELDS = 4

# A pipe that is open at both ends and that nobody writes to: reading it is waiting. A line is one write.
_SCRIPT = f"""#!/bin/bash
if [ "$1" = --version ]; then echo "0.0.0 (stand-in)"; exit; fi
LC_ALL=C
read -r token seconds
echo "started $token ${RESPONDER_VARIABLE} $EPOCHREALTIME" >>"{{folder}}/ledger"
read -rt "$seconds" never <>"{{folder}}/silence"
echo "ended $token ${RESPONDER_VARIABLE} $EPOCHREALTIME" >>"{{folder}}/ledger"
echo '{{{{"type":"result","subtype":"success","is_error":false,"result":"ok","session_id":"s","num_turns":1}}}}'
"""


@dataclass(frozen=True)
class Run:
    """One start of the stand-in.

    Attributes:
        token: Of its request.
        responder: Whose it is.
        started_at: Seconds since the epoch.
        ended_at: The same; None while it runs, and when it was ended.
    """

    token: str
    responder: str
    started_at: float
    ended_at: float | None = None

    @property
    def span(self) -> Span:
        """From its start to its end; of one without an end there is nothing."""
        return Span(self.started_at, self.started_at if self.ended_at is None else self.ended_at)


@dataclass(frozen=True)
class StandIn:
    """The command, and what it writes down.

    Attributes:
        folder: Where both are.
    """

    folder: Path

    @property
    def command(self) -> Path:
        """What the responders run."""
        return self.folder / "claude"

    def write(self) -> None:
        """Write the command."""
        os.mkfifo(self.folder / "silence")
        self.command.write_text(_SCRIPT.format(folder=self.folder))
        self.command.chmod(0o755)

    def runs(self) -> list[Run]:
        """Give all runs until now, in the order of their starts."""
        ledger = self.folder / "ledger"
        return read_ledger(ledger.read_text() if ledger.exists() else "")


def prompt(token: str, seconds: float) -> str:
    """Give the prompt that makes the stand-in take so many seconds."""
    return f"{token} {seconds:.6f}\n"


def read_ledger(text: str) -> list[Run]:
    """Read what the stand-in wrote; a half written line is not there yet."""
    runs: list[Run] = []
    under_way: dict[tuple[str, str], int] = {}
    for fields in map(str.split, text.rpartition("\n")[0].splitlines()):
        if len(fields) != _FIELDS:
            continue
        what, token, responder, at = fields
        if what == "started":
            under_way[token, responder] = len(runs)
            runs.append(Run(token, responder, float(at)))
        elif (token, responder) in under_way:
            index = under_way.pop((token, responder))
            runs[index] = Run(token, responder, runs[index].started_at, float(at))
    return runs
