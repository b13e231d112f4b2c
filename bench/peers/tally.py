"""What one way took, and what it comes to for each request."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.load import Latencies
from bench.peers.spent import NOTHING, Spent


@dataclass(frozen=True)
class Tally:
    """Sums over orders.

    Attributes:
        seconds: Of each call that was answered.
        elapsed_s: Of the orders together.
        failed: How many calls were not answered.
        server: The CPU of the serving side: of the caller where that starts the command itself.
        broker: The CPU of what is between.
    """

    seconds: tuple[float, ...] = ()
    elapsed_s: float = 0.0
    failed: int = 0
    server: Spent = NOTHING
    broker: Spent = NOTHING

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.seconds + other.seconds,
            self.elapsed_s + other.elapsed_s,
            self.failed + other.failed,
            self.server + other.server,
            self.broker + other.broker,
        )

    @classmethod
    def of(cls, answer: Mapping[str, Any], server: Spent, broker: Spent) -> "Tally":
        """Read a caller's answer to an order."""
        return cls(tuple(answer["seconds"]), answer["elapsed_s"], answer["failed"], server, broker)

    def numbers(self) -> dict[str, float | int | None]:
        """Give what it comes to, by column; without any answer there are only failures."""
        if not self.seconds:
            return dict.fromkeys(COLUMNS) | {"failed": self.failed}
        latencies = Latencies(self.seconds, self.elapsed_s, self.server.own_s)
        calls = len(self.seconds) + self.failed
        cpu_s = (self.server.own_s, self.broker.own_s, self.server.reaped_s)
        found = (latencies.p50_ms, latencies.p99_ms, latencies.per_s, *(1000 * spent / calls for spent in cpu_s))
        return dict(zip(COLUMNS, (*found, self.failed), strict=True))


COLUMNS = ("p50 ms", "p99 ms", "per s", "server CPU ms", "broker CPU ms", "command CPU ms", "failed")
