/* choose_attention.c - see choose_attention.h */
#include "train/choose_attention.h"
#include "train/choose_device.h"
#include "train/conflicts.h"

#include <string.h>

enum { OTHER = ATTENTION_OWN + 1, SURE_HEAD = 128 };

/* Why it is not computed by that method. */
static error *refuse_other(const options *o, device *dev)
{
    options with = *o;
    with.attention = device_kind_at(o->device)->attention[OTHER];
    const char *lacks = options_attention_lacks(&with);
    if (!lacks && o->model.head_size > SURE_HEAD) /* it would say so in the first step */
        lacks = "has no engine on some GPUs for heads of more than 128 numbers";
    if (lacks) return user_error("%s %s", with.attention, lacks);
    return dev ? device_prepare(dev, OTHER) : NULL;
}

error *choose_attention(options *o, device *dev, FILE *out)
{
    const device_kind *kind = device_kind_at(o->device);
    if (strcmp(o->attention, ATTENTION_AUTO) || o->type != BF16 || kind->n_attention <= OTHER)
        return NULL;
    error *refused = refuse_other(o, dev);
    bool any = refused;
    error *failed = dev ? comm_any(o->comm, &any) : NULL;
    if (!any)
        o->training.attention = OTHER;
    else if (out)
        fprintf(out, "attention: %s (%s)\n", kind->attention[ATTENTION_OWN],
                refused ? error_text(refused) : "another rank has no other");
    error_free(refused);
    return failed;
}
