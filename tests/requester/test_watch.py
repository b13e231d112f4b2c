"""The watch over instances, on a connection that a test plays."""

from dataclasses import dataclass, field

import pytest

from contract import SETTLE_S, Frame, FrameKind, new_ulid
from requester.inbox import Inbox, InstanceTrouble, Mailbox, RawReply
from requester.watch import Watch
from tests.support.virtual_time import advance, virtual_time

A = new_ulid()
GONE = RawReply({"Status": "503"}, b"")


@dataclass
class Line:
    """A connection on which nobody ever hears a probe.

    Attributes:
        watch: Is told so.
        renewals: How often it was made again.
    """

    watch: Watch | None = None
    is_up: bool = True
    renewals: int = 0
    probes: list[str] = field(default_factory=list)

    def send_soon(self, frame: Frame, instance: str, token: str) -> None:
        assert frame.kind is FrameKind.PROBE
        assert self.watch is not None
        self.probes.append(instance)
        self.watch.take(token, GONE)

    def attempt_of(self, token: str) -> str:
        return f"_INBOX.s.{token}"


async def is_lost(mailbox: Mailbox) -> bool:
    """Say whether the mailbox was told by now that the instance is lost."""
    told = []
    while (item := await mailbox.get(0)) is not None:
        told.append(item)
    return InstanceTrouble(A, is_lost=True) in told


@pytest.mark.parametrize(("renewals", "not_within_s"), [(0, 0.5), (1, SETTLE_S + 0.5)])
@virtual_time
async def test_an_instance_that_nats_does_not_know(renewals: int, not_within_s: float) -> None:
    """It is lost within a second, but not right after the connection was renewed, whoever has renewed it."""
    line, inbox = Line(), Inbox()
    line.watch = watch = Watch(line, inbox)
    with inbox.open("s") as mailbox, watch.attending(mailbox) as attending:
        attending.at(A, 60.0, 0)
        line.renewals += renewals
        await advance(not_within_s)
        assert line.probes
        assert not await is_lost(mailbox)
        await advance(1.0)
        assert await is_lost(mailbox)


@virtual_time
async def test_a_renewal_while_nothing_was_watched() -> None:
    """A connection that was renewed before an instance was heard on it hides no loss of that one."""
    line, inbox = Line(), Inbox()
    line.watch = watch = Watch(line, inbox)
    line.renewals += 1
    with inbox.open("s") as mailbox, watch.attending(mailbox) as attending:
        attending.at(A, 60.0, 0)
        await advance(1.0)
        assert await is_lost(mailbox)
