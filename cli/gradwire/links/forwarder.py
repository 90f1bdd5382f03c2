"""A forwarder that behaves like a thin link, counts what passes, and can be cut or otherwise disturbed."""

import asyncio
import contextlib
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from gradwire.links.faults import Faults, LinkCutError
from gradwire.links.profile import Link
from gradwire_common.transport.address import Address, parse_address

MAX_READ = 64 << 10  # bytes read at once where no rate says less
SECONDS_PER_READ = 0.005  # of the link's time that one read may take: keeps the emulated link smooth
MIN_READ = 1448  # bytes; the payload of one Ethernet packet
IDLE_SECONDS = 0.001  # a shorter wait for the sender's next bytes is the forwarder's own, not idleness of the link
LATE_SECONDS = 0.02  # that the forwarder may wake up late without the link losing them
UNPACED_IN_FLIGHT = 4 << 20  # bytes under way at once where only a delay is emulated


@dataclass
class Passage:
    """What passed in one direction of one connection: time (s, monotonic clock) and size (bytes) of every read."""

    times: list[float] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Bytes in all."""
        return sum(self.sizes)


@dataclass
class Connection:
    """One forwarded connection; `up` flows from the one that connected to the target."""

    up: Passage = field(default_factory=Passage)
    down: Passage = field(default_factory=Passage)


class Forwarder:
    """Listens on a free port or a unix socket of this machine, and forwards every connection over an emulated link.

    It runs an event loop in a thread of its own. Use it as a context manager, or call `close`.
    A byte is counted when it has been read from its sender. Each connection has the whole rate to itself.
    """

    def __init__(self, target: str, link: Link | None = None, path: Path | None = None):
        """Start forwarding.

        Args:
            target: "host:port" or "unix:/path".
            link: rates and delay; None forwards as fast as it can.
            path: of the unix socket to listen on; a free port of this machine when not given.
        """
        self.connections: list[Connection] = []
        self._target = parse_address(target)
        self._link = link or Link()
        self._faults = Faults()
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="forwarder", daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(path), self._loop).result()
        self.address = f"unix:{path}" if path else f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def retarget(self, target: str) -> None:
        """Forward later connections to another "host:port"."""
        self._target = parse_address(target)

    def cut(self) -> None:
        """Reset every connection that is open now; later ones are forwarded as before."""
        self._loop.call_soon_threadsafe(self._abort_all)

    def cut_after(self, n_bytes: int) -> None:
        """Let `n_bytes` more go up, and cut the connection that carries the last of them right after it.

        What reached the target may end anywhere, in the middle of a message too.
        """
        self._loop.call_soon_threadsafe(setattr, self._faults, "left", n_bytes)

    def hold(self, seconds: float) -> None:
        """Let nothing pass either way for so long; nothing is lost."""
        faults = self._faults

        def begin() -> None:
            faults.clear.clear()
            self._loop.call_later(seconds, faults.clear.set)

        self._loop.call_soon_threadsafe(begin)

    def lose_answers(self, seconds: float) -> None:
        """Let everything go up and nothing come down for so long, and then cut all: what was asked is asked again."""
        faults = self._faults

        def end() -> None:
            self._abort_all()
            faults.deaf = False

        def begin() -> None:
            faults.deaf = True
            self._loop.call_later(seconds, end)

        self._loop.call_soon_threadsafe(begin)

    def close(self) -> None:
        """Stop listening, reset what is open, and end the thread."""

        async def stop() -> None:
            self._server.close()
            self._abort_all()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def total_up(self) -> int:
        """Return the bytes that went up over all connections."""
        return sum(connection.up.total for connection in self.connections)

    def total_down(self) -> int:
        """Return the bytes that went down over all connections."""
        return sum(connection.down.total for connection in self.connections)

    async def _listen(self, path: Path | None) -> asyncio.Server:
        if path is not None:
            return await asyncio.start_unix_server(self._forward, path, limit=MAX_READ)
        return await asyncio.start_server(self._forward, "127.0.0.1", 0, limit=MAX_READ)

    def _abort_all(self) -> None:
        for writer in self._writers:
            _reset(writer)

    async def _forward(self, near_reader: asyncio.StreamReader, near_writer: asyncio.StreamWriter) -> None:
        connection = Connection()
        self.connections.append(connection)
        self._writers.add(near_writer)
        writers = [near_writer]
        try:
            far_reader, far_writer = await _connected(self._target)
            writers.append(far_writer)
            self._writers.add(far_writer)
            await asyncio.gather(
                self._pump(near_reader, far_writer, connection.up, up=True),
                self._pump(far_reader, near_writer, connection.down, up=False),
            )
            for writer in writers:
                writer.close()
        except LinkCutError:
            _reset(near_writer)
            far_writer.close()
        except (OSError, asyncio.CancelledError):
            for writer in writers:
                _reset(writer)
        finally:
            self._writers.difference_update(writers)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passage: Passage, *, up: bool
    ) -> None:
        """Carry bytes one way: each read takes its size over the rate to leave, and arrives `delay` later."""
        rate, delay = self._link.rate_up if up else self._link.rate_down, self._link.delay
        read_size = MAX_READ if not rate else int(min(max(rate * SECONDS_PER_READ, MIN_READ), MAX_READ))
        arrivals: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(
            maxsize=0 if rate else max(1, UNPACED_IN_FLIGHT // read_size)
        )
        deliveries = asyncio.create_task(_deliver(arrivals, writer)) if delay else None
        link_free_at = asked = time.monotonic()
        try:
            while data := await reader.read(read_size):
                passing, cut = await self._faults.allowed(data, up=up)
                now = time.monotonic()
                passage.times.append(now)
                passage.sizes.append(len(passing))
                if rate:
                    late = 0.0 if now - asked > IDLE_SECONDS else LATE_SECONDS
                    link_free_at = max(now - late, link_free_at) + len(passing) / rate
                    await asyncio.sleep(link_free_at - now)
                if deliveries is None:
                    writer.write(passing)
                    await writer.drain()
                elif passing:
                    await arrivals.put((time.monotonic() + delay, passing))
                if cut:
                    raise LinkCutError("the link was cut")
                asked = time.monotonic()
            if deliveries is not None:
                await arrivals.put((0.0, b""))
                await deliveries
            with contextlib.suppress(OSError):
                writer.write_eof()
        finally:
            if deliveries is not None:
                deliveries.cancel()


async def _connected(target: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if target.path:
        return await asyncio.open_unix_connection(target.path, limit=MAX_READ)
    return await asyncio.open_connection(target.host, target.port, limit=MAX_READ)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection at once; its peer sees a reset, and what was on its way is lost."""
    if not writer.transport.is_closing():
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _deliver(arrivals: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter) -> None:
    """Write what arrives, each piece at its time, until an empty one."""
    while True:
        due, data = await arrivals.get()
        if not data:
            return
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        writer.write(data)
        await writer.drain()
