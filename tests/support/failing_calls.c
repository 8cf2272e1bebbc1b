/* Preloaded into a process: the n-th call that changes something below a folder fails with an error of our choice.

   Counted are write, pwrite, writev, fsync, fdatasync, ftruncate, rename, mkdir and an open that may create a file. What
   it cannot catch: calls that the C library makes of itself, such as those behind fwrite. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char under[4096];
static long nth, count;
static int code;

void fail_begin(const char *folder, long which, int error) {
    if (*folder) count = 0;
    nth = which, code = error;
    strncpy(under, folder, sizeof under - 1);
}

long fail_count(void) { return count; }

static int due(const char *path) {
    if (!*under || strncmp(path, under, strlen(under)) || ++count != nth) return 0;
    errno = code;
    return 1;
}

static int due_file(int file) {
    char link[64], path[4096];
    if (!*under) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return due(path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int file, const void *data, size_t size) { return due_file(file) ? -1 : REAL(write)(file, data, size); }
ssize_t writev(int file, const struct iovec *parts, int size) { return due_file(file) ? -1 : REAL(writev)(file, parts, size); }
ssize_t pwrite(int file, const void *data, size_t size, off_t start) { return due_file(file) ? -1 : REAL(pwrite)(file, data, size, start); }
ssize_t pwrite64(int file, const void *data, size_t size, off64_t start) { return due_file(file) ? -1 : REAL(pwrite64)(file, data, size, start); }
int fsync(int file) { return due_file(file) ? -1 : REAL(fsync)(file); }
int fdatasync(int file) { return due_file(file) ? -1 : REAL(fdatasync)(file); }
int ftruncate(int file, off_t size) { return due_file(file) ? -1 : REAL(ftruncate)(file, size); }
int ftruncate64(int file, off64_t size) { return due_file(file) ? -1 : REAL(ftruncate64)(file, size); }
int rename(const char *old, const char *new) { return due(old) ? -1 : REAL(rename)(old, new); }
int mkdir(const char *path, mode_t mode) { return due(path) ? -1 : REAL(mkdir)(path, mode); }

#define OPEN(name, before, given, path)                                   \
    int name(before const char *path, int how, ...) {                     \
        va_list more;                                                     \
        va_start(more, how);                                              \
        mode_t mode = how & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more);                                                     \
        if (how & O_CREAT && due(path)) return -1;                        \
        return REAL(name)(given path, how, mode);                         \
    }
#define NOTHING
#define FOLDER int folder,
#define THAT folder,
OPEN(open, NOTHING, NOTHING, path)
OPEN(open64, NOTHING, NOTHING, path)
OPEN(openat, FOLDER, THAT, path)
OPEN(openat64, FOLDER, THAT, path)
