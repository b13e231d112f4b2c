"""A trace collector in one page: takes OTLP over HTTP on loopback and keeps what it gets.

It stands where Jaeger or an OpenTelemetry collector stands in production, for the demo and for the tests.
"""

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from aiohttp import web

from examples.demo.otlp import OtlpError, read_spans
from examples.demo.span import Span

_BODY_MAX_BYTES = 64 * 1024 * 1024
_PROTOBUF = "application/x-protobuf"


class Collector:
    """Receives exports while it is entered.

    `/v1/traces` is read; `/v1/metrics` and `/v1/logs` are accepted and kept as bytes.

    Attributes:
        endpoint: What OTEL_EXPORTER_OTLP_ENDPOINT has to be, such as `http://127.0.0.1:40001`.
        spans: The spans that have come in, in that order.
        bodies: Every body as it was sent, decompressed, in that order: for a search that must find nothing.
    """

    def __init__(self) -> None:
        self.endpoint = ""
        self.spans: list[Span] = []
        self.bodies: list[bytes] = []
        self._arrival = asyncio.Condition()
        app = web.Application(client_max_size=_BODY_MAX_BYTES)
        app.router.add_post("/v1/{signal:traces|metrics|logs}", self._receive)
        # No grace for connections that exporters keep open: nothing is in flight when the collector is left.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        except BaseException:
            await self._runner.cleanup()
            raise
        host, port = self._runner.addresses[0][:2]
        self.endpoint = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def wait_for(self, predicate: Callable[[Sequence[Span]], object], seconds: float = 10.0) -> list[Span]:
        """Wait until the spans that have come in are what somebody waits for.

        Args:
            predicate: Gets all of them after each arrival; anything true ends the wait.
            seconds: How long to wait at most.

        Returns:
            All spans so far.

        Raises:
            TimeoutError: The message names the spans that have come.
        """
        try:
            async with asyncio.timeout(seconds), self._arrival:
                await self._arrival.wait_for(lambda: bool(predicate(self.spans)))
        except TimeoutError:
            names = ", ".join(sorted({span.name for span in self.spans})) or "none"
            raise TimeoutError(f"not the spans that were waited for after {seconds:g} s; there are: {names}") from None
        return list(self.spans)

    async def _receive(self, request: web.Request) -> web.Response:
        if request.content_type != _PROTOBUF:
            return web.Response(status=415, text=f"send {_PROTOBUF}: OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf")
        body = await request.read()
        self.bodies.append(body)
        try:
            spans = read_spans(body) if request.match_info["signal"] == "traces" else []
        except OtlpError as error:
            return web.Response(status=400, text=str(error))
        async with self._arrival:
            self.spans += spans
            self._arrival.notify_all()
        # An empty body is an empty Export…ServiceResponse: everything was taken.
        return web.Response(content_type=_PROTOBUF)
