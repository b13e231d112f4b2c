"""A plain caller whose request was stolen: its victim gives the go."""

import asyncio
from collections.abc import Awaitable, Callable

from contract import GO_WINDOW_S, FrameKind
from responder.callers import Incoming, Outlet, PlainCaller
from responder.slots import HandedOnError

# The victim says the same each time; only a word in time counts.
_TRIES = 5


class StolenCaller(PlainCaller):
    """A plain caller whose request another responder has set aside for this one.

    Args:
        incoming: The request.
        outlet: Where the reply leaves.
        ask_go: Tells the victim that a slot is held, and gives its word; None where there is none in time.
    """

    def __init__(self, incoming: Incoming, outlet: Outlet, ask_go: Callable[[], Awaitable[FrameKind | None]]) -> None:
        super().__init__(incoming, outlet)
        self.message = None
        self._ask_go = ask_go

    async def claim(self) -> None:
        """Ask the victim whether it may start.

        Raises:
            HandedOnError: It may not: it is the victim's again.
        """
        now = asyncio.get_running_loop().time
        for _ in range(_TRIES):
            asked_at = now()
            word = await self._ask_go()
            if word is FrameKind.GO and now() - asked_at <= GO_WINDOW_S:
                return
            if word is FrameKind.CANCEL:
                break
        raise HandedOnError
