"""The answers to `$SRV.*`, read as NATS's own client reads them."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from nats.micro.service import EndpointStats, ServiceInfo, ServicePing, ServiceStats

from contract import ErrorCode, ExecuteFailure, ExecuteSuccess, Subjects
from responder.micro import VERBS, Micro
from responder.slots import Slots
from responder.statistics import Statistics

STARTED = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)


@pytest.fixture
def micro() -> Micro:
    return Micro("host-7", "1.2.3", Subjects("team.claude"), Slots(5, 10), Statistics(STARTED))


def answer(micro: Micro, verb: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(micro.answer(verb))
    return document


def test_a_ping_is_answered(micro: Micro) -> None:
    """NATS's own reader understands the answer to PING."""
    assert ServicePing.from_dict(answer(micro, "PING")) == ServicePing("host-7", "claude-cli", "1.2.3", {"slots": "5"})


def test_info_names_the_endpoint(micro: Micro) -> None:
    """NATS's own reader finds the subject and the queue group in the answer to INFO."""
    info = ServiceInfo.from_dict(answer(micro, "INFO"))
    (endpoint,) = info.endpoints
    assert (endpoint.name, endpoint.subject, endpoint.queue_group) == ("execute", "team.claude.execute", "claude-cli")
    assert (info.id, info.name, info.metadata) == ("host-7", "claude-cli", {"slots": "5"})


def stats_of(micro: Micro) -> ServiceStats:
    document = answer(micro, "STATS")
    for endpoint in document["endpoints"]:
        # ADR-32 leaves `data` to the service; nats-py 2.16.0 reads it without a default.
        endpoint.setdefault("data", None)
    return ServiceStats.from_dict(document)


def endpoint_of(micro: Micro) -> EndpointStats:
    (endpoint,) = stats_of(micro).endpoints
    return endpoint


def test_stats_begin_at_zero(micro: Micro) -> None:
    """Before the first request there is nothing to divide by, and no error."""
    endpoint = endpoint_of(micro)
    assert (endpoint.num_requests, endpoint.num_errors, endpoint.last_error) == (0, 0, "")
    assert (endpoint.processing_time, endpoint.average_processing_time) == (0, 0)
    assert (endpoint.name, endpoint.subject, endpoint.queue_group) == ("execute", "team.claude.execute", "claude-cli")


def test_stats_count(micro: Micro) -> None:
    """Requests, errors, the last code and the times in nanoseconds are told."""
    micro.statistics.count(ExecuteSuccess(id="i", result="", responder="r"), 0.25)
    failure = ExecuteFailure(error="e", code=ErrorCode.AUTH, retryable=False, executed=True, responder="r")
    micro.statistics.count(failure, 0.5)
    endpoint = endpoint_of(micro)
    assert (endpoint.num_requests, endpoint.num_errors, endpoint.last_error) == (2, 1, "auth")
    assert (endpoint.processing_time, endpoint.average_processing_time) == (750_000_000, 375_000_000)


def test_stats_tell_what_waits_and_what_expired(micro: Micro) -> None:
    """What runs, what waits and what was never started because its deadline had passed are told as data of ours."""
    expired = ExecuteFailure(error="e", code=ErrorCode.TIMEOUT, retryable=True, executed=False, responder="r")
    micro.statistics.count(expired, 0.5)
    assert endpoint_of(micro).data == {"in_flight": 0, "backlog": 0, "expired": 1, "unfit": None}


def test_the_start_is_told_in_utc(micro: Micro) -> None:
    """The time of the start is in the form that ADR-32's clients read."""
    assert answer(micro, "STATS")["started"] == "2026-01-02T03:04:05.678Z"
    assert stats_of(micro).started.replace(tzinfo=UTC) == STARTED.replace(microsecond=678_000)


@pytest.mark.parametrize("verb", VERBS)
def test_every_answer_names_its_type_and_who_answers(micro: Micro, verb: str) -> None:
    """Each answer has the identity of the instance and the type of ADR-32."""
    document = answer(micro, verb)
    assert document["type"] == f"io.nats.micro.v1.{verb.lower()}_response"
    assert (document["name"], document["id"], document["version"]) == ("claude-cli", "host-7", "1.2.3")


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_asked_of_all_of_ours_and_of_one(micro: Micro, verb: str) -> None:
    """Discovery reaches an instance by the verb alone, by the service's name and by its own id."""
    assert micro.subjects_of(verb) == (f"$SRV.{verb}", f"$SRV.{verb}.claude-cli", f"$SRV.{verb}.claude-cli.host-7")


def test_stats_tell_why_it_takes_no_work(micro: Micro) -> None:
    """Whoever looks at the fleet sees which responder is away, and why."""
    assert endpoint_of(micro).data == {"in_flight": 0, "backlog": 0, "expired": 0, "unfit": None}
    micro.fitness.end(ErrorCode.RATE_LIMITED, None, 0.0)
    assert endpoint_of(micro).data == {
        "in_flight": 0,
        "backlog": 0,
        "expired": 0,
        "unfit": "the API limits the credential",
    }
