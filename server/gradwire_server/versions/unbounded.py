"""Pushes that builds without bounds left in journals: one that cannot be applied is named and skipped."""

import logging

import numpy as np

from gradwire_common.errors import DataError
from gradwire_common.transport import bounds
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.intake.contribution import Contribution
from gradwire_server.versions.training import Training

log = logging.getLogger("gradwire.server")

MAX_FLOAT32 = float(np.finfo(np.float32).max)


def may_count(training: Training, push: Contribution) -> bool:
    """Say whether a push may count in the round that was open; one that is out of bounds is named."""
    wrong = _wrong(training, push)
    if wrong:
        log.warning("journal: the push of worker %s for round %d is skipped: %s", push.worker, push.round, wrong)
    return not wrong


def can_be_added(training: Training, push: Contribution, n_pushes: int) -> bool:
    """Say whether a push, one of `n_pushes` of a round that closed, leaves their sum finite; name it where not.

    What is out of bounds and was added is added again, so that the version has the bits that workers were sent.
    """
    wrong = _wrong(training, push)
    if not wrong or training.largest(push.push) * push.push.samples <= MAX_FLOAT32 / n_pushes:
        return True
    log.warning("journal: round %d is made without the push of worker %s: %s", push.round, push.worker, wrong)
    return False


def _wrong(training: Training, push: Contribution) -> str:
    """Say what is out of bounds."""
    if push.bounded:
        return ""
    try:
        bounds.check(pb.PushHeader(samples=push.push.samples))
        bounds.check(pb.PushEnd(loss=push.loss, times=push.times, budget=push.budget))
        training.check(push.push.data, push.push.with_buffers)
    except DataError as error:
        return str(error)
    return ""
