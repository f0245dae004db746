/* test_ops_rows.c - the operations that work row by row, on the devices against the reference:
 * embedding, embedding_grad, norm, norm_grad, classify.
 *
 * Short: small shapes with every combination of flags, large ones with some.  LONG=1: all of them
 * with every combination, and more widths: every one up to 70, around which vectors end.
 */
#include "test/long.h"
#include "test/op_case.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

static double square(double x)
{
    return x * x;
}

/* ---- embedding, embedding_grad ---- */

typedef struct {
    int64_t B, T, C, V, P, first;
    double scale; /* 0: 1 */
    bool documents;
} embedding_case;

static const embedding_case embeddings[] = {
    {1, 1, 1, 1, 1, 0, 0, false},       {1, 5, 3, 59, 5, 0, 0, false},
    {3, 11, 17, 59, 16, 5, 4.5, false}, {4, 50, 64, 59, 64, 14, 0, false},
    {2, 33, 129, 7, 33, 0, 11, false},  {1, 200, 768, 2048, 200, 0, 0, false},
    {2, 3, 17, 50257, 9, 1, 0, false},  {5, 1, 768, 2, 1024, 1023, 0, false},
    {2, 165, 5, 40, 165, 0, 0, false},  {3, 111, 9, 2, 111, 0, 0, false},
    {1, 1, 3, 5, 2, 1, 0, true},        {3, 11, 17, 59, 16, 5, 4.5, true},
    {2, 70, 129, 7, 70, 0, 0, true},    {4, 50, 64, 59, 64, 14, 0, true},
    {1, 300, 5, 40, 300, 0, 11, true},
};

static double factor(const embedding_case *c)
{
    return c->scale == 0 ? 1 : c->scale;
}

enum { OUT, TOKENS, WTE, WPE, STARTS };

static void call_embedding(device *dev, const tensor *t, const void *options)
{
    const embedding_case *c = options;
    OP(embedding, dev, STREAM_COMPUTE, .out = t[OUT], .tokens = t[TOKENS], .wte = t[WTE],
       .wpe = t[WPE], .starts = t[STARTS], .first_position = c->first, .scale = c->scale);
}

static void add_starts(op_case *t, int i, const embedding_case *c)
{
    if (!c->documents) return;
    case_operand(t, i, "starts", GIVEN, INDEX, SHAPE(c->B, c->T), 0);
    case_draw_documents(t, i);
}

/* Of the r-th token: from where its document begins. */
static int64_t position_of(const embedding_case *c, const operand *starts, int64_t r)
{
    return c->first + r % c->T - (c->documents ? (int64_t)starts->value[r] : 0);
}

static void check_embedding(bench *b, const embedding_case *c, bool positions, int64_t pad)
{
    op_case t;
    case_begin(b, &t, call_embedding, c,
               "embedding B=%lld T=%lld C=%lld V=%lld first=%lld%s%s ld+%lld", (long long)c->B,
               (long long)c->T, (long long)c->C, (long long)c->V, (long long)c->first,
               positions ? " wpe" : "", c->documents ? " documents" : "", (long long)pad);
    if (case_left_out(b, &t)) return;
    case_operand(&t, OUT, "out", WRITTEN, WORK, SHAPE(c->B, c->T, c->C), 0);
    case_operand(&t, TOKENS, "tokens", GIVEN, INDEX, SHAPE(c->B, c->T), 0);
    case_operand(&t, WTE, "wte", GIVEN, WORK, SHAPE(c->V, c->C), pad);
    case_draw_index(&t, TOKENS, c->V);
    case_draw(&t, WTE, 0, 1);
    if (positions) {
        case_operand(&t, WPE, "wpe", GIVEN, WORK, SHAPE(c->P, c->C), pad);
        case_draw(&t, WPE, 0, 1);
    }
    add_starts(&t, STARTS, c);
    case_reference(b, &t);
    operand *o = t.operands;
    for (int64_t row = 0; row < c->B * c->T; row++)
        for (int64_t k = 0; k < c->C; k++) {
            double e = factor(c) * o[WTE].value[(int64_t)o[TOKENS].value[row] * c->C + k];
            double p = positions ? o[WPE].value[position_of(c, &o[STARTS], row) * c->C + k] : 0;
            o[OUT].unit[row * c->C + k] = fabs(e) + fabs(p);
        }
    case_compare(b, &t);
    case_poison(b, &t);
    case_end(&t);
}

static void test_embedding(void **state)
{
    for (int i = 0; i < COUNT(embeddings); i++)
        for (int form = 0; form < 4; form++)
            check_embedding(*state, &embeddings[i], form & 1, form & 2 ? 3 : 0);
    bench_report(*state, "embedding");
}

enum { DWTE, DWPE, DOUT, GRAD_TOKENS, GRAD_SCRATCH, GRAD_STARTS };

typedef struct {
    const embedding_case *c;
    bool dwte_accumulate, dwpe_accumulate;
} embedding_grad_options;

static void call_embedding_grad(device *dev, const tensor *t, const void *options)
{
    const embedding_grad_options *o = options;
    OP(embedding_grad, dev, STREAM_COMPUTE, .dwte = {t[DWTE], o->dwte_accumulate},
       .dwpe = {t[DWPE], o->dwpe_accumulate}, .dout = t[DOUT], .tokens = t[GRAD_TOKENS],
       .starts = t[GRAD_STARTS], .scratch = t[GRAD_SCRATCH], .first_position = o->c->first,
       .scale = o->c->scale);
}

/* One more than how many rows went there, times the squares of what was added and of what was
 * there. */
static void embedding_grad_units(operand *o, int which, const double *row_of, int64_t rows,
                                 int64_t C, const double *dout, double scale)
{
    if (o[which].role == ABSENT) return;
    for (int64_t v = 0; v < o[which].rows; v++)
        for (int64_t k = 0; k < C; k++) {
            int64_t n = 1;
            double squares = o[which].role == ADDED ? square(o[which].value[v * C + k]) : 0;
            for (int64_t r = 0; r < rows; r++)
                if ((int64_t)row_of[r] == v) n++, squares += square(scale * dout[r * C + k]);
            o[which].unit[v * C + k] = summed(n, squares);
        }
}

/* flags: 1 no dwte, 2 no dwpe, 4 accumulate dwte, 8 accumulate dwpe, 16 padding */
static void check_embedding_grad(bench *b, const embedding_case *c, int flags)
{
    embedding_grad_options options = {c, flags & 4, flags & 8};
    int64_t pad = flags & 16 ? 3 : 0, rows = c->B * c->T;
    op_case t;
    case_begin(b, &t, call_embedding_grad, &options,
               "embedding_grad B=%lld T=%lld C=%lld V=%lld first=%lld%s%s%s%s%s ld+%lld",
               (long long)c->B, (long long)c->T, (long long)c->C, (long long)c->V,
               (long long)c->first, flags & 1 ? " no dwte" : "", flags & 2 ? " no dwpe" : "",
               flags & 4 ? " dwte accumulate" : "", flags & 8 ? " dwpe accumulate" : "",
               c->documents ? " documents" : "", (long long)pad);
    if (case_left_out(b, &t)) return;
    case_operand(&t, DOUT, "dout", GIVEN, WORK, SHAPE(c->B, c->T, c->C), 0);
    case_operand(&t, GRAD_TOKENS, "tokens", GIVEN, INDEX, SHAPE(c->B, c->T), 0);
    case_draw(&t, DOUT, 0, 1);
    case_draw_index(&t, GRAD_TOKENS, c->V);
    if (!(flags & 1)) {
        case_operand(&t, DWTE, "dwte", flags & 4 ? ADDED : WRITTEN, WORK, SHAPE(c->V, c->C), pad);
        if (flags & 4) case_draw(&t, DWTE, 0, 1);
        case_operand(&t, GRAD_SCRATCH, "scratch", SCRATCH, INDEX, SHAPE(2, rows), 0);
    }
    if (!(flags & 2)) {
        case_operand(&t, DWPE, "dwpe", flags & 8 ? ADDED : WRITTEN, WORK, SHAPE(c->P, c->C), pad);
        if (flags & 8) case_draw(&t, DWPE, 0, 1);
    }
    add_starts(&t, GRAD_STARTS, c);
    case_reference(b, &t);
    double position[333];
    assert_true(rows <= COUNT(position));
    for (int64_t r = 0; r < rows; r++)
        position[r] = (double)position_of(c, &t.operands[GRAD_STARTS], r);
    embedding_grad_units(t.operands, DWTE, t.operands[GRAD_TOKENS].value, rows, c->C,
                         t.operands[DOUT].value, factor(c));
    embedding_grad_units(t.operands, DWPE, position, rows, c->C, t.operands[DOUT].value, 1);
    case_compare(b, &t);
    case_poison(b, &t);
    case_end(&t);
}

static void test_embedding_grad(void **state)
{
    for (int i = 0; i < COUNT(embeddings); i++)
        for (int flags = 0; flags < 32; flags++) {
            bool nothing = (flags & 3) == 3, idle = (flags & 5) == 5 || (flags & 10) == 10;
            bool large = embeddings[i].V * embeddings[i].C > 100000;
            if (nothing || idle || (large && flags % 5 && !long_run())) continue;
            check_embedding_grad(*state, &embeddings[i], flags);
        }
    bench_report(*state, "embedding_grad");
}

/* ---- norm ---- */

static const int64_t norm_rows[] = {1, 5, 33, 200}, norm_cols[] = {1, 3, 17, 64, 129, 768};

enum { N_OUT, N_MEAN, N_RSTD, N_X, N_W, N_B };

static const double norm_eps = 1e-5;

/* LayerNorm; RMSNorm; the one that multiplies by 1 + w */
typedef enum { LAYER, RMS, RMS_PLUS_ONE, NORM_KINDS } kind;
static const char *const kind_names[] = {"", " rms", " rms 1+w"};

static void call_norm(device *dev, const tensor *t, const void *options)
{
    OP(norm, dev, STREAM_COMPUTE, .out = t[N_OUT], .mean = t[N_MEAN], .rstd = t[N_RSTD],
       .x = t[N_X], .w = t[N_W], .b = t[N_B], .eps = norm_eps,
       .offset = *(const kind *)options == RMS_PLUS_ONE, .rms = *(const kind *)options != LAYER);
}

static void norm_units(operand *o, int64_t R, int64_t C, kind k)
{
    bool bias = o[N_B].role != ABSENT;
    for (int64_t r = 0; r < R; r++) {
        const double *x = o[N_X].value + r * C;
        double mean = 0, squares = 0, spread = 0, crossed = 0;
        for (int64_t c = 0; c < C; c++) {
            mean += x[c] / (double)C;
            squares += square(x[c] / (double)C);
        }
        double mean_unit = fmax(summed(C, squares), summed_up(C, mean)); /* x may have one sign */
        if (k != LAYER) mean = mean_unit = 0;
        for (int64_t c = 0; c < C; c++) {
            double d = x[c] - mean;
            spread += square(d) / (double)C;
            crossed += 2 * fabs(d) * (mean_unit + fabs(d)) /
                       (double)C; /* d = x - mean is off by that much */
        }
        double variance = spread + norm_eps, rstd = 1 / sqrt(variance);
        double relative = 1 + 0.5 * (summed_up(C, spread) + crossed) / variance;
        for (int64_t c = 0; c < C; c++) {
            double d = x[c] - mean, w = fabs((k == RMS_PLUS_ONE) + o[N_W].value[c]);
            o[N_OUT].unit[r * C + c] = w * rstd * (mean_unit + fabs(d) + fabs(d) * relative) +
                                       (bias ? fabs(o[N_B].value[c]) : 0);
        }
        if (o[N_MEAN].role != ABSENT) o[N_MEAN].unit[r] = mean_unit;
        if (o[N_RSTD].role != ABSENT) o[N_RSTD].unit[r] = rstd * relative;
    }
}

static void check_norm(bench *b, int64_t R, int64_t C, kind k, bool stats, bool bias, double mean,
                       double deviation)
{
    op_case t;
    case_begin(b, &t, call_norm, &k, "norm R=%lld C=%lld%s%s%s x=%g+-%g", (long long)R,
               (long long)C, kind_names[k], stats ? " stats" : "", bias ? " bias" : "", mean,
               deviation);
    if (case_left_out(b, &t)) return;
    case_operand(&t, N_OUT, "out", WRITTEN, WORK, SHAPE(R, C), 0);
    case_operand(&t, N_X, "x", GIVEN, WORK, SHAPE(R, C), 0);
    case_operand(&t, N_W, "w", GIVEN, WORK, SHAPE(C), 0);
    case_draw(&t, N_X, mean, deviation);
    case_draw(&t, N_W, 1, 0.3);
    if (bias) case_operand(&t, N_B, "b", GIVEN, WORK, SHAPE(C), 0), case_draw(&t, N_B, 0, 1);
    if (stats && k == LAYER) case_operand(&t, N_MEAN, "mean", WRITTEN, STAT, SHAPE(R), 0);
    if (stats) case_operand(&t, N_RSTD, "rstd", WRITTEN, STAT, SHAPE(R), 0);
    case_reference(b, &t);
    norm_units(t.operands, R, C, k);
    case_compare(b, &t);
    case_poison(b, &t);
    case_end(&t);
}

static void test_norm(void **state)
{
    for (int r = 0; r < COUNT(norm_rows); r++)
        for (int c = 0; c < COUNT(norm_cols); c++)
            for (int form = 0; form < 4; form++)
                check_norm(*state, norm_rows[r], norm_cols[c], (r + c + form) % NORM_KINDS,
                           form & 1, form & 2, 0, 1);
    for (int64_t c = 1; c <= tries(0, 70); c++)
        for (int form = 0; form < 4; form++)
            check_norm(*state, 1 + c % 9, c, c % NORM_KINDS, form & 1, form & 2, 0, 1);
    bench_report(*state, "norm");
}

/* A mean far from zero (E[x^2] - E[x]^2 would cancel), and a variance where eps matters. */
static void test_norm_extremes(void **state)
{
    for (int c = 0; c < COUNT(norm_cols); c++) {
        for (kind k = LAYER; k < NORM_KINDS; k++) {
            check_norm(*state, 5, norm_cols[c], k, true, true, 1000, 1);
            check_norm(*state, 5, norm_cols[c], k, true, true, 0, 0.003);
            check_norm(*state, 5, norm_cols[c], k, true, true, 0, 1e4);
        }
    }
    bench_report(*state, "norm, extremes");
}

/* ---- norm_grad ---- */

enum { G_DX, G_DW, G_DB, G_DOUT, G_X, G_MEAN, G_RSTD, G_W, G_SCRATCH };

enum {
    NO_DW = 1,
    NO_DB = 2,
    ADD_DX = 4,
    ADD_DW = 8,
    ADD_DB = 16,
    IN_PLACE = 32,
    NORM_GRAD_FORMS = 64,
    RMS_ONE = 64,   /* RMSNorm */
    PLUS_ONE = 128, /* multiplied by 1 + w */
};

static void call_norm_grad(device *dev, const tensor *t, const void *options)
{
    int flags = *(const int *)options;
    OP(norm_grad, dev, STREAM_COMPUTE, .dx = t[G_DX], .accumulate = flags & ADD_DX,
       .dw = {t[G_DW], flags & ADD_DW}, .db = {t[G_DB], flags & ADD_DB}, .dout = t[G_DOUT],
       .x = t[G_X], .mean = t[G_MEAN], .rstd = t[G_RSTD], .w = t[G_W], .scratch = t[G_SCRATCH],
       .rms = flags & RMS_ONE, .offset = flags & PLUS_ONE ? 1 : 0);
}

static void norm_grad_units(operand *o, int64_t R, int64_t C, int flags)
{
    for (int64_t r = 0; r < R; r++) {
        const double *x = o[G_X].value + r * C, *dout = o[G_DOUT].value + r * C;
        double mean = flags & RMS_ONE ? 0 : o[G_MEAN].value[r], rstd = o[G_RSTD].value[r];
        double h_avg = 0, h_squares = 0, hn_avg = 0, hn_squares = 0;
        for (int64_t c = 0; c < C; c++) {
            double h = dout[c] * (o[G_W].value[c] + !!(flags & PLUS_ONE)) / (double)C,
                   n = (x[c] - mean) * rstd;
            h_avg += h, h_squares += square(h);
            hn_avg += h * n, hn_squares += square(h * n);
        }
        for (int64_t c = 0; c < C; c++) {
            double h = fabs(dout[c] * (o[G_W].value[c] + !!(flags & PLUS_ONE))),
                   n = fabs((x[c] - mean) * rstd);
            double sums = summed(C, h_squares) + n * summed(C, hn_squares);
            o[G_DX].unit[r * C + c] = rstd * (sums + h + fabs(h_avg) + n * fabs(hn_avg));
            if (flags & ADD_DX) o[G_DX].unit[r * C + c] += fabs(o[G_DX].value[r * C + c]);
        }
    }
    for (int64_t c = 0; c < C; c++) {
        double dw = flags & ADD_DW ? square(o[G_DW].value[c]) : 0,
               db = flags & ADD_DB ? square(o[G_DB].value[c]) : 0;
        for (int64_t r = 0; r < R; r++) {
            double dout = o[G_DOUT].value[r * C + c],
                   mean = flags & RMS_ONE ? 0 : o[G_MEAN].value[r],
                   n = (o[G_X].value[r * C + c] - mean) * o[G_RSTD].value[r];
            dw += square(dout * n);
            db += square(dout);
        }
        if (!(flags & NO_DW)) o[G_DW].unit[c] = summed(R + 1, dw);
        if (!(flags & NO_DB)) o[G_DB].unit[c] = summed(R + 1, db);
    }
}

/* mean and rstd of the drawn x, as the forward operation would have left them */
static void norm_statistics(op_case *t, int64_t R, int64_t C, bool rms)
{
    for (int64_t r = 0; r < R; r++) {
        const double *x = t->operands[G_X].value + r * C;
        double mean = 0, variance = 0;
        for (int64_t c = 0; c < C; c++)
            mean += rms ? 0 : x[c] / (double)C;
        for (int64_t c = 0; c < C; c++)
            variance += square(x[c] - mean) / (double)C;
        if (!rms) t->operands[G_MEAN].value[r] = mean;
        t->operands[G_RSTD].value[r] = 1 / sqrt(variance + norm_eps);
    }
    if (!rms) case_round(t, G_MEAN);
    case_round(t, G_RSTD);
}

static void check_norm_grad(bench *b, int64_t R, int64_t C, int flags, double mean,
                            double deviation)
{
    op_case t;
    case_begin(b, &t, call_norm_grad, &flags, "norm_grad R=%lld C=%lld%s%s%s%s%s%s%s%s x=%g+-%g",
               (long long)R, (long long)C, flags & NO_DW ? " no dw" : "",
               flags & NO_DB ? " no db" : "", flags & ADD_DX ? " dx accumulate" : "",
               flags & ADD_DW ? " dw accumulate" : "", flags & ADD_DB ? " db accumulate" : "",
               flags & IN_PLACE ? " dx=dout" : "", flags & RMS_ONE ? " rms" : "",
               flags & PLUS_ONE ? " 1+w" : "", mean, deviation);
    if (case_left_out(b, &t)) return;
    case_operand(&t, G_DOUT, "dout", GIVEN, WORK, SHAPE(R, C), 0);
    case_operand(&t, G_X, "x", GIVEN, WORK, SHAPE(R, C), 0);
    if (!(flags & RMS_ONE)) case_operand(&t, G_MEAN, "mean", GIVEN, STAT, SHAPE(R), 0);
    case_operand(&t, G_RSTD, "rstd", GIVEN, STAT, SHAPE(R), 0);
    case_operand(&t, G_W, "w", GIVEN, WORK, SHAPE(C), 0);
    case_operand(&t, G_SCRATCH, "scratch", SCRATCH, STAT, SHAPE(NORM_GROUPS, 2 * C), 0);
    case_draw(&t, G_DOUT, 0, 1);
    case_draw(&t, G_X, mean, deviation);
    case_draw(&t, G_W, 1, 0.3);
    norm_statistics(&t, R, C, flags & RMS_ONE);
    case_operand(&t, G_DX, "dx", flags & ADD_DX ? ADDED : WRITTEN, WORK, SHAPE(R, C), 0);
    if (flags & IN_PLACE) t.operands[G_DX].shares = 1 + G_DOUT;
    if (flags & ADD_DX) case_draw(&t, G_DX, 0, 1);
    if (!(flags & NO_DW))
        case_operand(&t, G_DW, "dw", flags & ADD_DW ? ADDED : WRITTEN, WORK, SHAPE(C), 0);
    if (!(flags & NO_DB))
        case_operand(&t, G_DB, "db", flags & ADD_DB ? ADDED : WRITTEN, WORK, SHAPE(C), 0);
    if (flags & ADD_DW) case_draw(&t, G_DW, 0, 1);
    if (flags & ADD_DB) case_draw(&t, G_DB, 0, 1);
    case_reference(b, &t);
    norm_grad_units(t.operands, R, C, flags);
    case_compare(b, &t);
    case_poison(b, &t);
    case_end(&t);
}

static bool norm_grad_form(int flags)
{
    bool idle = (flags & NO_DW && flags & ADD_DW) || (flags & NO_DB && flags & ADD_DB);
    return !idle && !(flags & IN_PLACE && flags & ADD_DX);
}

static void test_norm_grad(void **state)
{
    for (int r = 0; r < COUNT(norm_rows); r++)
        for (int c = 0; c < COUNT(norm_cols); c++)
            for (int flags = 0; flags < NORM_GRAD_FORMS; flags++)
                if (norm_grad_form(flags) &&
                    (long_run() || norm_rows[r] * norm_cols[c] < 5000 || (flags + c) % 5 == 0))
                    check_norm_grad(*state, norm_rows[r], norm_cols[c], flags, 0, 1);
    for (int c = 0; c < COUNT(norm_cols); c++) {
        check_norm_grad(*state, 33, norm_cols[c], 0, 1000, 1);
        check_norm_grad(*state, 33, norm_cols[c], ADD_DX, 0, 0.003);
        check_norm_grad(*state, 33, norm_cols[c], RMS_ONE | ADD_DX, 1, 1);
        check_norm_grad(*state, 5, norm_cols[c], RMS_ONE | IN_PLACE | NO_DB, 0, 1);
        check_norm_grad(*state, 40, norm_cols[c], RMS_ONE | PLUS_ONE | ADD_DW, 0, 1);
    }
    check_norm_grad(*state, 1100, 17, ADD_DX | ADD_DW, 0, 1); /* of many rows a group */
    for (int64_t c = 1; c <= tries(0, 70); c++)
        check_norm_grad(*state, 1 + c % 9, c, c % 2 ? ADD_DX | ADD_DW | ADD_DB : 0, 0, 1);
    bench_report(*state, "norm_grad");
}

/* Rows that are too long for a block of a GPU. */
static void test_norm_grad_long(void **state)
{
    check_norm_grad(*state, 70, 4100, ADD_DX | ADD_DB, 0, 1);
    check_norm_grad(*state, 9, 2052, NO_DB, 0, 1);
    bench_report(*state, "norm_grad, long");
}

/* ---- classify ---- */

enum { LOGITS, TARGETS, LOSSES };

typedef struct {
    bool backward;
    double scale, z, cap;
} classify_options;

static void call_classify(device *dev, const tensor *t, const void *options)
{
    const classify_options *o = options;
    OP(classify, dev, STREAM_COMPUTE, .logits = t[LOGITS], .targets = t[TARGETS],
       .losses = t[LOSSES], .backward = o->backward, .scale = o->scale, .z = o->z, .cap = o->cap);
}

static void classify_units(operand *o, int64_t R, int64_t V, classify_options options)
{
    for (int64_t r = 0; r < R; r++) {
        const double *x = o[LOGITS].value + r * V;
        double max = x[0], sum = 0, squares = 0, shift = 0;
        int64_t target = (int64_t)o[TARGETS].value[r];
        for (int64_t v = 1; v < V; v++)
            max = fmax(max, x[v]);
        for (int64_t v = 0; v < V; v++)
            sum += exp(x[v] - max);
        for (int64_t v = 0; v < V; v++) {
            double p = exp(x[v] - max) / sum;
            squares += p * p;
            shift +=
                p * (max - x[v]); /* the rounding of x - max is the relative error of its exp */
        }
        double lse = max + log(sum),
               lse_unit = summed(V, squares) + shift + fabs(max) + fabs(lse) + 1;
        double slope = fabs(1 + 2 * options.z * lse); /* of the loss by lse */
        o[LOSSES].unit[r] = lse_unit * slope + options.z * lse * lse + fabs(x[target]);
        for (int64_t v = 0; v < V && options.backward; v++) {
            double p = exp(x[v] - lse), t = options.cap > 0 ? fabs(x[v]) / options.cap : 0;
            double unit =
                p * (slope * (1 + fabs(x[v]) + fabs(lse) + lse_unit) + 2 * options.z * lse_unit) +
                UNDERFLOW_UNIT + (v == target ? 1 : 0);
            /* 1 - t and 1 + t are off by the roundings of t, and by their own */
            double flat = 1 - t * t, flat_unit = options.cap > 0 ? 2 * t * (1 + t) + 2 * flat : 0;
            o[LOGITS].unit[r * V + v] =
                options.scale * (unit * flat + fabs(p * slope - (v == target)) * flat_unit);
        }
    }
}

static void check_loss(bench *b, int64_t R, int64_t V, int64_t pad, bool backward, double mean,
                       double deviation, double z, double cap)
{
    classify_options options = {backward, 1.0 / (double)R, z, cap};
    op_case t;
    case_begin(b, &t, call_classify, &options,
               "classify R=%lld V=%lld ld+%lld%s x=%g+-%g z=%g cap=%g", (long long)R, (long long)V,
               (long long)pad, backward ? " backward" : "", mean, deviation, z, cap);
    if (case_left_out(b, &t)) return;
    case_operand(&t, LOGITS, "logits", backward ? ADDED : GIVEN, WORK, SHAPE(R, V), pad);
    case_operand(&t, TARGETS, "targets", GIVEN, INDEX, SHAPE(R), 0);
    case_operand(&t, LOSSES, "losses", WRITTEN, STAT, SHAPE(R), 0);
    case_draw(&t, LOGITS, mean, deviation);
    for (int64_t i = 0; i < R * V && cap > 0; i++)
        t.operands[LOGITS].value[i] = cap * tanh(t.operands[LOGITS].value[i] / cap);
    if (cap > 0) case_round(&t, LOGITS);
    case_draw_index(&t, TARGETS, V);
    if (R > 1) t.operands[TARGETS].value[0] = 0, t.operands[TARGETS].value[1] = (double)(V - 1);
    case_reference(b, &t);
    classify_units(t.operands, R, V, options);
    case_compare(b, &t);
    case_poison(b, &t);
    case_end(&t);
}

static void check_classify(bench *b, int64_t R, int64_t V, int64_t pad, bool backward, double mean,
                           double deviation, double z)
{
    check_loss(b, R, V, pad, backward, mean, deviation, z, 0);
}

static void call_soft_cap(device *dev, const tensor *t, const void *options)
{
    OP(soft_cap, dev, STREAM_COMPUTE, .x = t[0], .cap = *(const double *)options);
}

static void check_soft_cap(bench *b, int64_t R, int64_t C, int64_t pad, double deviation,
                           double cap)
{
    op_case t;
    case_begin(b, &t, call_soft_cap, &cap, "soft_cap R=%lld C=%lld ld+%lld x=0+-%g cap=%g",
               (long long)R, (long long)C, (long long)pad, deviation, cap);
    if (case_left_out(b, &t)) return;
    case_operand(&t, 0, "x", ADDED, WORK, SHAPE(R, C), pad);
    case_draw(&t, 0, 0, deviation);
    case_reference(b, &t);
    for (int64_t i = 0; i < R * C; i++) /* the argument's rounding, tanh's, and the product's */
        t.operands[0].unit[i] = 8 * fabs(t.operands[0].want[i]);
    case_compare(b, &t);
    case_poison(b, &t);
    case_end(&t);
}

static void test_soft_cap(void **state)
{
    static const int64_t cols[] = {1, 3, 16, 59, 2048, 50257};
    for (int i = 0; i < COUNT(cols); i++)
        for (int form = 0; form < 4; form++) {
            check_soft_cap(*state, 1 + 2 * (form & 1), cols[i], form & 1 ? 7 : 0,
                           form & 2 ? 40 : 0.1, 30);
            check_soft_cap(*state, 5, cols[i] < 3000 ? cols[i] : 7, 0, 3, 1.5);
        }
    bench_report(*state, "soft_cap");
}

static void test_classify(void **state)
{
    static const struct {
        int64_t R, V;
    } sizes[] = {{1, 1},    {5, 2},    {1, 59},    {33, 59},  {200, 17},
                 {5, 2048}, {33, 129}, {1, 50257}, {3, 50257}};
    for (int i = 0; i < COUNT(sizes); i++)
        for (int form = 0; form < 4; form++) {
            int64_t pad = form & 1 ? 7 : 0;
            check_classify(*state, sizes[i].R, sizes[i].V, pad, form & 2, 0, 1, 0);
            check_classify(*state, sizes[i].R, sizes[i].V, pad, form & 2, 0, 10, 0);
            check_classify(*state, sizes[i].R, sizes[i].V, pad, form & 2, 1, 3, 1e-2);
            check_loss(*state, sizes[i].R, sizes[i].V, pad, form & 2, 0, 10, 0, 12);
        }
    for (int64_t v = 1; v <= tries(0, 300); v++)
        for (int form = 0; form < 4; form++)
            check_classify(*state, 1 + v % 9, v, form & 1, form & 2, 0, 3, 0);
    bench_report(*state, "classify");
    for (int backward = 0; backward < 2;
         backward++) { /* exp without the maximum taken off overflows here */
        check_classify(*state, 5, 59, 0, backward, 1e4, 1, 0);
        check_classify(*state, 5, 59, 0, backward, -1e4, 1, 0);
        check_classify(*state, 5, 2048, 0, backward, 0, 1e3, 0);
    }
    bench_report(*state, "classify, extremes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_embedding), cmocka_unit_test(test_embedding_grad),
        cmocka_unit_test(test_norm),      cmocka_unit_test(test_norm_extremes),
        cmocka_unit_test(test_norm_grad), cmocka_unit_test(test_norm_grad_long),
        cmocka_unit_test(test_classify),  cmocka_unit_test(test_soft_cap),
    };
    return RUN_IN_ALL_TYPES(tests);
}
