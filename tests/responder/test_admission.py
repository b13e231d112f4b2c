"""Admission: what becomes a job, what is refused, and in which order."""

import json
from pathlib import Path
from typing import Any

import pytest

from contract import ErrorCode, ExecuteRequest, Priority, RequestError, RequestLimits
from responder.admission import Admission
from responder.arguments import ArgumentPolicy
from responder.working_directory import WorkingDirectories

CANARY = "canary-5f1c9"
NOW = 1000.0


@pytest.fixture
def admission(tmp_path: Path) -> Admission:
    (tmp_path / "repo").mkdir()
    return Admission(RequestLimits(prompt_max_bytes=100), ArgumentPolicy(), WorkingDirectories([tmp_path]))


def test_a_request_becomes_a_job(admission: Admission) -> None:
    """A job has what the request asks for, and a deadline counted from its arrival."""
    request = ExecuteRequest(prompt="hello", id="job-1", args=("--model", "sonnet"), cwd="repo", timeout_ms=1500)
    job = admission.admit(request, NOW)
    assert (job.request_id, job.prompt, job.cwd, job.deadline) == ("job-1", "hello", "repo", 1001.5)
    assert job.arguments == admission.policy.arguments(("--model", "sonnet"))


@pytest.mark.parametrize("reuse", [True, False])
def test_a_job_has_its_wish(admission: Admission, reuse: bool) -> None:
    """Whether its CLI may serve again is what its request says."""
    assert admission.admit(ExecuteRequest(prompt="p", reuse=reuse), NOW).reuse is reuse


@pytest.mark.parametrize("priority", list(Priority))
def test_a_job_has_its_place(admission: Admission, priority: Priority) -> None:
    """A job has the class it was asked for in, and the time at which it came."""
    job = admission.admit(ExecuteRequest(prompt="p", priority=priority), NOW)
    assert (job.priority, job.arrived_at) == (priority, NOW)


def test_a_job_without_an_id_gets_one(admission: Admission) -> None:
    """Requests that name themselves nothing get names that differ."""
    names = {admission.admit(ExecuteRequest(prompt="p"), NOW).request_id for _ in range(3)}
    assert len(names) == 3
    assert all(len(name) == 26 for name in names)


@pytest.mark.parametrize("prompt", ["/", "/config theme=dark", "/nonexist", "/etc/passwd is what?", "//"])
def test_a_prompt_is_never_a_command_of_the_cli(admission: Admission, prompt: str) -> None:
    """A prompt that begins with a slash is kept from the CLI's own commands by a newline before it."""
    assert admission.admit(ExecuteRequest(prompt=prompt), NOW).prompt == f"\n{prompt}"


@pytest.mark.parametrize("prompt", ["hello", " /config", "\n/config", "a /config", "--help", "@file", "\u2044x"])
def test_other_prompts_are_left_alone(admission: Admission, prompt: str) -> None:
    """A prompt that cannot be a command reaches the CLI to the character."""
    assert admission.admit(ExecuteRequest(prompt=prompt), NOW).prompt == prompt


def test_limits_are_the_operators(admission: Admission) -> None:
    """A request is read with the limits that were configured."""
    assert admission.parse(b'{"prompt": "' + b"x" * 100 + b'"}').prompt == "x" * 100
    with pytest.raises(RequestError, match="prompt has 101 bytes, the limit is 100"):
        admission.parse(b'{"prompt": "' + b"x" * 101 + b'"}')


REFUSED: list[tuple[dict[str, Any], ErrorCode]] = [
    ({"args": ["--settings", CANARY]}, ErrorCode.ARGUMENT_REFUSED),
    ({"cwd": f"../{CANARY}"}, ErrorCode.CWD_REFUSED),
    ({"cwd": ""}, ErrorCode.CWD_REFUSED),
    ({"cwd": "missing"}, ErrorCode.CWD_REFUSED),
    ({"args": ["--settings", CANARY], "cwd": f"../{CANARY}"}, ErrorCode.ARGUMENT_REFUSED),
]


@pytest.mark.parametrize(("fields", "code"), REFUSED)
def test_what_is_refused_at_admission(admission: Admission, fields: dict[str, Any], code: ErrorCode) -> None:
    """Arguments and directory are refused before the request waits for anything, without their values."""
    request = admission.parse(json.dumps({"prompt": "p", **fields}).encode())
    with pytest.raises(RequestError) as caught:
        admission.admit(request, NOW)
    assert caught.value.code is code
    assert CANARY not in str(caught.value)


def test_a_jobs_repr_shows_no_prompt(admission: Admission) -> None:
    """The prompt is not in the repr of a job."""
    assert CANARY not in repr(admission.admit(ExecuteRequest(prompt=CANARY), NOW))
