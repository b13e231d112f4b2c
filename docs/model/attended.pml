/* The attended exchange of docs/protocol.md: one request, its attempts, and the instances they reach.
 *
 * The network is a set of frames under way. Any of them may be the next to be handled, so each may be overtaken by
 * every other. Timers may fire at any moment. What can go wrong (a frame lost or doubled, a crash, a freeze, a wrong
 * conclusion, a hand-over after which two instances hold one attempt) costs one of FAULTS. The faults may cease at any
 * moment, and from there on everything must come to a good end without one, and without a deadline (unless CANCELS):
 * nothing may rely on it.
 *
 * README.md says what is abstracted and how to read a counterexample; `check` has the bounds and the mutants.
 */

#ifndef ATTEMPTS
#define ATTEMPTS 2 /* of the one request */
#endif
#ifndef INSTANCES
#define INSTANCES 2
#endif
#ifndef FAULTS
#define FAULTS 2
#endif
#ifndef HAND_OVERS
#define HAND_OVERS 1
#endif
#ifdef ALWAYS
#define FAILOVER_ALWAYS true
#else
#define FAILOVER_ALWAYS false /* failover="unstarted" */
#endif
#define may_repeat(a) (FAILOVER_ALWAYS && said_lost[a])
#define NOBODY INSTANCES
#define LETTER(i) ('A' + i)

/* ---- What the requester knows (requester/exchange.py) ---- */

mtype:exchange = { UNSENT, SENT, ACCEPTED, GIVEN, OVER }; /* OVER is "ended" in the protocol's table */
mtype:verdict = { ASKING, ANSWERED, LOST_AFTER_GO, NOT_EXECUTED, CANCELLED, CRASHED };

mtype:exchange exchange[ATTEMPTS] = UNSENT;
byte holder[ATTEMPTS]; /* the instance it is ACCEPTED at or GIVEN to */
byte begun;            /* attempts made so far */
mtype:verdict verdict = ASKING;

/* ---- What an instance knows of an attempt (responder/attempt.py), and the frames between the two ---- */

mtype:attempt = {
    UNKNOWN,  /* never here, or handed on */
    WAITING,
    READY,
    LATE,     /* ready for more than 2 s and the timer not handled yet: only a thawed process is here */
    STARTED,  /* the CLI runs */
    RAN,      /* ended after a run, result unacknowledged */
    NOT_RUN,  /* ended without one (unclaimed, stopping, timeout), result unacknowledged */
    FORGOTTEN /* was here; its name is remembered, so that it is not admitted again */
};

typedef AttemptAt {
    mtype:attempt state = UNKNOWN;
    bool accepted, ready, result_ran, result_not_run; /* frames to the requester, under way */
    bool go, cancel, ack;                             /* frames to the instance, under way */
    bool given_up; /* the requester had ended the attempt before this instance thawed */
};

AttemptAt attempts[ATTEMPTS * INSTANCES];
#define AT(a, i) attempts[(a) * INSTANCES + (i)]
#define holds(state) (state != UNKNOWN && state != FORGOTTEN)

bool request[ATTEMPTS];     /* the request under way, to whichever member of the queue group */
bool refusal[ATTEMPTS];     /* a plain reply under way */
bool unreachable[ATTEMPTS]; /* NATS's 503 under way, on the attempt's subject */

/* ---- Hosts and faults ---- */

mtype:host = { RUNS, FROZEN, DEAD };
mtype:host host[INSTANCES] = RUNS;
byte faults = FAULTS;
byte hand_overs = HAND_OVERS;

/* ---- What really happened. Nobody in the protocol knows it: it is for the assertions alone ---- */

byte go_to[ATTEMPTS] = NOBODY;
bool go_reached[ATTEMPTS];   /* a copy of the go was handled */
bool started[ATTEMPTS];
bool said_not_run[ATTEMPTS]; /* the requester relies on it: nothing ran for this attempt, and nothing will */
bool said_lost[ATTEMPTS];    /* the requester considers it lost after its go */

/* ---- Frames ---- */

/* A frame is handled. Doubled, another copy of it stays under way. */
inline take(frame) {
    if
    :: frame = false
    :: faults > 0 -> faults--; printf("  (a copy of it is still under way)\n")
    fi
}

/* Whatever an instance says of an attempt that is over, is answered with `cancel`. Since its beats say it in any case,
 * its other frames are left out then. */
inline tell_requester(a, frame) {
    if
    :: exchange[a] != OVER -> frame = true
    :: else
    fi
}

/* What would reach an instance that does not hold the attempt is left out: it does nothing there.
 * A frame to a dead instance comes back as a 503, or is lost where NATS has not noticed yet. */
inline send_cancel(a, i) {
    printf("requester: cancel of attempt %d to %c\n", a + 1, LETTER(i));
    if
    :: holds(AT(a, i).state) -> AT(a, i).cancel = true
#ifdef MUTANT_ANY_503
    :: host[i] == DEAD -> unreachable[a] = true
#endif
    :: !holds(AT(a, i).state)
    fi
}

inline send_ack(a, i) {
    printf("requester: ack of attempt %d to %c\n", a + 1, LETTER(i));
    AT(a, i).ack = holds(AT(a, i).state)
}

inline send_go(a, i) {
    printf("requester: go for attempt %d to %c\n", a + 1, LETTER(i));
    for (other : 0 .. ATTEMPTS - 1) {
        /* no go while another may still lead to a run, or has */
        assert(go_to[other] == NOBODY || other == a || said_not_run[other] || may_repeat(other)) /* 2: */
    }
    other = 0;
    assert(go_to[a] == NOBODY); /* 2: nor a second one for this attempt */
    go_to[a] = i;
    AT(a, i).go = true
}

/* ---- The requester ---- */

inline begin_attempt() {
    exchange[begun] = SENT;
    request[begun] = true;
    begun++;
    printf("requester: request, attempt %d\n", begun)
}

inline forget(a, i) {
#ifdef MUTANT_NAMES_FORGOTTEN
    AT(a, i).state = UNKNOWN;
#else
    AT(a, i).state = FORGOTTEN;
#endif
    AT(a, i).given_up = false;
    AT(a, i).cancel = false;
    AT(a, i).ack = false;
    AT(a, i).go = AT(a, i).go && exchange[a] != OVER
}

/* What an attempt that is over leaves at an instance touches nothing else, unless its go is still under way. With one
 * and with two attempts it is part of the model; WITHOUT_LEFTOVERS it is taken out at once, which makes room. */
inline leave_behind(a, i) {
    skip;
#ifdef WITHOUT_LEFTOVERS
    if
    :: exchange[a] == OVER && !AT(a, i).go -> forget(a, i)
    :: else
    fi
#endif
}

inline end_exchange(a) {
    exchange[a] = OVER;
    holder[a] = 0;
    refusal[a] = false;
    unreachable[a] = false;
#ifdef WITHOUT_LEFTOVERS
    request[a] = false;
#endif
    for (other : 0 .. INSTANCES - 1) {
        AT(a, other).accepted = false;
        AT(a, other).ready = false;
        AT(a, other).result_ran = false;
        AT(a, other).result_not_run = false;
        AT(a, other).go = AT(a, other).go && AT(a, other).state != FORGOTTEN;
        leave_behind(a, other)
    }
    other = 0
}

inline next_attempt() {
    if
    :: begun < ATTEMPTS -> begin_attempt()
    :: else ->
        verdict = NOT_EXECUTED;
        for (other : 0 .. ATTEMPTS - 1) {
            verdict = (said_lost[other] -> LOST_AFTER_GO : verdict)
        }
        other = 0;
        printf("requester: ends with %e\n", verdict)
    fi
}

/* "Moved": nothing ran, and another attempt begins at once. */
inline move(a) {
    printf("requester: attempt %d did not run, and is over\n", a + 1);
    assert(!started[a]); /* 2: so a run is never repeated silently */
    said_not_run[a] = true;
    end_exchange(a);
    next_attempt()
}

inline lose_after_go(a) {
    printf("requester: attempt %d is lost after its go\n", a + 1);
    said_lost[a] = true;
    end_exchange(a);
    if
    :: FAILOVER_ALWAYS -> next_attempt()
    :: else -> verdict = LOST_AFTER_GO
    fi
}

/* The requester's table, the rows of one attempt and the frames that B = instance i sends for it. */
proctype requester_frames(byte a; byte i) {
    byte other;
end:
    do
    :: atomic {
        AT(a, i).accepted ->
            printf("requester: accepted from %c, attempt %d\n", LETTER(i), a + 1);
            take(AT(a, i).accepted);
            if
            :: exchange[a] == SENT || exchange[a] == ACCEPTED -> exchange[a] = ACCEPTED; holder[a] = i
            :: exchange[a] == GIVEN
            fi
        }
    :: atomic {
        AT(a, i).ready ->
            printf("requester: ready from %c, attempt %d\n", LETTER(i), a + 1);
            take(AT(a, i).ready);
            if
            :: exchange[a] == SENT || exchange[a] == ACCEPTED -> exchange[a] = GIVEN; holder[a] = i; send_go(a, i)
            :: exchange[a] == GIVEN && holder[a] == i
#ifdef MUTANT_GO_TO_TWO
            :: exchange[a] == GIVEN && holder[a] != i -> send_go(a, i)
#else
            :: exchange[a] == GIVEN && holder[a] != i -> send_cancel(a, i)
#endif
            fi
        }
    :: atomic {
        AT(a, i).result_ran ->
            printf("requester: result from %c, attempt %d: it ran\n", LETTER(i), a + 1);
            take(AT(a, i).result_ran);
            assert(exchange[a] == GIVEN && holder[a] == i); /* 1: and from nobody else */
            send_ack(a, i);
            end_exchange(a);
            verdict = ANSWERED
        }
    :: atomic {
        AT(a, i).result_not_run ->
            printf("requester: result from %c, attempt %d: nothing ran\n", LETTER(i), a + 1);
            take(AT(a, i).result_not_run);
            if
            :: exchange[a] == GIVEN && holder[a] != i -> send_cancel(a, i)
            :: else -> send_ack(a, i); move(a)
            fi
        }
#ifndef MUTANT_NO_CANCEL
    :: atomic { /* a beat, or any other frame, has the token of an attempt that is over */
        exchange[a] == OVER && verdict != CRASHED && host[i] == RUNS && holds(AT(a, i).state) && !AT(a, i).cancel ->
            send_cancel(a, i)
        }
#endif
    od
}

/* The same table: what names no instance, timers, and the loss of an instance. */
proctype requester_attempt(byte a) {
    byte other;
end:
    do
    :: atomic {
        exchange[a] == SENT -> printf("requester: accept timeout, attempt %d\n", a + 1); move(a)
        }
    :: atomic {
        unreachable[a] ->
            printf("requester: 503 to attempt %d\n", a + 1);
            unreachable[a] = false;
            if
            :: exchange[a] == SENT || exchange[a] == GIVEN -> move(a)
            :: exchange[a] == ACCEPTED
            fi
        }
    :: atomic { /* it counts while no instance has admitted the attempt */
        refusal[a] ->
            printf("requester: attempt %d is refused\n", a + 1);
            take(refusal[a]);
            if
            :: exchange[a] == SENT -> move(a)
#ifdef MUTANT_REFUSAL_ALWAYS_COUNTS
            :: exchange[a] == ACCEPTED || exchange[a] == GIVEN -> move(a)
#else
            :: exchange[a] == ACCEPTED || exchange[a] == GIVEN
#endif
            fi
        }
    :: atomic { /* 503 to probes, or three beats missed; or it beats and its beats lack this attempt */
        (exchange[a] == ACCEPTED || exchange[a] == GIVEN) &&
#ifdef MUTANT_BEATS_ONLY_COUNTED
        (host[holder[a]] != RUNS || faults > 0) ->
#else
        (host[holder[a]] != RUNS || !holds(AT(a, holder[a]).state) || faults > 0) ->
#endif
            printf("requester: %c no longer holds attempt %d\n", LETTER(holder[a]), a + 1);
            if
            :: host[holder[a]] == RUNS && holds(AT(a, holder[a]).state) -> faults--; printf("  (which is wrong)\n")
            :: else
            fi;
            if
            :: exchange[a] == ACCEPTED -> move(a)
            :: else -> lose_after_go(a)
            fi
        }
#ifdef CANCELS
    :: atomic { /* the caller cancels, or the deadline passes */
        exchange[a] != UNSENT && exchange[a] != OVER ->
            if
            :: exchange[a] != SENT -> send_cancel(a, holder[a])
            :: else
            fi;
            end_exchange(a);
            verdict = CANCELLED;
            printf("requester: ends with %e\n", verdict)
        }
#endif
    od
}

/* ---- An instance ---- */

inline start(a, i) {
    printf("%c: starts a run for attempt %d\n", LETTER(i), a + 1);
    assert(go_to[a] == i);      /* 1: no start without a go for it */
    assert(!started[a]);        /* 2: one for each go; 4: never victim and thief */
    assert(!said_not_run[a]);   /* 2: what is said not to have run, never does */
    assert(!AT(a, i).given_up); /* 6: nothing stale runs after a thaw */
    for (other : 0 .. ATTEMPTS - 1) {
        /* a second run only where that is allowed, and beside one that was considered lost */
        assert(!started[other] || may_repeat((other < a -> other : a))) /* 2: */
    }
    other = 0;
    started[a] = true;
    AT(a, i).state = STARTED
}

inline get_slot(a, i) {
    printf("%c: ready, attempt %d\n", LETTER(i), a + 1);
    AT(a, i).state = READY;
    tell_requester(a, AT(a, i).ready);
#ifdef MUTANT_START_ON_READY
    start(a, i)
#endif
}

/* Of a request, or of what another instance hands on. What is known is not admitted a second time. */
inline admit(a, i) {
    if
    :: AT(a, i).state == UNKNOWN ->
        if
        :: printf("%c: accepted, attempt %d\n", LETTER(i), a + 1);
            AT(a, i).state = WAITING;
            tell_requester(a, AT(a, i).accepted)
        :: get_slot(a, i)
        fi
    :: else ->
        printf("%c: knows attempt %d already\n", LETTER(i), a + 1);
#ifdef MUTANT_ADMITTED_TWICE
        if
        :: holds(AT(a, i).state) ->
            printf("%c: admits it again, gets no second go, and calls it unclaimed\n", LETTER(i));
            tell_requester(a, AT(a, i).result_not_run)
        :: else
        fi
#endif
    fi
}

/* The responder's table, for one attempt at one instance. */
proctype responder(byte a; byte i) {
    byte other;
end:
    do
    :: atomic {
        host[i] == RUNS && request[a] ->
            printf("%c: request, attempt %d\n", LETTER(i), a + 1);
            take(request[a]);
            if
            :: admit(a, i)
            :: AT(a, i).state == UNKNOWN -> tell_requester(a, refusal[a]) /* overloaded, stopping … */
            fi
        }
    :: atomic {
        host[i] == RUNS && AT(a, i).state == WAITING -> get_slot(a, i)
        }
    :: atomic { /* ready for 2 s, or drained, or the deadline passed */
        host[i] == RUNS && (AT(a, i).state == WAITING || AT(a, i).state == READY || AT(a, i).state == LATE) ->
            printf("%c: ends attempt %d without a run\n", LETTER(i), a + 1);
            AT(a, i).state = NOT_RUN;
            AT(a, i).given_up = false;
            tell_requester(a, AT(a, i).result_not_run)
        }
    :: atomic {
        host[i] == RUNS && AT(a, i).go ->
            printf("%c: go, attempt %d\n", LETTER(i), a + 1);
            take(AT(a, i).go);
            go_reached[a] = true;
            if
            :: AT(a, i).state == READY -> start(a, i)
#ifdef MUTANT_NO_GO_WINDOW
            :: AT(a, i).state == LATE -> start(a, i)
#endif
            :: else
            fi;
            leave_behind(a, i)
        }
    :: atomic { /* the CLI ends, or its deadline ends it */
        host[i] == RUNS && AT(a, i).state == STARTED ->
            printf("%c: the run of attempt %d has ended\n", LETTER(i), a + 1);
            AT(a, i).state = RAN;
            tell_requester(a, AT(a, i).result_ran)
        }
#ifndef MUTANT_NO_RESULT_REPEAT
    :: atomic { /* unacknowledged, and nothing is under way that would end that */
        host[i] == RUNS && exchange[a] != OVER && (AT(a, i).state == RAN || AT(a, i).state == NOT_RUN) &&
        !AT(a, i).ack && !AT(a, i).cancel && !AT(a, i).result_ran && !AT(a, i).result_not_run ->
            printf("%c: repeats the result of attempt %d\n", LETTER(i), a + 1);
            AT(a, i).result_ran = (AT(a, i).state == RAN);
            AT(a, i).result_not_run = (AT(a, i).state == NOT_RUN)
        }
#endif
    :: atomic {
        host[i] == RUNS && AT(a, i).ack ->
            printf("%c: ack, attempt %d\n", LETTER(i), a + 1);
            take(AT(a, i).ack);
            if
            :: AT(a, i).state == RAN || AT(a, i).state == NOT_RUN -> forget(a, i)
            :: else
            fi
        }
    :: atomic {
        host[i] == RUNS && AT(a, i).cancel ->
            printf("%c: cancel, attempt %d\n", LETTER(i), a + 1);
            take(AT(a, i).cancel);
            if
            :: holds(AT(a, i).state) -> forget(a, i)
            :: else
            fi
        }
    :: atomic { /* 503 to beats, or nothing heard from the requester: rightly, or wrongly */
        host[i] == RUNS && holds(AT(a, i).state) && (verdict == CRASHED || faults > 0) ->
            printf("%c: the requester is gone, forgets attempt %d\n", LETTER(i), a + 1);
            if
            :: verdict != CRASHED -> faults--; printf("  (which is wrong)\n")
            :: else
            fi;
            forget(a, i)
        }
    :: atomic { /* another instance, the thief, takes it over; or both believe that they hold it */
        host[i] == RUNS && AT(a, i).state == WAITING && hand_overs > 0 ->
            hand_overs--;
            if
            :: other = (i + 1) % INSTANCES
            :: INSTANCES > 2 -> other = (i + 2) % INSTANCES
            fi;
            if
            :: host[other] == RUNS ->
                printf("%c: hands attempt %d on to %c\n", LETTER(i), a + 1, LETTER(other));
                if
                :: AT(a, i).state = UNKNOWN
                :: faults > 0 -> faults--; printf("  (and keeps it, for the acknowledgement is lost)\n")
                fi;
                admit(a, other)
            :: else
            fi;
            other = 0
        }
    od
}

/* ---- The network, and what befalls hosts ---- */

inline lose(frame) {
    printf("network: a frame is lost (%c, attempt %d)\n", LETTER(i), a + 1);
    faults--;
    frame = false
}

proctype network(byte a; byte i) {
end:
    do
    :: atomic { faults > 0 && request[a] -> lose(request[a]) }
    :: atomic { faults > 0 && refusal[a] -> lose(refusal[a]) }
    :: atomic { faults > 0 && AT(a, i).accepted -> lose(AT(a, i).accepted) }
    :: atomic { faults > 0 && AT(a, i).ready -> lose(AT(a, i).ready) }
    :: atomic { faults > 0 && AT(a, i).result_ran -> lose(AT(a, i).result_ran) }
    :: atomic { faults > 0 && AT(a, i).result_not_run -> lose(AT(a, i).result_not_run) }
    :: atomic { faults > 0 && AT(a, i).cancel -> lose(AT(a, i).cancel) }
    :: atomic { faults > 0 && AT(a, i).ack -> lose(AT(a, i).ack) }
    :: atomic { /* the instance is dead or, a fault, cut off */
        AT(a, i).go && (host[i] == DEAD || faults > 0) ->
            printf("network: the go for attempt %d does not reach %c\n", a + 1, LETTER(i));
            faults = faults - (host[i] != DEAD);
            AT(a, i).go = false;
            leave_behind(a, i);
            if
            :: exchange[a] != OVER && !go_reached[a] -> unreachable[a] = true /* 503: no copy of it reached anyone */
            :: true
            fi
        }
    :: atomic { /* an instance was given the request and will never handle it */
        request[a] && host[i] != RUNS ->
            printf("network: the request of attempt %d goes to %c, which is frozen or dead\n", a + 1, LETTER(i));
            request[a] = false
        }
    od
}

proctype machine(byte i) {
    byte a;
    bool in_socket; /* what the process had sent was still in its socket, and is gone with it */
end:
    do
    :: atomic {
        host[i] != DEAD && faults > 0 ->
            printf("%c: dies, and its CLIs with it\n", LETTER(i));
            faults--;
            host[i] = DEAD;
            if
            :: in_socket = true; printf("  (what it has not yet sent is lost)\n")
            :: in_socket = false
            fi;
            for (a : 0 .. ATTEMPTS - 1) {
#ifdef MUTANT_ANY_503
                if
                :: AT(a, i).cancel && exchange[a] != OVER -> unreachable[a] = true
                :: true
                fi;
#endif
                AT(a, i).state = UNKNOWN;
                AT(a, i).given_up = false;
                AT(a, i).cancel = false;
                AT(a, i).ack = false;
                AT(a, i).accepted = AT(a, i).accepted && !in_socket;
                AT(a, i).ready = AT(a, i).ready && !in_socket;
                AT(a, i).result_ran = AT(a, i).result_ran && !in_socket;
                AT(a, i).result_not_run = AT(a, i).result_not_run && !in_socket
            }
            a = 0;
            in_socket = false
        }
    :: atomic {
        host[i] == RUNS && faults > 0 ->
            printf("%c: freezes\n", LETTER(i));
            faults--;
            host[i] = FROZEN
        }
    :: atomic { /* later than a go's window */
        host[i] == FROZEN ->
            printf("%c: thaws\n", LETTER(i));
            host[i] = RUNS;
            for (a : 0 .. ATTEMPTS - 1) {
                if
                :: AT(a, i).state == READY || AT(a, i).state == LATE ->
                    AT(a, i).state = LATE;
                    AT(a, i).given_up = (exchange[a] == OVER)
                :: else
                fi
            }
            a = 0
        }
    od
}

proctype circumstances() {
    byte a, other;
end:
    do
    :: atomic { faults > 0 -> printf("no more faults\n"); faults = 0 }
    :: atomic {
        faults > 0 && verdict != CRASHED ->
            printf("requester: dies\n");
            faults--;
            verdict = CRASHED;
            for (a : 0 .. ATTEMPTS - 1) {
                end_exchange(a)
            }
            a = 0
        }
    od
}

/* When nothing can happen any more, nobody waits and nobody is waited for. */
proctype end_of_all() {
    byte a, i;
    timeout ->
        atomic {
            printf("nothing can happen any more; the requester: %e\n", verdict);
            assert(verdict != ASKING); /* 3: it was told, one way or another */
            for (a : 0 .. ATTEMPTS - 1) {
                assert(verdict != NOT_EXECUTED || !started[a]); /* 3: and the truth */
                for (i : 0 .. INSTANCES - 1) {
                    assert(!holds(AT(a, i).state)) /* 5: forgotten everywhere */
                }
            }
        }
}

init {
    byte a, i;
    atomic {
        begin_attempt();
        for (a : 0 .. ATTEMPTS - 1) {
            run requester_attempt(a);
            for (i : 0 .. INSTANCES - 1) {
                run requester_frames(a, i);
                run responder(a, i);
                run network(a, i)
            }
        }
        for (i : 0 .. INSTANCES - 1) {
            run machine(i)
        }
        run circumstances();
        run end_of_all();
        a = 0;
        i = 0
    }
}
