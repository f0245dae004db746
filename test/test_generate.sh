#!/usr/bin/env bash
# test_generate.sh - ./generate as it is used: a model of a few steps, its text, its score, and what
# is refused: one line on stderr, status 1, nothing on stdout.
#
#     test/test_generate.sh [BUILD ...]      (default: build/release and build/san)
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
[ $# -gt 0 ] || set -- "$root"/build/{release,san}
mapfile -t builds < <(realpath -m "$@")
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
export OMP_WAIT_POLICY=passive
bad=0 build=''

report() { # TITLE STATUS
    if [ "$2" -eq 0 ]; then echo "ok $build: $1"; else echo "not ok $build: $1"; bad=1; fi
}

# on the CPU unless an argument says otherwise: the last --device counts
run() { timeout 120 "$generate" --device cpu "$@" >out 2>err </dev/null; }

# refuses TITLE WORDS ARGUMENTS...; words are separated by |
refuses() {
    local title=$1 words word why=''
    IFS='|' read -ra words <<<"$2"
    shift 2
    run "$@"
    [ $? -eq 1 ] || why+=' status'
    [ "$(wc -l <err)" -eq 1 ] && [ "$(head -c 10 err)" = 'generate: ' ] || why+=' lines'
    [ ! -s out ] || why+=' stdout'
    for word in "${words[@]}"; do grep -qF -e "$word" err || why+=" '$word'"; done
    [ -z "$why" ] || { echo "not ok $build: $title: wrong:$why: $(head -c 300 err)"; bad=1; return; }
    echo "ok $build: $title"
}

make_model() {
    for i in {1..300}; do echo "line $i: the cat sat on the mät, and the rat sät on €$((i * 7)) 😀"; done >text
    printf 'the cat' >few
    "$root/build/release/tokenize" --vocab bpe:300 -o data text >log 2>&1 &&
        "$root/build/release/tokenize" --vocab data.vocab -f 0 -o short few >log 2>&1 &&
        "$root/build/release/train_gpt" --layers 2 --heads 2 --width 16 --context 32 --vocab 310 --batch 4 \
            --steps 30 --lr 0.01 --warmup 2 --eval-every 15 --train-data data_train.bin short_train.bin \
            --val-data short_train.bin data_val.bin --eval-batches 1000 --out run --threads 1 --device cpu >trained 2>&1
}

says() { # ARGUMENTS...: text to FILE
    local file=$1
    shift
    run --load run --vocab data.vocab --threads 1 "$@" && cp out "$file"
}

generating() {
    says a --prompt 'line 5:' --tokens 80
    report "text is generated" $?
    [ "$(head -c 7 a)" = 'line 5:' ]
    report "it begins with the prompt" $?
    grep -q 'prompt: .* tokens in .* then 80 tokens, .* tokens/s' err && grep -q ' cache ' err
    report "figures are on stderr" $?
    says b --prompt 'line 5:' --tokens 80 && cmp -s a b
    report "the same again" $?
    grep -q '; cpu, 1 thread' err
    report "--device cpu is said" $?
    case $build in
    *san*) # the emulator's CUDA
        says c --prompt 'line 5:' --tokens 12 --temperature 0 &&
            says b --prompt 'line 5:' --tokens 12 --temperature 0 --device cuda && cmp -s b c && grep -q '; cuda, ' err
        report "--device cuda gives the same text" $? ;;
    esac
    says b --prompt 'line 5:' --tokens 80 --stream && cmp -s a b
    report "--stream gives the same" $?
    says b --prompt 'line 5:' --tokens 40 && head -c "$(wc -c <b)" a | cmp -s - b
    report "--tokens: fewer are the beginning" $?
    says b --prompt 'line 5:' --tokens 80 --seed 2 && ! cmp -s a b
    report "--seed is heeded" $?
    says b --prompt 'line 5:' --tokens 80 --temperature 3 && ! cmp -s a b
    report "--temperature is heeded" $?
    says greedy --prompt 'line 5:' --tokens 80 --temperature 0 && ! cmp -s a greedy
    report "temperature 0 is another text" $?
    says b --prompt 'line 5:' --tokens 80 --top-k 1 && cmp -s greedy b
    report "--top-k 1 is greedy" $?
    says b --prompt 'line 5:' --tokens 80 --top-p 0.000001 --seed 9 && cmp -s greedy b
    report "--top-p next to 0 is greedy" $?
    says b --prompt 'line 5:' --tokens 80 --top-k 5 && ! cmp -s a b
    report "--top-k is heeded" $?
    cp data.vocab run/tokenizer.vocab
    run --load run --threads 1 --prompt 'line 5:' --tokens 80 && cmp -s a out
    report "the tokenizer beside the model is found" $?
    run --load run/model.safetensors --threads 1 --prompt 'line 5:' --tokens 80 && cmp -s a out
    report "--load FILE" $?
    rm run/tokenizer.vocab
    # numbers of tokens, without any tokenizer: the first is a byte, so its text is known
    run --load run --threads 1 --prompt-ids 108 --temperature 0 --tokens 20 && cp out ids
    [ "$(wc -l <ids)" -eq 1 ] && tr ' ' '\n' <ids | awk '!/^[0-9]+$/ || $1 > 309 { bad = 1 } END { exit bad || NR != 20 }'
    report "--prompt-ids continues in numbers" $?
    run --load run --threads 1 --prompt-ids "108, $(cut -d ' ' -f 1-5 ids)" --temperature 0 --tokens 15 &&
        cut -d ' ' -f 6- ids | cmp -s - out
    report "--prompt-ids goes on from what it printed" $?
    run --load run --vocab data.vocab --threads 1 --prompt l --temperature 0 --tokens 20 &&
        [ "$(tail -c +2 out | head -c 1 | od -An -tu1 | tr -d ' ')" = "$(cut -d ' ' -f 1 ids)" ] ||
        [ "$(cut -d ' ' -f 1 ids)" -gt 255 ]
    report "and says what --prompt says" $?
    "$generate" --load run --vocab data.vocab --prompt x --tokens 50 >/dev/full 2>err
    report "a full disk is said" "$([ $? -eq 1 ] && grep -q 'standard output' err; echo $?)"
}

# value NAME: from the line that --eval prints
value() { sed -n "s|.*$1 \([0-9.]*\).*|\1|p" out; }

evaluating() {
    for line in '--train-data: 1 of 2 token shards have less than the 32 + 1 tokens' '--val-data: 1 of 2' \
        '--eval-batches 1000: an evaluation takes'; do
        grep -q -e "$line" "$work/trained"
        report "training has said $line" $?
    done
    run --load run --vocab data.vocab --eval text
    report "a text is scored" $?
    local n
    n=$("$root/build/release/tokenize" -f 0 --vocab data.vocab -o whole text | sed -n 's/^train .* bytes *\([0-9]*\) tokens.*/\1/p')
    [ "$(value tokens)" = $((n - 1)) ] && [ "$(value bytes)" -lt "$(wc -c <text)" ] &&
        [ "$(value bytes)" -ge $(($(wc -c <text) - 30)) ]
    report "tokens and bytes are counted: all but the first token" $?
    awk -v l="$(value loss)" -v p="$(value perplexity)" -v b="$(value bits/byte)" -v t="$(value tokens)" \
        -v n="$(value bytes)" 'function off(x, y) { return x / y > 1.0001 || x / y < 0.9999 }
        BEGIN { exit l <= 0 || off(exp(l), p) || off(l * t / log(2) / n, b) }'
    report "perplexity and bits per byte are those of the loss" $?
    local half wide
    half=$(value loss)
    run --load run --vocab data.vocab --eval text --stride 32
    wide=$(value loss)
    run --load run --vocab data.vocab --eval text --stride 16
    [ "$(value loss)" = "$half" ] && [ "$wide" != "$half" ]
    report "--stride is heeded, and half the context unless said" $?
}

# several prompts at a time say what each says alone
prompting() {
    printf 'line 5:\n\nline 6: the cat sat on\nl\nline 7\r\nthe rat\n' >lines
    run --load run --vocab data.vocab --prompts lines --tokens 12 --temperature 0 && cp out many
    report "a file of prompts" $?
    [ "$(wc -l <many)" -eq 5 ] && [ "$(grep -c '"end":"tokens"' many)" -eq 5 ] && grep -q '^5 prompts of [0-9]* tokens, then 60 tokens' err
    report "a line of JSON for each" $?
    local line n=0 bad_lines=0
    while IFS= read -r line; do
        line=${line%$'\r'}
        [ -n "$line" ] || continue
        n=$((n + 1))
        run --load run --vocab data.vocab --prompt "$line" --tokens 12 --temperature 0
        python3 - "$line" <(sed -n "${n}p" many) out <<'END' || bad_lines=1
import json, sys
prompt, row, out = sys.argv[1], json.load(open(sys.argv[2], encoding='utf-8')), open(sys.argv[3], 'rb').read()
want = out[len(prompt.encode()):].decode('utf-8', 'replace').replace('\0', '\ufffd')
sys.exit(row['prompt'] != prompt or row['text'].rstrip('\ufffd') != want.rstrip('\ufffd') or row['tokens'] != 12)
END
    done <lines
    report "and in it what --prompt says" $bad_lines
    for n in 1 2 3 100; do run --load run --vocab data.vocab --prompts lines --tokens 12 --temperature 0 --batch $n && cmp -s many out || bad_lines=1; done
    report "for any --batch" $bad_lines
    run --load run --vocab data.vocab --prompts lines --tokens 12 && cp out drawn && ! cmp -s drawn many
    report "--temperature is heeded" $?
    run --load run --vocab data.vocab --prompts lines --tokens 12 --batch 2 && cmp -s drawn out
    report "what is drawn is the prompt's own" $?
    run --load run --vocab data.vocab --prompts lines --tokens 12 --seed 3 && ! cmp -s drawn out
    report "--seed is heeded" $?
    run --load run --vocab data.vocab --prompts lines --tokens 100 --temperature 0 && [ "$(grep -c '"end":"context"' out)" -eq 5 ]
    report "a text ends with the context" $?
    printf '{"prompt":"line 5:"}\n{"prompt":"line 6: the cat sat on","more":1}\n' >lines.jsonl
    run --load run --vocab data.vocab --prompts lines.jsonl --tokens 12 --temperature 0 && head -n 2 many | cmp -s - out
    report "prompts in JSON" $?
    echo "{\"eos_token_id\": [$(cut -d ' ' -f 5 ids)]}" >run/generation_config.json # the fifth of what follows l
    run --load run --vocab data.vocab --prompts lines --tokens 12 --temperature 0 && sed -n 3p out | grep -q '"tokens":[0-4],"end":"stop"}'
    report "a text stops where the model's file says" $?
    run --load run --vocab data.vocab --prompts lines --tokens 12 --temperature 0 --no-stop && cmp -s many out
    report "but with --no-stop" $?
    rm run/generation_config.json
    cp run/config.json plain.json
    sed -i "s/\"architectures\"/\"eos_token_id\": $(cut -d ' ' -f 5 ids), &/" run/config.json
    run --load run --vocab data.vocab --prompts lines --tokens 12 --temperature 0 && sed -n 3p out | grep -q '"tokens":[0-4],"end":"stop"}'
    report "or where its config.json says" $?
    cp plain.json run/config.json
    for i in {1..2000}; do echo "line $((i % 20)): the cat sat"; done >long # more than a pipe holds
    timeout 120 "$generate" --device cpu --load run --vocab data.vocab --prompts long --tokens 1 --batch 4 2>err | head -n 1 >out
    [ "$(wc -l <out)" -eq 1 ] && ! grep -q 'tokens/s' err
    report "each text is there as soon as it is complete" $?
    case $build in
    *san*) run --load run --vocab data.vocab --prompts lines --tokens 12 --temperature 0 --device cuda && cmp -s many out
        report "--device cuda says the same" $? ;;
    esac
}

choosing() {
    {
        echo '{"query":"line 5: the cat sat on the","choices":["mat","mmm mm","xyz"],"gold":0}'
        echo '{"activity_label":"line","ctx_a":"5: the cat sat on","ctx_b":"THE","endings":["mat, and","q q"],"label":"0"}'
        echo '{"query":"line 5: the cat sat on the","choices":["qqqq","mat"],"gold":0}'
    } >asked.jsonl
    run --load run --vocab data.vocab --choices asked.jsonl && cp out plain && grep -q '^acc 0.6667 +- 0.3333  acc_norm 0.6667 .* questions 3$' out
    report "--choices counts what is right" $?
    run --load run --vocab data.vocab --choices asked.jsonl --json && cp out json && [ "$(wc -l <out)" -eq 4 ] &&
        [ "$(grep -c '"likelihoods":\[-' out)" -eq 3 ] && tail -n 1 out | grep -q '"acc":0.666666.*"acc_norm":0.666666.*"questions":3'
    report "--json has the likelihoods" $?
    run --load run --vocab data.vocab --choices asked.jsonl --json --dtype bf16 && ! cmp -s json out && [ "$(wc -l <out)" -eq 4 ]
    report "--dtype bf16 is heeded" $?
    case $build in
    *san*) run --load run --vocab data.vocab --choices asked.jsonl --device cuda && cmp -s plain out
        report "--device cuda says the same" $? ;;
    esac
    run --load run --vocab data.vocab --eval text --json && cp out json &&
        grep -q '^{"loss":[0-9.]*,"perplexity":[0-9.]*,"tokens":[0-9]*,"bits_per_byte":[0-9.]*,"bytes":[0-9]*}$' out
    report "--eval --json" $?
    run --load run --vocab data.vocab --eval text
    awk -v a="$(sed 's/.*"loss":\([0-9.]*\).*/\1/' json)" -v b="$(value loss)" 'BEGIN { exit !(a - b < 1e-6 && b - a < 1e-6 && a > 0) }'
    report "it is the loss that is printed" $?
    run --load run --vocab data.vocab --eval text --dtype bf16 && b=$(value loss) && awk -v a="$(sed 's/.*"loss":\([0-9.]*\).*/\1/' json)" \
        -v b="$b" 'BEGIN { d = a - b; if (d < 0) d = -d; exit !(d > 0 && d < 0.02 * a) }'
    report "--eval --dtype bf16 is near it" $?
    # documents of one text are scored as their shard is, and an answer alone as its part of it
    printf '{"text":"the cat sat"}\n{"text":"line 7"}\n' >t.jsonl
    printf '{"prompt":"the cat ","completion":"sat"}\n' >a.jsonl
    for n in t a; do
        "$root/build/release/tokenize" --chat --vocab data.vocab --val-fraction 0 -o "$n" $n.jsonl >log 2>&1
        run --load run --vocab data.vocab --eval $n.jsonl && cp out lines && run --load run --vocab data.vocab --eval ${n}_train.bin &&
            cmp -s lines out && [ -s out ]
        report "--eval $n.jsonl is --eval of its shard" $?
    done
    run --load run --vocab data.vocab --eval t.jsonl --dtype bf16 && cp out half && run --load run --vocab data.vocab --eval t_train.bin --dtype bf16 &&
        cmp -s half out
    report "in bf16, too" $?
}

refusing() {
    local m=(--load run --vocab data.vocab)
    refuses "no such dtype" "--dtype fp8|fp32 or bf16" "${m[@]}" --prompt x --dtype fp8
    refuses "--widen beside bf16" "--widen" "${m[@]}" --prompt x --dtype bf16 --widen
    refuses "--batch alone" "--batch: only with --prompts" "${m[@]}" --prompt x --batch 2
    refuses "--json alone" "--json" "${m[@]}" --prompt x --json
    refuses "--stream of many" "--stream" "${m[@]}" --prompts lines --stream
    refuses "two files" "only one" "${m[@]}" --prompts lines --choices asked.jsonl
    refuses "no prompts" "--prompts empty.txt|no prompt" "${m[@]}" --prompts empty.txt
    refuses "no such prompts" "--prompts|nosuch" "${m[@]}" --prompts nosuch
    head -n 3 text | tr '\n' ' ' >long.txt && echo >>long.txt && cat long.txt >two.txt
    refuses "a prompt beyond the context" "long.txt, line 1|the model sees 32" "${m[@]}" --prompts long.txt
    printf '{"prompt":"x"}\n{"promt":"y"}\n{"messages":[]}\n' >odd.jsonl
    refuses "JSON without a prompt" "odd.jsonl, line 2|no prompt|line 3" "${m[@]}" --prompts odd.jsonl
    printf '{"query":"x","choices":["a","b"],"gold":0}\n{"query":"x","choices":["a"],"gold":0}\nno\n' >odd.jsonl
    refuses "questions that are none" "--choices|odd.jsonl, line 2|1 more: line 3" "${m[@]}" --choices odd.jsonl
    refuses "no questions" "no question" "${m[@]}" --choices empty.txt
    echo "{\"query\":\"x\",\"choices\":[\"a\",\"$(head -n 3 text | tr '\n' ' ')\"],\"gold\":0}" >odd.jsonl
    refuses "a choice beyond the context" "line 1|choice 1 has|sees 32" "${m[@]}" --choices odd.jsonl
    refuses "--no-stop of a score" "--no-stop" "${m[@]}" --choices asked.jsonl --no-stop
    echo '{"text":""}' >odd.jsonl
    refuses "nothing to score" "odd.jsonl" "${m[@]}" --eval odd.jsonl
    refuses "--stride of examples" "--stride" "${m[@]}" --eval t.jsonl --stride 3
    refuses "no --load" "--load" --prompt x
    refuses "no such device" "--device tpu|cuda" "${m[@]}" --prompt x --device tpu
    refuses "nothing to do" "--prompt|--eval" "${m[@]}"
    refuses "two things to do" "--prompt|--eval" "${m[@]}" --prompt x --eval text
    refuses "no such directory" "nosuch" --load nosuch --vocab data.vocab --prompt x
    refuses "a directory without a model" "directory" --load directory --vocab data.vocab --prompt x
    refuses "a text is no model" "text" --load text --vocab data.vocab --prompt x
    refuses "no tokenizer" "run|--vocab" --load run --prompt x
    refuses "no such tokenizer" "nosuch.vocab" --load run --vocab nosuch.vocab --prompt x
    refuses "a tokenizer with more tokens than the model" "large.vocab|330|310" --load run --vocab large.vocab --prompt x
    refuses "empty prompt" "--prompt|empty" "${m[@]}" --prompt ''
    refuses "a number that is none" "--prompt-ids|'x" --load run --prompt-ids 1,x
    refuses "a token beyond the model's" "--prompt-ids: 310|309" --load run --prompt-ids 310
    refuses "a negative token" "--prompt-ids: -1" --load run --prompt-ids 3,-1
    refuses "no numbers" "empty" --load run --prompt-ids ,
    refuses "numbers and a text" "--prompt-ids" "${m[@]}" --prompt x --prompt-ids 1
    refuses "numbers and a tokenizer" "--vocab" "${m[@]}" --prompt-ids 1
    refuses "prompt too long" "--prompt|32" "${m[@]}" --prompt "$(head -n 20 text)"
    refuses "top-p 0" "--top-p 0|at most 1" "${m[@]}" --prompt x --top-p 0
    refuses "top-p 1.5" "--top-p 1.5|at most 1" "${m[@]}" --prompt x --top-p 1.5
    refuses "top-p that is no number" "--top-p half|number" "${m[@]}" --prompt x --top-p half
    refuses "negative temperature" "--temperature -1" "${m[@]}" --prompt x --temperature -1
    refuses "half a token" "--tokens 1.5|whole" "${m[@]}" --prompt x --tokens 1.5
    refuses "no tokens" "--tokens 0" "${m[@]}" --prompt x --tokens 0
    refuses "negative top-k" "--top-k -1" "${m[@]}" --prompt x --top-k -1
    refuses "stray word" "words|--help" "${m[@]}" --prompt two words
    refuses "unknown option" "--nosuch|--help" "${m[@]}" --nosuch
    refuses "argument missing" "--prompt|--help" "${m[@]}" --prompt
    refuses "--stride without --eval" "--stride" "${m[@]}" --prompt x --stride 3
    refuses "--stride beyond the context" "--stride 33|32" "${m[@]}" --eval text --stride 33
    refuses "no such text" "nosuch.txt" "${m[@]}" --eval nosuch.txt
    refuses "a directory as text" "directory" "${m[@]}" --eval directory
    refuses "a text of one token" "one.txt|1 tokens" "${m[@]}" --eval one.txt
    refuses "an empty text" "empty.txt|0 tokens" "${m[@]}" --eval empty.txt
    refuses "a model that has diverged" "not finite" --load nan --vocab data.vocab --prompt x
    run --help
    report "--help shows defaults" "$([ $? -eq 0 ] && grep -q 'default: 0.8' out; echo $?)"
}

# Each family from a text to a text: trained a little, exported, generated from; what was exported
# says what the run says.  Three have a
# tokenizer.json of their own kind, the others LLaMA's.
families() {
    local bin=$root/build/release name vocab words
    for name in llama gemma bloom qwen qwen2.5 qwen3 phi falcon chatglm; do
        vocab=$root/test/golden/bpe_$name.json
        [ -e "$vocab" ] || vocab=$root/test/golden/bpe_llama.json
        "$bin/tokenize" --vocab "$vocab" -o f text >log 2>&1 &&
            "$bin/train_gpt" --model "$name-nano" --vocab 440 --context 32 --batch 4 --steps 30 --lr 0.01 --warmup 2 \
                --eval-every 0 --train-data f_train.bin --out "run-$name" --threads 1 --device cpu >log 2>&1 &&
            cp "$vocab" "run-$name/tokenizer.json" && "$bin/export" --to hf "run-$name" "hf-$name" >log 2>&1
        report "$name-nano is trained and exported" $?
        words=(--threads 1 --temperature 0 --tokens 20)
        run --load "hf-$name" "${words[@]}" --prompt 'line 5: the cat' && cp out text-hf && [ "$(wc -c <out)" -gt 25 ] &&
            [ "$(head -c 15 out)" = 'line 5: the cat' ]
        report "$name-nano: a text goes on, by tokenizer.json" $?
        run --load "run-$name" "${words[@]}" --prompt 'line 5: the cat' && cmp -s out text-hf
        report "$name-nano: the run says the same" $?
        run --load "hf-$name" "${words[@]}" --prompt-ids 260,302,305 && [ "$(wc -w <out)" -eq 20 ]
        report "$name-nano goes on in numbers" $?
    done
}

# adapters beside a model, and merged into it, are one model
adapters() {
    local bin=$root/build/release
    for model in run run-llama; do
        data=data vocab=data.vocab
        [ $model = run ] || { data=f vocab=$root/test/golden/bpe_llama.json; }
        rm -rf tuned merged
        "$bin/train_gpt" --load $model --lora 3 --lora-on '*' --batch 4 --steps 20 --lr 0.05 --warmup 2 --eval-every 0 \
            --train-data ${data}_train.bin --out tuned --threads 1 --device cpu >log 2>&1 &&
            "$bin/export" --merge tuned $model merged >log 2>&1
        report "$model: adapters are trained and merged" $?
        words=(--vocab "$vocab" --threads 1)
        run --load $model "${words[@]}" --eval text && cp out plain
        run --load $model --adapter tuned "${words[@]}" --eval text && cp out beside && cp out beside.eval && ! cmp -s plain beside
        report "$model: --adapter is heeded" $?
        run --load merged "${words[@]}" --eval text && paste <(grep -o '[0-9.]*' beside) <(grep -o '[0-9.]*' out) |
            awk '{ d = $1 - $2; if (d * d > 1e-8 * $1 * $1) bad = 1 } END { exit bad || !NR }'
        report "$model: merged is as good as beside" $?
        run --load $model --adapter tuned "${words[@]}" --prompt line --temperature 0 --tokens 30 && cp out beside
        run --load merged "${words[@]}" --prompt line --temperature 0 --tokens 30 && cmp -s out beside
        report "$model: the same text" $?
    done
    cp -r tuned strong && sed 's/"use_rslora":.*,/"use_rslora": true,/' tuned/adapter_config.json >strong/adapter_config.json
    run --load run-llama --adapter strong "${words[@]}" --eval text && ! cmp -s out beside.eval
    report "alpha / sqrt(r) is another strength" $?
    sed 's/"use_rslora":.*,/"use_rslora": 1,/' tuned/adapter_config.json >strong/adapter_config.json
    refuses 'use_rslora is a number' 'use_rslora must be true or false' --load run-llama --adapter strong --prompt-ids 9
    sed 's/"r":.*,/"r": 4,/' tuned/adapter_config.json >strong/adapter_config.json
    refuses 'r is another than that of the tensors' 'adapter_config.json: r is 4, but|has 3 rows' --load run-llama --adapter strong --prompt-ids 9
    rm -rf merged && ! "$bin/export" --merge '' run merged >out 2>err && [ ! -e merged ] && grep -q -e '^export: --merge: an empty word' err
    report "--merge with an empty word is refused" $?
    refuses 'adapters alone' 'adapters alone|--adapter' --load tuned --vocab data.vocab --prompt x
    refuses 'adapters of another model' 'has no place' --load run --adapter tuned --vocab data.vocab --prompt x
    sed 's/"use_rslora":/"use_dora": true, "use_rslora":/' tuned/adapter_config.json >c && cp c tuned/adapter_config.json
    refuses 'what is not LoRA' 'use_dora is true' --load run-llama --adapter tuned --prompt-ids 9
}

cd "$work" || exit 1
build=release
make_model
report "a model is made" $?
mkdir directory nan && printf x >one.txt && : >empty.txt
"$root/build/release/tokenize" --vocab bpe:330 -o large text >log 2>&1
cp run/config.json nan/ # the last 4 KiB are parameters, now all bits set
{ head -c -4096 run/model.safetensors; head -c 4096 /dev/zero | tr '\0' '\377'; } >nan/model.safetensors
generate=$root/build/release/generate
families
adapters
for directory in "${builds[@]}"; do
    build=$(basename "$directory") generate=$directory/generate
    if [ ! -x "$generate" ]; then
        if [ "$build" = release ]; then echo "not ok $build: is not built"; bad=1; else echo "skip $build: is not built"; fi
        continue
    fi
    generating
    evaluating
    prompting
    choosing
    refusing
done
exit $bad
