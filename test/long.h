/* long.h - how far a test goes.
 *
 *     make test        a covering set: every value of everything that varies, and the pairs that
 * have something to do with each other make test-long   LONG=1 in the environment: the whole
 * product, longer sweeps, more at random
 *
 * Both run the same checks with the same bounds; each test's essay says what its long form adds.
 */
#ifndef REGRAD_TEST_LONG_H
#define REGRAD_TEST_LONG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

static inline bool long_run(void)
{
    const char *value = getenv("LONG");
    return value && value[0] == '1' && !value[1];
}

/* How many of something: few, in a long run many. */
static inline int64_t tries(int64_t few, int64_t many)
{
    return long_run() ? many : few;
}

#endif
