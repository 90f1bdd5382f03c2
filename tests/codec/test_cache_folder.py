"""Kernels are loaded and kept wherever the package lies: on a root that is read-only, or under another user."""

import tempfile
from pathlib import Path

import pytest
from numba import config

from gradwire_common import temporary
from gradwire_common.codec.kernels import cache_folder
from gradwire_common.errors import UnavailableError


@pytest.fixture
def unwritable(tmp_path, monkeypatch) -> Path:
    """Let numba find no folder that it can write to, but one that it can read, which is returned."""
    kept = tmp_path / "kept"
    (kept / "kernels_1").mkdir(parents=True)
    (kept / "kernels_1" / "encode.nbi").write_bytes(b"compiled")
    monkeypatch.setattr(config, "CACHE_DIR", str(kept))
    monkeypatch.setattr(cache_folder, "_can_cache", lambda: False)
    monkeypatch.setattr(cache_folder.atexit, "register", lambda *_, **__: None)
    return kept


def test_a_private_copy_is_used_where_no_folder_can_be_written_to(unwritable, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    cache_folder.ensure_writable_cache()
    cache = Path(config.CACHE_DIR)
    assert cache != unwritable
    assert cache.parent.stat().st_mode & 0o777 == 0o700
    assert (cache / "kernels_1" / "encode.nbi").read_bytes() == b"compiled"


def test_temporary_files_go_to_memory_where_the_root_is_read_only(unwritable, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "none")])
    monkeypatch.setattr(temporary, "IN_MEMORY", str(tmp_path))
    cache_folder.ensure_writable_cache()
    assert Path(config.CACHE_DIR).parent.parent == tmp_path
    assert tempfile.gettempdir() == str(tmp_path)


def test_no_folder_at_all_is_one_line(unwritable, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "none")])
    monkeypatch.setattr(temporary, "IN_MEMORY", str(tmp_path / "none"))
    with pytest.raises(UnavailableError, match=r"compiled kernels cannot be kept: .*; want a folder"):
        cache_folder.ensure_writable_cache()


def test_a_folder_that_can_be_written_to_stays(monkeypatch):
    before = config.CACHE_DIR
    cache_folder.ensure_writable_cache()
    assert before == config.CACHE_DIR
