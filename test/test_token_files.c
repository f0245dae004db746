/* test_token_files.c - token files of other programs, whole and damaged; and sets of
 * shards that are mixed. */
#include "test/shards.h"

#include <math.h>
#include <unistd.h>

#include "base/rng.h"
#include "data/mixture.h"

enum { IDS = 50, VOCAB = 60 };

/* ---- files ---- */

typedef struct {
    uint8_t bytes[2000];
    size_t n;
} image;

static void put(image *m, const void *bytes, size_t n)
{
    assert_true(m->n + n <= sizeof m->bytes);
    memcpy(m->bytes + m->n, bytes, n);
    m->n += n;
}

static void put_number(image *m, uint64_t value, size_t n)
{
    put(m, &value, n); /* little endian, as memory is */
}

/* Ids 7, 8, ... modulo VOCAB, of so many bytes each. */
static void put_ids(image *m, size_t width)
{
    for (uint64_t i = 0; i < IDS; i++)
        put_number(m, (7 + i) % VOCAB, width);
}

static void save(void **state, const char *name, const image *m)
{
    char *path = scratch_path(state, name);
    file_write(path, m->bytes, m->n);
    free(path);
}

/* generate --eval takes what training does, and no ids for a text. */
static void check_known(void **state, const char *name)
{
    char *path = scratch_path(state, name);
    assert_true(tokens_is_shard(path));
    free(path);
}

static void check_ids(void **state, const char *word)
{
    token_set *set;
    int32_t ids[IDS];
    ok(open_one(state, word, VOCAB, &set));
    assert_int_equal(tokens_shards(set), 1);
    assert_int_equal(tokens_count(set, 0), IDS);
    assert_int_equal(tokens_documents(set, 0), 0);
    ok(tokens_read(set, 0, 0, IDS, ids));
    for (int i = 0; i < IDS; i++)
        assert_int_equal(ids[i], (7 + i) % VOCAB);
    ok(tokens_read(set, 0, 13, 5, ids));
    assert_int_equal(ids[4], (7 + 17) % VOCAB);
    tokens_close(set);
    ok(open_one(state, word, 30, &set));
    fails(tokens_read(set, 0, 0, IDS, ids), "token 23 is 30", "30 tokens");
    tokens_close(set);
}

/* open_one with a word before the path */
static error *open_word(void **state, const char *before, const char *name, token_set **out)
{
    char *path = scratch_path(state, name), word[5000];
    snprintf(word, sizeof word, "%s%s", before, path);
    const char *words[] = {word};
    error *e = tokens_open(words, 1, VOCAB, out);
    free(path);
    return e;
}

static void test_raw(void **state)
{
    static const char *const forms[] = {"raw16:", "raw32:"};
    for (size_t k = 0; k < 2; k++) {
        image m = {.n = 0};
        token_set *set;
        int32_t ids[IDS];
        put_ids(&m, 2 + 2 * k);
        save(state, "train.bin", &m);
        ok(open_word(state, forms[k], "train.bin", &set));
        assert_int_equal(tokens_count(set, 0), IDS);
        ok(tokens_read(set, 0, 0, IDS, ids));
        for (int i = 0; i < IDS; i++)
            assert_int_equal(ids[i], (7 + i) % VOCAB);
        tokens_close(set);
        ok(open_word(state, forms[k], "tr*.bin", &set));
        tokens_close(set);
        m.n--;
        save(state, "train.bin", &m);
        fails(open_word(state, forms[k], "train.bin", &set), "train.bin", "whole ids");
    }
    image none = {.n = 0};
    token_set *set;
    save(state, "train.bin", &none);
    fails(open_word(state, "raw16:", "train.bin", &set), "train.bin", "of 0 bytes");
    fails(open_word(state, "raw16:", "nothing.bin", &set), "nothing.bin", "No such file");
    make_shard(state, "shard.bin", VOCAB, 0, 9);
    fails(open_word(state, "raw16:", "shard.bin", &set), "leave raw16: out", "header");
    image bare = {.n = 0};
    while (bare.n < 1100)
        put_number(&bare, 3, 2);
    save(state, "train.bin", &bare);
    fails(open_one(state, "train.bin", VOCAB, &set), "wrong magic", "raw16:FILE");
}

/* ---- NumPy ---- */

static void npy(image *m, int version, const char *dictionary)
{
    size_t n = strlen(dictionary);
    m->n = 0;
    put(m, "\x93NUMPY", 6);
    put_number(m, (uint64_t)version, 1);
    put_number(m, 0, 1);
    put_number(m, n, version > 1 ? 4 : 2);
    put(m, dictionary, n);
}

#define NPY(type) "{'descr': '" type "', 'fortran_order': False, 'shape': (50,), }      \n"

static void test_npy(void **state)
{
    static const struct {
        const char *dictionary;
        size_t width;
    } all[] = {{NPY("<u2"), 2}, {NPY("|u1"), 1},
               {NPY("<u4"), 4}, {NPY("<i2"), 2},
               {NPY("<i4"), 4}, {NPY("<i8"), 8},
               {NPY("<u8"), 8}, {"{'shape': ( 50 , ),'fortran_order':False,'descr':'<u2'}", 2}};
    image m;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        for (int version = 1; version <= 3; version++) {
            npy(&m, version, all[i].dictionary);
            put_ids(&m, all[i].width);
            save(state, "shard.npy", &m);
            check_ids(state, "shard.npy");
            check_known(state, "shard.npy");
        }
}

static void test_npy_refused(void **state)
{
    static const struct {
        const char *dictionary, *word1, *word2;
    } wrong[] = {
        {NPY(">u2"), "type '>u2'", "astype"},
        {NPY("<f4"), "type '<f4'", "astype"},
        {"{'descr': '<u2', 'fortran_order': False, 'shape': (5, 10), }", "2 dimensions", "ravel"},
        {"{'descr': '<u2', 'fortran_order': True, 'shape': (5, 10), }", "Fortran", "ravel"},
        {"{'descr': '<u2', 'fortran_order': False, 'shape': (), }", "0 dimensions", "ravel"},
        {"{'descr': '<u2', 'fortran_order': False, 'shape': (0,), }", "empty", "leave it out"},
        {"{'descr': '<u2', 'fortran_order': False, 'shape': (51,), }", "wrong size", "51 ids"},
        {"{'descr': '<u2', 'fortran_order': False, 'shape': (49,), }", "wrong size", "49 ids"},
        {"{'descr': '<u2', 'fortran_order': False, 'shape': (9223372036854775807,), }",
         "wrong size", "ids"},
        {"{'descr': '<u2', 'fortran_order': False, 'shape': (-50,), }", "cannot be read", ""},
        {"{'descr': '<u2', 'fortran_order': False}", "cannot be read", ""},
        {"{'descr': [('a', '<u2')], 'fortran_order': False, 'shape': (50,)}", "cannot be read", ""},
        {"{'descr': '<u2', 'other': False, 'shape': (50,)}", "cannot be read", ""},
        {"", "cannot be read", "numpy.save"},
    };
    image m;
    token_set *set;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        npy(&m, 1, wrong[i].dictionary);
        put_ids(&m, 2);
        save(state, "shard.npy", &m);
        fails(open_one(state, "shard.npy", VOCAB, &set), wrong[i].word1, wrong[i].word2);
    }
    npy(&m, 4, NPY("<u2"));
    put_ids(&m, 2);
    save(state, "shard.npy", &m);
    fails(open_one(state, "shard.npy", VOCAB, &set), "version 4", "shard.npy");
    npy(&m, 1, NPY("<u2"));
    for (m.n = 6; m.n < 12; m.n++) {
        save(state, "shard.npy", &m);
        fails(open_one(state, "shard.npy", VOCAB, &set), "cut", "shard.npy");
    }
    npy(&m, 1, NPY("<i4"));
    put_ids(&m, 4);
    memset(m.bytes + m.n - 4, 0xff, 4);
    save(state, "shard.npy", &m);
    int32_t ids[IDS];
    ok(open_one(state, "shard.npy", VOCAB, &set));
    fails(tokens_read(set, 0, 0, IDS, ids), "token 49 is -1", "shard.npy");
    tokens_close(set);
}

/* ---- Megatron ---- */

enum { SEQUENCES = 3, AT_VERSION = 9, AT_TYPE = 17, AT_SEQUENCES = 18, AT_LENGTHS = 34 };

static void megatron(image *m, int type, int width)
{
    static const int lengths[SEQUENCES] = {20, 0, 30}, documents[SEQUENCES] = {0, 1, 3};
    m->n = 0;
    put(m, "MMIDIDX\0\0", 9);
    put_number(m, 1, 8);
    put_number(m, (uint64_t)type, 1);
    put_number(m, SEQUENCES, 8);
    put_number(m, SEQUENCES, 8);
    for (int i = 0; i < SEQUENCES; i++)
        put_number(m, (uint64_t)lengths[i], 4);
    for (int i = 0, at = 0; i < SEQUENCES; at += lengths[i++])
        put_number(m, (uint64_t)(at * width), 8);
    for (int i = 0; i < SEQUENCES; i++)
        put_number(m, (uint64_t)documents[i], 8);
}

static void test_megatron(void **state)
{
    static const int types[][2] = {{1, 1}, {3, 2}, {4, 4}, {5, 8}, {8, 2}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        image index, ids = {.n = 0};
        megatron(&index, types[i][0], types[i][1]);
        put_ids(&ids, (size_t)types[i][1]);
        save(state, "text_document.idx", &index);
        save(state, "text_document.bin", &ids);
        check_ids(state, "text_document.bin");
        check_known(state, "text_document.bin");
        check_ids(state, "text_document.idx");
        check_ids(state, "text_*.idx");
    }
}

static void test_megatron_refused(void **state)
{
    static const struct {
        size_t at, n;
        uint64_t value;
        const char *word1, *word2;
    } wrong[] = {
        {AT_VERSION, 8, 2, "version 2", "1 is known"},
        {AT_TYPE, 1, 6, "type 6", "uint16"},
        {AT_TYPE, 1, 2, "type 2", "uint16"},
        {AT_TYPE, 1, 200, "type 200", "uint16"},
        {AT_TYPE, 1, 4, "sequence 1", "one piece"},
        {AT_SEQUENCES, 8, 9, "cut", "9 sequences"},
        {AT_SEQUENCES, 8, UINT64_MAX, "cut", "sequences"},
        {AT_SEQUENCES + 8, 8, UINT64_MAX / 4, "cut", "documents"},
        {AT_SEQUENCES, 8, 0, "no tokens", "leave it out"},
        {AT_LENGTHS, 4, 19, "sequence 1", "one piece"},
        {AT_LENGTHS, 4, UINT32_MAX, "sequence 0", "one piece"},
        {AT_LENGTHS + 8, 4, 31, "wrong size", "51 ids of 2 bytes"},
        {AT_LENGTHS + 12, 8, 2, "sequence 0", "one piece"},
    };
    image index, ids = {.n = 0};
    token_set *set;
    put_ids(&ids, 2);
    save(state, "text.bin", &ids);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        megatron(&index, 8, 2);
        memcpy(index.bytes + wrong[i].at, &wrong[i].value, wrong[i].n);
        save(state, "text.idx", &index);
        fails(open_one(state, "text.bin", VOCAB, &set), wrong[i].word1, wrong[i].word2);
    }
    megatron(&index, 8, 2);
    save(state, "alone.idx", &index);
    fails(open_one(state, "alone.idx", VOCAB, &set), "alone.bin", "No such file");
}

/* The same bytes, read another way, are other data. */
static void test_fingerprints(void **state)
{
    image m = {.n = 0};
    put_ids(&m, 4);
    save(state, "train.bin", &m);
    fingerprint f[3];
    static const char *const forms[] = {"raw16:", "raw32:", "raw32:"};
    for (int i = 0; i < 3; i++) {
        token_set *set;
        ok(open_word(state, forms[i], "train.bin", &set));
        ok(tokens_fingerprint((const token_set *const *)&set, 1, 0, NULL, &f[i]));
        tokens_close(set);
    }
    assert_true(f[0].value != f[1].value && f[1].value == f[2].value);
}

/* ---- mixtures ---- */

enum { T = 4, A_WINDOWS = 60, B_WINDOWS = 25 };

/* Ids of a tell from those of b: below 100, and from there on. */
static void make_sets(void **state)
{
    token_writer *w;
    for (int k = 0; k < 2; k++) {
        char *path = scratch_path(state, k ? "b.bin" : "a.bin");
        ok(tokens_create(path, 20000, &w));
        for (int32_t i = 0; i <= T * (k ? B_WINDOWS : A_WINDOWS); i++) {
            int32_t id = 1000 * k + i;
            ok(tokens_append(w, &id, 1));
        }
        ok(tokens_finish(w));
        free(path);
    }
}

static error *mix(void **state, const char *a, const char *b, uint64_t seed, batch_order order,
                  mixture **out)
{
    char *pa = scratch_path(state, a), *pb = scratch_path(state, b);
    const char *words[] = {pa, pb};
    error *e = mixture_open(words, 2, 20000, T, 2, order, seed, out);
    free(pa);
    free(pb);
    return e;
}

static void test_mixture(void **state)
{
    enum { SAMPLES = 2 * MIXTURE_ROUND + 500 };
    static int32_t inputs[SAMPLES * T], targets[SAMPLES * T], again[SAMPLES * T], to[SAMPLES * T];
    int64_t of[2] = {0};
    static int seen[2][A_WINDOWS];
    mixture *m;
    make_sets(state);
    ok(mix(state, "a.bin:0.7", "b.bin:0.3", 5, BATCHES_SHUFFLED, &m));
    assert_int_equal(mixture_windows(m), A_WINDOWS + B_WINDOWS);
    ok(mixture_read(m, 0, SAMPLES, inputs, targets, NULL));
    for (int64_t s = 0; s < SAMPLES; s++) {
        int k = inputs[s * T] >= 1000;
        int window = (inputs[s * T] - 1000 * k) / T;
        for (int i = 0; i < T; i++) {
            assert_int_equal(inputs[s * T + i], 1000 * k + window * T + i);
            assert_int_equal(targets[s * T + i], inputs[s * T + i] + 1);
        }
        of[k]++;
        seen[k][window]++;
        if ((s + 1) % MIXTURE_ROUND == 0) { /* to the last sample */
            assert_int_equal(of[0], 7000 * ((s + 1) / MIXTURE_ROUND));
        }
        if (s % 100 == 99 && s > 500) /* and nearly so on the way */
            assert_true(fabs((double)of[0] / (double)(s + 1) - 0.7) < 0.06);
    }
    /* of each set every window as often as every other, but for the epoch under way */
    for (int k = 0; k < 2; k++)
        for (int w = 0, n = k ? B_WINDOWS : A_WINDOWS; w < n; w++)
            assert_true(llabs(seen[k][w] - of[k] / n) <= 20);
    /* whoever reads them: in other batches, from elsewhere on, every fourth */
    for (int64_t s = 0, n; s < SAMPLES; s += n) {
        n = 1 + s % 7 < SAMPLES - s ? 1 + s % 7 : SAMPLES - s;
        ok(mixture_read(m, s, n, again + s * T, to + s * T, NULL));
    }
    assert_memory_equal(inputs, again, sizeof inputs);
    assert_memory_equal(targets, to, sizeof targets);
    assert_int_equal(mixture_learned(m, 3, 5), 5 * T);
    mixture_close(m);
}

/* Within whole rounds a set has gone through whole epochs of its own, evenly. */
static void test_mixture_epochs(void **state)
{
    int32_t in[T], out[T];
    int seen[B_WINDOWS] = {0};
    mixture *m;
    make_sets(state);
    ok(mix(state, "a.bin:3", "b.bin:1", 5, BATCHES_SHUFFLED, &m));
    for (int64_t s = 0; s < MIXTURE_ROUND; s++) {
        ok(mixture_read(m, s, 1, in, out, NULL));
        if (in[0] >= 1000) seen[(in[0] - 1000) / T]++;
    }
    for (int w = 0; w < B_WINDOWS; w++)
        assert_int_equal(seen[w], 2500 / B_WINDOWS);
    mixture_close(m);
}

static void test_mixture_is_seeded(void **state)
{
    mixture *m[3];
    fingerprint f[3];
    int same = 0;
    make_sets(state);
    ok(mix(state, "a.bin:0.7", "b.bin:0.3", 5, BATCHES_SHUFFLED, &m[0]));
    ok(mix(state, "a.bin:0.7", "b.bin:0.3", 6, BATCHES_SHUFFLED, &m[1]));
    ok(mix(state, "a.bin:0.6", "b.bin:0.4", 5, BATCHES_SHUFFLED, &m[2]));
    for (int64_t s = 0; s < 1000; s++) {
        int x, y;
        mixture_place(m[0], s, &x);
        mixture_place(m[1], s, &y);
        same += x == y;
    }
    assert_true(same > 500 && same < 660); /* 0.58 of 1000 */
    for (int i = 0; i < 3; i++)
        ok(mixture_fingerprint(m[i], NULL, &f[i]));
    assert_true(f[0].value == f[1].value && f[0].value != f[2].value);
    for (int i = 0; i < 3; i++)
        mixture_close(m[i]);
}

static void test_mixture_refused(void **state)
{
    mixture *m;
    make_sets(state);
    fails(mix(state, "a.bin:0.7", "b.bin", 5, BATCHES_SHUFFLED, &m), "b.bin' has no weight",
          "or none");
    fails(mix(state, "a.bin", "b.bin:0.7", 5, BATCHES_SHUFFLED, &m), "a.bin' has no weight",
          "or none");
    fails(mix(state, "a.bin:0", "b.bin:0.7", 5, BATCHES_SHUFFLED, &m), "a.bin:0", "above 0");
    fails(mix(state, "a.bin:-1", "b.bin:0.7", 5, BATCHES_SHUFFLED, &m), "a.bin:-1", "above 0");
    fails(mix(state, "a.bin:1", "b.bin:1e-5", 5, BATCHES_SHUFFLED, &m), "b.bin:1e-5", "1/10000");
    fails(mix(state, "a.bin:+", "b.bin:1", 5, BATCHES_SHUFFLED, &m), "a.bin:+' has no weight",
          "or none");
    fails(mix(state, "a.bin:1.2.3", "b.bin:1-2", 5, BATCHES_SHUFFLED, &m), "a.bin:1.2.3",
          "No such file");
    fails(mix(state, "a.bin:1", "none.bin:1", 5, BATCHES_SHUFFLED, &m), "none.bin", "No such file");
    fails(mix(state, "a.bin:1", "b.bin:1", 5, BATCHES_SEQUENTIAL, &m), "--train-data",
          "leave it out");
    /* a file of that name is that file */
    char *from = scratch_path(state, "a.bin"), *to = scratch_path(state, "a.bin:0.7");
    assert_int_equal(rename(from, to), 0);
    ok(mix(state, "a.bin:0.7", "b.bin", 5, BATCHES_SHUFFLED, &m));
    assert_int_equal(mixture_sets(m), 1);
    mixture_close(m);
    free(from);
    free(to);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_make, scratch_remove)
    const struct CMUnitTest tests[] = {
        TEST(test_raw),
        TEST(test_npy),
        TEST(test_npy_refused),
        TEST(test_megatron),
        TEST(test_fingerprints),
        TEST(test_megatron_refused),
        TEST(test_mixture),
        TEST(test_mixture_epochs),
        TEST(test_mixture_refused),
        TEST(test_mixture_is_seeded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
