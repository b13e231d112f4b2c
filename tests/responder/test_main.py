"""The program's entry point: what it loads."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
sys.argv = ["claude-responder", "--help"]
from responder.__main__ import main
try:
    main()
except SystemExit:
    pass
print(sorted({"nats", "aiohttp"} & set(sys.modules)))
import aiohttp, nats.aio.transport
print(aiohttp.ClientSession.__name__)
"""


@pytest.mark.parametrize(
    ("before", "loaded"), [("", "['nats']"), ("import aiohttp", "['aiohttp', 'nats']")], ids=["usual", "loaded before"]
)
def test_nothing_is_loaded_for_websockets(before: str, loaded: str) -> None:
    """NATS's client comes without aiohttp, of which no address makes use; who wants it later has it."""
    ended = subprocess.run(
        [sys.executable, "-c", f"{before}\n{PROGRAM}"],
        capture_output=True, text=True, check=True, timeout=30, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert ended.stdout.splitlines()[-2:] == [loaded, "ClientSession"]
