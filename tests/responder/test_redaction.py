"""What may be said: one line, without secrets, without the prompt."""

import time

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
        ("nats://user:pa/ss@host:4222", "pa/"),
        ("nats://user:pa/ss@host:4222", "ss"),
        ("nats://user:p@ss@host:4222", "ss"),
        ("tls://t0/ken@host", "t0"),
        ('{"url":"nats://user:passw0rd@host"}', "passw0rd"),
        ("https://host/to?u=nats://user:passw0rd@host", "passw0rd"),
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
    """Words of eight characters that the caller wrote are masked, shorter ones and others stay."""
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
        started_at = time.process_time()
        for prompt in ("b" * 10_000_000, "a" * 1_000_000, f"{text[:1000]}b" * 1000, " \n" * 500_000):
            assert len(redact(text, ("a" * 4000, "://" * 1000), prompt)) <= DETAIL_MAX_BYTES
        assert time.process_time() - started_at < 3


def test_what_the_api_echoes_of_a_prompt_is_masked() -> None:
    """A sentence of short words does not come back, neither does a number or a password in it."""
    prompt = "Tell Bob the PIN is 483920 and hunter2"
    line = redact(f'API Error: 400 invalid content "{prompt}"', (), prompt)
    assert line.startswith('API Error: 400 invalid content "***')
    assert not {"Tell", "Bob", "PIN", "483920", "hunter2"} & set(line.replace('"', " ").split())
    assert redact("bad: 483920; hunter2", (), prompt) == "bad: ***; ***"


@pytest.mark.parametrize(
    ("shared", "expected"), [("ab cd ef gh i", "<*** *** *** *** ***>"), ("ab cd ef gh", "<ab cd ef gh>")]
)
def test_runs_of_twelve_characters_are_masked(shared: str, expected: str) -> None:
    """Twelve characters in a row that the caller wrote are masked word by word, fewer are anybody's."""
    assert redact(f"<{shared}>", (), f"[{shared}]") == expected


def test_a_run_over_several_lines_is_masked() -> None:
    """A prompt's line breaks do not hide what is shared with it."""
    assert redact("bad: ab cd ef gh ij kl", (), "ab cd\n  ef gh\r\n\tij kl") == "bad: *** *** *** *** *** ***"


@pytest.mark.parametrize("place", [0, 250_000, 500_000, 750_000, 999_900])
def test_a_long_run_is_found_anywhere_in_a_long_prompt(place: int) -> None:
    """Of a prompt of a megabyte no part is left out."""
    filling = "".join(f"{number:x} " for number in range(200_000))[:1_000_000]
    secret = "my cat is at no 9 in the old mill by the sea, ask for Al"
    prompt = f"{filling[:place]}{secret}{filling[place:]}"
    assert not {"cat", "mill", "sea,", "Al"} & set(redact(f"bad: {secret}", (), prompt).split())


def test_further_private_texts() -> None:
    """System prompts are masked as the prompt is."""
    line = redact("no launchcode, no hideaway, no doorstep", (), ("the launchcode", "the hideaway"))
    assert line == "no ***, no ***, no doorstep"


@pytest.mark.parametrize("control", ["\x00", "\x1b", "\b", "\x07", "\x7f", "\x9b", "\u202e", "\u200b", "\x1b[1;31m"])
def test_control_characters_are_left_out(control: str) -> None:
    """What moves a terminal's cursor, colours it, turns a line around or is not seen at all is left out."""
    assert redact(f"{control}a{control}b {control} c{control}", ()) == "ab c"


@pytest.mark.parametrize("control", ["\x00", "\u200b"])
def test_a_control_character_does_not_hide_a_secret(control: str) -> None:
    """A secret with something invisible inside is still masked."""
    assert redact(f"a hunter2{control}-hunter2 b", ["hunter2-hunter2"]) == "a *** b"


def test_a_secret_of_several_lines_is_masked() -> None:
    """A secret is found although the breaks in it have become blanks."""
    assert redact("got a: one\nb: two!", ["a: one\nb: two"]) == "got ***!"


def test_the_longer_secret_is_masked_first() -> None:
    """A secret that is the beginning of another leaves nothing of the other."""
    assert redact("got secret-and-more", ["secret", "secret-and-more"]) == "got ***"


SECRET = "abcdefgh-ijklmnop-qrstuvwx"


@pytest.mark.parametrize("kept", [8, 12, 25])
def test_a_part_of_a_secret_at_either_end_is_masked(kept: int) -> None:
    """A text that was cut inside a secret shows nothing of it."""
    assert redact(f"{SECRET[-kept:]} rest", [SECRET]) == "*** rest"
    assert redact(f"rest {SECRET[:kept]}", [SECRET]) == "rest ***"


@pytest.mark.parametrize(("read", "blanks"), [(4096, 3000), (8192, 7000), (8192, 0)])
@pytest.mark.parametrize("secret", [KEY, f"bearer {JWT}", "nats://user:passw0rd@h", SEED])
def test_no_part_of_a_secret_is_left_where_a_text_is_cut(secret: str, read: int, blanks: int) -> None:
    """Wherever in a long text the reading ends, also where blanks have become few, no piece of a secret shows."""
    for at in range(read - len(secret) - 2, read + 2, 3):
        text = f"{' ' * blanks}{'x ' * 5000}"[:at] + f" {secret} " + "y" * 5000
        line = redact(text, ())
        assert not [part for part in ("sk-ant", "eyJ", "user", "passw", SEED[:5]) if part in line]


def test_half_a_character_is_no_defect() -> None:
    """A text that cannot be encoded gives a line that can."""
    assert redact("a \ud83d b", ()) == "a ? b"
