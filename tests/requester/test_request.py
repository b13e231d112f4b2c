"""What may be asked."""

import math
from typing import Any

import pytest

from requester import InvalidRequestError
from requester.request import build_request, check_timeout, left_ms
from tests.requester.fakes import CANARY


def build(prompt: Any = "2+2?", **more: Any) -> Any:
    return build_request(prompt, **{"args": None, "cwd": None, "request_id": None, **more})


def test_a_request_has_an_id() -> None:
    """A request gets a ULID of its own, or the caller's name."""
    assert len(build().id) == 26
    assert build().id != build().id
    assert build(request_id="job:7").id == "job:7"
    assert build(args=["--model", "sonnet"]).args == ("--model", "sonnet")


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("prompt", {"prompt": " \n"}),
        ("prompt", {"prompt": None}),
        ("surrogates", {"prompt": f"{CANARY}\udc80"}),
        ("args", {"args": f"--model {CANARY}"}),
        ("args.1", {"args": [CANARY, 3]}),
        ("id", {"request_id": f"{CANARY} x"}),
        ("id", {"request_id": ""}),
        ("cwd", {"cwd": 3}),
        ("priority", {"priority": CANARY}),
        ("priority", {"priority": None}),
        ("reuse", {"reuse": CANARY}),
        ("reuse", {"reuse": 1}),
    ],
)
def test_what_cannot_be_asked(name: str, given: dict[str, Any]) -> None:
    """A request that cannot be one is refused in one line that names what is wrong and shows no value."""
    with pytest.raises(InvalidRequestError) as caught:
        build(**given)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert CANARY not in str(caught.value)


def test_the_class_of_a_request() -> None:
    """A request is interactive unless the caller says otherwise."""
    assert build().priority == "interactive"
    assert build(priority="batch").priority == "batch"


def test_the_wish_to_reuse() -> None:
    """A CLI serves again only for a caller who says so."""
    assert build().reuse is False
    assert build(reuse=True).reuse is True


@pytest.mark.parametrize("timeout", [0, -1, 0.0009, math.nan, math.inf, 86_401, "60", None])
def test_what_is_no_timeout(timeout: Any) -> None:
    """A timeout below a millisecond, above a day or that is no number is a mistake in the unit."""
    with pytest.raises(InvalidRequestError, match=r"in seconds, at least 0.001 and at most 86400"):
        check_timeout(timeout)
    assert check_timeout(1) == 1.0


def test_the_time_left_is_never_zero() -> None:
    """What travels is whole milliseconds, at least one."""
    assert left_ms(10.0, 8.4999) == 1500
    assert left_ms(10.0, 9.9999) == 1
    assert left_ms(10.0, 11.0) == 1
