// As much of NVIDIA's driver as libavcodec's hwaccel and PyNvVideoCodec use, compiled three times: with CUDA defined as
// libcuda.so.1, with ENCODER as libnvidia-encode.so.1, else as libnvcuvid.so.1. Device memory is host memory. What is "decoded" comes out of a folder: the coded picture (NV12 or
// P016, packed) lies in the file that is named by the first bytes of the first slice; no file, no picture, as a driver
// that hides damage: the surface shows what was in it before. Layouts are those of the Video Codec SDK's headers.
//
// FAKE_DRIVER_GPUS      GPUs in the machine (1); 0: cuInit fails with CUDA_ERROR_NO_DEVICE.
// FAKE_DRIVER_PICTURES  the folder. A file there named "broken" makes every decoding fail, one named "hurt"
//                       has every picture's status say that it is damaged.
// FAKE_DRIVER_REFUSES   1: no codec is supported.
// FAKE_DRIVER_NOTES     a file that gets a line for every CUDA context, decoder and parser, and for packets that end no
//                       picture.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <unistd.h>
#include <vector>

extern "C" {

typedef unsigned long long address;

[[maybe_unused]] static std::string setting(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value && *value ? value : otherwise;
}

[[maybe_unused]] static void note(const char *what)
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
int cuDeviceGetName(char *name, int size, int device) { return snprintf(name, size, "Stand-in %d", device), 0; }
int cuStreamGetCtx(void *, void **context) { return *context = &primaries, 0; }
int cuMemAllocPitch_v2(address *at, size_t *pitch, size_t width, size_t height, unsigned)
{
    return *pitch = width, *at = (address)malloc(width * height), 0;
}
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
NOTHING(cuDeviceComputeCapability) NOTHING(cuCtxSetLimit) NOTHING(cuCtxPushCurrent_v2)
NOTHING(cuCtxPopCurrent_v2) NOTHING(cuCtxDestroy_v2) NOTHING(cuCtxGetCurrent) NOTHING(cuCtxGetDevice)
NOTHING(cuMemAllocManaged) NOTHING(cuMemAllocAsync) NOTHING(cuMemFreeAsync) NOTHING(cuPointerGetAttribute)
NOTHING(cuDevicePrimaryCtxRelease_v2) NOTHING(cuMemsetD8Async) NOTHING(cuMemcpy) NOTHING(cuMemcpyAsync)
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

#elif defined ENCODER

int NvEncodeAPIGetMaxSupportedVersion(unsigned *version) { return *version = 13 << 4, 0; }
int NvEncodeAPICreateInstance(void *) { return 0; }

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
static std::string folder() { return setting("FAKE_DRIVER_PICTURES", ".") + "/"; }
static std::string picture_file(const Picture &picture)
{
    std::string name = folder();
    for (unsigned at = 3; at < 19 && at < picture.length; at++) { // behind the start code
        char hex[3];
        snprintf(hex, sizeof hex, "%02x", picture.data[at]);
        name += hex;
    }
    return name;
}
int cuvidDecodePicture(Decoder *decoder, const Picture *picture)
{
    if (picture->index < 0 || (unsigned long)picture->index >= decoder->surfaces) return INVALID_VALUE;
    if (!access((folder() + "broken").c_str(), F_OK)) return UNKNOWN;
    std::vector<char> &surface = decoder->pictures[picture->index];
    surface.resize(decoder->line * decoder->lines, 0x33);
    FILE *file = fopen(picture_file(*picture).c_str(), "rb");
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
int cuvidGetDecodeStatus(Decoder *, int, int *status) // 2: success, 8: error
{
    return *status = access((folder() + "hurt").c_str(), F_OK) ? 2 : 8, 0;
}

#define NOTHING(name) int name() { return 0; }
NOTHING(cuvidReconfigureDecoder) NOTHING(cuvidCtxLockCreate) NOTHING(cuvidCtxLockDestroy) NOTHING(cuvidCtxLock)
NOTHING(cuvidCtxUnlock) NOTHING(cuvidCreateVideoSource) NOTHING(cuvidCreateVideoSourceW)
NOTHING(cuvidDestroyVideoSource) NOTHING(cuvidSetVideoSourceState) NOTHING(cuvidGetVideoSourceState)
NOTHING(cuvidGetSourceVideoFormat) NOTHING(cuvidGetSourceAudioFormat)

// The parser, which PyNvVideoCodec uses and libavcodec does not: a packet is one access unit with one picture.

struct Format { // CUVIDEOFORMAT
    int codec;
    unsigned rate[2];
    unsigned char progressive, depth_minus_8, chroma_depth_minus_8, surfaces;
    unsigned width, height;
    int display[4]; // left, top, right, bottom
    int chroma;
    unsigned bits;
    int aspect[2];
    unsigned char signal[4];
    unsigned header_bytes;
};
struct Display { // CUVIDPARSERDISPINFO
    int index, progressive, top_first, repeat;
    long long timestamp;
};
struct ParserParameters { // CUVIDPARSERPARAMS
    int codec;
    unsigned surfaces, clock, threshold, delay, annex_b, reserved[4];
    void *user;
    int (*sequence)(void *, Format *);
    int (*decode)(void *, Picture *);
    int (*display)(void *, Display *);
};
struct Packet { // CUVIDSOURCEDATAPACKET
    unsigned long flags, bytes;
    const unsigned char *data;
    long long timestamp;
};
struct Parser {
    ParserParameters parameters;
    std::string format;
    int pictures;
};
enum { HEVC = 8, HAS_TIMESTAMP = 2, ENDS_PICTURE = 8 };

int cuvidCreateVideoParser(Parser **out, const ParserParameters *wanted)
{
    note(("parser delay " + std::to_string(wanted->delay)).c_str());
    return *out = new Parser{*wanted, "", 0}, 0;
}
int cuvidDestroyVideoParser(Parser *parser) { return delete parser, 0; }

// The sequence is told in the file named as the picture's, with ".format" behind it: coded width and height, then
// left, top, right, bottom of what is shown, then bits of a sample.
static bool begin(Parser *parser, const std::string &file)
{
    Format format = {};
    char line[100] = "";
    FILE *told = fopen((file + ".format").c_str(), "r");
    if (!told || !fgets(line, sizeof line, told)) return false;
    fclose(told);
    if (parser->format == line) return true;
    parser->format = line;
    int depth = 8, *shown = format.display;
    sscanf(line, "%u %u %d %d %d %d %d", &format.width, &format.height, shown, shown + 1, shown + 2, shown + 3, &depth);
    format.codec = parser->parameters.codec, format.progressive = 1, format.chroma = 1, format.surfaces = 2;
    format.depth_minus_8 = format.chroma_depth_minus_8 = depth - 8;
    return parser->parameters.sequence(parser->parameters.user, &format) > 0;
}
int cuvidParseVideoData(Parser *parser, const Packet *packet)
{
    const unsigned char *data = packet->data;
    if (!packet->bytes) return note("end of stream"), 0;
    for (unsigned long at = 0; at + 4 < packet->bytes; at++) {
        if (data[at] || data[at + 1] || data[at + 2] != 1) continue;
        int kind = parser->parameters.codec == HEVC ? data[at + 3] >> 1 & 63 : data[at + 3] & 31;
        if (parser->parameters.codec == HEVC ? kind > 31 : kind != 1 && kind != 5) continue;
        Picture picture[20] = {}; // room for the rest of CUVIDPICPARAMS
        picture->index = parser->pictures++ % 2, picture->length = packet->bytes - at, picture->data = data + at;
        picture->slices = 1;
        if (!begin(parser, picture_file(*picture))) return UNKNOWN;
        if (!parser->parameters.decode(parser->parameters.user, picture)) return UNKNOWN;
        if (!(packet->flags & ENDS_PICTURE)) return note("no end of picture"), 0;
        Display shown = {picture->index, 1, 0, 0, packet->flags & HAS_TIMESTAMP ? packet->timestamp : -1};
        return parser->parameters.display(parser->parameters.user, &shown) ? 0 : UNKNOWN;
    }
    return 0;
}

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
