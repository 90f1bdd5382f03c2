"""Encode updates by any method in one call."""

from typing import Any

import numpy as np

from gradwire_common.layout.manifest import Layout
from gradwire_common.methods.method import EncodeReport, Method
from gradwire_common.methods.quantizer_names import setting_names
from gradwire_common.methods.registry import DEFAULT, build_method
from gradwire_common.methods.update import encode_update

ALL_QUANTIZERS = setting_names()  # the last one means the method raw


def method_of(**options: Any) -> Method:
    """Return the method of some coding settings."""
    return build_method(DEFAULT, options)


def encoded(
    method: Method,
    layout: Layout,
    values: np.ndarray,
    residual: np.ndarray | None = None,
    *,
    report: EncodeReport | None = None,
    with_buffers: bool = False,
) -> list[bytes]:
    """Return the frames of an update, which is u already, by a new encoder."""
    buffers = layout.buffers if with_buffers else ()
    encoder = method.encoder(layout, residual)
    return list(encode_update(encoder, values, report or EncodeReport(), buffers, stored=method.stored))
