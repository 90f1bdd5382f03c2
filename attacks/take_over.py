"""Taking an honest worker's place: its id, its slot, its session, and the weights that it was asked for.

    python attacks/take_over.py

Answers:
    join as a worker that is alive: UNAVAILABLE: worker a is alive, and another process: its id is free once nothin...
    join at its slot: FAILED_PRECONDITION: slot 0 is held by worker a; want another
    join: answered
    push initial weights: VERDICT_DUPLICATE
    a guessed session: UNAVAILABLE: this session is unknown to this server; joining again gives a new one
"""

from stage import Stage, initial_weights, perform


def attack(on: Stage) -> None:
    """Try to be worker a."""
    on.tell("join as a worker that is alive", lambda: on.peer("a").join())
    evil = on.peer("evil")
    on.tell("join at its slot", lambda: evil.join(slot=0))
    on.tell("join", evil.join)
    on.tell("push initial weights", lambda: evil.push_weights(1e9 * initial_weights()))
    evil.session = "0" * 32
    on.tell("a guessed session", evil.heartbeat)


if __name__ == "__main__":
    perform(attack)
