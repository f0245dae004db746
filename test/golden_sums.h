/* golden_sums.h - a tensor against what a golden script keeps of it (sums of
 * test/golden/families.py): its sum, its sum of squares, two products with fixed vectors, in which
 * any wrong or misplaced element shows, and its first elements. */
#ifndef REGRAD_TEST_GOLDEN_SUMS_H
#define REGRAD_TEST_GOLDEN_SUMS_H

#include "params/params.h"

/* t has the elements of `row`, which is number k there, and is called whose.name in what fails;
 * want: the n numbers.  Each element may be off by e times the root mean square of all. */
void golden_compare_sums(const char *whose, const param *row, tensor t, int k, const double *want,
                         int64_t n, double e);

#endif
