#!/usr/bin/env bash
# bench_gpu.sh - scripts/bench-gpu as far as it can be tried without a GPU: our side on the emulator, and
# what a machine without a GPU is told.
set -u
cd "$(dirname "$0")/.." || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
bad=0

report() { # TITLE STATUS
    if [ "$2" -eq 0 ]; then echo "ok $1"; else echo "not ok $1: $(tail -n 3 "$work/log" | head -c 300)"; bad=1; fi
}

if ! command -v python3 >/dev/null; then
    echo "skip bench-gpu needs Python 3"
    exit 0
fi
if [ "$(uname -m)" = x86_64 ]; then
    scripts/bench-gpu --only tiny --programs build/san --without-torch --steps 6 --out "$work/table.md" >"$work/log" 2>&1 &&
        grep -qE '^\| Regrad \| [0-9]+ tokens/s \| [0-9.]+ \| [0-9.]+ % \| [0-9.]+ % \| [0-9]+ \|$' "$work/table.md"
    report "a table of our side" $?
    [ "$(grep -cE '^\| Regrad, --attention cudnn(-repeatable)? \| [0-9]+ tokens/s ' "$work/table.md")" -eq 2 ]
    report "and of attention by cuDNN" $?
    grep -qE '^\| Regrad, --optim adamw_r \| [0-9]+ tokens/s ' "$work/table.md"
    report "and of adamw_r" $?
    scripts/bench-gpu --only tiny --programs "$work/none" --without-torch --steps 6 --out "$work/none.md" >"$work/log" 2>&1 &&
        [ "$(grep -cE '^\| Regrad.* \| failed: ' "$work/none.md")" -eq 4 ]
    report "a failure is a row" $?
fi
if ! command -v nvidia-smi >/dev/null; then
    scripts/bench-gpu >"$work/log" 2>&1
    [ $? -eq 1 ] && [ "$(wc -l <"$work/log")" -eq 1 ] && grep -q 'no GPU' "$work/log"
    report "without a GPU: one line" $?
    python3 scripts/bench_gpu_torch.py >"$work/log" 2>&1
    [ $? -eq 1 ] && [ "$(wc -l <"$work/log")" -eq 1 ]
    report "PyTorch's side without a GPU: one line" $?
fi
exit $bad
