"""One tree of errors, all of it public; its four kinds are told apart by type and on the wire."""

import inspect

import grpc
import pytest

import gradwire
from gradwire_common import errors
from gradwire_common.transport.channel import status_of

KINDS = [errors.DataError, errors.UsageError, errors.TransientError, errors.RunEndedError]
TREE = {name: kind for name, kind in vars(errors).items() if inspect.isclass(kind)}


def test_every_error_is_public_and_in_the_tree():
    assert set(gradwire.errors.__all__) == set(TREE)
    for name, kind in TREE.items():
        assert issubclass(kind, gradwire.errors.GradwireError)
        assert getattr(gradwire.errors, name) is kind


def test_no_error_is_of_two_kinds():
    for kind in TREE.values():
        assert sum(issubclass(kind, each) for each in KINDS) <= 1


def test_every_public_name_can_be_imported():
    for name in gradwire.__all__:
        assert getattr(gradwire, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Optimizer'"):
        gradwire.Optimizer  # noqa: B018


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.CodebookMismatchError, grpc.StatusCode.INVALID_ARGUMENT),
        (errors.JoinError, grpc.StatusCode.FAILED_PRECONDITION),
        (errors.SessionError, grpc.StatusCode.UNAVAILABLE),
        (errors.RunEndedError, grpc.StatusCode.OUT_OF_RANGE),
    ],
)
def test_each_kind_has_a_status_of_its_own(kind, status):
    assert status_of(kind("")) is status
