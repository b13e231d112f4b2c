"""What a case must show: each check looks at the evidence and says yes or no, and why. Pure."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from chaos.evidence import Evidence
from chaos.journal import WRONG, Asked

RESPONDER_LOST = "responder_lost"
_NAMES_SHOWN = 5


@dataclass(frozen=True)
class Check:
    """One thing a case must show.

    Attributes:
        name: What.
        is_good: Whether it did.
        detail: What was seen, in a few words; empty where there is nothing to say.
    """

    name: str
    is_good: bool
    detail: str = ""


Judge = Callable[[Evidence], Check]


def all_were_sent(evidence: Evidence) -> Check:
    """The load was as large as it should be."""
    return Check("all were sent", len(evidence.asked) >= evidence.plan.requests, f"{len(evidence.asked)} sent")


def met_runs(evidence: Evidence) -> Check:
    """The fault met runs that were under way: otherwise nothing is shown."""
    return Check("the fault met runs", evidence.fault.under_way > 0, f"{evidence.fault.under_way} under way")


def none_wrong(evidence: Evidence) -> Check:
    """Nobody got another's answer."""
    return _none("none got another's answer", [asked for asked in evidence.asked if asked.code == WRONG])


def none_lost(evidence: Evidence) -> Check:
    """Of every request it is known in time what became of it."""
    return _none("none lost", evidence.lost())


def none_left_at_end(evidence: Evidence) -> Check:
    """When everything has stopped, nothing of any run is there."""
    return _count("no process left at the end", evidence.left_at_end)


def none_left_in_time(evidence: Evidence) -> Check:
    """Soon after the fault, nothing is there of the runs that nobody looks after or awaits any more."""
    fault = evidence.fault
    detail = f"{fault.left} of {fault.processes} left"
    return Check("no process left after 2 s", fault.left == 0 and fault.processes > 0, detail)


def all_answered(evidence: Evidence) -> Check:
    """No request failed."""
    return _none("all answered", evidence.failed())


def none_twice(evidence: Evidence) -> Check:
    """No CLI was started twice for a request."""
    return _names("none started twice", evidence.started_twice())


def twice_only_what_was_lost(evidence: Evidence) -> Check:
    """Only what the victims had started was started again."""
    return _names("started again only what was lost", evidence.started_twice() - evidence.started_there())


def none_late(evidence: Evidence) -> Check:
    """No CLI was started for a request that had ended."""
    return _names("none started for nobody", evidence.started_late())


def unstarted_answered(evidence: Evidence) -> Check:
    """Only what the victims had started has failed.

    A request may have got its go so short a time before the fault that its CLI had not told the ledger: at most one
    for each slot in which the ledger knew of no run.
    """
    there = evidence.started_there()
    unknown = [asked for asked in evidence.failed() if asked.token not in there]
    check = _none("every unstarted one answered", unknown)
    return Check(check.name, len(unknown) <= evidence.fault.open_slots, check.detail)


def failures_say_lost(evidence: Evidence) -> Check:
    """What has failed says that its responder was lost, and that it may have run."""
    return _none(
        "failures are ResponderLostError, executed",
        [asked for asked in evidence.failed() if asked.code != RESPONDER_LOST or asked.executed is not True],
    )


def reported_within(seconds: float) -> Judge:
    """Make the check that all which the fault has hit ended within some seconds of it."""

    def judge(evidence: Evidence) -> Check:
        longest = evidence.longest_report_s()
        late = [
            asked
            for asked in evidence.affected()
            if asked.ended_at is None or asked.ended_at - evidence.fault.at > seconds
        ]
        detail = _tokens(late) or ("none affected" if longest is None else f"{longest:.2f} s")
        return Check(f"reported within {seconds:g} s", not late, detail)

    return judge


def abandoned_ended(evidence: Evidence) -> Check:
    """The victim has ended the runs whose requester had moved on."""
    fault = evidence.fault
    detail = f"{fault.overdue} of {fault.abandoned} not ended"
    return Check("abandoned runs ended", fault.overdue == 0 and fault.abandoned > 0, detail)


def none_started_after_kill(evidence: Evidence) -> Check:
    """Once the dead requester must have been noticed, nothing starts for it."""
    last = evidence.fault.at + 2.0
    return _names("none started for the dead", {run.token for run in evidence.runs if run.started_at > last})


def exits_are_clean(evidence: Evidence) -> Check:
    """Every responder that was told to stop has ended with status 0."""
    bad = [f"{name} {status}" for name, status in evidence.exits.items() if status != 0]
    return _names("responders end with status 0", bad)


def no_defects(evidence: Evidence) -> Check:
    """No log tells of a defect."""
    return _names("no defect in a log", evidence.defects)


def _none(name: str, asked: Sequence[Asked]) -> Check:
    return Check(name, not asked, _tokens(asked))


def _names(name: str, tokens: Collection[str]) -> Check:
    return Check(name, not tokens, _shown(sorted(tokens)))


def _count(name: str, count: int) -> Check:
    return Check(name, count == 0, f"{count}" if count else "")


def _tokens(asked: Sequence[Asked]) -> str:
    first = f" ({asked[0].error})" if asked and asked[0].error else ""
    return _shown([f"{each.token} {each.code or 'unanswered'}" for each in asked]) + first


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"{len(names)}: {'; '.join(names[:_NAMES_SHOWN])}{more}" if names else ""
