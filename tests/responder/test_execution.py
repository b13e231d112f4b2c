"""From a job to an outcome: what the CLI is given."""

import asyncio
import json
from pathlib import Path

import pytest

from contract import ErrorCode, ExecuteRequest, RequestError
from responder.execution import Audience
from responder.outcome import Failure, Success
from responder.run import Observation, Runner
from responder.service import Service
from tests.responder.parts import make_service

pytestmark = pytest.mark.usefixtures("patience")
# Prints what it was given, as a result document.
TELL = """
printf '{"type":"result","is_error":false,"subtype":"success","result":"%s"}' "$(
  {
    printf '%s\\n' "$#" "$@"
    echo "cwd $(pwd -P)"
    echo "left $(ls -A | wc -l)"
    echo "env $(env | cut -d= -f1 | xargs)"
    echo "stdin $(cat)"
  } | sed 's/$/;/' | tr -d '\\n'
)"
"""


async def execute(service: Service, request: ExecuteRequest) -> tuple[Success | Failure, Observation]:
    return await service.execution.execute(service.admission.admit(request, asyncio.get_running_loop().time()))


async def told(service: Service, request: ExecuteRequest) -> list[str]:
    """Give the lines in which the CLI says what it was given."""
    outcome, _ = await execute(service, request)
    assert isinstance(outcome, Success), outcome
    lines: list[str] = json.loads(outcome.printed)["result"].split(";")
    return lines


async def test_what_the_cli_is_given(runner: Runner, tmp_path: Path) -> None:
    """The CLI gets the argv of the policy, the prompt on stdin, the directory, and the environment of the list."""
    service = make_service(tmp_path, runner, TELL)
    lines = await told(service, ExecuteRequest(prompt="a prompt", args=("--model", "sonnet"), cwd="repo"))
    argv = service.admission.policy.arguments(("--model", "sonnet")).argv
    assert lines[: len(argv) + 1] == [str(len(argv)), *argv]
    assert f"cwd {tmp_path / 'root' / 'repo'}" in lines
    assert "stdin a prompt" in lines
    environment = next(line for line in lines if line.startswith("env ")).split()[1:]
    # The shell adds PWD.
    assert set(environment) == {*service.execution.environment.build(), "CLAUDE_NATS_RUN", "PWD"}


async def test_a_prompt_is_never_an_argument(runner: Runner, tmp_path: Path) -> None:
    """A prompt that looks like a flag is still only what is read on stdin."""
    lines = await told(make_service(tmp_path, runner, TELL), ExecuteRequest(prompt="--settings x"))
    assert "stdin --settings x" in lines
    assert "--settings x" not in lines


async def test_a_fresh_directory_for_each_run(runner: Runner, tmp_path: Path) -> None:
    """Without a directory of the caller's each run begins in an empty one, which is gone afterwards."""
    service = make_service(tmp_path, runner, f"{TELL}\ntouch rubbish")
    first, second = [await told(service, ExecuteRequest(prompt="p")) for _ in range(2)]
    places = [next(line for line in lines if line.startswith("cwd ")) for lines in (first, second)]
    assert places[0] != places[1]
    assert all(place.startswith(f"cwd {tmp_path / 'scratch'}/") for place in places)
    assert "left 0" in first
    assert "left 0" in second
    assert list((tmp_path / "scratch").glob("*/*")) == []


async def test_without_a_cli_nothing_is_run(runner: Runner, tmp_path: Path) -> None:
    """A responder without a CLI answers that it has none."""
    outcome, seen = await execute(make_service(tmp_path, runner, None), ExecuteRequest(prompt="p"))
    assert isinstance(outcome, Failure)
    assert (outcome.code, outcome.executed) == (ErrorCode.CLI_NOT_FOUND, False)
    assert seen == Observation(not_found=True)


async def test_a_cli_that_has_gone_meanwhile(runner: Runner, tmp_path: Path) -> None:
    """A CLI that is removed while the responder runs is missing, and nothing else."""
    service = make_service(tmp_path, runner)
    (tmp_path / "claude").unlink()
    outcome, _ = await execute(service, ExecuteRequest(prompt="p"))
    assert isinstance(outcome, Failure)
    assert outcome.code is ErrorCode.CLI_NOT_FOUND


async def test_a_directory_that_has_gone_since_admission(runner: Runner, tmp_path: Path) -> None:
    """A directory that was removed while the request waited refuses the run, and nothing is started."""
    service = make_service(tmp_path, runner, "touch started")
    job = service.admission.admit(ExecuteRequest(prompt="p", cwd="repo"), asyncio.get_running_loop().time())
    (tmp_path / "root" / "repo").rmdir()
    with pytest.raises(RequestError) as caught:
        await service.execution.execute(job)
    assert caught.value.code is ErrorCode.CWD_REFUSED


async def test_the_answer_in_the_callers_format(runner: Runner, tmp_path: Path) -> None:
    """Asked for text the outcome is the answer, otherwise what the CLI printed."""
    service = make_service(tmp_path, runner, "answer hello")
    text, _ = await execute(service, ExecuteRequest(prompt="p", args=("--output-format", "text")))
    document, seen = await execute(service, ExecuteRequest(prompt="p"))
    assert isinstance(text, Success)
    assert isinstance(document, Success)
    assert text.printed == "hello\n"
    assert document.printed.encode() == seen.stdout


@pytest.mark.parametrize(
    ("args", "is_heard"),
    [
        ((), False),
        (("--output-format", "text"), False),
        (("--output-format", "stream-json", "--verbose"), True),
    ],
)
async def test_only_a_stream_is_handed_on(
    runner: Runner, tmp_path: Path, args: tuple[str, ...], is_heard: bool
) -> None:
    """Whoever listens hears a stream while it is printed, and nothing of what is one document."""
    service, heard = make_service(tmp_path, runner, "answer hello"), []
    audience = Audience(on_output=lambda offset, lines: heard.append((offset, lines)))
    job = service.admission.admit(ExecuteRequest(prompt="p", args=args), asyncio.get_running_loop().time())
    _, seen = await service.execution.execute(job, audience)
    assert heard == ([(0, seen.stdout)] if is_heard else [])


async def test_a_run_that_nobody_awaits_is_told_as_such(runner: Runner, tmp_path: Path) -> None:
    """A run that was ended because nobody awaits it any more is an outcome of its own."""
    service = make_service(tmp_path, runner, "exec sleep 300")
    cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    cancelled.set_result(None)
    job = service.admission.admit(ExecuteRequest(prompt="p"), asyncio.get_running_loop().time())
    outcome, _ = await service.execution.execute(job, Audience(cancelled))
    assert isinstance(outcome, Failure)
    assert (outcome.code, outcome.executed) == (ErrorCode.CANCELLED, True)
