"""The caller's side: a worker that may not start processes, and asks for what it needs."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from opentelemetry import trace

from requester import Reply, RequesterError, execute


@dataclass(frozen=True)
class Answer:
    """How one question went.

    Attributes:
        question: What was asked.
        seconds: How long the worker waited.
        reply: What came back; None if nothing did.
        error: Why not, in one line; empty if it did.
    """

    question: str
    seconds: float
    reply: Reply | None = None
    error: str = ""


async def ask_all(questions: Sequence[str]) -> list[Answer]:
    """Ask everything at once, as several workers would."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_ask(question)) for question in questions]
    return [task.result() for task in tasks]


async def _ask(question: str) -> Answer:
    started = time.monotonic()
    try:
        reply = await _work(question)
    except RequesterError as error:
        return Answer(question, time.monotonic() - started, error=f"{error.code}: {error}")
    return Answer(question, time.monotonic() - started, reply)


async def _work(question: str) -> Reply:
    # The worker's own span: everything that happens for this question, in whatever process, becomes a part of it.
    with trace.get_tracer("examples.demo").start_as_current_span("worker"):
        return await execute(question, timeout=120)
