"""What every method of the servicer has around it: its caller's rights before it, and statuses for its errors."""

import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import Message

from gradwire_common.errors import GradwireError, IdentityError, RightsError
from gradwire_common.foreign_text import MAX_TEXT, printable
from gradwire_common.transport import bounds
from gradwire_common.transport.channel import ERROR_KEY, status_of
from gradwire_server.rpc.registration import Undecodable

log = logging.getLogger("gradwire.server")

Method = Callable[[Any, Any, Any], Awaitable[Any]]


def answers_errors(method: Method) -> Method:
    """Let `method` be called by those that may, and raise GradwireErrors.

    A request that is one message is held to the bounds of its fields first. The caller gets an error as a status, its
    one line, and its kind.
    """

    @functools.wraps(method)
    async def answering(servicer: Any, request: Any, context: Any) -> Any:
        try:
            servicer.callers.check(context, method.__name__)
            if isinstance(request, Undecodable):
                raise request.error
            if isinstance(request, Message):
                bounds.check(request)
            return await method(servicer, request, context)
        except GradwireError as error:
            if isinstance(error, IdentityError | RightsError):
                servicer.callers.refusals.tell(method.__name__, context.peer(), error)
            kind = ((ERROR_KEY, type(error).__name__),)
            await context.abort(status_of(error), printable(" ".join(str(error).split()), MAX_TEXT), kind)
        except grpc.aio.AbortError:
            raise
        except Exception as error:
            log.exception("%s failed", method.__name__)
            await context.abort(grpc.StatusCode.INTERNAL, f"{method.__name__} failed: {type(error).__name__}", ())

    return answering
