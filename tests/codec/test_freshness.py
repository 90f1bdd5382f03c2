"""Compiled kernels go when a kernel's source does."""

import os

from numba import config

from gradwire_common.codec.kernels.freshness import forget_stale_kernels


def test_a_changed_source_removes_all_compiled_kernels(tmp_path):
    source, compiled = tmp_path / "kernel.py", tmp_path / "__pycache__"
    source.write_text("1")
    compiled.mkdir()
    index = compiled / "caller.1.nbi"
    assert forget_stale_kernels(tmp_path)
    index.write_bytes(b"")
    assert not forget_stale_kernels(tmp_path)
    assert index.exists()
    os.utime(source, ns=(1, 1))
    assert forget_stale_kernels(tmp_path)
    assert not index.exists()


def test_kernels_with_bounds_checks_are_not_taken_for_those_without(tmp_path, monkeypatch):
    (tmp_path / "kernel.py").write_text("1")
    for checked in (None, 1, None):
        monkeypatch.setattr(config, "BOUNDSCHECK", checked)
        assert forget_stale_kernels(tmp_path)
        assert not forget_stale_kernels(tmp_path)
