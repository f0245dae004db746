#!/usr/bin/env bash
# gpu_model.sh - a step of GPT-2 124M as a GPU would be given it has at most 500 launches, moves at most 0.75 of
# what it once did, and asks cublasLt for no product that it is slow at (scripts/gpu-model); and the loops of
# the attention kernels are as short as they were made, where there is code for sm_90 to look at.
set -u
cd "$(dirname "$0")/.." || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
bad=0

report() { # TITLE STATUS
    if [ "$2" -eq 0 ]; then echo "ok $1"; else echo "not ok $1: $(tail -n 3 "$work/log" | tr '\n' ' ' | head -c 300)"; bad=1; fi
}

if ! command -v python3 >/dev/null; then
    echo "skip the model of a step needs Python 3"
    exit 0
fi
if [ "$(uname -m)" = x86_64 ]; then
    scripts/gpu-model --check --out "$work/model.md" >"$work/log" 2>&1
    report "launches and bytes of a step" $?
    grep -qE '^\| attention_grad \| attention_mma_keys \| 12 \| ' "$work/model.md"
    report "kernel by kernel" $?
else
    echo "skip the emulator of CUDA is written for x86-64"
fi

# what an instruction count is made of: a loop of three with a matrix instruction, and one without
cat >"$work/sass" <<'SASS'
		Function : _Z20attention_mma_kernelILi64ELb0EEvi
        /*0000*/                   MOV R1, c[0x0][0x28] ;
        /*0010*/              @!P0 IADD3 R2, R2, 0x1, RZ ;
        /*0020*/                   HMMA.16816.F32.BF16 R4, R8, R12, R4 ;
        /*0030*/               @P0 BRA 0x10 ;
        /*0040*/                   FADD R2, R2, R3 ;
        /*0050*/                   BRA 0x40 ;
SASS
scripts/sass-loops "$work/sass" >"$work/log" 2>&1 && grep -q '^| `attention_mma_kernel<64, false>` | 3 | 1416 | 0.00 | 1 |' "$work/log"
report "instructions of a loop" $?
! scripts/sass-loops --check "$work/sass" >"$work/log" 2>&1 && grep -q 'not in these objects' "$work/log"
report "a kernel that is not there" $?
objects=$(grep -l 'sm_90' build/release/cuda/attention_mma*.ptxas 2>/dev/null | sed 's/ptxas$/cu.o/')
if [ -n "$objects" ] && command -v cuobjdump >/dev/null && command -v nvdisasm >/dev/null; then
    # shellcheck disable=SC2086 # words
    scripts/sass-loops --check $objects >"$work/log" 2>&1
    report "loops of attention at most 0.6 of what they were" $?
else
    echo "skip loops of attention: no code for sm_90, or no cuobjdump and nvdisasm"
fi
exit $bad
