"""A plain caller whose request was stolen: its victim gives the go."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from contract import GO_WINDOW_S, FrameKind
from responder.callers import Incoming, Outlet, PlainCaller, Slot
from responder.slots import HandedOnError, WaitedTooLongError

# The victim says the same each time; only a word in time counts.
_TRIES = 5
# Before it is asked again where there was no word at all.
_PAUSE_S = 0.1


async def ask_for_go(ask: Callable[[], Awaitable[FrameKind | None]]) -> bool:
    """Tell a victim that we are ready until it says whether the request is ours; gives whether it is."""
    now = asyncio.get_running_loop().time
    for _ in range(_TRIES):
        asked_at = now()
        word = await ask()
        if word is FrameKind.GO and now() - asked_at <= GO_WINDOW_S:
            return True
        if word is FrameKind.CANCEL:
            return False
        if word is None:
            await asyncio.sleep(_PAUSE_S)
    return False


class StolenCaller(PlainCaller):
    """A plain caller whose request another responder has set aside for this one.

    Args:
        incoming: The request.
        outlet: Where the reply leaves.
        ask: Tells the victim `ready` (a slot is held) or `none` (it can have it back), and gives its word; None where
            there is none in time.
    """

    def __init__(
        self, incoming: Incoming, outlet: Outlet, ask: Callable[[FrameKind], Awaitable[FrameKind | None]]
    ) -> None:
        super().__init__(incoming, outlet)
        self.message = None
        self._ask = ask
        self._deadline = incoming.received_at
        self._is_mine = False

    def take_reserved(self, deadline: float) -> Slot | None:
        """Give the slot that was held for it before it came here, once."""
        self._deadline = deadline
        return super().take_reserved(deadline)

    async def claim(self) -> None:
        """Ask the victim whether it may start.

        Raises:
            HandedOnError: It may not: it is the victim's again.
            WaitedTooLongError: It may, but the deadline has passed meanwhile.
        """
        self._is_mine = await ask_for_go(lambda: self._ask(FrameKind.READY))
        if not self._is_mine:
            raise HandedOnError
        if asyncio.get_running_loop().time() >= self._deadline:
            raise WaitedTooLongError

    async def deliver(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Send the reply, if it is ours to give: what was refused here before the go is the victim's to answer."""
        if self._reserved is not None:
            self._reserved.close()
        if self._is_mine:
            await super().deliver(body, headers)
        else:
            await self._ask(FrameKind.NONE)
