#!/usr/bin/env bash
# errors.sh - whatever is wrong with what the programs are given: one line that says so, status 1.
#
#     test/errors.sh [PROGRAM ...]      (default: train_gpt and tokenize in build/release and build/san)
#
# One line exactly: a second one would be a sanitizer's report, or noise.  It must begin with the
# program's name and hold the given words: what is wrong, where, and a way out.  Files are made here,
# byte by byte; all runs are of a model with next to no parameters.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
[ $# -gt 0 ] || set -- "$root"/build/{release,san}/{train_gpt,tokenize}
work=$(mktemp -d) || exit 1
trap 'chmod -R u+rwx "$work"; rm -rf "$work"' EXIT
bad=0 program='' name='' build=''

ok() { echo "ok $build/$name: $1"; }
not_ok() { echo "not ok $build/$name: $1: $2"; bad=1; }
skip() { echo "skip $build/$name: $1 $2"; }

# run ARGUMENTS...: leaves status, out, err
run() {
    timeout 60 "$program" "$@" >out 2>err </dev/null
    status=$?
}

# one_line TITLE WORDS: what run left is a refusal; WORDS are separated by |
one_line() {
    local title=$1 word words
    IFS='|' read -ra words <<<"$2"
    if [ $status -ne 1 ]; then not_ok "$title" "status $status, $(head -c 300 err)"; return; fi
    if [ "$(wc -l <err)" -ne 1 ] || [ "$(tail -c 1 err | od -An -c | tr -d ' ')" != '\n' ]; then
        not_ok "$title" "not one line on stderr: $(head -c 300 err | tr '\n' '~')"
        return
    fi
    if [ "$(head -c $((${#name} + 2)) err)" != "$name: " ]; then not_ok "$title" "not by $name: $(cat err)"; return; fi
    for word in "${words[@]}"; do
        grep -qF -e "$word" err || { not_ok "$title" "nothing about '$word': $(cat err)"; return; }
    done
    ok "$title"
}

refuses() { # TITLE WORDS ARGUMENTS...
    local title=$1 words=$2
    shift 2
    run "$@"
    one_line "$title" "$words"
}

# ---- files ----

byte() { printf '%b' "\\0$(printf %o $(($1 & 255)))"; }
le16() { byte "$1"; byte $(($1 >> 8)); }
le32() { le16 "$1"; le16 $(($1 >> 16)); }

# shard FILE MAGIC VERSION COUNT: the header; tokens are appended from the standard input
shard() {
    { le32 "$2"; le32 "$3"; le32 "$4"; head -c 1012 /dev/zero; cat; } >"$1"
}

zeros() { head -c "$1" /dev/zero; }

# llama FILE WIDTH HEADS HEAD INNER: a config.json
llama() {
    printf '{"model_type": "llama", "hidden_size": %d, "num_attention_heads": %d, "head_dim": %d, "intermediate_size": %d,
        "num_hidden_layers": 2, "vocab_size": 32000, "max_position_embeddings": 1000000, "hidden_act": "silu"}' "${@:2}" >"$1"
}

make_files() {
    llama heads.json 1 100000 10000000 4
    llama wide.json 64 4 16 10000000
    zeros 400 | shard good.bin 20240520 1 200
    zeros 400 | shard magic.bin 20240521 1 200
    zeros 400 | shard version.bin 20240520 2 200
    zeros 398 | shard truncated.bin 20240520 1 200
    zeros 401 | shard odd.bin 20240520 1 200
    zeros 400 | shard narrow.bin 20240801 7 200
    zeros 0 | shard empty.bin 20240520 1 0
    zeros 400 | shard negative.bin 20240520 1 -200
    zeros 34 | shard short.bin 20240520 1 17
    { le16 77; zeros 398; } | shard token77.bin 20240520 1 200
    { zeros 32; le16 65535; zeros 366; } | shard token65535.bin 20240520 1 200
    { zeros 40; le32 $((1 << 31)); zeros 756; } | shard token2g.bin 20240801 7 200
    for i in {1..200}; do le16 $((i * i % 47)); done | shard varied.bin 20240520 1 200
    zeros 0 >nothing.bin
    zeros 1000 >header.bin
    echo 'In the beginning was the Word' >text.bin
    mkdir directory.bin
    zeros 400 | shard locked.bin 20240520 1 200
    chmod 000 locked.bin
    echo word >file
    cp good.bin many_a.bin
    cp truncated.bin many_b.bin
    cp good.bin prefix_train.bin
}

# ---- train_gpt ----

small=(--layers 1 --heads 2 --width 8 --context 8 --vocab 50 --batch 2 --steps 2 --eval-every 0 --threads 1 --device cpu --out run)

# data TITLE WORDS FILE...
data() {
    local title=$1 words=$2
    shift 2
    refuses "$title" "$words" "${small[@]}" --train-data "$@"
}

train_data_errors() {
    data "wrong magic" "magic.bin|magic number 20240521|tokenize" magic.bin
    data "wrong version" "version.bin|version 2|tokenize" version.bin
    data "truncated" "truncated.bin|1422 bytes|200 tokens" truncated.bin
    data "odd size" "odd.bin|1425 bytes" odd.bin
    data "16-bit tokens called 32-bit" "narrow.bin|1824" narrow.bin
    data "empty shard" "empty.bin|0 tokens" empty.bin
    data "negative count" "negative.bin|-200" negative.bin
    data "empty file" "nothing.bin|0 bytes" nothing.bin
    data "part of a header" "header.bin|1000 bytes" header.bin
    data "a text" "text.bin|tokenize" text.bin
    data "too short for a batch" "short.bin|too short|batch" short.bin --batch 3
    # 24 windows of 8 tokens, each read once
    data "token out of range" "token77.bin|is 77|50 tokens" token77.bin --steps 12
    data "largest 16-bit token" "token65535.bin|is 65535|token 16" token65535.bin --steps 12
    data "token of 2^31" "token2g.bin|2147483648|token 10" token2g.bin --steps 12
    rm -r run # these began
    data "glob that matches nothing" "nosuch_*.bin|no file matches" 'nosuch_*.bin'
    data "missing file" "nosuch.bin|No such file" nosuch.bin
    data "missing directory" "no/such.bin" no/such.bin
    data "directory" "directory.bin|not a regular file" directory.bin
    data "device" "/dev/null|not a regular file" /dev/null
    data "one bad among several" "many_b.bin|1422" 'many_*.bin'
    data "several files, the last one bad" "odd.bin|1425" good.bin many_a.bin odd.bin
    data "validation data" "odd.bin|1425" good.bin --val-data odd.bin --eval-every 1
    data "validation too short" "short.bin|too short" good.bin --batch 3 --val-data short.bin --eval-every 1
    refuses "no data" "--train-data|make demo-data|tokenize" "${small[@]}"
    if [ -r locked.bin ]; then skip "unreadable file" "this user may read everything"; else
        data "unreadable file" "locked.bin|Permission denied" locked.bin
    fi
}

train_output_errors() {
    data "--out under a file" "file/run|--out" good.bin --out file/run
    data "--out is a file" "file|--out" good.bin --out file
    data "--out is empty" "--out" good.bin --out ''
    data "--out is too long" "--out|short" good.bin --out "$(printf '%5000s' x | tr ' ' x)"
    rm -rf taken && mkdir -p taken/log.jsonl
    data "log is a directory" "taken/log.jsonl|directory" good.bin --out taken
    rm -rf full && mkdir full && ln -s /dev/full full/log.jsonl
    data "full disk" "log.jsonl|No space left" good.bin --out full
    rm -rf locked && mkdir locked && chmod 555 locked
    if [ -w locked ]; then skip "--out is read-only" "this user may write everywhere"; else
        data "--out is read-only" "locked|--out" good.bin --out locked
    fi
    data "no vocabulary to sample with" "good.bin|--sample-every 0" good.bin --sample-every 1
    data "vocabulary missing" "prefix.vocab" prefix_train.bin --sample-every 1
}

train_option_errors() {
    refuses "unknown option" "--learning-rate|--help" --learning-rate 3
    refuses "unknown option behind others" "--nosuch|--help" --steps 3 --nosuch --plan
    refuses "unknown letter" "-z|--help" -z
    refuses "ambiguous option" "--bet|--help" --bet 0.5
    refuses "argument missing" "--steps" --plan --steps
    refuses "stray argument" "stray|--help" --plan stray
    refuses "unknown optimizer" "--optim adamv|nearest is adamw" --plan --optim adamv
    refuses "unknown model" "--model gpt2-124|nearest is gpt2-124m" --plan --model gpt2-124
    refuses "unknown schedule" "--schedule cosin|cosine" --plan --schedule cosin
    refuses "unknown policy" "--gradients all|overlay" --plan --gradients all
    refuses "unknown form" "--optim-impl fast|fused|passes" --plan --optim-impl fast
    refuses "heads do not divide" "--heads 5|--width 384" --plan --heads 5
    refuses "sequence too long" "--seq 300|256|--context" --plan --seq 300
    refuses "negative size" "--batch -3|between 1 and" --plan --batch -3
    refuses "size of nothing" "--layers 0|between 1 and" --plan --layers 0
    refuses "absurd size" "--width 1e12|between 1 and" --plan --width 1e12
    refuses "sizes that multiply to too much" "--batch" --plan --context 1e8 --batch 1e6 --width 1e5 --heads 1
    refuses "heads of a config.json that multiply to too much" "any machine|--batch" --plan --json --model heads.json --batch 4000 --seq 1000
    refuses "an MLP of a config.json, and many samples" "any machine|--batch" --plan --optim muon --model wide.json --batch 1e6 --seq 1000
    refuses "no number" "--lr fast|number" --plan --lr fast
    refuses "not a number" "--lr nan|number" --plan --lr nan
    refuses "half a step" "--steps 2.5|whole" --plan --steps 2.5
    refuses "decay rate of 1" "--beta1 1|between" --plan --beta1 1
    refuses "option of another optimizer" "--beta3|adamw" --plan --beta3 0.9
    refuses "orthogonal matrices in few bits" "--optim muon|--dtype fp32|--optim adamw" --plan --optim muon --dtype bf16
    refuses "orthogonal matrices, states in few bits" "--optim muon|--state fp32|--optim adamw" --plan --optim muon_r --state int8
    refuses "dealt masters in few bits" "--master split8|--zero 0|--master fp32" --plan --ranks 2 --zero 1 --dtype bf16 --master split8
    refuses "dealt states in few bits" "--state int8|--zero 0|--state fp32" --plan --ranks 2 --zero 1 --state int8
    refuses "ranks with sparsity" "--sparsity with several ranks|one rank" --plan --ranks 2 --sparsity 0.5
    refuses "no such parameter" "--freeze 'h.9.*' fits no parameter|names are like" --plan --freeze "h.9.*"
    refuses "nothing to train" "leave no parameter to train" --plan --freeze "*"
    refuses "cudnn with a model that it has nothing for" "--attention cudnn has no ALiBi" --plan --attention cudnn --dtype bf16 --device cuda --model bloom-560m
    refuses "less memory than parameters" "--memory 16M: nothing fits|MiB are missing|try a smaller model" --plan --device cpu --memory 16M --threads 1 --product-rate 1 --stream-rate 1
    refuses "less memory than a process" "--memory 1M: nothing fits|MiB are missing|the process takes" --plan --device cpu --memory 1M --threads 1 --product-rate 1 --stream-rate 1
    refuses "several models without a table" "several models only with|--plan --memory" --model "gpt*"
    refuses "no such models" "no preset has such a name|--help" --plan --memory 1G --model "nosuch*"
    refuses "two that say how much is made again" "--recompute block|--memory|leave one out" --plan --memory 1G --recompute block
    refuses "eps of lion" "--eps|lion" --plan --optim lion --eps 1e-8
    refuses "release with micro-batches" "--accum 4|overlay" --plan --gradients release --accum 4
    refuses "folding with clipping" "--grad-clip 1|--optim adama|adamw" --plan --optim adama --grad-clip 1
    refuses "folding with own gradients" "--gradients own|--optim adama" --plan --optim adama --gradients own
    refuses "folding by another rule" "--gradients fold|--optim lion_r|adama" --plan --optim lion_r --gradients fold
    refuses "release with clipping" "--grad-clip 1|overlay" --plan --gradients release --grad-clip 1
    refuses "--json alone" "--json|--plan" --json
    refuses "too many threads" "threads" "${small[@]}" --train-data good.bin --threads 100000
    refuses "a line break in an argument" "--optim" --plan --optim $'ada\nmw'
}

# A loss that is not finite ends the run with the step and the tensor.
train_divergence() {
    data "divergence" "step|the loss is|first seen in|--lr" varied.bin --optim sgd --lr 1e6 --schedule constant --warmup 0 --steps 200
    rm -rf run
}

# In an address space too small for the plan.  (A sanitizer's own would not fit.)
train_memory() {
    [ "$build" = release ] || return
    rm -rf run && mkdir run && echo older >run/log.jsonl
    ( ulimit -v 1000000 && exec timeout 60 "$program" --device cpu --model gpt2-124m --train-data good.bin --batch 1 --seq 8 \
        --vocab 50257 --out run --eval-every 0 --threads 1 ) >out 2>err </dev/null
    status=$?
    one_line "more memory than there is" "are free|MiB"
    if [ "$(cat run/*)" = older ]; then ok "and the older run is left alone"; else not_ok "and the older run is left alone" "$(ls run)"; fi
    rm -rf run
}

train_help() {
    run --help
    if [ $status -ne 0 ] || [ -s err ]; then not_ok "--help" "status $status: $(head -c 200 err)"; return; fi
    local option without=0
    # one line for each option, whatever was broken over lines and whatever its text names
    awk '{ match($0, /^ */) } RLENGTH <= 6 && substr($0, RLENGTH + 1, 1) == "-" { printf "\n" }
        { sub(RLENGTH <= 6 ? "^ *(-., )?" : "^ *", RLENGTH <= 6 ? "" : " "); printf "%s", $0 }' out >flat
    for option in model layers heads width context vocab train-data val-data optim optim-impl gradients lr beta1 beta2 \
        beta3 eps weight-decay grad-clip schedule warmup final-lr-fraction batch seq accum steps threads seed eval-every \
        eval-batches sample-every sample-tokens prompt checkpoint-every keep resume out; do
        grep -qE -e "^--$option=.*\[default: [^]]+\]" flat || { not_ok "--help" "no default for --$option"; without=1; }
    done
    grep -q -e '^--lr=.*with --load a fiftieth' flat || { not_ok "--help" "--lr: nothing of --load"; without=1; }
    "$(dirname "$program")/train_vit" --help | grep -q -e 'fiftieth' && { not_ok "--help" "train_vit has --lr as train_gpt has it"; without=1; }
    [ $without -eq 1 ] || ok "--help shows each default"
    for option in --plan --json --help; do grep -q -e "$option" out || not_ok "--help" "no $option"; done
    local presets optimizers
    presets=$(sed -n '/model_config texts/,/^};/p' "$root/model/presets.c" | grep -oE '^ *[A-Z0-9]+\("[^"]+"' | cut -d'"' -f2)
    # a rule with a header of its own is an optimizer, unless another names it as its passes
    optimizers=$(sed -n 's,^#include "optim/rules/\(.*\)\.h"$,\1,p' "$root/optim/rules/all.h")
    for option in $optimizers; do
        grep -q "r_passes = \"$option\"" "$root"/optim/rules/*.h && optimizers=$(grep -vx "$option" <<<"$optimizers")
    done
    [ "$(wc -w <<<"$presets")" -ge 30 ] || { not_ok "--help" "only these presets were found: $presets"; without=1; }
    [ "$(wc -w <<<"$optimizers")" -ge 6 ] || { not_ok "--help" "only these optimizers were found: $optimizers"; without=1; }
    for option in $presets; do
        grep -qw -e "$option" out || { not_ok "--help" "no preset $option"; without=1; }
    done
    for option in $optimizers; do
        grep -qw -e "$option" out || { not_ok "--help" "no optimizer $option"; without=1; }
    done
    for option in Model Data Optimizer Memory "The run" Output "Several ranks"; do
        grep -qx -e " $option:" out || { not_ok "--help" "no heading $option"; without=1; }
    done
    [ $without -eq 1 ] || ok "--help shows presets and optimizers"
}

# What is refused leaves nothing behind, and what is fine is not refused.
train_good() {
    [ -e run ] && not_ok "refusals leave no files" "$(ls run)"
    run "${small[@]}" --train-data good.bin --val-data 'many_[a].bin' --eval-every 1
    if [ $status -eq 0 ] && [ -s run/model.safetensors ]; then ok "good data"; else not_ok "good data" "status $status: $(head -c 300 err)"; fi
    rm -rf run
}

# ---- tokenize ----

tokenize_errors() {
    refuses "unknown option" "--nosuch" --nosuch
    refuses "argument missing" "--output|--help" --output
    refuses "missing input" "nosuch|cannot open" -o x nosuch
    refuses "directory as input" "directory.bin" -o x directory.bin
    refuses "no output" "--output" text.bin
    refuses "output under a file" "file/x" -o file/x text.bin
    refuses "bad vocabulary" "vocabulary|257" --vocab bpe:0 -o x text.bin
    refuses "decoding a text" "text.bin|tokenize" --decode text.bin
    refuses "decoding what is cut" "truncated.bin|1422" --decode truncated.bin
    refuses "decoding a token outside" "token65535.bin|65535" --decode token65535.bin
    if [ -r locked.bin ]; then skip "unreadable input" "this user may read everything"; else
        refuses "unreadable input" "locked.bin|Permission denied" -o x locked.bin
    fi
    [ -z "$(find . -name 'x*')" ] && ok "nothing is left" || not_ok "nothing is left" "$(find . -name 'x*')"
    run --help
    if [ $status -eq 0 ] && grep -q 'default: 0.1' out; then ok "--help"; else not_ok "--help" "status $status"; fi
}

cd "$work" || exit 1
make_files
tried=0
for program; do
    name=$(basename "$program") build=$(basename "$(dirname "$program")")
    if [ ! -x "$program" ]; then
        if [ "$build" = release ]; then not_ok "program" "is not built"; else skip program "is not built"; fi
        continue
    fi
    tried=$((tried + 1))
    case $name in
    tokenize) tokenize_errors ;;
    *)
        train_data_errors
        train_output_errors
        train_option_errors
        train_divergence
        train_memory
        train_help
        train_good
        ;;
    esac
done
[ $tried -gt 0 ] && exit $bad
exit 1
