/* op_case.h - one operation, one case, tried on a device and held against the reference.
 *
 * A case lists the operands of an operation by role.  Given values are drawn in double and rounded
 * to the operand's type (float or bf16), so that every device starts from the same numbers.  Each
 * operand lies in memory of its own:
 *
 *     | guard | row 0 ... | padding | row 1 ... | padding | ... | guard |
 *
 * Guards and padding hold a sentinel, all bits set: a NaN as a float, -1 as an index.  Outputs that
 * are to be written hold it before the operation, too, so that what is read, added to or left out
 * by mistake shows up as a NaN.  Afterwards everything but the written elements must be as before,
 * inputs included.  Then the operation runs again
 *   - on memory shifted by one element (or `shift`): the same bits, for no result may depend on where
 *     things lie;
 *   - with one thread, and in some cases with five (more than there may be rows): within the bound; on
 *     a GPU with threads in other orders: the same bits.
 *
 * The bound.  Written in `unit` for each output element, it is
 *
 *     |got - want| <= c eps unit,     eps = 2^-23,  c = 4,
 *     unit = sqrt(n) |t|  + d
 *
 * for an element that sums n terms t_1..t_n, |t| being the root of the sum of their squares: n
 * rounding errors of random sign, each in proportion to a partial sum.  If the terms have one sign,
 * partial sums grow to the sum itself: sqrt(n) |sum|.  d adds up the magnitudes of what is rounded
 * a few times outside of the sum.  Errors of intermediate values are carried through to first
 * order: multiplied by the magnitude of what multiplies the value.  An exponential below the normal
 * floats may come out as zero or as the smallest of them: UNDERFLOW_UNIT.
 *
 * In bf16 all of this is computed in float, and rounded once more when it is stored: a working
 * element may be off by half a step of its 8 bits, 2^-8 of the value, besides.  The reference
 * starts from the same rounded inputs and rounds nothing.
 */
#ifndef REGRAD_TEST_OP_CASE_H
#define REGRAD_TEST_OP_CASE_H

#include "test/rig.h"

#include <float.h>

enum { MAX_OPERANDS = 10, BOUND_C = 4 };

#define BF16_ROUNDOFF  0x1p-8
#define UNDERFLOW_UNIT (2.0 * FLT_MIN / (BOUND_C * FLT_EPSILON))

typedef enum { WORK, STAT, INDEX, BYTES } operand_kind; /* working type, stat type, i32, u8 */

typedef enum {
    ABSENT,
    GIVEN,   /* read; must stay as it is */
    WRITTEN, /* overwritten, every element */
    ADDED,   /* read and written */
    SCRATCH, /* left with anything */
} operand_role;

typedef struct {
    const char *name;
    operand_role role;
    operand_kind kind;
    shape dims;
    int64_t rows, cols, pad;     /* pad: ld - cols */
    int shares;                  /* 1 + the operand in whose memory it lies; 0: its own */
    double *value, *want, *unit; /* (rows,cols): before; after by the reference; see above */
} operand;

/* Makes the operation's struct from the tensors (absent ones are {0}) and runs it. */
typedef void case_call(device *dev, const tensor *t, const void *options);

typedef struct {
    char name[200];
    uint64_t seed;
    dtype work;          /* of the devices under test */
    int shift;           /* 0: 1; for operations that want their operands aligned */
    bool layout_matters; /* elsewhere in memory the last bits may be others */
    case_call *call;
    const void *options;
    operand operands[MAX_OPERANDS];
} op_case;

/* Prints and forgets "op: cases, worst error as part of the bound". */
void bench_report(bench *b, const char *op);

void case_begin(const bench *b, op_case *t, case_call *call, const void *options, const char *name,
                ...) PRINTF_LIKE(5, 6);
/* Is this case not to be run?  Then it has been ended; for those that take long to prepare. */
bool case_left_out(bench *b, op_case *t);
void case_operand(op_case *t, int i, const char *name, operand_role role, operand_kind kind,
                  shape dims, int64_t pad);

/* Fills a GIVEN or ADDED operand with normal numbers, rounded. */
void case_draw(op_case *t, int i, double mean, double deviation);
/* Fills an INDEX operand with numbers in [0, below). */
void case_draw_index(op_case *t, int i, int64_t below);
/* Fills an INDEX operand (B,T) with where the document of each token begins: rows of short ones and
 * longer ones. */
void case_draw_documents(op_case *t, int i);
/* Rounds a GIVEN or ADDED operand to float after it was filled by hand. */
void case_round(op_case *t, int i);

/* Runs the reference: fills `want` and sets `unit` to zero. */
void case_reference(bench *b, op_case *t);
/* Runs the devices under test and compares; fails the cmocka test with op, case, element and
 * numbers. */
void case_compare(bench *b, op_case *t);
/* Puts NaN into one element of each input in turn: what the reference then makes NaN must be NaN on
 * the device (a comparison that drops NaN would hide a run that has failed).  Large cases are left
 * out. */
void case_poison(bench *b, op_case *t);
void case_end(op_case *t);

/* What such a rounding takes from a value (rig_rounds_between), as part of the value, in the unit
 * above; 0 where there is none. */
double rounded_between(const bench *b);

/* sqrt(n) |t|: n terms of any sign, whose squares sum to `squares`. */
double summed(int64_t n, double squares);
/* sqrt(n) |sum|: n terms of one sign. */
double summed_up(int64_t n, double sum);

#endif
