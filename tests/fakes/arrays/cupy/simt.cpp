/* A CUDA device in a hundred lines: blocks one after the other, the threads of a block as coroutines that are
   switched at barriers only, in an order that the caller picks. Two orders give two results where a barrier is
   missing; threads that part at a barrier are an error. */
#include <stdlib.h>
#include <ucontext.h>

#define THREADS_MAX 256
#define STACK 32768

#define __device__
#define __global__
#define __shared__ static
#define atomicAdd(where, what) (*(where) += (what))
#define __syncthreads() arrive()

static struct { unsigned x, y, z; } threadIdx, blockIdx;
static_assert(sizeof(void *) == 8, "addresses are passed as 8 bytes");
static ucontext_t scheduler, coroutines[THREADS_MAX];
static int ended[THREADS_MAX], running;
static char stacks[THREADS_MAX][STACK];

static void arrive(void)
{
    int self = running;
    swapcontext(&coroutines[self], &scheduler);
}

KERNEL_TEXT

static struct { const sample_t *luma; int pitch, width, height, depth; count_t *counters; } given;

static void thread(void)
{
    measure(given.luma, given.pitch, given.width, given.height, given.depth, given.counters);
    ended[running] = 1;
    setcontext(&scheduler);
}

static void arrange(int *turns, int count, unsigned order, unsigned round)
{
    unsigned state = order * 2654435761u + round * 40503u;
    for (int i = 0; i < count; i++) turns[i] = order == 1 ? count - 1 - i : i;
    for (int i = count - 1; order > 1 && i > 0; i--) {
        state = state * 1664525u + 1013904223u;
        int other = (state >> 8) % (i + 1), turn = turns[i];
        turns[i] = turns[other];
        turns[other] = turn;
    }
}

static int block(int count, unsigned order)
{
    static int turns[THREADS_MAX], left; /* not in registers: getcontext returns more than once */
    left = count;
    for (int i = 0; i < count; i++) {
        ended[i] = 0;
        getcontext(&coroutines[i]);
        coroutines[i].uc_stack.ss_sp = stacks[i];
        coroutines[i].uc_stack.ss_size = STACK;
        coroutines[i].uc_link = 0;
        makecontext(&coroutines[i], thread, 0);
    }
    for (unsigned round = 0; left; round++) {
        arrange(turns, count, order, round);
        for (int i = 0; i < count; i++) {
            running = threadIdx.x = turns[i];
            swapcontext(&scheduler, &coroutines[running]);
            left -= ended[running];
        }
        if (left && left != count) return 1;
    }
    return 0;
}

extern "C" int launch(unsigned across, unsigned down, unsigned threads, unsigned order, const sample_t *luma,
                      int pitch, int width, int height, int depth, count_t *counters)
{
    given = {luma, pitch, width, height, depth, counters};
    if (threads > THREADS_MAX) return 2;
    for (unsigned i = 0; i < across * down; i++) {
        blockIdx.x = i % across, blockIdx.y = i / across;
        if (block(threads, order)) return 1;
    }
    return 0;
}
