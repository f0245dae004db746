/* ranks_known.c - see ranks_known.h
 *
 * Expressions and special tokens are facts of these programs:
 *   GPT-2, cl100k, o200k   tiktoken 0.14.0, tiktoken_ext/openai_public.py
 *   Qwen                   dashscope 2.0.2, tokenizers/qwen_tokenizer.py
 *   Llama 3, Llama 4       llama-models 0.3.0, llama3/tokenizer.py, llama4/tokenizer.py
 */
#include "data/bpe/ranks_known.h"

#include <stddef.h>
#include <string.h>

#include "data/bpe/pattern.h"

/* The rule of GPT-4 and its relatives; N is the longest run of digits. */
#define WORDS  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define REST   "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define QWEN   WORDS "\\p{N}" REST
#define LLAMA3 WORDS "\\p{N}{1,3}" REST

/* Not a faster LLAMA3: white space at the end of a text stays together, including line breaks. */
#define CL100K                                                                                     \
    "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++|(?>\\p{N}{1,3})|"                       \
    " ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*+|\\s++\\z|\\s*[\\r\\n]|\\s+(?!\\S)|\\s"

/* Distinguishes upper and lower case. */
#define UPPER  "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER  "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define SHORT  "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
#define BEFORE "[^\\r\\n\\p{L}\\p{N}]?"
#define O200K                                                                                      \
    BEFORE UPPER "*" LOWER "+" SHORT "|" BEFORE UPPER "+" LOWER "*" SHORT "|"                      \
                 "\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

static const special_run gpt2[] = {{"<|endoftext|>", 0, 1}, {0}};

static const special_run cl100k[] = {{NULL, 0, 1},
                                     {"<|endoftext|>", 0, 1},
                                     {"<|fim_prefix|>", 0, 1},
                                     {"<|fim_middle|>", 0, 1},
                                     {"<|fim_suffix|>", 0, 1},
                                     {NULL, 0, 15},
                                     {"<|endofprompt|>", 0, 1},
                                     {0}};

static const special_run o200k[] = {
    {NULL, 0, 1}, {"<|endoftext|>", 0, 1}, {NULL, 0, 18}, {"<|endofprompt|>", 0, 1}, {0}};

static const special_run qwen[] = {{"<|endoftext|>", 0, 1},
                                   {"<|im_start|>", 0, 1},
                                   {"<|im_end|>", 0, 1},
                                   {"<|extra_%d|>", 0, 205},
                                   {0}};

static const special_run llama3[] = {{"<|begin_of_text|>", 0, 1},
                                     {"<|end_of_text|>", 0, 1},
                                     {"<|reserved_special_token_%d|>", 0, 2},
                                     {"<|finetune_right_pad_id|>", 0, 1},
                                     {"<|step_id|>", 0, 1},
                                     {"<|start_header_id|>", 0, 1},
                                     {"<|end_header_id|>", 0, 1},
                                     {"<|eom_id|>", 0, 1},
                                     {"<|eot_id|>", 0, 1},
                                     {"<|python_tag|>", 0, 1},
                                     {"<|image|>", 0, 1},
                                     {"<|reserved_special_token_%d|>", 2, 244},
                                     {0}};

static const special_run llama4[] = {{"<|begin_of_text|>", 0, 1},
                                     {"<|end_of_text|>", 0, 1},
                                     {"<|fim_prefix|>", 0, 1},
                                     {"<|fim_middle|>", 0, 1},
                                     {"<|fim_suffix|>", 0, 1},
                                     {"<|header_start|>", 0, 1},
                                     {"<|header_end|>", 0, 1},
                                     {"<|eom|>", 0, 1},
                                     {"<|eot|>", 0, 1},
                                     {"<|step|>", 0, 1},
                                     {"<|text_post_train_reserved_special_token_%d|>", 0, 6},
                                     {"<|python_start|>", 0, 1},
                                     {"<|python_end|>", 0, 1},
                                     {"<|finetune_right_pad|>", 0, 1},
                                     {"<|text_post_train_reserved_special_token_%d|>", 8, 61},
                                     {"<|image_start|>", 0, 1},
                                     {"<|image_end|>", 0, 1},
                                     {"<|vision_reserved_special_token_%d|>", 0, 2},
                                     {"<|tile_x_separator|>", 0, 1},
                                     {"<|tile_y_separator|>", 0, 1},
                                     {"<|vision_reserved_special_token_%d|>", 2, 4},
                                     {"<|image|>", 0, 1},
                                     {"<|vision_reserved_special_token_%d|>", 6, 1},
                                     {"<|patch|>", 0, 1},
                                     {"<|vision_reserved_special_token_%d|>", 7, 1041},
                                     {"<|reasoning_reserved_special_token_%d|>", 0, 8},
                                     {"<|reasoning_thinking_start|>", 0, 1},
                                     {"<|reasoning_thinking_end|>", 0, 1},
                                     {"<|reserved_special_token_%d|>", 0, 904},
                                     {0}};

const ranks_kind ranks_gpt2 = {"GPT-2's", 50256, 0xFBD1925DAAEA78F8, PATTERN_GPT2, gpt2, NULL,
                               false,     false};

const char ranks_qwen_expression[] = QWEN;

static const ranks_kind others[] = {
    {"Qwen's", 151643, 0xACBE8700460EF7BC, QWEN, qwen, NULL, false, true},
    {"Llama 3's", 128000, 0xBD16D66A22E9381A, LLAMA3, llama3, "<|begin_of_text|>", true, false},
    {"Llama 4's", 200000, 0xF32156E066092A06, O200K, llama4, "<|begin_of_text|>", false, false},
    {"cl100k_base", 100256, 0x3128EE864E37ADD2, CL100K, cl100k, NULL, false, false},
    {"o200k_base", 199998, 0xEAAB87635D2D07F3, O200K, o200k, NULL, false, false},
};

const ranks_kind *ranks_find(int32_t n_ranks, uint64_t fingerprint)
{
    if (n_ranks == ranks_gpt2.n_ranks && fingerprint == ranks_gpt2.fingerprint) return &ranks_gpt2;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (others[i].n_ranks == n_ranks && others[i].fingerprint == fingerprint) return &others[i];
    return NULL;
}

bool ranks_cuts_so(const char *expression)
{
    bool known = strcmp(expression, ranks_gpt2.expression) == 0;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        known = known || strcmp(expression, others[i].expression) == 0;
    return known;
}
