"""A responder whose command is a call in its own process: what the exchange costs when nothing is run.

`python -m bench.echo_responder URL FOLDER COMMAND` runs until its stdin ends.
"""

import asyncio
import dataclasses
import sys
from pathlib import Path

from bench.noop import DOCUMENT
from contract import Subjects
from responder.admission import Job
from responder.assembly import assemble
from responder.endpoints import listen
from responder.execution import NOBODY, Audience, Execution
from responder.link import Link
from responder.outcome import Failure, Success, classify
from responder.run import Observation
from responder.settings import ResponderSettings

PREFIX = "echo.cli"
SUBJECTS = Subjects(PREFIX)
_SEEN = Observation(stdout=DOCUMENT.encode(), exit_status=0)


class EchoExecution(Execution):
    """Runs nothing, and reads what a command would have printed."""

    async def execute(self, job: Job, audience: Audience = NOBODY) -> tuple[Success | Failure, Observation]:
        """Give the outcome of a run that took no time."""
        del audience
        return classify(_SEEN, job.arguments.output_format), _SEEN


async def main(url: str, folder: str, command: str) -> None:
    """Answer until stdin ends; the command only shows that the responder is fit for work."""
    settings = ResponderSettings(
        nats_url=url, name="echo", subject_prefix=PREFIX, slots=50, backlog_max=1000, cli=Path(command)
    )
    parts = assemble(settings, {"HOME": folder}, tracing=False)
    usual = parts.service.execution
    execution = EchoExecution(usual.cli, usual.runner, usual.environment, usual.directories, usual.tracing)
    parts = dataclasses.replace(parts, service=dataclasses.replace(parts.service, execution=execution))
    link = await Link.connect(settings.servers, "echo", settings.inbox_prefix)
    async with listen(parts, link):
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)
    await link.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
