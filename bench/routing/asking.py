"""Sends the requests of a trace when they are due, whatever has become of those before them (an open loop)."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from bench.routing.stand_in import prompt
from bench.routing.trace import Trace
from requester import Requester, RequesterError

ANSWERED = "answered"
# Far beyond any wait here: what has no answer then is lost.
TIMEOUT_S = 900.0
_LEAD_S = 0.2


@dataclass(frozen=True)
class Answer:
    """What became of a request.

    Attributes:
        token: Names it, in the ledger too.
        due_at: When it was to be sent, in seconds since the epoch.
        sojourn_s: From then until the answer.
        code: `answered`, or the error's.
        attempts: How often it was sent; 0 where it failed.
        execution_s: How long the stand-in ran, as the responder saw it.
    """

    token: str
    due_at: float
    sojourn_s: float
    code: str = ANSWERED
    attempts: int = 0
    execution_s: float = 0.0


async def ask(requester: Requester, token: str, seconds: float, due_at: float | None = None) -> Answer:
    """Make one request, and wait for its answer.

    Args:
        requester: Through which.
        token: Names it.
        seconds: How long the stand-in is to run.
        due_at: When it is sent, in seconds since the epoch; None for now.
    """
    if due_at is None:
        due_at = time.time()
    else:
        await asyncio.sleep(due_at - time.time())
    try:
        reply = await requester.execute(prompt(token, seconds), timeout=TIMEOUT_S)
    except RequesterError as error:
        return Answer(token, due_at, time.time() - due_at, str(error.code))
    return Answer(token, due_at, time.time() - due_at, ANSWERED, reply.attempts, reply.execution_s)


async def ask_all(requester: Requester, trace: Trace) -> list[Answer]:
    """Send a whole trace; gives the answers in its order, when all are there."""
    start = time.time() + _LEAD_S
    asked = (
        ask(requester, f"t{number}", service, start + arrival)
        for number, (arrival, service) in enumerate(zip(trace.arrivals, trace.services, strict=True))
    )
    return await asyncio.gather(*asked)


def failures(answers: Iterable[Answer]) -> dict[str, int]:
    """Count the requests that were not answered, by code."""
    return dict(Counter(answer.code for answer in answers if answer.code != ANSWERED))
