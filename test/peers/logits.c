/* logits.c - what a model makes of some tokens, for the comparison with other
 * programs (test/peers/models.py).
 *
 *     logits MODEL 3,1,4 > floats          for each place the logits of the token that follows it
 */
#include "train/choose_device.h"
#include "infer/inference.h"
#include "model/families.h"

#include <stdio.h>
#include <stdlib.h>

static error *print_logits(inference *inf, const char *ids)
{
    float *logits;
    TRY(alloc_array(&logits, (size_t)inf->config.vocab, sizeof *logits));
    error *e = NULL;
    decoder_begin(&inf->decoder);
    for (char *end; *ids && !e; ids = *end ? end + 1 : end) {
        int32_t id = (int32_t)strtol(ids, &end, 10);
        if (end == ids || id < 0 || id >= inf->config.vocab)
            e = user_error("'%.20s' is no token", ids);
        if (e) break;
        decoder_push(&inf->decoder, &id, 1);
        e = decoder_next(&inf->decoder, logits);
        if (!e) fwrite(logits, sizeof *logits, (size_t)inf->config.vocab, stdout);
    }
    decoder_end(&inf->decoder);
    free(logits);
    return e;
}

static error *run_model(const weights *w, const char *ids)
{
    device dev = {0};
    inference *inf = NULL;
    TRY(device_open(DEVICE_CPU, 1, NULL, &dev));
    error *e = inference_plan(&gpt_kind, weights_model(w), (inference_job){.on = dev.kind}, &inf);
    if (!e) e = inference_commit(inf, &dev, w, false);
    if (!e) e = print_logits(inf, ids);
    inference_destroy(inf);
    device_close(&dev);
    return e;
}

int main(int argc, char **argv)
{
    weights *w;
    error *e = argc == 3 ? weights_open(argv[1], NULL, &w) : user_error("logits MODEL ID,ID,...");
    if (!e) {
        e = run_model(w, argv[2]);
        weights_close(w);
    }
    return e ? error_report("logits", e) : 0;
}
