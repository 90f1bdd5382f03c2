"""Ways to damage a frame. Each takes frames and a random generator and returns bytes."""

import random
import struct
import zlib
from collections.abc import Callable, Sequence

CHECKSUM_BYTES = 4
KIND_PLACE, N_ENTRIES_PLACE = 3, 5  # bytes into a frame
FIRST_SCALED_KIND, SCALE_BYTES = 2, 4  # kinds that have a float32 before the number of entries
VARINT_MAX_BYTES = 7
HEADER_REACH = 48  # bytes; most header fields lie before it
INTERESTING = (0, 1, 2, 3, 4, 7, 8, 11, 12, 15, 16, 31, 32, 63, 64, 127, 128, 129, 191, 192, 254, 255)

Mutation = Callable[[Sequence[bytes], random.Random], bytes]


def seal(body: bytes) -> bytes:
    """Append the checksum that makes `body` look undamaged, so that the damage gets past it."""
    return body + struct.pack("<I", zlib.crc32(body))


def resize(body: bytes) -> bytes:
    """Put the length in the header right, where there still is a header, then seal."""
    place = N_ENTRIES_PLACE + (SCALE_BYTES if len(body) > KIND_PLACE and body[KIND_PLACE] >= FIRST_SCALED_KIND else 0)
    for _ in range(VARINT_MAX_BYTES):  # skip the number of entries
        place += 1
        if body[place - 1 : place] < b"\x80":
            break
    end = place
    for _ in range(VARINT_MAX_BYTES):
        end += 1
        if body[end - 1 : end] < b"\x80":
            break
    length, number = len(body) - end + CHECKSUM_BYTES, bytearray()
    while length >= 0x80:
        number.append(length & 0x7F | 0x80)
        length >>= 7
    return seal(body[:place] + bytes(number) + bytes((max(length, 0),)) + body[end:])


def noise(_: Sequence[bytes], rng: random.Random) -> bytes:
    """Return bytes that never were a frame; half of them start like one."""
    start = b"GW\x01" if rng.random() < 0.5 else b""
    return start + rng.randbytes(rng.randrange(200))


def sealed_noise(frames: Sequence[bytes], rng: random.Random) -> bytes:
    """Return a frame's header before random bytes, with a right length and checksum."""
    frame = rng.choice(frames)
    kept = rng.randrange(min(HEADER_REACH, len(frame)))
    return resize(frame[:kept] + rng.randbytes(rng.choice((0, 1, 9, 40, 200))))


def truncate(frames: Sequence[bytes], rng: random.Random) -> bytes:
    """Cut a frame short anywhere."""
    frame = rng.choice(frames)
    return frame[: rng.randrange(len(frame))]


def flip_bits(frames: Sequence[bytes], rng: random.Random) -> bytes:
    """Flip one to eight bits; the checksum tells."""
    return bytes(_flip(bytearray(rng.choice(frames)), rng))


def flip_bits_sealed(frames: Sequence[bytes], rng: random.Random) -> bytes:
    """Flip one to eight bits anywhere and put the checksum right."""
    return seal(bytes(_flip(bytearray(rng.choice(frames)[:-CHECKSUM_BYTES]), rng)))


def change_header(frames: Sequence[bytes], rng: random.Random) -> bytes:
    """Set one to three bytes near the start to values that borders are made of; put the checksum right."""
    body = bytearray(rng.choice(frames)[:-CHECKSUM_BYTES])
    for _ in range(rng.randint(1, 3)):
        body[rng.randrange(min(HEADER_REACH, len(body)))] = rng.choice(INTERESTING)
    return seal(bytes(body))


def change_numbers(frames: Sequence[bytes], rng: random.Random) -> bytes:
    """Add a little to, or replace, two or four bytes anywhere; put the checksum right."""
    body = bytearray(rng.choice(frames)[:-CHECKSUM_BYTES])
    size = rng.choice((1, 2, 4))
    if len(body) >= size:
        place = rng.randrange(len(body) - size + 1)
        number = int.from_bytes(body[place : place + size], "little")
        limit = 1 << 8 * size
        number = rng.choice((number + rng.randint(-3, 3), 0, limit - 1, limit // 2, rng.randrange(limit))) % limit
        body[place : place + size] = number.to_bytes(size, "little")
    return seal(bytes(body))


def move_bytes(frames: Sequence[bytes], rng: random.Random) -> bytes:
    """Insert, drop or repeat a few bytes near the start; put length and checksum right."""
    body = rng.choice(frames)[:-CHECKSUM_BYTES]
    place = rng.randrange(min(2 * HEADER_REACH, len(body)))
    n = rng.randint(1, 8)
    middle = rng.choice((b"", rng.randbytes(n), 2 * body[place : place + n]))
    return resize(body[:place] + middle + body[place + n :])


def cut_body(frames: Sequence[bytes], rng: random.Random) -> bytes:
    """Cut a frame short anywhere after its header's start; put length and checksum right."""
    body = rng.choice(frames)[:-CHECKSUM_BYTES]
    return resize(body[: rng.randrange(min(HEADER_REACH // 2, len(body)), len(body) + 1)])


def splice(frames: Sequence[bytes], rng: random.Random) -> bytes:
    """Put the start of one frame before the end of another, at the same place; put the checksum right."""
    first, second = rng.choice(frames), rng.choice(frames)
    place = rng.randrange(min(len(first), len(second)))
    return seal(first[:place] + second[place:-CHECKSUM_BYTES])


def extend(frames: Sequence[bytes], rng: random.Random) -> bytes:
    """Leave the frame whole and put more bytes behind it, as in a push."""
    return rng.choice(frames) + rng.randbytes(rng.randrange(1, 20))


def _flip(body: bytearray, rng: random.Random) -> bytearray:
    for _ in range(rng.randint(1, 8)):
        body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
    return body


MUTATIONS: tuple[Mutation, ...] = (
    noise,
    sealed_noise,
    truncate,
    flip_bits,
    flip_bits_sealed,
    change_header,
    change_numbers,
    move_bytes,
    cut_body,
    splice,
    extend,
)
