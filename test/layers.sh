#!/usr/bin/env bash
# layers.sh - dependencies point one way, and who may end the program.
#
#   base  <-  core  <-  ranks  <-  params  <-  optim, model  <-  model/hf  <-  io
#             core  <-  optim/rules  <-  cpu, cuda              base  <-  data/bpe, data/chat, data/images, data
#   model, data/bpe, data/chat, io  <-  infer            optim, io  <-  run
#   all of these  <-  train  <-  plan  <-  train.c, tools, test
#
# And no family of models is named where models compute: it is a row of options (model/config.h); no
# option is without a heading in --help and without what a resume does with it (train/option_row.h).
# A function fits a screen: 50 lines; a line has 100 columns.  A header's guard has its name.
#
# The text is read, not compiled, so this holds for every configuration.  Then each rule is broken in a
# copy of the tree, and each time the check must say so.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
copy=$(mktemp -d) || exit 1
trap 'rm -rf "$copy"' EXIT
bad=0

# Every file that people write, from the root; golden values are data.  Of a checkout those are git's, with new ones that
# it does not ignore: other things may leave copies of the tree in it (pip does).
texts() {
    if [ -e .git ]; then
        git ls-files --cached --others --exclude-standard -z
    else
        find . \( -path ./build -o -path ./runs -o -path ./python/build \) -prune -o -type f -print0
    fi | xargs -0 sh -c 'find "$@" -maxdepth 0 -type f -size -1000k ! -path "*test/golden/*.txt" ! -name "*.o"' sh 2>/dev/null |
        sed 's,^\./,,' | sort
}

rules=$(cat <<'AWK'
BEGIN {
    # The directories (or single files) that a directory's files may include from; * is anything.
    may["base"] = "base"
    may["core"] = "base core"
    may["ranks"] = may["core"] " ranks"
    may["params"] = may["ranks"] " params"
    may["optim/rules"] = "base core/rule.h optim/rules"
    may["optim"] = may["params"] " optim optim/rules"
    may["cpu"] = "base core optim/rules cpu"
    may["cuda"] = "base core optim/rules ranks/comm.h cuda"
    may["model"] = may["params"] " model"
    may["model/hf"] = may["model"] " model/hf"
    may["io"] = may["model/hf"] " io"
    may["data/bpe"] = "base data/bpe"
    may["data/chat"] = "base data/chat"
    may["data/images"] = "base data data/images"
    may["data"] = "base data"
    may["infer"] = may["io"] " data/bpe data/chat infer"
    may["run"] = may["io"] " optim run"
    may["train"] = may["io"] " optim optim/rules data data/images data/bpe data/chat cpu cuda infer run train"
    may["plan"] = may["train"] " plan"
    split("lib tools test fuzz .", free, " ")
    for (i in free) may[free[i]] = "*"
    for (i = 1; i < ARGC; i++) known[ARGV[i]] = 1
    edge = "(^|[^A-Za-z0-9_])"
    ends = edge "(_?exit|_Exit|quick_exit|pthread_exit|abort|assert|errx?)[ \t]*\\("
    prints = edge "(stderr|STDERR_FILENO|perror|psignal|v?warnx?|dprintf)([^A-Za-z0-9_]|$)"
    mains = edge "error_report[ \t]*\\("
}
function wrong(check, text) { print check "\t" file ":" FNR " " text }
function directory(path) { return sub("/[^/]*$", "", path) ? path : "." }
function name_of(path) { sub(/.*\//, "", path); sub(/\.h$/, "", path); return path }
function layer(path,    d) { d = directory(path); sub("^test/.*", "test", d); return d }

FNR == 1 {
    file = FILENAME
    name = file
    sub(/.*\//, "", name)
    if (name ~ /\.(c|h|def|cu|cpp|py|sh)$/ && file !~ /^test\/cudasim\/include\//) { # those stand in for NVIDIA's
        if (name in named) wrong("names", "has the name of " named[name])
        named[name] = file
    }
    guard = ""
    body = 0
    code = file ~ /\.(c|h|def|cu|cuh)$/
    library = code && file !~ /^(train\.c$|lib\/example\.c$|tools\/|test\/|fuzz\/)/
    inside = 0
}
/TO[D]O|FIX[M]E/ { wrong("marks", $0) }

# what keeps a header from being read twice has the header's name
file ~ /\.h$/ && file !~ /^test\/cudasim\/include\// && /^#(ifndef|pragma once)/ && !guard {
    guard = $2
    expected = toupper(name_of(file)) "_H"
    if (substr(guard, length(guard) - length(expected) + 1) != expected) wrong("names", guard " is not " expected)
}
!code { next }

# a function fits a screen
/^\{/ { body = FNR }
/^\}/ {
    if (body && FNR - body - 1 > 50) wrong("length", "ends a function of " FNR - body - 1 " lines, 50 are allowed")
    body = 0
}

# so does a line; what a comment draws or sets in columns, and the formula that a file of CUDA begins with, may be wider
length($0) > 100 && file !~ /\.def$/ {
    wide = $0 ~ /^(\/\*| \*|    \/\*) / && ($0 ~ /[^ ]   +[^ ]/ || $0 ~ /^ \*  / || $0 ~ /^\/\* [a-z_]+\.cu - .*= /)
    if (!wide || length($0) > 121) wrong("columns", "has " length($0) " columns")
}

(file ~ /^(core|params|cpu|cuda|optim)\// || file ~ /^model\/(block|block_params|block_keeps|gpt|block_stack|recompute)\.[ch]$/) &&
    tolower($0) ~ /llama|vicuna|qwen|gemma|bloom|falcon|chatglm/ { wrong("family", $0) }

{ # without comments
    rest = $0
    text = ""
    while (rest != "") {
        if (inside) {
            at = index(rest, "*/")
            if (!at) break
            rest = substr(rest, at + 2)
            inside = 0
            continue
        }
        at = index(rest, "/*")
        slashes = index(rest, "//")
        if (slashes && (!at || slashes < at)) { text = text substr(rest, 1, slashes - 1); break }
        if (!at) { text = text rest; break }
        text = text substr(rest, 1, at - 1)
        rest = substr(rest, at + 2)
        inside = 1
    }
}

# rows of options: from {"name" to FIELD(...)
file ~ /^train\/(options|task_[a-z]+)\.c$/ && $0 ~ /^    \{"[a-z0-9-]+", *("|NULL)/ { row = ""; in_row = 1 }
in_row { row = row $0 }
in_row && /FIELD\(/ {
    if (row !~ /(MODEL|TUNING|DATA|OPTIMIZER|SCHEDULE|SPARSITY|PRECISION|MEMORY|OFFLOADED|RUN|OUTPUT|RANKS), *(FIXED|TOLD|SILENT|SPLIT), *(0|HAS_[A-Z0-9]+), *FIELD/)
        wrong("resume", "an option without a heading or a rule for resuming: " row)
    in_row = 0
    options++
}

text ~ /^[ \t]*#[ \t]*include[ \t]*"/ || (text == "" && $0 ~ /^[ \t]*#[ \t]*include[ \t]*"/) {
    split($0, part, "\"")
    if (!(part[2] in known)) wrong("rooted", "includes " part[2] ", which is no file from the root")
    allowed = may[layer(file)]
    n = split(allowed, list, " ")
    fine = allowed == "*"
    for (i = 1; i <= n; i++) if (part[2] == list[i] || directory(part[2]) == list[i]) fine = 1
    if (!fine) wrong("includes", "includes " part[2])
    next
}
code && file !~ /^(test|fuzz)\// && text ~ /^(static|ROW_FN|HOST_DEVICE)[ \t][^=({]*[A-Za-z0-9_]\(/ {
    name = text
    gsub(/__attribute__\(\([a-z_]*\)\)/, "", name)
    sub(/\(.*/, "", name)
    sub(/.*[^A-Za-z0-9_]/, "", name)
    if (!((name, file) in stands)) {
        stands[name, file] = 1
        if (places[name]++ > 1) wrong("names", name "() stands in two other files, too:" seen[name])
        seen[name] = seen[name] " " file
    }
}
library && text ~ ends && text !~ /[sS]tatic_assert/ { wrong("exit", text) }
library && file !~ /^base\/error\.c$/ && text ~ prints { wrong("stderr", text) }
library && file !~ /^base\/error\.[ch]$/ && text ~ mains { wrong("stderr", text) }
END {
    if (options < 60) print "resume\ttrain/: only " options + 0 " rows of options were found"
}
AWK
)

# what_is_wrong TREE: lines "check <tab> where and what"
what_is_wrong() { (cd "$1" && texts | tr '\n' '\0' | xargs -0 awk "$rules"); }

# ---- the tree ----

(cd "$root" && texts | tar -cf - -T -) | tar -xf - -C "$copy" || exit 1
before=$(what_is_wrong "$copy")
for check in includes rooted exit stderr marks length columns names family resume; do
    found=$(grep "^$check	" <<<"$before")
    if [ -z "$found" ]; then
        echo "ok $check"
    else
        sed 's/^\([a-z]*\)	/not ok \1 /' <<<"$found"
        bad=1
    fi
done
sources=$(find "$copy" -name '*.[ch]' | wc -l)
[ "$sources" -ge 40 ] || { echo "not ok sources only $sources files of C were found"; bad=1; }

# ---- the checks themselves ----

# breaks CHECK FILE LINE: with this line at its end, the file has one fault more in this check.  The lines of many
# calls are looked at together, by one reading of the tree: of a check and a file one at a time.
declare -A broken=() kept=()
breaks() {
    [ -z "${broken["$1	$2"]+set}" ] || look
    if [ -z "${kept[$2]+set}" ]; then
        kept[$2]=
        if [ -f "$copy/$2" ]; then
            kept[$2]=$(mktemp "$copy/kept.XXXXXX.o")
            cp "$copy/$2" "${kept[$2]}"
        fi
    fi
    mkdir -p "$(dirname "$copy/$2")"
    printf '%s\n' "$3" >>"$copy/$2"
    broken["$1	$2"]=$3
}

# look: holds what is wrong now to the lines since the last look, which it then removes
look() {
    local now where found file
    now=$(what_is_wrong "$copy")
    for where in "${!broken[@]}"; do
        found=$(($(grep -c "^$where" <<<"$now") - $(grep -c "^$where" <<<"$before")))
        if [ $found = 1 ]; then
            echo "ok self-test: ${where/	/ in }"
        else
            echo "not ok self-test: ${where/	/ in }: $found new faults found after: ${broken[$where]:0:60}"
            bad=1
        fi
    done
    for file in "${!kept[@]}"; do
        if [ -n "${kept[$file]}" ]; then mv "${kept[$file]}" "$copy/$file"; else rm "$copy/$file"; fi
    done
    broken=() kept=()
}

breaks includes base/rng.c '#include "core/tensor.h"'
breaks includes base/rng.h '  #  include "model/config.h"'
breaks includes core/ops.c '#include "params/params.h"'
breaks includes ranks/comm.c '#include "params/params.h"'
breaks includes optim/rules/sgd.h '#include "core/tensor.h"'
breaks includes optim/schedule.c '#include "model/config.h" /* why */'
breaks includes model/gpt.c '#include "optim/registry.h"'
breaks includes cpu/cpu_device.c '#include "optim/registry.h"'
breaks includes data/bpe/bpe.c '#include "data/tokens.h"'
breaks includes io/llmc.c '#include "data/tokens.h"'
breaks includes infer/sampler.c '#include "train/options.h"'
breaks includes infer/decoder.c '#include "run/log.h"'
breaks includes run/gather.h '#include "train/trainer.h"'
breaks includes run/run_dir.c '#include "infer/sampler.h"'
breaks includes train/loop.c '#include "plan/plan_report.h"'
breaks includes train/options.c '#include "tools/anything.h"'
breaks includes elsewhere/new.c '#include "base/rng.h"'
breaks rooted core/placement.c '#include "../core/placement.h"'
breaks rooted test/ref.c '#include "ref.h"'
breaks exit model/block.c 'static void f(void) { exit(1); }'
breaks exit train/loop.c 'static void f(void) { /* why */ abort (); }'
breaks exit core/placement.c 'static void f(int x) { assert(x); }'
breaks family model/block.c '/* as LLaMA has it */'
breaks family cuda/gate.cu 'static bool gemma;'
breaks stderr run/log.c 'static void f(void) { fprintf(stderr, "x"); }'
breaks stderr train/loop.c 'static void f(void) { perror("x"); }'
breaks stderr train/options.c 'static int f(error *e) { return error_report("x", e); }'
breaks marks core/placement.c "/* TO""DO: later */"
breaks includes core/ops.def '#include "params/params.h"'
breaks resume train/options.c '    {"new", "N", "help", WHOLE, RUN, FIELD(x), 0, 0, NULL},'
breaks resume train/task_text.c '    {"new", NULL, "help", FLAG, SILENT, 0, FIELD(x), 0, 0, NULL},'
breaks names train/rng.c '/* another */'
breaks names train/zz.c 'static error_t parse_option(int key, char *arg, struct argp_state *state)'
breaks names train/zz.c 'ROW_FN int parse_option('
breaks names core/rng_new.h '#ifndef REGRAD_RNG_OLD_H'
breaks length test/arena_bed.h "$(printf 'static void f(void)\n{\n'; yes '    g();' | head -51; echo '}')"
breaks length base/rng.h "$(printf 'static void f(void)\n{\n'; yes '    g();' | head -51; echo '}')"
breaks columns base/rng.h "/* $(yes word | head -25 | tr '\n' ' ')*/"
breaks columns base/rng.h " *  $(yes '|   |' | head -25 | tr '\n' ' ')"
breaks columns test/formula.h "    f($(yes x, | head -50 | tr -d '\n')x);"
look

exit $bad
