/* graph.c - the fronts of a device's graphs; see ops.h.
 *
 * A graph that was begun must be ended also after a failure, so that the device can go on.
 */
#include "core/ops.h"

bool op_has_graphs(const device *dev)
{
    return dev->ops->graph_begin;
}

void op_graph_begin(device *dev, int stream)
{
    if (!dev->failure) dev->ops->graph_begin(dev, stream);
}

void *op_graph_end(device *dev, int stream)
{
    return dev->ops->graph_end(dev, stream);
}

void op_graph_launch(device *dev, int stream, void *graph)
{
    if (!dev->failure) dev->ops->graph_launch(dev, stream, graph);
}

void op_graph_free(device *dev, void *graph)
{
    if (graph) dev->ops->graph_free(dev, graph);
}
