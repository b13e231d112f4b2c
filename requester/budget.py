"""The retry budget: when most attempts are refused, further ones come less often. Pure.

gRPC's throttle (gRFC A6): a bucket of tokens, of which a refused attempt takes one and a success gives back a part;
below half of it retries are held back. gRPC fails such a request; ours has a deadline and waits the longest pause
instead, so that a fleet that is full is asked at a bounded rate, and answers everybody in the end.
"""

from dataclasses import dataclass


@dataclass
class RetryBudget:
    """The budget that all requests of a requester share.

    Attributes:
        tokens_max: How many tokens there are at most; 0 turns the budget off.
        token_ratio: What a success gives back.
    """

    tokens_max: float = 100.0
    token_ratio: float = 0.1

    def __post_init__(self) -> None:
        self._tokens = self.tokens_max

    @property
    def is_spent(self) -> bool:
        """Whether retries are held back."""
        return self.tokens_max > 0 and self._tokens <= self.tokens_max / 2

    def fail(self) -> None:
        """Count an attempt that was refused, or that nobody heard."""
        self._tokens = max(0.0, self._tokens - 1.0)

    def succeed(self) -> None:
        """Count an attempt that was answered."""
        self._tokens = min(self.tokens_max, self._tokens + self.token_ratio)
