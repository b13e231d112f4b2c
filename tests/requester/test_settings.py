"""The environment, and what it may say."""

import pytest

from contract import mask_user_info
from requester import RequesterSettings, SettingsError

SECRET = "s3cr3t"
# Their files have to be there: tests/requester/test_tls.py.
FILES = {"nats_ca", "nats_cert", "nats_key"}


def test_defaults() -> None:
    """Without a word a requester asks a server on this machine and waits a minute."""
    settings = RequesterSettings()
    assert (settings.servers, settings.timeout_s) == (["nats://127.0.0.1:4222"], 60)
    assert (settings.subject_prefix, settings.inbox_prefix, settings.reply_grace_s) == ("claude.cli", "_INBOX", 5)


def test_every_field_has_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each setting is read from the environment."""
    values = {
        "NATS_URL": "nats://a:1, tls://b",
        "CLAUDE_REQUESTER_TIMEOUT_S": "1.5",
        "CLAUDE_REQUESTER_SUBJECT_PREFIX": "team.cli",
        "CLAUDE_REQUESTER_INBOX_PREFIX": "_INBOX_req",
        "CLAUDE_REQUESTER_CONNECT_TIMEOUT_S": "2",
        "CLAUDE_REQUESTER_REPLY_GRACE_S": "0",
        "CLAUDE_REQUESTER_ACCEPT_TIMEOUT_S": "0.7",
        "CLAUDE_REQUESTER_REPLY_MAX_BYTES": "5000",
        "CLAUDE_REQUESTER_RETRY_TOKENS": "8",
        "CLAUDE_REQUESTER_BACKOFF_FIRST_S": "0.2",
        "CLAUDE_REQUESTER_BACKOFF_MAX_S": "3",
        "CLAUDE_REQUESTER_BREAKER": "false",
        "CLAUDE_REQUESTER_BREAKER_ERROR_RATIO": "0.9",
        "CLAUDE_REQUESTER_BREAKER_MIN_REQUESTS": "7",
        "CLAUDE_REQUESTER_BREAKER_WINDOW_S": "5",
        "CLAUDE_REQUESTER_BREAKER_OPEN_S": "6",
    }
    assert len(values) == len(set(RequesterSettings.model_fields) - FILES)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    settings = RequesterSettings()
    assert settings.servers == ["nats://a:1", "tls://b"]
    assert settings.model_dump(exclude={"nats_url", *FILES}) == {
        "timeout_s": 1.5,
        "subject_prefix": "team.cli",
        "inbox_prefix": "_INBOX_req",
        "connect_timeout_s": 2,
        "reply_grace_s": 0,
        "accept_timeout_s": 0.7,
        "reply_max_bytes": 5000,
        "retry_tokens": 8,
        "backoff_first_s": 0.2,
        "backoff_max_s": 3,
        "breaker": False,
        "breaker_error_ratio": 0.9,
        "breaker_min_requests": 7,
        "breaker_window_s": 5,
        "breaker_open_s": 6,
    }


def test_an_argument_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the program says counts more than the environment; an empty variable says nothing."""
    monkeypatch.setenv("NATS_URL", "nats://a")
    monkeypatch.setenv("CLAUDE_REQUESTER_TIMEOUT_S", "")
    assert RequesterSettings(nats_url="nats://b").servers == ["nats://b"]
    assert RequesterSettings().timeout_s == 60


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("CLAUDE_REQUESTER_TIMEOUT", "did you mean CLAUDE_REQUESTER_TIMEOUT_S?"),
        ("CLAUDE_REQUESTER_REPLY_GRACE_MS", "did you mean CLAUDE_REQUESTER_REPLY_GRACE_S?"),
        ("CLAUDE_REQUESTER_NATS_URL", "did you mean NATS_URL?"),
        ("CLAUDE_REQUESTER_ZZZ", "known: NATS_URL, CLAUDE_REQUESTER_TIMEOUT_S"),
    ],
)
def test_an_unknown_name_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, hint: str) -> None:
    """A name that nobody reads is refused, and the nearest right one is named."""
    monkeypatch.setenv(name, SECRET)
    with pytest.raises(SettingsError) as caught:
        RequesterSettings()
    assert f"unknown setting {name} " in str(caught.value)
    assert hint in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NATS_URL", ","),
        ("NATS_URL", f"http://u:{SECRET}@h"),
        ("NATS_URL", f"nats://u:{SECRET}@h:x"),
        ("NATS_URL", f"nats://u:1/{SECRET}@h"),
        ("NATS_URL", f"nats://u:{SECRET}@h,nats://u:{SECRET}@"),
        ("CLAUDE_REQUESTER_TIMEOUT_S", "0"),
        ("CLAUDE_REQUESTER_TIMEOUT_S", "nan"),
        ("CLAUDE_REQUESTER_TIMEOUT_S", "1m"),
        ("CLAUDE_REQUESTER_CONNECT_TIMEOUT_S", "-1"),
        ("CLAUDE_REQUESTER_SUBJECT_PREFIX", "claude.*"),
        ("CLAUDE_REQUESTER_INBOX_PREFIX", "a b"),
    ],
)
def test_a_bad_value_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """A value that cannot be used is refused in one line that names the variable and shows no secret."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        RequesterSettings()
    assert str(caught.value).startswith(f"settings refused: {name}: ")
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_an_unknown_argument_is_refused() -> None:
    """A misspelt keyword is refused as well."""
    with pytest.raises(SettingsError, match="timeout_ms"):
        RequesterSettings(timeout_ms=1)


@pytest.mark.parametrize(
    "server", [f"nats://user:{SECRET}@h:1", f"tls://{SECRET}@h", f"u:{SECRET}@h:1", f"nats://u:x@{SECRET}@h"]
)
def test_user_info_is_never_shown(server: str) -> None:
    """Neither repr nor str nor the masked URL shows who we are, however the URL is written."""
    settings = RequesterSettings(nats_url=f"nats://open:4222,{server}")
    for text in (
        repr(settings),
        str(settings),
        settings.masked_url,
        mask_user_info(f"at {server}" if "//" in server else ""),
    ):
        assert SECRET not in text
    assert "nats://open:4222" in settings.masked_url
    assert settings.servers[1] == server


def test_settings_do_not_change() -> None:
    """Settings are frozen."""
    with pytest.raises(ValueError, match="frozen"):
        RequesterSettings().timeout_s = 3  # type: ignore[misc]
