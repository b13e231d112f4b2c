"""What may be said: one line, without secrets, without the prompt."""

import pytest

from responder.redaction import DETAIL_MAX_BYTES, redact

KEY = "sk-ant-api03-AbC_dEf-123456789"
SEED = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.s1gnature-_"


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        (KEY, KEY),
        (f"key {KEY}.", KEY),
        (f'{{"x-api-key":"{KEY}"}}', KEY),
        (f"prefix{KEY}", KEY),
        ("sk-ant-x", "sk-ant-x"),
        (f"Authorization: Bearer {JWT}", JWT),
        (f"authorization: bearer   {JWT}", JWT),
        (f"BEARER\n{JWT}", JWT),
        ("bearer abc/def+ghi==", "abc/def+ghi=="),
        (f"seed {SEED} end", SEED),
        (f"'{SEED}'", SEED),
        ("nats://user:passw0rd@host:4222", "passw0rd"),
        ("nats://user:passw0rd@host:4222", "user"),
        ("tls://t0ken@host", "t0ken"),
        ("https://a:b@one, wss://c:d3adbeef@two", "d3adbeef"),
    ],
)
def test_secrets_are_masked_wherever_they_stand(text: str, hidden: str) -> None:
    """Keys, bearer tokens, seeds and user-info in URLs are masked, and the rest of the text is kept."""
    line = redact(text, ())
    assert hidden not in line
    assert "***" in line


@pytest.mark.parametrize("kind", "ACNOUX")
def test_seeds_of_every_kind_of_key(kind: str) -> None:
    """Seeds of accounts, clusters, servers, operators, users and curves are all masked."""
    seed = f"S{kind}{SEED[2:]}"
    assert redact(f"a {seed} b", ()) == "a *** b"


@pytest.mark.parametrize("text", ["nats://host:4222", "mail a@b.c", "sk-an", "the bearer", "S" + "A" * 60, "50% of it"])
def test_what_is_no_secret_stays(text: str) -> None:
    """Ordinary words, addresses and URLs without user-info are not touched."""
    assert redact(text, ()) == text


def test_named_secrets_are_masked() -> None:
    """A value that was named is masked as often as it stands, also inside a word and without a pattern."""
    assert redact("a hunter2, xhunter2x HUNTER2", ["hunter2", "unused"]) == "a ***, x***x HUNTER2"


def test_a_named_secret_is_no_pattern() -> None:
    """A secret is taken literally, whatever characters it has."""
    assert redact("aXc a.c (x|y)* \\1", ["a.c", "(x|y)*", "\\1"]) == "aXc *** *** ***"


def test_words_of_the_prompt_are_masked() -> None:
    """Words of eight letters or more that the caller wrote are masked, shorter ones and others stay."""
    prompt = "please translate the launchcode 12345678 and pass-word_9"
    line = redact("cannot translate 'launchcode' 12345678 pass-word_9 the explosion", (), prompt)
    assert line == "cannot *** '***' *** *** the explosion"


def test_a_part_of_a_prompts_word_is_masked_too() -> None:
    """A word that the CLI has cut is still the caller's."""
    assert redact("got launchco", (), "the launchcode") == "got ***"


def test_without_a_prompt_words_stay() -> None:
    """An empty prompt masks nothing."""
    assert redact("a perfectly ordinary sentence", (), "") == "a perfectly ordinary sentence"


@pytest.mark.parametrize(
    "separator", ["\n", "\r\n", "\t", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\u00a0"]
)
def test_lines_become_one(separator: str) -> None:
    """Every line break and run of blanks becomes one space, so that no line of a log can be forged."""
    assert redact(f"{separator}a{separator}{separator}b c{separator}", ()) == "a b c"


@pytest.mark.parametrize("text", ["", " ", "\n\n", "\u2028"])
def test_nothing_stays_nothing(text: str) -> None:
    """A text of blanks gives an empty line."""
    assert redact(text, ["x"], "prompt") == ""


@pytest.mark.parametrize("letter", ["x", "\u00e9", "\u20ac", "\U0001f600"])
def test_a_line_is_bounded_in_bytes(letter: str) -> None:
    """A long text is cut at the limit in UTF-8, never inside a character."""
    line = redact(letter * 10_000, ())
    assert DETAIL_MAX_BYTES - len(letter.encode()) < len(line.encode()) <= DETAIL_MAX_BYTES
    assert set(line) == {letter}


@pytest.mark.parametrize(("size", "expected"), [(DETAIL_MAX_BYTES, DETAIL_MAX_BYTES), (DETAIL_MAX_BYTES + 1, 2048)])
def test_the_boundary(size: int, expected: int) -> None:
    """A line of the longest size is whole, one byte more is cut."""
    assert len(redact("x" * size, ())) == expected


def test_masks_do_not_make_a_line_longer_than_the_limit() -> None:
    """A text of many short secrets, each replaced by something longer, is cut after the masking."""
    assert len(redact("ab " * 1000, ["ab"]).encode()) <= DETAIL_MAX_BYTES


def test_a_secret_across_the_limit_is_masked() -> None:
    """The line is cut after the masking, so that no half of a secret is left at its end."""
    line = redact("x " * ((DETAIL_MAX_BYTES - 20) // 2) + KEY, [KEY])
    assert "sk-ant" not in line


def test_a_prompt_of_megabytes_takes_no_time() -> None:
    """A long prompt and a hostile text are handled: there is nothing in the patterns that explodes."""
    for text in ("a" * 100_000, "://" * 30_000, "bearer " * 10_000, "S" * 100_000, "@" * 100_000, "-" * 100_000):
        assert len(redact(text, (), "b" * 10_000_000)) <= DETAIL_MAX_BYTES
