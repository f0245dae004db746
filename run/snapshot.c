/* snapshot.c - see snapshot.h */
#include "run/snapshot.h"

enum { ALIGNMENT = 64 };

/* Of one tensor, with what aligns the next. */
static size_t room_of(tensor t)
{
    return (tensor_bytes(t) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

size_t snapshot_bytes(const named_tensor *list, int64_t n)
{
    size_t bytes = 0;
    for (int64_t i = 0; i < n; i++)
        bytes += room_of(list[i].value);
    return bytes;
}

static error *copy_one(named_tensor *t, device *dev, char *room)
{
    TRY(device_status(dev)); /* of what has opened it */
    op_get(dev, STREAM_COMPUTE, room, t->value);
    op_sync(dev, STREAM_COMPUTE);
    t->value.data = room;
    t->sharded = false;
    return device_status(dev);
}

error *snapshot_take(named_tensor *list, int64_t n, device *dev, const tensor_source *from,
                     char *room)
{
    int64_t open = -1;
    tensor full = {0};
    for (int64_t i = 0; i < n; i++) {
        named_tensor *t = &list[i];
        if (from && t->of != open) {
            if (open >= 0) from->close(from->context);
            full = from->open(from->context, t->of);
            open = t->of;
        }
        if (from) t->value.data = (char *)full.data + (size_t)t->at * dtype_size(t->value.type);
        TRY(copy_one(t, dev, room));
        room += room_of(t->value);
    }
    if (open >= 0) from->close(from->context);
    return device_status(dev);
}
