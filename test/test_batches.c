/* test_batches.c - batches taken from token shards: which window is where.
 *
 * LONG=1: shuffles of every number of windows. */
#include "test/long.h"
#include "test/shards.h"

#include "data/batches.h"

/* Three shards of 10, 4 and 9 tokens: with T = 4 they have 2, 0 and 2 windows. */
static token_set *three_shards(void **state)
{
    make_shard(state, "b_1.bin", 256, 0, 10);
    make_shard(state, "b_2.bin", 256, 50, 4);
    make_shard(state, "b_3.bin", 256, 100, 9);
    token_set *set;
    ok(open_one(state, "b_?.bin", 256, &set));
    return set;
}

static void test_sequential_batches(void **state)
{
    token_set *set = three_shards(state);
    batches *b;
    ok(batches_open(set, 4, 4, BATCHES_SEQUENTIAL, 0, &b));
    assert_int_equal(batches_windows(b), 4);
    int32_t inputs[6 * 4], targets[6 * 4];
    ok(batches_read(b, 0, 6, inputs, targets)); /* over the end, and the same again */
    const int32_t starts[] = {0, 4, 100, 104, 0, 4};
    for (int i = 0; i < 6; i++)
        for (int t = 0; t < 4; t++) {
            assert_int_equal(inputs[i * 4 + t], starts[i] + t);
            assert_int_equal(targets[i * 4 + t], starts[i] + t + 1);
        }
    batches_close(b);
    tokens_close(set);
}

/* An epoch has each window once; epochs, and seeds, have different orders. */
static void test_shuffled_batches(void **state)
{
    enum { T = 3, W = 100, EPOCHS = 5 };
    make_shard(state, "s_1.bin", 400, 0, 40 * T + 1);
    make_shard(state, "s_2.bin", 400, 40 * T, 60 * T + 1);
    token_set *set;
    ok(open_one(state, "s_?.bin", 400, &set));
    batches *b, *other;
    ok(batches_open(set, T, 7, BATCHES_SHUFFLED, 5, &b));
    ok(batches_open(set, T, 7, BATCHES_SHUFFLED, 6, &other));
    assert_int_equal(batches_windows(b), W);

    static int32_t inputs[EPOCHS][W][T], targets[EPOCHS][W][T], others[W][T], ignored[W][T];
    ok(batches_read(b, 0, EPOCHS * W, &inputs[0][0][0], &targets[0][0][0]));
    ok(batches_read(other, 0, W, &others[0][0], &ignored[0][0]));
    for (int e = 0; e < EPOCHS; e++) {
        int seen[W] = {0};
        for (int i = 0; i < W; i++) {
            assert_int_equal(inputs[e][i][0] % T, 0);
            seen[inputs[e][i][0] / T]++;
            for (int t = 0; t < T; t++)
                assert_int_equal(targets[e][i][t], inputs[e][i][0] + t + 1);
        }
        for (int i = 0; i < W; i++)
            assert_int_equal(seen[i], 1);
        for (int d = 0; d < e; d++)
            assert_memory_not_equal(inputs[d], inputs[e], sizeof inputs[e]);
    }
    assert_memory_not_equal(inputs[0], others, sizeof others);
    batches_close(b);
    batches_close(other);
    tokens_close(set);
}

/* The permutation is made of a power of two that holds the windows: all numbers of them. */
static void test_shuffles_of_every_size(void **state)
{
    for (int32_t windows = 1; windows <= tries(40, 1100); windows++) {
        make_shard(state, "w.bin", 2000, 0, windows + 1);
        token_set *set;
        batches *b;
        ok(open_one(state, "w.bin", 2000, &set));
        ok(batches_open(set, 1, 1, BATCHES_SHUFFLED, (uint64_t)windows, &b));
        assert_int_equal(batches_windows(b), windows);
        int seen[1100] = {0};
        for (int32_t i = 0; i < windows; i++) {
            int32_t input, target;
            ok(batches_read(b, i, 1, &input, &target));
            assert_in_range(input, 0, windows - 1);
            assert_int_equal(target, input + 1);
            seen[input]++;
        }
        for (int32_t i = 0; i < windows; i++)
            assert_int_equal(seen[i], 1);
        batches_close(b);
        tokens_close(set);
    }
}

/* However the samples are grouped into reads, and wherever one starts, they are the same. */
static void test_the_state_is_one_integer(void **state)
{
    enum { T = 4, N = 23 };
    token_set *set = three_shards(state);
    batches *b, *again;
    ok(batches_open(set, T, 2, BATCHES_SHUFFLED, 9, &b));
    ok(batches_open(set, T, 4, BATCHES_SHUFFLED, 9, &again));
    int32_t inputs[N][T], targets[N][T], one[T], next[T];
    ok(batches_read(b, 0, N, inputs[0], targets[0]));
    for (int i = N - 1; i >= 0; i--) {
        ok(batches_read(again, i, 1, one, next));
        assert_memory_equal(one, inputs[i], sizeof one);
        assert_memory_equal(next, targets[i], sizeof next);
    }
    ok(batches_read(b, INT64_C(1) << 60, 1, one, next)); /* far out, still a window */
    assert_int_equal(next[0], one[0] + 1);
    batches_close(b);
    batches_close(again);
    tokens_close(set);
}

static void test_too_short_for_a_batch(void **state)
{
    token_set *set = three_shards(state);
    batches *b;
    fails(batches_open(set, 4, 5, BATCHES_SHUFFLED, 0, &b), "b_1.bin' and 2 more", "4 windows");
    fails(batches_open(set, 100, 1, BATCHES_SEQUENTIAL, 0, &b), "too short for one batch",
          "0 windows");
    fails(batches_open(set, INT64_MAX, 1, BATCHES_SHUFFLED, 0, &b), "too short", "0 windows");
    fails(batches_open(set, 4, INT64_MAX, BATCHES_SHUFFLED, 0, &b), "too short", "smaller batch");
    fails(batches_open(set, 0, 1, BATCHES_SHUFFLED, 0, &b), "0 tokens", "at least 1");
    fails(batches_open(set, 4, -1, BATCHES_SHUFFLED, 0, &b), "-1 windows", "at least 1");
    tokens_close(set);

    make_shard(state, "exact.bin", 256, 0, 2 * 4 + 1); /* exactly one batch */
    ok(open_one(state, "exact.bin", 256, &set));
    ok(batches_open(set, 4, 2, BATCHES_SHUFFLED, 0, &b));
    assert_int_equal(batches_windows(b), 2);
    batches_close(b);
    fails(batches_open(set, 4, 3, BATCHES_SHUFFLED, 0, &b), "exact.bin': too short", "takes 3");
    tokens_close(set);
}

static void test_batch_with_a_bad_id(void **state)
{
    token_set *set;
    batches *b;
    int32_t inputs[8], targets[8];
    make_shard(state, "bad.bin", 300, 252, 9); /* 252 .. 260: the last target of window 0 is 256 */
    ok(open_one(state, "bad.bin", 256, &set));
    ok(batches_open(set, 4, 1, BATCHES_SEQUENTIAL, 0, &b));
    fails(batches_read(b, 0, 1, inputs, targets), "bad.bin': token 4 is 256", "256 tokens");
    batches_close(b);
    tokens_close(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sequential_batches),
        cmocka_unit_test(test_shuffled_batches),
        cmocka_unit_test(test_shuffles_of_every_size),
        cmocka_unit_test(test_the_state_is_one_integer),
        cmocka_unit_test(test_too_short_for_a_batch),
        cmocka_unit_test(test_batch_with_a_bad_id),
    };
    return cmocka_run_group_tests_name("batches", tests, scratch_make, scratch_remove);
}
