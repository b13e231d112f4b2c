"""Run the measurements: `python -m bench`."""

import asyncio
import sys

from bench import hop, layers

if __name__ == "__main__":
    asyncio.run(hop.main(sys.argv[1:]))
    asyncio.run(layers.main())
