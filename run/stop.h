/* stop.h - requests to stop: Ctrl-C, SIGTERM, SIGHUP, and a closed pipe.
 *
 * The first signal is a request: the current step, batch of an evaluation or token of a sample is
 * finished, a checkpoint written, status 0.  Another Ctrl-C or SIGTERM, a second later or more,
 * ends the process at once; checkpoints are complete at any moment, so only the steps since the
 * last one are lost then.
 *
 * If the reader of the output is gone (SIGPIPE) or the terminal is (SIGHUP), the run stops the same
 * way.  A file that must not grow any more (SIGXFSZ) is reported as a write error.
 */
#ifndef REGRAD_STOP_H
#define REGRAD_STOP_H

#include <stdbool.h>

/* From here on the first of these signals is only recorded. */
void stop_listen(void);
/* Restores their previous actions and forgets a recorded signal. */
void stop_unlisten(void);

/* The name of the recorded signal ("SIGINT"), or NULL. */
const char *stop_asked(void);
bool stop_is_asked(void);

#endif
