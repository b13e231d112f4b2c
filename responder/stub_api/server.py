"""The stub API as an HTTP server on loopback."""

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from aiohttp import web

from responder.stub_api.delivery import Delivery, deliver, deliver_error
from responder.stub_api.playback import Playback
from responder.stub_api.record import RecordedRequest, Recorder, Statistics
from responder.stub_api.request import RequestError, read_request
from responder.stub_api.script import Script

LOOPBACK = "127.0.0.1"
# Source: https://docs.anthropic.com/en/api/errors, request_too_large.
BODY_MAX_BYTES = 32 * 1024 * 1024
KEEP_MAX_BYTES = 256 * 1024 * 1024
# How long a request may still take when the stub closes, before its connection is cut.
CLOSE_GRACE_S = 0.05


class StubAPI:
    """Stands in for Anthropic's Messages API, so that the Claude CLI runs without a credential and without cost.

    `async with StubAPI(script) as api` serves until the block ends; a request that hangs does not delay the end.

    Args:
        script: What to answer; without one, every request gets the default sentence.
        host: Only `127.0.0.1`: whoever reaches the stub could read prompts sent to it, and no other machine should.
        port: The port; 0 for any free one.
        keep_requests: How many of the last requests `requests` holds; 0 for none.

    Raises:
        ValueError: Another host was given.
    """

    def __init__(
        self, script: Script | None = None, *, host: str = LOOPBACK, port: int = 0, keep_requests: int = 1000
    ) -> None:
        if host != LOOPBACK:
            raise ValueError(f"the stub API listens on {LOOPBACK} only; leave the host out")
        self._port = port
        self._playback = Playback(script or Script())
        self._recorder = Recorder(time.monotonic, keep_requests, KEEP_MAX_BYTES)
        self._runner: web.AppRunner | None = None

    def __repr__(self) -> str:
        where = f"http://{LOOPBACK}:{self._port}" if self._runner else "closed"
        return f"StubAPI({where}, {self._playback!r}, {self.statistics()!r})"

    @property
    def url(self) -> str:
        """The address for `ANTHROPIC_BASE_URL`.

        Raises:
            RuntimeError: The stub is not serving.
        """
        if self._runner is None:
            raise RuntimeError("the stub API is not serving; use it in `async with`")
        return f"http://{LOOPBACK}:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that send a Claude CLI here and nowhere else."""
        return {
            "ANTHROPIC_BASE_URL": self.url,
            "ANTHROPIC_API_KEY": "dummy",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
        }

    @property
    def requests(self) -> tuple[RecordedRequest, ...]:
        """The last message requests, oldest first, those in flight included."""
        return self._recorder.requests

    def statistics(self) -> Statistics:
        """Give the counts as they are now."""
        return self._recorder.statistics()

    async def wait_until(self, is_reached: Callable[[Statistics], bool]) -> Statistics:
        """Wait until the counts fulfil a condition, and give them; the caller sets the deadline."""
        return await self._recorder.wait_until(is_reached)

    def use(self, script: Script) -> None:
        """Answer from another script, from its beginning; requests in flight keep the answer they have."""
        self._playback.use(script)

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=BODY_MAX_BYTES)
        app.router.add_get("/", self._greet)
        app.router.add_post("/v1/messages", self._messages)
        app.router.add_post("/v1/messages/count_tokens", self._count_tokens)
        app.router.add_route("*", "/{path:.*}", self._not_found)
        # A request must end with its connection: otherwise one that hangs is counted in flight for ever.
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=CLOSE_GRACE_S)
        await runner.setup()
        await web.TCPSite(runner, LOOPBACK, self._port).start()
        self._port = runner.addresses[0][1]
        self._runner = runner
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    async def _greet(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response({"stub": "claude-nats stub of the Messages API"})

    async def _not_found(self, request: web.Request) -> web.StreamResponse:
        return await _carry_out(deliver_error(404, f"stub: no {request.method} {request.path}"), request)

    async def _count_tokens(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"input_tokens": len(await request.read()) // 4 + 1})

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        started = time.monotonic()
        headers = {name.lower(): value for name, value in request.headers.items()}
        raw, prompt, delivery = await self._decide(request)
        recorded = self._recorder.begin(headers, raw, prompt, started)
        status = None
        try:
            response = await _carry_out(delivery, request)
            status = response.status
        finally:
            self._recorder.end(recorded, status)
        return response

    async def _decide(self, request: web.Request) -> tuple[bytes, str, Delivery]:
        try:
            raw = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return b"", "", deliver_error(413)
        try:
            message = read_request(raw)
        except RequestError as error:
            return raw, "", deliver_error(400, str(error))
        return raw, message.prompt, deliver(self._playback.reply(message), stream=message.stream)


async def _carry_out(delivery: Delivery, request: web.Request) -> web.StreamResponse:
    if delivery.is_silent:
        await _wait_until_disconnected()
    await asyncio.sleep(delivery.delay_s)
    response = web.StreamResponse(status=delivery.status, headers=delivery.headers)
    response.content_length = delivery.content_length
    await response.prepare(request)
    for number, piece in enumerate(delivery.pieces):
        if number:
            await asyncio.sleep(delivery.piece_delay_s)
        await response.write(piece)
    if delivery.is_cut and request.transport is not None:
        request.transport.close()
        await _wait_until_disconnected()
    await response.write_eof()
    return response


async def _wait_until_disconnected() -> None:
    """Wait for the cancellation that the end of the connection brings."""
    await asyncio.Event().wait()
