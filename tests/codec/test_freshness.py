"""Compiled kernels go when a kernel's source does."""

import os

from numba import config

from gradwire_common.codec.kernels.freshness import forget_stale_kernels


def test_a_changed_source_removes_all_compiled_kernels(tmp_path):
    folders = (tmp_path, tmp_path / "room")
    for folder in folders:
        (folder / "__pycache__").mkdir(parents=True)
        (folder / "kernel.py").write_text("1")
    indices = [folder / "__pycache__" / "caller.1.nbi" for folder in folders]
    for changed in folders:
        forget_stale_kernels(tmp_path)
        for index in indices:
            index.write_bytes(b"")
        assert not forget_stale_kernels(tmp_path)
        assert all(index.exists() for index in indices)
        os.utime(changed / "kernel.py", ns=(1, 1))
        assert forget_stale_kernels(tmp_path)
        assert not any(index.exists() for index in indices)


def test_kernels_with_bounds_checks_are_not_taken_for_those_without(tmp_path, monkeypatch):
    (tmp_path / "kernel.py").write_text("1")
    for checked in (None, 1, None):
        monkeypatch.setattr(config, "BOUNDSCHECK", checked)
        assert forget_stale_kernels(tmp_path)
        assert not forget_stale_kernels(tmp_path)
