/* bpe_metaspace.c - SentencePiece's scheme: LLaMA's, Gemma's, T5's.
 *
 * Tokens are spelled in characters, with U+2581 for a space, and the text is one piece that starts
 * as its characters, not as its bytes.  A character that is not a token is encoded as its bytes,
 * <0x00> to <0xFF> (byte_fallback), or as the unknown token.  LLaMA adds a space before every text.
 *
 *     "no €"  ->  " no €"  ->  ' '  n  o  ' '  €                        if € is a token
 *                              ' '  n  o  ' '  <0xE2> <0x82> <0xAC>     if not; then merges
 *
 * In our vocabulary tokens are spelled with a plain space, so that their bytes are their text. Byte
 * tokens are not matched by spelling (<0x41> is spelled like A), just as special ones.  The ids are
 * those of the file's own program without special tokens; the one that it puts in front, <s>, is
 * bpe_begin_of_text.
 */
#include <string.h>

#include "data/bpe/bpe_json_internal.h"

static const char meta[] = BPE_META;

enum { META = sizeof meta - 1 };

size_t bpe_metaspace_plain(const uint8_t *from, size_t n, uint8_t *to)
{
    size_t used = 0;
    for (size_t i = 0; i < n;) {
        bool is_meta = n - i >= META && memcmp(from + i, meta, META) == 0;
        to[used++] = is_meta ? ' ' : from[i];
        i += is_meta ? META : 1;
    }
    return used;
}

int bpe_metaspace_byte(const char *name)
{
    static const char digits[] = "0123456789ABCDEF";
    if (strlen(name) != 6 || memcmp(name, "<0x", 3) || name[5] != '>') return -1;
    const char *high = strchr(digits, name[3]), *low = strchr(digits, name[4]);
    return high && low ? (int)(16 * (high - digits) + (low - digits)) : -1;
}
