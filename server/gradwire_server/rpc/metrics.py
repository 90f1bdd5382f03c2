"""The run's figures for Prometheus: read from the run at every scrape, so that there is nothing to keep up to date."""

import asyncio
import logging
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from gradwire_common.errors import ConfigError
from gradwire_common.transport.address import Address
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.rounds.schedule import Verdict
from gradwire_server.rpc.status import status_reply
from gradwire_server.rpc.tallies import Tallies
from gradwire_server.run.run import Run
from gradwire_server.supervision import Supervisor

log = logging.getLogger("gradwire.server")

SCRAPE_SECONDS = 5.0  # that a scrape may wait for the server's event loop
MAX_SCRAPES = 8  # at once
BY_WORKER = ("worker", "direction")


@contextmanager
def exported(run: Run, listen: Address | None, supervisor: Supervisor) -> Iterator[None]:
    """Answer scrapes at `listen` while the body runs; without an address do nothing.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    if listen is None:
        yield
        return
    registry = CollectorRegistry()
    registry.register(_RunCollector(run, asyncio.get_running_loop()))
    try:
        family = socket.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        kind = type("_ServerOfFamily", (_Server,), {"address_family": family})
        server: WSGIServer = make_server(listen.host, listen.port, make_wsgi_app(registry), kind, _Handler)
    except OSError as error:
        raise ConfigError(f"metrics_listen: cannot listen on {listen}: {error}; want a free port") from None
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    log.info("metrics at %s", replace(listen, port=server.server_port))
    if not listen.loopback:
        log.warning("metrics can be read by anyone who reaches %s", listen.host)
    supervisor.keep_alive(thread)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(WSGIRequestHandler):
    """Answers a scrape, and logs nothing."""

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


class _Server(ThreadingMixIn, WSGIServer):
    """Answers each scrape in a thread of its own, MAX_SCRAPES at once, each of them within SCRAPE_SECONDS."""

    daemon_threads = True

    def __init__(self, *arguments: Any, **options: Any):
        self._free = threading.BoundedSemaphore(MAX_SCRAPES)
        super().__init__(*arguments, **options)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer one, or close its connection where there are too many."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer one, as far as there is time."""
        over = threading.Timer(2 * SCRAPE_SECONDS, _shut, [request])
        over.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            over.cancel()
            self._free.release()

    def handle_error(self, *_: Any) -> None:
        """Log nothing: a peer went away, or was too slow."""


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _RunCollector(Collector):
    """Asks the run, on its own event loop, at every scrape."""

    def __init__(self, run: Run, loop: asyncio.AbstractEventLoop):
        self._run = run
        self._loop = loop

    def describe(self) -> Iterable[Metric]:
        """Return nothing: what there is depends on the workers."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Return all metrics as of now."""
        return asyncio.run_coroutine_threadsafe(self._read(), self._loop).result(SCRAPE_SECONDS)

    async def _read(self) -> list[Metric]:
        records = self._run.books.records
        rounds = records.rounds
        status = status_reply(self._run, rounds[-1].round - 1 if rounds else 0)
        return [
            *_of_workers(status),
            *_of_rounds(status, len(rounds), records.seconds),
            *_of_evaluations(status),
            *_of_pushes(self._run.tallies),
        ]


def _of_workers(status: pb.StatusReply) -> Iterator[Metric]:
    sent = CounterMetricFamily("gradwire_wire_bytes", "Bytes on the wire, framing included.", labels=BY_WORKER)
    waits = CounterMetricFamily(
        "gradwire_ratelimit_wait_seconds", "Seconds that token buckets made bytes wait.", labels=BY_WORKER
    )
    tokens = GaugeMetricFamily(
        "gradwire_ratelimit_tokens_bytes", "Bytes that a worker's token bucket lets pass at once.", labels=BY_WORKER
    )
    budget = GaugeMetricFamily(
        "gradwire_push_budget_bytes", "Bytes that a worker's last push was allowed.", labels=["worker"]
    )
    spent = GaugeMetricFamily("gradwire_push_spent_bytes", "Bytes that a worker's last push took.", labels=["worker"])
    alive = GaugeMetricFamily("gradwire_worker_alive", "Whether a worker is alive.", labels=["worker"])
    refused = CounterMetricFamily("gradwire_refused_pushes", "Pushes that were refused.", labels=["worker"])
    for worker in status.workers:
        for direction in ("up", "down"):
            labels = [worker.worker_id, direction]
            sent.add_metric(labels, getattr(worker, f"bytes_{direction}"))
            waits.add_metric(labels, getattr(worker, f"limited_{direction}"))
            tokens.add_metric(labels, getattr(worker, f"tokens_{direction}"))
        alive.add_metric([worker.worker_id], worker.alive)
        refused.add_metric([worker.worker_id], worker.refused)
        if worker.budget:
            budget.add_metric([worker.worker_id], worker.budget)
            spent.add_metric([worker.worker_id], worker.spent)
    yield from (sent, waits, tokens, budget, spent, alive, refused)


def _of_rounds(status: pb.StatusReply, n_rounds: int, seconds: float) -> Iterator[Metric]:
    yield GaugeMetricFamily("gradwire_version", "Rounds applied to the weights.", value=status.version)
    yield SummaryMetricFamily("gradwire_round_duration_seconds", "From commit to commit.", n_rounds, seconds)
    if not status.records:
        return
    newest = status.records[-1]
    yield GaugeMetricFamily("gradwire_round_contributors", "Pushes in the newest round.", value=newest.contributors)
    bits = GaugeMetricFamily(
        "gradwire_wire_bits_per_entry", "Bits on the wire per parameter and worker, newest round.", labels=["direction"]
    )
    bits.add_metric(["up"], newest.bits_up)
    bits.add_metric(["down"], newest.bits_down)
    yield bits
    payload = GaugeMetricFamily(
        "gradwire_payload_bits_per_entry",
        "Bits of frames per parameter and push or update, newest round.",
        labels=["direction"],
    )
    budget = GaugeMetricFamily(
        "gradwire_round_budget_bytes",
        "Bytes that the newest round was allowed where there are budgets: up its pushes, framing included; down the "
        "frames of its update.",
        labels=["direction"],
    )
    spent = GaugeMetricFamily("gradwire_round_spent_bytes", "What of that budget was spent.", labels=["direction"])
    pushes = max(newest.contributors * status.parameters, 1)
    for direction, n_bits, allowed, taken in (
        ("up", 8 * newest.payload_up / pushes, newest.budget, newest.spent),
        ("down", 8 * newest.payload_down / max(status.parameters, 1), newest.budget_down, newest.payload_down),
    ):
        payload.add_metric([direction], n_bits)
        if allowed:
            budget.add_metric([direction], allowed)
            spent.add_metric([direction], taken)
    yield from (payload, budget, spent)
    phases = GaugeMetricFamily(
        "gradwire_round_phase_seconds", "Where the newest round's time went.", labels=["where", "phase"]
    )
    for where, times in (("server", newest.server_times), ("worker", newest.worker_times)):
        for field in times.DESCRIPTOR.fields:
            phases.add_metric([where, field.name], getattr(times, field.name))
    yield phases


def _of_evaluations(status: pb.StatusReply) -> Iterator[Metric]:
    if not status.evaluations:
        return
    newest = status.evaluations[-1]
    yield GaugeMetricFamily("gradwire_evaluation_version", "Version last evaluated.", value=newest.version)
    mean = GaugeMetricFamily(
        "gradwire_evaluation",
        "Mean over the test samples, newest evaluation; accuracies are fractions.",
        labels=["metric"],
    )
    samples = GaugeMetricFamily("gradwire_evaluation_samples", "What that mean is taken over.", labels=["metric"])
    for metric in newest.metrics:
        mean.add_metric([metric.name], metric.sum / metric.count)
        samples.add_metric([metric.name], metric.count)
    yield from (mean, samples)


def _of_pushes(tallies: Tallies) -> Iterator[Metric]:
    late, duplicate = tallies.verdicts[Verdict.LATE], tallies.verdicts[Verdict.DUPLICATE]
    yield CounterMetricFamily("gradwire_stragglers_dropped", "Pushes that came after their round had closed.", late)
    yield CounterMetricFamily("gradwire_duplicate_pushes", "Pushes that counted already.", duplicate)
    damaged = CounterMetricFamily("gradwire_decode_errors", "Pushes that were damaged.", labels=["reason"])
    for reason, n in sorted(tallies.damaged.items()):
        damaged.add_metric([reason], n)
    yield damaged
