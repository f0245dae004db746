/* cuda_graph.c - many operations as one CUDA graph: one call to the driver in place of hundreds.
 *
 *     begin   starts to capture the stream            cudaStreamBeginCapture
 *     end     turns the capture into a graph          cudaStreamEndCapture, cudaGraphInstantiate
 *     launch  executes all of it                      cudaGraphLaunch
 *
 * A graph contains the addresses and numbers of its operations.  So what varies from launch to
 * launch must be in device memory, and host code must not depend on it (train/trainer.c).
 */
#include "cuda/cuda_internal.h"

/* Thread-local: other threads' CUDA calls must not affect the capture. */
void cuda_graph_begin(device *dev, int stream)
{
    cuda_state_of(dev)->capturing = true;
    CUDA_OK(dev,
            cudaStreamBeginCapture(cuda_stream(dev, stream), cudaStreamCaptureModeThreadLocal));
}

/* Ends the capture even after a failure, so that the stream can be used and closed. */
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
