"""Whose turn it is where many share one rate: deficit round robin."""

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

QUANTUM = (
    66 << 10
)  # bytes that a turn is worth; no less than the largest chunk takes, so that every turn sends something


@dataclass(eq=False, slots=True)
class Request:
    """Bytes that a flow wants to pass. `waiter` is the caller's own."""

    flow: Hashable
    n: int
    waiter: Any = None


@dataclass(slots=True)
class _Flow:
    deficit: int = 0
    requests: deque[Request] = field(default_factory=deque)


class FairQueue:
    """Requests of many flows, each flow's in order, the flows in turn (Shreedhar and Varghese, SIGCOMM 1995).

    A turn adds QUANTUM bytes to what a flow may pass and lasts as long as its next request fits. So over any time in
    which two flows both wait, they pass the same bytes to within QUANTUM and their largest request; and who does not
    wait leaves its turns to the others. What a flow gives back counts for its next turns.
    """

    def __init__(self) -> None:
        self._flows: dict[Hashable, _Flow] = {}
        self._turns: deque[Hashable] = deque()  # flows that wait; the first has the turn
        self._fresh = True  # whether the first one's turn has not been counted yet

    def __bool__(self) -> bool:
        return bool(self._turns)

    def put(self, request: Request) -> None:
        """Let a request wait behind those of its flow."""
        flow = self._flows.get(request.flow)
        if flow is None:
            flow = self._flows[request.flow] = _Flow()
            self._turns.append(request.flow)
        flow.requests.append(request)

    def take(self) -> Request:
        """Return the request whose turn it is; there must be one."""
        while True:
            key = self._turns[0]
            flow = self._flows[key]
            if self._fresh:
                flow.deficit += QUANTUM
                self._fresh = False
            if flow.requests and flow.requests[0].n <= flow.deficit:
                request = flow.requests.popleft()
                flow.deficit -= request.n
                if not flow.requests:
                    self._end_turn(key, waits=False)
                return request
            self._end_turn(key, waits=bool(flow.requests))

    def remove(self, request: Request) -> bool:
        """Take a request back; return whether it was still waiting."""
        flow = self._flows.get(request.flow)
        if flow is None or request not in flow.requests:
            return False
        flow.requests.remove(request)
        if not flow.requests:
            if self._turns[0] == request.flow:
                self._end_turn(request.flow, waits=False)
            else:
                self._turns.remove(request.flow)
                del self._flows[request.flow]
        return True

    def credit(self, key: Hashable, n: int) -> None:
        """Give `n` bytes back to a flow that waits; to one that does not they are worth nothing."""
        if key in self._flows:
            self._flows[key].deficit += n

    def _end_turn(self, key: Hashable, *, waits: bool) -> None:
        self._turns.popleft()
        self._fresh = True
        if waits:
            self._turns.append(key)
        else:
            del self._flows[key]
