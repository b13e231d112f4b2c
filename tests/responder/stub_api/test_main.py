"""The stub as a program."""

import asyncio
import signal
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from responder.stub_api.__main__ import main
from tests.responder.stub_api.asking import a_body, read_events, text_of

PATIENCE_S = 20
ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "responder.stub_api"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_serves_a_script_until_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    """One line tells the address and the variables; a signal ends it with status 0."""
    script = tmp_path / "script.json"
    script.write_text('{"rules": [{"text": "scripted"}]}')
    command = [*COMMAND, "--script", str(script)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_S), aiohttp.ClientSession() as session:
            line = (await process.stdout.readline()).decode()
            variables = dict(word.split("=", 1) for word in line.split() if "=" in word)
            url = variables["ANTHROPIC_BASE_URL"]
            assert f"stub API on {url}" in line
            async with session.post(f"{url}/v1/messages", json=a_body()) as response:
                assert text_of(read_events(await response.read())) == "scripted"
            process.send_signal(number)
            assert await process.stdout.read() == b""
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def test_a_wrong_script_ends_it_with_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The line says what to do, and nothing is served."""
    assert main(["--script", str(tmp_path / "none.json")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "give a JSON file" in captured.err


def test_a_taken_port_ends_it_with_one_line() -> None:
    """The line names the port."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = subprocess.run(
            [*COMMAND, "--port", port], capture_output=True, timeout=PATIENCE_S, cwd=ROOT, check=False
        )
    assert (ended.returncode, ended.stdout, ended.stderr.count(b"\n")) == (2, b"", 1)
    assert port.encode() in ended.stderr
