/* long.h - how far a test goes.
 *
 *     make test        a covering set: every value of everything that varies, and the pairs that
 *                      have something to do with each other
 *     make test-long   LONG=1 in the environment: the whole product, longer sweeps, more at random
 *
 * Both run the same checks with the same bounds; each test's essay says what its long form adds.
 *
 * `make test` runs each program twice.  The release build looks at numbers and does all of that;
 * the one with sanitizers is several times slower and looks at memory, which is touched in the same
 * way by many steps and many cases: where a test asks thin_run(), it does fewer of them there.
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

/* Is this the build with sanitizers, in which the release build's sweeps are not repeated? */
static inline bool thin_run(void)
{
#ifdef __SANITIZE_ADDRESS__
    return !long_run();
#else
    return false;
#endif
}

#endif
