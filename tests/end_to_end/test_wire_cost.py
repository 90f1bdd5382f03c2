"""What the books say a run cost, against what a forwarder between worker and server counted at the socket."""

import json

import pytest
import torch
from torch import nn

from gradwire import RemoteOptimizer
from gradwire.links.forwarder import Forwarder
from gradwire_common.settings.config import Config
from running import running_server

ROUNDS = 20
IDLE_BYTES = 4_000  # of connecting, joining, heartbeats and keeping the connection, which belong to no round


@pytest.mark.parametrize(("quantizer", "entries"), [("float32", 400_000), ("uniform", 400_000), ("uniform", 4_000)])
def test_the_books_hold_every_byte_of_the_wire(tmp_path, quantizer, entries):
    config = Config.load(
        None, {"runs": tmp_path, "listen": "127.0.0.1:0", "workers": 1, "rounds": ROUNDS, "quantizer": quantizer}
    )
    model = nn.Linear(entries // 10, 10, bias=False)
    generator = torch.Generator().manual_seed(0)
    with running_server(config) as server, Forwarder(server.address) as forwarder:
        with RemoteOptimizer(model, server=forwarder.address) as optimizer:
            before_up, before_down = forwarder.total_up(), forwarder.total_down()
            while not optimizer.ended:
                model.weight.grad = torch.randn(model.weight.shape, generator=generator)
                optimizer.step()
            up, down = forwarder.total_up() - before_up, forwarder.total_down() - before_down
        server.join()
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    rounds = [line for line in lines if line["kind"] == "round"]
    assert len(rounds) == ROUNDS
    for counted, booked in ((up, "bytes_up"), (down, "bytes_down")):
        assert sum(record[booked] for record in rounds) == pytest.approx(counted, rel=0.01, abs=IDLE_BYTES)
