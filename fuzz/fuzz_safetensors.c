/* fuzz_safetensors.c - opening, and reading all that the header promised: io/safetensors.h; and a
 * state in pieces, as ranks write them: run/parts.h. */
#include "io/safetensors.h"
#include "fuzz/fuzz.h"
#include "run/parts.h"

#include <stdlib.h>
#include <string.h>

/* In memory of its own, so that a value too many is seen. */
static void read_pieces(const safetensors *s)
{
    enum { COUNT = 6 };
    device dev = fuzz_device();
    float *data = malloc(COUNT * sizeof *data);
    int64_t pieces = 0;
    if (!data) abort();
    named_tensor state = {.name = "a", .value = tensor_of(data, F32, SHAPE(2, 3))};
    fuzz_fine(pieces_fetch(s, &state, &dev, &pieces));
    if (pieces < 0 || pieces > COUNT) abort();
    free(data);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    safetensors *s;
    if (!fuzz_fine(safetensors_open(memory_file("file", bytes, n), &s))) return 0;
    for (int64_t i = 0; i < safetensors_count(s); i++) {
        const safetensors_entry *e = safetensors_entry_at(s, i);
        if (e->bytes < 0 || e->bytes > (int64_t)n || safetensors_find(s, e->name) != i) abort();
        void *data = malloc((size_t)e->bytes + 1);
        if (!data) abort();
        if (!fuzz_fine(safetensors_read(s, i, 0, e->bytes, data))) abort(); /* it was promised */
        free(data);
    }
    read_pieces(s);
    safetensors_close(s);
    return 0;
}

static void file(const char *header, size_t data)
{
    char bytes[1000] = {0};
    uint64_t length = strlen(header);
    memcpy(bytes, &length, sizeof length);
    memcpy(bytes + 8, header, length);
    fuzz_keep(bytes, 8 + length + data);
}

void fuzz_seed(void)
{
    file("{}", 0);
    file("{\"a@0\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]},\"a@4\":{\"dtype\":"
         "\"F32\",\"shape\":[2],\"data_offsets\":[16,24]}}",
         24);
    file("{\"a@0\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]},\"a@4\":{\"dtype\":"
         "\"F32\",\"shape\":[3],\"data_offsets\":[16,28]}}",
         28);
    file("{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}}  ", 24);
    file("{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"BF16\",\"shape\":[],"
         "\"data_offsets\":[0,2]},\"b\":{\"dtype\":\"I64\",\"shape\":[0,5],\"data_offsets\":[2,2]},"
         "\"c\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[2,5]}}",
         5);
    file("{\"a\":{\"dtype\":\"F64\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,8]}}", 8);
    file("{\"a\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"U8\","
         "\"shape\":[4],\"data_offsets\":[4,8]}}",
         8);
}
