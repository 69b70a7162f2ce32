/* Counts the calls by which a process changes the files below one folder, and has a chosen one of them go wrong.
 *
 * Preloaded by faults.py (LD_PRELOAD), so that what SQLite writes by itself is met like what Python writes. What is
 * written through shared memory (the index of a write-ahead log) is not seen.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { COUNT, DIE, TEAR, FAIL, FULL, READ_ONLY };
enum { GO, STOP, HALF };

static char folder[PATH_MAX];
static size_t folder_length;
static long seen, at;
static int mode;
static char names[1 << 18];
static size_t names_length;

/* Begin to count. From the at-th call on, or at that one alone, what mode says happens. */
void fault_arm(const char *below, long chosen, int how) {
    snprintf(folder, sizeof folder, "%s/", below);
    folder_length = strlen(folder);
    seen = 0;
    at = chosen;
    mode = how;
    names_length = 0;
    names[0] = 0;
}

void fault_disarm(void) { folder_length = 0; }

/* The calls that were counted, a line each: what was called, on which file. */
const char *fault_names(void) { return names; }

static int below(const char *path) { return folder_length && path && strncmp(path, folder, folder_length) == 0; }

/* What is to become of a call. grows: whether a full disk refuses it. */
static int met(const char *call, const char *path, int grows) {
    if (!below(path)) return GO;
    long number = ++seen;
    int room = (int)(sizeof names - names_length);
    int written = snprintf(names + names_length, room, "%s %s\n", call, path + folder_length);
    if (written < room) names_length += written;
    if (mode == COUNT || number < at) return GO;
    switch (mode) {
    case DIE:
        if (number == at) kill(getpid(), SIGKILL);
        return GO;
    case TEAR:
        return number == at ? HALF : GO;
    case FAIL:
        if (number != at) return GO;
        errno = EIO;
        return STOP;
    case FULL:
        if (!grows) return GO;
        errno = ENOSPC;
        return STOP;
    default:
        errno = EROFS;
        return STOP;
    }
}

static int met_fd(const char *call, int fd, int grows) {
    if (!folder_length) return GO;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return GO;
    path[length] = 0;
    return met(call, path, grows);
}

static int met_at(const char *call, int dirfd, const char *path, int grows) {
    if (!folder_length || !path) return GO;
    if (path[0] == '/') return met(call, path, grows);
    char link[64], whole[2 * PATH_MAX];
    ssize_t length;
    if (dirfd == AT_FDCWD) {
        if (!getcwd(whole, PATH_MAX)) return GO;
        length = (ssize_t)strlen(whole);
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd);
        length = readlink(link, whole, PATH_MAX - 1);
        if (length < 0) return GO;
    }
    snprintf(whole + length, PATH_MAX, "/%s", path);
    return met(call, whole, grows);
}

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

/* A call that is torn is done and the process dies after it; a write is done by half. */
#define WHOLE(decision, call) \
    int how = decision; \
    if (how == STOP) return -1; \
    __typeof__(call) result = call; \
    if (how == HALF) kill(getpid(), SIGKILL); \
    return result

#define PART(decision, half, call) \
    int how = decision; \
    if (how == STOP) return -1; \
    if (how == HALF) { \
        (void)!(half); \
        kill(getpid(), SIGKILL); \
    } \
    return call

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    PART(met_fd("write", fd, 1), real(fd, data, size / 2), real(fd, data, size));
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    REAL(pwrite);
    PART(met_fd("write", fd, 1), real(fd, data, size / 2, offset), real(fd, data, size, offset));
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    REAL(pwrite64);
    PART(met_fd("write", fd, 1), real(fd, data, size / 2, offset), real(fd, data, size, offset));
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(writev);
    WHOLE(met_fd("write", fd, 1), real(fd, parts, count));
}

ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags) {
    REAL(copy_file_range);
    WHOLE(met_fd("write", out, 1), real(in, from, out, to, size, flags));
}

ssize_t sendfile(int out, int in, off_t *offset, size_t size);
ssize_t sendfile(int out, int in, off_t *offset, size_t size) {
    REAL(sendfile);
    WHOLE(met_fd("write", out, 1), real(out, in, offset, size));
}

ssize_t sendfile64(int out, int in, off64_t *offset, size_t size);
ssize_t sendfile64(int out, int in, off64_t *offset, size_t size) {
    REAL(sendfile64);
    WHOLE(met_fd("write", out, 1), real(out, in, offset, size));
}

int fsync(int fd) {
    REAL(fsync);
    WHOLE(met_fd("fsync", fd, 0), real(fd));
}

int fdatasync(int fd) {
    REAL(fdatasync);
    WHOLE(met_fd("fsync", fd, 0), real(fd));
}

int ftruncate(int fd, off_t size) {
    REAL(ftruncate);
    WHOLE(met_fd("truncate", fd, 0), real(fd, size));
}

int ftruncate64(int fd, off64_t size) {
    REAL(ftruncate64);
    WHOLE(met_fd("truncate", fd, 0), real(fd, size));
}

int rename(const char *old, const char *new) {
    REAL(rename);
    WHOLE(met_at("rename", AT_FDCWD, new, 0), real(old, new));
}

int renameat(int olddir, const char *old, int newdir, const char *new) {
    REAL(renameat);
    WHOLE(met_at("rename", newdir, new, 0), real(olddir, old, newdir, new));
}

int link(const char *old, const char *new) {
    REAL(link);
    WHOLE(met_at("link", AT_FDCWD, new, 1), real(old, new));
}

int linkat(int olddir, const char *old, int newdir, const char *new, int flags) {
    REAL(linkat);
    WHOLE(met_at("link", newdir, new, 1), real(olddir, old, newdir, new, flags));
}

int unlink(const char *path) {
    REAL(unlink);
    WHOLE(met_at("unlink", AT_FDCWD, path, 0), real(path));
}

int unlinkat(int dir, const char *path, int flags) {
    REAL(unlinkat);
    WHOLE(met_at("unlink", dir, path, 0), real(dir, path, flags));
}

int mkdir(const char *path, mode_t permissions) {
    REAL(mkdir);
    WHOLE(met_at("mkdir", AT_FDCWD, path, 1), real(path, permissions));
}

int rmdir(const char *path) {
    REAL(rmdir);
    WHOLE(met_at("rmdir", AT_FDCWD, path, 0), real(path));
}

#define PERMISSIONS \
    mode_t permissions = 0; \
    if (flags & (O_CREAT | O_TMPFILE)) { \
        va_list rest; \
        va_start(rest, flags); \
        permissions = va_arg(rest, mode_t); \
        va_end(rest); \
    }

static int met_open(int dir, const char *path, int flags) {
    if (!folder_length) return GO;
    if (faccessat(dir, path, F_OK, 0) != 0) return flags & O_CREAT ? met_at("create", dir, path, 1) : GO;
    if (mode != READ_ONLY || !at || seen < at || (flags & O_ACCMODE) == O_RDONLY || !below(path)) return GO;
    errno = EROFS; /* what is there is opened on a disk that has become read-only */
    return STOP;
}

int open(const char *path, int flags, ...) {
    REAL(open);
    PERMISSIONS
    WHOLE(met_open(AT_FDCWD, path, flags), real(path, flags, permissions));
}

int open64(const char *path, int flags, ...) {
    REAL(open64);
    PERMISSIONS
    WHOLE(met_open(AT_FDCWD, path, flags), real(path, flags, permissions));
}

int openat(int dir, const char *path, int flags, ...) {
    REAL(openat);
    PERMISSIONS
    WHOLE(met_open(dir, path, flags), real(dir, path, flags, permissions));
}

int openat64(int dir, const char *path, int flags, ...) {
    REAL(openat64);
    PERMISSIONS
    WHOLE(met_open(dir, path, flags), real(dir, path, flags, permissions));
}
