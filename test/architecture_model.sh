#!/usr/bin/env bash
# architecture_model.sh - what CONTRIBUTING.md says of options and families of models, and of formats of
# files, is true: the files are there, they are few, and no other file of the product names what such a
# change adds.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
bad=0
rooms="base core ranks params cpu cuda optim data model io infer run train plan tools train.c"

says() { if [ $# = 1 ]; then echo "ok $1"; else echo "not ok $1: ${*:2}"; bad=1; fi; }

# tables SECTION: the first column of its tables, and a line "-" after each table
tables() {
    awk -v section="## $1" '/^## / { on = $0 == section }
        on && /^\| `/ { split($0, part, "`"); print part[2]; inside = 1; next }
        on && inside { print "-"; inside = 0 }
        END { if (inside) print "-" }' CONTRIBUTING.md
}

# few SECTION MOST TABLES: it has so many tables, each of 1 to MOST files, and they are there
few() {
    local lost=() f n=0 tables=0
    while read -r f; do
        if [ "$f" = - ]; then
            [ $n -le "$2" ] || lost+=("a table of $n files, $2 are allowed")
            n=0 tables=$((tables + 1))
        else
            compgen -G "$f" >/dev/null || lost+=("$f is not there")
            n=$((n + 1))
        fi
    done < <(tables "$1")
    [ $tables = "$3" ] || lost+=("$tables tables where $3 were expected")
    says "$1: files" "${lost[@]}"
}

# listed SECTION...: those files, patterns expanded
listed() {
    local section f
    for section; do
        while read -r f; do [ "$f" = - ] || compgen -G "$f"; done < <(tables "$section")
    done
}

# outside WORD SECTION...: files of the product that name it and are in no table of these; "nobody" if none names it
outside() {
    local found
    # shellcheck disable=SC2086 # a list of directories
    found=$(grep -rlwE --include='*.[ch]' --include='*.cu' "$1" $rooms) || { echo nobody; return; }
    grep -vxF -f <(listed "${@:2}") <<<"$found"
}

# alone WORD SECTION...: nobody but these names it
alone() {
    local others
    mapfile -t others < <(outside "$@")
    says "$2: $1" "${others[@]}"
}

option="Adding a block option" family="Adding a model family" format="Adding a file format"
few "$option" 4 1
few "$family" 4 1
few "$format" 3 3

for word in qk_norm norm_plus_one 'rotary[._]interleaved'; do # those whose names are no other's
    alone "$word" "$option" "$family"
done

mapfile -t families < <(grep -oE '^#define [A-Z0-9]+_OPTIONS' model/families.h | cut -d' ' -f2 | grep -v GPT2)
[ ${#families[@]} -ge 10 ] || says "$family" "only ${#families[@]} were found in model/families.h"
mapfile -t names < <(grep -oE '^const model_names [a-z0-9]+_names\b' model/tensor_names.c | cut -d' ' -f3 | grep -vE 'gpt2|vit')
[ ${#names[@]} -ge 7 ] || says "$family" "only ${#names[@]} maps of names were found in model/tensor_names.c"
for word in "${families[@]}" "${names[@]}"; do alone "$word" "$family"; done

# a format's own functions
mapfile -t formats < <(sed -nE 's/.*\b(tokens_check_|tokens_are_|picture_)([a-z0-9]+)\((token_shard|const uint8_t \*head|const uint8_t \*file|const char \*path).*/\1\2/p' \
    data/token_shard.h data/images/picture.h | grep -vx picture_known # any picture
    sed -nE 's/^static error \*([a-z0-9]+_images)\(image_set.*/\1/p' data/images/images_files.c)
[ ${#formats[@]} -ge 8 ] || says "$format" "only ${#formats[@]} functions of formats were found: ${formats[*]}"
for word in "${formats[@]}"; do alone "$word" "$format"; done

# ---- the checks themselves ----

mapfile -t others < <(outside gpt2_names "$family") # these two ask for it by name
[ "${others[*]}" = 'io/adapter_file.c tools/export.c' ] || says "self-test: a name elsewhere" "found in ${others[*]:-no file}"
mapfile -t others < <(outside "no_option_is_called_so" "$option")
[ "${others[*]}" = nobody ] || says "self-test: a name that nobody has" "found in ${others[*]}"
case $(few "$family" 3 2) in
"not ok "*"a table of 4 files, 3 are allowed 1 tables where 2 were expected") ;;
*) says "self-test: a table too long" "$(few "$family" 3 2)" ;;
esac

exit $bad
