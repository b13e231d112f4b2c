"""Celery on Redis: a task that runs the command, prefork, results in Redis.

celery -A bench.peers.celery_worker worker
python -m bench.peers.celery_worker
"""

import asyncio
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

from celery import Celery  # type: ignore[import-not-found]  # not a dependency of ours

from bench.peers.asking import ARGUMENTS, PROMPT, TIMEOUT_S, follow_orders

app = Celery("peer", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])


def _run(prompt: str) -> str:
    ended = subprocess.run(
        [os.environ["COMMAND"], *ARGUMENTS], input=prompt, capture_output=True, text=True, check=True
    )
    return ended.stdout


run = app.task(_run, name="run")


async def ask() -> None:
    """Follow orders; who waits for a result blocks a thread, as Celery's callers do."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(500) as threads:
        await follow_orders(lambda: loop.run_in_executor(threads, _ask_once))


def _ask_once() -> str:
    return str(run.delay(PROMPT).get(timeout=TIMEOUT_S))


if __name__ == "__main__":
    asyncio.run(ask())
