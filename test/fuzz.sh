#!/usr/bin/env bash
# fuzz.sh - every fuzz target with 6,000 inputs, from its seeds (LONG=1: for ten minutes; FUZZ_SECONDS changes that); see fuzz/.
# And whether each file that may read bytes from outside has a target.
set -u
cd "$(dirname "$0")/.." || exit 1

try=$(mktemp -d) || exit 1
trap 'rm -rf "$try"' EXIT
bad=0

# What reads nothing from outside, or only for one that is named: data/bpe/ is behind bpe.h.
others='data/bpe/* data/images/augment.c data/images/rand_augment.c data/images/resize.c data/prefetch.c data/text_source.c data/packing.c
        io/gguf.c io/gguf_model.c run/checkpoint.c run/checkpoint_thread.c run/gather.c run/log.c run/run_dir.c run/snapshot.c run/stop.c run/tensorboard.c'

# lacking TREE: the files of io/, data/, model/hf/ and run/, and the one of options, whose header no target includes or names, nor the header
# of what they are a part of: x_y.c of x.h.
lacking() {
    (cd "$1" && for file in $(find io data model/hf run train/options_file.c -name '*.c' | sort); do
        for other in $others; do
            # shellcheck disable=SC2254 # a pattern
            case $file in $other) continue 2 ;; esac
        done
        stem=${file%.c}
        until grep -qF "$stem.h" fuzz/*.[ch]; do
            case ${stem##*/} in *_*) stem=${stem%_*} ;; *) echo "$file" && break ;; esac
        done
    done)
}

for file in $(lacking .); do
    echo "not ok fuzz $file reads, and no target in fuzz/ includes its header: write one (fuzz/fuzz.h), or name it in test/fuzz.sh"
    bad=1
done
[ $bad = 1 ] || echo "ok every reader has a fuzz target"
mkdir "$try/tree" && cp -r io data model run train fuzz "$try/tree" && touch "$try/tree/io/new_format.c" && rm "$try/tree"/fuzz/fuzz_llmc.c
[ "$(lacking "$try/tree" | tr '\n' ' ')" = 'io/llmc.c io/new_format.c ' ] || { echo "not ok a reader without a target is noticed"; bad=1; }

echo 'int LLVMFuzzerTestOneInput(const unsigned char *b, unsigned long n) { return b && n > 9 ? 0 : 0; }
      int LLVMFuzzerTestOneInput(const unsigned char *, unsigned long);' >"$try/try.c"
if ! ${FUZZ_CC:-clang} -fsanitize=fuzzer,address,undefined "$try/try.c" -o "$try/try" 2>/dev/null; then
    echo "skip fuzz no clang with libFuzzer: scripts/deps fuzz (or apt-get install clang libclang-rt-14-dev)"
    exit $bad
fi
# for so few inputs, targets that compile in less than half of the time; what `make fuzz` has learned stays
[ "${LONG:-0}" = 1 ] || export FUZZ_BUILD=build/fuzz-short FUZZ_OPT=-O0
if ! make -j2 fuzz-build >"$try/log" 2>&1; then
    echo "not ok fuzz the targets do not build"
    sed 's/^/    /' "$try/log"
    exit 1
fi
# a time alone would be another number of inputs on each machine, and too few on a busy one
[ "${LONG:-0}" = 1 ] || export FUZZ_INPUTS=${FUZZ_INPUTS-$([ -n "${FUZZ_SECONDS:-}" ] || echo 6000)}
FUZZ_FRESH=1 FUZZ_SECONDS=${FUZZ_SECONDS:-$([ "${LONG:-0}" = 1 ] && echo 600 || echo 60)} fuzz/run || bad=1
exit $bad
