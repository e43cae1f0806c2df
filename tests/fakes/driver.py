"""The files of an NVIDIA driver that shows the GPUs of :mod:`tests.fakes`' package and can do nothing with them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.conftest import program

#: Without headers and C's start files, which are in packages of their own. Reads the variables that the package's
#: ``_machine`` reads.
CODE = r"""
extern char *getenv(const char *);
extern int atoi(const char *);
extern int snprintf(char *, unsigned long, const char *, ...);
extern int strncmp(const char *, const char *, unsigned long);
extern unsigned long strcspn(const char *, const char *), strlen(const char *);

static int gpus(void) {
    char *told = getenv("FAKE_NVDEC_GPUS");
    return told && *told ? atoi(told) : 1;
}

/* The number of the GPU that a word of CUDA_VISIBLE_DEVICES names, or -1. */
static int named(const char *word, unsigned long length) {
    char name[64];
    for (int gpu = 0; gpu < gpus(); gpu++)
        for (int way = 0; way < 2; way++) {
            snprintf(name, sizeof name, way ? "GPU-fa4e0000-0000-4000-8000-%012d" : "%d", gpu);
            if (strlen(name) == length && !strncmp(name, word, length)) return gpu;
        }
    return -1;
}

/* The GPU that this process sees as number `wanted`, or -1 - how many it sees. */
static int visible(int wanted) {
    char *words = getenv("CUDA_VISIBLE_DEVICES");
    int seen = 0;
    if (!words) return wanted < gpus() ? wanted : -1 - gpus();
    for (;; words++) {
        unsigned long length = strcspn(words, ",");
        int gpu = named(words, length);
        if (gpu < 0) return -1 - seen;
        if (seen++ == wanted) return gpu;
        words += length;
        if (!*words) return -1 - seen;
    }
}

int cuDeviceGetCount(int *count) { *count = -1 - visible(1 << 20); return 0; }
int cuInit(unsigned flags) {
    char *driver = getenv("FAKE_NVDEC_DRIVER");
    if (driver && !strncmp(driver, "cuinit", 7)) return 999;
    return visible(0) < 0 ? 100 : 0;
}
int cuDeviceGet(int *device, int number) { *device = visible(number); return *device < 0 ? 101 : 0; }
int cuDeviceGetName(char *name, int length, int device) { snprintf(name, length, "Fake GPU %d", device); return 0; }
int cuGetErrorName(int error, const char **name) { *name = error == 999 ? "CUDA_ERROR_UNKNOWN" : 0; return 0; }
"""


def build(folder: Path) -> None:
    """Compile libcuda, libnvcuvid and libnvidia-encode into ``folder``, which LD_LIBRARY_PATH may then name."""
    (folder / "driver.c").write_text(CODE)
    for library in ("libcuda.so.1", "libnvcuvid.so.1", "libnvidia-encode.so.1"):
        compiler = [program("gcc"), "-shared", "-fPIC", "-w", "-nostdlib", f"-Wl,-soname,{library}"]
        subprocess.run([*compiler, "-o", str(folder / library), str(folder / "driver.c")], check=True)
