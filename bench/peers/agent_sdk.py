"""The vendor's SDK: `query()` in the caller, which starts the CLI; `python -m bench.peers.agent_sdk`."""

import asyncio
import os

from claude_agent_sdk import (  # type: ignore[import-not-found]  # not a dependency of ours
    ClaudeAgentOptions,
    ResultMessage,
    query,
)

from bench.peers.asking import PROMPT, follow_orders


async def ask() -> None:
    """Make one query, with the same CLI as the other ways, and wait for its result."""
    options = ClaudeAgentOptions(cli_path=os.environ["COMMAND"])
    results = [message async for message in query(prompt=PROMPT, options=options) if isinstance(message, ResultMessage)]
    if len(results) != 1 or results[0].is_error:
        raise RuntimeError(f"no result: {results}")


if __name__ == "__main__":
    asyncio.run(follow_orders(ask))
