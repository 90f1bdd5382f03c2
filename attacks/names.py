"""Names and reasons that would forge lines of a log, or do something to a terminal that shows them.

    python attacks/names.py

Answers:
    an id with an escape sequence: INVALID_ARGUMENT: worker id: got ...
    an id with markup: INVALID_ARGUMENT: worker id: got '[/oops]', want 1 to 64 of the characters A-Z a-z 0-9 . _ -...
    an id with a second line: INVALID_ARGUMENT: worker id: got ...
    an id with a path: INVALID_ARGUMENT: worker id: got '../../etc/passwd', want 1 to 64 of the characters A-Z a-z...
    an id with a megabyte: INVALID_ARGUMENT: JoinRequest: got 1000237 bytes, want at most 524288
    an id with nothing: INVALID_ARGUMENT: worker id: got '', want 1 to 64 of the characters A-Z a-z 0-9 . _ - that...
    a reason of 3 MB: INVALID_ARGUMENT: LeaveRequest: got 3000087 bytes, want at most 131072
    a session that is a megabyte: INVALID_ARGUMENT: HeartbeatRequest: got 1000004 bytes, want at most 131072
"""

from gradwire_common.v1 import parameter_server_pb2 as pb
from stage import Stage, perform

ESCAPE = "\x1b]52;c;ZXZpbA==\x1b\\"  # writes to the clipboard of some terminals


def attack(on: Stage) -> None:
    """Say what no log or terminal should repeat as it is."""
    for what, name in (
        ("an escape sequence", f"a{ESCAPE}b"),
        ("markup", "[/oops]"),
        ("a second line", "a\n16:00:00 server ERROR: forged"),
        ("a path", "../../etc/passwd"),
        ("a megabyte", "a" * 1_000_000),
        ("nothing", ""),
    ):
        on.tell(f"an id with {what}", lambda name=name: on.peer(name).join())
    evil = on.peer("evil")
    evil.join()
    reason = f"{ESCAPE}\n16:00:00 server ERROR: forged " + "x" * 3_000_000
    leave = pb.LeaveRequest(session=evil.session, reason=reason)
    on.tell("a reason of 3 MB", lambda: evil.stub.Leave(leave, timeout=30))
    on.tell("a session that is a megabyte", lambda: evil.stub.Heartbeat(pb.HeartbeatRequest(session="s" * 1_000_000)))


if __name__ == "__main__":
    perform(attack)
