/* image_bed.h - a model of images with its memory on a device, outside of any trainer: filled by
 * the formula of test/golden/golden.py, and held against golden values.
 */
#ifndef REGRAD_TEST_IMAGE_BED_H
#define REGRAD_TEST_IMAGE_BED_H

#include "model/model.h"
#include "test/golden.h"

/* What is tried.  Set by the test; the file has VARIANT.loss and so on. */
typedef struct {
    const char *name;
    double smoothing;
    bool drop; /* there is noise: every other branch is left out */
    bool full; /* the file has every element of the gradients */
} image_variant;

typedef struct {
    /* set by the test */
    const model_kind *kind;
    model_config config;
    int64_t batch;
    image_variant v;
    /* by image_bed_open */
    device *dev;
    arena *arena;
    params p;
    runtime r;
    model *m;
    batch in;
    tensor loss, hits, logits;
} image_bed;

void image_bed_open(image_bed *b, const training_policy *how, device *dev, dtype type);
void image_bed_close(image_bed *b);

/* A pass with all gradients; what evaluation says of the loss; b->logits. */
void image_bed_train(image_bed *b);
double image_bed_loss(image_bed *b);
void image_bed_predict(image_bed *b);

/* |got - want| <= tolerance * (scale + |want|) */
void image_bed_close_to(const char *name, int64_t i, double got, double want, double scale,
                        double tolerance);

/* A pass of training: its loss, and of every row of the table its gradient, or the state that it
 * leaves; records VARIANT.grad.NAME: all elements, or VARIANT.short.NAME: sum, sum of squares,
 * first elements. */
void image_bed_hold(image_bed *b, const golden *g, double tolerance);
/* Record VARIANT.WHAT, one number. */
double image_bed_number(const image_bed *b, const golden *g, const char *what);
/* b->logits against VARIANT.WHAT. */
void image_bed_compare_logits(const image_bed *b, const golden *g, const char *what,
                              double tolerance);

/* Runs `hold` on the reference in F64 and on the CPU in F32, with one thread and two. */
void image_bed_on_devices(void (*hold)(device *dev, dtype type, double tolerance));

/* `each` of each tensor's gradients against central differences of `loss` over h.  image_bed_hold
 * compares every gradient, too, so a short run takes every second tensor, with sanitizers every
 * fifth: a layer has three of them or nine, so that over the layers all kinds are taken.  LONG=1:
 * all of them. */
void image_bed_differences(image_bed *b, double (*loss)(image_bed *b), uint32_t each, double h,
                           double tolerance);

#endif
