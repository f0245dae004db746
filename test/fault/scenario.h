/* scenario.h - a program's main, run again and again, with another call failing each time.
 *
 * Each run is a child process in a directory that is set up anew:
 *
 *     in/      what the program reads
 *     work/    where it writes; old files of an earlier run may be there
 *
 * The first run has no failure: it counts the calls, and leaves in work/ what a success looks like.
 * Then call 1 fails, then call 2, ...  Each of these runs must
 *
 *   - end by returning from main: status 1 and one line "program: why" on stderr, which is no
 *     internal error; or 0, where the program can do without, and then with all results whole,
 *     unless it has warned;
 *   - leave every file in work/ as it was before or as a success leaves it, and no temporary file;
 *   - give back what it allocated and close what it opened, by our count (and LeakSanitizer's).
 *
 * Calls with the same nearest callers are one case, in whichever scenario they come first: of these
 * one fails, alone in the build with sanitizers, with all that follow in the other.  Nearest are
 * five, with sanitizers three.  LONG=1: each call of each scenario, both ways, in both builds.
 */
#ifndef REGRAD_TEST_FAULT_SCENARIO_H
#define REGRAD_TEST_FAULT_SCENARIO_H

#include <stdbool.h>

enum { SCENARIO_FILES = 8 };

typedef struct {
    const char *name;
    int (*program)(int, char **);
    const char *arguments;               /* in words, the program's name first */
    const char *partial[SCENARIO_FILES]; /* files below work/ that grow line by line; NAME*: those
                                          * that a success may lack, too */
    bool talks;                          /* of figures, on stderr */
    const char *again; /* NULL, or arguments that after any failure must succeed */
    int minimum;       /* calls that must be seen: else the wrappers do not work */
} scenario;

/* In the directory, which has in/ and work/ as above.  Fails the test at the first fault. */
void scenario_run(const scenario *s, const char *directory);

/* Runs it once, untouched, in the directory: to make what is there before. */
void scenario_prepare(const scenario *s, const char *directory);

#endif
