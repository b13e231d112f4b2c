"""SIGTERM and SIGINT as futures."""

import os
import signal

import pytest

from responder.signals import Signals
from tests.support.conditions import wait_until

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
    """A third signal is not an error."""
    signals = Signals()
    with signals.caught():
        for _ in range(2):
            send(signal.SIGTERM)
            await wait_until(signals.first.done, "the first")
        send(signal.SIGTERM)
        await wait_until(signals.second.done, "the second")
        send(signal.SIGINT)
        send(signal.SIGTERM)


async def test_afterwards_signals_have_their_usual_effect() -> None:
    """At the end of the context a signal ends the process again, as it does without a responder."""
    with Signals().caught():
        pass
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
