"""What is known of a case once it is over, and what can be counted in it. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from chaos.journal import Asked
from chaos.ledger import Run
from chaos.plan import SLOTS, Plan

# After its deadline a request has five seconds in which the responder may still say what happened.
LOST_AFTER_S = 6.0


@dataclass
class Fault:
    """What was done, when and to whom.

    Attributes:
        at: When.
        victims: The responders it was done to, where it was done to responders.
        open_slots: How many of a victim's slots no run had then, as far as the ledger knew.
        under_way: How many runs there were then, everywhere or at a victim.
        healed_at: When it was undone.
        processes: How many processes of runs there were before it, where they have to end with it.
        left: How many processes of runs were there when there should be none any more; None where that is no matter.
        gone_after_s: After how many seconds the last of them was seen.
        overdue: How many runs of a victim, whose requester had moved on, were not ended in time after it was undone.
        abandoned: How many such runs there were.
        note: How it was done, where there is more than one way.
    """

    at: float
    victims: tuple[str, ...] = ()
    open_slots: int = 0
    under_way: int = 0
    healed_at: float | None = None
    processes: int = 0
    left: int | None = None
    gone_after_s: float | None = None
    overdue: int = 0
    abandoned: int = 0
    note: str = ""


@dataclass(frozen=True)
class Evidence:
    """A case that is over.

    Attributes:
        plan: What was asked.
        asked: How each request ended.
        runs: Every start of a CLI.
        fault: What was done.
        left_at_end: How many processes of runs were there when everything had been stopped.
        exits: With what the responders ended that were told to.
        defects: What the logs say of defects.
    """

    plan: Plan
    asked: Sequence[Asked]
    runs: Sequence[Run]
    fault: Fault
    left_at_end: int = 0
    exits: Mapping[str, int | None] = field(default_factory=dict)
    defects: Sequence[str] = ()

    def answered(self) -> int:
        """Count the requests that got their answer."""
        return sum(asked.is_answered for asked in self.asked)

    def failed(self) -> list[Asked]:
        """Give the requests that got an error."""
        return [asked for asked in self.asked if asked.code is not None and not asked.is_answered]

    def lost(self) -> list[Asked]:
        """Give the requests of which nobody knows what became of them, or too late."""
        late_s = self.plan.timeout_s + LOST_AFTER_S
        return [
            asked
            for asked in self.asked
            if asked.ended_at is None
            or asked.ended_at - asked.sent_at > late_s
            or (not asked.is_answered and asked.executed is None)
        ]

    def started_twice(self) -> set[str]:
        """Give the tokens of which more than one CLI was started."""
        return {token for token, starts in Counter(run.token for run in self.runs).items() if starts > 1}

    def started_late(self) -> set[str]:
        """Give the tokens of which a CLI was started when their request had ended."""
        ended = {asked.token: asked.ended_at for asked in self.asked if asked.ended_at is not None}
        return {run.token for run in self.runs if run.started_at > ended.get(run.token, run.started_at)}

    def started_there(self) -> set[str]:
        """Give the tokens which the victims had started and not answered when it came.

        Until it is healed a victim starts nothing more, but what it just started may be in the ledger a moment later.
        """
        fault = self.fault
        until = float("inf") if fault.healed_at is None else fault.healed_at
        there = {run.token for run in self.runs if run.responder in fault.victims and run.started_at < until}
        return {asked.token for asked in self.asked if asked.token in there and asked.was_under_way(self.fault.at)}

    def affected(self) -> list[Asked]:
        """Give the requests that the fault has ended, and those which the victims had started."""
        there = self.started_there()
        return [asked for asked in self.asked if asked.token in there or asked in self.failed()]

    def longest_report_s(self) -> float | None:
        """Give the longest time from the fault to the end of an affected request; None when there was none."""
        times = [asked.ended_at - self.fault.at for asked in self.affected() if asked.ended_at is not None]
        return max(times, default=None)


def open_slots(runs: Sequence[Run], responder: str, at: float) -> int:
    """Give how many slots of a responder no run has at a time, as far as the ledger knows."""
    return SLOTS - sum(run.responder == responder and run.is_under_way(at) for run in runs)
