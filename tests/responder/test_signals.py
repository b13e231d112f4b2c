"""SIGTERM and SIGINT as futures."""

import asyncio
import os
import signal

import pytest

from responder.signals import Signals

pytestmark = pytest.mark.usefixtures("patience")


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_asks_and_the_second_insists(first: signal.Signals, second: signal.Signals) -> None:
    """Whichever of the two signals comes first asks to drain, and whichever is second asks to stop at once."""
    signals = Signals()
    with signals.caught():
        assert (signals.first.done(), signals.second.done()) == (False, False)
        send(first)
        await signals.first
        assert not signals.second.done()
        send(second)
        await signals.second


async def test_more_signals_change_nothing() -> None:
    """A third signal, and a fourth, are no error."""
    loop = asyncio.get_running_loop()
    errors: list[object] = []
    loop.set_exception_handler(lambda _loop, context: errors.append(context))
    seen_all = asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, seen_all.set)
    signals = Signals()
    with signals.caught():
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            send(number)
        await seen_all.wait()
    loop.remove_signal_handler(signal.SIGUSR1)
    assert signals.second.done()
    assert errors == []


async def test_afterwards_signals_have_their_usual_effect() -> None:
    """At the end of the context a signal ends the process again, as it does without a responder."""
    with Signals().caught():
        pass
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
