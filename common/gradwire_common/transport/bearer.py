"""A token with every call of a channel."""

from typing import Any

import grpc


class WithMetadata(
    grpc.UnaryUnaryClientInterceptor,  # type: ignore[misc]
    grpc.UnaryStreamClientInterceptor,  # type: ignore[misc]
    grpc.StreamUnaryClientInterceptor,  # type: ignore[misc]
):
    """Adds one item of metadata to every call."""

    def __init__(self, item: tuple[str, str]):
        self._item = item

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        """Make a call with one request and one reply."""
        return continuation(self._with(details), request)

    def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        """Make a call with one request and a stream of replies."""
        return continuation(self._with(details), request)

    def intercept_stream_unary(self, continuation: Any, details: Any, requests: Any) -> Any:
        """Make a call with a stream of requests and one reply."""
        return continuation(self._with(details), requests)

    def _with(self, details: Any) -> Any:
        return details._replace(metadata=[*(details.metadata or ()), self._item])
