/* stop.h - being asked to stop: Ctrl-C, SIGTERM.
 *
 * The first one is a wish: the step under way is finished, a checkpoint written, status 0.  With it
 * the signals get their old meaning back, so that the second ends the process at once; checkpoints
 * are whole at any moment, so nothing is lost then but the steps since the last.
 */
#ifndef REGRAD_STOP_H
#define REGRAD_STOP_H

/* From here on the first SIGINT or SIGTERM is only noted. */
void stop_listen(void);
/* They end the process again; what was noted is forgotten. */
void stop_unlisten(void);

/* The name of the signal that came ("SIGINT"), NULL if none did. */
const char *stop_asked(void);

#endif
