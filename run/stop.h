/* stop.h - being asked to stop: Ctrl-C, SIGTERM, SIGHUP, and a closed pipe.
 *
 * The first one is a wish: the step, the batch of an evaluation or the token of a sample under way is
 * finished, a checkpoint written, status 0.  With it Ctrl-C and SIGTERM get their old meaning back, so
 * that the second ends the process at once; checkpoints are whole at any moment, so nothing is lost then
 * but the steps since the last.
 *
 * When whoever read what is printed has gone (SIGPIPE) or the terminal has (SIGHUP), the run stops the
 * same way.  A file that may not grow any more (SIGXFSZ) is reported as a write error.
 */
#ifndef REGRAD_STOP_H
#define REGRAD_STOP_H

#include <stdbool.h>

/* From here on the first of these signals is only noted. */
void stop_listen(void);
/* They do again what they did; what was noted is forgotten. */
void stop_unlisten(void);

/* The name of the signal that came ("SIGINT"), NULL if none did. */
const char *stop_asked(void);
bool stop_is_asked(void);

#endif
