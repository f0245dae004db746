#!/usr/bin/env bash
# ptxas.sh - no kernel keeps in memory what has no room in registers (spills), in the build that nvcc
# made; and the script that says so notices when one does. The pages name the kernels that there are.
set -u
cd "$(dirname "$0")/.." || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
bad=0

report() { # TITLE STATUS
    if [ "$2" -eq 0 ]; then echo "ok $1"; else echo "not ok $1: $(tail -n 3 "$work/log" | head -c 300)"; bad=1; fi
}

mkdir "$work/cuda"
printf '%s\n' "ptxas info    : Compiling entry function '_Z1kIfEvPfi' for 'sm_90'" \
    'ptxas info    : Function properties for _Z1kIfEvPfi' \
    '    8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads' \
    'ptxas info    : Used 32 registers, used 1 barriers, 1536 bytes smem, 400 bytes cmem[0]' >"$work/cuda/k.ptxas"
scripts/ptxas-table --spills "$work" >"$work/log" 2>&1
[ $? -eq 1 ] && grep -qF 'k: k<float> (sm_90): 4 bytes stored, 12 loaded' "$work/log"
report "a spill is noticed" $?
scripts/ptxas-table "$work" >"$work/log" 2>&1
grep -qF '| k | `k<float>` | 32 | 1536 | 16 |' "$work/log"
report "the table" $?

if ls build/release/cuda/*.ptxas >/dev/null 2>&1; then
    scripts/ptxas-table --spills build/release >"$work/log" 2>&1
    report "no kernel spills" $?
else
    echo "skip no kernel spills: this build has no nvcc"
fi

# The pages name the kernels that there are: the table all of them, the others none that has gone.
cat cuda/*.cu cuda/*.h | tr '\n' ' ' | grep -oE '__global__ void +(__launch_bounds__\([^)]*\) +)?[a-z0-9_]+' |
    grep -oE '[a-z0-9_]+$' | sort -u >"$work/kernels"
sed -n 's/^| [a-z0-9_]* | `\([a-z0-9_]*\).*/\1/p' docs/ptxas.md | sort -u >"$work/tabled"
[ -s "$work/kernels" ] && diff "$work/kernels" "$work/tabled" >"$work/log"
report "docs/ptxas.md has every kernel (make GPU_ARCH=all, make ptxas)" $?
grep -ohE '\b([a-z0-9]+_)+kernel\b|attention_mma_(queries|keys)\b' docs/*.md | sort -u >"$work/named"
[ -s "$work/named" ] && comm -23 "$work/named" "$work/kernels" >"$work/log" && [ ! -s "$work/log" ]
report "pages name kernels that there are" $?
exit $bad
