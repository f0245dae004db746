#!/usr/bin/env bash
# test_chat.sh - conversations from JSON Lines to answers: tokenize --chat, train_gpt on marked shards, generate --chat
# and --eval, export.  Prints "ok NAME" or "not ok NAME" for each test.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
bin=$root/build/release
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_mpi_yield_when_idle=1
bad=0

report() { # NAME STATUS
    if [ "$2" -eq 0 ]; then echo "ok chat: $1"; else echo "not ok chat: $1"; bad=1; fi
}

# three questions, whose answers can be learned by heart, in conversations of several lengths
cat >t.jinja <<'END'
{% for m in messages %}
{{ '<' + m.role + '>' + m.content + eos_token }}
{% endfor %}
{% if add_generation_prompt %}
<assistant>{% endif %}
END
turn() { printf '{"role":"user","content":"%s"},{"role":"assistant","content":"%s"}' "$1" "$2"; }
for i in {1..60}; do
    case $((i % 3)) in
    0) echo "{\"messages\":[$(turn red rose)]}" ;;
    1) echo "{\"messages\":[$(turn blue sky),$(turn red rose)]}" ;;
    2) echo "{\"messages\":[$(turn green 'grass and leaves')]}" ;;
    esac
done >talk.jsonl
printf 'red rose#blue sky#green grass and leaves' >words
"$bin/tokenize" -v bytes -s '#' -f 0 -o words words >log 2>&1 &&
    "$bin/tokenize" --chat -v words.vocab --template t.jinja -o talk talk.jsonl >log 2>&1 || { cat log; report "shards" 1; exit 1; }

train=("$bin/train_gpt" --layers 1 --heads 2 --width 32 --context 96 --vocab 257 --batch 1 --accum 2 --lr 0.01 --warmup 2 --optim adamw
    --train-data talk_train.bin --val-data talk_val.bin --eval-batches 1000 --device cpu --threads 1 --seed 3)
"${train[@]}" --steps 120 --eval-every 40 --checkpoint-every 50 --out a >a.log 2>&1
report "a training on conversations" $?
report "what was planned was allocated" "$([ -n "$(sed -n 's/.*memory planned \([0-9.]*\) MiB, allocated \1 MiB.*/\1/p' a.log)" ]; echo $?)"
report "it says how much is learned and filled" "$(grep -q '^training: 54 documents in [0-9]* rows of 96: .* learned, .* filling' a.log; echo $?)"

"${train[@]}" --steps 120 --eval-every 40 --checkpoint-every 50 --out b >b.log 2>&1 &&
    rm b/model.safetensors && rm -rf b/checkpoint-120 b/*120* 2>/dev/null
"${train[@]}" --steps 120 --eval-every 40 --checkpoint-every 50 --resume auto --out b >b2.log 2>&1 &&
    cmp -s a/model.safetensors b/model.safetensors && ! grep -q 'step  *1/' b2.log
report "resumed to the bit" $?

if command -v mpirun >/dev/null && "$bin/train_gpt" --help | grep -q -- --zero; then
    "${train[@]}" --accum 2 --steps 5 --eval-every 5 --out one >one.log 2>&1
    mpirun -np 2 "${train[@]}" --accum 1 --steps 5 --eval-every 5 --out two >two.log 2>&1
    # each rank has other numbers of learned tokens: means of means would be off by per cents
    losses() { sed -n 's/^{"step":[0-9]*,"loss":\([0-9.]*\).*/\1/p' "$1/log.jsonl"; }
    paste <(losses one) <(losses two) | awk '{ d = $1 - $2; if (d < 0) d = -d; bad += d > 2e-6 * $1 } END { exit bad || NR != 5 }'
    report "two ranks weigh what is learned as one does" $?
fi

# the loss of a shard, as training has it
value() { sed -n "s/^{\"step\":$2,.*\"val_loss\":\([0-9.]*\).*/\1/p" "$1/log.jsonl"; }
close() { awk -v x="$1" -v y="$2" 'BEGIN { exit !(x > 0 && x - y < 2e-4 * x && y - x < 2e-4 * x) }'; }
"$bin/generate" --load a --eval talk_val.bin --device cpu >out 2>err
close "$(value a 120)" "$(sed -n 's/^loss \([0-9.]*\) .*/\1/p' out)"
report "--eval of conversations is training's" $?
"$bin/tokenize" -v words.vocab -o plain <(for i in {1..400}; do echo "line $i of some text"; done) >log 2>&1
"$bin/train_gpt" --layers 1 --heads 2 --width 16 --context 32 --vocab 257 --batch 1 --steps 10 --eval-every 10 --eval-batches 100000 \
    --train-data plain_train.bin --val-data plain_val.bin --device cpu --threads 1 --out plain >log 2>&1
"$bin/generate" --load plain --eval plain_val.bin --device cpu >out 2>err
close "$(value plain 10)" "$(sed -n 's/^loss \([0-9.]*\) .*/\1/p' out)"
report "and of a plain shard" $?

# answers
says() { # NAME WANTED ARGUMENTS...
    local name=$1 want=$2
    shift 2
    "$bin/generate" --load a --temperature 0 --tokens 40 --device cpu "$@" >out 2>err </dev/null
    [ "$(cat out)" = "$want" ]
    report "$name" $?
}
says "a question is answered, and no more" "rose" --chat --prompt red
says "another" "grass and leaves" --chat --prompt green
printf 'blue\nred\n' | "$bin/generate" --load a --chat --temperature 0 --tokens 40 --device cpu >out 2>err
report "line by line, with what was said" "$([ "$(cat out)" = $'sky\nrose' ]; echo $?)"
"$bin/generate" --load a --chat --no-stop --prompt red --temperature 0 --tokens 40 --device cpu >out 2>err
report "--no-stop goes on" "$([ "$(head -c 17 out)" = 'rose<|endoftext|>' ]; echo $?)"
says "--special allow speaks in special tokens" "<user>red<|endoftext|>
<assistant>rose" --special allow --prompt "<user>red<|endoftext|>
<assistant>"
"$bin/generate" --load a --special text --prompt "<user>red<|endoftext|>
<assistant>" --temperature 0 --tokens 40 --device cpu >other 2>err
"$bin/generate" --load a --special allow --prompt "<user>red<|endoftext|>
<assistant>" --tokens 1 --device cpu >out 2>err2
report "and --special text does not" "$(! cmp -s <(sed -n 's/^prompt: \([0-9]*\).*/\1/p' err) <(sed -n 's/^prompt: \([0-9]*\).*/\1/p' err2); echo $?)"
echo '{"eos_token_id": [3, 115]}' >a/generation_config.json # s
says "generation_config.json says where answers end" "ro" --chat --prompt red
rm a/generation_config.json
printf '%s' "{{ '<user>' + messages[-1].content + eos_token }}
<assistant>" >other.jinja
says "--template is another" "rose" --chat --template other.jinja --prompt red
"$bin/generate" --load a --chat --system x --prompt red --tokens 1 --device cpu >out 2>err
printf '{{ raise_exception("no system") if messages[0].role == "system" }}x' >strict.jinja
"$bin/generate" --load a --chat --template strict.jinja --system x --prompt red --device cpu >out 2>err
report "--system is a message" "$(grep -q 'no system' err; echo $?)"

"$bin/export" a hf >log 2>&1 && cmp -s hf/chat_template.jinja t.jinja && grep -q '"eos_token_id": 256' hf/generation_config.json
report "export keeps the template and where texts end" $?
"$bin/generate" --load hf --chat --prompt red --temperature 0 --device cpu >out 2>err
report "and it answers the same" "$([ "$(cat out)" = rose ]; echo $?)"

refuses() { # NAME TEXT COMMAND...
    local name=$1 text=$2
    shift 2
    "$@" >out 2>err </dev/null
    [ $? -eq 1 ] && [ "$(wc -l <err)" -eq 1 ] && grep -qF -e "$text" err
    report "$name" $?
}
refuses "no packed documents by cuDNN" "--attention cudnn does not support packed documents" "${train[@]}" --device cuda --dtype bf16 --attention cudnn --plan --steps 1
# SHARD...: does auto take cuDNN's attention in the plan?
planned_by_cudnn() {
    "$bin/train_gpt" --layers 1 --heads 2 --width 32 --context 96 --vocab 257 --batch 1 --steps 1 --device cuda --dtype bf16 --plan \
        --train-data "$1" --val-data "$2" >out 2>&1 && grep -q '^  attention: cudnn$' out
}
planned_by_cudnn plain_train.bin plain_val.bin && ! planned_by_cudnn talk_train.bin talk_val.bin && grep -q '^  peak' out
report "--attention auto takes ours for packed documents" $?
refuses "a document longer than a row" "document" "${train[@]}" --seq 16 --steps 1 --out c
refuses "plain shards among those with documents" "has no documents" "${train[@]}" --train-data talk_train.bin plain_train.bin --steps 1 --out c
refuses "--chat and --eval" "--eval cannot be combined with --chat" "$bin/generate" --load a --chat --eval talk.jsonl
refuses "--system alone" "--system: only with --chat" "$bin/generate" --load a --prompt x --system s
refuses "--system of a score" "--system: only with --chat" "$bin/generate" --load a --eval x.jsonl --system s --template t.jinja
refuses "--template of a text's score" "--template: only with --chat, or --eval FILE.jsonl" "$bin/generate" --load a --eval x.txt --template t.jinja
refuses "--template alone" "only with --chat" "$bin/generate" --load a --prompt x --template t.jinja
refuses "--special of something" "text or allow" "$bin/generate" --load a --prompt x --special maybe
refuses "no template" "--template" "$bin/generate" --load plain --chat --prompt x
exit $bad
