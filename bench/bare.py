"""The attended exchange by hand, on a bare nats-py connection: what it costs without the requester library."""

import asyncio
import itertools
from typing import Self

from nats.aio.client import Client
from nats.aio.msg import Msg

from contract import ATTEND_VERSION, HEADER_ATTEND, Frame, FrameKind, Subjects, read_frame


class BareRequester:
    """Asks for runs in the attended way, and does no more than that takes.

    Args:
        client: The connection.
        subjects: Those of the fleet that is asked.
    """

    def __init__(self, client: Client, subjects: Subjects) -> None:
        self._client = client
        self._subjects = subjects
        self._session = client.new_inbox()
        self._tokens = itertools.count()
        self._results: dict[str, asyncio.Future[bytes]] = {}

    @classmethod
    async def make(cls, client: Client, subjects: Subjects | None = None) -> Self:
        """Listen for what comes back."""
        made = cls(client, subjects or Subjects())
        await client.subscribe(f"{made._session}.*", cb=made._take)
        return made

    async def ask(self, body: bytes) -> bytes:
        """Ask for one run, and give its reply."""
        attempt = f"{self._session}.{next(self._tokens)}"
        result = self._results[attempt] = asyncio.get_running_loop().create_future()
        await self._client.publish(self._subjects.execute, body, attempt, {HEADER_ATTEND: ATTEND_VERSION})
        try:
            return bytes(await result)
        finally:
            del self._results[attempt]

    async def _take(self, message: Msg) -> None:
        frame = read_frame(message.headers or {}, message.data)
        result = self._results.get(message.subject)
        if frame is None or frame.instance is None or result is None:
            return
        if frame.kind is FrameKind.READY:
            await self._say(FrameKind.GO, frame.instance, message.subject)
        elif frame.kind is FrameKind.RESULT:
            result.set_result(frame.payload)
            await self._say(FrameKind.ACK, frame.instance, message.subject)

    async def _say(self, kind: FrameKind, instance: str, attempt: str) -> None:
        frame = Frame(kind, attempt=attempt)
        await self._client.publish(self._subjects.instance_of(instance), b"", attempt, frame.headers())
