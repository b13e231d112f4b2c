"""Whether a responder is fit for work: a state machine without I/O and without a clock.

Two things make it unfit. The host: no CLI, no room, no memory, as the last look says. The credential: the API refuses
or limits it, as the runs say; then a trial, which is a prompt of our own, brings the responder back. `presence.py` does
what is said here; `docs/decisions/fit-for-work.md` has the reasons.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from contract import ErrorCode

# Below the first the responder is unfit, from the second on it is fit again.
SCRATCH_BYTES = (100_000_000, 150_000_000)
SCRATCH_INODES = (0.01, 0.015)
# What one more CLI needs; measured on CLI 2.1.197: 200 to 300 MB.
MEMORY_BYTES = (300_000_000, 400_000_000)

CLI_PROBLEM = "the CLI is missing or does not run"
_CLI_IN_DOUBT = "the CLI could not be started"
_SCRATCH_PROBLEM = "the scratch file system is full: less than 100 MB or 1 % of its inodes are free"
_MEMORY_PROBLEM = "memory is short: less than 300 MB are available"
_REFUSED = "the API refuses the credential"
_LIMITED = "the API limits the credential"

# The API has served a run that ended so.
_SERVED = frozenset({None, ErrorCode.MAX_TURNS, ErrorCode.BUDGET_EXCEEDED})
_NOT_STARTED = frozenset({ErrorCode.CLI_NOT_FOUND, ErrorCode.CLI_START_FAILED})
_DOUBLINGS_MAX = 32


class UnfitError(Exception):
    """The responder is not fit for work; what was not started is let go."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the responder is not fit for work ({reason}) and has not started the request")


@dataclass(frozen=True)
class Pace:
    """How often a responder looks, and how long it stays away; all in seconds but the count.

    Attributes:
        look_every_s: Between two looks at the host.
        refusals_max: How many refusals of the credential in a row make it unfit.
        away_min_s: How long it stays away at least, whatever the reason.
        away_max_s: The most of that: who is unfit again soon after its return stays twice as long.
        relapse_s: What counts as soon.
        refused_first_s: Pause before the first trial of a refused credential; doubled for each further one.
        refused_max_s: The most of it.
        limited_first_s: The same for a limit whose end is not known.
        limited_max_s: The most of it.
        known_limit_max_s: A trial is made at the latest after this, whatever the end of the limit is said to be.
    """

    look_every_s: float = 2.0
    refusals_max: int = 3
    away_min_s: float = 5.0
    away_max_s: float = 60.0
    relapse_s: float = 60.0
    refused_first_s: float = 30.0
    refused_max_s: float = 300.0
    limited_first_s: float = 5.0
    limited_max_s: float = 60.0
    known_limit_max_s: float = 3600.0


@dataclass(frozen=True)
class Look:
    """What a look at the host has seen.

    Attributes:
        is_cli_usable: Whether the CLI is there and runs.
        is_cli_asked: Whether it was asked just now.
        scratch_bytes: Room for working directories.
        scratch_inodes: The part of the inodes there that is free, from 0 to 1.
        memory_bytes: Memory for one more CLI; None while none would be started.
    """

    is_cli_usable: bool = True
    is_cli_asked: bool = False
    scratch_bytes: float = math.inf
    scratch_inodes: float = 1.0
    memory_bytes: float | None = None


@dataclass(frozen=True)
class _Ban:
    """What the API has against the credential; loop times in seconds."""

    reason: str
    is_limit: bool
    ends_at: float
    trial_at: float


class Fitness:
    """The state machine of one responder.

    Attributes:
        pace: How long it stays away.
        on_change: Called when it has become unfit or fit.
    """

    def __init__(self, pace: Pace | None = None) -> None:
        self.pace = pace or Pace()
        self._host: str | None = None
        self._ban: _Ban | None = None
        self._is_cli_in_doubt = False
        self._refusals = 0
        self._bans = 0
        self._away_s = 0.0
        self._not_before = 0.0
        self._returned_at: float | None = None
        self.on_change: Callable[[], None] = lambda: None

    def __repr__(self) -> str:
        return f"<Fitness {self.reason or 'fit'}>"

    @property
    def reason(self) -> str | None:
        """Why it is not fit, in a few words; None when it is."""
        return self._host or (self._ban.reason if self._ban else None)

    @property
    def is_limited(self) -> bool:
        """Whether nothing but a limit keeps it from work."""
        return self._host is None and self._ban is not None and self._ban.is_limit

    @property
    def is_cli_in_doubt(self) -> bool:
        """Whether a run could not be started, so that the CLI has to be asked afresh."""
        return self._is_cli_in_doubt

    def limit_s(self, now: float) -> float:
        """Give the seconds until the limit ends, as far as is known; 0 where there is none, or it may have ended."""
        if self._ban is None or not self._ban.is_limit:
            return 0.0
        return max(0.0, max(self._ban.ends_at, self._not_before) - now)

    def is_trial_due(self, now: float) -> bool:
        """Say whether a prompt of our own should be run, to see what the API says now."""
        return self._host is None and self._ban is not None and now >= max(self._ban.trial_at, self._not_before)

    def look(self, look: Look, now: float) -> None:
        """Take what a look at the host has seen."""
        with self._noticing(now):
            if look.is_cli_asked and look.is_cli_usable:
                self._is_cli_in_doubt = False
            problem = self._problem(look)
            if problem or now >= self._not_before:
                self._host = problem

    def end(self, code: str | None, retry_after_s: float | None, now: float) -> None:
        """Take how a run ended.

        Args:
            code: Of its failure; None for a success.
            retry_after_s: When a limit ends, in seconds from now, where the CLI says so.
            now: Loop time, in seconds.
        """
        with self._noticing(now):
            if code in _NOT_STARTED:
                self._is_cli_in_doubt, self._host = True, self._host or _CLI_IN_DOUBT
            elif code == ErrorCode.RATE_LIMITED:
                if self._ban is None or (self._ban.is_limit and now + (retry_after_s or 0.0) > self._ban.ends_at):
                    self._limit(retry_after_s, now)
            elif self._ban is None:
                self._count(code, now)

    def end_trial(self, code: str | None, retry_after_s: float | None, now: float) -> None:
        """Take how the trial ended; the arguments are those of `end`."""
        with self._noticing(now):
            if code in _SERVED:
                self._ban, self._refusals = None, 0
            elif code == ErrorCode.RATE_LIMITED:
                self._limit(retry_after_s, now)
            elif code == ErrorCode.AUTH or (self._ban and not self._ban.is_limit):
                self._refuse(now)
            else:
                self._limit(None, now)

    def _problem(self, look: Look) -> str | None:
        if not look.is_cli_usable:
            return CLI_PROBLEM
        if self._is_cli_in_doubt:
            return _CLI_IN_DOUBT
        for left, bounds, problem in (
            (look.scratch_bytes, SCRATCH_BYTES, _SCRATCH_PROBLEM),
            (look.scratch_inodes, SCRATCH_INODES, _SCRATCH_PROBLEM),
            (look.memory_bytes, MEMORY_BYTES, _MEMORY_PROBLEM),
        ):
            was_short = self._host == problem
            # Who has left for it comes back only when there is clearly more.
            if was_short if left is None else left < bounds[was_short]:
                return problem
        return None

    def _count(self, code: str | None, now: float) -> None:
        if code in _SERVED:
            self._refusals = self._bans = 0
        elif code == ErrorCode.AUTH:
            self._refusals += 1
            if self._refusals >= self.pace.refusals_max:
                self._refuse(now)

    def _refuse(self, now: float) -> None:
        trial_at = now + self._pause_s(self.pace.refused_first_s, self.pace.refused_max_s)
        self._ban = _Ban(_REFUSED, is_limit=False, ends_at=trial_at, trial_at=trial_at)

    def _limit(self, retry_after_s: float | None, now: float) -> None:
        known_s = retry_after_s or self._pause_s(self.pace.limited_first_s, self.pace.limited_max_s)
        trial_at = now + min(known_s, self.pace.known_limit_max_s)
        self._ban = _Ban(_LIMITED, is_limit=True, ends_at=now + known_s, trial_at=trial_at)

    def _pause_s(self, first_s: float, max_s: float) -> float:
        """Give the pause before the next trial: twice as long for each that no served run came between."""
        pause_s = min(max_s, first_s * 2.0 ** min(self._bans, _DOUBLINGS_MAX))
        self._bans += 1
        return pause_s

    @contextmanager
    def _noticing(self, now: float) -> Iterator[None]:
        """Set how long it stays away when it becomes unfit, and tell of the change."""
        was_fit = self.reason is None
        yield
        is_fit = self.reason is None
        if was_fit and not is_fit:
            is_relapse = self._returned_at is not None and now - self._returned_at < self.pace.relapse_s
            longer_s = min(self.pace.away_max_s, 2 * self._away_s)
            self._away_s = longer_s if is_relapse else self.pace.away_min_s
            self._not_before = now + self._away_s
        elif is_fit and not was_fit:
            self._returned_at = now
        if was_fit is not is_fit:
            self.on_change()
