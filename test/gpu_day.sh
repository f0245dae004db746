#!/usr/bin/env bash
# gpu_day.sh - scripts/gpu-pack and scripts/gpu-day, as far as a machine without a GPU can try them: the pack is
# made of the programs that are built, with their libraries; every step is tried, none stops the next, and
# the report says how each ended.
set -u
cd "$(dirname "$0")/.." || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
bad=0

report() { # TITLE STATUS
    if [ "$2" -eq 0 ]; then echo "ok $1"; else echo "not ok $1: $(tail -n 3 "$work/log" | tr '\n' ' ' | head -c 300)"; bad=1; fi
}

for tool in python3 xz objdump; do
    command -v $tool >/dev/null || { echo "skip gpu-day needs $tool"; exit 0; }
done
if nvidia-smi >/dev/null 2>&1; then # then it is no trial
    echo "skip gpu-day --try is for machines without a GPU"
    exit 0
fi

scripts/gpu-day --trial >"$work/log" 2>&1
[ $? -eq 1 ] && grep -q -- --try "$work/log"
report "another option: refused" $?
GPU_PACK=$work/none scripts/gpu-day --try >"$work/log" 2>&1
[ $? -eq 1 ] && [ "$(wc -l <"$work/log")" -eq 1 ] && grep -q gpu-pack "$work/log"
report "without a pack: one line" $?

BUILT=build/release QUICK=1 XZ=-0 scripts/gpu-pack "$work/pack" >"$work/log" 2>&1
report "a pack of what is built" $?
tar -tJf "$work/pack/gpu-day.tar.xz" >"$work/log"
[ "$(grep -cE '^bin/train_gpt$|^lib/libcjson|^data/tokens.bin$' "$work/log")" -eq 3 ]
report "programs, libraries, tokens are in it" $?
mkdir "$work/built"
BUILT=$work/built QUICK=1 XZ=-0 scripts/gpu-pack "$work/empty" >"$work/log" 2>&1
[ "$(grep -c 'gpu-pack: without ' "$work/log")" -gt 10 ]
report "what is not built is named" $?

OUT=$work/out GPU_PACK=$work/pack/gpu-day.tar.xz scripts/gpu-day --try >"$work/log" 2>&1
report "all steps tried" $?
python3 - "$work/out" >"$work/log" 2>&1 <<'PYTHON'
import json, os, sys
out = sys.argv[1]
steps = [json.loads(line) for line in open(os.path.join(out, "report.jsonl"))]
names = [s["step"] for s in steps]
for wanted in ("environment", "open_lazy", "same_bf16", "bits", "speed_b64_cudnn", "torch_b16_compiled", "products", "kernels",
               "sanitize_memcheck", "test_nccl"):
    assert wanted in names, wanted
assert names.index("same_bf16") < names.index("speed_b16_flash") < names.index("kernels")
opened = steps[names.index("open_lazy")]
assert opened["rc"] == 1 and "--device cpu" in opened["tail"], opened  # no GPU: a line that helps
report = open(os.path.join(out, "report.md")).read()
for part in ("# GPU day", "## Machine", "## Tests", "## Losses", "## Speed", "| b16_flash | failed", "## Products", "## Kernels", "## Sanitizer"):
    assert part in report, part
assert os.path.exists(os.path.join(out, "kernels.csv")) and os.path.exists(os.path.join(out, "logs.tar.gz"))
PYTHON
report "the report has each of them" $?

OUT=$work/late GPU_DAY_SECONDS=1 GPU_PACK=$work/pack/gpu-day.tar.xz scripts/gpu-day --try >"$work/log" 2>&1
[ "$(grep -c '"rc": -1' "$work/late/report.jsonl")" -gt 15 ]
report "past the deadline nothing begins" $?
exit $bad
