/* hf_files.c - see hf_files.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cpu/cpu.h"
#include "io/safetensors.h"
#include "test/formula.h"
#include "test/hf_files.h"
#include "test/shell.h"
#include "test/small_images.h"
#include "test/small_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

void hf_add(hf_file *f, const char *name, uint32_t k, shape s, bool about_one)
{
    int i = f->n++;
    tensor t = tensor_of(NULL, F32, s);
    float *data = malloc((size_t)tensor_count(t) * sizeof *data);
    assert_non_null(data);
    assert_true(i < HF_TENSORS);
    for (int64_t j = 0; j < tensor_count(t); j++)
        data[j] = formula_value(k, (uint32_t)j, s.rank > 1 ? 0.4 : 0.2, about_one);
    snprintf(f->names[i], sizeof f->names[i], "%s", name);
    f->list[i] = (named_tensor){.name = f->names[i], .value = tensor_of(data, F32, s)};
}

void hf_write(hf_file *f)
{
    device dev;
    mkdir("hf", 0777);
    must(cpu_device(1, &dev));
    must(safetensors_write("hf/model.safetensors", f->list, f->n, &dev, NULL));
    cpu_close(&dev);
    while (f->n)
        free(f->list[--f->n].value.data);
}

void hf_images_write(int64_t n, int64_t channels, int64_t side, int64_t classes)
{
    FILE *images, *labels;
    small_images_create(".", "x", n, channels, side, side, &images, &labels);
    for (uint32_t i = 0; i < n; i++) {
        fputc((int)(formula_hash(899, i) % (uint32_t)classes), labels);
        for (uint32_t j = 0; j < channels * side * side; j++)
            fputc((int)(formula_hash(900 + i, j) % 256), images);
    }
    assert_int_equal(fclose(images) | fclose(labels), 0);
}

double hf_loss(const char *arguments)
{
    static options o;
    trainer *t;
    device dev;
    source *val;
    eval_result r;
    char text[SMALL_TEXT];
    must(small_parse(arguments, text, &o));
    must(trainer_plan(&o, &image_kind, &t));
    must(cpu_device(1, &dev));
    must(trainer_commit(t, &dev, false));
    must(image_task.open(&o, false, &val));
    must(trainer_evaluate(t, val, &r));
    source_close(val);
    trainer_destroy(t);
    cpu_close(&dev);
    return r.loss;
}

static void same_tensor(const safetensors *want, const safetensors *got, int64_t i)
{
    const safetensors_entry *a = safetensors_entry_at(want, i), *b = safetensors_entry_at(got, i);
    assert_string_equal(a->name, b->name);
    if (strcmp(a->dtype, b->dtype) || a->rank != b->rank || a->bytes != b->bytes ||
        memcmp(a->dim, b->dim, (size_t)a->rank * sizeof *a->dim) != 0)
        fail_msg("%s is of another type or shape", a->name);
    char *x = malloc((size_t)a->bytes), *y = malloc((size_t)a->bytes);
    assert_non_null(x);
    assert_non_null(y);
    must(safetensors_read(want, i, 0, a->bytes, x));
    must(safetensors_read(got, i, 0, a->bytes, y));
    if (memcmp(x, y, (size_t)a->bytes) != 0) fail_msg("%s has other values", a->name);
    free(x);
    free(y);
}

void hf_export(const char *words)
{
    char command[200];
    safetensors *want, *got;
    put_programs_on_path();
    /* a shell has an export of its own */
    snprintf(command, sizeof command, "rm -rf exported && env export %s hf exported", words);
    shell(command);
    must(safetensors_open("hf/model.safetensors", &want));
    must(safetensors_open("exported/model.safetensors", &got));
    assert_int_equal(safetensors_count(got), safetensors_count(want));
    for (int64_t i = 0; !*words && i < safetensors_count(want); i++)
        same_tensor(want, got, i);
    safetensors_close(want);
    safetensors_close(got);
}
