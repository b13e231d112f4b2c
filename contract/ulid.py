"""ULIDs: request ids that sort by time."""

import secrets
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LENGTH = 26
_RANDOM_BITS = 80


def new_ulid() -> str:
    """Give a new ULID: 48 bits of milliseconds since the epoch, then 80 random bits.

    Returns:
        26 characters of Crockford's base 32.

    Source: github.com/ulid/spec.
    """
    number = (time.time_ns() // 1_000_000) << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(5 * (_LENGTH - 1), -1, -5))
