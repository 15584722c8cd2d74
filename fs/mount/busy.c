/*
 * busy.c -- who keeps the mount busy.
 *
 * Looks through /proc for open files, working directories, roots, programs and mappings on our
 * device.  Nothing here sends a request to the mount (AT_STATX_DONT_SYNC): a hanging one would
 * hang the answer too.  What may not be read is passed over; the list is help, not proof.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "fs/mount/mount_priv.h"
#include "mediagcfs/bytes.h"

static bool is_on(int dir_fd, const char *name, uint64_t dev)
{
    struct statx x;

    return statx(dir_fd, name, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_TYPE, &x) == 0 &&
           makedev(x.stx_dev_major, x.stx_dev_minor) == dev;
}

static bool links_on(int pid_fd, uint64_t dev)
{
    static const char *const links[] = {"cwd", "root", "exe"};

    for (size_t i = 0; i < ARRAY_SIZE(links); i++)
        if (is_on(pid_fd, links[i], dev))
            return true;
    return false;
}

static bool files_on(int pid_fd, uint64_t dev)
{
    int fd = openat(pid_fd, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
    bool found = false;

    if (stream == NULL) {
        if (fd >= 0)
            (void)close(fd);
        return false;
    }
    for (const struct dirent *e; !found && (e = readdir(stream)) != NULL;)
        found = e->d_name[0] != '.' && is_on(fd, e->d_name, dev);
    (void)closedir(stream);
    return found;
}

/* The fourth field of a line of `maps`, "fd:01" in hexadecimal; 0 where there is none. */
static uint64_t device_of(const char *line)
{
    unsigned long major, minor;
    char *end;

    for (int field = 0; field < 3; field++) {
        line += strcspn(line, " ");
        line += strspn(line, " ");
    }
    major = strtoul(line, &end, 16);
    if (end == line || *end != ':')
        return 0;
    line = end + 1;
    minor = strtoul(line, &end, 16);
    return end == line ? 0 : makedev((unsigned)major, (unsigned)minor);
}

static bool maps_on(int pid_fd, uint64_t dev)
{
    int fd = openat(pid_fd, "maps", O_RDONLY | O_CLOEXEC);
    FILE *file = fd >= 0 ? fdopen(fd, "r") : NULL;
    bool found = false;
    char *line = NULL;
    size_t bytes = 0;

    if (file == NULL) {
        if (fd >= 0)
            (void)close(fd);
        return false;
    }
    while (!found && getline(&line, &bytes, file) > 0)
        found = device_of(line) == dev;
    free(line);
    (void)fclose(file);
    return found;
}

static void append(char *out, size_t out_bytes, int pid_fd, const char *pid)
{
    char name[32] = "?";
    size_t used = strlen(out);
    mgc_autofd fd = openat(pid_fd, "comm", O_RDONLY | O_CLOEXEC);

    if (fd >= 0) {
        ssize_t got = read(fd, name, sizeof(name) - 1);

        name[got > 0 ? got : 0] = '\0';
        name[strcspn(name, "\n")] = '\0';
    }
    (void)snprintf(out + used, out_bytes - used, "%spid %s (%s)", used > 0 ? ", " : "", pid,
                   MGC_SHOW(name));
}

void mgc_busy_list(uint64_t dev, char *out, size_t out_bytes)
{
    long self = getpid();
    int found = 0;
    DIR *proc = opendir("/proc");

    out[0] = '\0';
    if (proc == NULL)
        return;
    for (const struct dirent *e; found < MGC_BUSY_PIDS_MAX && (e = readdir(proc)) != NULL;) {
        if (e->d_name[0] < '1' || e->d_name[0] > '9' || strtol(e->d_name, NULL, 10) == self)
            continue;
        mgc_autofd pid_fd = openat(dirfd(proc), e->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC);

        if (pid_fd < 0 || !(links_on(pid_fd, dev) || files_on(pid_fd, dev) || maps_on(pid_fd, dev)))
            continue;
        append(out, out_bytes, pid_fd, e->d_name);
        found++;
    }
    (void)closedir(proc);
}
