"""Made-up evidence: a responder was killed at 100 s, while it ran `hit` and somebody else ran `other`."""

from dataclasses import replace
from typing import Any

from chaos.evidence import Evidence, Fault
from chaos.journal import ANSWERED, Asked
from chaos.ledger import Run
from chaos.plan import Plan

PLAN = Plan("kill", requests=3)
HIT = Asked("hit", 99.0, 100.6, "responder_lost", executed=True, responder="r1")
OTHER = Asked("other", 99.5, 101.0, ANSWERED, responder="r2")
LATER = Asked("later", 100.5, 101.5, ANSWERED, responder="r2")
RUNS = (Run("hit", "r1", 99.1, (1, 2)), Run("other", "r2", 99.6), Run("later", "r2", 100.6))
FAULT = Fault(100.0, ("r1",), under_way=5, processes=10, left=0, abandoned=1)
GOOD = Evidence(PLAN, (HIT, OTHER, LATER), RUNS, FAULT, exits={"r2": 0, "r3": 0})


def with_asked(token: str, **changes: Any) -> Evidence:
    """Give the evidence with one request that ended otherwise."""
    return replace(
        GOOD, asked=tuple(replace(asked, **changes) if asked.token == token else asked for asked in GOOD.asked)
    )


def with_run(run: Run) -> Evidence:
    """Give the evidence with one run more."""
    return replace(GOOD, runs=(*RUNS, run))


def with_fault(**changes: Any) -> Evidence:
    """Give the evidence with a fault that was seen otherwise."""
    return replace(GOOD, fault=replace(FAULT, **changes))
