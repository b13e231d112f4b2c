"""What is printed and written of the cases."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from chaos.evidence import Evidence
from chaos.trial import NoVerdict, Verdict

_COLUMNS = ("case", "sent", "answered", "failed", "twice", "lost", "left", "gone", "told", "took", "verdict")
_NOT_CARRIED_OUT = "not carried out"
_CAPTION = (
    "twice: started twice; lost: nobody knows what became of them; left: processes of runs that should have ended; "
    "gone: when the last of them ended; told: when the last requester of a run that was hit had an answer or an error"
)


def table(outcomes: Sequence[Verdict | NoVerdict]) -> Table:
    """Give one line for each case."""
    made = Table(caption=_CAPTION, caption_justify="left")
    for column in _COLUMNS:
        made.add_column(column, justify="left" if column in {"case", "failed", "verdict"} else "right", no_wrap=True)
    for outcome in outcomes:
        made.add_row(*_cells(outcome))
    return made


def print_outcome(console: Console, outcome: Verdict | NoVerdict) -> None:
    """Print whether a case has shown what it must, and what it has not."""
    if isinstance(outcome, NoVerdict):
        console.print(f"  {_NOT_CARRIED_OUT}: {outcome.reason}", style="red", markup=False, highlight=False)
        return
    note = f" ({outcome.evidence.fault.note})" if outcome.evidence.fault.note else ""
    console.print(f"  {_word(outcome)}{note}", markup=False, highlight=False)
    for check in outcome.checks:
        if not check.is_good:
            console.print(f"  not shown: {check.name}: {check.detail}", style="red", markup=False, soft_wrap=True)


def document(outcome: Verdict | NoVerdict) -> dict[str, Any]:
    """Give the numbers of a case, as they stand in the JSON file."""
    if isinstance(outcome, NoVerdict):
        return {"case": outcome.case.name, "verdict": _NOT_CARRIED_OUT, "how": outcome.reason}
    evidence, fault = outcome.evidence, outcome.evidence.fault
    return {
        "case": outcome.case.name,
        "verdict": _word(outcome),
        "sent": len(evidence.asked),
        "answered": evidence.answered(),
        "failed": dict(Counter(asked.code for asked in evidence.failed())),
        "started_twice": len(evidence.started_twice()),
        # A dead requester awaits nothing.
        "lost": len(evidence.lost()) if outcome.case.has_requester else 0,
        "left": (fault.left or 0) + evidence.left_at_end,
        "under_way": fault.under_way,
        "gone_after_s": None if fault.gone_after_s is None else round(fault.gone_after_s, 2),
        "reported_after_s": _reported_after_s(evidence),
        "seconds": round(outcome.seconds, 1),
        "how": fault.note,
        "checks": [{"name": check.name, "good": check.is_good, "detail": check.detail} for check in outcome.checks],
    }


def _reported_after_s(evidence: Evidence) -> float | None:
    """Give how long the victims' requesters did not know of the fault; None where there was no victim."""
    longest = evidence.longest_report_s()
    return None if longest is None or not evidence.fault.victims else round(longest, 2)


def _cells(outcome: Verdict | NoVerdict) -> list[str]:
    found = document(outcome)
    if isinstance(outcome, NoVerdict):
        return [found["case"], *("-" for _ in _COLUMNS[2:]), _NOT_CARRIED_OUT]
    failed = ", ".join(f"{code} {count}" for code, count in found["failed"].items()) or "0"
    times = (found[name] for name in ("gone_after_s", "reported_after_s"))
    return [
        found["case"],
        *(str(found[name]) for name in ("sent", "answered")),
        failed,
        *(str(found[name]) for name in ("started_twice", "lost", "left")),
        *("-" if time is None else f"{time:.2f} s" for time in times),
        f"{outcome.seconds:.0f} s",
        f"[{'green' if outcome.is_good else 'red'}]{_word(outcome)}[/]",
    ]


def _word(verdict: Verdict) -> str:
    return "passed" if verdict.is_good else "failed"
