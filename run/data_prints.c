/* data_prints.c - see data_prints.h */
#include "run/data_prints.h"
#include "base/files.h"
#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { MOST_KEPT = 1 << 16 };

static const char file_name[] = "data.json";

static uint64_t hex_of(const cJSON *object, const char *name)
{
    const char *text = json_string(object, name);
    return text ? strtoull(text, NULL, 16) : 0;
}

static int64_t whole_of(const cJSON *object, const char *name)
{
    const cJSON *item = json_get(object, name);
    return cJSON_IsNumber(item) && item->valuedouble >= 0 && item->valuedouble < 9e15
               ? (int64_t)item->valuedouble
               : 0;
}

static fingerprint kept_as(const cJSON *all, const char *name)
{
    const cJSON *one = json_get(all, name);
    return (fingerprint){.value = hex_of(one, "xxh3"),
                         .stamp = hex_of(one, "files"),
                         .bytes = whole_of(one, "bytes"),
                         .read = whole_of(one, "read")};
}

void data_prints_read(const char *out, data_prints *known)
{
    char path[PATH_LENGTH];
    cJSON *all = NULL;
    *known = (data_prints){0};
    error *e = path_join(path, out, file_name);
    if (!e && access(path, R_OK)) return;
    if (!e) e = json_read(path, MOST_KEPT, &all);
    error_free(e);
    known->train = kept_as(all, "train");
    known->val = kept_as(all, "val");
    cJSON_Delete(all);
}

static void print_one(FILE *f, const char *name, const fingerprint *p, const char *end)
{
    fprintf(f,
            "\"%s\":{\"files\":\"%016llx\",\"xxh3\":\"%016llx\",\"bytes\":%lld,\"read\":%lld}%s\n",
            name, (unsigned long long)p->stamp, (unsigned long long)p->value, (long long)p->bytes,
            (long long)p->read, end);
}

error *data_prints_keep(const char *out, const data_prints *prints)
{
    char path[PATH_LENGTH];
    memory_stream m;
    TRY(path_join(path, out, file_name));
    TRY(memory_stream_open(&m, file_name));
    fputc('{', m.to);
    print_one(m.to, "train", &prints->train, ",");
    print_one(m.to, "val", &prints->val, "}");
    return memory_stream_save(&m, path);
}
