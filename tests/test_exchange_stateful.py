"""Both sides' state machines against each other, over a network that does what it likes.

The machines are the real ones (`requester/exchange.py`, `responder/attempt.py`), and so is what follows a failed
attempt (`requester/retry.py`). What stands between them, `attended.py` of both sides and `watch.py`, is played here
without I/O: three instances, of which each may be frozen, crash, be cut off, drain, believe its requester gone and take
over what another one holds; a requester that may stand still, think wrongly of any instance and be cancelled; a clock.
"""

import functools
from dataclasses import dataclass, field
from enum import StrEnum

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from contract import GO_WINDOW_S, ErrorCode, Failover, Frame, FrameKind, parse_reply
from contract.reply import ExecuteFailure
from requester import RequesterError
from requester.attended import error_of_ending
from requester.errors import error_of
from requester.exchange import Ending, Exchange, Say, State, Times
from requester.retry import is_tried_again
from responder.attempt import Attempt
from responder.attempt import State as Held
from tests.requester.fakes import failure, success

SUBJECT = "claude.cli.execute"
ATTEMPTS_MAX = 3
ACCEPT_S, TIMEOUT_S, GRACE_S = 0.5, 60.0, 5.0
PARTS_PAUSE_MAX_S, OFFER_S, BEAT_S = 5.0, 30.0, 0.75

PLACES = st.integers(0, 2)


class Room(StrEnum):
    """What an instance has for a request."""

    SLOT = "a slot"
    BACKLOG = "a place in the backlog"
    NONE = "none"


class Mishap(StrEnum):
    """What may go wrong."""

    CRASH = "an instance is killed, another one started in its place"
    FREEZE = "an instance stands still, or goes on"
    LEAVE = "NATS forgets an instance's subjects, or knows them again"
    DRAIN = "an instance lets go of what it has not started"
    ABANDON = "an instance believes that its requester has gone"
    UNREACHABLE = "the requester believes that an instance cannot be reached"
    LOST = "the requester believes that an instance has gone"
    STEAL = "an instance takes over what another one holds"
    COPY = "the same, and the other one goes on holding it"
    LOSE = "a message is lost"
    DOUBLE = "a frame comes twice"
    CANCEL = "the caller gives up"


@functools.cache
def refusal(code: ErrorCode, executed: bool) -> bytes:
    return failure("r", code, executed=executed).to_bytes()


@functools.cache
def answer(run: int) -> bytes:
    return success("r", str(run)).to_bytes()


@functools.cache
def error_in(reply: bytes) -> RequesterError | None:
    read = parse_reply(reply)
    return error_of(read) if isinstance(read, ExecuteFailure) else None


@dataclass
class Holding:
    """What an instance holds of an attempt.

    Attributes:
        machine: The real thing.
        over_at: When it ends, or is forgotten, by itself.
        has_body: Whether all of the request is there.
        run: Number of the run that was started for it.
        result: What came of it.
    """

    machine: Attempt
    over_at: float
    has_body: bool
    deadline: float
    run: int | None = None
    result: bytes = b""


@dataclass
class Instance:
    """A responder's process.

    Attributes:
        name: A new one after each crash.
        is_frozen: Whether it stands still.
        is_away: Whether NATS does not know its subjects just now.
        held: The attempts there.
        seen: Those that ever were: a hand-over goes to somebody else, and NATS delivers a request once.
    """

    name: str
    is_frozen: bool = False
    is_away: bool = False
    held: dict[str, Holding] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Message:
    """On its way: `to` is an instance's name, or empty for the requester."""

    to: str
    what: str
    attempt: str = ""
    frame: Frame | None = None
    listed: tuple[str, ...] = ()
    left_s: float = 0.0


ROOMS = st.sampled_from([Room.SLOT, Room.SLOT, Room.SLOT, Room.BACKLOG, Room.BACKLOG, Room.NONE])


class TheExchange(RuleBasedStateMachine):
    """One request of one requester, until it has ended and everything is quiet."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.names = 0
        self.instances = [self._new_instance() for _ in range(3)]
        self.bag: list[Message] = []
        self.gos: dict[tuple[str, str], float] = {}
        self.starts: list[tuple[str, str]] = []
        self.exchanges: list[Exchange] = []
        self.answered = b""
        self.error: RequesterError | None = None
        self.may_have_run: bool | None = False
        self.is_over = self.is_cancelled = False

    # The requester.

    @initialize(
        failover=st.sampled_from(Failover),
        is_announced=st.sampled_from([False, False, True]),
        mishaps=st.lists(st.sampled_from(Mishap), min_size=1, max_size=3, unique=True),
        copied_to=st.sampled_from([None, None, Room.SLOT, Room.NONE]),
        rounds=st.integers(0, 3),
        is_reversed=st.booleans(),
    )
    def ask(  # drawn by name
        self,
        failover: Failover,
        is_announced: bool,
        mishaps: list[Mishap],
        copied_to: Room | None,
        rounds: int,
        is_reversed: bool,
    ) -> None:
        """Send the request; it may come a good part of its way, and be held twice. Few kinds of mishaps go deep."""
        self.failover, self.is_announced, self.mishaps = failover, is_announced, mishaps
        self.deadline = self.now + TIMEOUT_S
        self._attempt(0)
        if copied_to is not None:
            self.deliver_all(3, Room.BACKLOG, is_reversed=False)
            for attempt, holding in list(self.instances[0].held.items()):
                self._hold(self.instances[1], attempt, holding.deadline, has_body=True, room=copied_to)
                self._give_slot(self.instances[0], attempt)
        self.deliver_all(rounds, Room.SLOT, is_reversed)

    @property
    def exchange(self) -> Exchange:
        return self.exchanges[-1]

    @property
    def current(self) -> str:
        return f"attempt-{len(self.exchanges)}"

    def _attempt(self, place: int) -> None:
        times = Times(self.now + ACCEPT_S, self.deadline, self.deadline + GRACE_S)
        self.exchanges.append(Exchange(times, 10_000, is_announced=self.is_announced))
        there = [one for one in self.instances if not one.is_away]
        if there:
            taker = there[place % len(there)]
            self.bag.append(Message(taker.name, "request", self.current, left_s=self.deadline - self.now))
        else:
            self.bag.append(Message("", "503", self.current))

    def _say(self, says: list[Say], attempt: str) -> None:
        for say in says:
            if say.kind is FrameKind.GO:
                assert (attempt, say.instance) not in self.gos, "told twice to start"
                self.gos[attempt, say.instance] = self.now
            if any(one.name == say.instance and not one.is_away for one in self.instances):
                self.bag.append(Message(say.instance, say.kind, attempt))
            elif say.kind is FrameKind.GO:
                self.bag.append(Message("", "503", attempt))
            else:
                self.bag.append(Message("", "unreachable", attempt, Frame(say.kind, instance=say.instance)))

    def _happen(self, says: list[Say]) -> None:
        """Do what the machine says, and what follows its end."""
        attempt = self.current
        self._say(says, attempt)
        ending = self.exchange.ending
        if ending is None or self.is_over:
            return
        reply = self.exchange.reply
        assert (reply is None) == (ending is not Ending.ANSWERED)
        error = error_in(reply) if reply is not None else error_of_ending(self.exchange, SUBJECT, "r1")
        if error is None:
            self.answered, self.is_over = reply or b"", True
            return
        if error.executed is not False:
            self.may_have_run = True
        is_left = len(self.exchanges) < ATTEMPTS_MAX and self.now < self.deadline
        if is_left and is_tried_again(error, self.failover):
            self._attempt(len(self.exchanges))
            return
        self.error, self.is_over = error, True
        assert self.may_have_run or not self.starts, "something has run, and it is denied"

    def _hear(self, message: Message) -> None:
        """Take what has come, as `attended.py` and `watch.py` do."""
        is_awaited = message.attempt == self.current and self.exchange.ending is None
        sender = message.frame.instance if message.frame else None
        if message.what == "beat":
            for attempt in message.listed:
                if attempt != self.current or self.exchange.ending is not None:
                    self._say([Say(FrameKind.CANCEL, str(sender))], attempt)
            is_there = self.exchange.ending is None and self.exchange.instance == sender
            if is_there and self.current not in message.listed:
                self._happen(self.exchange.on_lost(str(sender)))
        elif message.what == "unreachable":
            self._happen(self.exchange.on_unreachable(str(sender)))
        elif message.what == "503" and is_awaited:
            self._happen(self.exchange.on_no_responders())
        elif message.frame is not None and message.what == "plain" and is_awaited:
            self._happen(self.exchange.on_plain_reply(message.frame.body))
        elif message.frame is not None and message.what == "frame":
            if is_awaited:
                self._happen(self.exchange.on_frame(message.frame))
            else:
                self._say([Say(FrameKind.CANCEL, str(sender))], message.attempt)

    # The instances.

    def _new_instance(self) -> Instance:
        self.names += 1
        return Instance(f"instance-{self.names}")

    def _tell(self, instance: Instance, attempt: str, kind: FrameKind, body: bytes = b"") -> None:
        self.bag.append(Message("", "frame", attempt, Frame(kind, instance=instance.name, body=body)))

    def _take(self, instance: Instance, message: Message, room: Room) -> None:
        attempt, holding = message.attempt, instance.held.get(message.attempt)
        if message.what == "request":
            self._hold(instance, attempt, self.now + message.left_s, not self.is_announced, room)
        elif holding is None:
            pass
        elif message.what == FrameKind.BODY and not holding.has_body:
            holding.has_body, holding.over_at = True, holding.deadline
            self._place(instance, attempt, room)
        elif message.what == FrameKind.GO and holding.machine.go(self.now):
            self._start(instance, attempt, holding)
        elif message.what == FrameKind.ACK and holding.machine.ack():
            del instance.held[attempt]
        elif message.what == FrameKind.CANCEL:
            is_forgotten = holding.machine.state is Held.FORGOTTEN
            if holding.machine.cancel():
                holding.over_at = self.now
            elif not is_forgotten:
                del instance.held[attempt]

    def _hold(self, instance: Instance, attempt: str, deadline: float, has_body: bool, room: Room) -> None:
        if attempt in instance.seen:
            return
        instance.seen.add(attempt)
        if room is Room.NONE:
            body = refusal(ErrorCode.OVERLOADED, executed=False)
            self.bag.append(Message("", "plain", attempt, Frame(FrameKind.RESULT, body=body)))
            return
        over_at = deadline if has_body else self.now + PARTS_PAUSE_MAX_S
        instance.held[attempt] = Holding(Attempt(), over_at, has_body, deadline)
        self._place(instance, attempt, room)

    def _place(self, instance: Instance, attempt: str, room: Room) -> None:
        if room is Room.SLOT and instance.held[attempt].has_body:
            self._give_slot(instance, attempt)
        else:
            self._tell(instance, attempt, FrameKind.ACCEPTED)

    def _give_slot(self, instance: Instance, attempt: str) -> None:
        holding = instance.held[attempt]
        if holding.has_body and holding.machine.ready(self.now):
            holding.over_at = min(holding.deadline, self.now + GO_WINDOW_S)
            self._tell(instance, attempt, FrameKind.READY)

    def _start(self, instance: Instance, attempt: str, holding: Holding) -> None:
        """Start the CLI: what must never happen at the wrong time is seen here."""
        go = (attempt, instance.name)
        assert go in self.gos, "started without a go"
        assert go not in self.starts, "started twice by one go"
        assert self.now - self.gos[go] <= GO_WINDOW_S, "started by a go that is too old"
        self.starts.append(go)
        assert self.failover is Failover.ALWAYS or len(self.starts) == 1, "started twice"
        assert not (self.is_over and self.error and not self.may_have_run), "it was said that nothing runs"
        holding.run, holding.over_at = len(self.starts), holding.deadline

    def _end(self, instance: Instance, attempt: str, result: bytes) -> None:
        holding = instance.held[attempt]
        if holding.machine.end():
            holding.result, holding.over_at = result, max(self.now, holding.deadline) + OFFER_S
            self._tell(instance, attempt, FrameKind.RESULT, result)
        else:
            del instance.held[attempt]

    def _tick(self, instance: Instance) -> None:
        """Let the instance look at its clock."""
        for attempt, holding in list(instance.held.items()):
            state = holding.machine.state
            if self.now <= holding.over_at:
                continue
            if state is Held.ENDED:
                holding.machine.cancel()
                del instance.held[attempt]
            elif state in {Held.STARTED, Held.FORGOTTEN} or self.now > holding.deadline:
                self._end(instance, attempt, refusal(ErrorCode.TIMEOUT, state is Held.STARTED))
            else:
                self._end(instance, attempt, refusal(ErrorCode.UNCLAIMED, executed=False))

    # What may happen.

    def _deliver(self, message: Message, room: Room) -> bool:
        """Deliver a message; says whether it could be."""
        if not message.to:
            self._hear(message)
            return True
        instance = next((one for one in self.instances if one.name == message.to), None)
        if instance is not None and instance.is_frozen:
            return False
        if instance is not None:
            self._take(instance, message, room)
        return True

    @precondition(lambda self: self.bag)
    @rule(which=st.integers(0, 30), room=ROOMS)
    def deliver_any(self, which: int, room: Room) -> None:
        """Deliver some message, whatever was sent before it."""
        message = self.bag.pop(which % len(self.bag))
        if not self._deliver(message, room):
            self.bag.append(message)

    @rule(rounds=st.integers(1, 4), room=ROOMS, is_reversed=st.booleans())
    def deliver_all(self, rounds: int, room: Room, is_reversed: bool) -> None:
        """Deliver what is on its way, and what that brings about, in order or against it."""
        for _ in range(rounds):
            bag, self.bag = self.bag[:: -1 if is_reversed else 1], []
            self.bag[:0] = [message for message in bag if not self._deliver(message, room)]

    @rule(seconds=st.sampled_from([0.1, 0.6, 1.0, 1.9, 2.1, 6.0, 59.0]), requester_stands_still=st.booleans())
    def let_time_pass(self, seconds: float, requester_stands_still: bool) -> None:
        """Let the clock go on; the instances look at it later."""
        self.now += seconds
        if not requester_stands_still:
            self._happen(self.exchange.on_time(self.now))

    @rule(place=PLACES, deed=st.sampled_from(["tick", "find a slot", "finish", "finish", "repeat", "beat"]))
    def work(self, place: int, deed: str) -> None:
        """Have an instance go on with what it holds."""
        instance = self._holder(place)
        if instance.is_frozen:
            return
        match deed:
            case "tick":
                self._tick(instance)
            case "beat":
                self._beat(instance)
            case _:
                state = {"find a slot": Held.WAITING, "finish": Held.STARTED, "repeat": Held.ENDED}[deed]
                self._go_on(instance, state)

    @rule(place=PLACES, which=st.integers(0, 8), room=ROOMS)
    def go_wrong(self, place: int, which: int, room: Room) -> None:  # noqa: C901 # a table of mishaps
        """Have something go wrong: with an instance, with a message, in somebody's mind."""
        instance = self._holder(place)
        mishap = self.mishaps[which % len(self.mishaps)]
        match mishap:
            case Mishap.CRASH:
                self._crash(instance)
            case Mishap.FREEZE:
                instance.is_frozen ^= True
            case Mishap.LEAVE:
                instance.is_away ^= True
            case Mishap.DRAIN:
                self._let_go(instance, ErrorCode.STOPPING, None)
            case Mishap.ABANDON:
                self._let_go(instance, ErrorCode.UNCLAIMED, ErrorCode.CANCELLED)
            case Mishap.UNREACHABLE:
                self._happen(self.exchange.on_unreachable(instance.name))
            case Mishap.LOST:
                self._happen(self.exchange.on_lost(instance.name))
            case Mishap.STEAL | Mishap.COPY:
                self._steal(instance, self.instances[which // 3], room, is_kept=mishap is Mishap.COPY)
            case Mishap.LOSE | Mishap.DOUBLE if self.bag:
                self._hit(self.bag[which // 3 % len(self.bag)], is_lost=mishap is Mishap.LOSE)
            case Mishap.CANCEL if not self.is_over:
                self.is_over = self.is_cancelled = True
                self._happen(self.exchange.give_up())

    def _crash(self, instance: Instance) -> None:
        self.instances[self.instances.index(instance)] = self._new_instance()
        self.bag = [message for message in self.bag if message.to != instance.name]

    def _hit(self, message: Message, *, is_lost: bool) -> None:
        """Lose a message, or have a frame come twice; NATS does not double a request."""
        if is_lost:
            self.bag.remove(message)
        elif message.what != "request":
            self.bag.append(message)

    def _steal(self, victim: Instance, thief: Instance, room: Room, *, is_kept: bool) -> None:
        """Have an instance take over what another has not started; that one may go on holding it all the same."""
        waiting = [one for one in victim.held.items() if one[1].machine.state is Held.WAITING and one[1].has_body]
        if not waiting or thief is victim or thief.is_frozen or victim.is_frozen:
            return
        attempt, holding = waiting[0]
        self._hold(thief, attempt, holding.deadline, has_body=True, room=room)
        if not is_kept:
            del victim.held[attempt]

    def _holder(self, place: int) -> Instance:
        """Give an instance that holds something, if there is one: to the others little can happen."""
        among = [one for one in self.instances if one.held] or self.instances
        return among[place % len(among)]

    def _go_on(self, instance: Instance, state: Held) -> None:
        for attempt, holding in instance.held.items():
            if holding.machine.state is not state:
                continue
            if state is Held.WAITING:
                self._give_slot(instance, attempt)
            elif state is Held.STARTED:
                self._end(instance, attempt, answer(holding.run or 0))
            else:
                self._tell(instance, attempt, FrameKind.RESULT, holding.result)

    def _beat(self, instance: Instance) -> None:
        if instance.held:
            frame = Frame(FrameKind.BEAT, instance=instance.name)
            self.bag.append(Message("", "beat", "", frame, listed=tuple(instance.held)))

    def _let_go(self, instance: Instance, unstarted: ErrorCode, started: ErrorCode | None) -> None:
        for attempt, holding in [] if instance.is_frozen else list(instance.held.items()):
            if holding.machine.is_unstarted:
                self._end(instance, attempt, refusal(unstarted, executed=False))
            elif started and holding.machine.state is Held.STARTED:
                self._end(instance, attempt, refusal(started, executed=True))

    # In the end.

    def teardown(self) -> None:
        """Let everything come to rest, and look at what is left."""
        if not self.exchanges:
            return
        for instance in self.instances:
            instance.is_frozen = instance.is_away = False
        for _ in range(round(2 * (TIMEOUT_S + OFFER_S) / BEAT_S)):
            if self._is_quiet():
                break
            self._come_to_rest()
        assert self._is_quiet(), "somebody still waits, or holds what nobody awaits"
        if self.is_cancelled:
            return
        if self.answered:
            assert self.answered in {answer(run) for run in range(1, len(self.starts) + 1)}
            assert self.failover is Failover.ALWAYS or len(self.starts) == 1
        else:
            assert self.error is not None
            assert self.may_have_run or not self.starts

    def _is_quiet(self) -> bool:
        return self.is_over and not self.bag and not any(one.held for one in self.instances)

    def _come_to_rest(self) -> None:
        living = {one.name for one in self.instances}
        instance = self.exchange.instance
        if self.exchange.state is not State.ENDED and instance is not None and instance not in living:
            self._happen(self.exchange.on_lost(instance))
        for one in self.instances:
            self._tick(one)
            for state in (Held.WAITING, Held.STARTED, Held.ENDED):
                self._go_on(one, state)
            self._beat(one)
        bag, self.bag = self.bag, []
        for message in bag:
            self._deliver(message, room=Room.SLOT)
        self.let_time_pass(BEAT_S, requester_stands_still=False)


def test_no_order_of_events_breaks_the_exchange() -> None:
    """Whatever is lost, doubled, late or thought wrongly: nothing starts unasked or twice, and nothing is denied."""
    run_state_machine_as_test(
        TheExchange,
        settings=settings(
            max_examples=800,
            stateful_step_count=25,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
