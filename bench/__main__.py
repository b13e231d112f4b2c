"""Run the measurements: `python -m bench`."""

import asyncio
import sys

from bench.hop import main

if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
