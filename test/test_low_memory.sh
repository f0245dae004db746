#!/usr/bin/env bash
# test_low_memory.sh - scripts/low-memory-table with runs of two steps: its rows, that it does not repeat what is
# done but makes what is not, and that bad input is one line.
set -u
cd "$(dirname "$0")/.." || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work" "runs/data/low-memory-test-$$"*' EXIT
report() { # TITLE STATUS
    if [ "$2" -eq 0 ]; then echo "ok low-memory-table: $1"; else echo "not ok low-memory-table: $1: $(tail -n 2 "$work/err" | tr '\n' ' ')"; fi
}
if [ ! -x ./train_vit ] || [ ! -x ./train_gpt ]; then
    echo "not ok low-memory-table: not built: run \`make test\`"
    exit 1
fi

# 40 images of 28 x 28, and a text of 60 kB
images() { # NAME
    { printf '\0\0\10\3\0\0\0\50\0\0\0\34\0\0\0\34' && seq 1 20000 | head -c 31360; } >"$work/$1-images-idx3-ubyte"
    { printf '\0\0\10\1\0\0\0\50' && seq 0 39 | awk '{ printf "%c", $1 % 9 + 1 }'; } >"$work/$1-labels-idx1-ubyte"
}
images train
images test
seq 1 12000 >"$work/low-memory-test-$$.txt"
table() {
    VIT_STEPS=2 GPT_STEPS=2 RUNS="$work/runs" TEXT="$work/low-memory-test-$$.txt" \
        VIT_DATA="$work/train-images-idx3-ubyte,$work/test-images-idx3-ubyte" timeout 300 scripts/low-memory-table "$@" 2>"$work/err"
}

table "$work/table.md"
report "the table is made" $?
# planned = allocated, twenty times less for the ViT with all there is; the same bits have the same loss
awk -F ' *[|] *' '
    /^## / { part = substr($0, 4, 3) }
    NF > 8 && $3 + 0 > 0 {
        rows++
        if ($3 != $4) exit bad = 1
        loss[part $2] = $6; memory[part $2] = $3
    }
    END {
        if (bad || rows != 20) exit 1
        for (i = 1; i <= 2; i++) {
            part = i == 1 ? "ViT" : "GPT"
            plain = loss[part "plain"]
            if (plain == "" || loss[part "recomputation"] != plain || loss[part "`adamw_r`"] != plain) exit 1
            if (loss[part "plain, another seed"] == plain || loss[part "low precision"] == "") exit 1
        }
        if (memory["ViTall but sparsity"] * 12 > memory["ViTplain"]) exit 1
        if (memory["ViTall"] * 20 > memory["ViTplain"]) exit 1
    }' "$work/table.md"
report "its rows" $?

# one run that did not come to its end is made; nothing else is done again
stopped=$(find "$work/runs" -maxdepth 1 -name 'long-vit-*' | sort | head -n 1)
rm -r "$stopped/model.safetensors" "$stopped"/step_*
touch "$work/mark"
table "$work/again.md" && [ -s "$stopped/model.safetensors" ] && cmp -s "$work/table.md" "$work/again.md" &&
    [ "$(find "$work"/runs/*/model.safetensors -newer "$work/mark")" = "$stopped/model.safetensors" ]
report "what is done is not repeated" $?

# the wide residual network: all together plan less than a 60th, what is trained is what was planned
MODELS=wrn WRN_STEPS=2 WRN_BATCH=8 table "$work/wrn.md"
report "the page of the wide residual network" $?
awk -F ' *[|] *' '
    /^## / { part++ }
    part == 1 && $3 + 0 > 0 { planned++; sub("1/", "", $4); of[$2] = $4 }
    part == 2 && $3 + 0 > 0 { trained++; if ($3 != $4) exit bad = 1 }
    END { exit bad || planned != 14 || trained != 11 || of["all, GroupNorm, an image at a time"] < 80 }' "$work/wrn.md"
report "its rows" $?

! MODELS=cnn scripts/low-memory-table "$work/x" 2>"$work/err" && [ "$(wc -l <"$work/err")" -eq 1 ] && grep -q 'MODELS' "$work/err"
report "other models" $?
! VIT_STEPS=0 scripts/low-memory-table "$work/x" 2>"$work/err" && [ "$(wc -l <"$work/err")" -eq 1 ] && grep -q 'VIT_STEPS' "$work/err"
report "steps that are none" $?
