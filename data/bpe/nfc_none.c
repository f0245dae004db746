/* nfc_none.c - NFC in a build without utf8proc: refused. */
#include "data/bpe/normal.h"

bool nfc_available(void)
{
    return false;
}

error *nfc_text(const uint8_t *text, size_t n, uint8_t **out, size_t *n_out)
{
    (void)text, (void)n, (void)out, (void)n_out;
    return user_error("its normalizer is NFC, and this build has no utf8proc: install "
                      "libutf8proc-dev (apt-get install libutf8proc-dev) and run make again");
}
