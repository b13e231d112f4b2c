"""The command `claude-responder`, as a user sees it."""

import asyncio
import sys
from pathlib import Path

import nats
import pytest
from nats.aio.msg import Msg

from tests.support.certificates import Certificates
from tests.support.nats_server import nats_server

COLUMNS = 80
NOWHERE = "nats://u:secret@127.0.0.1:1"


async def run(*arguments: str, **variables: str) -> tuple[int | None, str, str]:
    """Run the command in a terminal of 80 columns; give its exit status, stdout and stderr."""
    environment = {"COLUMNS": str(COLUMNS), "PYTHONPATH": str(Path(__file__).parents[2]), **variables}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "responder", *arguments),
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_usage_errors() -> None:
    """An option that does not exist or cannot have its value ends with status 2 and is named."""
    wrong = {
        ("serve", "--slot", "3"): "--slots",
        ("health", "--timeout", "-1"): "--timeout",
        ("health", "--of", "a>"): "--of",
        ("health", "--name", "r1"): "--name",
        ("stub-api", "--port", "65536"): "--port",
        ("policy", "--slots", "3"): "--slots",
    }
    ended = await asyncio.gather(*(run(*arguments) for arguments in wrong))
    for (status, out, err), said in zip(ended, wrong.values(), strict=True):
        assert (status, out) == (2, "")
        assert said in err
        assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serve", "--slots", "0"], "slots"),
        (["policy", "--allow", "--nothing"], "cannot be allowed"),
        (["health", "--timeout", "0.5", "--nats-url", NOWHERE], "(NATS at nats://***@127.0.0.1:1, --timeout 0.5)"),
    ],
)
async def test_what_cannot_be_done_is_one_line(arguments: list[str], said: str) -> None:
    """A setting that cannot be used, or a server that is not there, is one line and status 1."""
    status, out, err = await run(*arguments)
    assert (status, out) == (1, "")
    assert err.startswith("claude-responder: ")
    assert err.count("\n") == 1
    assert said in err
    assert "secret" not in err


async def test_health_with_nobody_there(tmp_path: Path) -> None:
    """Without a responder, `health` says on which subject and server nobody answered."""
    async with nats_server(tmp_path) as url:
        status, out, err = await run("health", "--of", "r1", NATS_URL=url)
    assert (status, out) == (1, "")
    assert err.startswith("claude-responder: no answer on claude.cli.health.r1: ")
    assert err.endswith(f"(NATS at {url}, --timeout 10)\n")


async def test_a_private_authority(tmp_path: Path) -> None:
    """Whatever asks NATS for an errand trusts the authority of the settings, and no other."""
    files = Certificates.make(tmp_path / "certificates")
    async with nats_server(tmp_path, files.server_config()) as url:
        for trusted, health, check in (
            ({"CLAUDE_RESPONDER_NATS_CA": str(files.ca)}, "no answer on claude.cli.health.r1", "nats-server 2"),
            ({}, "certificate verify failed", "FAILED"),
        ):
            _, _, err = await run("health", "--of", "r1", NATS_URL=url, **trusted)
            assert health in err
            _, out, _ = await run("check", NATS_URL=url, **trusted)
            assert check in next(line for line in out.splitlines() if line.startswith("│ NATS"))


async def test_health_of_something_else(tmp_path: Path) -> None:
    """What answers and is no responder is told in one line that does not show its answer."""

    async def answer(message: Msg) -> None:
        await message.respond(b"canary-5f1c9")

    async with nats_server(tmp_path) as url:
        client = await nats.connect(url)
        await client.subscribe("claude.cli.health", cb=answer)
        await client.flush()
        status, out, err = await run("health", NATS_URL=url)
        await client.close()
    assert (status, out) == (1, "")
    assert err == "claude-responder: what answered on claude.cli.health is no responder of this protocol\n"


async def test_the_policy_in_eighty_columns() -> None:
    """Every flag stands whole on one line, to be copied."""
    status, out, _ = await run("policy")
    assert status == 0
    for name in ("--exclude-dynamic-system-prompt-sections", "--permission-mode=bypassPermissions"):
        assert f" {name} " in out
    assert "CLAUDE_RESPONDER_ALLOW" in out
    assert max(map(len, out.splitlines())) <= COLUMNS


async def test_help_names_the_settings_that_matter() -> None:
    """The help of `health` has the settings it uses, whole, and not those of a responder."""
    _, out, _ = await run("health", "--help")
    assert "CLAUDE_RESPONDER_SUBJECT_PREFIX" in out
    assert "--deep" in out
    assert "--slots" not in out
