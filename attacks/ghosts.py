"""A worker that leaves a slot behind for which rounds would wait for ever.

    python attacks/ghosts.py

Answers:
    join again at another slot: answered
    leave: answered
    rounds: three more were made
"""

from stage import Stage, perform


def attack(on: Stage) -> None:
    """Hold the newest version at slot 2, join again at slot 77, leave."""
    evil = on.peer("evil")
    evil.join(slot=2)
    evil.watch(have_version=on.rounds)
    on.tell("join again at another slot", lambda: evil.join(slot=77))
    evil.watch(have_version=on.rounds)
    on.tell("leave", evil.leave)
    on.wait_for_rounds(3)
    on.say("rounds: three more were made")


if __name__ == "__main__":
    perform(attack)
