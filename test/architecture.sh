#!/usr/bin/env bash
# architecture.sh - CONTRIBUTING.md says which files a new operation, optimizer, ... touches.  This is
# held against the code: what the page names is there, and nothing that it leaves out lists them.
#
# Of the operations: each row of core/ops.def has its functions in the directories of the page, is
# tested, and is named in no other list; and a row without its cost does not compile.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
bad=0

ok() { echo "ok $1"; }
not_ok() { echo "not ok $1 $2"; bad=1; }
# says CHECK WHAT...: fine if there is no WHAT
says() { if [ $# = 1 ]; then ok "$1"; else not_ok "$1" "${*:2}"; fi; }

# ---- the page ----

# Every file and directory that it names is there: `core/ops.def`, `cpu/*.c`.
lost=()
while read -r name; do
    compgen -G "$name" >/dev/null || lost+=("$name")
done < <(grep -oE '`[a-z_]+/[A-Za-z0-9_./*]*`' CONTRIBUTING.md | tr -d '`' | grep -v NAME | sort -u)
says contributing "${lost[@]}"

# Every function that the walks of docs/architecture.md name is defined, every type and header is there.
# found NAME: as a function that is defined, a type, a macro, or an operation
found() {
    grep -qE "^(static )?(inline )?[a-z_0-9 ]*[ *]?\\b$1\\(" -r base core ranks params cpu optim model io data infer run train plan --include='*.[ch]' ||
        grep -qE "\\} $1;|^typedef struct $1 |^#define $1\\b|^OPERATION \\($1\\)" -r base core ranks params optim model io data infer run train plan
}
lost=() walked=0
while read -r name; do
    case $name in *.h) compgen -G "*/$name" >/dev/null ;; *) found "$name" ;; esac || lost+=("$name")
    walked=$((walked + 1))
done < <(grep -oE '`[a-z_]+(\.h)?`' docs/architecture.md | tr -d '`' | sort -u)
says architecture "${lost[@]}"
[ $walked -ge 40 ] || not_ok architecture "only $walked names were found in docs/architecture.md"
if found train_no_such_thing; then not_ok "self-test: architecture" "finds what is not there"; else ok "self-test: architecture"; fi

# ---- optimizers: two files, and nobody else names one ----

lost=()
while read -r rule; do
    grep -qE "X\($rule\)" optim/rules/all.h || lost+=("$rule: not in OPTIM_RULES")
    while read -r file; do
        lost+=("$file names $rule")
    done < <(grep -nE "\"$rule(_r)?\"|RULE_$rule\b|\b${rule}_(info|pass)" -r base core ranks params cpu cuda model io data infer run train.c \
        $(ls optim/*.[ch] train/*.[ch] plan/*.[ch] | grep -vE 'train/options.c|plan/memory_candidates.c') |
        grep -vE ':[0-9]+: *(/\*|\*)' | cut -d: -f1 | sort -u)
done < <(grep -hoE '^ *\.name = "[a-z]+"' optim/rules/{adan,lion,muon,sgd,adama}.h | cut -d'"' -f2)
says optimizers "${lost[@]}"

# ---- operations ----

mapfile -t operations < <(sed -nE 's/^OPERATION \((\w+)\)$/\1/p' core/ops.def)
[ ${#operations[@]} -ge 40 ] || not_ok operations "only ${#operations[@]} rows were found in core/ops.def"

# defined PREFIX FILES...: which operations have not exactly one function PREFIX_NAME there, written out or made by a
# macro of their device (CPU_ROWS(NAME, ...))
defined() {
    local name
    for name in "${operations[@]}"; do
        [ "$(cat "${@:2}" | grep -cE "^(extern \"C\" )?void $1_$name\(device \*dev, int stream, const ${name}_op \*o\)|^${1^^}_(ENTRY|ROWS|EACH_ROW)\($name, ")" = 1 ] ||
            echo "$1_$name"
    done
}
mapfile -t missing < <(defined cpu cpu/*.c)
says operations-cpu "${missing[@]}"
mapfile -t missing < <(defined cuda cuda/*.cu cuda/*.c)
says operations-cuda "${missing[@]}"
mapfile -t missing < <(defined ref test/ref*.c | grep -vx ref_optim) # update rules are shared
says operations-reference "${missing[@]}"

missing=()
for name in "${operations[@]}"; do
    grep -q "ACCEPT($name," test/test_ops_misuse.c || missing+=("$name: no right call in test_ops_misuse.c")
    grep -lwE "(OP\(|op_)?$name" test/test_ops_*.c | grep -qv misuse || missing+=("$name: in no test_ops_*.c")
done
says operations-tested "${missing[@]}"

# A second list would name the rare ones, too.
mapfile -t lists < <(grep -lwE '(\w+_)?count_below' -r core cpu cuda tools | while read -r file; do
    grep -qwE '(\w+_)?head_norm_grad' "$file" && grep -qwE '(\w+_)?scale_samples' "$file" && echo "$file"
done | grep -vx core/ops.def)
says operations-one-list "${lists[@]}"

# ---- no operation without a cost ----

copy=$(mktemp -d) || exit 1
trap 'rm -rf "$copy"' EXIT
mkdir "$copy/core"
compiles() { ${CC:-gcc} -std=c17 -D_GNU_SOURCE -fsyntax-only -I"$copy" -I. core/cost.c 2>/dev/null; }
sed -n p core/ops.def >"$copy/core/ops.def"
cp core/ops.h core/ops_internal.h core/cost.h "$copy/core/" # so that "core/ops.def" is the copy's
if compiles; then ok "self-test: core/cost.c"; else not_ok "self-test: core/cost.c" "does not compile"; fi
for name in fill linear regrow; do
    awk -v row="COST ($name," 'index($0, row) == 1 { skip = 1 } !skip { print } skip && /\)$/ { skip = 0 }' core/ops.def \
        >"$copy/core/ops.def"
    if cmp -s core/ops.def "$copy/core/ops.def"; then
        not_ok "cost: $name" "is not where this test looks for it"
    elif compiles; then
        not_ok "cost: $name" "compiles without"
    else
        ok "cost: $name"
    fi
done

exit $bad
