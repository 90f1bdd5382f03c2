"""A session with a server, without torch: joins a run, follows its versions, pushes for its rounds, leaves.

`Session.join` is the door; `PendingPush`, `Introduction` and `Updates` are the protocol without I/O, for other loops.
"""

from gradwire_worker.session.options import SessionOptions
from gradwire_worker.session.session import Session

__all__ = ["Session", "SessionOptions"]
