"""Values that travel: between their own types and the messages of proto/."""

import json
from collections.abc import Iterable, Mapping
from itertools import islice

from gradwire_common.errors import ConfigError, ModelMismatchError, UsageError
from gradwire_common.foreign_text import printable
from gradwire_common.layout.manifest import Manifest, Role, TensorSpec, check_counts
from gradwire_common.merged import MAX_STATE
from gradwire_common.methods.method import Method
from gradwire_common.methods.registry import build_method
from gradwire_common.metrics import MAX_METRIC_NAME, MAX_METRICS, Metric, checked_metrics
from gradwire_common.v1 import parameter_server_pb2 as pb

MAX_UINT64 = 2**64 - 1  # of the wire; 2,048 workers could claim more samples than that
MAX_SHOWN = 80  # characters of options that cannot be read

_ROLES = {
    Role.PARAMETER: pb.ROLE_PARAMETER,
    Role.BUFFER: pb.ROLE_BUFFER,
    Role.FROZEN: pb.ROLE_FROZEN,
}
_ROLE_NAMES = {number: role for role, number in _ROLES.items()}


def manifest_to_message(manifest: Manifest) -> pb.Manifest:
    """Return the message for a manifest."""
    return pb.Manifest(
        tensors=[
            pb.TensorSpec(name=spec.name, shape=spec.shape, dtype=spec.dtype, role=_ROLES[spec.role], group=spec.group)
            for spec in manifest.tensors
        ],
        groups=[pb.ParameterGroup(options=options) for options in manifest.groups],
    )


def manifest_from_message(message: pb.Manifest) -> Manifest:
    """Return the manifest of a message.

    Raises:
        ModelMismatchError: if it is no manifest: a role unknown, a name twice, no trainable tensor.
    """
    check_counts(len(message.tensors), len(message.groups))
    for tensor in message.tensors:
        if tensor.role not in _ROLE_NAMES:
            raise ModelMismatchError(f"manifest: tensor {tensor.name!r} has role {tensor.role}, want 1, 2 or 3")
    return Manifest(
        tensors=tuple(
            TensorSpec(tensor.name, tuple(tensor.shape), tensor.dtype, _ROLE_NAMES[tensor.role], tensor.group)
            for tensor in message.tensors
        ),
        groups=tuple(dict(group.options) for group in message.groups),
    )


def method_to_message(method: Method) -> pb.Method:
    """Return the message for a method."""
    return pb.Method(name=method.name, options=json.dumps(dict(method.options)))


def method_from_message(message: pb.Method) -> Method:
    """Return the method of a message.

    Raises:
        ConfigError: its name is not registered here, or it does not know the options.
    """
    try:
        options = json.loads(message.options)
    except (ValueError, RecursionError):
        options = None
    if not isinstance(options, dict):
        raise ConfigError(f"method {message.name!r}: got options {message.options[:MAX_SHOWN]!r}, want a JSON object")
    return build_method(message.name, options)


def metrics_to_messages(metrics: Mapping[str, Metric]) -> list[pb.Metric]:
    """Return the messages for the metrics of an evaluation, in their order."""
    return [
        pb.Metric(
            name=name,
            sum=metric.sum,
            count=min(metric.count, MAX_UINT64),
            lower_is_better=bool(metric.lower_is_better),
            kind=metric.kind,
            state=metric.state,
        )
        for name, metric in metrics.items()
    ]


def metrics_from_messages(messages: Iterable[pb.Metric]) -> dict[str, Metric]:
    """Return the metrics of an evaluation, in their order.

    Raises:
        NonFiniteError: a sum is NaN or infinite.
        UsageError: there are none or too many, a name twice, or a name, a count or a sum that cannot be.
    """
    metrics: dict[str, Metric] = {}
    for message in islice(messages, MAX_METRICS + 1):
        if message.name in metrics:
            raise UsageError(f"metric {printable(message.name, MAX_METRIC_NAME)}: got it twice, want each name once")
        metrics[message.name] = Metric(
            message.sum,
            message.count,
            message.lower_is_better,
            message.kind,
            tuple(islice(message.state, MAX_STATE + 1)),
        )
    return checked_metrics(metrics)
