"""What the load writes down of each request, a line of JSON when it is sent and one when it has ended."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos.clock import now

ANSWERED = "answered"
WRONG = "wrong_answer"


@dataclass
class Asked:
    """One request as its requester saw it.

    Attributes:
        token: Its name.
        sent_at: When `execute()` was called.
        ended_at: When that came back; None when it never did.
        code: `answered`, the error's code, or `wrong_answer` for another request's answer; None while under way.
        executed: What the error says: whether the CLI was started for it.
        responder: Who answered or failed it.
        error: The error's message.
    """

    token: str
    sent_at: float
    ended_at: float | None = None
    code: str | None = None
    executed: bool | None = None
    responder: str | None = None
    error: str = ""

    @property
    def is_answered(self) -> bool:
        """Whether its own answer came."""
        return self.code == ANSWERED

    def was_under_way(self, at: float) -> bool:
        """Say whether it was sent and had not ended at a time."""
        return self.sent_at <= at and (self.ended_at is None or self.ended_at > at)


class Journal:
    """The file of one load.

    Args:
        path: Where it is; nothing has happened as long as there is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def sent(self, token: str) -> None:
        """Write that a request is sent now."""
        self._write({"token": token, "sent_at": now()})

    def ended(self, token: str, **how: Any) -> None:
        """Write that a request has ended now."""
        self._write({"token": token, "ended_at": now(), **how})

    def read(self) -> list[Asked]:
        """Give all requests until now, in the order in which they were sent."""
        asked: dict[str, Asked] = {}
        for line in self._lines():
            token = line.pop("token")
            if "sent_at" in line:
                asked[token] = Asked(token, **line)
            else:
                for name, value in line.items():
                    setattr(asked[token], name, value)
        return list(asked.values())

    def count_sent(self) -> int:
        """Give how many requests have been sent until now."""
        return self._path.read_text().count('"sent_at"') if self._path.exists() else 0

    def _lines(self) -> Iterator[dict[str, Any]]:
        text = self._path.read_text() if self._path.exists() else ""
        # The last line may be half written.
        return (json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n"))

    def _write(self, entry: dict[str, Any]) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
