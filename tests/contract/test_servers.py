"""The user-info of servers that are learned of later."""

import pytest

from contract import shared_user_info


@pytest.mark.parametrize(
    ("servers", "shared"),
    [
        (["nats://a:4222", "b"], {}),
        (["nats://u:p@a", "tls://u:p@b:1", "u:p@c", "nats://d"], {"user": "u", "password": "p"}),
        (["nats://t0ken@a"], {"token": "t0ken"}),
        (["nats://:p@a"], {"user": "", "password": "p"}),
        (["nats://u:p@a", "nats://u:q@b"], {}),
        (["nats://u:p@a", "nats://u@b"], {}),
        (["nats://u:p%40@a"], {"user": "u", "password": "p%40"}),
    ],
)
def test_user_info_that_all_have(servers: list[str], shared: dict[str, str]) -> None:
    """What all addresses with user-info have in common goes to every server; if they differ, nothing is guessed."""
    assert shared_user_info(servers) == shared
