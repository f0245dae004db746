#!/usr/bin/env bash
# makefile.sh - `make` makes the programs, on any machine; and makes again what a change is in: of a
# source, a header, an option, or of what was installed since.
set -u
cd "$(dirname "$0")/.." || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
bad=0
unset MAKEFLAGS MAKELEVEL BUILD SAN CUDA GPU_ARCH ARCH JPEG PNG WEBP

report() { # NAME STATUS [WHY]
    if [ "$2" -eq 0 ]; then echo "ok make: $1"; else echo "not ok make: $1 ${3:-}"; bad=1; fi
}

# ---- the default goal ----

for how in CUDA=none 'SAN=1 CUDA=none' SAN=1 CUDA=nvcc MPI=no 'JPEG=no PNG=no WEBP=no PCRE2=no'; do
    [ "$how" != CUDA=nvcc ] || command -v nvcc >/dev/null || continue
    # shellcheck disable=SC2086 # options are words
    made=$(make -n $how GPU_ARCH=90 BUILD="$work/none" 2>/dev/null | grep -oE "ld  $work/none/(train_gpt|train_vit|tokenize|generate|export|predict)\"" | sort -u | wc -l)
    [ "$made" = 6 ]
    report "$how: all six programs" $?
done

# where it does not matter which libraries are there, nothing is compiled to find it out
without=(PCRE2=no UTF8PROC=no ZSTD=no JPEG=no PNG=no WEBP=no MPI=no)

# kernels for every processor; with sanitizers, those that ARCH's runs
if [ "$(uname -m)" = x86_64 ]; then
    for how in 'ARCH=x86-64 1' 'SAN=1 ARCH=x86-64-v3 0' 'SAN=1 ARCH=x86-64-v4 1'; do
        # shellcheck disable=SC2086 # options are words
        [ "$(make -n CUDA=none "${without[@]}" ${how% *} BUILD="$work/none" | grep -c 'cpu/micro.c (avx512)')" = "${how##* }" ]
        report "${how% *}: ${how##* } kernel for AVX-512" $?
    done
fi

# ---- what is left out is named; programs are small ----

for library in PCRE2 UTF8PROC ZSTD JPEG PNG WEBP MPI; do
    [ "$(make -n CUDA=none PCRE2=yes UTF8PROC=yes ZSTD=yes JPEG=yes PNG=yes WEBP=yes MPI=yes $library=no BUILD="$work/none" | grep -c 'left out:.*apt-get install lib')" = 1 ]
    report "without $library: one line says what is left out" $?
done
for program in build/release/{train_gpt,train_vit,tokenize,generate,export,predict}; do
    # a build for GPUs has their kernels in it
    [ "$(cat build/release/device)" != none ] || [ "$(stat -Lc %s $program)" -le 4000000 ]
    report "$program: at most 4 MB" $?
done

# ---- the packages of the Dockerfile and debian/ are those of scripts/deps; versions ----

# the runtime's package of a library; without MPI, which the image does without
runtime() {
    case $1 in
    libcjson-dev) echo libcjson1 ;; libpcre2-dev) echo libpcre2-8-0 ;; libutf8proc-dev) echo libutf8proc2 ;;
    libzstd-dev) echo libzstd1 ;; zlib1g-dev) echo zlib1g ;; libjpeg-dev) echo libjpeg62-turbo ;; libpng-dev) echo libpng16-16 ;;
    libwebp-dev) echo libwebp7 && echo libwebpdemux2 ;;
    libxxhash-dev | libc6-dev | libopenmpi-dev) ;; # a header; of every image; not in this build
    *) echo "nobody-knows-of-$1" ;;
    esac
}
libraries=$(scripts/deps --list build | grep -e '-dev$')
wanted=$({ echo libgomp1; for library in $libraries; do runtime "$library"; done; } | sort)
there=$(sed -n '/^FROM debian:12-slim/,$p' Dockerfile | grep -oE '\b(lib[a-z0-9-]+|zlib1g)\b' | grep -vx lib | sort -u)
[ "$wanted" = "$there" ]
report 'the Dockerfile installs what the build links' $? "$(diff <(echo "$wanted") <(echo "$there") | tr '\n' ' ')"
lost=$(for library in $libraries; do [ "$library" = libc6-dev ] || grep -q -e "$library" debian/control || echo "$library"; done)
[ -z "$lost" ]
report 'debian/control has what the build needs' $? "$lost"
[ "$(sed -n '1s/.*(\(.*\)).*/\1/p' debian/changelog)" = "$(cat VERSION)" ] && grep -q "^## $(cat VERSION | sed 's/\./\\./g')\b" CHANGELOG.md
report 'one version' $?

# programs that have libgomp in them set its spinning (tools/openmp_spin.c), unless the user did
spinning() { env -u GOMP_SPINCOUNT -u OMP_WAIT_POLICY "$@" OMP_DISPLAY_ENV=verbose build/release/train_gpt --version 2>&1 |
    sed -n "s/.*GOMP_SPINCOUNT = '\(.*\)'/\1/p"; }
if [ -x build/release/train_gpt ] && ! ldd build/release/train_gpt | grep -q libgomp; then
    [ "$(spinning A=1) $(spinning GOMP_SPINCOUNT=77) $(spinning OMP_WAIT_POLICY=passive)" = '1000 77 0' ]
    report 'OpenMP spins briefly, or as the user says' $? "$(spinning A=1) $(spinning GOMP_SPINCOUNT=77) $(spinning OMP_WAIT_POLICY=passive)"
else
    echo 'skip OpenMP spins briefly: programs are linked with libgomp.so'
fi

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
        PATH=$work/$gpu:$PATH make -n "${without[@]}" "$@" BUILD="$work/none" V=1 2>/dev/null |
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

# ---- what pip builds ----

python=${PYTHON:-/usr/bin/python3}
if "$python" -c 'import setuptools' 2>/dev/null; then
    mkdir -p "$work/pip" "$work/bin"
    cp -r python VERSION "$work/pip"
    rm -rf "$work/pip/python/build"
    # shellcheck disable=SC2016 # the words of another script
    printf '#!/bin/sh\necho "$*" >"%s/words"\nmkdir -p "$2/build/release" && : >"$2/build/release/libregrad.so"\n' "$work" >"$work/bin/make"
    chmod +x "$work/bin/make"
    for cuda in '' nvcc; do
        (cd "$work/pip/python" && PATH=$work/bin:$PATH env ${cuda:+CUDA=$cuda} "$python" setup.py -q build_py) >"$work/out" 2>&1
        grep -q " CUDA=${cuda:-none} library$" "$work/words"
        report "pip: ${cuda:-no kernels unless asked for}" $? "$(tail -n 1 "$work/out")"
        rm -f "$work/words"
    done
else
    echo 'skip make: what pip builds (no setuptools)'
fi

# ---- what is made again ----

object=$work/b/data/images/picture_png.o
options=(CUDA=none ARCH=x86-64 "${without[@]}" BUILD="$work/b")
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
