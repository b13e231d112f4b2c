"""A caller that attends to its request: told of its slot, asked for its go, given its result until it has it."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from contract import GO_WINDOW_S, ExecuteFailure, ExecuteReply, ExecuteSuccess, FrameKind, Part, Whole, split
from responder.attended import AttendedCaller
from responder.callers import Incoming
from responder.fitness import UnfitError
from responder.slots import Slots
from tests.responder.parts import Outlet
from tests.responder.stage import INSTANCE, SESSION, Stage, announcement, answer_of
from tests.support.virtual_time import advance, settle, virtual_time

DEADLINE_MS = 60_000
OFFER_S = 30.0


async def ready(stage: Stage, name: str = "t1", **options: object) -> None:
    """Bring an attempt to where its requester is asked for its go."""
    stage.ask(name, **options)  # type: ignore[arg-type] # handed on
    await settle()
    assert stage.kinds(name)[-1] == "ready"


async def started(stage: Stage, name: str = "t1", **options: object) -> None:
    """Bring an attempt to where it runs."""
    await ready(stage, name, **options)
    stage.say(FrameKind.GO, name)
    await settle()
    assert stage.run.started[-1] == name


async def waiting(stage: Stage) -> None:
    """Bring an attempt, `t1`, to where it waits behind another, `t0`, that runs."""
    await started(stage, "t0")
    stage.ask()
    await settle()
    assert stage.kinds() == ["accepted"]


async def receiving(stage: Stage) -> None:
    """Bring an attempt to where its parts are awaited."""
    stage.ask(headers=announcement(request_parts()), body=b"")
    await settle()
    assert stage.kinds() == ["accepted"]


async def ended(stage: Stage) -> None:
    """Bring an attempt to where its result is there and not acknowledged."""
    await started(stage)
    stage.run.finish()
    await settle()
    assert stage.kinds() == ["ready", "result"]


def request_parts(size: int = 1000, part_bytes: int = 400) -> list[Part]:
    """Give a request in parts."""
    return split(b'{"id": "t1", "prompt": "' + b"p" * size + b'"}', part_bytes)


def failure(reply: ExecuteReply) -> tuple[str, bool]:
    """Give what matters of a failure."""
    assert isinstance(reply, ExecuteFailure), reply
    return reply.code, reply.executed


async def leave(stage: Stage) -> None:
    """Have whatever is left end, and nothing be left."""
    await settle()
    stage.run.finish()
    await settle()
    for subject, _, _ in list(stage.outlet.published):
        stage.say(FrameKind.ACK, subject.rpartition(".")[2])
    await settle()
    assert stage.is_idle(), (stage.attendance, stage.sessions, stage.service.slots)


@virtual_time
async def test_from_the_request_to_the_acknowledgement(tmp_path: Path) -> None:
    """A slot is held, the go starts the run, its result is given until acknowledged; each frame says whose it is."""
    stage = Stage.make(tmp_path)
    await ready(stage)
    assert stage.run.started == []
    assert stage.service.slots.in_flight == 1
    stage.say(FrameKind.GO)
    await settle()
    stage.run.finish()
    await settle()
    assert stage.service.slots.in_flight == 0
    stage.say(FrameKind.ACK)
    await settle()
    assert stage.is_idle()
    assert stage.kinds() == ["ready", "result"]
    told, given = stage.frames()
    assert told is not None
    assert given is not None
    assert (told.instance, told.responder, told.beat_ms) == (INSTANCE.id, "r1", 750)
    assert given.instance == INSTANCE.id
    assert isinstance(stage.reply(), ExecuteSuccess)


@virtual_time
async def test_without_a_go_nothing_starts(tmp_path: Path) -> None:
    """Two seconds after `ready` the slot is given back, and the requester is told that nothing ran."""
    stage = Stage.make(tmp_path)
    await ready(stage)
    await advance(GO_WINDOW_S - 0.01)
    assert stage.kinds() == ["ready"]
    await advance(0.02)
    assert failure(stage.reply()) == ("unclaimed", False)
    assert stage.service.slots.in_flight == 0
    stage.say(FrameKind.GO)
    await leave(stage)
    assert stage.run.started == []


@virtual_time
async def test_a_go_that_lay_in_the_socket_is_too_old(tmp_path: Path) -> None:
    """What is handled after the window starts nothing, although the timer has not fired yet."""
    stage = Stage.make(tmp_path)
    await ready(stage)
    stage.say(FrameKind.GO, late_s=GO_WINDOW_S + 0.001)
    await settle()
    assert stage.run.started == []
    await advance(GO_WINDOW_S)
    await leave(stage)
    assert stage.run.started == []


@virtual_time
async def test_it_starts_once(tmp_path: Path) -> None:
    """More than one go, whenever it comes, starts one run."""
    stage = Stage.make(tmp_path)
    await ready(stage)
    for _ in range(3):
        stage.say(FrameKind.GO)
    await settle()
    stage.say(FrameKind.GO)
    await settle()
    stage.run.finish()
    stage.say(FrameKind.GO)
    await settle()
    stage.say(FrameKind.GO)
    await leave(stage)
    assert stage.run.started == ["t1"]


@virtual_time
async def test_who_waits_is_told_twice(tmp_path: Path) -> None:
    """An attempt without a slot is accepted at once, and ready as soon as there is one."""
    stage = Stage.make(tmp_path)
    await waiting(stage)
    stage.run.finish()
    await settle()
    assert stage.kinds() == ["accepted", "ready"]
    stage.say(FrameKind.GO)
    await settle()
    assert stage.run.started == ["t0", "t1"]
    await leave(stage)


@virtual_time
async def test_a_full_backlog_refuses_in_plain_words(tmp_path: Path) -> None:
    """A refusal before admission is the first and only message, without frame headers, and is not repeated."""
    stage = Stage.make(tmp_path, slots=Slots(1, 0))
    await started(stage, "t0")
    stage.ask()
    await advance(10)
    assert stage.kinds() == ["plain"]
    assert failure(stage.reply()) == ("overloaded", False)
    await leave(stage)


# What happens to an attempt in each state, and what its requester is told then: a code and whether the CLI ran, or
# nothing. The attempt is `t1`; `goes on` means that what happened has changed nothing.
NOTHING = None
GOES_ON = ("goes on", False)


@dataclass(frozen=True)
class Cell:
    """One cell of the table: a state, what happens, what the requester is told."""

    state: Callable[[Stage], object]
    event: str
    told: tuple[str, bool] | None
    starts: int = 0


def _gone(stage: Stage) -> None:
    now = asyncio.get_running_loop().time()
    for caller in list(stage.sessions.sessions[SESSION].callers.values()):
        if caller.attempt.endswith(".t1"):
            caller.abandon(now)


EVENTS: dict[str, Callable[[Stage], None]] = {
    "late go": lambda stage: stage.say(FrameKind.GO, late_s=1000),
    "go": lambda stage: stage.say(FrameKind.GO),
    "cancel": lambda stage: stage.say(FrameKind.CANCEL),
    "gone": _gone,
    "drain": lambda stage: stage.attendance.drain(),
    "unfit": lambda stage: stage.attendance.let_go(lambda: UnfitError("x")),
    "ack": lambda stage: stage.say(FrameKind.ACK),
}
CELLS = [
    Cell(receiving, "go", GOES_ON),
    Cell(receiving, "cancel", NOTHING),
    Cell(receiving, "gone", ("unclaimed", False)),
    Cell(receiving, "drain", ("stopping", False)),
    Cell(receiving, "unfit", ("unfit", False)),
    Cell(receiving, "ack", GOES_ON),
    Cell(waiting, "go", GOES_ON),
    Cell(waiting, "cancel", NOTHING),
    Cell(waiting, "gone", ("unclaimed", False)),
    Cell(waiting, "drain", ("stopping", False)),
    Cell(waiting, "unfit", ("unfit", False)),
    Cell(waiting, "ack", GOES_ON),
    Cell(ready, "late go", GOES_ON),
    Cell(ready, "cancel", NOTHING),
    Cell(ready, "gone", ("unclaimed", False)),
    Cell(ready, "drain", ("stopping", False)),
    Cell(ready, "unfit", ("unfit", False)),
    Cell(ready, "ack", GOES_ON),
    Cell(started, "go", GOES_ON, 1),
    Cell(started, "cancel", NOTHING, 1),
    Cell(started, "gone", ("cancelled", True), 1),
    Cell(started, "drain", GOES_ON, 1),
    Cell(started, "unfit", GOES_ON, 1),
    Cell(started, "ack", GOES_ON, 1),
]


@pytest.mark.parametrize("cell", CELLS, ids=[f"{cell.state.__name__}-{cell.event}" for cell in CELLS])
@virtual_time
async def test_every_cell(tmp_path: Path, cell: Cell) -> None:
    """Whatever happens to an attempt in whichever state, it is told what the table says, and its slot is free again."""
    stage = Stage.make(tmp_path)
    await cell.state(stage)  # type: ignore[misc] # a coroutine
    before = stage.kinds()
    in_flight = stage.service.slots.in_flight
    EVENTS[cell.event](stage)
    await settle()
    if cell.told == GOES_ON:
        assert stage.kinds() == before
        assert stage.service.slots.in_flight == in_flight
    elif cell.told is None:
        assert stage.kinds() == before
        assert f"{SESSION}.t1" not in repr(list(stage.sessions.sessions))
        assert len(stage.attendance) == (cell.state is waiting)
    else:
        assert stage.kinds() == [*before, "result"]
        assert failure(stage.reply()) == cell.told
    if cell.told != GOES_ON:
        assert stage.service.slots.in_flight == (cell.state is waiting)
        assert stage.service.slots.backlog == 0
    assert stage.run.started.count("t1") == cell.starts
    stage.say(FrameKind.CANCEL)
    await leave(stage)


@pytest.mark.parametrize(
    ("event", "is_forgotten"),
    [("go", False), ("cancel", True), ("drain", False), ("unfit", False), ("ack", True), ("gone", False)],
)
@virtual_time
async def test_a_result_that_is_not_acknowledged(tmp_path: Path, event: str, is_forgotten: bool) -> None:
    """A result is offered until it is acknowledged or not wanted; a go and a drain do not matter to it any more."""
    stage = Stage.make(tmp_path)
    await ended(stage)
    EVENTS[event](stage)
    await settle()
    assert (len(stage.attendance) == 0) is is_forgotten
    await advance(2)
    assert stage.kinds().count("result") == (1 if is_forgotten else 2)
    await leave(stage)
    assert stage.run.started == ["t1"]


@virtual_time
async def test_who_was_unfit_takes_what_comes_later(tmp_path: Path) -> None:
    """To let go is no end: the next request is served as any other."""
    stage = Stage.make(tmp_path)
    await ready(stage)
    stage.attendance.let_go(lambda: UnfitError("x"))
    await settle()
    assert failure(stage.reply()) == ("unfit", False)
    await started(stage, "t2")
    stage.run.finish()
    await settle()
    assert stage.kinds("t2") == ["ready", "result"]
    await leave(stage)


@pytest.mark.parametrize(("state", "executed"), [(waiting, False), (ready, False), (started, True)])
@virtual_time
async def test_the_deadline(tmp_path: Path, state: Callable[..., object], executed: bool) -> None:
    """Past the deadline nothing starts and what runs is ended; the requester is told `timeout`."""
    stage = Stage.make(tmp_path)
    if state is waiting:
        await started(stage, "t0")
        stage.ask(timeout_ms=1000)
        await settle()
    else:
        await state(stage, timeout_ms=1000)  # type: ignore[misc] # a coroutine
    await advance(1.0)
    assert failure(stage.reply()) == ("timeout", executed)
    stage.say(FrameKind.GO)
    await leave(stage)
    assert stage.run.started.count("t1") == executed


@virtual_time
async def test_a_result_is_repeated_until_it_is_acknowledged(tmp_path: Path) -> None:
    """The same result comes again, at growing distances, and no more once the requester has it."""
    stage = Stage.make(tmp_path)
    await ended(stage)
    seen = []
    for _ in range(10):
        await advance(1.01)
        seen.append(stage.kinds().count("result"))
    assert seen == [2, 2, 3, 3, 3, 3, 4, 4, 4, 4]
    assert len({body for subject, body, _ in stage.outlet.published if body}) == 1
    stage.say(FrameKind.ACK)
    await advance(100)
    assert stage.kinds().count("result") == 4
    assert stage.is_idle()


@virtual_time
async def test_a_result_is_not_offered_for_ever(tmp_path: Path) -> None:
    """Half a minute after the deadline a result that nobody has acknowledged is forgotten."""
    stage = Stage.make(tmp_path)
    await ended(stage)
    await advance(DEADLINE_MS / 1000 + OFFER_S - 1)
    assert not stage.is_idle()
    await advance(10)
    assert stage.is_idle()


@virtual_time
async def test_the_result_of_a_requester_that_has_gone_is_offered_shortly(tmp_path: Path) -> None:
    """From when its requester has gone a result is offered for half a minute, however far away the deadline is."""
    stage = Stage.make(tmp_path)
    await started(stage, timeout_ms=3_600_000)
    EVENTS["gone"](stage)
    await advance(OFFER_S - 1)
    assert not stage.is_idle()
    await advance(10)
    assert stage.is_idle()


@pytest.mark.parametrize("order", [("gone", "drain"), ("drain", "gone")])
@pytest.mark.parametrize("state", [started, ended])
@virtual_time
async def test_a_drain_does_not_wait_for_who_has_gone(
    tmp_path: Path, state: Callable[[Stage], object], order: tuple[str, str]
) -> None:
    """A result whose requester has gone keeps no responder from ending; it is sent once all the same."""
    stage = Stage.make(tmp_path)
    await state(stage)  # type: ignore[misc] # a coroutine
    for event in order:
        assert not stage.is_idle()
        EVENTS[event](stage)
        await settle()
    assert stage.is_idle()
    assert stage.kinds() == ["ready", "result"]


@virtual_time
async def test_giving_up(tmp_path: Path) -> None:
    """When there is no way to any requester, results are offered no more."""
    stage = Stage.make(tmp_path)
    await ended(stage)
    stage.attendance.give_up()
    await settle()
    assert stage.is_idle()


@pytest.mark.parametrize(("size", "max_payload"), [(100, 1_000_000), (600_000, 1_000_000), (200_000, 64 * 1024)])
@virtual_time
async def test_a_large_result_comes_in_parts(tmp_path: Path, size: int, max_payload: int) -> None:
    """A result of any size arrives whole, and no message of it is larger than NATS takes."""
    stage = Stage.make(tmp_path, outlet=SizedOutlet(max_payload))
    await started(stage)
    stage.run.finish(answer_of(size))
    await settle()
    reply = stage.reply()
    assert isinstance(reply, ExecuteSuccess)
    assert reply.result.encode() == answer_of(size)
    assert (stage.kinds().count("result") > 1) is (size > 100)
    await leave(stage)


@virtual_time
async def test_a_failure_in_frames_has_the_headers_of_adr_32(tmp_path: Path) -> None:
    """A failure is known by its headers also where it comes as a frame."""
    stage = Stage.make(tmp_path)
    await started(stage)
    stage.run.finish(b"")
    await settle()
    _, _, headers = stage.outlet.published[-1]
    assert (headers["Claude-Frame"], headers["Nats-Service-Error-Code"]) == ("result", "502")
    await leave(stage)


# Requests in parts.


async def give(stage: Stage, parts: list[Part]) -> None:
    for part in parts:
        stage.say(FrameKind.BODY, part=part)
    await settle()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (0, 0, 2, 1, 1, 2)])
@virtual_time
async def test_a_request_in_parts(tmp_path: Path, order: tuple[int, ...]) -> None:
    """Parts make the request in whatever order and however often they come."""
    stage, parts = Stage.make(tmp_path), request_parts()
    await receiving(stage)
    await give(stage, [parts[number] for number in order])
    assert stage.kinds() == ["accepted", "ready"]
    stage.say(FrameKind.GO)
    await leave(stage)
    assert stage.run.started == ["t1"]


@virtual_time
async def test_parts_that_do_not_come(tmp_path: Path) -> None:
    """A request whose parts stay away is let go, without a slot having been taken for it."""
    stage = Stage.make(tmp_path)
    await receiving(stage)
    await give(stage, request_parts()[:2])
    assert stage.service.slots.in_flight == 0
    await advance(4.9)
    assert stage.kinds() == ["accepted"]
    await advance(0.2)
    assert failure(stage.reply()) == ("unclaimed", False)
    await leave(stage)


@virtual_time
async def test_a_part_that_comes_again_and_again_holds_nothing(tmp_path: Path) -> None:
    """A request is not awaited for ever, however often one of its parts is sent."""
    stage = Stage.make(tmp_path)
    await receiving(stage)
    for _ in range(100):
        await give(stage, request_parts()[:1])
        await advance(4)
    assert failure(stage.reply()) == ("unclaimed", False)
    await leave(stage)


def _bad_digest(parts: list[Part]) -> list[Part]:
    whole = Whole(parts[0].whole.count, parts[0].whole.size, "0" * 64)
    return [Part(part.number, whole, part.body) for part in parts]


BAD_PARTS: dict[str, Callable[[list[Part]], tuple[Mapping[str, str], list[Part]]]] = {
    "other bytes": lambda parts: (
        announcement(parts),
        [*parts[:-1], Part(parts[-1].number, parts[-1].whole, b"#" * len(parts[-1].body))],
    ),
    "more bytes": lambda parts: (announcement(parts), [Part(part.number, part.whole, b"#" * 900) for part in parts]),
    "another digest": lambda parts: (announcement(_bad_digest(parts)), _bad_digest(parts)),
    "not what was announced": lambda parts: (announcement(request_parts(2000)), parts),
    "a number too high": lambda parts: (announcement(parts), [Part(9, parts[0].whole, b"x")]),
    "number 0": lambda parts: (announcement(parts), [Part(0, parts[0].whole, b"x")]),
}


@pytest.mark.parametrize("name", BAD_PARTS)
@virtual_time
async def test_parts_that_do_not_add_up(tmp_path: Path, name: str) -> None:
    """Parts that are not what was announced are refused, and no slot is taken for them."""
    stage = Stage.make(tmp_path)
    headers, parts = BAD_PARTS[name](request_parts())
    stage.ask(headers=headers, body=b"")
    await settle()
    await give(stage, parts)
    assert failure(stage.reply()) == ("invalid_request", False)
    assert stage.service.slots.in_flight == 0
    await leave(stage)


@virtual_time
async def test_a_request_that_would_be_too_large(tmp_path: Path) -> None:
    """A request that announces more than the limit is refused at once, and its parts are not awaited."""
    stage = Stage.make(tmp_path)
    parts = request_parts(INSTANCE.request_max_bytes, 100_000)
    stage.ask(headers=announcement(parts), body=b"")
    await settle()
    assert stage.kinds() == ["plain"]
    assert failure(stage.reply()) == ("request_too_large", False)
    await leave(stage)


@virtual_time
async def test_a_part_alone_announces_nothing(tmp_path: Path) -> None:
    """A request that is a part, and not the announcement of parts, is refused."""
    stage = Stage.make(tmp_path)
    parts = request_parts()
    stage.ask(headers=announcement(parts) | {"Claude-Part": f"1/{len(parts)}"}, body=parts[0].body)
    await settle()
    assert failure(stage.reply()) == ("invalid_request", False)
    await leave(stage)


@virtual_time
async def test_parts_that_nobody_asked_for_are_not_kept(tmp_path: Path) -> None:
    """Parts for a request that is whole take no memory."""
    stage = Stage.make(tmp_path)
    await waiting(stage)
    (caller,) = [one for one in stage.sessions.sessions[SESSION].callers.values() if one.attempt.endswith("t1")]
    await give(stage, request_parts() * 10)
    assert caller._parts is None
    stage.say(FrameKind.CANCEL)
    await leave(stage)


# The slot that comes at the same moment.


@pytest.mark.parametrize("event", ["cancel", "gone", "drain"])
@pytest.mark.parametrize("turns", range(6))
@virtual_time
async def test_a_slot_that_comes_with_the_end_of_the_wait_is_given_back(tmp_path: Path, event: str, turns: int) -> None:
    """Whichever comes first by however little, the slot or the end of the wait, the slot is free afterwards."""
    stage = Stage.make(tmp_path)
    await waiting(stage)
    stage.run.finish()
    for _ in range(turns):
        await asyncio.sleep(0)
    EVENTS[event](stage)
    await leave(stage)
    assert stage.run.started == ["t0"]


@pytest.mark.parametrize("turns", range(6))
@virtual_time
async def test_a_cancelled_handler_gives_its_slot_back(tmp_path: Path, turns: int) -> None:
    """A slot is not lost with the task that has waited for it."""
    stage = Stage.make(tmp_path)
    await waiting(stage)
    stage.run.finish()
    for _ in range(turns):
        await asyncio.sleep(0)
    stage.tasks[-1].cancel()
    await leave(stage)


class Failing(Outlet):
    """Cannot publish one kind of frame."""

    kind = FrameKind.ACCEPTED

    async def publish(self, subject: str, body: bytes, headers: Mapping[str, str], reply: str = "") -> None:
        """Publish all but the one kind."""
        if headers.get("Claude-Frame") == self.kind:
            raise ZeroDivisionError
        await super().publish(subject, body, headers, reply)


@virtual_time
async def test_a_defect_while_waiting_costs_no_slot(tmp_path: Path) -> None:
    """Whatever goes wrong while an attempt waits, the slot that would have been its own is there for the next."""
    stage = Stage.make(tmp_path, outlet=Failing())
    await started(stage, "t0")
    stage.ask()
    await settle()
    assert failure(stage.reply()) == ("internal", False)
    await leave(stage)


@pytest.mark.parametrize("event", ["cancel", "gone"])
@virtual_time
async def test_a_go_in_the_same_moment_as_the_end_starts_nothing(tmp_path: Path, event: str) -> None:
    """When nobody awaits an attempt any more, a go that is handled right after, or right before, starts nothing."""
    stage = Stage.make(tmp_path)
    await ready(stage, "t1")
    EVENTS[event](stage)
    stage.say(FrameKind.GO)
    await settle()
    stage.say(FrameKind.CANCEL)
    await ready(stage, "t2")
    stage.say(FrameKind.GO, "t2")
    stage.say(FrameKind.CANCEL, "t2")
    await leave(stage)
    assert stage.run.started == []


# Output while it is printed.


class SizedOutlet(Outlet):
    """Refuses what is larger than its limit, headers included."""

    def __init__(self, max_payload: int) -> None:
        super().__init__(max_payload)

    async def publish(self, subject: str, body: bytes, headers: Mapping[str, str], reply: str = "") -> None:
        """Publish what is not too large."""
        size = len(body) + sum(len(name) + len(value) + 4 for name, value in headers.items()) + 12
        assert size <= self.max_payload
        await super().publish(subject, body, headers, reply)


class Deaf(Outlet):
    """Publishes output slowly, and swallows a cancellation meanwhile, as nats-py does where its buffer is full."""

    async def publish(self, subject: str, body: bytes, headers: Mapping[str, str], reply: str = "") -> None:
        """Publish in a second."""
        if headers.get("Claude-Frame") == "output":
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                return
        await super().publish(subject, body, headers, reply)


@virtual_time
async def test_output_is_handed_on_with_its_offset(tmp_path: Path) -> None:
    """What the CLI prints goes out in order, each piece with where it belongs, none larger than NATS takes."""
    stage = Stage.make(tmp_path, outlet=SizedOutlet(10_000))
    await started(stage, headers={"Claude-Stream": "1"})
    listen = stage.run.audiences[0].on_output
    assert listen is not None
    listen(0, b"a\n")
    listen(2, b"b" * 20_000 + b"\n")
    await settle()
    printed = b""
    for frame in stage.frames()[1:]:
        assert frame is not None
        assert (frame.kind, frame.offset) == (FrameKind.OUTPUT, len(printed))
        printed += frame.body
    assert printed == b"a\n" + b"b" * 20_000 + b"\n"
    await leave(stage)


@pytest.mark.parametrize("headers", [{}, {"Claude-Stream": "0"}, {"Claude-Stream": ""}])
@virtual_time
async def test_output_that_nobody_wants_is_not_sent(tmp_path: Path, headers: dict[str, str]) -> None:
    """Without the header, or with another value, nobody listens to what is printed."""
    stage = Stage.make(tmp_path)
    await started(stage, headers=headers)
    assert stage.run.audiences[0].on_output is None
    await leave(stage)


@virtual_time
async def test_who_follows_a_run(tmp_path: Path) -> None:
    """Whose request it is has the name of its session, which no other connection has."""
    stage = Stage.make(tmp_path)
    await started(stage)
    assert stage.run.audiences[0].name == SESSION
    await leave(stage)


@virtual_time
async def test_after_the_result_comes_no_output(tmp_path: Path) -> None:
    """Output that was not sent when the run ended is left to the result, and whoever sends it ends."""
    stage = Stage.make(tmp_path, outlet=Deaf())
    await started(stage, headers={"Claude-Stream": "1"})
    listen = stage.run.audiences[0].on_output
    assert listen is not None
    for offset in range(10):
        listen(offset, b"\n")
    await advance(2.5)
    stage.run.finish()
    await advance(20)
    assert stage.kinds()[:4] == ["ready", "output", "output", "result"]
    assert set(stage.kinds()[4:]) == {"result"}
    await leave(stage)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@virtual_time
async def test_its_repr_says_how_far_it_has_come(tmp_path: Path) -> None:
    """Who looks at a responder sees its attempts' states and nothing of the request."""
    stage = Stage.make(tmp_path)
    await ready(stage)
    (caller,) = stage.sessions.sessions[SESSION].callers.values()
    assert repr(caller) == "<AttendedCaller <Attempt ready>>"
    await advance(3)
    await leave(stage)


@pytest.mark.parametrize(
    ("attempt", "name"),
    [("_INBOX.requester1.a", "_INBOX.requester1"), ("_INBOX.a", ""), ("_INBOX.r.1.a", "_INBOX.r.1")],
)
async def test_whose_it_is(attempt: str, name: str) -> None:
    """What is kept for a caller is kept under its session, for nobody where there is none."""
    caller = AttendedCaller(Incoming("s", attempt, {}, b"", 0.0), None, Outlet(), INSTANCE)
    assert caller.audience.name == name
