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
    made=$(make -n $how GPU_ARCH=90 BUILD="$work/none" 2>/dev/null | grep -oE "ld  $work/none/(train_gpt|train_vit|tokenize|generate|export|predict)\"" | sort -u | wc -l)
    [ "$made" = 6 ]
    report "$how: all six programs" $?
done

# ---- for which GPUs ----

if command -v nvcc >/dev/null; then
    mkdir -p "$work/h100" "$work/no"
    printf '#!/bin/sh\necho 9.0\n' >"$work/h100/nvidia-smi"
    printf '#!/bin/sh\nexit 9\n' >"$work/no/nvidia-smi"
    chmod +x "$work"/*/nvidia-smi
    # GPU OPTIONS...: the targets that kernels are compiled for
    targets() {
        local gpu=$1
        shift
        PATH=$work/$gpu:$PATH make -n "$@" BUILD="$work/none" V=1 2>/dev/null |
            grep -m 1 -- '-c cuda/fill.cu' | grep -oE 'code=[a-z]+_[0-9]+' | tr '\n' ' '
    }
    [ "$(targets no)" = 'code=sm_80 code=compute_80 ' ]
    report 'without a GPU: one architecture and PTX' $?
    [ "$(targets h100)" = 'code=sm_90 code=compute_90 ' ]
    report 'for the GPU that is here' $?
    [ "$(targets no GPU_ARCH=all)" = 'code=sm_80 code=sm_90 code=sm_100 code=sm_120 code=compute_120 ' ]
    report 'GPU_ARCH=all: all of them' $?
    for demo in demo-data demo-vit; do
        [ -z "$(targets no $demo)" ] && [ -n "$(targets no $demo CUDA=nvcc)" ] && [ -n "$(targets h100 $demo)" ]
        report "$demo: kernels where there is a GPU, or they are asked for" $?
    done
else
    echo 'skip make: for which GPUs (no nvcc)'
fi

# ---- what is made again ----

object=$work/b/data/images/picture_png.o
options=(CUDA=none ARCH=x86-64 PNG=no BUILD="$work/b")
make "${options[@]}" "$object" "$work/b/device" >"$work/out" 2>&1 || cat "$work/out"
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
make -q "${options[@]}" "$work/b/device" && ! make -q "${options[@]}" CUDA=other "$work/b/device"
report 'another device: programs are linked again' $?
make -q "${options[@]}" CUDA=other "$object"
report 'another device: objects are not made again' $?
make "${options[@]}" PNG=yes "$object" >"$work/out" 2>&1 && make -q "${options[@]}" PNG=yes "$object"
report 'made again, once' $?
exit $bad
