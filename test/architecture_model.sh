#!/usr/bin/env bash
# architecture_model.sh - what CONTRIBUTING.md says of options and families of models is true: the files
# are there, they are few, and no other file of the product names what such a change adds.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
bad=0
rooms="base core ranks params cpu cuda optim data model io infer run train plan tools train.c"

says() { if [ $# = 1 ]; then echo "ok $1"; else echo "not ok $1: ${*:2}"; bad=1; fi; }

# files_of SECTION: those in the first column of its table
files_of() {
    awk -v section="## $1" '/^## /{on = $0 == section} on' CONTRIBUTING.md | sed -n 's/^| `\([^`]*\)` |.*/\1/p'
}

# few SECTION MOST: its table has 1 to MOST files, and they are there
few() {
    local files lost=() f
    mapfile -t files < <(files_of "$1")
    for f in "${files[@]}"; do [ -f "$f" ] || lost+=("$f is not there"); done
    [ ${#files[@]} -ge 1 ] && [ ${#files[@]} -le "$2" ] || lost+=("${#files[@]} files, 1 to $2 are allowed")
    says "$1: files" "${lost[@]}"
}

# outside SECTION WORD: files of the product that name it and are not in the table; "nobody" if none names it
outside() {
    local found
    # shellcheck disable=SC2086 # a list of directories
    found=$(grep -rlwE --include='*.[ch]' --include='*.cu' "$2" $rooms) || { echo nobody; return; }
    grep -vxF -f <(files_of "$1"; [ "$1" = "Adding a model family" ] || files_of "Adding a model family") <<<"$found"
}

option="Adding a block option" family="Adding a model family"
few "$option" 4
few "$family" 4
for word in qk_norm; do
    mapfile -t others < <(outside "$option" "$word")
    says "$option: $word" "${others[@]}"
done
for word in 'phi_names|PHI_OPTIONS' 'phi3_names|PHI3_OPTIONS' 'neox_names|NEOX_OPTIONS' SMOLLM3_OPTIONS 'bloom_names|BLOOM_OPTIONS' 'falcon_names|FALCON_OPTIONS' 'chatglm_names|CHATGLM_OPTIONS' \
    'llama_names|LLAMA_OPTIONS' 'QWEN2_OPTIONS' 'QWEN3_OPTIONS' 'GEMMA_OPTIONS'; do
    mapfile -t others < <(outside "$family" "$word")
    says "$family: $word" "${others[@]}"
done

# ---- the checks themselves ----

mapfile -t others < <(outside "$family" 'gpt2_names') # these two ask for it by name
[ "${others[*]}" = 'io/adapter_file.c tools/export.c' ] || says "self-test: a name elsewhere" "found in ${others[*]:-no file}"
mapfile -t others < <(outside "$option" "no_option_is_called_so")
[ "${others[*]}" = nobody ] || says "self-test: a name that nobody has" "found in ${others[*]}"

exit $bad
