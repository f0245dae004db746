/* copies.cpp - cp.async: copies under way, thread by thread; see tensor_core.h */
#include "test/cudasim/tensor_core.h"

#include <vector>

namespace
{

struct copy {
    void *to;
    const void *from;
    unsigned bytes;
    bool valid; /* else zeros arrive */
    int group;
};

struct thread_copies {
    std::vector<copy> under_way;
    int group;
} threads[1024];

void arrive(const copy &c)
{
    emu_touch(c.to, c.bytes, true);
    if (c.valid) emu_touch(c.from, c.bytes, false);
    if (c.valid)
        memcpy(c.to, c.from, c.bytes);
    else
        memset(c.to, 0, c.bytes);
}

} // namespace

void emu_copy_async(void *shared, const void *global, unsigned bytes, bool valid)
{
    bool strict = !(emu_off & EMU_COPIES);
    if (strict && ((uintptr_t)shared | (uintptr_t)global) % bytes)
        emu_die("cp.async: an address that is not aligned to %u", bytes);
    copy c = {shared, global, bytes, valid, threads[emu.index].group};
    if (emu_order & 1 || !strict)
        arrive(c);
    else
        threads[emu.index].under_way.push_back(c);
}

void emu_copy_commit(void)
{
    threads[emu.index].group++;
}

void emu_copy_wait(int groups_left)
{
    thread_copies *t = &threads[emu.index];
    size_t n = 0;
    while (n < t->under_way.size() && t->under_way[n].group < t->group - groups_left)
        arrive(t->under_way[n++]);
    t->under_way.erase(t->under_way.begin(), t->under_way.begin() + (ptrdiff_t)n);
}

void emu_copies_end(void)
{
    thread_copies *t = &threads[emu.index];
    if (!t->under_way.empty()) emu_die("a thread ends with copies under way");
    t->group = 0;
}
