/* test_safetensors.c - what is written is read, in every bit; what is not whole is refused in one
 * line, and no size that a file claims is believed. */
#include "io/safetensors.h"
#include "run/parts.h"
#include "test/host.h"
#include "test/scratch.h"

#include <fcntl.h>
#include <sys/resource.h>

#ifdef __SANITIZE_ADDRESS__
enum { WITH_LIMIT = 0 };
#else
enum { WITH_LIMIT = 1 };
#endif

/* ---- files by hand ---- */

/* A file with this header and n bytes of data behind it, 0, 1, 2 ... */
static void write_file(const char *path, const char *header, size_t n)
{
    uint64_t length = strlen(header);
    uint8_t *all = malloc(8 + length + n);
    assert_non_null(all);
    memcpy(all, &length, 8);
    memcpy(all + 8, header, length);
    for (size_t i = 0; i < n; i++)
        all[8 + length + i] = (uint8_t)i;
    file_write(path, all, 8 + length + n);
    free(all);
}

static void refused(void **state, const char *header, size_t n, const char *why)
{
    char *path = scratch_path(state, "bad.safetensors");
    safetensors *s = NULL;
    write_file(path, header, n);
    fails(safetensors_open(path, &s), path, why);
    free(path);
}

#define ENTRY(dtype, shape, from, to)                                                              \
    "{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" #from "," #to "]}"
#define A "{\"a\":" ENTRY("F32", "2", 0, 8)

/* ---- a good file ---- */

static void test_reads_a_file(void **state)
{
    char *path = scratch_path(state, "good.safetensors");
    write_file(
        path,
        "{ \"z\" : " ENTRY(
            "U8", "3", 8, 11) ",\n\"__metadata__\":{\"format\":\"pt\"},"
                              "\"a\\n\\u00e9\":" ENTRY("F32", "1,2", 0, 8) ",\"none\":" ENTRY(
                                  "F16", "0,7", 8, 8) ",\"one\":" ENTRY("BF16", "", 11, 13) "}    ",
        13);
    safetensors *s;
    ok(safetensors_open(path, &s));
    assert_int_equal(safetensors_count(s), 4);
    assert_string_equal(safetensors_path(s), path);
    int64_t i = safetensors_find(s, "a\n\xc3\xa9");
    assert_true(i >= 0);
    const safetensors_entry *e = safetensors_entry_at(s, i);
    assert_string_equal(e->dtype, "F32");
    assert_int_equal(e->type, F32);
    assert_int_equal(e->rank, 2);
    assert_int_equal(e->dim[0], 1);
    assert_int_equal(e->dim[1], 2);
    assert_int_equal(e->bytes, 8);
    i = safetensors_find(s, "z");
    uint8_t bytes[3] = {0};
    ok(safetensors_read(s, i, 1, 2, bytes));
    assert_int_equal(bytes[0], 9);
    assert_int_equal(bytes[1], 10);
    error *wrong = safetensors_read(s, i, 2, 2, bytes);
    assert_non_null(wrong);
    assert_int_equal(error_kind_of(wrong), ERR_INTERNAL);
    error_free(wrong);
    assert_int_equal(safetensors_entry_at(s, safetensors_find(s, "none"))->bytes, 0);
    e = safetensors_entry_at(s, safetensors_find(s, "one"));
    assert_int_equal(e->rank, 0);
    assert_int_equal(e->type, BF16);
    assert_string_equal(e->dtype, "BF16");
    assert_int_equal(safetensors_find(s, "b"), -1);
    assert_int_equal(safetensors_find(s, ""), -1);
    safetensors_close(s);
    write_file(path, "{}", 0);
    ok(safetensors_open(path, &s));
    assert_int_equal(safetensors_count(s), 0);
    assert_int_equal(safetensors_find(s, "a"), -1);
    safetensors_close(s);
    free(path);
}

/* ---- bad ones ---- */

static void test_refuses_bad_entries(void **state)
{
    static const struct {
        const char *header;
        size_t n;
        const char *why;
    } bad[] = {
        {A "}", 7, "end at byte 8 of 7"},
        {A "}", 9, "end at byte 8, its data at 9"},
        {A ",\"b\":" ENTRY("F32", "1", 4, 8) "}", 8, "overlap"},
        {A ",\"b\":" ENTRY("F32", "2", 0, 8) "}", 8, "overlap"},
        {A ",\"b\":" ENTRY("F32", "1", 12, 16) "}", 16, "gap"},
        {"{\"a\":" ENTRY("F32", "1", 4, 8) "}", 8, "gap"},
        {A ",\"a\":" ENTRY("F32", "1", 8, 12) "}", 12, "twice"},
        {"{\"a\":" ENTRY("F32", "3", 0, 8) "}", 8, "take 12"},
        {"{\"a\":" ENTRY("F16", "2", 0, 8) "}", 8, "take 4"},
        {"{\"a\":" ENTRY("F31", "2", 0, 8) "}", 8, "unknown dtype"},
        {"{\"a\":" ENTRY("F32", "2", 8, 0) "}", 8, "not a range"},
        {"{\"a\":" ENTRY("F32", "2", -8, 0) "}", 8, "not a range"},
        {"{\"a\":" ENTRY("F32", "2", 0.5, 8) "}", 8, "not a range"},
        {"{\"a\":" ENTRY("F32", "2", 0, 9223372036854775808) "}", 8, "not a range"},
        {"{\"a\":" ENTRY("F32", "2", 0, 1e300) "}", 8, "not a range"},
        {"{\"a\":" ENTRY("F32", "9223372036854775808", 0, 8) "}", 8, "cannot be"},
        {"{\"a\":" ENTRY("F32", "9223372036854775807", 0, 8) "}", 8, "cannot be"},
        {"{\"a\":" ENTRY("F32", "4294967296,4294967296", 0, 0) "}", 0, "cannot be"},
        {"{\"a\":" ENTRY("F32", "4503599627370496", 0, 8) "}", 8, "take 18014398509481984"},
        {"{\"a\":" ENTRY("F32", "-2", 0, 8) "}", 8, "cannot be"},
        {"{\"a\":" ENTRY("F32", "2,null", 0, 8) "}", 8, "cannot be"},
        {"{\"a\":" ENTRY("F32", "1,1,1,1,1,1,1,1,2", 0, 8) "}", 8, "dimensions"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "not a range"},
        {"{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "no dtype"},
        {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8, "no shape"},
        {"{\"a\":{\"dtype\":4,\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "no dtype"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":{},\"data_offsets\":[0,8]}}", 8, "no shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,9]}}", 8, "not a range"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":8}}", 8, "not a range"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"shape\":[2],\"data_offsets\":[0,8]}}", 8,
         "'shape' twice"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"x\":1,\"data_offsets\":[0,8]}}", 8, "'x'"},
        {"{\"a\\u0000\":" ENTRY("F32", "2", 0, 8) "}", 8, "character of zero"},
        {"{\"a\":{\"dtype\":\"F4\",\"shape\":[2],\"data_offsets\":[0,1]}}", 1, "less than a byte"},
        {"{\"__metadata__\":{\"format\":1}}", 0, "__metadata__"},
        {"{\"__metadata__\":{]}", 0, "__metadata__"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refused(state, bad[i].header, bad[i].n, bad[i].why);
}

static void test_refuses_what_is_no_json(void **state)
{
    static const char *const bad[] = {
        "[]",
        "{",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1}",
        "{\"a\":[]}",
        "{a:{}}",
        A,
        A ",",
        A ",}",
        A "}}",
        A "} x",
        A "]",
        "{\"a\" " ENTRY("F32", "2", 0, 8) "}",
        "{,}",
        "  {}",
        "{\"a\\",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8}]}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[[[2]]],\"data_offsets\":[0,8]}}",
        "null",
        "\"{}\""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refused(state, bad[i], 8, "JSON");
}

/* Nesting that would eat the stack, in every place. */
static void test_refuses_deep_json(void **state)
{
    enum { DEEP = 1000000 };
    static const char *const begins[] = {"", "{\"a\":", "{\"a\":{\"shape\":", "{\"__metadata__\":"};
    char *text = malloc(DEEP + 100);
    assert_non_null(text);
    for (int i = 0; i < 8; i++) {
        strcpy(text, begins[i / 2]);
        size_t n = strlen(text);
        memset(text + n, i % 2 ? '{' : '[', DEEP);
        text[n + DEEP] = 0;
        refused(state, text, 0, "JSON");
    }
    free(text);
}

/* Every prefix of a file, and a header length of every kind. */
static void test_refuses_what_is_cut(void **state)
{
    char *path = scratch_path(state, "cut.safetensors");
    safetensors *s;
    size_t n;
    write_file(path, A ",\"b\":" ENTRY("U8", "5", 8, 13) "}  ", 13);
    uint8_t *full = file_read(path, &n);
    for (size_t k = 0; k < n; k++) {
        file_write(path, full, k);
        fails(safetensors_open(path, &s), path, "not a whole safetensors file");
    }
    static const uint64_t lengths[] = {0,
                                       1,
                                       2,
                                       1000,
                                       100 << 20,
                                       UINT64_C(1) << 31,
                                       UINT64_C(1) << 32,
                                       UINT64_C(1) << 63,
                                       UINT64_MAX,
                                       UINT64_MAX - 7};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        memcpy(full, &lengths[i], 8);
        file_write(path, full, n);
        fails(safetensors_open(path, &s), path, "not a whole safetensors file");
    }
    free(full);
    free(path);
}

/* A header of more than 100 MB that the (sparse) file does have, and one just below. */
static void test_refuses_huge_headers(void **state)
{
    char *path = scratch_path(state, "huge.safetensors");
    safetensors *s;
    static const uint64_t lengths[] = {(100 << 20) + 1, 100 << 20};
    static const char *const why[] = {"most are", "zero"};
    for (int i = 0; i < 2; i++) {
        uint8_t head[10] = {0};
        memcpy(head, &lengths[i], 8);
        memcpy(head + 8, "{\"", 2);
        file_write(path, head, sizeof head);
        assert_int_equal(truncate(path, 200 << 20), 0);
        fails(safetensors_open(path, &s), path, why[i]);
    }
    free(path);
}

static void test_refuses_what_is_no_file(void **state)
{
    safetensors *s;
    char *path = scratch_path(state, "nosuch");
    fails(safetensors_open(path, &s), path, "No such file");
    fails(safetensors_open(*state, &s), *state, "not a regular file");
    free(path);
}

/* Sizes of 2^63 and 2^52 elements are compared with the file, never asked of malloc. */
static void test_absurd_sizes_allocate_nothing(void **state)
{
    struct rlimit before, low;
    assert_int_equal(getrlimit(RLIMIT_DATA, &before), 0);
    low = before;
    low.rlim_cur = 64 << 20;
    /* a sanitizer's own memory would not fit */
    bool limited = WITH_LIMIT && setrlimit(RLIMIT_DATA, &low) == 0;
    refused(state, "{\"a\":" ENTRY("F32", "4503599627370496", 0, 8) "}", 8, "take");
    refused(state, "{\"a\":" ENTRY("U8", "9007199254740990", 0, 9007199254740990) "}", 8, "of 8");
    char *path = scratch_path(state, "absurd.safetensors");
    uint8_t head[9] = {0, 0, 0, 0, 0, 0, 0, 0x80, '{'};
    safetensors *s;
    file_write(path, head, sizeof head);
    fails(safetensors_open(path, &s), path, "9223372036854775808");
    free(path);
    if (limited) assert_int_equal(setrlimit(RLIMIT_DATA, &before), 0);
}

/* ---- writing and fetching ---- */

enum { ROWS = 700, COLS = 333 };

/* Every type, a matrix as it is and transposed, larger than a chunk; a scalar; nothing. */
static void test_round_trip(void **state)
{
    host_memory memory;
    device dev = host_device(&memory);
    static float matrix[ROWS * COLS], back[ROWS * COLS];
    double one = 0.1, one_back = 0;
    int32_t full[3] = {1, -2, INT32_MAX}, read_back_ints[3];
    for (int i = 0; i < ROWS * COLS; i++)
        matrix[i] = (float)i;
    const named_tensor list[] = {
        {.name = "plain", .value = tensor_of(matrix, F32, SHAPE(ROWS, COLS))},
        {.name = "turned \"\\",
         .value = tensor_of(matrix, F32, SHAPE(ROWS, COLS)),
         .transposed = true},
        {.name = "one", .value = tensor_of(&one, F64, SHAPE(1))},
        {.name = "whole", .value = tensor_of(full, I32, SHAPE(3, 1)), .transposed = true},
        {.name = "bytes", .value = tensor_of(full, U8, SHAPE(2, 3, 2))},
        {.name = "none", .value = tensor_of(matrix, F32, SHAPE(0, 3)), .transposed = true},
    };
    enum { N = sizeof list / sizeof *list };
    char *path = scratch_path(state, "trip.safetensors");
    ok(safetensors_write(path, list, N, &dev, NULL));
    safetensors *s;
    ok(safetensors_open(path, &s));
    assert_int_equal(safetensors_count(s), N);
    void *const into[N] = {back, back, &one_back, read_back_ints, read_back_ints, back};
    for (int k = 0; k < N; k++) {
        named_tensor t = list[k];
        t.value.data = into[k];
        memset(into[k], 0x55, tensor_bytes(t.value));
        ok(safetensors_fetch(s, safetensors_find(s, t.name), &t, &dev));
        assert_memory_equal(into[k], list[k].value.data, tensor_bytes(t.value));
    }
    /* in the file it is turned: element (1,0) of the matrix is (0,1) there */
    int64_t turned = safetensors_find(s, "turned \"\\");
    const safetensors_entry *e = safetensors_entry_at(s, turned);
    assert_int_equal(e->dim[0], COLS);
    assert_int_equal(e->dim[1], ROWS);
    ok(safetensors_read(s, turned, 4, 4, back));
    assert_true(back[0] == matrix[COLS]);
    safetensors_close(s);
    free(path);
}

/* A matrix with more rows than half a chunk holds. */
static void test_tall_matrix(void **state)
{
    enum { TALL = 300000 };
    host_memory memory;
    device dev = host_device(&memory);
    float *a = malloc(2 * TALL * sizeof *a), *b = malloc(2 * TALL * sizeof *b);
    for (int i = 0; i < 2 * TALL; i++)
        a[i] = (float)i;
    named_tensor t = {
        .name = "tall", .value = tensor_of(a, F32, SHAPE(TALL, 2)), .transposed = true};
    char *path = scratch_path(state, "tall.safetensors");
    safetensors *s;
    ok(safetensors_write(path, &t, 1, &dev, NULL));
    ok(safetensors_open(path, &s));
    t.value.data = b;
    ok(safetensors_fetch(s, 0, &t, &dev));
    assert_memory_equal(a, b, 2 * TALL * sizeof *a);
    safetensors_close(s);
    free(a), free(b), free(path);
}

/* Rows group by group in the file, part below part on the device: a matrix, the bias to it, and its
 * transpose. */
static void test_grouped_rows(void **state)
{
    enum { G = 3, COLUMNS = 5, HIGH = 27 };
    static const int64_t in_group[] = {4, 2, 3};
    host_memory memory;
    device dev = host_device(&memory);
    float matrix[HIGH * COLUMNS], turned[HIGH * COLUMNS], bias[HIGH], back[HIGH * COLUMNS],
        again[HIGH * COLUMNS];
    for (int i = 0; i < HIGH * COLUMNS; i++)
        matrix[i] = turned[i % COLUMNS * HIGH + i / COLUMNS] = (float)i;
    for (int i = 0; i < HIGH; i++)
        bias[i] = (float)i;
    named_tensor list[] = {
        {.name = "matrix", .value = tensor_of(matrix, F32, SHAPE(HIGH, COLUMNS))},
        {.name = "bias", .value = tensor_of(bias, F32, SHAPE(HIGH))},
        {.name = "turned",
         .value = tensor_of(turned, F32, SHAPE(COLUMNS, HIGH)),
         .transposed = true}};
    for (int k = 0; k < 3; k++) {
        list[k].groups = G;
        for (int part = 0; part < 3; part++)
            list[k].part_rows[part] = G * in_group[part];
    }
    char *path = scratch_path(state, "grouped.safetensors");
    safetensors *s;
    ok(safetensors_write(path, list, 3, &dev, NULL));
    ok(safetensors_open(path, &s));
    ok(safetensors_read(s, safetensors_find(s, "matrix"), 0, sizeof matrix, back));
    ok(safetensors_read(s, safetensors_find(s, "turned"), 0, sizeof matrix, again));
    assert_memory_equal(back, again, sizeof matrix);
    ok(safetensors_read(s, safetensors_find(s, "bias"), 0, sizeof bias, back));
    for (int g = 0, at = 0; g < G; g++)
        for (int part = 0, before = 0; part < 3; before += G * (int)in_group[part++])
            for (int r = 0; r < in_group[part]; r++)
                assert_true(back[at++] == (float)(before + g * in_group[part] + r));
    for (int k = 0; k < 3; k++) {
        named_tensor t = list[k];
        t.value.data = back;
        ok(safetensors_fetch(s, safetensors_find(s, t.name), &t, &dev));
        assert_memory_equal(back, list[k].value.data, tensor_bytes(t.value));
    }
    safetensors_close(s);
    free(path);
}

static void test_nothing_is_cast(void **state)
{
    host_memory memory;
    device dev = host_device(&memory);
    char *path = scratch_path(state, "cast.safetensors");
    write_file(path, "{\"h\":" ENTRY("BF16", "2,1", 0, 4) ",\"i\":" ENTRY("I32", "3", 4, 16) "}",
               16);
    safetensors *s;
    ok(safetensors_open(path, &s));
    double room[4];
    named_tensor t = {.name = "h", .value = tensor_of(room, F32, SHAPE(2, 1))};
    fails(safetensors_fetch(s, 0, &t, &dev), "'h' is BF16, but F32 is needed", path);
    t.value = tensor_of(room, F32, SHAPE(3));
    fails(safetensors_fetch(s, 1, &t, &dev), "'i' is I32, but F32 is needed", "convert");
    t.value = tensor_of(room, I32, SHAPE(3, 1));
    fails(safetensors_fetch(s, 1, &t, &dev), "(3)", "(3,1)");
    t.value = tensor_of(room, I32, SHAPE(4));
    fails(safetensors_fetch(s, 1, &t, &dev), "(3)", "(4)");
    assert_int_equal(truncate(path, 100), 0); /* while it is open */
    t.value = tensor_of(room, I32, SHAPE(3));
    fails(safetensors_fetch(s, 1, &t, &dev), path, "ends too early");
    safetensors_close(s);
    free(path);
}

static void test_write_failures(void **state)
{
    host_memory memory;
    device dev = host_device(&memory);
    float x[2] = {1, 2};
    named_tensor t = {.name = "x", .value = tensor_of(x, F32, SHAPE(2))};
    char *path = scratch_path(state, "nosuch/x.safetensors");
    fails(safetensors_write(path, &t, 1, &dev, NULL), path, "No such file");
    free(path);
    path = scratch_path(state, "keep.safetensors");
    file_write(path, "old", 3);
    dev.failure = user_error("the device broke");
    error *e = safetensors_write(path, &t, 1, &dev, NULL);
    assert_non_null(e);
    error_free(e);
    size_t n;
    uint8_t *saved = file_read(path, &n);
    assert_int_equal(n, 3);
    free(saved), free(path);
}

/* ---- states in pieces ---- */

/* A file of pieces of "s", each with the elements of `values` from its number on. */
static safetensors *write_pieces(const char *path, const char *const *names, const int64_t *n,
                                 int count, const float *values)
{
    named_tensor list[4];
    safetensors *s;
    for (int i = 0; i < count; i++)
        list[i] = (named_tensor){
            .name = names[i],
            .value = tensor_of((void *)(size_t)(values + atoi(names[i] + 2)), F32, SHAPE(n[i]))};
    ok(safetensors_write(path, list, count, NULL, NULL));
    ok(safetensors_open(path, &s));
    return s;
}

/* Cut anywhere, into a tensor that is whole or a part of itself; what does not fit is said. */
static void test_pieces(void **state)
{
    static const char *const whole[] = {"s@0", "s@5", "s@6"}, *const gap[] = {"s@0", "s@6"};
    static const int64_t each[] = {5, 1, 6}, less[] = {5, 6}, more[] = {5, 1, 5};
    float values[12], got[12];
    host_memory memory;
    device dev = host_device(&memory);
    char *path = scratch_path(state, "pieces.safetensors");
    for (int i = 0; i < 12; i++)
        values[i] = (float)i;
    /* file_transposed does not matter: pieces are in the order of memory */
    named_tensor into = {
        .name = "s", .value = tensor_of(got, F32, SHAPE(3, 4)), .transposed = true};
    int64_t n = 0;
    safetensors *s = write_pieces(path, whole, each, 3, values);
    ok(pieces_fetch(s, &into, &dev, &n));
    assert_int_equal(n, 3);
    assert_memory_equal(got, values, sizeof values);
    named_tensor part = into; /* elements 4 to 6: of all three pieces */
    part.sharded = true, part.first = 4, part.held = 3;
    memset(got, 0, sizeof got);
    ok(pieces_fetch(s, &part, &dev, &n));
    assert_memory_equal(got, values + 4, 3 * sizeof *values);
    assert_true(got[3] == 0);
    into.name = "t";
    n = 0;
    ok(pieces_fetch(s, &into, &dev, &n));
    assert_int_equal(n, 0); /* it has none */
    into.name = "s";
    into.value.dim[0] = 2; /* of a smaller model */
    fails(pieces_fetch(s, &into, &dev, &n), "'s@6'", "not a piece of a state of 8 elements");
    into.value = tensor_of(got, BF16, SHAPE(3, 4));
    fails(pieces_fetch(s, &into, &dev, &n), "F32", "BF16");
    into.value = tensor_of(got, F32, SHAPE(3, 4));
    safetensors_close(s);
    s = write_pieces(path, gap, less, 2, values);
    fails(pieces_fetch(s, &into, &dev, &n), "has no 's@5'", path);
    safetensors_close(s);
    s = write_pieces(path, whole, more, 3, values);
    fails(pieces_fetch(s, &into, &dev, &n), "has no 's@11'", path);
    safetensors_close(s);
    free(path);
}

/* Offsets over 4 GiB, in a sparse file. */
static void test_over_4_gib(void **state)
{
    host_memory memory;
    device dev = host_device(&memory);
    const char header[] = "{\"big\":" ENTRY("U8", "5,1000000000", 0, 5000000000) ",\"tail\":" ENTRY(
        "F32", "2", 5000000000, 5000000008) "}";
    char *path = scratch_path(state, "sparse.safetensors");
    write_file(path, header, 0);
    const float tail[2] = {3, 4};
    const off_t data = 8 + (off_t)strlen(header);
    int fd = open(path, O_WRONLY);
    assert_true(pwrite(fd, "!", 1, data + 4999999999) == 1);
    assert_true(pwrite(fd, tail, sizeof tail, data + 5000000000) == sizeof tail);
    close(fd);
    safetensors *s;
    ok(safetensors_open(path, &s));
    float back[2] = {0};
    named_tensor t = {.name = "tail", .value = tensor_of(back, F32, SHAPE(2))};
    ok(safetensors_fetch(s, safetensors_find(s, "tail"), &t, &dev));
    assert_memory_equal(back, tail, sizeof tail);
    char last = 0;
    ok(safetensors_read(s, safetensors_find(s, "big"), 4999999999, 1, &last));
    assert_int_equal(last, '!');
    ok(safetensors_read(s, safetensors_find(s, "big"), 4999999998, 1, &last));
    assert_int_equal(last, 0);
    safetensors_close(s);
    free(path);
}

/* A header's length may begin as a pickle does: 0x280 bytes. */
static void test_no_pickle(void **state)
{
    char *path = scratch_path(state, "long.safetensors"), header[0x281];
    safetensors *s;
    snprintf(header, sizeof header, "%-640s", "{\"a\":" ENTRY("U8", "1", 0, 1) "}");
    write_file(path, header, 1);
    ok(safetensors_open(path, &s));
    assert_int_equal(safetensors_count(s), 1);
    safetensors_close(s);
    free(path);
}

/* ---- several files ---- */

static const struct {
    const char *text, *why;
} bad_indices[] = {
    {"{}", "weight_map"},
    {"{\"weight_map\":{}}", "weight_map"},
    {"{\"weight_map\":{\"a\":3}}", "'a'"},
    {"{\"weight_map\":{\"a\":\"../m-2.safetensors\"}}", "beside"},
    {"{\"weight_map\":{\"a\":\"/etc/passwd\"}}", "beside"},
    {"{\"weight_map\":{\"a\":\"\"}}", "beside"},
    {"{\"weight_map\":{\"a\":\"m-3.safetensors\"}}", "m-3.safetensors"},
    {"{\"weight_map\":{\"a\":\"m-2.safetensors\",\"c\":\"m-2.safetensors\",\"b\":\"m-1."
     "safetensors\",\"c\":\"m-2.safetensors\"}}",
     "twice 'c'"},
    {"{\"weight_map\":{\"a\":\"m-2.safetensors\"}}", "not name the tensor 'c'"},
    {"{\"weight_map\":{\"a\":\"m-2.safetensors\",\"b\":\"m-2.safetensors\",\"c\":\"m-2."
     "safetensors\"}}",
     "'b'"},
    {"{\"weight_map\":{\"a\":\"m-2.safetensors\",\"b\":\"m-1.safetensors\",\"c\":\"m-1."
     "safetensors\"}}",
     "'c'"},
    {"{\"weight_map\":{\"a\":\"m-2.safetensors\",\"c\":\"m-2.safetensors\",\"x\":\"m-1."
     "safetensors\"}}",
     "'x'"},
    {"{\"weight_map\":", "JSON"},
    {"[]", "object"},
};

static void test_index(void **state)
{
    char *one = scratch_path(state, "m-1.safetensors"),
         *two = scratch_path(state, "m-2.safetensors"),
         *index = scratch_path(state, "m.safetensors.index.json");
    write_file(one, "{\"b\":" ENTRY("U8", "3", 0, 3) "}", 3);
    write_file(two, "{\"a\":" ENTRY("U8", "4", 0, 4) ",\"c\":" ENTRY("U8", "1", 4, 5) "}", 5);
    static const char good[] =
        "{\"metadata\":{\"total_size\":8},\"weight_map\":{\"a\":\"m-2.safetensors\","
        "\"b\":\"m-1.safetensors\",\"c\":\"m-2.safetensors\"}}";
    file_write(index, good, sizeof good - 1);
    safetensors *s;
    ok(safetensors_open(index, &s));
    assert_int_equal(safetensors_count(s), 3);
    uint8_t byte;
    ok(safetensors_read(s, safetensors_find(s, "c"), 0, 1, &byte));
    assert_int_equal(byte, 4);
    ok(safetensors_read(s, safetensors_find(s, "b"), 2, 1, &byte));
    assert_int_equal(byte, 2);
    safetensors_close(s);
    for (size_t i = 0; i < sizeof bad_indices / sizeof *bad_indices; i++) {
        file_write(index, bad_indices[i].text, strlen(bad_indices[i].text));
        fails(safetensors_open(index, &s), *state, bad_indices[i].why);
    }
    write_file(one, "{\"b\":" ENTRY("U8", "2", 0, 2) ",\"a\":" ENTRY("U8", "1", 2, 3) "}", 3);
    file_write(index, good, sizeof good - 1);
    fails(safetensors_open(index, &s), index, "'a' twice");
    write_file(one, "{", 3);
    fails(safetensors_open(index, &s), one, "not a whole");
    free(one), free(two), free(index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_a_file),
        cmocka_unit_test(test_refuses_bad_entries),
        cmocka_unit_test(test_refuses_what_is_no_json),
        cmocka_unit_test(test_refuses_deep_json),
        cmocka_unit_test(test_refuses_what_is_cut),
        cmocka_unit_test(test_refuses_huge_headers),
        cmocka_unit_test(test_refuses_what_is_no_file),
        cmocka_unit_test(test_absurd_sizes_allocate_nothing),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_tall_matrix),
        cmocka_unit_test(test_grouped_rows),
        cmocka_unit_test(test_nothing_is_cast),
        cmocka_unit_test(test_write_failures),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_over_4_gib),
        cmocka_unit_test(test_no_pickle),
        cmocka_unit_test(test_index),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
