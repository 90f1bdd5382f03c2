"""More members, sessions, connections and streams than a run needs.

    python attacks/crowds.py

Answers:
    one of 60, after 22: FAILED_PRECONDITION: cannot join: 24 workers take part, as many as most_workers admits
    rounds: more were made beside silent connections
"""

import socket

import grpc

from stage import Stage, perform

JOINS = 60
SOCKETS = 200


def attack(on: Stage) -> None:
    """Join under many ids and again and again, and open connections that say nothing."""
    sybils = [on.peer(f"sybil{i}") for i in range(JOINS)]
    for i, sybil in enumerate(sybils):
        try:
            sybil.join()
        except grpc.RpcError as error:
            on.say(f"one of {JOINS}, after {i}: {error.code().name}: {error.details()}")
            break
    host, port = on.address.rsplit(":", 1)
    sockets = []
    for _ in range(SOCKETS):
        try:
            sockets.append(socket.create_connection((host, int(port)), timeout=5))
        except OSError:
            break
    on.wait_for_rounds()
    on.say("rounds: more were made beside silent connections")
    for each in sockets:
        each.close()


if __name__ == "__main__":
    perform(attack)
