"""What one step did and where its time went."""

from dataclasses import dataclass

from gradwire_common.v1 import parameter_server_pb2 as pb


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """One step of a RemoteOptimizer. Times are seconds.

    Attributes:
        round: the round that the push was for.
        version: of the weights that the model holds afterwards.
        counted: whether the push counted; where it came too late, all of it waits in the residual memory.
        samples: the push's weight in the mean.
        loss: mean training loss, NaN where the step was not told.
        compute: from the end of the last step to the start of this.
        copy: bringing the gradients to the host as one vector.
        fit: fitting them and choosing the quantisers.
        encode: quantising and coding.
        send: from the last frame to the receipt.
        wait: from the receipt until the new weights were in the model.
        n_bytes: of the frames.
        wire_bytes: of the push on the wire, framing included.
        bits_per_entry: bits on the wire per parameter.
        step_size: common step size of the quantiser, in gradient units; 0 where there is none.
        budget: bytes on the wire that the push was allowed; 0 where it had no budget.
    """

    round: int
    version: int
    counted: bool
    samples: int
    loss: float
    compute: float
    copy: float
    fit: float
    encode: float
    send: float
    wait: float
    n_bytes: int
    wire_bytes: int
    bits_per_entry: float
    step_size: float
    budget: int = 0

    def __str__(self) -> str:
        return (
            f"round {self.round}: loss {self.loss:.4f}, {self.bits_per_entry:.3f} bit/entry; "
            f"compute {self.compute * 1e3:.1f} copy {self.copy * 1e3:.1f} fit {self.fit * 1e3:.1f} "
            f"encode {self.encode * 1e3:.1f} send {self.send * 1e3:.1f} wait {self.wait * 1e3:.1f} ms"
        )


def step_times(*, compute: float, copy: float, fit: float, encode: float, last: StepReport | None) -> pb.StepTimes:
    """Return the times that a push tells the server; `last` is the step before, whose end is known by now."""
    send, wait = (last.send, last.wait) if last is not None else (0.0, 0.0)
    return pb.StepTimes(compute=compute, copy=copy, fit=fit, encode=encode, send=send, wait=wait)
