"""The attempts that requesters attend to: which are taken, and which frames reach them."""

import json
from pathlib import Path

import pytest

from contract import ExecuteFailure, Frame, FrameKind, Part, Whole
from tests.responder.stage import ATTEMPTS_MAX, INSTANCE, SESSION, Stage
from tests.support.virtual_time import advance, settle, virtual_time

OTHER = "_INBOX.requester2"
CANARY = "canary5f1c9"


async def ready(stage: Stage, name: str = "t1") -> None:
    """Bring an attempt to where its requester is asked for its go."""
    stage.ask(name)
    await settle()
    assert stage.kinds(name) == ["ready"]


async def let_go(stage: Stage) -> None:
    """End all that there is, and see that nothing is left."""
    for attempt in [caller.attempt for one in stage.sessions.sessions.values() for caller in one.callers.values()]:
        session, _, name = attempt.rpartition(".")
        stage.say(FrameKind.CANCEL, name, session=session)
    await settle()
    assert stage.is_idle()


@virtual_time
async def test_two_requests_with_one_reply_subject(tmp_path: Path) -> None:
    """A request that is here already is not taken a second time, and does not disturb the first."""
    stage = Stage.make(tmp_path)
    await ready(stage)
    stage.ask()
    await settle()
    assert (stage.kinds(), len(stage.attendance), stage.service.slots.in_flight) == (["ready"], 1, 1)
    stage.say(FrameKind.GO)
    await settle()
    stage.ask()
    await settle()
    stage.run.finish()
    await settle()
    stage.ask()
    stage.say(FrameKind.ACK)
    await settle()
    assert stage.run.started == ["t1"]
    assert stage.is_idle()


@virtual_time
async def test_a_request_that_comes_again_later_is_not_held_again(tmp_path: Path) -> None:
    """An attempt that was forgotten is not taken a second time for a minute: word that nothing ran may be under way."""
    stage = Stage.make(tmp_path)
    await ready(stage)
    stage.say(FrameKind.CANCEL)
    await settle()
    await advance(59)
    stage.ask()
    await settle()
    assert stage.kinds() == ["ready"]
    await advance(2)
    stage.ask()
    await settle()
    assert stage.kinds() == ["ready", "ready"]
    assert stage.run.started == []
    await let_go(stage)


@virtual_time
async def test_frames_for_what_is_not_here(tmp_path: Path) -> None:
    """Frames for an attempt that is unknown, or somebody else's of the same last token, change nothing."""
    stage = Stage.make(tmp_path)
    await ready(stage)
    for kind in FrameKind:
        stage.say(kind, "t2")
        stage.say(kind, session=OTHER)
        stage.say(kind, "t1.t1")
    await settle()
    assert (stage.kinds(), stage.run.started, len(stage.outlet.published)) == (["ready"], [], 1)
    stage.say(FrameKind.GO)
    await settle()
    assert stage.run.started == ["t1"]
    await let_go(stage)


ATTEMPT = f"{SESSION}.t1"
DIGEST = "0" * 64
FOREIGN: list[dict[str, str]] = [
    {},
    {"Claude-Frame": ""},
    {"Claude-Frame": "go"},
    {"Claude-Frame": "GO", "Claude-Attempt": ATTEMPT},
    {"claude-frame": "go", "claude-attempt": ATTEMPT},
    {"Claude-Frame": "stop", "Claude-Attempt": ATTEMPT},
    {"Claude-Frame": "go", "Claude-Attempt": ""},
    {"Claude-Frame": "go", "Claude-Attempt": "t1"},
    {"Claude-Frame": "go", "Claude-Attempt": "_INBOX.>"},
    {"Claude-Frame": "go", "Claude-Attempt": f"{SESSION}.*"},
    {"Claude-Frame": "go", "Claude-Attempt": f" {ATTEMPT}"},
    {"Claude-Frame": "go", "Claude-Attempt": ATTEMPT, "Claude-Instance": "x"},
    {"Claude-Frame": "go", "Claude-Attempt": ATTEMPT, "Claude-Offset": "-1"},
    {"Claude-Frame": "go", "Claude-Attempt": ATTEMPT, "Claude-Part": "1/0"},
    {"Claude-Frame": "body", "Claude-Attempt": ATTEMPT},
    {"Claude-Frame": "body", "Claude-Attempt": ATTEMPT, "Claude-Part": "1/1"},
    {"Claude-Frame": "body", "Claude-Attempt": ATTEMPT, "Claude-Part": "1/1", "Claude-Size": "x"},
    {
        "Claude-Frame": "cancel",
        "Claude-Attempt": ATTEMPT,
        "Claude-Part": "1/1",
        "Claude-Size": "1" * 16,
        "Claude-Digest": DIGEST,
    },
    {"Claude-Frame": "result", "Claude-Attempt": ATTEMPT},
    {"Claude-Frame": "ready", "Claude-Attempt": ATTEMPT},
    {"Claude-Frame": "beat", "Claude-Attempt": ATTEMPT},
    {"Claude-Frame": "ack", "Claude-Attempt": ATTEMPT},
    {"Claude-Frame": "probe", "Claude-Attempt": ATTEMPT},
    {"Status": "503"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
@virtual_time
async def test_frames_that_are_none(tmp_path: Path, headers: dict[str, str]) -> None:
    """Messages whose headers are missing, foreign or malformed are dropped, and the attempt goes on as before."""
    stage = Stage.make(tmp_path)
    await ready(stage)
    stage.hear(headers, b"\xff" * 10)
    await settle()
    assert (stage.kinds(), stage.run.started, len(stage.attendance)) == (["ready"], [], 1)
    stage.say(FrameKind.GO)
    await settle()
    assert stage.run.started == ["t1"]
    await let_go(stage)


@virtual_time
async def test_only_the_attempt_counts_not_where_the_answer_goes(tmp_path: Path) -> None:
    """A go is for the attempt that it names; the reply subject of the frame is for NATS alone."""
    stage = Stage.make(tmp_path)
    await ready(stage)
    stage.hear(Frame(FrameKind.GO, attempt=f"{SESSION}.t2").headers(), reply_subject=ATTEMPT)
    await settle()
    assert stage.run.started == []
    stage.hear(Frame(FrameKind.GO, attempt=ATTEMPT).headers(), reply_subject=f"{SESSION}.t2")
    await settle()
    assert stage.run.started == ["t1"]
    await let_go(stage)


def refusal(stage: Stage, name: str = "t1") -> tuple[list[str], str, bool]:
    """Give what a refused attempt was sent, its code and whether it ran."""
    reply = stage.reply(name)
    assert isinstance(reply, ExecuteFailure)
    return stage.kinds(name), reply.code, reply.executed


@pytest.mark.parametrize("version", ["2", "0", "", "1 ", CANARY])
@virtual_time
async def test_another_version_is_refused(tmp_path: Path, version: str) -> None:
    """Another version of the exchange is refused once, in plain words and without an echo, and takes no slot."""
    stage = Stage.make(tmp_path)
    stage.ask(headers={"Claude-Attend": version})
    await advance(10)
    assert refusal(stage) == (["plain"], "invalid_request", False)
    assert CANARY not in str(stage.reply())
    assert stage.is_idle()


@virtual_time
async def test_without_the_header_it_is_a_plain_request(tmp_path: Path) -> None:
    """Whoever does not know the exchange gets its run without a go, and one reply."""
    stage = Stage.make(tmp_path)
    task = stage.ask(headers={"claude-attend": "1"}, attended=False)
    await settle()
    assert stage.run.started == ["t1"]
    stage.run.finish()
    await settle()
    assert task.done()
    assert stage.kinds() == ["plain"]
    assert stage.is_idle()


@pytest.mark.parametrize(
    "session", ["", "$JS.API.STREAM.DELETE", "claude.cli", "_INBOXX.a", "_INBOX.*", "_INBOX", "_inbox.a"]
)
@virtual_time
async def test_nothing_ever_goes_to_a_foreign_subject(tmp_path: Path, session: str) -> None:
    """An attempt whose name is outside the inboxes is dropped: no answer, no frame, no beat, no run."""
    stage = Stage.make(tmp_path)
    beating = stage.beat()
    if session == "_INBOX":
        stage.ask("*", session=session)
    stage.ask(f"x.{'>' if session == '_INBOX' else 't1'}", session=session)
    await advance(5)
    assert (stage.outlet.published, stage.run.started) == ([], [])
    assert stage.is_idle()
    beating.cancel()


@virtual_time
async def test_beats_stay_under_the_inbox_prefix(tmp_path: Path) -> None:
    """Also an attempt with the shortest possible name is beaten for under the inbox prefix."""
    stage = Stage.make(tmp_path)
    beating = stage.beat()
    stage.ask("t1", session="_INBOX")
    await advance(1)
    assert {subject for subject, _, _ in stage.outlet.published} == {"_INBOX.t1", f"_INBOX.{INSTANCE.id}"}
    beating.cancel()
    await let_go(stage)


@virtual_time
async def test_a_name_too_long_for_the_beats_is_refused(tmp_path: Path) -> None:
    """A long reply subject is refused: with it beats would be longer than the lines that NATS takes."""
    stage = Stage.make(tmp_path)
    beating = stage.beat()
    long = "_INBOX." + "a" * 600
    stage.ask("t1", session=long)
    stage.ask("t1", session="_INBOX." + "a" * 400)
    await advance(1)
    said = [json.loads(body) for subject, body, _ in stage.outlet.published if subject == f"{long}.t1"]
    assert [one["code"] for one in said] == ["invalid_request"]
    assert max(len(subject) for subject in stage.outlet.reply_subjects) < 1500
    beating.cancel()
    await let_go(stage)


@virtual_time
async def test_attempts_are_bounded(tmp_path: Path) -> None:
    """Of more attempts than can be remembered, those beyond are refused at once, and later ones have room again."""
    stage = Stage.make(tmp_path)
    parts = Whole(2, 100, DIGEST)
    announced = {"Claude-Part": "0/2", "Claude-Size": "100", "Claude-Digest": DIGEST}
    for number in range(ATTEMPTS_MAX + 1):
        stage.ask(f"t{number}", headers=announced, body=b"")
    await settle()
    assert len(stage.attendance) == ATTEMPTS_MAX
    assert refusal(stage, f"t{ATTEMPTS_MAX}") == (["plain"], "overloaded", False)
    stage.say(FrameKind.CANCEL, "t0")
    await settle()
    stage.ask("later", headers=announced, body=b"")
    stage.say(FrameKind.BODY, "later", part=Part(1, parts, b"x"))
    await settle()
    assert stage.kinds("later") == ["accepted"]
    await let_go(stage)


@virtual_time
async def test_draining_lets_go_of_what_has_not_started(tmp_path: Path) -> None:
    """A drain answers what waits, what is ready and what still comes, and what runs goes on to its acknowledged end."""
    stage = Stage.make(tmp_path)
    await ready(stage, "runs")
    stage.say(FrameKind.GO, "runs")
    await settle()
    stage.ask("waits")
    await settle()
    stage.attendance.drain()
    stage.ask("late")
    await settle()
    assert refusal(stage, "waits") == (["accepted", "result"], "stopping", False)
    assert refusal(stage, "late")[1:] == ("stopping", False)
    stage.run.finish()
    await settle()
    assert stage.reply("runs").success
    for name in ("runs", "waits", "late"):
        stage.say(FrameKind.ACK, name)
    await settle()
    assert stage.run.started == ["runs"]
    assert stage.is_idle()


@virtual_time
async def test_who_comes_to_an_idle_responder_that_drains(tmp_path: Path) -> None:
    """A request that comes during the drain is not told `ready`, though a slot is free: it would be for nothing."""
    stage = Stage.make(tmp_path)
    stage.attendance.drain()
    stage.ask()
    await settle()
    assert refusal(stage) == (["plain"], "stopping", False)
    assert stage.is_idle()


@virtual_time
async def test_its_repr_says_how_many(tmp_path: Path) -> None:
    """Who looks at a responder sees how many attempts there are, and no name of one."""
    stage = Stage.make(tmp_path)
    await ready(stage)
    assert repr(stage.attendance) == "<Attendance of 1 attempts>"
    assert repr(stage.sessions) == "<Sessions 1>"
    await let_go(stage)


async def hand_on(stage: Stage) -> None:
    """Have a peer take what is next here."""
    waiting = stage.service.slots.hand_on(None, lambda _work: True)
    assert waiting is not None
    assert stage.service.slots.hand_over(waiting)
    await settle()


@virtual_time
async def test_what_a_peer_has_taken_may_come_back(tmp_path: Path) -> None:
    """An attempt that was handed on is taken again when it comes again, and runs on its go as any other."""
    stage = Stage.make(tmp_path)
    await ready(stage)
    stage.ask("t2")
    await settle()
    await hand_on(stage)
    assert (len(stage.attendance), stage.kinds("t2"), stage.service.statistics.handed_on) == (1, ["accepted"], 1)
    stage.say(FrameKind.CANCEL)
    stage.say(FrameKind.GO, "t2")
    await settle()
    stage.ask("t2")
    await settle()
    assert (stage.kinds("t2"), stage.run.started) == (["accepted", "ready"], [])
    stage.say(FrameKind.GO, "t2")
    await settle()
    assert stage.run.started == ["t2"]
    await let_go(stage)


@virtual_time
async def test_let_go_and_handed_on_in_one_moment(tmp_path: Path) -> None:
    """It is the peer's: nothing is said of it here, and no slot is lost."""
    stage = Stage.make(tmp_path)
    await ready(stage)
    stage.ask("t2")
    await settle()
    waiting = stage.service.slots.hand_on(None, lambda _work: True)
    assert waiting is not None
    stage.attendance.drain()
    assert stage.service.slots.hand_over(waiting)
    await settle()
    for name in ("t1", "t2"):
        stage.say(FrameKind.ACK, name)
    await settle()
    assert stage.run.started == []
    assert stage.kinds("t2") == ["accepted"]
    beating = stage.beat()
    await advance(4)
    beating.cancel()
    await let_go(stage)
