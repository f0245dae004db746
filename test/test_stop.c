/* test_stop.c - signals: the first is a request, one more within a second is the same request, one
 * later ends the process; and afterwards all is as before.
 *
 * Each case is a child process, which exits with what it found.
 */
#include "run/stop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { AS_EXPECTED = 7, UNEXPECTED = 8 };

static int ended(bool (*child)(int), int number)
{
    int status;
    pid_t pid = fork();
    if (!pid) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        _exit(child(number) ? AS_EXPECTED : UNEXPECTED);
    }
    assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
    return status;
}

/* As `timeout` does: to the process, and at once to its group. */
static bool asks_twice_at_once(int number)
{
    stop_listen();
    if (stop_is_asked() || stop_asked()) return false;
    raise(number);
    raise(number);
    return stop_is_asked() && stop_asked();
}

static bool asks_again_later(int number)
{
    const struct timespec more_than_a_second = {1, 200000000};
    if (!asks_twice_at_once(number)) return false;
    nanosleep(&more_than_a_second, NULL);
    raise(number);
    return true;
}

static bool asks_afterwards(int number)
{
    if (!asks_twice_at_once(number)) return false;
    stop_unlisten();
    if (stop_is_asked()) return false;
    raise(number);
    return true;
}

static void test_at_once(void **state)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    (void)state;
    for (int i = 0; i < 4; i++) {
        int status = ended(asks_twice_at_once, numbers[i]);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), AS_EXPECTED);
    }
}

static void test_later(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        int number = i ? SIGTERM : SIGINT, status = ended(asks_again_later, number);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), number);
    }
    int status = ended(asks_again_later, SIGHUP); /* the terminal is gone; no one asks again */
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == AS_EXPECTED);
}

static void test_afterwards(void **state)
{
    (void)state;
    int status = ended(asks_afterwards, SIGTERM);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    /* nor does what is printed at the end */
    status = ended(asks_afterwards, SIGPIPE);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == AS_EXPECTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_at_once),
        cmocka_unit_test(test_later),
        cmocka_unit_test(test_afterwards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
