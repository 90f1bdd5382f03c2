"""Pushes that are held open with a header or some bytes, to take all room that there is for pushes.

    python attacks/held_open.py

Answers:
    rounds: five more were made beside pushes that never end
    weights that nobody asked for: VERDICT_DUPLICATE
"""

import threading
from collections.abc import Iterator

from gradwire_common.v1 import parameter_server_pb2 as pb
from stage import Stage, gradient_of, initial_weights, perform

STREAMS = 40


def attack(on: Stage) -> None:
    """Begin pushes of gradients and of initial weights, and never end one."""
    evil = on.peer("evil")
    evil.join()
    over = threading.Event()

    def some(messages: list[pb.PushMessage], n: int) -> Iterator[pb.PushMessage]:
        yield from messages[:n]
        over.wait(120)

    evil.chunk_bytes = 4096
    calls = []
    for i in range(STREAMS):
        messages = list(evil.gradient_messages(gradient_of(1), on.rounds + 1))
        calls.append(evil.stub.Push.future(some(messages, 1 + i % 3), timeout=120))
        calls.append(evil.stub.Push.future(iter([]), timeout=120))
    on.wait_for_rounds(5)
    on.say("rounds: five more were made beside pushes that never end")
    on.tell("weights that nobody asked for", lambda: evil.push_weights(initial_weights()))
    over.set()
    for call in calls:
        call.cancel()


if __name__ == "__main__":
    perform(attack)
