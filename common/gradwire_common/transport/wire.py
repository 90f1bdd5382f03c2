"""Values that travel: between their own types and the messages of proto/."""

from gradwire_common.errors import ModelMismatchError
from gradwire_common.layout.manifest import Manifest, Role, TensorSpec
from gradwire_common.methods.method import Method
from gradwire_common.v1 import parameter_server_pb2 as pb

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
    return pb.Method(**method.model_dump())


def method_from_message(message: pb.Method) -> Method:
    """Return the method of a message."""
    return Method.model_validate({field.name: getattr(message, field.name) for field in message.DESCRIPTOR.fields})
