/* fuzz_unpack.c - compressed texts: base/unpack.h */
#include "base/unpack.h"
#include "fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#ifdef WITH_ZSTD
#include <zstd.h>
#endif

/* The limit is small: what is taken above 256 KiB, AddressSanitizer takes from the system and gives
 * back each time. */
enum { MOST = 1 << 16, BEFORE = 3 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    size_t used = n + BEFORE, capacity = used;
    uint8_t *text = malloc(used);
    if (!text) abort();
    memset(text, 'x', BEFORE);
    memcpy(text + BEFORE, bytes, n);
    if (fuzz_fine(unpack("FILE", &text, &used, &capacity, BEFORE, MOST))) {
        volatile uint8_t sum = 0;
        for (size_t i = 0; i < used; i++)
            sum = (uint8_t)(sum + text[i]);
        if (memcmp(text, "xxx", BEFORE) != 0) abort();
    }
    free(text);
    return 0;
}

void fuzz_seed(void)
{
    static const char text[] = "a text, a text, and once more a text";
    uint8_t packed[300];
    z_stream z = {.next_in = (Bytef *)(size_t)text,
                  .avail_in = sizeof text - 1,
                  .next_out = packed,
                  .avail_out = sizeof packed};
    if (deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) abort();
    deflate(&z, Z_FINISH);
    fuzz_keep(packed, sizeof packed - z.avail_out);
    deflateEnd(&z);
#ifdef WITH_ZSTD
    fuzz_keep(packed, ZSTD_compress(packed, sizeof packed, text, sizeof text - 1, 3));
#endif
    fuzz_keep(text, sizeof text - 1);
}
