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

static void tell_own(const device_kind *kind, const char *why, FILE *out)
{
    if (out) fprintf(out, "attention: %s (%s)\n", kind->attention[ATTENTION_OWN], why);
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
    else
        tell_own(kind, refused ? error_text(refused) : "another rank has no other", out);
    error_free(refused);
    return failed;
}

bool attention_give_way(options *o, const char *why, FILE *out)
{
    if (strcmp(o->attention, ATTENTION_AUTO) || o->training.attention == ATTENTION_OWN)
        return false;
    o->training.attention = ATTENTION_OWN;
    tell_own(device_kind_at(o->device), why, out);
    return true;
}

error *choose_attention_by_room(options *o, device *dev, FILE *out, trainer **t)
{
    const double mib = 1048576.0;
    char why[200];
    size_t free_bytes = dev->async ? device_free_memory(dev) : 0, needs = arena_peak((*t)->arena);
    bool here = free_bytes && needs > free_bytes,
         any = here || o->training.attention == ATTENTION_OWN; /* or so did its --memory choose */
    TRY(comm_any(o->comm, &any));
    if (here)
        snprintf(why, sizeof why, "with %s the plan takes %.1f MiB, and %.1f MiB are free",
                 options_attention(o), (double)needs / mib, (double)free_bytes / mib);
    else
        snprintf(why, sizeof why, "another rank has no room for %s", options_attention(o));
    if (!any || !attention_give_way(o, why, out)) return NULL;
    const model_kind *kind = (*t)->kind;
    trainer_destroy(*t);
    *t = NULL;
    return trainer_plan(o, kind, t);
}
