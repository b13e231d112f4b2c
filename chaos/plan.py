"""What the load asks, and when: the same in every run, since everything is drawn from a fixed seed. Pure."""

import random
from dataclasses import dataclass

SLOTS = 5
RESPONDERS = ("r1", "r2", "r3")


@dataclass(frozen=True)
class Planned:
    """One request.

    Attributes:
        token: Names it in the prompt, in the ledger and in the journal; no other request has it.
        seconds: How long its run takes.
        at_s: When it is sent, in seconds from the load's start.
        is_long: Whether it is one of those that are under way when the fault comes, whatever happens.
    """

    token: str
    seconds: float
    at_s: float
    is_long: bool

    @property
    def prompt(self) -> str:
        """What the CLI reads."""
        return f"{self.token} {self.seconds:.3f}"


@dataclass(frozen=True)
class Plan:
    """The load of one case.

    Short runs come at a steady rate. Three long ones are sent just before the middle, when the fault comes, so that
    there are always runs which end too late to hide what the fault did to them.

    Attributes:
        case: Whose load it is.
        requests: How many there are at least.
        timeout_s: What each may take.
        long_s: How long a long run takes.
        outage_s: How long the fault lasts, where it ends.
        failover: What the requester is told to do with a started request whose responder is lost; None for its default.
        is_durable: Whether the requests are submitted as durable work.
        pace: All durations are so many times as long, and the rate as many times lower: for a CLI that starts slowly.
        short_s: Bounds of the short runs' durations, in seconds.
        rate_per_s: Requests in each second.
        long_runs: How many long ones there are.
        seed: Of all that is drawn.
    """

    case: str
    requests: int
    timeout_s: float = 30.0
    long_s: float = 4.5
    outage_s: float = 0.0
    failover: str | None = None
    is_durable: bool = False
    pace: float = 1.0
    short_s: tuple[float, float] = (0.2, 1.5)
    # With three long ones beside them, 12.4 of 15 slots are busy.
    rate_per_s: float = 11.0
    long_runs: int = 3
    seed: int = 1

    @property
    def middle(self) -> int:
        """How many requests have been sent when the fault comes."""
        return self.requests // 2

    @property
    def duration_s(self) -> float:
        """How long the requests are sent that there are at least."""
        return self.requests * self.pace / self.rate_per_s

    def request(self, number: int) -> Planned:
        """Give a request; the first is 0, and there is no last one."""
        drawn = random.Random(f"{self.seed} {self.case} {number}").uniform(*self.short_s)
        is_long = self.middle - self.long_runs <= number < self.middle
        seconds = self.long_s if is_long else drawn * self.pace
        return Planned(f"{self.case}-{number:05d}", seconds, number * self.pace / self.rate_per_s, is_long)

    def long_tokens(self) -> set[str]:
        """Give the tokens of the long runs."""
        return {planned.token for planned in map(self.request, range(self.middle)) if planned.is_long}
