"""Every part of the machine code says what it replaces; test_paths and test_quantizing_paths run the pairs."""

import importlib

from numba.core.extending import _Intrinsic

from gradwire_common.codec.kernels.native import REPLACED


def test_every_part_of_the_machine_code_says_what_it_replaces():
    listed = {row.native for row in REPLACED}
    for row in REPLACED:
        for path in (f"native.{row.native}", row.portable):
            module, _, name = f"gradwire_common.codec.kernels.{path}".rpartition(".")
            assert callable(getattr(importlib.import_module(module), name)), path
    for module in {native.partition(".")[0] for native in listed}:
        contents = vars(importlib.import_module(f"gradwire_common.codec.kernels.native.{module}"))
        assert {f"{module}.{name}" for name, it in contents.items() if isinstance(it, _Intrinsic)} <= listed
