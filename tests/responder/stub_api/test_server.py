"""The stub over loopback, asked as the CLI asks."""

import asyncio
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest

from responder.stub_api import Match, Rule, Script, StubAPI, Tool, Usage, generated_text
from responder.stub_api.server import BODY_MAX_BYTES, CLOSE_GRACE_S
from tests.responder.stub_api.asking import a_body, a_follow_up, ask, read_events

PATIENCE_S = 10
PAUSE_S = 0.05


@pytest.fixture(autouse=True)
async def _deadline() -> AsyncIterator[None]:
    """Fail a test that hangs; a timeout around the yield would bound nothing, a fixture being a task of its own."""
    loop = asyncio.get_running_loop()
    timer = loop.call_later(PATIENCE_S, lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
    yield
    timer.cancel()


@pytest.fixture
async def api() -> AsyncIterator[StubAPI]:
    async with StubAPI() as api:
        yield api


def _use(api: StubAPI, *rules: Rule) -> None:
    api.use(Script(rules=rules))


async def test_without_a_script_the_size_of_the_prompt_is_told(api: StubAPI) -> None:
    """The default answer is a sentence that a demo can show."""
    answered = await ask(api)
    assert answered.text == "The stub API read a prompt of 5 bytes."
    assert (answered.status, answered.headers["content-type"]) == (200, "text/event-stream")


async def test_a_request_without_stream_gets_one_document(api: StubAPI) -> None:
    """Libraries that do not stream are served too."""
    _use(api, Rule(text="hello", usage=Usage(input_tokens=7)))
    answered = await ask(api, a_body(stream=False))
    assert answered.headers["content-length"] == str(len(answered.body))
    document = answered.document
    assert (document["content"][0]["text"], document["usage"]["input_tokens"]) == ("hello", 7)


async def test_rules_match_over_the_wire(api: StubAPI) -> None:
    """Prompt, model and count pick the rule."""
    _use(api, Rule(text="once", times=1), Rule(match=Match(model="*haiku*"), text="haiku"), Rule(echo=True))
    bodies = (a_body(), a_body("again"), a_body(model="claude-haiku-4"))
    assert [(await ask(api, body)).text for body in bodies] == ["once", "again", "haiku"]


async def test_a_large_answer_arrives_whole(api: StubAPI) -> None:
    """Every byte of three megabytes comes, in order."""
    _use(api, Rule(text_bytes=3_000_000))
    assert (await ask(api)).text == generated_text(3_000_000)


async def test_a_large_prompt_arrives_whole(api: StubAPI) -> None:
    """Five megabytes come back as they went."""
    prompt = generated_text(5_000_000)
    _use(api, Rule(echo=True))
    assert (await ask(api, a_body(prompt))).text == prompt
    assert api.requests[-1].prompt == prompt


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 429, 500, 529])
async def test_an_error_has_its_status_headers_and_document(api: StubAPI, *, status: int) -> None:
    """What the CLI classifies is what the API sends."""
    rule = {"status": status, "message": "why", "retry_after_s": 7, "headers": {"x-should-retry": "false"}}
    api.use(Script.model_validate({"rules": [rule]}))
    answered = await ask(api)
    assert answered.status == status
    assert answered.headers["retry-after"] == "7"
    assert answered.headers["x-should-retry"] == "false"
    assert answered.document["type"] == "error"
    assert answered.document["error"]["message"] == "why"
    assert api.requests[-1].status == status


async def test_headers_of_a_script_stand_on_a_good_answer(api: StubAPI) -> None:
    """Rate limit headers, for instance, come with a success."""
    _use(api, Rule(text="a", headers={"anthropic-ratelimit-requests-remaining": "3"}))
    assert (await ask(api)).headers["anthropic-ratelimit-requests-remaining"] == "3"


async def test_a_tool_is_called_and_its_result_answered(api: StubAPI) -> None:
    """The call comes first, the text once the result has been sent, and the next prompt gets the next rule."""
    _use(api, Rule(tool=Tool(name="Bash", input={"command": "echo hi"}), text="done", times=1), Rule(text="next"))
    call = (await ask(api, a_body(stream=False))).document["content"][0]
    assert (call["type"], call["name"], call["input"]) == ("tool_use", "Bash", {"command": "echo hi"})
    assert (await ask(api, a_body("other"))).text == "next"
    assert (await ask(api, a_follow_up(call, a_body()))).text == "done"


async def test_a_delay_comes_before_the_first_byte(api: StubAPI) -> None:
    """The response does not even start before."""
    _use(api, Rule(text="a", delay_s=PAUSE_S))
    async with aiohttp.ClientSession() as session:
        before = asyncio.get_running_loop().time()
        async with session.post(f"{api.url}/v1/messages", json=a_body()):
            assert asyncio.get_running_loop().time() - before >= PAUSE_S


async def test_deltas_are_sent_apart(api: StubAPI) -> None:
    """The first delta can be read before the second is sent, and the whole takes the pauses between three."""
    _use(api, Rule(text="abc", chunk_chars=1, chunk_delay_s=PAUSE_S))
    before = asyncio.get_running_loop().time()
    async with aiohttp.ClientSession() as session, session.post(f"{api.url}/v1/messages", json=a_body()) as response:
        first = await response.content.readany()
        assert b'"text": "a"' in first
        assert b'"text": "b"' not in first
        await response.read()
    assert asyncio.get_running_loop().time() - before >= 2 * PAUSE_S


@pytest.mark.parametrize("stream", [True, False])
async def test_a_cut_answer_ends_early(api: StubAPI, *, stream: bool) -> None:
    """The client has the beginning and learns that the rest is missing."""
    _use(api, Rule(text="abc", disconnect=True))
    body = a_body(stream=stream)
    async with aiohttp.ClientSession() as session, session.post(f"{api.url}/v1/messages", json=body) as response:
        assert b"message" in await response.content.readany()
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    seen = await api.wait_until(lambda seen: seen.in_flight == 0)
    assert (seen.answered, seen.broken_off) == (0, 1)


async def test_a_hanging_request_ends_with_its_connection(api: StubAPI) -> None:
    """It is in flight until the client goes, and is counted as broken off then."""
    _use(api, Rule(hang=True))
    asking = asyncio.create_task(ask(api))
    await api.wait_until(lambda seen: seen.in_flight == 1)
    assert not asking.done()
    assert (api.requests[0].prompt, api.requests[0].answer_s) == ("hello", None)
    asking.cancel()
    assert (await api.wait_until(lambda seen: seen.in_flight == 0)).broken_off == 1
    assert api.requests[0].status is None
    assert api.requests[0].answer_s is not None


async def test_closing_does_not_wait_for_hanging_requests() -> None:
    """Whoever hangs is cut off, within a moment, and counted."""
    async with StubAPI(Script(rules=(Rule(hang=True, times=1), Rule(text="a", delay_s=3600)))) as api:
        asking = [asyncio.create_task(ask(api)) for _ in range(5)]
        await api.wait_until(lambda seen: seen.in_flight == 5)
        before = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - before < 20 * CLOSE_GRACE_S
    outcomes = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [aiohttp.ServerDisconnectedError] * 5
    assert (await api.wait_until(lambda seen: seen.in_flight == 0)).broken_off == 5


async def test_another_script_takes_over_while_serving(api: StubAPI) -> None:
    """Requests in flight keep their answer, later ones get the new script's."""
    _use(api, Rule(text="old", delay_s=PAUSE_S))
    asking = asyncio.create_task(ask(api))
    await api.wait_until(lambda seen: seen.in_flight == 1)
    _use(api, Rule(text="new"))
    assert (await ask(api)).text == "new"
    assert (await asking).text == "old"


async def test_requests_are_recorded_with_headers_and_body(api: StubAPI) -> None:
    """A test can look at what the CLI sent, the credential included."""
    await ask(api, a_body("look"))
    (recorded,) = api.requests
    assert (recorded.headers["x-api-key"], recorded.prompt, recorded.status) == ("dummy", "look", 200)
    assert recorded.headers["host"] == api.url.removeprefix("http://")
    assert recorded.body == a_body("look")


async def test_only_as_many_requests_as_asked_for_are_kept() -> None:
    """The oldest goes first."""
    async with StubAPI(keep_requests=2) as api:
        for prompt in ("a", "b", "c"):
            await ask(api, a_body(prompt))
        assert [request.prompt for request in api.requests] == ["b", "c"]


async def test_the_peak_of_requests_in_flight_is_counted(api: StubAPI) -> None:
    """Three at once are a peak of three, also when all have ended."""
    _use(api, Rule(text="a", delay_s=PAUSE_S))
    await asyncio.gather(*(ask(api) for _ in range(3)))
    seen = await api.wait_until(lambda seen: seen.in_flight == 0)
    assert (seen.received, seen.answered, seen.peak_in_flight) == (3, 3, 3)


async def test_the_time_spent_answering_covers_the_delay(api: StubAPI) -> None:
    """A bench can subtract it."""
    _use(api, Rule(text="a", delay_s=PAUSE_S))
    await ask(api)
    seen = await api.wait_until(lambda seen: seen.in_flight == 0)
    assert seen.answer_total_s == seen.answer_max_s == api.requests[0].answer_s
    assert PAUSE_S <= seen.answer_total_s < PATIENCE_S


@pytest.mark.parametrize("body", [b"{", b'{"model": "a"}'])
async def test_what_is_no_request_gets_a_400(api: StubAPI, *, body: bytes) -> None:
    """As from the API, and it is recorded, to be looked at."""
    answered = await ask(api, body)
    assert (answered.status, answered.document["error"]["type"]) == (400, "invalid_request_error")
    assert api.requests[0].raw == body


async def test_a_request_over_the_limit_gets_a_413(api: StubAPI) -> None:
    """The API takes 32 MB and no more."""
    answered = await ask(api, b" " * (BODY_MAX_BYTES + 1))
    assert (answered.status, answered.document["error"]["type"]) == (413, "request_too_large")


async def test_tokens_are_counted(api: StubAPI) -> None:
    """A number comes, larger for a larger request, and the request is not among the messages."""
    small, large = [
        (await ask(api, a_body(prompt), "/v1/messages/count_tokens")).document for prompt in ("a", "a" * 400)
    ]
    assert 0 < small["input_tokens"] < large["input_tokens"]
    assert api.statistics().received == 0


async def test_the_root_answers_get_and_head(api: StubAPI) -> None:
    """The CLI asks HEAD / before its first request."""
    async with aiohttp.ClientSession() as session:
        for method in ("GET", "HEAD"):
            async with session.request(method, f"{api.url}/") as response:
                assert response.status == 200


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/messages"), ("POST", "/v1/nothing"), ("POST", "/"), ("PUT", "/")]
)
async def test_everything_else_is_not_found(api: StubAPI, *, method: str, path: str) -> None:
    """The document is Anthropic's, and nothing is recorded."""
    async with aiohttp.ClientSession() as session, session.request(method, api.url + path) as response:
        assert response.status == 404
        assert (await response.json())["error"]["type"] == "not_found_error"
    assert api.requests == ()


@pytest.mark.parametrize("host", ["0.0.0.0", "localhost", "::1", ""])
def test_no_other_host_is_served(host: str) -> None:
    """A stub that other machines reach would show them prompts."""
    with pytest.raises(ValueError, match=r"127\.0\.0\.1 only"):
        StubAPI(host=host)


async def test_the_socket_is_bound_to_loopback(api: StubAPI) -> None:
    """The port is free on other addresses of this machine."""
    port = int(api.url.rpartition(":")[2])
    assert api.url == f"http://127.0.0.1:{port}"
    with socket.socket() as other:
        other.bind(("127.0.0.2", port))


async def test_a_taken_port_is_an_error(api: StubAPI) -> None:
    """The second stub does not start, the first goes on."""
    with pytest.raises(OSError, match="address already in use"):
        await StubAPI(port=int(api.url.rpartition(":")[2])).__aenter__()
    assert (await ask(api)).status == 200


async def test_a_closed_stub_keeps_what_it_saw() -> None:
    """Requests and counts outlive the server; its address does not."""
    stub = StubAPI()
    with pytest.raises(RuntimeError, match="async with"):
        _ = stub.url
    async with stub as api:
        await ask(api)
    assert (len(stub.requests), stub.statistics().answered) == (1, 1)
    with pytest.raises(RuntimeError, match="async with"):
        _ = stub.url
    assert "closed" in repr(stub)


async def test_the_environment_points_the_cli_here(api: StubAPI) -> None:
    """The address, a credential that is none, and no other traffic."""
    assert api.environment["ANTHROPIC_BASE_URL"] == api.url
    assert api.environment["ANTHROPIC_API_KEY"] == "dummy"
    assert api.environment["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"] == "1"
    assert api.url in repr(api)


async def test_one_connection_serves_many_requests(api: StubAPI) -> None:
    """A connection is kept alive after an answer, as the CLI expects."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
        ports = set()
        for _ in range(3):
            async with session.post(f"{api.url}/v1/messages", json=a_body()) as response:
                connection = response.connection
                if connection is not None and connection.transport is not None:
                    ports.add(connection.transport.get_extra_info("sockname"))
                assert read_events(await response.read())
    assert len(ports) <= 1
