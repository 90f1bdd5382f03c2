"""The tuned constants of the choice of words. Other values change no format, only what the encoder chooses.

What measures each group is named above it; docs/performance.md has the figures. The processor cycles are those of an
AMD Zen 4; only their ratios matter.
"""

from gradwire_common.codec.kernels.words.tables import PACKED_WIDTHS
from gradwire_common.codec.words.scheme import ONE

# What the format and the tables of encoder and decoder have room for.
RARE_BUCKET = ONE >> 15  # a bucket of less weight is not coded
MOST_BUCKETS = 250
MOST_BUCKETS_OF_SIZE = (MOST_BUCKETS, 63, 15, 7, 3, 3)  # (n + 1)**size <= MAX_WORDS; odd, for both signs
MOST_BUCKETS_TO_GROW = {2: 63, 3: 23, 4: 9, 5: 5}  # by size; (n + 1)**size <= MAX_GROWN_TUPLES
MOST_PACKED = (1 << min(PACKED_WIDTHS)) - 3  # buckets of which most fit in a look-up, else one less
MAX_LENGTH = 12  # bits

# Cycles: python benchmarks/codec_parts.py, its columns of words, rare words, raw bits and encoding.
LOOK_UP, SLOW_LOOK_UP = 2.0, 3.0
RARE_WORD, RARE_BUCKET_TIME = 40, 15
RAW_TIME = 0.2
RUN_TIME = 20  # of a run's word, half of them by encoding it
PARSE_TIME = 2.5  # that encoding an entry takes more where words grow
CUT_WORDS = 0.4  # of a word: what the end of a look-up's bits mostly holds

# Bits against time: make bench-codec, bits above entropy (`coders`, `rates`) and `decode_vs_huff0`.
BITS_FOR_TIME = 0.006  # share of the bits that a cycle of decoding is worth ...
MOST_EXCESS = 0.0088  # ... up to this share above the entropy; what is beyond it weighs EXCESS_WEIGHT times
EXCESS_WEIGHT = 9.0
PROMISED_EXCESS = 0.0097  # of the words; index, rest of the last byte and the fit's error make it a percent
BROKEN_PROMISE = 0.02  # share of the bits
EXTRA_BITS = 10.0  # rough cost of saying which bucket beyond the coded ones it is

# Which schemes are tried: make bench-codec, bits above entropy against the milliseconds of a codebook (`codebooks`).
FEW_ENTRIES = 1 << 16  # of fewer, half a percent of the bits is at most 80 bytes: not worth a millisecond's choice
FEW_MAGNITUDES = 64
MOST_WEIGHED = 255  # magnitudes of a format that are all weighed; of more, those within reach
FEW_MORE = 6  # buckets
COARSE_BETA, COARSE_RATIO = 4, 2  # steps of the grid
DETAILS = (14, 13, 12)  # of tuples; with more words, the limit to their codes' length costs more than it gains
GROWTHS = (11, 15, 20, 23, 29)  # with all of 2 to 43, uniform at 90 rates would lose a hundredth less
CLASSES_AND_REACH = ((8, 0.75), (8, 1.5), (8, 3.0), (16, 1.5), (32, 1.5), (4, 1.5))  # of runs; reach in mean runs
MORE_CLASSES_AND_REACH = ((12, 2.6), (16, 3.3), (20, 2.0), (6, 0.65), (5, 2.0))
SEGMENT_BITS = 6 << 16  # predicted bits of a segment: its index costs 0.02 % of that
SEGMENT_QUANTUM = 256  # entries
MAX_SEGMENT_ENTRIES = 1 << 22

# When the data's own code lengths are sent: make bench-codec ARGS="--gradients FILE", the rows as `encode_frame` sends.
LEAST_ENTRIES = 512  # of a tensor whose own code lengths may be worth sending
CHUNK = 1024  # entries; a sample in chunks keeps runs of zeros
LEAST_SAMPLE, MOST_SAMPLE = 1 << 14, 1 << 17  # entries; an eighth of a segment in between
MOST_COUNTED = 1 << 12  # buckets that are told apart
SUSPICIOUS = 1.015  # bits over entropy that make another codebook worth trying
LEAST_GAIN = 0.01  # share of the bits
HALF_BYTE = 4.0  # bits; a length is sent as one
OPTIMISM = 1.44  # bits by which a code made from a sample does better there than elsewhere, a free parameter
FEW_BUCKETS = (250, 63, 15, 7)  # alphabets that are tried, where the sample has as many buckets
UNSEEN = 0.25  # count of a bucket that the sample does not hold
