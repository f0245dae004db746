#!/usr/bin/env bash
# makefile.sh - `make` makes the programs, on any machine; and makes again what a change is in: of a
# source, a header, an option, or of what was installed since.
set -u
cd "$(dirname "$0")/.." || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
bad=0
unset MAKEFLAGS MAKELEVEL BUILD SAN CUDA GPU_ARCH ARCH JPEG PNG

report() { # NAME STATUS
    if [ "$2" -eq 0 ]; then echo "ok make: $1"; else echo "not ok make: $1"; bad=1; fi
}

# ---- the default goal ----

for how in CUDA=none 'SAN=1 CUDA=none' SAN=1 CUDA=nvcc MPI=no 'JPEG=no PNG=no PCRE2=no'; do
    [ "$how" != CUDA=nvcc ] || command -v nvcc >/dev/null || continue
    # shellcheck disable=SC2086 # options are words
    made=$(make -n $how GPU_ARCH=90 BUILD="$work/none" 2>/dev/null | grep -oE "ld  $work/none/(train_gpt|train_vit|tokenize|generate|export)\"" | sort -u | wc -l)
    [ "$made" = 5 ]
    report "$how: all five programs" $?
done

# ---- what is made again ----

object=$work/b/data/images/picture_png.o
options=(CUDA=none ARCH=x86-64 PNG=no BUILD="$work/b")
make "${options[@]}" "$object" >"$work/out" 2>&1 || cat "$work/out"
[ -f "$object" ]
report 'an object' $?
make -q "${options[@]}" "$object"
report 'nothing has changed' $?
changes() { # NAME OPTIONS...: is it made again?
    local name=$1
    shift
    ! make -q "$@" "$object"
    report "$name" $?
}
changes 'another source' "${options[@]}" -W data/images/picture_png.c
changes 'another header' "${options[@]}" -W base/error.h
changes 'a library is there now' "${options[@]}" PNG=yes
changes 'another processor' "${options[@]}" ARCH=x86-64-v2
changes 'another compiler' "${options[@]}" CC=cc
make -q "${options[@]}" "$object"
report 'asking changes nothing' $?
make "${options[@]}" PNG=yes "$object" >"$work/out" 2>&1 && make -q "${options[@]}" PNG=yes "$object"
report 'made again, once' $?
exit $bad
