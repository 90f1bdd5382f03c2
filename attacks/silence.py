"""A member that holds every version, says that it lives, and never pushes.

    python attacks/silence.py

Answers:
    rounds: eight more were made
"""

import threading

from stage import Stage, perform


def attack(on: Stage) -> None:
    """Be waited for."""
    evil = on.peer("evil")
    evil.join()
    evil.watch(have_version=on.rounds)
    over = threading.Event()

    def follow() -> None:
        while not over.wait(0.2):
            evil.heartbeat()

    beating = threading.Thread(target=follow, daemon=True)
    beating.start()
    on.wait_for_rounds(8)
    over.set()
    beating.join()
    on.say("rounds: eight more were made")


if __name__ == "__main__":
    perform(attack)
