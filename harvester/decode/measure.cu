// The measurement of harvester/vision/measure.py, of one picture, in one launch.
//
// A block is THREADS columns wide and LINES lines high, a thread is one column. Lines that lie in one row of grid
// cells and one row of tiles are summed down the column first; then the columns of the block are added up across;
// then the block adds what it has to the picture's counters. All of it is integers that cannot overflow (bounds
// beside them), so the order in which blocks come does not matter.
//
// No header, and of CUDA little more than threads and barriers: the tests run this very text on a CPU.
// In front of it stands: typedef unsigned char (NV12) or unsigned short (P016) sample_t;

#define THREADS 256 // also the levels of a histogram: each thread clears and adds one of its counters
#define LINES 16    // more give longer sums and fewer blocks: 544 of them at 1080p, for some 130 processors
#define GRID 32
#define TILE_ROWS 18
#define TILE_COLS 32

// Where the parts begin in a picture's counters.
#define HISTOGRAM (GRID * GRID)
#define SUMS (HISTOGRAM + 256)
#define SQUARES (SUMS + TILE_ROWS * TILE_COLS)
#define GRADIENT (SQUARES + TILE_ROWS * TILE_COLS)
#define NEAR (GRADIENT + 1)
#define FAR (NEAR + 1)

#define LAGS 60 // of a variogram, in the shorter side

typedef unsigned long long count_t;

// The 8-bit level of a sample; deeper ones, which stand in the high bits of 16, are rounded and clipped.
__device__ static unsigned level(sample_t sample, int depth)
{
    unsigned value = sample;
    if (sizeof(sample_t) > 1) {
        value >>= 16 - depth;
        value = (value + (1u << depth >> 9)) >> (depth - 8);
    }
    return value < 255 ? value : 255;
}

__device__ static unsigned difference(unsigned one, unsigned other)
{
    return one > other ? one - other : other - one;
}

// The squared difference between a sample and the one so much further on, if that is in the picture.
__device__ static unsigned squared(const sample_t *sample, int further, bool inside, unsigned here, int depth)
{
    unsigned step = inside ? difference(here, level(sample[further], depth)) : 0;
    return step * step;
}

// The first and the last of GRID cells that a pixel has a part in, along an axis of that many pixels, and how much
// of it lies in a cell, in 1/GRID pixel.
__device__ static int first_cell(int pixel, int size) { return GRID * pixel / size; }
__device__ static int last_cell(int pixel, int size) { return (GRID * pixel + GRID - 1) / size; }
__device__ static unsigned share(int cell, int pixel, int size)
{
    int start = cell * size, end = start + size;
    if (start < GRID * pixel) start = GRID * pixel;
    if (end > GRID * pixel + GRID) end = GRID * pixel + GRID;
    return end - start;
}

// The tile that a pixel lies in: tile i is [i * size / tiles, (i + 1) * size / tiles), both rounded down.
__device__ static int tile_of(int pixel, int size, int tiles) { return (tiles * pixel + tiles - 1) / size; }

// One past the last line from `line` on that lies whole in the same row of cells and in the same row of tiles; a line
// that a border of cells divides stands alone.
__device__ static int end_of_run(int line, int bottom, int height)
{
    int end = (first_cell(line, height) + 1) * height / GRID;
    int tile_end = (tile_of(line, height, TILE_ROWS) + 1) * height / TILE_ROWS;
    if (end > tile_end) end = tile_end;
    if (end > bottom) end = bottom;
    return end > line ? end : line + 1;
}

// luma: `height` lines of `width` samples, `pitch` samples from line to line. counters: FAR + 1 zeros.
extern "C" __global__ void measure(
    const sample_t *luma, int pitch, int width, int height, int depth, count_t *counters)
{
    // Most of a block: 16 lines * 256 columns * 255 (* 32 in cells, * 255 in squares, * 2 in gradient,
    // * 2 * 255 in near and far) < 2^32.
    __shared__ unsigned histogram[256], cells[GRID], sums[TILE_COLS], squares[TILE_COLS], gradient, near, far;
    int thread = threadIdx.x, column = blockIdx.x * THREADS + thread;
    int top = blockIdx.y * LINES, bottom = top + LINES < height ? top + LINES : height;
    int lag = ((width < height ? width : height) + LAGS / 2) / LAGS, line, end, at, cell;

    histogram[thread] = 0;
    if (lag < 1) lag = 1;
    if (thread == 0) gradient = near = far = 0;
    for (line = top; line < bottom; line = end) {
        end = end_of_run(line, bottom, height);
        if (thread < GRID) cells[thread] = sums[thread] = squares[thread] = 0;
        __syncthreads();
        if (column < width) {
            const sample_t *sample = luma + (long long)line * pitch + column;
            unsigned sum = 0, square = 0, steps = 0, one_lag = 0, two_lags = 0, here = level(*sample, depth), below;
            for (at = line; at < end; at++) {
                below = at + 1 < height ? level(sample[pitch], depth) : here;
                steps += difference(here, below);
                if (column + 1 < width) steps += difference(here, level(sample[1], depth));
                if (at % lag == 0) {
                    one_lag += squared(sample, lag, column + lag < width, here, depth)
                        + squared(sample, lag * pitch, at + lag < height, here, depth);
                    two_lags += squared(sample, 2 * lag, column + 2 * lag < width, here, depth)
                        + squared(sample, 2 * lag * pitch, at + 2 * lag < height, here, depth);
                }
                sum += here;
                square += here * here;
                atomicAdd(&histogram[here], 1u);
                here = below;
                sample += pitch;
            }
            for (cell = first_cell(column, width); cell <= last_cell(column, width); cell++)
                atomicAdd(&cells[cell], sum * share(cell, column, width));
            atomicAdd(&sums[tile_of(column, width, TILE_COLS)], sum);
            atomicAdd(&squares[tile_of(column, width, TILE_COLS)], square);
            atomicAdd(&gradient, steps);
            atomicAdd(&near, one_lag);
            atomicAdd(&far, two_lags);
        }
        __syncthreads();
        // This thread alone reads and clears its sums, so no barrier follows. All of a tile lies in its cell, in part.
        if (thread < GRID && cells[thread]) {
            int tile = tile_of(line, height, TILE_ROWS) * TILE_COLS + thread;
            for (cell = first_cell(line, height); cell <= last_cell(line, height); cell++)
                atomicAdd(&counters[cell * GRID + thread], (count_t)cells[thread] * share(cell, line, height));
            atomicAdd(&counters[SUMS + tile], (count_t)sums[thread]);
            atomicAdd(&counters[SQUARES + tile], (count_t)squares[thread]);
        }
    }
    if (histogram[thread]) atomicAdd(&counters[HISTOGRAM + thread], (count_t)histogram[thread]);
    if (thread == 0) {
        atomicAdd(&counters[GRADIENT], (count_t)gradient);
        atomicAdd(&counters[NEAR], (count_t)near);
        atomicAdd(&counters[FAR], (count_t)far);
    }
}
