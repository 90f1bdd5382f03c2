"""Sparse methods: places and values are coded at their entropy, and SparseLoCo's update is that of its definition."""

import math
import os
import subprocess
import sys

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from gradwire_common.layout.manifest import Layout, TensorSpec
from gradwire_common.methods.method import EncodeReport, Method
from gradwire_common.methods.registry import build_method
from gradwire_common.methods.sparse.blocks import blocks_of
from gradwire_common.methods.sparse.coder import StreamReader, StreamWriter
from gradwire_common.methods.sparse.method import subset_bits
from gradwire_common.methods.sparse.selection import largest_of_rows
from gradwire_common.methods.update import check_update, decode_update

F32 = npt.NDArray[np.float32]
SHAPES = {"matrix": (192, 128), "conv": (64, 32, 3, 3), "odd": (67, 10), "vector": (100,), "scalar": (), "none": (0, 4)}
LAYOUT = Layout([TensorSpec(name, shape) for name, shape in SHAPES.items()])


def encoded(method: Method, u: F32, memory: F32 | None = None, layout: Layout = LAYOUT) -> bytes:
    return b"".join(method.encoder(layout, memory).encode(u, EncodeReport()))


def decoded(method: Method, data: bytes, layout: Layout = LAYOUT) -> F32:
    out = np.full(layout.n_parameters, np.nan, np.float32)
    check_update(data, layout.parameters, method)
    decode_update(data, layout.parameters, out, method)
    return out


@pytest.mark.parametrize(("n", "k", "blocks"), [(4096, 64, 40), (4096, 4, 100), (64, 1, 400), (1 << 18, 300, 1)])
def test_places_take_as_many_bits_as_there_are_ways_to_choose_them(n: int, k: int, blocks: int) -> None:
    rng = np.random.default_rng(k)
    places = np.sort(np.argsort(rng.random((blocks, n)), axis=1)[:, :k], axis=1).reshape(-1)
    writer, counts = StreamWriter(), np.full(blocks, k, np.int64)
    writer.places(places, counts, n)
    stream = writer.end()
    assert 8 * len(stream) <= 1.002 * blocks * subset_bits(n, k) + 16
    assert_array_equal(StreamReader(stream).places(counts, n), places)


@pytest.mark.parametrize("shares", [[0.5, 0.5], [0.05, 0.45, 0.45, 0.05], [0.9, 0.05, 0.03, 0.02], [1.0]])
def test_symbols_take_their_entropy_and_nothing_for_their_distribution(shares: list[float]) -> None:
    symbols = np.random.default_rng(0).choice(len(shares), 4000, p=shares).astype(np.uint8)
    writer = StreamWriter()
    writer.symbols(symbols, len(shares))
    stream = writer.end()
    entropy = -sum(n * math.log2(n / symbols.size) for n in np.bincount(symbols) if n)
    assert 8 * len(stream) <= 1.01 * entropy + 32
    assert_array_equal(StreamReader(stream).symbols(symbols.size, len(shares)), symbols)


@given(st.data())
def test_whatever_is_written_is_read_back_and_the_stream_ends_there(data: st.DataObject) -> None:
    writer, written = StreamWriter(), []
    for _ in range(data.draw(st.integers(0, 4))):
        n, blocks = data.draw(st.integers(1, 70)), data.draw(st.integers(1, 5))
        sent = np.array(data.draw(st.lists(st.booleans(), min_size=n * blocks, max_size=n * blocks))).reshape(blocks, n)
        n_symbols = data.draw(st.integers(1, 256))
        symbols = np.array(data.draw(st.lists(st.integers(0, n_symbols - 1), max_size=30)), np.uint8)
        written.append((np.nonzero(sent)[1], sent.sum(1), n, symbols, n_symbols))
        writer.places(*written[-1][:3])
        writer.symbols(symbols, n_symbols)
    reader = StreamReader(writer.end())
    for places, counts, n, symbols, n_symbols in written:
        assert_array_equal(reader.places(counts, n), places)
        assert_array_equal(reader.symbols(symbols.size, n_symbols), symbols)
    reader.end()


UNCOMPILED = """
import numpy as np
from gradwire_common.methods.sparse.coder import StreamWriter
rng, writer = np.random.default_rng(0), StreamWriter()
for n, share in ((50, 0.1), (64, 1.0), (300, 0.5)):
    sent = rng.random((4, n)) < share
    writer.places(np.nonzero(sent)[1], sent.sum(1), n)
    writer.symbols(rng.choice(5, 200, p=[0.9, 0.05, 0.03, 0.01, 0.01]).astype(np.uint8), 5)
print(writer.end().hex())
"""


def test_the_coder_makes_the_same_bytes_uncompiled() -> None:
    made = [
        subprocess.run(
            [sys.executable, "-W", "error", "-c", UNCOMPILED],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "NUMBA_DISABLE_JIT": disabled},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for disabled in "01"
    ]
    assert made[0] == made[1] != "\n"


@pytest.mark.parametrize("shape", [shape for shape in SHAPES.values() if math.prod(shape)])
def test_blocks_are_the_squares_of_the_definition(shape: tuple[int, ...]) -> None:
    blocks = blocks_of(shape)
    entries = np.arange(math.prod(shape), dtype=np.float32)
    rows = blocks.split(entries)
    assert_array_equal(blocks.join(rows), entries)
    assert max(blocks.height, blocks.width) <= 64
    matrix = entries.reshape(1, -1) if len(shape) < 2 else entries.reshape(shape[0], -1)
    assert_array_equal(rows[0].reshape(blocks.height, blocks.width), matrix[: blocks.height, : blocks.width])
    assert_array_equal(rows[-1].reshape(blocks.height, blocks.width), matrix[-blocks.height :, -blocks.width :])


def test_the_largest_magnitudes_of_every_row_are_found() -> None:
    rows = np.random.default_rng(0).standard_normal((50, 97)).astype(np.float32)
    for k in (1, 5, 96, 97):
        got = largest_of_rows(rows, k)
        want = np.sort(np.argsort(-np.abs(rows), axis=1)[:, :k], axis=1)
        assert_array_equal(got, want)


def reference_step(tensor: F32, memory: F32) -> tuple[F32, F32]:
    """SparseLoCo's update of one tensor by its definition, block by block: what is decoded, and the new memory."""
    e = (tensor + np.float32(0.95) * memory).astype(np.float32)
    matrix = e.reshape(1, -1) if e.ndim < 2 else e.reshape(e.shape[0], -1)
    h, w = (max(d for d in range(1, 65) if side % d == 0) for side in matrix.shape)
    kept = np.zeros(matrix.shape, bool)
    for top in range(0, matrix.shape[0], h):
        for left in range(0, matrix.shape[1], w):
            block = np.abs(matrix[top : top + h, left : left + w])
            k = max(1, round(block.size * 64 / 4096))
            kept[top : top + h, left : left + w] = block >= np.sort(block, axis=None)[-k]
    values = matrix[kept].astype(np.float64)
    sigma = values.std(ddof=1) if values.size > 1 else 0.0
    bins = np.clip(np.round((values - values.mean()) / (1.5 * sigma or 1) + 2), 0, 3)
    out = np.zeros(matrix.shape, np.float32)
    out[kept] = [np.float32(values[bins == b].mean()) for b in bins]
    out = out.reshape(e.shape)
    return out, e - out


def test_sparseloco_is_its_definition_bit_for_bit_over_several_updates() -> None:
    method, rng = build_method("sparseloco", {}), np.random.default_rng(1)
    memory = np.zeros(LAYOUT.n_parameters, np.float32)
    encoder = method.encoder(LAYOUT, memory)
    want_memory = {name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()}
    for _ in range(3):
        update = rng.laplace(size=LAYOUT.n_parameters).astype(np.float32)
        u = update.copy()
        encoder.prepare(u)
        got = decoded(method, b"".join(encoder.encode(u, EncodeReport())))
        for name, shape in SHAPES.items():
            place = LAYOUT.slots[name]
            if math.prod(shape):
                want, want_memory[name] = reference_step(update[place].reshape(shape), want_memory[name])
                assert_array_equal(got[place].reshape(shape), want)
                assert_array_equal(memory[place].reshape(shape), want_memory[name])


def test_sparseloco_takes_less_than_two_thirds_of_what_its_authors_count() -> None:
    layout = Layout([TensorSpec("w", (512, 512)), TensorSpec("v", (256, 1024))])
    method, u = build_method("sparseloco", {}), np.random.default_rng(2).laplace(size=1 << 19).astype(np.float32)
    assert method.authors_bits(layout) == layout.n_parameters * 64 * 14 / 4096  # type: ignore[attr-defined]
    bits = 8 * len(encoded(method, u, layout=layout))
    ideal = layout.n_parameters / 4096 * (subset_bits(4096, 64) + 64 * 1.0)
    assert ideal < bits < 0.62 * method.authors_bits(layout)  # type: ignore[attr-defined]


@pytest.mark.parametrize("scope", ["model", "tensor", "block"])
@pytest.mark.parametrize("levels", [0, 1, 2, 16, 256])
def test_top_k_sends_the_largest_and_remembers_the_rest(scope: str, levels: int) -> None:
    method = build_method("topk", {"scope": scope, "levels": levels, "density": 0.02})
    u = np.random.default_rng(3).laplace(size=LAYOUT.n_parameters).astype(np.float32)
    memory = np.zeros_like(u)
    got = decoded(method, encoded(method, u, memory))
    assert_allclose(got + memory, u, rtol=1e-6, atol=1e-6)
    sent = got != 0
    assert abs(sent.mean() - 0.02) < 0.005
    if scope == "model":
        assert np.abs(u[sent]).min() > np.abs(u[~sent]).max()
    if levels in (0, 1):
        assert_array_equal(got[sent], u[sent])


@pytest.mark.parametrize(
    "method", [build_method("sparseloco", {}), build_method("topk", {}), build_method("topk", {"levels": 0})]
)
def test_an_update_of_zeros_is_zeros_again(method: Method) -> None:
    report, u = EncodeReport(), np.zeros(LAYOUT.n_parameters, np.float32)
    assert not decoded(method, b"".join(method.encoder(LAYOUT).encode(u, report))).any()
    assert report.silent
