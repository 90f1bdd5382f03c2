"""curves.png of every kind of run, and what a command says at its beginning and its end."""

import math

import pytest
from PIL import Image

from cli.recorded import history, record
from gradwire.views.curves_plot import AXES, _loss, _places, draw_curves
from gradwire.views.history import History


def rows_of(path):
    with Image.open(path) as image:
        return image.height, image.width


@pytest.mark.parametrize("rounds", [0, 1, 5, 120])
def test_a_picture_is_drawn_of_however_little_there_is(tmp_path, rounds):
    draw_curves(tmp_path / "a.png", [history(rounds=rounds)], "run $x_1$ of _a_")
    draw_curves(tmp_path / "b.png", [history(rounds=rounds), history("float32", rounds=0)])
    assert rows_of(tmp_path / "a.png")[1] == 110 * 4 * len(AXES)


def test_the_training_loss_has_a_row_where_it_is_known(tmp_path):
    known, unknown = history(rounds=20), History("quiet")
    unknown.include([record(n, loss=math.nan) for n in range(1, 21)], known.evaluations)
    draw_curves(tmp_path / "known.png", [known])
    draw_curves(tmp_path / "unknown.png", [unknown])
    assert rows_of(tmp_path / "known.png")[0] > rows_of(tmp_path / "unknown.png")[0]
    assert len(_loss([known, unknown]).lines[1].values) == 0


def test_values_lie_where_bytes_and_seconds_had_come_to(tmp_path):
    run = history(rounds=4)
    assert _places("round", run, [2, 4]) == [2, 4]
    assert _places("bytes_up", run, [2, 4]) == [2 * run.rounds[0].bytes_up, 4 * run.rounds[0].bytes_up]
    assert _places("bytes_down", run, [4]) == [run.bytes_down]
    assert _places("seconds", run, [0, 4]) == pytest.approx([0, run.seconds])


def test_a_server_leaves_curves_and_says_what_it_loads_and_where_the_result_lies(start, tmp_path):
    server = start("server", "--listen", "127.0.0.1:0", "--workers", 1, "--rounds", 3, "--name", "alone")
    address = server.wait_for(r"^listening on (\S+)")
    assert "loading torch" in server.said
    worker = start("worker", "--server", address, "--task", "synthetic", "--parameters", "1000")
    assert worker.wait() == 0
    assert "loading torch" in worker.said
    assert server.wait() == 0
    assert "the run came to round 3" in server.said
    assert 'gradwire.load_weights(model, "runs/alone/weights.safetensors")' in server.said
    assert (tmp_path / "runs/alone/curves.png").stat().st_size > 1000


def test_train_says_what_it_does_from_the_first_second_and_how_to_load_the_result(run):
    ended = run("train", "--task", "synthetic", "--parameters", "1000", "--workers", 1, "--rounds", 2, "--name", "t")
    assert ended.code == 0, ended.err
    assert ended.out.startswith("loading the codec's kernels")
    assert "starting a server and 1 workers\n" in ended.out
    assert 'gradwire.load_weights(model, "runs/t/weights.safetensors")' in ended.out
