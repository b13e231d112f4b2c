"""`python -m examples.demo`: three questions, two responders, one NATS server, and the trace across all of them.

Nothing is needed but a Claude CLI (on PATH, or named by CLAUDE_CLI). Read on in this order: `worker.py` asks,
`fleet.py` starts the rest, `collector.py` and `trace_tree.py` show what happened.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence

from rich.console import Console

from examples.demo.collector import Collector
from examples.demo.error import DemoError
from examples.demo.fleet import Fleet, fleet
from examples.demo.questions import QUESTIONS
from examples.demo.report import print_answers, print_intro, print_logs, print_traces
from examples.demo.settings import read_settings
from examples.demo.worker import Answer, ask_all
from requester import close_default
from telemetry import configure

# The CLI sends its spans half a second after they ended.
SPANS_S = 5.0
_INTERRUPTED = 130


def main() -> int:
    """Run the demo; gives the exit status: 0 when every question was answered, 130 when it was interrupted."""
    try:
        return asyncio.run(_run(os.environ, Console()))
    except DemoError as error:
        sys.stderr.write(f"demo: {error}\n")
        return 1
    except asyncio.CancelledError:
        sys.stderr.write("demo: stopped\n")
        return _INTERRUPTED


async def _run(environ: Mapping[str, str], console: Console) -> int:
    _cancel_on_signals()
    settings = read_settings(environ)
    print_intro(console, settings)
    async with fleet(settings) as running:
        with console.status("asking"):
            answers = await _ask_as_a_worker(running)
        print_answers(console, answers)
        has_failed = any(answer.reply is None for answer in answers)
        if has_failed:
            print_logs(console, running.responders)
        is_complete = await _spans_of_the_cli(running.collector, answers)
    # By now the responders have ended, and sent all they had.
    print_traces(console, running.collector.spans, is_complete=is_complete)
    return 1 if has_failed else 0


def _cancel_on_signals() -> None:
    """Let Ctrl-C and SIGTERM cancel the demo, so that every block above stops what it has started."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine that runs has its task
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)


async def _ask_as_a_worker(running: Fleet) -> Sequence[Answer]:
    """Do what a worker's program does: find NATS and the collector by the environment, ask, close, flush."""
    os.environ["NATS_URL"] = running.nats_url
    flush = configure("demo-worker", environ={"OTEL_EXPORTER_OTLP_ENDPOINT": running.collector.endpoint})
    try:
        return await ask_all(QUESTIONS)
    finally:
        await close_default()
        await asyncio.to_thread(flush)


async def _spans_of_the_cli(collector: Collector, answers: Sequence[Answer]) -> bool:
    """Wait for what the CLIs export while they still run; says whether it has all come."""
    expected = sum(answer.reply is not None for answer in answers)
    try:
        await collector.wait_for(
            lambda spans: sum(span.name == "claude_code.interaction" for span in spans) >= expected, SPANS_S
        )
    except TimeoutError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
