/* log.h - a run's records: a line for people on the terminal, a line for programs in log.jsonl.
 *
 * log.jsonl has one object a line, flushed line by line; floats as %.9g, which gives back the same
 * float bits.  What is not a finite number is null.
 *
 *   {"step":1,"loss":7.6,"lr":0.0003,"grad_norm":1.2,"ms":150.1,"tokens_per_s":27000,"peak_bytes":123}
 *   {"step":50,"val_loss":5.1}
 */
#ifndef REGRAD_LOG_H
#define REGRAD_LOG_H

#include "core/error.h"
#include <stdint.h>
#include <stdio.h>

typedef struct {
    int64_t step, steps;
    double loss, lr, grad_norm, ms, units_per_s;
    const char *unit, *unit_3; /* "tokens", "tok" */
    size_t peak_bytes;
    double seconds_left;
} step_record;

error *log_open(const char *path, FILE **out) NODISCARD;
error *log_step(FILE *log, const step_record *s) NODISCARD;
error *log_value(FILE *log, int64_t step, const char *name, double value) NODISCARD;

/* The same step for people, on stdout. */
void show_step(const step_record *s);

/* "1:02:03", "2:03" */
const char *duration_text(double seconds, char *buffer, size_t size);

/* Creates a directory and its parents. */
error *make_directory(const char *path) NODISCARD;

/* Resident memory of this process in bytes; 0 if unknown. */
size_t resident_bytes(void);

#endif
