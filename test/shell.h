/* shell.h - the programs that are built beside a test, run by the shell as a user would. */
#ifndef REGRAD_TEST_SHELL_H
#define REGRAD_TEST_SHELL_H

#include "test/scratch.h"

/* Once: commands find them by their names. */
static inline void put_programs_on_path(void)
{
    char program[PROGRAM_PATH], path[3 * PROGRAM_PATH];
    find_program("train_gpt", program);
    *strrchr(program, '/') = 0;
    const char *before = getenv("PATH");
    snprintf(path, sizeof path, "%s:%s", program, before ? before : "/usr/bin:/bin");
    assert_int_equal(setenv("PATH", path, 1), 0);
}

static inline int run_shell(const char *text)
{
    char command[8000];
    snprintf(command, sizeof command, "{ %s; } >out.txt 2>&1", text);
    return system(command);
}

/* What the last one has printed; to be freed. */
static inline char *said(void)
{
    size_t n;
    char *text = (char *)file_read("out.txt", &n);
    text[n] = 0;
    return text;
}

static inline void shell(const char *text)
{
    int status = run_shell(text);
    if (status) fail_msg("status %d: %s\n%s", status, text, said());
}

static inline void shell_refuses(const char *text, const char *says)
{
    int status = run_shell(text);
    char *all = said();
    if (!status || !strstr(all, says)) fail_msg("status %d: %s\n%s", status, text, all);
    free(all);
}

#endif
