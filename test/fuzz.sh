#!/usr/bin/env bash
# fuzz.sh - every fuzz target for ten seconds, from its seeds (FUZZ_SECONDS changes that); see fuzz/.
set -u
cd "$(dirname "$0")/.." || exit 1

try=$(mktemp -d) || exit 1
trap 'rm -rf "$try"' EXIT
echo 'int LLVMFuzzerTestOneInput(const unsigned char *b, unsigned long n) { return b && n > 9 ? 0 : 0; }
      int LLVMFuzzerTestOneInput(const unsigned char *, unsigned long);' >"$try/try.c"
if ! ${FUZZ_CC:-clang} -fsanitize=fuzzer,address,undefined "$try/try.c" -o "$try/try" 2>/dev/null; then
    echo "skip fuzz no clang with libFuzzer: scripts/deps fuzz (or apt-get install clang libclang-rt-14-dev)"
    exit 0
fi
if ! make -j2 fuzz-build >"$try/log" 2>&1; then
    echo "not ok fuzz the targets do not build"
    sed 's/^/    /' "$try/log"
    exit 1
fi
FUZZ_FRESH=1 FUZZ_SECONDS=${FUZZ_SECONDS:-$([ "${LONG:-0}" = 1 ] && echo 600 || echo 10)} fuzz/run
