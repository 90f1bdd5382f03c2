"""A push that is being sent, until its receipt has come."""

from collections.abc import Callable
from typing import Any

import grpc

from gradwire_common.errors import RunEndedError
from gradwire_common.transport import bounds
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_worker import interrupts
from gradwire_worker.session.client import Client
from gradwire_worker.session.notice import Notice
from gradwire_worker.session.pending import PendingPush


class Sending:
    """A push on its way, whose frames may still be appended; `receipt` waits for its end and repeats it if needed."""

    def __init__(self, client: Client, push: PendingPush):
        self._client = client
        self._push = push
        self._session = client.reply.session
        self._call: Any = client.start_push(client.messages(push, self._session))

    def receipt(self, look: Callable[[], None] | None = None) -> pb.Receipt:
        """Return the server's answer once all frames have been appended and the push is closed.

        Args:
            look: called again and again while it is waited for; what tells the log of a long wait when None.

        Raises:
            GradwireError: what the server refused the push with.
            RunEndedError: the run ended meanwhile.
            UnavailableError: if it could not be reached for too long.
            Interrupted: a signal's handler raised; the push continues, and its receipt can be asked for again.
        """
        patience = self._client.patience()
        notice = Notice(lambda: f"the receipt of the push for round {self._push.round}")
        while True:
            try:
                if self._call is None:
                    self._call = self._resume()
                receipt: pb.Receipt = interrupts.answer_of(self._call, look or notice.look)
                bounds.check(receipt)
                return receipt
            except grpc.RpcError as failed:
                self._call = None
                error = self._client.error_of(failed)
                if self._client.end is None:
                    self._client.recover(error, self._session, patience)
                if self._client.end is not None:
                    raise RunEndedError(f"the run ended during a push: {self._client.end}") from None

    def cancel(self) -> None:
        """Give the push up; it does not count."""
        self._push.abandon()
        if self._call is not None:
            self._call.cancel()

    def _resume(self) -> Any:
        """Send again what the server has not got."""
        self._session = self._client.reply.session
        held = self._client.staged(self._push, self._session)
        return self._client.start_push(self._client.messages(self._push, self._session, held))
