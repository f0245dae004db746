#!/usr/bin/env bash
# valgrind.sh - products under valgrind, which sees what no sanitizer of these builds does: a number that is
# read before it was written, as from room for packing that was not filled.
#
#   test_product_sizes, of which a few are drawn: odd distances between rows, operands at any address, by the kernels
#   that valgrind's processor has (plain C and AVX2); in bf16, too, and by the model of AMX
#
# With LONG=1 forty times as many.  And a program that reads what it has not written must be found out.
set -u
cd "$(dirname "$0")/.." || exit 1
command -v valgrind >/dev/null || { echo 'skip valgrind apt-get install valgrind'; exit 0; }
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
bad=0

# clean TITLE PROGRAM...: without a complaint
clean() {
    local title=$1
    shift
    if valgrind --quiet --error-exitcode=9 --leak-check=no "$@" >"$dir/out" 2>&1; then
        echo "ok valgrind: $title"
    else
        echo "not ok valgrind: $title: $(grep -m 3 -E '==.*(Invalid|uninit|at 0x|by 0x)|not ok|seed|FAILED' "$dir/out" | tr '\n' ' ')"
        bad=1
    fi
}

few=5
[ "${LONG:-0}" != 1 ] || few=200
clean "products of $few drawn sizes, and as many in bf16, and by the model of AMX" build/release/test_product_sizes $few

# ---- the check itself ----

cat >"$dir/unset.c" <<'C'
#include <stdlib.h>
int main(void)
{
    volatile float *x = malloc(8 * sizeof *x);
    x[0] = 1;
    return x[0] + x[7] > 3;
}
C
if cc -O1 -g -o "$dir/unset" "$dir/unset.c" && (clean unset "$dir/unset") | grep -q '^not ok .*uninit'; then
    echo 'ok self-test: a number that was not written'
else
    echo 'not ok self-test: a number that was not written is not found'
    bad=1
fi
exit $bad
