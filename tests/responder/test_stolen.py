"""A plain caller whose request was stolen: nothing starts, and nothing is answered, without its victim's go."""

import asyncio
import contextlib
from dataclasses import dataclass, field

import pytest

from contract import FrameKind
from responder.callers import Incoming
from responder.slots import HandedOnError, Slots, WaitedTooLongError
from responder.stolen import StolenCaller
from tests.responder.parts import INBOX, SUBJECT, Outlet
from tests.support.virtual_time import skip, virtual_time

Word = tuple[float, FrameKind | None]


@dataclass
class Victim:
    """Says what it is to say, each after some seconds.

    Attributes:
        words: What is still to be said.
        asked: What it was told.
    """

    words: list[Word]
    asked: list[FrameKind] = field(default_factory=list)

    async def ask(self, kind: FrameKind) -> FrameKind | None:
        """Answer."""
        self.asked.append(kind)
        seconds, word = self.words.pop(0)
        skip(seconds)
        return word


def stolen(words: list[Word], deadline_s: float = 60.0) -> tuple[StolenCaller, Victim, Outlet]:
    """Give a caller whose deadline is some seconds from now."""
    now, victim, outlet = asyncio.get_running_loop().time(), Victim(words), Outlet()
    caller = StolenCaller(Incoming(SUBJECT, INBOX, {}, b"{}", now), outlet, victim.ask)
    assert caller.take_reserved(now + deadline_s) is None
    return caller, victim, outlet


IN_VAIN: list[list[Word]] = [
    [(0.0, FrameKind.CANCEL)],
    [(0.0, None), (0.0, FrameKind.CANCEL)],
    [(2.0, None)] * 5,
    [(2.01, FrameKind.GO)] * 5,
    [(2.01, FrameKind.GO), (0.0, FrameKind.CANCEL)],
    [(0.0, FrameKind.NONE)] * 5,
]


@pytest.mark.parametrize("words", IN_VAIN)
@virtual_time
async def test_without_a_go_in_time_it_is_the_victims_again(words: list[Word]) -> None:
    """It is handed on, and what is said of it here is not told its caller but given back."""
    caller, victim, outlet = stolen([*words, (0.0, FrameKind.CANCEL)])
    with pytest.raises(HandedOnError):
        await caller.claim()
    assert len(victim.asked) == len(words)
    await caller.deliver(b"x", {})
    assert (victim.asked[-1], outlet.published) == (FrameKind.NONE, [])


@pytest.mark.parametrize(
    "words",
    [[(0.0, FrameKind.GO)], [(2.0, FrameKind.GO)], [(2.0, None), (2.5, FrameKind.GO), (0.1, FrameKind.GO)]],
)
@virtual_time
async def test_with_a_go_in_time_it_is_ours(words: list[Word]) -> None:
    """A go that was lost or late is asked for again; then it starts here and is answered here."""
    caller, victim, outlet = stolen(list(words))
    await caller.claim()
    await caller.deliver(b"x", {})
    assert victim.asked == [FrameKind.READY] * len(words)
    assert outlet.published == [(INBOX, b"x", {})]


@virtual_time
async def test_a_go_after_the_deadline() -> None:
    """It is ours to answer, and too late to start."""
    caller, victim, outlet = stolen([(2.5, FrameKind.GO), (0.0, FrameKind.GO)], deadline_s=2.0)
    with pytest.raises(WaitedTooLongError):
        await caller.claim()
    await caller.deliver(b"x", {})
    assert (len(outlet.published), victim.words) == (1, [])


@virtual_time
async def test_a_slot_that_it_had_no_use_of_is_free_before_it_is_answered() -> None:
    """Telling the victim takes time, in which another can have the slot."""
    slots = Slots(1, 0)
    caller, _, _ = stolen([(0.0, FrameKind.CANCEL)])
    with contextlib.ExitStack() as unused:
        assert slots.reserve()
        unused.enter_context(slots.hold("a"))
        caller.reserve(unused)
        await caller.deliver(b"x", {})
        assert slots.in_flight == 0
    assert slots.in_flight == 0
