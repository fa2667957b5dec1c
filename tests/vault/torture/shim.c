/* Counts, kills, fails and records the file calls of a process, below one directory.
 *
 * Loaded with LD_PRELOAD. Counts nothing until shim_arm() is called, through ctypes, by the process under test.
 * Everything that changes a file passes here before it happens; the calls are numbered from 1. The shim itself uses raw
 * system calls only, so it never sees itself.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* Kinds of calls; a mask of them says which are counted. Keep in step with shim.py. */
enum {
    K_WRITE = 1,
    K_SYNC = 2,
    K_RENAME = 4,
    K_UNLINK = 8,
    K_TRUNCATE = 16,
    K_CREATE = 32,
    K_OPEN = 64,
    K_READ = 128,
    K_MODE = 256,
    K_SEND = 512,
};

enum { M_COUNT = 0, M_KILL_BEFORE = 1, M_KILL_AFTER = 2, M_KILL_TORN = 3, M_FAIL = 4, M_FAIL_TORN = 5 };

/* What is recorded of one call; the two names and the data follow. Little endian, as the machine is. */
struct record {
    uint32_t magic, call, kind, names;
    uint64_t inode, offset, length, size;
    int32_t result, error;
    uint32_t first, second, data, created;
};

/* Names of calls by number; keep in step with shim.py. */
enum {
    C_WRITE, C_PWRITE, C_WRITEV, C_PWRITEV, C_FSYNC, C_FDATASYNC, C_RENAME, C_EXCHANGE, C_LINK, C_UNLINK, C_RMDIR,
    C_FTRUNCATE, C_FALLOCATE, C_CREATE, C_OPEN, C_MKDIR, C_READ, C_CHMOD, C_COPY, C_MARK, C_SYMLINK,
    C_SEND,
};

static struct {
    char root[PATH_MAX];
    size_t root_len;
    volatile int armed;
    int mode, error, sticky, log_fd;
    volatile int plain_renames, no_locks;
    uint32_t mask;
    uint64_t target;
    volatile uint64_t count;
    volatile uint64_t fired;
    pid_t pid;
} S = {.log_fd = -1};

static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;

__attribute__((visibility("default"))) void shim_disarm(void) { S.armed = 0; }
__attribute__((visibility("default"))) uint64_t shim_count(void) { return S.count; }
__attribute__((visibility("default"))) uint64_t shim_fired(void) { return S.fired; }

/* As on a file system that knows neither the exchange of two names nor a rename that replaces nothing: such calls are
 * answered with `error`, everywhere and uncounted, until it is 0 again. */
__attribute__((visibility("default"))) void shim_plain_renames(int error) { S.plain_renames = error; }

/* From now on pages are neither locked nor unlocked. SQLCipher does it at each allocation, which was more than a quarter
 * of the processor time of the tests of faults, and it is not what they are about. */
__attribute__((visibility("default"))) void shim_no_locks(void) { S.no_locks = 1; }

int mlock(const void *address, size_t length) {
    return S.no_locks ? 0 : (int)syscall(SYS_mlock, address, length);
}

int munlock(const void *address, size_t length) {
    return S.no_locks ? 0 : (int)syscall(SYS_munlock, address, length);
}

/* `log_fd` is -1 or a descriptor outside of `root` that records are appended to. Returns 0. */
__attribute__((visibility("default"))) int shim_arm(
    const char *root, int mode, uint64_t target, uint32_t mask, int error, int sticky, int log_fd) {
    S.armed = 0;
    S.root_len = strlen(root);
    if (S.root_len >= sizeof S.root) return -1;
    memcpy(S.root, root, S.root_len + 1);
    S.mode = mode;
    S.target = target;
    S.mask = mask;
    S.error = error;
    S.sticky = sticky;
    S.log_fd = log_fd;
    S.count = 0;
    S.fired = 0;
    S.pid = getpid();
    /* Seen by strace, so that both can count the same stretch. */
    syscall(SYS_access, "/shim/armed", 0);
    __sync_synchronize();
    S.armed = 1;
    return 0;
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) syscall(SYS_pause);
}

static int inside(const char *path) {
    return strncmp(path, S.root, S.root_len) == 0 && (path[S.root_len] == 0 || path[S.root_len] == '/');
}

/* The path behind a descriptor; 1 if it is below the root. */
static int of_fd(int fd, char *out) {
    char link[48];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = syscall(SYS_readlinkat, AT_FDCWD, link, out, PATH_MAX - 1);
    if (n <= 0) return 0;
    out[n] = 0;
    return inside(out);
}

/* The absolute form of a path as given to a call; 1 if it is below the root. Links in it are not followed: the root
 * is given resolved, and whoever is under test resolves its directory first. */
static int of_path(int dir, const char *path, char *out) {
    if (!path) return 0;
    if (path[0] == '/') {
        if (strlen(path) >= PATH_MAX) return 0;
        strcpy(out, path);
        return inside(out);
    }
    char base[PATH_MAX];
    ssize_t n;
    if (dir == AT_FDCWD) {
        n = syscall(SYS_getcwd, base, sizeof base);
        if (n <= 0) return 0;
    } else {
        char link[48];
        snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
        n = syscall(SYS_readlinkat, AT_FDCWD, link, base, PATH_MAX - 1);
        if (n <= 0) return 0;
        base[n] = 0;
    }
    if (strlen(base) + strlen(path) + 2 > PATH_MAX) return 0;
    strcpy(out, base);
    strcat(out, "/");
    strcat(out, path);
    return inside(out);
}

static void put(const void *data, size_t n) {
    const char *p = data;
    while (n) {
        ssize_t w = syscall(SYS_write, S.log_fd, p, n);
        if (w <= 0) return;
        p += w;
        n -= (size_t)w;
    }
}

struct call {
    int active, dir, fd;
    uint64_t number;
    char first[PATH_MAX], second[PATH_MAX];
};

static int watching(uint32_t kind) { return S.armed && (S.mask & kind) && S.pid == getpid(); }

enum { GO = 0, FAIL = 1, TORN = 2 };

/* Numbers the call and says what is to become of it. */
static int enter(struct call *c) {
    c->number = __sync_add_and_fetch(&S.count, 1);
    if (S.mode == M_COUNT) return GO;
    int hit = c->number == S.target;
    int later = S.sticky && S.target && c->number > S.target;
    if (!hit && !later) return GO;
    __sync_add_and_fetch(&S.fired, 1);
    switch (S.mode) {
        case M_KILL_BEFORE: die();
        /* fall through */
        case M_KILL_TORN: return TORN;
        case M_FAIL: return FAIL;
        case M_FAIL_TORN: return hit ? TORN : FAIL;
        default: return GO;
    }
}

static void leave(struct call *c) {
    if ((S.mode == M_KILL_AFTER || S.mode == M_KILL_TORN) && c->number == S.target) die();
}

static uint64_t inode_of(int fd, uint64_t *size) {
    struct stat st;
    if (fd < 0 || syscall(SYS_fstat, fd, &st) != 0) return 0;
    if (size) *size = (uint64_t)st.st_size;
    return st.st_ino;
}

static void record(struct call *c, uint32_t name, uint32_t kind, int fd, uint64_t offset, uint64_t length, int64_t result,
                   const void *data, size_t data_len, uint32_t created) {
    if (S.log_fd < 0) return;
    int saved = errno;
    struct record r = {0};
    r.magic = 0x4d494853;
    r.call = name;
    r.kind = kind;
    r.offset = offset;
    r.length = length;
    r.inode = inode_of(fd, &r.size);
    r.result = (int32_t)result;
    r.error = result < 0 ? saved : 0;
    r.first = (uint32_t)strlen(c->first);
    r.second = (uint32_t)strlen(c->second);
    r.data = (uint32_t)data_len;
    r.created = created;
    pthread_mutex_lock(&guard);
    put(&r, sizeof r);
    put(c->first, r.first);
    put(c->second, r.second);
    put(data, data_len);
    pthread_mutex_unlock(&guard);
    errno = saved;
}

/* A border in the record: whatever was acknowledged is acknowledged by here. */
__attribute__((visibility("default"))) void shim_mark(const char *text) {
    struct call c = {0};
    if (S.armed) record(&c, C_MARK, 0, -1, 0, 0, 0, text, strlen(text), 0);
}

#define REAL(ret, name, ...)                                           \
    static ret (*real)(__VA_ARGS__);                                   \
    if (!real) real = (ret(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

#define REFUSE(c, name, kind, fd, off, len)                 \
    do {                                                    \
        errno = S.error;                                    \
        record(&c, name, kind, fd, off, len, -1, "", 0, 0); \
        return -1;                                          \
    } while (0)

/* ---------------------------------------------------------------- writing */

static ssize_t wrote(int fd, const void *buf, size_t len, off_t off, int positioned,
                     ssize_t (*go)(int, const void *, size_t, off_t)) {
    struct call c = {0};
    if (!watching(K_WRITE) || !of_fd(fd, c.first)) return go(fd, buf, len, off);
    int what = enter(&c);
    uint32_t name = positioned ? C_PWRITE : C_WRITE;
    if (what == FAIL) REFUSE(c, name, K_WRITE, fd, (uint64_t)off, len);
    size_t n = what == TORN ? len / 2 : len;
    if (!positioned) off = (off_t)syscall(SYS_lseek, fd, 0, SEEK_CUR);
    ssize_t done = n ? go(fd, buf, n, off) : 0;
    record(&c, name, K_WRITE, fd, (uint64_t)off, len, done, buf, done > 0 ? (size_t)done : 0, 0);
    leave(&c);
    if (what == TORN && done == 0) REFUSE(c, name, K_WRITE, fd, (uint64_t)off, len);
    return done;
}

static ssize_t go_write(int fd, const void *buf, size_t len, off_t off) {
    (void)off;
    REAL(ssize_t, write, int, const void *, size_t);
    return real(fd, buf, len);
}

static ssize_t go_pwrite(int fd, const void *buf, size_t len, off_t off) {
    REAL(ssize_t, pwrite64, int, const void *, size_t, off_t);
    return real(fd, buf, len, off);
}

ssize_t write(int fd, const void *buf, size_t len) { return wrote(fd, buf, len, 0, 0, go_write); }
ssize_t pwrite(int fd, const void *buf, size_t len, off_t off) { return wrote(fd, buf, len, off, 1, go_pwrite); }
ssize_t pwrite64(int fd, const void *buf, size_t len, off_t off) { return wrote(fd, buf, len, off, 1, go_pwrite); }

/* Vectors are written one by one below the root: callers have to accept a short count anyway. */
static ssize_t vector(int fd, const struct iovec *v, int n, off_t off, int positioned) {
    ssize_t sum = 0;
    for (int i = 0; i < n; i++) {
        if (!v[i].iov_len) continue;
        ssize_t done = positioned ? pwrite64(fd, v[i].iov_base, v[i].iov_len, off + sum)
                                  : write(fd, v[i].iov_base, v[i].iov_len);
        if (done < 0) return sum ? sum : -1;
        sum += done;
        if ((size_t)done < v[i].iov_len) break;
    }
    return sum;
}

ssize_t writev(int fd, const struct iovec *v, int n) {
    char path[PATH_MAX];
    REAL(ssize_t, writev, int, const struct iovec *, int);
    if (!watching(K_WRITE) || !of_fd(fd, path)) return real(fd, v, n);
    return vector(fd, v, n, 0, 0);
}

ssize_t pwritev(int fd, const struct iovec *v, int n, off_t off) {
    char path[PATH_MAX];
    REAL(ssize_t, pwritev, int, const struct iovec *, int, off_t);
    if (!watching(K_WRITE) || !of_fd(fd, path)) return real(fd, v, n, off);
    return vector(fd, v, n, off, 1);
}
ssize_t pwritev64(int fd, const struct iovec *v, int n, off_t off) { return pwritev(fd, v, n, off); }

/* Copies inside the kernel would hide their data from the record: refused, and the caller falls back to write(). */
ssize_t copy_file_range(int in, off_t *in_off, int out, off_t *out_off, size_t n, unsigned flags) {
    char path[PATH_MAX];
    REAL(ssize_t, copy_file_range, int, off_t *, int, off_t *, size_t, unsigned);
    if (!watching(K_WRITE) || !of_fd(out, path)) return real(in, in_off, out, out_off, n, flags);
    errno = ENOSYS;
    return -1;
}

ssize_t sendfile(int out, int in, off_t *off, size_t n) {
    char path[PATH_MAX];
    REAL(ssize_t, sendfile, int, int, off_t *, size_t);
    if (!watching(K_WRITE) || !of_fd(out, path)) return real(out, in, off, n);
    errno = EINVAL;
    return -1;
}
ssize_t sendfile64(int out, int in, off_t *off, size_t n) { return sendfile(out, in, off, n); }

/* ---------------------------------------------------------------- reading */

ssize_t read(int fd, void *buf, size_t len) {
    struct call c = {0};
    REAL(ssize_t, read, int, void *, size_t);
    if (!watching(K_READ) || !of_fd(fd, c.first)) return real(fd, buf, len);
    if (enter(&c) == FAIL) REFUSE(c, C_READ, K_READ, fd, 0, len);
    ssize_t done = real(fd, buf, len);
    record(&c, C_READ, K_READ, fd, 0, len, done, "", 0, 0);
    leave(&c);
    return done;
}

ssize_t pread64(int fd, void *buf, size_t len, off_t off) {
    struct call c = {0};
    REAL(ssize_t, pread64, int, void *, size_t, off_t);
    if (!watching(K_READ) || !of_fd(fd, c.first)) return real(fd, buf, len, off);
    if (enter(&c) == FAIL) REFUSE(c, C_READ, K_READ, fd, (uint64_t)off, len);
    ssize_t done = real(fd, buf, len, off);
    record(&c, C_READ, K_READ, fd, (uint64_t)off, len, done, "", 0, 0);
    leave(&c);
    return done;
}
ssize_t pread(int fd, void *buf, size_t len, off_t off) { return pread64(fd, buf, len, off); }

/* ---------------------------------------------------------------- calls on a descriptor */

#define ON_FD(c, name, kind, fd, off, len, run)                               \
    if (!watching(kind) || !of_fd(fd, c.first)) return (run);                 \
    if (enter(&c) == FAIL) REFUSE(c, name, kind, fd, (uint64_t)(off), (uint64_t)(len)); \
    int done = (run);                                                         \
    record(&c, name, kind, fd, (uint64_t)(off), (uint64_t)(len), done, "", 0, 0); \
    leave(&c);                                                                \
    return done

int fsync(int fd) {
    struct call c = {0};
    REAL(int, fsync, int);
    ON_FD(c, C_FSYNC, K_SYNC, fd, 0, 0, real(fd));
}

int fdatasync(int fd) {
    struct call c = {0};
    REAL(int, fdatasync, int);
    ON_FD(c, C_FDATASYNC, K_SYNC, fd, 0, 0, real(fd));
}

int ftruncate64(int fd, off_t len) {
    struct call c = {0};
    REAL(int, ftruncate64, int, off_t);
    ON_FD(c, C_FTRUNCATE, K_TRUNCATE, fd, 0, len, real(fd, len));
}
int ftruncate(int fd, off_t len) { return ftruncate64(fd, len); }

int fallocate64(int fd, int mode, off_t off, off_t len) {
    struct call c = {0};
    REAL(int, fallocate64, int, int, off_t, off_t);
    ON_FD(c, C_FALLOCATE, K_TRUNCATE, fd, off, len, real(fd, mode, off, len));
}
int fallocate(int fd, int mode, off_t off, off_t len) { return fallocate64(fd, mode, off, len); }

int posix_fallocate64(int fd, off_t off, off_t len) { return fallocate64(fd, 0, off, len) ? errno : 0; }
int posix_fallocate(int fd, off_t off, off_t len) { return fallocate64(fd, 0, off, len) ? errno : 0; }

int fchmod(int fd, mode_t mode) {
    struct call c = {0};
    REAL(int, fchmod, int, mode_t);
    ON_FD(c, C_CHMOD, K_MODE, fd, 0, mode, real(fd, mode));
}

/* ---------------------------------------------------------------- messages to other processes, such as a keyring */

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    struct call c = {0};
    struct stat st;
    REAL(ssize_t, sendmsg, int, const struct msghdr *, int);
    if (!watching(K_SEND) || syscall(SYS_fstat, fd, &st) != 0 || !S_ISSOCK(st.st_mode)) return real(fd, message, flags);
    if (enter(&c) == FAIL) REFUSE(c, C_SEND, K_SEND, fd, 0, 0);
    ssize_t done = real(fd, message, flags);
    record(&c, C_SEND, K_SEND, fd, 0, 0, done, "", 0, 0);
    leave(&c);
    return done;
}

/* ---------------------------------------------------------------- calls on names */

#define ON_NAME(c, name, kind, dir, path, run)                           \
    if (!watching(kind) || !of_path(dir, path, c.first)) return (run);   \
    if (enter(&c) == FAIL) REFUSE(c, name, kind, -1, 0, 0);              \
    int done = (run);                                                    \
    record(&c, name, kind, -1, 0, 0, done, "", 0, 0);                    \
    leave(&c);                                                           \
    return done

static int removed(int dir, const char *path, int flags) {
    struct call c = {0};
    REAL(int, unlinkat, int, const char *, int);
    ON_NAME(c, (flags & AT_REMOVEDIR) ? C_RMDIR : C_UNLINK, K_UNLINK, dir, path, real(dir, path, flags));
}
int unlinkat(int dir, const char *path, int flags) { return removed(dir, path, flags); }
int unlink(const char *path) { return removed(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return removed(AT_FDCWD, path, AT_REMOVEDIR); }
int remove(const char *path) { return removed(AT_FDCWD, path, 0); }

static int made(int dir, const char *path, mode_t mode) {
    struct call c = {0};
    REAL(int, mkdirat, int, const char *, mode_t);
    ON_NAME(c, C_MKDIR, K_CREATE, dir, path, real(dir, path, mode));
}
int mkdirat(int dir, const char *path, mode_t mode) { return made(dir, path, mode); }
int mkdir(const char *path, mode_t mode) { return made(AT_FDCWD, path, mode); }

static int chmodded(int dir, const char *path, mode_t mode, int flags) {
    struct call c = {0};
    REAL(int, fchmodat, int, const char *, mode_t, int);
    ON_NAME(c, C_CHMOD, K_MODE, dir, path, real(dir, path, mode, flags));
}
int fchmodat(int dir, const char *path, mode_t mode, int flags) { return chmodded(dir, path, mode, flags); }
int chmod(const char *path, mode_t mode) { return chmodded(AT_FDCWD, path, mode, 0); }

static int moved(int from_dir, const char *from, int to_dir, const char *to, unsigned flags, uint32_t name) {
    struct call c = {0};
    if (!watching(K_RENAME) || !of_path(from_dir, from, c.first) || !of_path(to_dir, to, c.second)) {
        if (name == C_LINK) return (int)syscall(SYS_linkat, from_dir, from, to_dir, to, flags);
        return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
    }
    if (enter(&c) == FAIL) REFUSE(c, name, K_RENAME, -1, 0, flags);
    int done = (int)(name == C_LINK ? syscall(SYS_linkat, from_dir, from, to_dir, to, flags)
                                    : syscall(SYS_renameat2, from_dir, from, to_dir, to, flags));
    record(&c, name, K_RENAME, -1, 0, flags, done, "", 0, 0);
    leave(&c);
    return done;
}

static int renamed(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
    if (flags && S.plain_renames) {
        errno = S.plain_renames;
        return -1;
    }
    return moved(from_dir, from, to_dir, to, flags, (flags & RENAME_EXCHANGE) ? C_EXCHANGE : C_RENAME);
}
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) { return renamed(a, from, b, to, flags); }
int renameat(int a, const char *from, int b, const char *to) { return renamed(a, from, b, to, 0); }
int rename(const char *from, const char *to) { return renamed(AT_FDCWD, from, AT_FDCWD, to, 0); }
int linkat(int a, const char *from, int b, const char *to, int flags) {
    return moved(a, from, b, to, (unsigned)flags, C_LINK);
}
int link(const char *from, const char *to) { return moved(AT_FDCWD, from, AT_FDCWD, to, 0, C_LINK); }

static int opened(int dir, const char *path, int flags, mode_t mode) {
    struct call c = {0};
    REAL(int, openat64, int, const char *, int, mode_t);
    uint32_t kind = (flags & (O_CREAT | O_TRUNC)) ? K_CREATE : K_OPEN;
    if (!watching(kind) || !of_path(dir, path, c.first)) return real(dir, path, flags, mode);
    uint32_t name = kind == K_CREATE ? C_CREATE : C_OPEN;
    if (enter(&c) == FAIL) REFUSE(c, name, kind, -1, 0, (uint64_t)flags);
    struct stat st;
    uint32_t created = (flags & O_CREAT) && syscall(SYS_newfstatat, dir, path, &st, AT_SYMLINK_NOFOLLOW) != 0;
    int fd = real(dir, path, flags, mode);
    record(&c, name, kind, fd, 0, (uint64_t)flags, fd, "", 0, fd >= 0 && created);
    leave(&c);
    return fd;
}

#define OPEN_MODE(flags, mode)                       \
    mode_t mode = 0;                                 \
    if (((flags) & O_CREAT) || ((flags) & O_TMPFILE) == O_TMPFILE) { \
        va_list args;                                \
        va_start(args, flags);                       \
        mode = (mode_t)va_arg(args, unsigned);       \
        va_end(args);                                \
    }

int openat(int dir, const char *path, int flags, ...) {
    OPEN_MODE(flags, mode);
    return opened(dir, path, flags, mode);
}
int openat64(int dir, const char *path, int flags, ...) {
    OPEN_MODE(flags, mode);
    return opened(dir, path, flags, mode);
}
int open(const char *path, int flags, ...) {
    OPEN_MODE(flags, mode);
    return opened(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    OPEN_MODE(flags, mode);
    return opened(AT_FDCWD, path, flags, mode);
}
int creat(const char *path, mode_t mode) { return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
