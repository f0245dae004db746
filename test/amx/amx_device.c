/* amx_device.c - see amx_device.h: linked with a copy of the plain kernel, in which product_own_amx
 * is the model's; others see nothing else of it (Makefile). */
#include "test/amx/amx_device.h"

#include "cpu/cpu_internal.h"

error *amx_device(int threads, device *out)
{
    TRY(cpu_device(threads, out));
    cpu_state *state = out->state;
    out->ops = &cpu_kernel_plain.ops;
    state->code = &cpu_kernel_plain;
    state->pairs = PAIRS_BY_AMX;
    return NULL;
}
