import pytest

from gradwire_common.errors import UsageError
from gradwire_server.store.run_folder import run_folder


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "runs" / "demo"


def make_run(folder, text):
    with run_folder(folder) as held:
        (folder / "metrics.jsonl").write_text(text)
    return held.set_aside


def test_the_newest_run_has_the_name_and_older_ones_a_number(folder):
    assert make_run(folder, "first") is None
    assert make_run(folder, "second") == folder.with_name("demo.1")
    assert make_run(folder, "third") == folder.with_name("demo.2")
    got = [(place / "metrics.jsonl").read_text() for place in (folder, *map(folder.with_name, ("demo.1", "demo.2")))]
    assert got == ["third", "first", "second"]


def test_an_empty_folder_is_used_as_it_is(folder):
    folder.mkdir(parents=True)
    assert make_run(folder, "first") is None


def test_a_folder_that_is_no_run_is_left_alone(folder):
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="exists and is no run of gradwire; want another --name"):
        make_run(folder, "first")
    assert [place.name for place in folder.iterdir()] == ["thesis.tex"]


def test_two_runs_of_one_name_do_not_write_to_one_folder(folder):
    with (
        run_folder(folder),
        pytest.raises(UsageError, match=r"another process \(pid \d+\) is writing to it"),
        run_folder(folder),
    ):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"file/demo: .*; want a folder that can be written"):
        make_run(tmp_path / "file" / "demo", "first")
