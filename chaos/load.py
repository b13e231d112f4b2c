"""The requester under load, a process of its own: `python -m chaos.load PLAN JOURNAL`, with `NATS_URL` set.

It begins with the first line on its stdin, sends at the plan's rate, whatever comes back, until it has sent what the
plan asks and stdin has ended, and exits when every request has ended.
"""

import asyncio
import dataclasses
import itertools
import json
import sys
from pathlib import Path
from typing import Any

from chaos.journal import ANSWERED, WRONG, Journal
from chaos.plan import Plan, Planned
from requester import Reply, Requester, RequesterError, RequesterSettings


def arguments(plan: Plan, journal: Path) -> list[str]:
    """Give the command line that runs a load."""
    return [sys.executable, "-m", "chaos.load", json.dumps(dataclasses.asdict(plan)), str(journal)]


async def main(plan: Plan, journal: Journal) -> None:
    """Run a load to its end."""
    stdin = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    async with Requester(RequesterSettings(timeout_s=plan.timeout_s)) as requester, asyncio.TaskGroup() as asking:
        await stdin.readline()
        told_to_end = loop.create_task(stdin.read())
        started = loop.time()
        for number in itertools.count():
            if number >= plan.requests and told_to_end.done():
                break
            planned = plan.request(number)
            await asyncio.sleep(started + planned.at_s - loop.time())
            asking.create_task(_ask(requester, plan, planned, journal))


async def _ask(requester: Requester, plan: Plan, planned: Planned, journal: Journal) -> None:
    journal.sent(planned.token)
    try:
        reply = await (_submit if plan.is_durable else _execute)(requester, planned, _options(plan))
    except RequesterError as error:
        journal.ended(
            planned.token, code=error.code, executed=error.executed, responder=error.responder, error=str(error)
        )
    else:
        code = ANSWERED if reply.text.strip() == planned.token else WRONG
        journal.ended(planned.token, code=code, responder=reply.responder)


async def _execute(requester: Requester, planned: Planned, options: dict[str, Any]) -> Reply:
    return await requester.execute(planned.prompt, request_id=planned.token, **options)


async def _submit(requester: Requester, planned: Planned, options: dict[str, Any]) -> Reply:
    return await requester.result(await requester.submit(planned.prompt, ticket=planned.token, **options))


def _options(plan: Plan) -> dict[str, Any]:
    return {"failover": plan.failover} if plan.failover else {}


def _plan(text: str) -> Plan:
    values = json.loads(text)
    return Plan(**{**values, "short_s": tuple(values["short_s"])})


if __name__ == "__main__":
    asyncio.run(main(_plan(sys.argv[1]), Journal(Path(sys.argv[2]))))
