"""Who ran what: every start of a CLI by the token in its prompt, told by the CLI itself or by the API it asks."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from chaos.clock import boot_time
from responder.stub_api import StubAPI

RESPONDER_HEADER = "x-chaos-responder"
_STARTED = "started"
_FIELDS = 6


@dataclass
class Run:
    """One start of a CLI.

    Attributes:
        token: Of its request.
        responder: Whose it is.
        started_at: When.
        pids: Of the CLI and its tool, where they are known.
        ended_at: When it said that it ended or was stopped; None when it never did.
    """

    token: str
    responder: str
    started_at: float
    pids: tuple[int, ...] = ()
    ended_at: float | None = None

    def is_under_way(self, at: float) -> bool:
        """Say whether it had started and had not ended at a time."""
        return self.started_at <= at and (self.ended_at is None or self.ended_at > at)


class Ledger(Protocol):
    """Where the starts are counted."""

    def runs(self) -> list[Run]:
        """Give all runs until now, in the order of their starts."""


class LedgerFile:
    """The ledger that the stand-in keeps: a line for each start and each end."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def runs(self) -> list[Run]:
        """Give all runs until now, in the order of their starts."""
        runs: list[Run] = []
        under_way: dict[int, Run] = {}
        for line in self._path.read_text().splitlines() if self._path.exists() else ():
            fields = line.split()
            if len(fields) < _FIELDS:
                continue  # half written
            what, token, responder, pid, tool, at = fields
            if what == _STARTED:
                under_way[int(pid)] = Run(token, responder, float(at), (int(pid), int(tool)))
                runs.append(under_way[int(pid)])
            else:
                under_way.pop(int(pid)).ended_at = float(at)
        return runs


class LedgerOfApi:
    """The ledger of the real CLI: the requests that the stub of the Messages API has had.

    Args:
        api: The stub.
        case: Whose tokens are looked for.
    """

    def __init__(self, api: StubAPI, case: str) -> None:
        self._api = api
        self._token = re.compile(rf"{re.escape(case)}-\d{{5}}")

    def runs(self) -> list[Run]:
        """Give all runs until now, in the order of their starts."""
        runs = []
        for request in self._api.requests:
            started_at = boot_time(request.started)
            ended_at = None if request.answer_s is None else started_at + request.answer_s
            if token := self._token.search(request.prompt):
                runs.append(Run(token[0], request.headers.get(RESPONDER_HEADER, ""), started_at, (), ended_at))
        return runs
