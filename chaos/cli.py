"""What the responders run: the stand-in, or the real CLI against the stub API; and the ledger that goes with it."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from chaos.ledger import RESPONDER_HEADER, Ledger, LedgerFile, LedgerOfApi
from chaos.plan import Plan
from chaos.processes import FLEET_VARIABLE
from chaos.stand_in import LEDGER_VARIABLE, RESPONDER_VARIABLE, write_stand_in
from responder.stub_api import Match, Rule, Script, StubAPI

# Rules for so many times the requests that there are at least: some cases go on until their fault is over.
_REQUESTS_MAX = 10
_PASSED_ON = (FLEET_VARIABLE, RESPONDER_VARIABLE, LEDGER_VARIABLE)


@dataclass(frozen=True)
class CLI:
    """What the responders run.

    Attributes:
        path: The executable.
        ledger: Where its starts are counted.
        variables: What it needs in its environment.
    """

    path: Path
    ledger: Ledger
    variables: Mapping[str, str]

    def environment(self, responder: str) -> dict[str, str]:
        """Give what makes a responder run it."""
        return {
            **self.variables,
            "ANTHROPIC_CUSTOM_HEADERS": f"{RESPONDER_HEADER}: {responder}",
            "CLAUDE_RESPONDER_CLI": str(self.path),
            "CLAUDE_RESPONDER_CLI_ENV": ",".join((*_PASSED_ON, *self.variables)),
            "CLAUDE_RESPONDER_CLI_MAX_RETRIES": "0",
        }


def stand_in(folder: Path) -> CLI:
    """Give the stand-in, which keeps its own ledger."""
    ledger = folder / "ledger"
    return CLI(write_stand_in(folder), LedgerFile(ledger), {LEDGER_VARIABLE: str(ledger)})


@contextlib.asynccontextmanager
async def real(path: Path, plan: Plan) -> AsyncIterator[CLI]:
    """Give the real CLI, and run the stub API that it asks as long as the context lasts."""
    planned = (plan.request(number) for number in range(_REQUESTS_MAX * plan.requests))
    rules = tuple(Rule(match=Match(prompt=p.prompt), text=p.token, delay_s=p.seconds) for p in planned)
    async with StubAPI(Script(rules=rules), keep_requests=len(rules)) as api:
        # As root the CLI wants to be told that it is in a sandbox.
        yield CLI(path, LedgerOfApi(api, plan.case), {**api.environment, "IS_SANDBOX": "1"})
