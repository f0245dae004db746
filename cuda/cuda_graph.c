/* cuda_graph.c - many operations as one CUDA graph: one call to the driver in place of hundreds.
 *
 *     begin   the stream notes what it is given       cudaStreamBeginCapture
 *     end     the notes become a graph                cudaStreamEndCapture, cudaGraphInstantiate
 *     launch  all of it once more                     cudaGraphLaunch
 *
 * A graph has the addresses and numbers of its operations in it.  So what varies from launch to
 * launch must lie in device memory, and host code may not decide by it (train/trainer.c).
 */
#include "cuda/cuda_internal.h"

/* Thread-local: what other threads do with CUDA meanwhile is no business of the capture. */
void cuda_graph_begin(device *dev, int stream)
{
    cuda_state_of(dev)->capturing = true;
    CUDA_OK(dev,
            cudaStreamBeginCapture(cuda_stream(dev, stream), cudaStreamCaptureModeThreadLocal));
}

/* Ends the capture also after a failure, so that the stream can be used and closed. */
void *cuda_graph_end(device *dev, int stream)
{
    cudaGraph_t noted = NULL;
    cudaGraphExec_t graph = NULL;
    cuda_state_of(dev)->capturing = false;
    if (!CUDA_OK(dev, cudaStreamEndCapture(cuda_stream(dev, stream), &noted))) return NULL;
    if (!dev->failure && !CUDA_OK(dev, cudaGraphInstantiate(&graph, noted, 0))) graph = NULL;
    CUDA_OK(dev, cudaGraphDestroy(noted));
    return graph;
}

void cuda_graph_launch(device *dev, int stream, void *graph)
{
    CUDA_OK(dev, cudaGraphLaunch((cudaGraphExec_t)graph, cuda_stream(dev, stream)));
}

void cuda_graph_free(device *dev, void *graph)
{
    CUDA_OK(dev, cudaGraphExecDestroy((cudaGraphExec_t)graph));
}
