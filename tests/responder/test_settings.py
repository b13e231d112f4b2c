"""The settings: where they come from, what is refused, what is shown."""

import os
from pathlib import Path
from typing import Any

import pytest

from contract import mask_servers
from responder.arguments import OPT_INS
from responder.settings import ResponderSettings, SettingsError, host_environment, load_settings
from tests.support.certificates import Certificates

CANARY = "canary-5f1c9"


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("CLAUDE_RESPONDER_") or name.upper() == "NATS_URL":
            monkeypatch.delenv(name)


def refusal_of(**options: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(options)
    message = str(caught.value)
    assert message.isprintable()
    assert CANARY not in message
    return message


def test_the_defaults_are_those_of_one_small_machine() -> None:
    """Without any setting a responder works on loopback, allows nothing extra and has bounded everything."""
    settings = load_settings({})
    assert settings.servers == ["nats://127.0.0.1:4222"]
    assert (settings.slots, settings.backlog_max, settings.embedded) == (5, 100, False)
    assert settings.batch_max_wait_s == 30.0
    assert (settings.allow, settings.cwd_roots, settings.models, settings.tools, settings.cli_env) == ((),) * 5
    assert (settings.subject_prefix, settings.inbox_prefix) == ("claude.cli", "_INBOX")


ENVIRONMENT: list[tuple[str, str, str, Any]] = [
    ("NATS_URL", "nats://a:1,nats://b:2", "servers", ["nats://a:1", "nats://b:2"]),
    ("NATS_URL", " nats://a:1 , ,", "servers", ["nats://a:1"]),
    ("CLAUDE_RESPONDER_NAME", "host-7", "name", "host-7"),
    ("CLAUDE_RESPONDER_SLOTS", "7", "slots", 7),
    ("CLAUDE_RESPONDER_BACKLOG_MAX", "0", "backlog_max", 0),
    ("CLAUDE_RESPONDER_BATCH_MAX_WAIT_S", "0", "batch_max_wait_s", 0.0),
    ("CLAUDE_RESPONDER_CLI", "/opt/claude", "cli", Path("/opt/claude")),
    ("CLAUDE_RESPONDER_MODELS", " sonnet , opus,", "models", ("sonnet", "opus")),
    ("CLAUDE_RESPONDER_TOOLS", "Read", "tools", ("Read",)),
    ("CLAUDE_RESPONDER_TOOLS", "", "tools", ()),
    ("CLAUDE_RESPONDER_CLI_ENV", "HTTPS_PROXY,NO_PROXY", "cli_env", ("HTTPS_PROXY", "NO_PROXY")),
    ("CLAUDE_RESPONDER_ALLOW", ",".join(OPT_INS), "allow", OPT_INS),
    ("CLAUDE_RESPONDER_CWD_ROOTS", "/tmp, /", "cwd_roots", ("/tmp", "/")),
    ("CLAUDE_RESPONDER_MAX_BUDGET_USD", "1.5", "max_budget_usd", 1.5),
    ("CLAUDE_RESPONDER_JETSTREAM", "required", "jetstream", "required"),
    ("CLAUDE_RESPONDER_KEEP_RESULTS_S", "60", "keep_results_s", 60.0),
    ("CLAUDE_RESPONDER_REPLICAS", "3", "replicas", 3),
    ("CLAUDE_RESPONDER_DURABLE", "false", "durable", False),
    ("CLAUDE_RESPONDER_EMBEDDED", "true", "embedded", True),
    ("CLAUDE_RESPONDER_DRAIN_GRACE_S", "0", "drain_grace_s", 0.0),
    ("CLAUDE_RESPONDER_LOG_LEVEL", "debug", "log_level", "debug"),
    ("CLAUDE_RESPONDER_STANDBY_MAX", "0", "standby_max", 0),
    ("CLAUDE_RESPONDER_STANDBY_ARGS", '[["-p"], ["--model", "opus"]]', "standby_args", (("-p",), ("--model", "opus"))),
    ("CLAUDE_RESPONDER_STANDBY_ARGS", "[]", "standby_args", ()),
    ("CLAUDE_RESPONDER_REUSE_MAX", "40", "reuse_max", 40),
    ("CLAUDE_RESPONDER_REUSE_AGE_MAX_S", "1.5", "reuse_age_max_s", 1.5),
    ("CLAUDE_RESPONDER_REUSE_MEMORY_MB", "300", "reuse_memory_mb", 300),
    ("claude_responder_slots", "9", "slots", 9),
]


@pytest.mark.parametrize(("variable", "text", "name", "value"), ENVIRONMENT)
def test_variables(monkeypatch: pytest.MonkeyPatch, variable: str, text: str, name: str, value: Any) -> None:
    """Each setting is read from its variable, lists from texts with commas."""
    monkeypatch.setenv(variable, text)
    assert getattr(load_settings({}), name) == value


@pytest.mark.parametrize(
    ("variable", "text", "name", "option", "value"),
    [
        ("CLAUDE_RESPONDER_SLOTS", "7", "slots", "3", 3),
        ("NATS_URL", "nats://env", "nats_url", "nats://option", "nats://option"),
        ("CLAUDE_RESPONDER_MODELS", "opus", "models", "sonnet", ("sonnet",)),
        ("CLAUDE_RESPONDER_EMBEDDED", "true", "embedded", False, False),
        ("CLAUDE_RESPONDER_ALLOW", "--continue", "allow", "", ()),
        ("CLAUDE_RESPONDER_SLOTS", "no number", "slots", "3", 3),
        ("CLAUDE_RESPONDER_STANDBY_ARGS", "[]", "standby_args", '[["-p"]]', (("-p",),)),
    ],
)
def test_options_win(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, name: str, option: Any, value: Any
) -> None:
    """What is given on the command line counts, whatever the environment says."""
    monkeypatch.setenv(variable, text)
    assert getattr(load_settings({name: option}), name) == value


def test_an_option_that_is_not_given_is_not_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """None means that the command line says nothing."""
    monkeypatch.setenv("CLAUDE_RESPONDER_SLOTS", "7")
    assert load_settings({"slots": None, "nats_url": None}).slots == 7


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("CLAUDE_RESPONDER_SLOT", "CLAUDE_RESPONDER_SLOTS"),
        ("CLAUDE_RESPONDER_BACKLOG", "CLAUDE_RESPONDER_BACKLOG_MAX"),
        ("CLAUDE_RESPONDER_CWD_ROOT", "CLAUDE_RESPONDER_CWD_ROOTS"),
        ("claude_responder_alow", "CLAUDE_RESPONDER_ALLOW"),
    ],
)
def test_an_unknown_variable_is_refused_with_the_nearest(
    monkeypatch: pytest.MonkeyPatch, variable: str, nearest: str
) -> None:
    """A misspelt setting does not vanish: it is refused with the one that was meant, without its value."""
    monkeypatch.setenv(variable, CANARY)
    assert refusal_of() == f"unknown setting {variable}: did you mean {nearest}?"


def test_nats_url_has_no_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    """NATS's address has one variable, NATS_URL, and no second one that would be forgotten."""
    monkeypatch.setenv("CLAUDE_RESPONDER_NATS_URL", f"nats://u:{CANARY}@h")
    assert refusal_of() == "unknown setting CLAUDE_RESPONDER_NATS_URL: did you mean NATS_URL?"


def test_other_variables_are_not_our_business(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables of other programs are left alone."""
    monkeypatch.setenv("CLAUDE_RESPONDE", "x")
    monkeypatch.setenv("XCLAUDE_RESPONDER_SLOT", "x")
    load_settings({})


REFUSED: list[tuple[str, Any]] = [
    ("slots", "0"),
    ("slots", "1001"),
    ("slots", CANARY),
    ("slots", "1.5"),
    ("slots", ""),
    ("backlog_max", "-1"),
    ("name", ""),
    ("name", f"{CANARY}.x"),
    ("name", "a b"),
    ("name", "x" * 65),
    ("name", "*"),
    ("name", "a\n"),
    ("subject_prefix", ""),
    ("subject_prefix", f"{CANARY}.>"),
    ("subject_prefix", "$SYS"),
    ("inbox_prefix", ""),
    ("inbox_prefix", "_INBOX."),
    ("inbox_prefix", "*"),
    ("prompt_max_bytes", "0"),
    ("prompt_max_bytes", "10000001"),
    ("output_max_bytes", "1023"),
    ("timeout_max_s", "0"),
    ("timeout_max_s", "nan"),
    ("drain_grace_s", "-1"),
    ("stop_step_s", "-1"),
    ("stop_step_s", "61"),
    ("stop_step_s", "nan"),
    ("max_budget_usd", "0"),
    ("max_budget_usd", "-1"),
    ("max_budget_usd", CANARY),
    ("cli_max_retries", "-1"),
    ("cli_max_retries", "11"),
    ("log_level", CANARY),
    ("log_level", "INFO"),
    ("embedded", CANARY),
    ("nats_ca", f"/{CANARY}.pem"),
    ("nats_cert", "/etc/passwd"),
    ("nats_key", f"/{CANARY}.pem"),
    ("standby_max", "-1"),
    ("standby_memory_mb", CANARY),
    ("standby_age_max_s", "0"),
    ("reuse_max", "-1"),
    ("reuse_max", "10001"),
    ("reuse_age_max_s", "0.9"),
    ("reuse_age_max_s", "nan"),
    ("reuse_age_max_s", "86401"),
    ("reuse_memory_mb", "0"),
    ("reuse_memory_mb", CANARY),
    ("standby_args", CANARY),
    ("standby_args", "[" * 100_000),
    ("standby_args", '["-p"]'),
    ("slotz", CANARY),
]


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_what_cannot_be_used_is_refused_by_name(name: str, value: Any) -> None:
    """A setting that is out of its bounds is refused in one line that begins with its name."""
    assert refusal_of(**{name: value}).startswith(f"{name}: ")


@pytest.mark.parametrize(("name", "value"), [case for case in REFUSED if case[0] != "slotz" and case[1]])
def test_variables_are_checked_like_options(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """A value from the environment has the same bounds."""
    monkeypatch.setenv(f"CLAUDE_RESPONDER_{name.upper()}", value)
    assert refusal_of().startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("--dangerously-skip-permission", "--dangerously-skip-permissions"),
        ("dangerously-skip-permissions", "--dangerously-skip-permissions"),
        ("--permission-mode=bypassPermission", "--permission-mode=bypassPermissions"),
        ("--allowed-tools", "--allowedTools"),
    ],
)
def test_an_opt_in_that_does_not_exist(name: str, nearest: str) -> None:
    """An opt-in that is misspelt is refused with the nearest one."""
    assert refusal_of(allow=f"--continue,{name}") == f"allow: {name!r} cannot be allowed: did you mean {nearest}?"


@pytest.mark.parametrize("args", ['[["--settings", "x"]]', '[["-p"], ["--model", "opus"]]', '[["--continue"]]'])
def test_what_no_request_may_use_is_not_kept_ready(args: str) -> None:
    """Arguments for which a CLI is kept ready are ones that a request may have."""
    assert "standby_args: argument refused: --" in refusal_of(standby_args=args, models="sonnet")


def test_what_is_reused_was_kept_ready() -> None:
    """CLIs that serve again are of those that stand ready, so there have to be some; none serve so by default."""
    expected = "settings: reuse_max: what is reused was started ahead, so standby_max must not be 0"
    assert refusal_of(reuse_max=2, standby_max=0) == expected
    usual = load_settings({"standby_max": 0})
    assert (usual.reuse_max, usual.reuse_age_max_s, usual.reuse_memory_mb) == (0, 600.0, 500)
    for count in (1, None):
        assert load_settings({"reuse_max": 2, "standby_max": count}).reuse_max == 2


@pytest.mark.parametrize("name", ["--settings", "--mcp-config", "--add-dir", "--model", "-c", "--agents"])
def test_what_is_never_allowed_cannot_be_allowed(name: str) -> None:
    """No operator's setting opens a flag that is not among the opt-ins."""
    assert f"{name!r} cannot be allowed" in refusal_of(allow=name)


@pytest.mark.parametrize("root", ["repo", "./", "~", "/no/such/directory", "/etc/passwd"])
def test_a_root_has_to_be_a_directory(root: str) -> None:
    """A root for working directories is the absolute path of a directory that is there."""
    assert "is not the absolute path of a directory" in refusal_of(cwd_roots=root)


@pytest.mark.parametrize("scratch", ["/no/such/directory", "/etc/passwd", "/bin/sh", "/etc/passwd/x", "no-such"])
def test_scratch_has_to_be_a_directory(scratch: str) -> None:
    """Where no directory can be made, the responder does not start: each of its runs would fail."""
    assert refusal_of(scratch=scratch).startswith(f"scratch: {scratch!r} is not a directory in which this user can")


def test_scratch_has_to_be_writable() -> None:
    """A scratch directory that belongs to others is refused at the start."""
    user = os.geteuid()
    os.seteuid(user or 65534)
    try:
        assert refusal_of(scratch="/").startswith("scratch: '/' is not a directory in which this user can")
    finally:
        os.seteuid(user)


def test_a_scratch_directory_that_can_be_used(tmp_path: Path) -> None:
    """A directory of this user's is taken."""
    assert load_settings({"scratch": tmp_path}).scratch == tmp_path


@pytest.mark.parametrize("url", ["nats://127.0.0.1:1", "localhost:4222", "nats://[::1]:4222", "127.0.0.1"])
def test_embedded_on_loopback(url: str) -> None:
    """A server of the responder's own goes with a loopback address."""
    assert load_settings({"embedded": True, "nats_url": url}).embedded


@pytest.mark.parametrize(
    "url", ["nats://10.0.0.1:4222", "nats://127.0.0.1:1,nats://127.0.0.1:2", "nats://nats", "nats://127.0.0.1.evil"]
)
def test_embedded_elsewhere_is_refused(url: str) -> None:
    """A server of the responder's own listens on loopback only, so any other address is a mistake."""
    assert "embedded: the server listens on loopback only" in refusal_of(embedded=True, nats_url=url)


def test_embedded_with_tls_is_refused(tmp_path: Path) -> None:
    """A server of the responder's own speaks no TLS, so asking for it would never connect."""
    ca = Certificates.make(tmp_path / "certificates").ca
    for options in ({"nats_url": "tls://127.0.0.1:4222"}, {"nats_ca": ca}):
        assert "embedded: the server speaks no TLS" in refusal_of(embedded=True, **options)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nats://host:4222", "nats://host:4222"),
        ("nats://user:secret@host:4222", "nats://***@host:4222"),
        ("nats://token@host", "nats://***@host"),
        ("user:secret@host", "***@host"),
        ("nats://user:se@cret@host", "nats://***@host"),
        ("nats://:secret@host", "nats://***@host"),
        ("", ""),
    ],
)
def test_user_info_is_masked(url: str, shown: str) -> None:
    """An address is shown without its user, password or token."""
    assert mask_servers(url) == shown


def test_settings_are_shown_masked() -> None:
    """The table for people has every setting, and no credential of any server."""
    urls = f"nats://u:{CANARY}@a:1,nats://{CANARY}@b"
    shown = load_settings({"nats_url": urls, "cli": "/opt/claude"}).shown()
    assert set(shown) == set(ResponderSettings.model_fields)
    assert shown["nats_url"] == "nats://***@a:1,nats://***@b"
    assert (shown["cli"], shown["models"], shown["slots"], shown["scratch"]) == ("/opt/claude", "-", "5", "-")


def test_a_repr_shows_no_credential() -> None:
    """Neither repr nor str of the settings has the address."""
    settings = load_settings({"nats_url": f"nats://u:{CANARY}@a"})
    assert CANARY not in f"{settings!r} {settings!s}"


def test_the_models_own_error_hides_the_input() -> None:
    """Settings that are refused where they are built in Python do not show their values either."""
    with pytest.raises(ValueError, match="slots") as caught:
        ResponderSettings(nats_url=f"nats://u:{CANARY}@a", slots=CANARY)
    assert CANARY not in str(caught.value)


def test_settings_cannot_be_changed() -> None:
    """What was validated stays so."""
    settings = load_settings({})
    with pytest.raises(ValueError, match="frozen"):
        settings.slots = 9  # type: ignore[misc] # the point


def test_the_cli_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An executable that is named is used, from an absolute path, even if another is on PATH."""
    monkeypatch.chdir(tmp_path)
    assert load_settings({"cli": "bin/claude"}).cli_path() == tmp_path / "bin" / "claude"


def test_the_cli_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a name, `claude` is looked for on PATH; without one there, there is none."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert load_settings({}).cli_path() is None
    assert load_settings({}).shown()["cli"] == "(not found)"
    (tmp_path / "claude").touch(mode=0o755)
    assert load_settings({}).cli_path() == tmp_path / "claude"


def test_the_default_name_is_a_subject_token() -> None:
    """A responder that is not named has a name that fits a subject and differs by process."""
    name = load_settings({}).name
    assert name.endswith(f"-{os.getpid()}")
    assert ResponderSettings(name=name).name == name


def test_the_hosts_environment_is_a_copy() -> None:
    """What is done to the copy is not done to the process."""
    host_environment()["CANARY_5F1C9"] = "x"
    assert "CANARY_5F1C9" not in os.environ


def test_an_empty_variable_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable, as deployment files leave them, means the default."""
    for name in ("NATS_URL", "CLAUDE_RESPONDER_SLOTS", "CLAUDE_RESPONDER_CLI", "CLAUDE_RESPONDER_ALLOW"):
        monkeypatch.setenv(name, "")
    settings = load_settings({})
    assert (settings.servers, settings.slots, settings.cli, settings.allow) == (["nats://127.0.0.1:4222"], 5, None, ())


@pytest.mark.parametrize("url", [",", " , ", "http://host", "nats://127.0.0.1:bad", "nats://user:p/w@host"])
def test_what_is_no_nats_server_is_refused(url: str) -> None:
    """An address that cannot be used is refused at the start, without its text."""
    assert refusal_of(nats_url=url).startswith("nats_url: ")
    assert "p/w" not in refusal_of(nats_url=url)


@pytest.mark.parametrize(
    ("name", "value"),
    [("timeout_max_s", "inf"), ("timeout_max_s", "59"), ("max_budget_usd", "inf"), ("max_budget_usd", "1e-10")],
)
def test_numbers_that_could_not_be_used_later_are_refused(name: str, value: str) -> None:
    """No number is accepted that would fail, or refuse every request, once it is used."""
    assert refusal_of(**{name: value}).startswith(f"{name}: ")


@pytest.mark.parametrize("folder", ["store", '/var/"store"', "/var/st\nore", "/var/st\\ore"])
def test_a_store_that_cannot_be_named_in_a_configuration(folder: str) -> None:
    """The embedded server's store is an absolute path that its configuration can hold."""
    assert "must be an absolute path without quotes" in refusal_of(embedded=True, embedded_store=folder)


def test_a_store_is_for_the_embedded_server() -> None:
    """A store without a server of its own would be ignored, so it is refused."""
    assert "embedded_store: is for --embedded only" in refusal_of(embedded_store="/var/lib/claude")
    assert load_settings({"embedded": True, "embedded_store": "/var/lib/claude"}).embedded_store is not None
