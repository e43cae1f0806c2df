// As much of NVIDIA's driver as libavcodec's hwaccel uses, compiled twice: with CUDA defined as libcuda.so.1, else as
// libnvcuvid.so.1. Device memory is host memory. What is "decoded" comes out of a folder: the coded picture (NV12 or
// P016, packed) lies in the file that is named by the first bytes of the first slice; no file, no picture, as a driver
// that hides damage: the surface shows what was in it before. Layouts are those of the Video Codec SDK's headers.
//
// FAKE_DRIVER_GPUS      GPUs in the machine (1); 0: cuInit fails with CUDA_ERROR_NO_DEVICE.
// FAKE_DRIVER_PICTURES  the folder. A file there named "broken" makes every decoding fail.
// FAKE_DRIVER_REFUSES   1: no codec is supported.
// FAKE_DRIVER_NOTES     a file that gets a line for every CUDA context and decoder.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <unistd.h>
#include <vector>

extern "C" {

typedef unsigned long long address;

static std::string setting(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value && *value ? value : otherwise;
}

static void note(const char *what)
{
    std::string file = setting("FAKE_DRIVER_NOTES", "");
    FILE *notes = file.empty() ? nullptr : fopen(file.c_str(), "a");
    if (!notes) return;
    fprintf(notes, "%s\n", what);
    fclose(notes);
}

#ifdef CUDA

enum { NO_DEVICE = 100, INVALID_DEVICE = 101, BLOCKING_SYNC = 4 };

static int primaries;
static unsigned primary_flags;

static int gpus() { return atoi(setting("FAKE_DRIVER_GPUS", "1").c_str()); }

int cuInit(unsigned) { return gpus() ? 0 : NO_DEVICE; }
int cuDeviceGetCount(int *count) { return *count = gpus(), 0; }
int cuDeviceGet(int *device, int ordinal) { return *device = ordinal, ordinal < gpus() ? 0 : INVALID_DEVICE; }
int cuDeviceGetAttribute(int *value, int, int) { return *value = 512, 0; }
int cuCtxCreate_v2(void **context, unsigned, int) { return note("context"), *context = &primaries, 0; }
int cuDevicePrimaryCtxGetState(int, unsigned *flags, int *active)
{
    return *flags = primary_flags, *active = primaries > 0, 0;
}
int cuDevicePrimaryCtxSetFlags_v2(int, unsigned flags) { return primary_flags = flags, 0; }
int cuDevicePrimaryCtxSetFlags(int, unsigned flags) { return primary_flags = flags, 0; }
int cuDevicePrimaryCtxRetain(void **context, int device)
{
    note(("primary " + std::to_string(device)).c_str());
    return primaries++, *context = &primaries, 0;
}
int cuDevicePrimaryCtxRelease(int) { return primaries--, 0; }
int cuMemAlloc_v2(address *at, size_t size) { return *at = (address)malloc(size), 0; }
int cuMemFree_v2(address at) { return free((void *)at), 0; }
int cuGetErrorName(int, const char **name) { return *name = "CUDA_ERROR_FAKE", 0; }
int cuGetErrorString(int, const char **text) { return *text = "what the fake driver says", 0; }

struct Side {
    size_t x, y;
    int type;
    void *host;
    address device;
    void *array;
    size_t pitch;
    char *at() const { return (type == 1 ? (char *)host : (char *)device) + y * pitch + x; }
};
struct Copy {
    Side from, to;
    size_t width, height;
};
int cuMemcpy2D_v2(const Copy *copy)
{
    for (size_t line = 0; line < copy->height; line++)
        memcpy(copy->to.at() + line * copy->to.pitch, copy->from.at() + line * copy->from.pitch, copy->width);
    return 0;
}
int cuMemcpy2DAsync_v2(const Copy *copy, void *) { return cuMemcpy2D_v2(copy); }

#define NOTHING(name) int name() { return 0; }
NOTHING(cuDeviceGetName) NOTHING(cuDeviceComputeCapability) NOTHING(cuCtxSetLimit) NOTHING(cuCtxPushCurrent_v2)
NOTHING(cuCtxPopCurrent_v2) NOTHING(cuCtxDestroy_v2) NOTHING(cuCtxGetCurrent) NOTHING(cuCtxGetDevice)
NOTHING(cuMemAllocPitch_v2) NOTHING(cuMemAllocManaged) NOTHING(cuMemsetD8Async) NOTHING(cuMemcpy) NOTHING(cuMemcpyAsync)
NOTHING(cuMemcpyHtoD_v2) NOTHING(cuMemcpyHtoDAsync_v2) NOTHING(cuMemcpyDtoH_v2) NOTHING(cuMemcpyDtoHAsync_v2)
NOTHING(cuMemcpyDtoD_v2) NOTHING(cuMemcpyDtoDAsync_v2) NOTHING(cuDevicePrimaryCtxReset) NOTHING(cuDriverGetVersion)
NOTHING(cuStreamCreate) NOTHING(cuStreamQuery) NOTHING(cuStreamSynchronize) NOTHING(cuStreamDestroy_v2)
NOTHING(cuStreamAddCallback) NOTHING(cuStreamWaitEvent) NOTHING(cuEventCreate) NOTHING(cuEventDestroy_v2)
NOTHING(cuEventSynchronize) NOTHING(cuEventQuery) NOTHING(cuEventRecord) NOTHING(cuLaunchKernel) NOTHING(cuLinkCreate)
NOTHING(cuLinkAddData) NOTHING(cuLinkComplete) NOTHING(cuLinkDestroy) NOTHING(cuModuleLoadData) NOTHING(cuModuleUnload)
NOTHING(cuModuleGetFunction) NOTHING(cuModuleGetGlobal) NOTHING(cuTexObjectCreate) NOTHING(cuTexObjectDestroy)
NOTHING(cuGLGetDevices_v2) NOTHING(cuGraphicsGLRegisterImage) NOTHING(cuGraphicsUnregisterResource)
NOTHING(cuGraphicsMapResources) NOTHING(cuGraphicsUnmapResources) NOTHING(cuGraphicsSubResourceGetMappedArray)
NOTHING(cuGraphicsResourceGetMappedPointer_v2) NOTHING(cuArrayCreate_v2) NOTHING(cuArray3DCreate_v2)
NOTHING(cuArrayDestroy) NOTHING(cuDeviceGetByPCIBusId) NOTHING(cuDeviceGetPCIBusId)

#else

enum { INVALID_VALUE = 1, NO_MEMORY = 2, UNKNOWN = 999 };

struct Creation { // CUVIDDECODECREATEINFO
    unsigned long width, height, surfaces;
    int codec, chroma;
    unsigned long flags, depth_minus_8, intra, max_width, max_height, reserved;
    short display[4];
    int format, deinterlace;
    unsigned long target_width, target_height, outputs;
};
struct Picture { // CUVIDPICPARAMS
    int width_mbs, height_mbs, index, field, bottom, second;
    unsigned length;
    const unsigned char *data;
    unsigned slices;
    const unsigned *offsets;
};
struct Decoder {
    size_t line, lines;
    unsigned long surfaces;
    std::map<int, std::vector<char>> pictures;
    std::map<address, std::vector<char>> mapped;
};

int cuvidCreateDecoder(void **out, const Creation *wanted)
{
    if (wanted->target_width != wanted->width || wanted->target_height != wanted->height) return INVALID_VALUE;
    char line[100];
    snprintf(line, sizeof line, "decoder %d %lux%lu %lu", wanted->codec, wanted->width, wanted->height,
             wanted->depth_minus_8 + 8);
    note(line);
    size_t bytes = wanted->format ? 2 : 1;
    *out = new Decoder{wanted->width * bytes, wanted->height * 3 / 2, wanted->surfaces, {}, {}};
    return 0;
}
int cuvidDestroyDecoder(Decoder *decoder) { return delete decoder, 0; }
int cuvidDecodePicture(Decoder *decoder, const Picture *picture)
{
    std::string folder = setting("FAKE_DRIVER_PICTURES", ".") + "/", name;
    if (picture->index < 0 || (unsigned long)picture->index >= decoder->surfaces) return INVALID_VALUE;
    if (!access((folder + "broken").c_str(), F_OK)) return UNKNOWN;
    for (unsigned at = 3; at < 19 && at < picture->length; at++) { // behind the start code
        char hex[3];
        snprintf(hex, sizeof hex, "%02x", picture->data[at]);
        name += hex;
    }
    std::vector<char> &surface = decoder->pictures[picture->index];
    surface.resize(decoder->line * decoder->lines, 0x33);
    FILE *file = fopen((folder + name).c_str(), "rb");
    if (!file) return 0;
    size_t got = fread(surface.data(), 1, surface.size(), file);
    fclose(file);
    return got == surface.size() ? 0 : UNKNOWN;
}
int cuvidMapVideoFrame64(Decoder *decoder, int index, address *at, unsigned *pitch, void *)
{
    const std::vector<char> &surface = decoder->pictures[index];
    *pitch = (decoder->line / 256 + 2) * 256;
    std::vector<char> copy(*pitch * decoder->lines, 0x77);
    for (size_t line = 0; line < decoder->lines; line++)
        memcpy(&copy[line * *pitch], &surface[line * decoder->line], decoder->line);
    *at = (address)copy.data();
    decoder->mapped[*at] = std::move(copy);
    return 0;
}
int cuvidUnmapVideoFrame64(Decoder *decoder, address at) { return decoder->mapped.erase(at) ? 0 : INVALID_VALUE; }
int cuvidGetDecodeStatus(Decoder *, int, int *status) { return *status = 2, 0; }

#define NOTHING(name) int name() { return 0; }
NOTHING(cuvidReconfigureDecoder) NOTHING(cuvidCtxLockCreate) NOTHING(cuvidCtxLockDestroy) NOTHING(cuvidCtxLock)
NOTHING(cuvidCtxUnlock) NOTHING(cuvidCreateVideoSource) NOTHING(cuvidCreateVideoSourceW)
NOTHING(cuvidDestroyVideoSource) NOTHING(cuvidSetVideoSourceState) NOTHING(cuvidGetVideoSourceState)
NOTHING(cuvidGetSourceVideoFormat) NOTHING(cuvidGetSourceAudioFormat) NOTHING(cuvidCreateVideoParser)
NOTHING(cuvidParseVideoData) NOTHING(cuvidDestroyVideoParser)

struct Caps { // CUVIDDECODECAPS
    int codec, chroma;
    unsigned depth_minus_8, reserved[3];
    unsigned char supported, engines;
    unsigned short formats;
    unsigned max_width, max_height, max_macroblocks;
    unsigned short min_width, min_height;
};
int cuvidGetDecoderCaps(Caps *caps)
{
    caps->supported = setting("FAKE_DRIVER_REFUSES", "0") != "1";
    caps->engines = 1, caps->formats = 3;
    caps->max_width = caps->max_height = 4096, caps->max_macroblocks = 65536;
    caps->min_width = caps->min_height = 48;
    return 0;
}

#endif
}
