/* beside.h - calls on tensors that a thread makes, one after the other, while the one that asked
 * computes.
 *
 *     this thread    ask a | ask b | compute ...    | wait for a | compute with a | wait for b
 *     the other              a ...       | b ...
 *
 * All ranks ask for the same in the same order, so the calls of the ranks meet as if each were
 * waited for.  Whoever makes a call of the engine itself waits for all others first: at any time
 * one thread alone uses the engine (MPI_THREAD_SERIALIZED).
 */
#ifndef REGRAD_BESIDE_H
#define REGRAD_BESIDE_H

#include "ranks/comm.h"

typedef enum { CALL_SUM, CALL_SCATTER, CALL_GATHER } call_kind;

/* One of the calls of ranks/comm.h; how: not of a sum. */
typedef struct {
    call_kind kind;
    tensor x;
    share how;
    const char *doing; /* comm's */
} beside_call;

typedef struct beside beside;
typedef error *beside_serve(void *context, const beside_call *call);

error *beside_open(beside_serve *serve, void *context, beside **out) NODISCARD;
/* Waits until what was asked for has been made. */
void beside_close(beside *b); /* NULL is ignored */

/* Returns its number: 1, 2, 3 ... */
int64_t beside_ask(beside *b, beside_call call);
int64_t beside_asked(const beside *b); /* the last one's */

/* Until the call with that number, and all before it, have been made.  The first failure, after
 * which none is made, is returned once. */
error *beside_wait(beside *b, int64_t number) NODISCARD;

#endif
