/* Stands for the NVIDIA driver's three files, each compiled from this text with its part defined: CUDA, DECODER or
 * ENCODER. Knows just what the probe asks. Includes nothing, so that it compiles without the C library's headers.
 *
 * FAKE_NVDEC_GPUS    GPUs in the machine (1); CUDA_VISIBLE_DEVICES chooses among them by number or by UUID.
 * FAKE_NVDEC_CUINIT  what cuInit gives (0), or what happens in it: "exit" (as PyNvVideoCodec does where a call of
 *                    the driver fails), "crash", "hang".
 * FAKE_NVDEC_NVENC   the newest API of the encoder, major * 16 + minor (208 = 13.0).
 */

extern char *getenv(const char *name);
extern int atoi(const char *text);
extern int strcmp(const char *one, const char *other);
extern int strncmp(const char *one, const char *other, unsigned long count);
extern unsigned long strlen(const char *text);
extern unsigned long strcspn(const char *text, const char *stops);
extern int snprintf(char *out, unsigned long size, const char *format, ...);
extern long write(int file, const void *data, unsigned long count);
extern int pause(void);
extern void abort(void);
extern void _exit(int code);

static const char *setting(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value && *value ? value : otherwise;
}

#ifdef CUDA

enum { MOST = 16 };

static int seen[MOST], count;

/* The number of the GPU that a word of CUDA_VISIBLE_DEVICES names, -1 for none. */
static int named(const char *word, unsigned long length, int gpus) {
    char name[64];
    for (int number = 0; number < gpus; number++) {
        snprintf(name, sizeof name, "%d", number);
        if (length == strlen(name) && !strncmp(word, name, length)) return number;
        snprintf(name, sizeof name, "GPU-fa4e0000-0000-4000-8000-%012d", number);
        if (length > 4 && length <= strlen(name) && !strncmp(word, name, length)) return number;
    }
    return -1;
}

/* CUDA reads its variable up to the first word that names nothing. */
static void look(void) {
    int gpus = atoi(setting("FAKE_NVDEC_GPUS", "1"));
    const char *words = getenv("CUDA_VISIBLE_DEVICES");
    count = 0;
    if (!words) {
        while (count < gpus && count < MOST) { seen[count] = count; count++; }
        return;
    }
    while (*words && count < MOST) {
        unsigned long length = strcspn(words, ",");
        int number = named(words, length, gpus);
        if (number < 0) return;
        seen[count++] = number;
        words += length + (words[length] == ',');
    }
}

int cuInit(unsigned flags) {
    static const char fatal[] = "[FATAL] CUDA driver API error 999\n";
    const char *result = setting("FAKE_NVDEC_CUINIT", "0");
    if (!strcmp(result, "exit")) {
        write(1, fatal, sizeof fatal - 1);
        _exit(1);
    }
    if (!strcmp(result, "crash")) abort();
    if (!strcmp(result, "hang")) for (;;) pause();
    look();
    return count ? atoi(result) : 100;
}

int cuDeviceGetCount(int *out) { *out = count; return 0; }

int cuDeviceGet(int *device, int ordinal) {
    if (ordinal < 0 || ordinal >= count) return 101;
    *device = seen[ordinal];
    return 0;
}

int cuDeviceGetName(char *out, int size, int device) {
    snprintf(out, size, "Fake GPU %d", device);
    return 0;
}

/* What scripts/gpu_check.py asks besides: the GPU's memory is the host's, and every stream is done at once. */

extern void *memcpy(void *to, const void *from, unsigned long count);

int cuDeviceGetUuid(char *out, int device) {
    for (int place = 0; place < 16; place++) out[place] = device;
    return 0;
}

int cuDevicePrimaryCtxRetain(void **context, int device) { *context = &seen[device]; return 0; }

int cuCtxSetCurrent(void *context) { return context ? 0 : 201; }

int cuStreamCreate(void **stream, unsigned flags) { *stream = &count; return flags == 1 ? 0 : 1; }

int cuStreamSynchronize(void *stream) { return 0; }

int cuMemGetInfo_v2(unsigned long *free, unsigned long *total) {
    *free = 120ul << 30;
    *total = 139ul << 30;
    return 0;
}

int cuMemcpyDtoHAsync_v2(void *to, unsigned long long from, unsigned long count, void *stream) {
    memcpy(to, (const void *)from, count);
    return 0;
}

int cuGetErrorName(int result, const char **out) {
    *out = result == 999 ? "CUDA_ERROR_UNKNOWN" : 0;
    return *out ? 0 : 1;
}

#endif

#ifdef ENCODER

int NvEncodeAPIGetMaxSupportedVersion(unsigned *version) {
    *version = atoi(setting("FAKE_NVDEC_NVENC", "208"));
    return 0;
}

#endif
