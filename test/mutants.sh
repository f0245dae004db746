#!/usr/bin/env bash
# mutants.sh - takes away every barrier and every wait of every kernel, one at a time: the tests of the
# operations under the race detector must notice, or the barrier is not needed and should go.
#
#     LONG=1 test/mutants.sh [FILE ...]        (make test-long; default: all of cuda/)
#
# A mutant is a copy of a file in build/mutant/cuda, without one barrier; what includes it is compiled
# from there and linked with the rest of the race detector's build (cuda/build.mk).  Noticed means that
# a test program ends with a failure or a report.
set -u
export LC_ALL=C
cd "$(dirname "$0")/.." || exit 1

if [ "${LONG:-0}" != 1 ]; then
    echo "skip mutants: in make test-long"
    exit 0
fi
if [ "$(uname -m)" != x86_64 ]; then
    echo "skip the emulator of CUDA is written for x86-64"
    exit 0
fi

barrier='__syncthreads(_or|_and|_count)?\(|__syncwarp\(|__threadfence(_[a-z]+)?\(|copy_(wait|commit)'
log=$(mktemp) || exit 1
trap 'rm -rf "$log" build/mutant' EXIT
bad=0

# The tests that reach a file, those first that reach most of it.
tests_of() {
    case ${1##*/} in
    attention*) echo ops_attention ;;
    sum.cu | sumsq* | nonfinite*) echo ops_scalar ops_optim ;;
    optim_stored*) echo ops_stored ;;
    optim*) echo ops_optim ;;
    head_norm* | rotary* | gate*) echo ops_gpt ;;
    sparse*) echo ops_sparse ;;
    softmax*) echo ops_rows ops_image ;;
    classify_soft* | patches* | pool* | positions* | scale_samples* | dropout*) echo ops_image ;;
    column_sums* | activation* | linear* | plain_product* | narrow*) echo ops_linear ;;
    embedding* | norm* | classify.cu) echo ops_rows ;;
    *) for t in test/test_ops_*.c; do t=${t##*/test_}; t=${t%.c}; [ "$t" = ops_ref ] || echo "$t"; done ;;
    esac
}

# The kernel files that are compiled anew for a mutant of this file.
units_of() {
    case $1 in
    *.cu) echo "$1" ;;
    *) grep -l "\"$1\"" cuda/*.cu ;;
    esac
}

# Line NUMBER of FILE without its barrier: "__syncthreads_or(x)" leaves "(x)".
mutate() { # FILE NUMBER
    rm -rf build/mutant
    mkdir -p build/mutant/cuda
    { units_of "$1" && echo "$1"; } | sort -u | xargs cp -t build/mutant/cuda
    sed -E -i "$2s/__syncthreads\(\)|__syncwarp\(\)|__threadfence(_[a-z]+)?\(\)|copy_(wait|commit)(<[^>]*>)?\(\)/(void)0/
               $2s/__syncthreads_(or|and|count)\(/(/" "build/mutant/$1"
    ! cmp -s "$1" "build/mutant/$1"
}

try() { # FILE NUMBER
    local units test
    units=$(units_of "$1" | sed 's,^cuda/,,; s,\.cu$,,' | tr '\n' ' ')
    for test in $(tests_of "$1"); do
        rm -f build/mutant/test # make leaves it where only the test is another
        if ! make --no-print-directory SAN=1 MUTANTS="$units" OF="$test" build/mutant/test >"$log" 2>&1; then
            echo "not ok $1:$2: does not compile: $(tail -n 2 "$log" | head -c 200)"
            bad=1
            return
        fi
        if ! timeout 900 build/mutant/test >"$log" 2>&1; then
            echo "ok $1:$2 noticed by $test: $(grep -m 1 -oE 'emulator: block.*|ERROR: Addr.*|got .* want .*' "$log" | head -c 120)"
            return
        fi
    done
    echo "not ok $1:$2 not noticed: $(sed -n "$2p" "$1" | sed 's/^ *//')"
    bad=1
}

# A way to wait that is not in `barrier` would not be tried.
others='cooperative_groups|cuda::|mbarrier|wait_all|async\.bulk|"(bar|barrier|fence|membar|red|atom)\.'

[ $# -gt 0 ] || set -- cuda/*.cu cuda/*.h
unset LONG # the tests' usual cases
for file in "$@"; do
    if grep -nE "$others" "$file"; then
        echo "not ok $file: mutants.sh cannot take this away"
        bad=1
    fi
    while read -r number; do
        if mutate "$file" "$number"; then
            try "$file" "$number"
        else
            echo "not ok $file:$number: mutants.sh cannot take this barrier away"
            bad=1
        fi
    done < <(sed -E 's,//.*,,; s,/\*[^*]*\*/,,' "$file" | grep -vnE '^ *(/?\*|#)' | grep -E "$barrier" |
        grep -vE 'static|inline|asm|MMA_FN|emu_' | cut -d: -f1)
done
exit $bad
