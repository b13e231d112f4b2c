"""The error tree: every code has its class, and an error survives a process border."""

import copy
import pickle

import pytest

import requester
from contract import CODE_FACTS, ErrorCode
from requester import ExecuteTimeoutError, InvalidRequestError, ProtocolError, RequesterError
from requester import errors as tree
from requester.errors import ERRORS, error_of, one_line
from tests.requester.fakes import failure


def subclasses(kind: type[RequesterError]) -> set[type[RequesterError]]:
    return {kind}.union(*(subclasses(child) for child in kind.__subclasses__()))


@pytest.mark.parametrize("code", ErrorCode)
def test_every_code_has_its_class(code: ErrorCode) -> None:
    """A failed reply raises the class of its code, and that class carries the code and its facts."""
    error = error_of(failure("r", code))
    assert type(error) is ERRORS[code]
    assert type(error).code == code == error.code
    assert ERRORS[code]("m").retryable is CODE_FACTS[code].retryable
    assert ERRORS[code]("m").executed is CODE_FACTS[code].executed


def test_no_code_is_left_out() -> None:
    """The table names every code of the contract."""
    assert set(ERRORS) == set(ErrorCode)


def test_an_unknown_code_is_kept() -> None:
    """A code that only a newer responder knows becomes the root with that code, and its flags are believed."""
    error = error_of(failure("r", "quota_exhausted", retryable=True, executed=False))
    assert type(error) is RequesterError
    assert (error.code, error.retryable, error.executed) == ("quota_exhausted", True, False)


def test_the_reply_wins_over_its_code() -> None:
    """What the responder says of this one failure counts more than what its code says in general."""
    error = error_of(
        failure("r", "timeout", retryable=False, executed=True, retry_after_ms=1500, api_status=529, cost_usd=0.5)
    )
    assert isinstance(error, ExecuteTimeoutError)
    assert (error.retryable, error.executed, error.responder, error.request_id) == (False, True, "r1", "r")
    assert (error.retry_after_s, error.api_status, error.cost_usd) == (1.5, 529, 0.5)


@pytest.mark.parametrize("kind", sorted(subclasses(RequesterError), key=str))
def test_errors_cross_process_borders(kind: type[RequesterError]) -> None:
    """Every class can be pickled and copied, and keeps its message and attributes (Celery sends errors that way)."""
    error = kind(
        "one line",
        retryable=True,
        executed=None,
        responder="r1",
        request_id="x",
        retry_after_s=1.5,
        api_status=429,
        cost_usd=0.1,
    )
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 # our own bytes
        assert type(twin) is kind
        assert str(twin) == "one line"
        assert vars(twin) == vars(error)


def test_an_unknown_code_crosses_process_borders() -> None:
    """The raw code of a newer responder survives pickling too."""
    error = error_of(failure("r", "quota_exhausted"))
    assert pickle.loads(pickle.dumps(error)).code == "quota_exhausted"  # noqa: S301 # our own bytes


def test_the_docstring_is_the_tree() -> None:
    """The module's docstring names every class, and the package exports every class."""
    for kind in subclasses(RequesterError):
        assert f" {kind.__name__} " in f" {tree.__doc__}".replace("\n", " "), kind
        assert kind.__name__ in requester.__all__


def test_builtin_families() -> None:
    """Whoever expects Python's own TimeoutError or ValueError gets it."""
    assert issubclass(ExecuteTimeoutError, TimeoutError)
    assert issubclass(InvalidRequestError, ValueError)
    assert ProtocolError.code == ErrorCode.INTERNAL


def test_a_message_is_one_line() -> None:
    """Text from the wire cannot write to the terminal it ends up in."""
    assert one_line("a\x1b[2Jb\r\nc\u2028d") == "a [2Jb c d"
    assert str(error_of(failure("r", "internal", error="two\nlines"))) == "two lines"
