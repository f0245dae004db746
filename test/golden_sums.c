/* golden_sums.c - see golden_sums.h */
#include "test/golden_sums.h"
#include "test/formula.h"
#include "test/small_gpt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>

typedef struct {
    const char *whose;
    const param *row;
} place;

static void near(const place *at, int64_t i, double got, double want, double bound)
{
    char name[100];
    if (fabs(got - want) <= bound) return;
    fail_msg("%s: %s[%lld]: got %.12g, want %.12g, bound %.3g", at->whose,
             param_text(at->row, name, sizeof name), (long long)i, got, want, bound);
}

/* Of n elements of root mean square `rms`, each off by e rms in a direction of its own, the sum and
 * the products with vectors of root mean square 1/sqrt(3) are off by e rms sqrt(n). */
void golden_compare_sums(const char *whose, const param *row, tensor t, int k, const double *want,
                         int64_t n, double e)
{
    const place at = {whose, row};
    double sums[4] = {0}, count = (double)row->count;
    for (int64_t i = 0; i < row->count; i++) {
        double x = element(t, i);
        sums[0] += x;
        sums[1] += x * x;
        sums[2] += x * (double)formula_value((uint32_t)(2000 + k), (uint32_t)i, 2, 0);
        sums[3] += x * (double)formula_value((uint32_t)(3000 + k), (uint32_t)i, 2, 0);
    }
    /* The keys' bias (a third of one) has no gradient without rotations:
     * noise of its neighbours. */
    double rms = fmax(sqrt(want[1] / count), 1e-3), scale = rms * sqrt(count);
    for (int i = 0; i < 4; i++)
        near(&at, i - 4, sums[i], want[i], e * (i == 1 ? 2 * scale * scale : 4 * scale));
    for (int64_t i = 4; i < n; i++)
        near(&at, i - 4, element(t, i - 4), want[i], e * (4 * rms + fabs(want[i])));
}
