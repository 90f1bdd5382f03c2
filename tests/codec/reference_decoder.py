"""A second decoder of frames, from docs/bitstream-format.md: plain, slow, and sharing nothing with the codec.

Bits are looked at one by one, codes are strings of "0" and "1", the incomplete gamma function is summed by hand.
ValueError says that by the document the bytes are no frame.
"""

import math
import struct
import zlib
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]

FLOAT32, BFLOAT16, FLOAT8_1_5_2, FLOAT8_1_4_3, FLOAT4_1_2_1, UNIFORM = range(6)
MINIFLOATS = {FLOAT8_1_5_2: (5, 2, 15), FLOAT8_1_4_3: (4, 3, 10), FLOAT4_1_2_1: (2, 1, 1)}  # exponent, mantissa, bias
RAW, TUPLES, RUNS, GROWING = range(4)
ONE = 1 << 30
MAX_RUN = 4096


def decode(data: bytes) -> F32:
    """Return the entries of the frame at the start of `data`.

    Raises:
        ValueError: the bytes are no frame.
    """
    header = read_header(data)
    frame = data[: header.end]
    want(len(frame) == header.end, "the frame is cut short")
    want(zlib.crc32(frame[:-4]) == int.from_bytes(frame[-4:], "little"), "the checksum is wrong")
    body = frame[header.start : -4]
    if header.coding == RAW:
        return raw_levels(header, body)
    want(header.n > 0, "a coded frame holds at least one entry")
    words, body = explicit_words(header, body) if header.explicit else (derived_words(header), body)
    check_fingerprint(header, words)
    sizes = [min(header.segment, header.n - start) for start in range(0, header.n, header.segment)]
    want(5 * len(sizes) <= len(body), "the index is cut short")
    index, place = [], 0
    for _ in range(5 * len(sizes)):
        number, place = varint(body, place, 5)
        index.append(number)
    levels: list[np.float32] = []
    for i, n in enumerate(sizes):
        lengths = index[5 * i : 5 * i + 5]
        n_raw = raw_bytes(n, header.raw_bits)
        segment = body[place : place + sum(lengths) + n_raw]
        want(len(segment) == sum(lengths) + n_raw, "a segment is cut short")
        place += len(segment)
        levels += segment_levels(header, words, n, segment, lengths)
    want(place == len(body), "bytes are left over")
    return np.array(levels, np.float32)


def want(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(what)


# -- header ----------------------------------------------------------------------------------------------


@dataclass
class Header:
    kind: int
    coding: int
    explicit: bool = False
    scale: float = 1.0  # step size or scale, a float32 number
    n: int = 0
    start: int = 0  # of the body
    end: int = 0  # of the frame
    beta_index: int = 0
    ratio_index: int = 0
    n_buckets: int = 0
    size: int = 0
    detail: int = 0
    max_length: int = 0
    raw_bits: int = 0
    origin: int = 0
    growth: int = 0
    segment: int = 0
    fingerprint: int = 0

    @property
    def largest(self) -> int:
        """Largest magnitude of a symbol."""
        if self.kind == UNIFORM:
            return min(1 << 20, math.floor(float(np.finfo(np.float32).max) / self.scale))
        exponent_bits, mantissa_bits, _ = MINIFLOATS[self.kind]
        return ((2**exponent_bits - 1) << mantissa_bits) - 1

    @property
    def width(self) -> int:
        """Magnitudes in a bucket."""
        return 1 << max(self.raw_bits - 1, 0)

    @property
    def modulus(self) -> int:
        """Buckets of magnitudes in all, whatever the step size."""
        if self.kind in (FLOAT32, BFLOAT16):
            return 255
        return (1 << 20 if self.kind == UNIFORM else self.largest) // self.width + 1

    @property
    def last_bucket(self) -> int:
        """Largest bucket that a symbol can have."""
        if self.kind in (FLOAT32, BFLOAT16):
            return 254
        if self.raw_bits == 0:
            return 2 * self.largest
        return self.largest // self.width if self.kind == UNIFORM else self.modulus - 1


def varint(data: bytes, place: int, most_bytes: int) -> tuple[int, int]:
    number = 0
    for i in range(most_bytes):
        want(place < len(data), "a number is cut short")
        number |= (data[place] & 127) << 7 * i
        place += 1
        if data[place - 1] < 128:
            return number, place
    raise ValueError("a number is too long")


def read_header(data: bytes) -> Header:
    want(data[:3] == b"GW\x01" and len(data) >= 5, "no frame starts here")
    header = Header(kind=data[3], coding=data[4] & 127, explicit=data[4] >= 128)
    want(header.kind <= UNIFORM, "unknown quantiser")
    want(header.coding <= GROWING and not (header.coding in (RAW, GROWING) and header.explicit), "unknown coding")
    place = 5
    if header.kind >= FLOAT8_1_5_2:
        want(len(data) >= 9, "the header is cut short")
        header.scale = struct.unpack("<f", data[5:9])[0]
        place = 9
        low, high = scale_limits(header)
        want(low <= header.scale <= high, "step size or scale out of range")
    header.n, place = varint(data, place, 7)
    body_length, place = varint(data, place, 7)
    want(body_length >= 4, "no room for the checksum")
    if header.coding == RAW:
        entry = {FLOAT32: 4, BFLOAT16: 2, UNIFORM: 4}.get(header.kind, 1)
        want(body_length == header.n * entry + 4, "a raw body of the wrong length")
    else:
        want(header.n <= body_length * 8 * MAX_RUN, "more entries than the body can hold")
        want(len(data) >= place + 8, "the header is cut short")
        fields = struct.unpack("<BhBBBBB", data[place : place + 8])
        header.beta_index, header.ratio_index, header.n_buckets, header.size, packed = fields[:5]
        header.detail, header.max_length = packed & 31, (packed >> 5) + 8
        header.raw_bits, header.origin = fields[5:]
        place += 8
        if header.coding == GROWING:
            want(len(data) > place, "the header is cut short")
            header.growth = data[place]
            place += 1
        check_scheme(header)
        header.segment, place = varint(data, place, 7)
        want(min(header.n, 1 << 10) <= header.segment <= 1 << 22, "segments of a forbidden length")
        want(len(data) >= place + 4, "the header is cut short")
        header.fingerprint = int.from_bytes(data[place : place + 4], "little")
        place += 4
    header.start, header.end = place, place + body_length
    return header


def scale_limits(header: Header) -> tuple[float, float]:
    if header.kind == UNIFORM:
        return 2.0**-126, 2.0**126
    return max(2.0**-126, magnitudes(header.kind)[-1] * 2.0**-127), 2.0**126


def check_scheme(header: Header) -> None:
    want(1 <= header.n_buckets <= 254 and 8 <= header.max_length <= 12, "a forbidden scheme")
    if header.kind == FLOAT32:
        want(header.raw_bits == 24 and header.coding != RUNS, "a forbidden scheme")
    elif header.kind == BFLOAT16:
        want(header.raw_bits == 8 and header.coding != RUNS, "a forbidden scheme")
    else:
        want(header.raw_bits <= 8, "a forbidden scheme")
        if header.kind == UNIFORM or header.raw_bits == 0:
            want(header.origin == 0, "a forbidden scheme")
    if header.raw_bits > 0:
        want(header.n_buckets <= header.modulus, "a forbidden scheme")
    if header.coding != RUNS:
        want(1 <= header.size <= 6 and 8 <= header.detail <= 20, "a forbidden scheme")
        most = 4096 if header.coding == TUPLES else 16384
        want((header.n_buckets + 1) ** header.size <= most, "a forbidden scheme")
        want(header.coding == TUPLES or (1 <= header.growth <= 63 and header.size >= 2), "a forbidden scheme")
    else:
        want(header.size >= 1 and header.detail <= 8 and header.size << header.detail <= MAX_RUN, "a forbidden scheme")
        want(header.size * header.n_buckets < 4096, "a forbidden scheme")
        want(header.raw_bits == 0, "a forbidden scheme")


# -- levels ----------------------------------------------------------------------------------------------


@cache
def magnitudes(kind: int) -> list[float]:
    """The levels >= 0 of a small float at scale 1."""
    exponent_bits, mantissa_bits, bias = MINIFLOATS[kind]
    found = []
    for exponent in range(2**exponent_bits - 1):
        for fraction in range(2**mantissa_bits):
            significand = (exponent > 0) + fraction / 2**mantissa_bits
            found.append(significand * 2.0 ** (max(exponent, 1) - bias))
    return found


def raw_levels(header: Header, body: bytes) -> F32:
    if header.kind == FLOAT32:
        levels = np.array(struct.unpack(f"<{header.n}f", body), np.float32)
    elif header.kind == BFLOAT16:
        levels = np.array([bits << 16 for bits in struct.unpack(f"<{header.n}H", body)], np.uint32).view(np.float32)
    elif header.kind == UNIFORM:
        symbols = struct.unpack(f"<{header.n}i", body)
        levels = np.array([grid_level(header, abs(symbol), symbol < 0) for symbol in symbols], np.float32)
    else:
        symbols = [index - header.largest for index in body]
        levels = np.array([grid_level(header, abs(symbol), symbol < 0) for symbol in symbols], np.float32)
    want(bool(np.isfinite(levels).all()), "an entry is not finite")
    return levels


def grid_level(header: Header, magnitude: int, negative: bool) -> np.float32:
    want(magnitude <= header.largest, "a symbol is beyond the grid")
    if magnitude == 0:
        return np.float32(0)
    if header.kind == UNIFORM:
        level = np.float32(magnitude) * np.float32(header.scale)
    else:
        level = np.float32(magnitudes(header.kind)[magnitude]) / np.float32(header.scale)
    return -level if negative else level


def level(header: Header, bucket: int, raw: int) -> np.float32:
    """The level of an entry, from its bucket and raw bits."""
    if header.kind in (FLOAT32, BFLOAT16):
        exponent = (bucket + header.origin) % 255
        top = raw >> 16 if header.kind == FLOAT32 else raw
        bits = exponent << 23 | (top & 127) << 16 | (top >> 7) << 31
        if header.kind == FLOAT32:
            bits |= raw & 0xFFFF
        return np.array(bits, np.uint32).view(np.float32)[()]
    if header.raw_bits == 0:
        return grid_level(header, (bucket + 1) // 2, bucket % 2 == 0)
    bucket = (bucket + header.origin) % header.modulus
    return grid_level(header, bucket * header.width + raw // 2, raw % 2 == 1)


# -- code lengths ----------------------------------------------------------------------------------------


@dataclass
class Words:
    """Code lengths, and what each word is: buckets, or None for the rare word; for runs zeros, and a bucket or None."""

    meaning: list
    lengths: list[int]
    rare_lengths: list[int]


def check_fingerprint(header: Header, words: Words) -> None:
    got = zlib.crc32(bytes(words.lengths) + bytes(words.rare_lengths))
    want(got == header.fingerprint, "the codebook is another than the encoder's")


def run_meaning(header: Header) -> list:
    meaning = [(c << header.detail, bucket) for c in range(header.size) for bucket in range(1, header.n_buckets + 1)]
    return [*meaning, (header.size << header.detail, None)]


def digits(header: Header, number: int) -> tuple[int, ...]:
    base = header.n_buckets + 1
    return tuple(number // base**place % base for place in range(header.size - 1, -1, -1))


def explicit_words(header: Header, body: bytes) -> tuple[Words, bytes]:
    n_tuples = (header.n_buckets + 1) ** header.size
    n = n_tuples + 1 + header.n_buckets + 1 if header.coding == TUPLES else header.size * header.n_buckets + 1
    halves = [half for byte in body for half in (byte & 15, byte >> 4)]
    lengths: list[int] = []
    place = 0

    def half() -> int:
        nonlocal place
        want(place < len(halves), "the code lengths are cut short")
        place += 1
        return halves[place - 1]

    while len(lengths) < n:
        value = half()
        want(value != 15, "a code length of 15")
        if value == 13:
            lengths += [0] * (half() + 3)
        elif value == 14:
            low = half()
            lengths += [0] * (low + 16 * half() + 19)
        else:
            lengths.append(value)
    want(len(lengths) == n, "too many code lengths")
    body = body[(place + 1) // 2 :]
    if header.coding == RUNS:
        check_code(header, lengths)
        return Words(run_meaning(header), lengths, []), body
    meaning: list = []
    for number in range(n_tuples):
        if lengths[number]:
            meaning.append(digits(header, number))
            want(header.n_buckets not in meaning[-1], "a code for a tuple with a bucket that is not coded")
    used = [length for length in lengths[:n_tuples] if length] + [lengths[n_tuples]]
    rare = lengths[n_tuples + 1 :]
    check_code(header, used)
    check_code(header, rare)
    return Words([*meaning, None], used, rare), body


def check_code(header: Header, lengths: list[int]) -> None:
    used = [length for length in lengths if length]
    want(all(length <= header.max_length for length in used), "a code is too long")
    want(used in ([], [1]) or sum(2.0**-length for length in used) == 1, "the Kraft sum is not 1")


DERIVED_MAX = 256  # what is kept of codebooks
_derived: dict[tuple, Words] = {}


def derived_words(header: Header) -> Words:
    key = (
        header.kind,
        header.coding,
        header.beta_index,
        header.ratio_index,
        header.n_buckets,
        header.size,
        header.detail,
        header.max_length,
        header.raw_bits,
        header.origin,
        header.growth,
    )
    if key not in _derived:
        if len(_derived) == DERIVED_MAX:
            _derived.clear()
        _derived[key] = {TUPLES: tuple_words, RUNS: run_words, GROWING: growing_words}[header.coding](header)
    return _derived[key]


def tuple_words(header: Header) -> Words:
    *buckets, beyond = bucket_weights(header)
    tuples = [((bucket,), weight) for bucket, weight in enumerate(buckets)]
    for _ in range(header.size - 1):
        tuples = [
            ((*word, bucket), weight * more >> 30) for word, weight in tuples for bucket, more in enumerate(buckets)
        ]
    least = max(ONE >> header.detail, 1)
    tuples = [(word, weight) for word, weight in tuples if weight >= least]
    weights = [weight for _, weight in tuples]
    rare = [max(weight - sum(w for word, w in tuples if word[0] == bucket), 1) for bucket, weight in enumerate(buckets)]
    return Words(
        [*(word for word, _ in tuples), None],
        code_lengths([*weights, max(ONE - sum(weights), 1)], header.max_length),
        code_lengths([*rare, max(beyond, 1)], header.max_length),
    )


def growing_words(header: Header) -> Words:
    *buckets, beyond = bucket_weights(header)
    limit = (8 - header.growth % 4) * 2**27 >> header.growth // 4
    growing, words = [((), ONE)], {}
    for size in range(1, header.size + 1):
        longer = [
            ((*word, bucket), weight * more >> 30) for word, weight in growing for bucket, more in enumerate(buckets)
        ]
        growing = [(word, weight) for word, weight in longer if weight >= limit and size < header.size]
        words.update({word: weight for word, weight in longer if weight < limit or size == header.size})
    least = max(ONE >> header.detail, 1)
    kept = sorted((word, weight) for word, weight in words.items() if weight >= least)
    weights = [weight for _, weight in kept]

    def rare_weight(bucket: int, own: int) -> int:
        total = 0
        for place in range(header.size):
            ended = sum(weight for word, weight in kept if len(word) <= place)
            covered = sum(weight for word, weight in kept if len(word) > place and word[place] == bucket)
            total += max(own - (own * ended >> 30) - covered, 0)
        return max(total, 1)

    rare = [rare_weight(bucket, own) for bucket, own in enumerate([*buckets, max(beyond, 1)])]
    return Words(
        [*(word for word, _ in kept), None],
        code_lengths([*weights, max(ONE - sum(weights), 1)], header.max_length),
        code_lengths(rare, header.max_length),
    )


def run_words(header: Header) -> Words:
    ends = [max(weight, 1) for weight in bucket_weights(header)[1:]]
    stay = max(ONE - sum(ends), 1)
    for _ in range(header.detail):
        stay = stay * stay >> 30
    weights, reach = [], ONE
    for _ in range(header.size):
        stop = reach * (ONE - stay) >> 30
        weights += [max(stop * ((end << 30) // sum(ends)) >> 30, 1) for end in ends]
        reach = reach * stay >> 30
    weights.append(max(reach, 1))
    return Words(run_meaning(header), code_lengths(weights, header.max_length), [])


def bucket_weights(header: Header) -> list[int]:
    """Weights of the coded buckets under the model that the header's indices name, and last that of all others."""
    n = header.n_buckets
    if header.raw_bits == 0:
        zero, *others, beyond = magnitude_weights(header, n // 2 + 1)
        coded = [zero, *(max(weight >> 1, 1) for weight in others for _ in range(2))]
        beyond += sum(coded[n:])
        coded = coded[:n]
    else:
        places = [(header.origin + bucket) % header.modulus for bucket in range(n)]
        weights = magnitude_weights(header, max(places) + 1)
        coded = [weights[place] for place in places]
        beyond = sum(weights) - sum(coded)
    largest = coded.index(max(coded))
    coded[largest] = max(ONE - sum(coded) + coded[largest] - beyond, 1)
    return [*coded, beyond]


def magnitude_weights(header: Header, n: int) -> list[int]:
    beta = 0.2 * 2.0 ** (header.beta_index / 48)
    alpha = 1 / 2.0 ** (header.ratio_index / 32)
    inside, outside = [0.0], [1.0]
    for border in lower_borders(header, n)[1:]:
        below, above = incomplete_gamma(1 / beta, power(border / alpha, beta))
        inside.append(below)
        outside.append(above)
    masses = [inside[i + 1] - inside[i] if inside[i] < 0.5 else outside[i] - outside[i + 1] for i in range(n)]
    weights = []
    for mass in [*masses, outside[-1]]:
        fraction, exponent = math.frexp(max(mass, 0.0) * ONE)
        rounded = math.ldexp(round(math.ldexp(fraction, 12)), exponent - 12)
        weights.append(max(round(rounded), 1))
    return weights


def lower_borders(header: Header, n: int) -> list[float]:
    """Lower borders of the first n buckets of magnitudes, and the upper border of the last."""
    if header.kind in (FLOAT32, BFLOAT16):
        return [0.0] + [2.0 ** (min(i, 255) - 127) for i in range(1, n + 1)]
    if header.kind == UNIFORM:
        return [max(i * header.width - 0.5, 0.0) for i in range(n + 1)]
    levels = magnitudes(header.kind)
    borders = [0.0] + [(a + b) / 2 for a, b in pairwise(levels)] + [math.inf]
    return [borders[min(i * header.width, len(borders) - 1)] for i in range(n + 1)]


def power(x: float, exponent: float) -> float:
    try:
        return x**exponent
    except OverflowError:
        return math.inf


def incomplete_gamma(a: float, x: float) -> tuple[float, float]:
    """The regularized incomplete gamma functions P(a, x) and Q(a, x)."""
    if x == 0:
        return 0.0, 1.0
    if math.isinf(x):
        return 1.0, 0.0
    scale = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:  # the power series
        term = total = 1 / a
        n = a
        while term > total * 1e-17:
            n += 1
            term *= x / n
            total += term
        return total * scale, 1 - total * scale
    b, c = x + 1 - a, 1e300  # Legendre's continued fraction, by Lentz' method
    d = 1 / b
    value = d
    for i in range(1, 10000):
        factor = -i * (i - a)
        b += 2
        d = 1 / (factor * d + b or 1e-300)
        c = b + factor / c or 1e-300
        value *= c * d
        if abs(c * d - 1) < 1e-16:
            break
    return 1 - value * scale, value * scale


def code_lengths(weights: list[int], max_length: int) -> list[int]:
    """Package-merge with whole lists of coins."""
    n = len(weights)
    want(n <= 1 << max_length, "more words than codes")
    if n == 1:
        return [1]
    ranks = sorted(range(n), key=lambda word: (weights[word], word))
    coins = [(weights[word], (word,)) for word in ranks]
    items = coins
    for _ in range(max_length - 1):
        pairs = [(a[0] + b[0], a[1] + b[1]) for a, b in zip(items[::2], items[1::2], strict=False)]
        items = sorted(coins + pairs, key=lambda item: item[0])  # stable: a coin before a pair of the same weight
    lengths = [0] * n
    for _, words in items[: 2 * n - 2]:
        for word in words:
            lengths[word] += 1
    return lengths


def codes(lengths: list[int]) -> dict[str, int]:
    """Canonical codes, shorter first, then by word; as the bits in the order in which a stream has them."""
    found, code, before = {}, 0, 0
    for length, word in sorted((length, word) for word, length in enumerate(lengths) if length):
        code <<= length - before
        found[format(code, f"0{length}b")] = word
        code, before = code + 1, length
    return found


# -- segments --------------------------------------------------------------------------------------------


class Bits:
    """A bitstream, from the low end of each byte on."""

    def __init__(self, data: bytes):
        self.bits = "".join(format(byte, "08b")[::-1] for byte in data)
        self.place = 0

    def number(self, n_bits: int) -> int:
        want(self.place + n_bits <= len(self.bits), "a bitstream is cut short")
        self.place += n_bits
        return int(self.bits[self.place - n_bits : self.place][::-1] or "0", 2)

    def word(self, of_code: dict[str, int]) -> int:
        code = ""
        while code not in of_code:
            want(self.place < len(self.bits) and len(code) < 12, "bits that start no code")
            code += self.bits[self.place]
            self.place += 1
        return of_code[code]

    def extra(self) -> int:
        """By how much a bucket exceeds the coded ones."""
        n_bits = self.number(5)
        want(n_bits <= 21, "a bucket of too many bits")
        return self.number(n_bits)

    def end(self) -> None:
        want((self.place + 7) // 8 == len(self.bits) // 8, "a bitstream has bytes left over")


def segment_levels(header: Header, words: Words, n: int, data: bytes, lengths: list[int]) -> list[np.float32]:
    size = 1 if header.coding == RUNS else header.size
    quarter = -(-n // (4 * size)) * size
    place, streams = 0, []
    for length in lengths:
        streams.append(Bits(data[place : place + length]))
        place += length
    rare_list = streams.pop()
    of_code, of_rare = codes(words.lengths), codes(words.rare_lengths)
    buckets: list[int] = []
    for i, stream in enumerate(streams):
        count = min((i + 1) * quarter, n) - min(i * quarter, n)
        read = run_buckets if header.coding == RUNS else tuple_buckets
        buckets += read(header, words, count, stream, of_code, rare_list, of_rare)
        stream.end()
    rare_list.end()
    raws = raw_numbers(data[place:], n, header.raw_bits)
    return [level(header, bucket, raw) for bucket, raw in zip(buckets, raws, strict=True)]


def tuple_buckets(header, words, count, stream, of_code, rare_list, of_rare) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        word = words.meaning[stream.word(of_code)]
        if word is not None:
            found += word
            continue
        for _ in range(header.size):
            bucket = rare_list.word(of_rare)
            if bucket < header.n_buckets:
                found.append(bucket)
                continue
            bucket += rare_list.extra()
            want(bucket <= header.last_bucket, "a bucket is beyond the grid")
            want(len(found) < count, "padding that is not coded")
            found.append(bucket)
    return found[:count]


def run_buckets(header, words, count, stream, of_code, rare_list, of_rare) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        zeros, bucket = words.meaning[stream.word(of_code)]
        if bucket is None:
            found += [0] * zeros
            continue
        found += [0] * (zeros + stream.number(header.detail))
        if bucket == header.n_buckets:
            bucket += stream.extra()
            want(bucket <= header.last_bucket, "a bucket is beyond the grid")
        want(len(found) < count, "an entry after the last")
        found.append(bucket)
    return found[:count]


def raw_bytes(n: int, raw_bits: int) -> int:
    columns = n // 64 * 8 + -(-(n % 64) // 8)
    return columns * raw_bits


def raw_numbers(data: bytes, n: int, raw_bits: int) -> list[int]:
    """The raw bits of every entry; 24 bits are three planes of 8, the lowest first."""
    if raw_bits == 24:
        third = len(data) // 3
        planes = [raw_numbers(data[i * third : (i + 1) * third], n, 8) for i in range(3)]
        return [low | middle << 8 | high << 16 for low, middle, high in zip(*planes, strict=True)]
    found: list[int] = []
    place = 0
    while len(found) < n:
        group = min(64, n - len(found))
        width = -(-group // 8)
        columns = [
            int.from_bytes(data[place + column : place + width * raw_bits : width], "little") for column in range(width)
        ]
        for entry in range(group):
            found.append(columns[entry % width] >> raw_bits * (entry // width) & ((1 << raw_bits) - 1))
        place += width * raw_bits
    return found
