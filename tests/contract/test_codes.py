"""The table of error codes."""

import re

import pytest

from contract import CODE_FACTS, ErrorCode

# A number below 500 says that the request has to change; 429 is the one that asks to come back.
TOO_MANY_REQUESTS = 429


def test_every_code_has_facts() -> None:
    """No code is without its facts, and no facts are without a code."""
    assert set(CODE_FACTS) == set(ErrorCode)


@pytest.mark.parametrize("code", ErrorCode)
def test_a_code_is_spelled_as_its_name(code: ErrorCode) -> None:
    """What stands on the wire is the name in lower case."""
    assert code.value == code.name.lower()


@pytest.mark.parametrize("code", ErrorCode)
def test_numbers_are_those_of_errors(code: ErrorCode) -> None:
    """ADR-32's number is an error in the sense HTTP gives it."""
    assert 400 <= CODE_FACTS[code].number <= 599


@pytest.mark.parametrize("code", ErrorCode)
def test_only_what_is_not_the_callers_fault_is_retryable(code: ErrorCode) -> None:
    """The number and the flag agree: a request that has to change is not sent again as it is."""
    facts = CODE_FACTS[code]
    assert not facts.retryable or facts.number == TOO_MANY_REQUESTS or facts.number >= 500


@pytest.mark.parametrize("code", ErrorCode)
def test_meanings_fit_a_table(code: ErrorCode) -> None:
    """A meaning is one line for the documentation, without what would break a table."""
    assert re.fullmatch(r"[^\n|]{10,90}", CODE_FACTS[code].meaning)


def test_meanings_differ() -> None:
    """No two codes mean the same."""
    assert len({facts.meaning for facts in CODE_FACTS.values()}) == len(CODE_FACTS)


@pytest.mark.parametrize("code", ["invalid_request", "argument_refused", "cwd_refused", "overloaded", "stopping"])
def test_refusals_have_not_run(code: str) -> None:
    """What is refused before a process was started says so."""
    assert CODE_FACTS[ErrorCode(code)].executed is False
