/* pattern_none.c - pattern.h in a build without PCRE2: every expression is refused. */
#include "data/bpe/pattern.h"

bool pattern_available(void)
{
    return false;
}

error *pattern_compile(const char *expression, pattern **out)
{
    (void)expression, (void)out;
    return user_error("cuts text by a regular expression, and this build has no PCRE2: install "
                      "libpcre2-dev (apt-get install libpcre2-dev) and run make again");
}

void pattern_free(pattern *p)
{
    (void)p;
}

const char *pattern_expression(const pattern *p)
{
    (void)p;
    return "";
}

bool pattern_can_be_empty(const pattern *p)
{
    (void)p;
    return false;
}

error *pattern_match_create(const pattern *p, pattern_match **out)
{
    (void)p, (void)out;
    return internal_error("a pattern in a build without PCRE2");
}

void pattern_match_free(pattern_match *m)
{
    (void)m;
}

error *pattern_next(const pattern *p, pattern_match *m, const uint8_t *text, size_t n, size_t at,
                    size_t *begin, size_t *end)
{
    (void)p, (void)m, (void)text, (void)n, (void)at, (void)begin, (void)end;
    return internal_error("a pattern in a build without PCRE2");
}
