"""Counts and kept requests."""

import asyncio

from responder.stub_api.record import Recorder


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _recorder(keep_requests: int = 1000, keep_bytes: int = 1000, clock: Clock | None = None) -> Recorder:
    return Recorder(clock or Clock(), keep_requests, keep_bytes)


def test_the_peak_is_the_most_at_once() -> None:
    """Requests one after the other do not raise it."""
    recorder = _recorder()
    first, second = recorder.begin({}, b"", "", 0.0), recorder.begin({}, b"", "", 0.0)
    recorder.end(first, 200)
    recorder.end(second, None)
    recorder.end(recorder.begin({}, b"", "", 0.0), 500)
    seen = recorder.statistics()
    assert (seen.received, seen.answered, seen.broken_off, seen.in_flight, seen.peak_in_flight) == (3, 2, 1, 0, 2)


def test_the_time_of_an_answer_is_kept_and_summed() -> None:
    """A bench subtracts the stub's own time."""
    clock = Clock()
    recorder = _recorder(clock=clock)
    for started, ended in ((0.0, 2.0), (5.0, 6.0)):
        request = recorder.begin({}, b"", "", started)
        assert request.answer_s is None
        clock.now = ended
        recorder.end(request, 200)
        assert request.answer_s == ended - started
    assert (recorder.statistics().answer_total_s, recorder.statistics().answer_max_s) == (3.0, 2.0)


def test_only_the_last_requests_are_kept() -> None:
    """The number is bounded and the counts are not touched by it."""
    recorder = _recorder(keep_requests=2)
    for raw in (b"1", b"2", b"3"):
        recorder.begin({}, raw, "", 0.0)
    assert [request.raw for request in recorder.requests] == [b"2", b"3"]
    assert recorder.statistics().received == 3


def test_large_bodies_push_old_ones_out() -> None:
    """The bytes are bounded too, but the newest request is always there."""
    recorder = _recorder(keep_bytes=10)
    for raw in (b"1" * 6, b"2" * 4, b"3" * 5, b"4" * 11):
        recorder.begin({}, raw, "", 0.0)
        kept = [request.raw[:1] for request in recorder.requests]
        assert kept == {b"1": [b"1"], b"2": [b"1", b"2"], b"3": [b"2", b"3"], b"4": [b"4"]}[raw[:1]]


def test_nothing_is_kept_when_nothing_shall_be() -> None:
    """A stub that runs for days holds no bodies."""
    recorder = _recorder(keep_requests=0)
    recorder.begin({}, b"1", "", 0.0)
    assert recorder.requests == ()


def test_no_credential_stands_in_the_repr() -> None:
    """Nor does the prompt: a repr ends up in logs."""
    recorder = _recorder()
    shown = repr(recorder.begin({"x-api-key": "sk-ant-canary"}, b"canary", "canary", 0.0))
    assert "canary" not in shown


async def test_waiting_ends_when_the_counts_are_reached() -> None:
    """A waiter sees every change, and the counts at that moment."""
    recorder = _recorder()
    waiter = asyncio.create_task(recorder.wait_until(lambda seen: seen.answered == 1))
    request = recorder.begin({}, b"", "", 0.0)
    await asyncio.sleep(0)
    assert not waiter.done()
    recorder.end(request, 200)
    async with asyncio.timeout(5):
        assert (await waiter).answered == 1
