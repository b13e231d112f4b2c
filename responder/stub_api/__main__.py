"""Runs the stub API until SIGTERM or SIGINT: `python -m responder.stub_api --port 8080 --script script.json`."""

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from responder.stub_api.script import Script, ScriptError, load_script
from responder.stub_api.server import StubAPI


def main(arguments: list[str] | None = None) -> int:
    """Serve until a signal comes.

    Args:
        arguments: The command line without the program's name; None for this process's own.

    Returns:
        The exit status: 0 after a signal, 2 when the script or the port cannot be used.
    """
    parser = argparse.ArgumentParser(prog="python -m responder.stub_api", description="A stub of the Messages API.")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0, the default, for any free one")
    parser.add_argument("--script", type=Path, help="JSON file that says what to answer")
    options = parser.parse_args(arguments)
    try:
        script = load_script(options.script) if options.script else Script()
        asyncio.run(_serve(StubAPI(script, port=options.port, keep_requests=0)))
    except (ScriptError, OSError, OverflowError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


async def _serve(stub: StubAPI) -> None:
    is_over = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, is_over.set)
    async with stub as api:
        variables = " ".join(f"{name}={value}" for name, value in api.environment.items())
        sys.stdout.write(f"stub API on {api.url}, for the CLI: {variables}\n")
        sys.stdout.flush()
        await is_over.wait()


if __name__ == "__main__":
    sys.exit(main())
