/* cudnn_parts.h - what the emulator's cuDNN is made of: descriptors (cudnn.cpp), and graphs of
 * operations on tensors, with their computation (cudnn_graph.cpp). */
#ifndef CUDASIM_CUDNN_PARTS_H
#define CUDASIM_CUDNN_PARTS_H

#include "test/cudasim/emu.h"

#include <cudnn.h>
#include <map>
#include <set>
#include <vector>

namespace cudnn_sim
{

struct attribute {
    int type;
    int64_t n;
    std::vector<char> bytes;
};

struct descriptor {
    cudnnBackendDescriptorType_t type;
    std::map<int, attribute> has;
    bool final;
    int engine;             /* of an engine or its configuration */
    const descriptor *heur; /* of a configuration: what it came from */
};

extern std::set<const descriptor *> alive;

template <class T> const T *find(const descriptor *d, int name)
{
    if (!alive.count(d)) emu_die("cuDNN: a descriptor is used that was destroyed");
    auto i = d->has.find(name);
    return i == d->has.end() ? nullptr : (const T *)i->second.bytes.data();
}

template <class T> T get(const descriptor *d, int name)
{
    const T *x = find<T>(d, name);
    if (!x) emu_die("cuDNN: a descriptor of type %d has no attribute %d", d->type, name);
    return *x;
}

inline const descriptor *part(const descriptor *d, int name)
{
    const descriptor *const *x = find<const descriptor *>(d, name);
    return x ? *x : nullptr;
}

inline const int64_t *dims(const descriptor *t)
{
    return find<int64_t>(t, CUDNN_ATTR_TENSOR_DIMENSIONS);
}

inline const int64_t *strides(const descriptor *t)
{
    return find<int64_t>(t, CUDNN_ATTR_TENSOR_STRIDES);
}

inline bool flag(const descriptor *t, int name)
{
    const bool *x = find<bool>(t, name);
    return x && *x;
}

inline bool is_virtual(const descriptor *t)
{
    return flag(t, CUDNN_ATTR_TENSOR_IS_VIRTUAL);
}

inline bool is_number(const descriptor *t)
{
    return flag(t, CUDNN_ATTR_TENSOR_IS_BY_VALUE);
}

/* What an operation reads and writes. */
struct accesses {
    std::vector<const descriptor *> read;
    const descriptor *written;
};
accesses accesses_of(const descriptor *op);

std::vector<const descriptor *> operations(const descriptor *graph);

/* Tensors with memory, or numbers, by their ids; and whether they are written. */
struct named {
    const descriptor *t;
    bool written;
};
std::map<int64_t, named> named_tensors(const descriptor *graph);

/* An execution of a graph: memory by ids, and numbers, which are taken when the call is made. */
struct call {
    const descriptor *graph;
    std::map<int64_t, void *> at;
    std::map<int64_t, float> number;
    void *workspace;
    size_t bytes;
};

void run(const call &c);

} // namespace cudnn_sim

#endif
