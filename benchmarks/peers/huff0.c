/* Huff0 over a buffer of any length, in blocks of at most 128 KiB, as zstd uses it.
 *
 * Links against the static libzstd of Debian's libzstd-dev (1.5.4 or later), whose HUF_ functions are internal: their
 * prototypes stand here because no installed header has them.
 *
 * A block is its compressed length (3 bytes, little-endian) followed by its bytes; 0 means that the block is stored.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define BLOCK 131072     /* bytes; the largest that Huff0 takes */
#define TABLE_LOG 11     /* bits; what zstd uses for literals */
#define FLAG_BMI2 1
#define WORKSPACE 65536  /* bytes; more than any of the functions asks for */
#define LENGTH_BYTES 3

extern unsigned ZSTD_versionNumber(void);
extern unsigned HUF_isError(size_t code);
extern size_t HUF_compress4X_repeat(void *dst, size_t dst_size, const void *src, size_t src_size, unsigned max_symbol,
                                    unsigned table_log, void *workspace, size_t workspace_size, size_t *table,
                                    int *repeat, int flags);
extern size_t HUF_buildCTable_wksp(size_t *table, const unsigned *count, uint32_t max_symbol, uint32_t max_bits,
                                   void *workspace, size_t workspace_size);
extern size_t HUF_writeCTable_wksp(void *dst, size_t dst_size, const size_t *table, unsigned max_symbol,
                                   unsigned table_log, void *workspace, size_t workspace_size);
extern size_t HUF_compress4X_usingCTable(void *dst, size_t dst_size, const void *src, size_t src_size,
                                         const size_t *table, int flags);
extern size_t HUF_decompress4X_hufOnly_wksp(uint32_t *table, void *dst, size_t dst_size, const void *src,
                                            size_t src_size, void *workspace, size_t workspace_size, int flags);
extern uint32_t HUF_selectDecoder(size_t dst_size, size_t src_size);
extern size_t HUF_readDTableX1_wksp(uint32_t *table, const void *src, size_t src_size, void *workspace,
                                    size_t workspace_size, int flags);
extern size_t HUF_readDTableX2_wksp(uint32_t *table, const void *src, size_t src_size, void *workspace,
                                    size_t workspace_size, int flags);
extern size_t HUF_decompress4X_usingDTable(void *dst, size_t dst_size, const void *src, size_t src_size,
                                           const uint32_t *table, int flags);

static _Thread_local uint64_t workspace[WORKSPACE / 8];
static _Thread_local uint32_t decode_table[1 + (1 << 12)];

static int flags(void)
{
    return __builtin_cpu_supports("bmi2") ? FLAG_BMI2 : 0;
}

static void put_length(uint8_t *at, size_t length)
{
    at[0] = (uint8_t)length;
    at[1] = (uint8_t)(length >> 8);
    at[2] = (uint8_t)(length >> 16);
}

static size_t get_length(const uint8_t *at)
{
    return (size_t)at[0] | (size_t)at[1] << 8 | (size_t)at[2] << 16;
}

unsigned huff0_version(void)
{
    return ZSTD_versionNumber();
}

/* The most bytes that either encoder writes for n symbols. */
size_t huff0_bound(size_t n)
{
    return n + (n / BLOCK + 1) * (LENGTH_BYTES + 1024) + 1024;
}

static size_t finish_block(uint8_t *at, const uint8_t *symbols, size_t size, size_t length)
{
    if (length <= 1 || length >= size) { /* Huff0 gave up, or found a single symbol */
        put_length(at, 0);
        memcpy(at + LENGTH_BYTES, symbols, size);
        return LENGTH_BYTES + size;
    }
    put_length(at, length);
    return LENGTH_BYTES + length;
}

/* A table per block, from a histogram of the block. Returns bytes written, 0 on failure. */
size_t huff0_encode(uint8_t *out, size_t out_size, const uint8_t *symbols, size_t n)
{
    size_t place = 0;
    const int f = flags();
    for (size_t start = 0; start < n; start += BLOCK) {
        const size_t size = n - start < BLOCK ? n - start : BLOCK;
        const size_t length = HUF_compress4X_repeat(out + place + LENGTH_BYTES, out_size - place - LENGTH_BYTES,
                                                    symbols + start, size, 255, TABLE_LOG, workspace, WORKSPACE,
                                                    NULL, NULL, f);
        if (HUF_isError(length))
            return 0;
        place += finish_block(out + place, symbols + start, size, length);
    }
    return place;
}

/* Returns symbols written, 0 on failure. */
size_t huff0_decode(uint8_t *symbols, size_t n, const uint8_t *in, size_t in_size)
{
    size_t place = 0;
    const int f = flags();
    for (size_t start = 0; start < n; start += BLOCK) {
        const size_t size = n - start < BLOCK ? n - start : BLOCK;
        const size_t length = get_length(in + place);
        place += LENGTH_BYTES;
        if (place + (length ? length : size) > in_size)
            return 0;
        if (length == 0) {
            memcpy(symbols + start, in + place, size);
            place += size;
            continue;
        }
        decode_table[0] = 12 * 0x01000001u; /* what the table is large enough for, in both halves of its header */
        if (HUF_decompress4X_hufOnly_wksp(decode_table, symbols + start, size, in + place, length, workspace,
                                          WORKSPACE, f) != size)
            return 0;
        place += length;
    }
    return n;
}

/* One table for all blocks, from a histogram that is given (256 counts). Returns bytes written, 0 on failure. */
size_t huff0_encode_shared(uint8_t *out, size_t out_size, const uint8_t *symbols, size_t n, const unsigned *count)
{
    size_t table[257] = {0};
    unsigned largest = 255;
    while (largest > 0 && count[largest] == 0)
        largest--;
    const size_t bits = HUF_buildCTable_wksp(table, count, largest, TABLE_LOG, workspace, WORKSPACE);
    if (HUF_isError(bits))
        return 0;
    const size_t header = HUF_writeCTable_wksp(out + LENGTH_BYTES, out_size - LENGTH_BYTES, table, largest,
                                               (unsigned)bits, workspace, WORKSPACE);
    if (HUF_isError(header))
        return 0;
    put_length(out, header);
    size_t place = LENGTH_BYTES + header;
    const int f = flags();
    for (size_t start = 0; start < n; start += BLOCK) {
        const size_t size = n - start < BLOCK ? n - start : BLOCK;
        const size_t length = HUF_compress4X_usingCTable(out + place + LENGTH_BYTES, out_size - place - LENGTH_BYTES,
                                                         symbols + start, size, table, f);
        if (HUF_isError(length))
            return 0;
        place += finish_block(out + place, symbols + start, size, length);
    }
    return place;
}

/* Returns symbols written, 0 on failure. */
size_t huff0_decode_shared(uint8_t *symbols, size_t n, const uint8_t *in, size_t in_size)
{
    const int f = flags();
    const size_t header = get_length(in);
    size_t place = LENGTH_BYTES + header;
    decode_table[0] = 12 * 0x01000001u;
    const uint32_t pairs = HUF_selectDecoder(n < BLOCK ? n : BLOCK, in_size / (n / BLOCK + 1));
    const size_t got = pairs ? HUF_readDTableX2_wksp(decode_table, in + LENGTH_BYTES, header, workspace, WORKSPACE, f)
                             : HUF_readDTableX1_wksp(decode_table, in + LENGTH_BYTES, header, workspace, WORKSPACE, f);
    if (HUF_isError(got))
        return 0;
    for (size_t start = 0; start < n; start += BLOCK) {
        const size_t size = n - start < BLOCK ? n - start : BLOCK;
        const size_t length = get_length(in + place);
        place += LENGTH_BYTES;
        if (place + (length ? length : size) > in_size)
            return 0;
        if (length == 0)
            memcpy(symbols + start, in + place, size);
        else if (HUF_decompress4X_usingDTable(symbols + start, size, in + place, length, decode_table, f) != size)
            return 0;
        place += length ? length : size;
    }
    return n;
}
