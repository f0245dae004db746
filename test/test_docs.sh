#!/usr/bin/env bash
# test_docs.sh - the shell commands of README.md and docs/tutorial.md, as they are written, in small.
#
# Every line of a block ```sh is run in an empty folder that looks like the project after `make`, but whose
# train_gpt and train_vit train two steps of something small whatever was asked.  So it is the
# commands, options, names of files and scripts that are tested.  Of make's goals but deps only what they
# would do is asked for.  Left out: pip (test_libregrad.sh has the module).
# Links between the pages lead somewhere, and the pages keep to their length.
set -u
cd "$(dirname "$0")/.." || exit 1
root=$PWD
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
bad=0

report() { # TITLE STATUS [WHY]
    if [ "$2" -eq 0 ]; then echo "ok docs: $1"; else echo "not ok docs: $1: ${3:-}"; bad=1; fi
}

[ -x build/release/train_gpt ] || { echo "not ok docs: build/release is not built: run \`make test\`"; exit 1; }
mkdir "$work/at"
cd "$work/at" || exit 1
cp -r "$root/scripts" "$root/VERSION" .
for program in tokenize generate export; do ln -s "$root/build/release/$program" .; done
for program in train_gpt train_vit; do
    cat >$program <<END
#!/bin/sh
case " \$* " in
*' --plan '*) exec '$root/build/release/$program' "\$@" ;;
*' --load '*) exec '$root/build/release/$program' "\$@" --steps 2 --batch 1 --device cpu --threads 1 ;;
*' --model vit'*) exec '$root/build/release/$program' "\$@" --steps 2 --batch 2 --width 32 --heads 2 --layers 1 --device cpu --threads 1 ;;
esac
exec '$root/build/release/$program' "\$@" --steps 4 --batch 1 --width 32 --heads 2 --layers 1 --context 32 --device cpu --threads 1
END
    chmod +x $program
done
awk 'BEGIN { for (i = 0; i < 60000; i++) printf "%d in the beginning was %d\n", i * i % 9973, i * 7 % 10007 }' >my-text.txt
printf '[safe]\n\tdirectory = *\n' >"$work/gitconfig"
export GIT_CONFIG_GLOBAL=$work/gitconfig # the checkout may be another user's
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_mpi_yield_when_idle=1

# what the pages suppose to be there: a model of Hugging Face's form, pictures in class folders
./tokenize --vocab bpe:1024 -o first my-text.txt >/dev/null
./train_gpt --vocab 1024 --train-data first_train.bin --val-data first_val.bin --out gpt2 >log 2>&1
report 'a model to begin with' $? "$(tail -n 1 log)"
python3 - <<'END'
import os, struct, zlib
def png(path, shade):
    def chunk(name, data):
        return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))
    rows = (b'\0' + bytes([shade, 255 - shade, 80]) * 40) * 40
    with open(path, 'wb') as f:
        f.write(b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 40, 40, 8, 2, 0, 0, 0)) +
                chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b''))
for part in ('train', 'val'):
    for k in range(10):
        os.makedirs(f'images/{part}/class{k}')
        for i in range(2):
            png(f'images/{part}/class{k}/{i}.png', 20 * k + i)
END

# commands FILE: the lines of its sh blocks, continued ones joined
commands() {
    awk '/^```sh$/ { inside = 1; next } /^```/ { inside = 0 } inside { if (sub(/\\$/, "")) { line = line $0; next } print line $0; line = "" }' "$1"
}

for page in README.md docs/tutorial.md; do
    n=0
    while IFS= read -r command; do
        case $command in
        git\ clone*)
            [ -e "$root/.git" ] && command -v git >/dev/null || continue
            command=${command//THIS-REPOSITORY/$root}
            ;;
        make*) # in the clone, if there is one; of other goals than deps what it would do
            command="make -C $([ -d regrad ] && echo regrad || echo "$root") $([ "$command" = 'make deps' ] || printf %s -n)${command#make}"
            ;;
        pip\ *) continue ;;
        scripts/compare*) command="$command --steps 4" ;; # it wants as many as it asked for
        mpirun*) command -v mpirun >/dev/null || continue ;;
        esac
        n=$((n + 1))
        timeout 120 bash -c "$command" >log 2>&1 </dev/null
        report "$page: $command" $? "$(tail -n 2 log | tr '\n' ' ')"
    done < <(commands "$root/$page")
    [ $n -ge 6 ]
    report "$page has commands" $? "only $n"
    rm -rf runs/compare-*
done

STEPS=4 TEXT=my-text.txt scripts/demo >log 2>&1 && grep -q '^losses: the same bits in all 4 steps' log &&
    grep -q '^adamw_r  *[0-9.]*  *[0-9.]*  *[0-9]*  *[0-9.]*  *[0-9.]*  *[0-9.]*$' log && [ -s runs/demo/demo.svg ]
report 'what make demo runs' $? "$(tail -n 3 log | tr '\n' ' ')"

# ---- what every program answers ----

named() { grep -oE -e '--[a-z0-9-]+' | sort -u; } # the options in a text
programs='train_gpt train_vit tokenize generate export predict'
for program in $programs; do
    there=$root/build/release/$program
    [ "$("$there" --version)" = "$program (Regrad) $(cat "$root/VERSION")" ]
    report "$program --version" $? "$("$there" --version 2>&1)"
    "$there" --help >help && grep -q '^Usage: ' help && "$there" -h | cmp -s - help && "$there" </dev/null | cmp -s - help
    report "$program -h, and bare" $?
    # two screens of 24 lines: the longest run of lines without a heading
    most=$(awk '/^ [A-Z].*:$/ { n = 0 } { n++; if (n > most) most = n } END { print most }' help)
    [ "$most" -le 48 ]
    report "$program --help: at most two screens under a heading" $? "$most lines"
    "$root/scripts/man" "$there" >page && "$root/scripts/completion" "$there" >complete && bash -n complete
    report "$program: manual page and completion" $?
    lost=$(sed -nE 's/^ {2,6}(-., )?(--[a-z0-9-]+).*/\2/p' help | sort -u |
        comm -23 - <(comm -12 <(sed 's/\\-/-/g' page | named) <(named <complete)))
    [ -z "$lost" ]
    report "$program: ... have every option" $? "$lost"
done
"$root/scripts/cli-page" "$root/build/release" | diff - "$root/docs/cli.md" >differs
report 'docs/cli.md is what the programs say' $? "run \`make docs\`: $(head -n 3 differs | tr '\n' ' ')"

"$root/build/release/train_gpt" --plan --model gpt2-124m --batch 4 --seq 64 --optim adamw_r --plan-beside adamw/passes --out plan >/dev/null
cmp plan/plan.svg "$root/docs/plan.svg" >differs 2>&1
report 'docs/plan.svg is the plan' $? "run \`make docs\`: $(cat differs)"
first=$(sed -n '/!\[/,/^\* \*\*/p' "$root/README.md" | tail -n 1)
for optimizer in adamw adamw_r; do
    words=$("$root/build/release/train_gpt" --plan --json --model gpt2-124m --batch 4 --seq 64 --optim $optimizer \
        --optim-impl "$([ $optimizer = adamw ] && echo passes || echo fused)" | "$root/scripts/runs.py" plan peak_bytes |
        awk '{ printf "%.0f", $1 / 1048576 }')
    case $first in *"${words:-nothing}"*) ;; *) false ;; esac
    report "the README's first number: $optimizer $words MiB" $? "$first"
done

# ---- links, length ----

cd "$root" || exit 1
broken=$(for page in README.md CONTRIBUTING.md docs/*.md; do
    grep -oE '\]\([^)# ]+' "$page" | cut -c3- | grep -vE '^(https?|mailto):' | while read -r link; do
        [ -e "$(dirname "$page")/$link" ] || echo "$page -> $link"
    done
done)
[ -z "$broken" ]
report 'every link leads somewhere' $? "$broken"
words=$(wc -w <README.md)
[ "$words" -lt 1500 ]
report 'README.md has less than 1,500 words' $? "$words"
lost=$(for page in docs/*.md; do
    grep -q "($(basename "$page"))\|($(basename "$page")#" docs/index.md || [ "$page" = docs/index.md ] || echo "$page"
done)
[ -z "$lost" ]
report 'docs/index.md leads to every page' $? "$lost"
lost=$(for page in docs/*.md; do
    [ "$page" = docs/index.md ] || grep -qE '\]\((index\.md|\.\./README\.md)' "$page" || echo "$page"
done)
[ -z "$lost" ]
report 'every page leads back' $? "$lost"
head -20 README.md | grep -q '!\[' && [ "$(head -20 README.md | grep -cE '^\* \*\*')" -eq 3 ]
report 'the first screen has the picture and three numbers' $?
exit $bad
