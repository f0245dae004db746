#!/bin/sh
# test_tokenize.sh - the tokenize program as its user meets it.  Usage: test_tokenize.sh DIR, where
# DIR holds the built program.  Prints "ok NAME" or "not ok NAME" for each test.
tokenize=$(cd "${1:-.}" && pwd)/tokenize
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failures=0

report() { # NAME STATUS
    if [ "$2" -eq 0 ]; then echo "ok $1"; else echo "not ok $1"; failures=$((failures + 1)); fi
}

succeeds() { # NAME COMMAND...
    name=$1; shift
    "$@" >out 2>err && [ ! -s err ]
    report "$name" $?
}

# One line on stderr with the text in it, nothing on stdout, status 1.
refuses() { # NAME TEXT ARGUMENTS...
    name=$1; text=$2; shift 2
    "$tokenize" "$@" >out 2>err </dev/null
    [ $? -eq 1 ] && [ ! -s out ] && [ "$(wc -l <err)" -eq 1 ] && grep -qF -e "$text" err
    report "$name" $?
}

same_text() { # NAME VOCAB SHARDS...: the shards decode to the file text
    name=$1; shift
    "$tokenize" --decode --vocab "$@" >decoded 2>err && cmp -s decoded text
    report "$name" $?
}

bytes_of() { wc -c <"$1" | tr -d ' '; }

i=0
while [ $i -lt 100 ]; do
    echo "line $((i % 10)): the cat sat on the mat, and the rat sat on the cat"
    i=$((i + 1))
done >text # 100 lines of 59 bytes

succeeds "bytes is the default" "$tokenize" -o plain text
report "a tenth goes to validation, in whole lines" \
    "$([ "$(bytes_of plain_train.bin)" -eq $((1024 + 2 * 90 * 59)) ] &&
       [ "$(bytes_of plain_val.bin)" -eq $((1024 + 2 * 10 * 59)) ]; echo $?)"
same_text "bytes come back" plain.vocab plain_train.bin plain_val.bin

succeeds "bpe:N learns" "$tokenize" --vocab bpe:280 --val-fraction 0.255 -o learned text
report "the head of the vocabulary says 280" \
    "$([ "$(head -n 1 learned.vocab)" = "regrad-vocab 1 280" ]; echo $?)"
report "it makes fewer tokens" \
    "$([ "$(bytes_of learned_train.bin)" -lt "$(bytes_of plain_train.bin)" ]; echo $?)"
same_text "learned tokens come back" learned.vocab learned_train.bin learned_val.bin
"$tokenize" -d -v learned.vocab learned_val.bin >decoded
report "--val-fraction is heeded and rounded up to a line" \
    "$([ "$(bytes_of decoded)" -eq $((26 * 59)) ]; echo $?)"
"$tokenize" -d -v learned.vocab <learned_val.bin | cmp -s - decoded
report "--decode reads the standard input" $?

succeeds "standard input" sh -c "'$tokenize' -v bpe:280 -f 0.255 -o again - <text"
cmp -s again_train.bin learned_train.bin && cmp -s again.vocab learned.vocab
report "learning twice gives the same files" $?
succeeds "a vocabulary is used again" "$tokenize" -v learned.vocab -f 0.255 -o reused text
cmp -s reused_train.bin learned_train.bin && cmp -s reused.vocab learned.vocab
report "and gives the same files" $?

mkdir with without && cp learned.vocab with/tokenizer.vocab
succeeds "a model's folder is a vocabulary" "$tokenize" -v with -f 0.255 -o folder text
cmp -s folder_train.bin learned_train.bin
report "and gives the same tokens" $?
refuses "a folder without a tokenizer" "no tokenizer in the directory without" -v without -o x text

head -n 40 text >first; tail -n 60 text >second
succeeds "two inputs" "$tokenize" -v learned.vocab -f 0.255 -o two first second
cmp -s two_train.bin learned_train.bin
report "are one text" $?

succeeds "no validation part" "$tokenize" -f 0 -o whole text
report "writes no such file" "$([ ! -e whole_val.bin ]; echo $?)"
same_text "and all of the text" whole.vocab whole_train.bin
refuses "an old validation part would not fit" "plain_val.bin" -f 0 -o plain text

echo "head" >long; tr -d '\n' <text >>long
succeeds "one long line" "$tokenize" -f 0.5 -o long long
report "is cut inside" "$([ "$(bytes_of long_train.bin)" -eq $((1024 + 2 * 2903)) ]; echo $?)"
{ cat text; yes QZ | head -n 200; } >tailed
succeeds "learning looks at the train part only" "$tokenize" -v bpe:280 -f 0.0923 -o tail tailed
report "so the vocabulary is that of the text without its tail" \
    "$("$tokenize" -v bpe:280 -f 0 -o text text >out && cmp -s tail.vocab text.vocab; echo $?)"

refuses "no output" "-o PREFIX" text
refuses "no input" "no INPUT" -o x
refuses "missing input" "cannot open 'missing'" -o x missing
refuses "a directory as input" ". cannot be read" -o x .
: >empty
refuses "empty input" "0 bytes" -o x empty
refuses "a device as input" "/dev/null" -o x /dev/null
refuses "bpe without a number" "257 to 1048576" -o x -v bpe: text
refuses "bpe with a sign" "257 to 1048576" -o x -v bpe:-5 text
refuses "bpe too small" "257 to 1048576" -o x -v bpe:256 text
refuses "bpe too large" "257 to 1048576" -o x -v bpe:1048577 text
refuses "more tokens than the text has pairs for" "or less" -o x -v bpe:5000 text
refuses "unknown vocabulary" "cannot open the vocabulary 'word'" -o x -v word text
refuses "a text as vocabulary" "not a vocabulary" -o x -v text text
for fraction in -0.1 1 1.5 nan x ''; do
    refuses "--val-fraction '$fraction'" "0 to less than 1" -o x -f "$fraction" text
done
refuses "a fraction of nothing" "is nothing" -o x -f 0.00001 text
refuses "unwritable output" "no/dir/x_train.bin" -o no/dir/x text
report "nothing is left of what was refused" "$(find . -name "x*" -o -name "*tmp*" | grep -c .)"
refuses "no threads" "1 to 1024" -o x --threads 0 text
refuses "decoding by threads" "--threads" -d -t 2 plain_val.bin
refuses "an empty separator" "--separator ''" -o x -s '' text
refuses "an unknown rule for special tokens" "text or allow" -o x --special maybe text
refuses "decoding separates nothing" "--separator" -d -s ';' plain_val.bin
refuses "decoding knows all tokens" "--special" -d -S allow plain_val.bin

# ---- GPT-2's vocabularies ----

yes 'the cat;the mat;' | head -n 20 | tr -d '\n' >sentences
succeeds "learning with a separator" "$tokenize" -v bpe:262 -s ';' -f 0 -o parted sentences
report "makes an end-of-text within the number asked for" \
    "$([ "$(head -n 1 parted.vocab)" = "regrad-vocab 2 262" ]; echo $?)"
report "which decodes as such" \
    "$([ "$("$tokenize" -d -v parted.vocab parted_train.bin)" = \
         "$(sed 's/;$//; s/;/<|endoftext|>/g' sentences)" ]; echo $?)"
succeeds "it is used again" "$tokenize" -v parted.vocab -s ';' -f 0 -o anew sentences
cmp -s anew_train.bin parted_train.bin && cmp -s anew.vocab parted.vocab
report "with the same files" $?
succeeds "bytes with a separator" "$tokenize" -s ';' -f 0 -o bytes sentences
report "have 257 tokens" "$([ "$(cat bytes.vocab)" = "regrad-vocab 2 257" ]; echo $?)"

succeeds "a separator without an end-of-text token" "$tokenize" -v learned.vocab -s ';' -f 0 -o apart sentences
report "parts what it parts, and that is said" \
    "$(grep -q 'no end-of-text token' out && [ "$("$tokenize" -d -v learned.vocab apart_train.bin)" = "$(tr -d ';' <sentences)" ]; echo $?)"

ids() { od -An -v -tu2 -j1024 -w2 "$1" | tr -d ' ' | tr '\n' ' '; }

printf 'a;bc;;d;' >documents; printf 'e<|endoftext|>f' >other; printf '' >nothing
small=$root/test/golden/bpe_gpt2.json # the letter a is 64, b is 65, ...; end-of-text is 900
if "$tokenize" -v "$small" -f 0 -o gpt2 text >out 2>err; then
    same_text "a tokenizer.json" "$small" gpt2_train.bin
    same_text "PREFIX.vocab is the same" gpt2.vocab gpt2_train.bin
    succeeds "inputs are documents" "$tokenize" -v "$small" -f 0 -o docs other nothing documents
    report "with end-of-text between them" \
        "$("$tokenize" -d -v "$small" docs_train.bin >out && grep -qx 'e<|endoftext|>f<|endoftext|>a;bc;;d;' out &&
           [ "$(ids docs_train.bin | tr ' ' '\n' | grep -cx 900)" = 1 ]; echo $?)"
    succeeds "a separator" "$tokenize" -v "$small" -f 0 -s ';' -o cut documents nothing other
    "$tokenize" -d -v "$small" cut_train.bin >out
    report "is replaced, and nothing is empty" \
        "$([ "$(cat out)" = 'a<|endoftext|>bc<|endoftext|>d<|endoftext|>e<|endoftext|>f' ] &&
           [ "$(ids cut_train.bin | tr ' ' '\n' | grep -cx 900)" = 3 ]; echo $?)"
    succeeds "special tokens in text" "$tokenize" -v "$small" -f 0 --special allow -o special other
    report "are tokens if that is allowed" "$([ "$(ids special_train.bin)" = '68 900 69 ' ]; echo $?)"
    printf 'exe<|endoftext|>fxf' >halves
    succeeds "a cut inside of a separator" "$tokenize" -v "$small" -f 0.5 -s '<|endoftext|>' -o half halves
    report "leaves it in no part" \
        "$([ "$("$tokenize" -d -v "$small" half_train.bin)" = exe ] &&
           [ "$("$tokenize" -d -v "$small" half_val.bin)" = fxf ]; echo $?)"
else
    grep -q 'libpcre2-dev' err && echo "skip GPT-2's vocabularies: built without PCRE2"
    [ "$(grep -c libpcre2-dev err)" -eq 1 ] || report "a tokenizer.json is read" 1
fi

# what is no text is named, and what is not UTF-8 is told
gzip -c text >packed.gz
"$tokenize" -v bpe:280 -f 0 -o unpacked text >out && "$tokenize" -v bpe:280 -f 0 -o packed packed.gz >out &&
    cmp -s packed_train.bin unpacked_train.bin
report "a compressed file is what it holds" $?
head -c 100 packed.gz >half.gz
refuses "half of a compressed file" "not a complete gzip file" -v bpe:300 -o half half.gz
refuses "a shard as text" "a shard of tokens" -v bpe:300 -o packed plain_val.bin
{ printf '\377\376'; cat text; } >wide
refuses "UTF-16" "iconv" -v bpe:300 -o packed wide
succeeds "bytes are of anything" "$tokenize" -f 0 -o packed packed.gz
{ cat text; printf 'caf\351\n'; } >latin
"$tokenize" -v bpe:270 -o latin latin >out 2>err
report "a text that is not UTF-8 is told" \
    "$([ -s latin_train.bin ] && [ "$(grep -c 'not UTF-8 from byte 5903 on (0xe9)' err)" = 1 ]; echo $?)"

head -c 5000 /dev/zero | cat text - >zeros
"$tokenize" -v bpe:270 -o zeros zeros >out 2>err
report "zeros in a text are told" \
    "$([ -s zeros_train.bin ] && grep -qF "'zeros' has a byte of zero (byte $(wc -c <text))" err; echo $?)"

refuses "decoding learns nothing" "--decode learns nothing" -d -v bpe:280 plain_val.bin
refuses "decoding writes no files" "--output" -d -o x plain_val.bin
refuses "decoding splits nothing" "--val-fraction" -d -f 0.1 plain_val.bin
for option in "--learn all" "--template x" "--max-tokens 9" "--too-long cut" "--show 1"; do
    refuses "decoding has no ${option% *}" "${option% *} cannot be combined with --decode" -d $option plain_val.bin
done
refuses "the wrong vocabulary" "has 256 tokens" -d learned_val.bin
refuses "a text as shard" "wrong magic" -d text
"$tokenize" -d plain_val.bin >/dev/full 2>err
report "a full disk when decoding" "$([ $? -eq 1 ] && grep -q 'No space left' err; echo $?)"
"$tokenize" --help | grep -q 'default: 0.1'
report "--help shows defaults" $?

# ---- JSON Lines ----

printf '{"text": "the cat\\nsat"}\n{"text": "the mat"}\n' >lines.jsonl
succeeds "a field of each line is a document" "$tokenize" --jsonl text -v bpe:259 -f 0 -o field lines.jsonl
report "with end-of-text between" "$([ "$("$tokenize" -d -v field.vocab field_train.bin)" = \
    "$(printf 'the cat\nsat<|endoftext|>the mat')" ]; echo $?)"
refuses "a line without that field" "lines.jsonl, line 1: it has no text called body (and 1 more: line 2)" \
    --jsonl body -v bpe:259 -o x lines.jsonl
refuses "lines or separators" "--separator cannot be combined with --jsonl" --jsonl text -s ';' -v bpe:259 -o x lines.jsonl

# ---- conversations ----

cat >chat.jinja <<'END'
{% for m in messages %}
{{ '[' + m.role + ']' + m.content + eos_token }}
{% endfor %}
{% if add_generation_prompt %}
[assistant]{% endif %}
END
i=0
while [ $i -lt 20 ]; do
    echo "{\"messages\": [{\"role\": \"user\", \"content\": \"cat $i\"}, {\"role\": \"assistant\", \"content\": \"mat\"}]}"
    i=$((i + 1))
done >chat.jsonl
magic() { od -An -td4 -N16 "$1" | tr -s ' '; }
learned() { # in FILE: bits of the mask
    n=$(od -An -td4 -j8 -N4 "$1"); d=$(od -An -td4 -j12 -N4 "$1")
    od -An -tx1 -v -j$((1024 + 2 * n + 4 * d)) "$1" | tr -d ' \n' | sed 's/./&\n/g' |
        awk '{ split("0112122312232334", b, ""); s += b[index("0123456789abcdef", $1)] } END { print s + 0 }'
}
succeeds "conversations" "$tokenize" --chat -v parted.vocab --template chat.jinja -o sft chat.jsonl
report "a tenth is for validation" "$([ "$(magic sft_val.bin)" = " 20261129 1 $(od -An -td4 -j8 -N4 sft_val.bin | tr -d ' ') 2" ]; echo $?)"
report "an example is as the template has it" "$("$tokenize" -d -v sft.vocab sft_val.bin | head -n 2 | cmp -s - <<'END'
[user]cat 18<|endoftext|>
[assistant]mat<|endoftext|>
END
echo $?)"
report "the template is kept" "$(cmp -s sft.jinja chat.jinja; echo $?)"
# four tokens of each of the two: mat, end-of-text and the line break
report "the answers are learned" "$([ "$(learned sft_val.bin)" -eq 8 ]; echo $?)"
"$tokenize" --chat --learn all -v parted.vocab --template chat.jinja -o all chat.jsonl >out
report "--learn all learns the rest, too" "$([ "$(learned all_val.bin)" -eq "$(od -An -td4 -j8 -N4 all_val.bin)" ]; echo $?)"
"$tokenize" --chat -v sft.vocab -o again chat.jsonl >out && cmp -s again_train.bin sft_train.bin
report "PREFIX.jinja beside PREFIX.vocab is the template" $?
"$tokenize" --chat --show 2 -v sft.vocab chat.jsonl >out && cmp -s out - <<'END'
{"text":"[user]cat 0<|endoftext|>\n[assistant]mat<|endoftext|>\n","learned":[[36,53]]}
{"text":"[user]cat 1<|endoftext|>\n[assistant]mat<|endoftext|>\n","learned":[[36,53]]}
END
report "--show shows" $?
printf '%s' "{{ 'a\\x00\"b\\x00' }}" >zero.jinja
report "--show shows a zero, and what follows" "$("$tokenize" --chat --show 1 -v sft.vocab --template zero.jinja --learn all chat.jsonl |
    grep -qxF '{"text":"a\u0000\"b\u0000","learned":[[0,5]]}'; echo $?)"
if [ -w /dev/full ]; then
    "$tokenize" --chat --show 1 -v sft.vocab chat.jsonl >/dev/full 2>err
    report "and says when it cannot" "$([ $? -eq 1 ] && grep -q 'cannot write to the standard output' err; echo $?)"
fi
refuses "a shard for conversations" "a shard of tokens" --chat -v sft.vocab -o x sft_train.bin
refuses "a shard for lines of JSON" "a shard of tokens" --jsonl text -v bytes -o x sft_train.bin
echo '{"messages": [{"role": "user", "content": "cat"}]}' | cat - chat.jsonl >unasked.jsonl
"$tokenize" --chat -v sft.vocab -f 0 -o unasked unasked.jsonl >out && grep -q "nothing to learn in 1 examples" out
report "an example without an answer is left out" $?
cp sft.jinja stale.jinja
refuses "a template that would not be theirs" "'stale.jinja' is left" -v bytes -o stale text
echo '{"text": "the cat"}' >plain.jsonl
cat plain.jsonl plain.jsonl >>plain.jsonl2
refuses "nor of conversations without one" "'stale.jinja' is left" --chat -v parted.vocab -o stale plain.jsonl2
refuses "an example that is too long" "chat.jsonl, line 1: it has" --chat -v sft.vocab --max-tokens 12 -o x chat.jsonl
"$tokenize" --chat -v sft.vocab --max-tokens 27 --too-long cut -f 0 -o cut chat.jsonl >out && grep -q "tokens: 10 cut, 0 skipped" out &&
    [ "$(bytes_of cut_train.bin)" -lt $(($(bytes_of sft_train.bin) + $(bytes_of sft_val.bin) - 1024)) ]
report "is cut" $?
"$tokenize" --chat -v sft.vocab --max-tokens 27 --too-long skip -f 0 -o skip chat.jsonl >out && grep -q "tokens: 0 cut, 10 skipped" out &&
    [ "$(bytes_of skip_train.bin)" -lt "$(bytes_of cut_train.bin)" ]
report "or skipped" $?
echo 'no JSON' >>chat.jsonl
refuses "a line that is none" "chat.jsonl, line 21" --chat -v sft.vocab -o x chat.jsonl
echo '{% include "x" %}' >bad.jinja
refuses "a template that cannot be rendered" "line 1: {% include %}" --chat -v sft.vocab -o x --template bad.jinja chat.jsonl
refuses "--learn something" "--learn x: must be answers or all" --chat --learn x -v sft.vocab -o x chat.jsonl
refuses "--too-long alone" "only with --max-tokens" --chat --too-long cut -v sft.vocab -o x chat.jsonl
refuses "--learn without --chat" "only with --chat" --learn all -o x text
refuses "a vocabulary to be learned from conversations" "learns no vocabulary" --chat -v bpe:300 -o x chat.jsonl
refuses "--show and --output" "--show writes no files" --chat --show 1 -v sft.vocab -o x chat.jsonl

exit $((failures > 0))
