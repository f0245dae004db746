#!/usr/bin/env bash
# arm64.sh - aarch64 computes the same bits as x86-64: products of many sizes, and whole training runs of a
# GPT (in f32 and in bf16), a LLaMA block, a Gemma block under Muon, a ViT and a ConvNeXt.
#
#   test/arm64/arm64_bits.c  --> build/release/arm64_bits  plain, avx2, avx512: those that run here
#                            --> build/arm64/arm64_bits    neon, by an emulator (qemu-user)
#
# LONG=1 compares aarch64's plain kernel as well, and compiles as for people; else the compiler, which
# takes the longest here, optimizes less.
set -u
export LC_ALL=C
cd "$(dirname "$0")/.." || exit 1
unset MAKEFLAGS MAKELEVEL BUILD SAN CUDA ARCH

skip() {
    echo "skip aarch64: $1"
    exit 0
}
[ "$(uname -m)" = x86_64 ] || skip 'is compared with x86-64, on an x86-64 machine'
compiler=aarch64-linux-gnu-gcc
for emulator in qemu-aarch64-static qemu-aarch64 ''; do
    [ -z "$emulator" ] || ! command -v $emulator >/dev/null || break
done
{ command -v $compiler && [ -n "$emulator" ]; } >/dev/null ||
    skip 'needs its compiler and qemu-user: scripts/deps arm64 (or apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static)'

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
bad=0
report() { # NAME STATUS [WHY]
    if [ "$2" -eq 0 ]; then echo "ok $1"; else echo "not ok $1: ${3:-}"; bad=1; fi
}

build=build/arm64 kernels=neon how=(OPT=-O1 NEON_OPT=-O2 CPU_KERNELS=neon)
[ "${LONG:-0}" != 1 ] || { build=build/arm64-long kernels='neon plain' how=(); }
# headers of libraries lie behind those of aarch64's C library: of what is behind them nothing is linked
make CC="$compiler -idirafter /usr/include" CUDA=none MPI=no BARE=1 "${how[@]}" BUILD=$build $build/arm64_bits >"$work/log" 2>&1
report 'aarch64: the library is compiled' $? "$(grep -m 1 -E 'error|Error' "$work/log")"
[ $bad = 0 ] || exit 1

build/release/arm64_bits plain >"$work/want" 2>&1
report 'x86-64, plain' $? "$(tail -n 1 "$work/want")"
# compare NAME PROGRAM...: the same lines
compare() {
    local name=$1 why
    shift
    "$@" >"$work/got" 2>&1 || echo "status $?" >>"$work/got"
    why=$(diff "$work/want" "$work/got" | sed -n '2,4p' | tr '\n' ' ')
    cmp -s "$work/want" "$work/got"
    report "$name: the bits of x86-64's plain kernel" $? "$why"
}
for kernel in avx2 avx512; do
    if build/release/arm64_bits $kernel >"$work/got" 2>&1 || ! grep -q 'this processor runs' "$work/got"; then
        compare "x86-64, $kernel" build/release/arm64_bits $kernel
    else
        echo "skip x86-64, $kernel: this processor has none"
    fi
done
for kernel in $kernels; do
    compare "aarch64, $kernel" "$emulator" $build/arm64_bits "$kernel"
done
exit $bad
