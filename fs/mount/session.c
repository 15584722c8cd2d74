/*
 * session.c -- options, mounting, the loop, stopping.
 *
 *   open -> run (serves; `ready` once the mount answers) -> stop, from any thread -> run returns
 *        -> close
 *
 *   S1  The loop ends when the kernel drops the connection, which an unmount does.  Where something
 *       else still refers to the mount (a lazy unmount of a busy one, a copy in another namespace)
 *       it is ended by hand after a moment, so that stop always ends the run.
 *   S2  What is unmounted is ours: the device at the mount point is compared first.
 *   S3  The thread for notifications ends while requests are still served, or after the connection
 *       is gone.
 */
#include <fcntl.h>
#include <linux/securebits.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

#include "fs/mount/mount_priv.h"
#include "mediagcfs/assert.h"
#include "mediagcfs/log.h"
#include "mediagcfs/mountinfo.h"
#include "mediagcfs/proc.h"

enum {
    END_WAIT_US = 2000000,   /* how long a detached mount may still be used (S1) */
    WAKE_PAUSE_US = 10000,   /* between two attempts to wake the loop */
    FUSERMOUNT_US = 10000000 /* deadline of the helper of unprivileged unmounts */
};

static void MGC_PRINTF(2, 0)
    log_libfuse(enum fuse_log_level level, const char *format, va_list args)
{
    char line[512];

    (void)vsnprintf(line, sizeof(line), format, args);
    line[strcspn(line, "\n")] = '\0';
    mgc_log(level <= FUSE_LOG_WARNING ? MGC_LOG_WARNING : MGC_LOG_DEBUG, "%s", line);
}

/* A descriptor for each inode the kernel knows: as many as there may be. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static bool is_stacked(const char *source)
{
    static const uint64_t types[] = {
        0x794c7630, /* overlayfs */
        0x65735546, /* FUSE */
        0xf15f,     /* ecryptfs */
    };
    struct statfs st;

    if (statfs(source, &st) < 0)
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
        if ((uint64_t)st.f_type == types[i])
            return true;
    return false;
}

/* ---- open ---- */

static int add_options(const struct mgc_conf *conf, struct fuse_args *args)
{
    mgc_autofree char *options = NULL;
    mgc_autobuf name = {0};
    int r = 0;

    mgc_buf_adds(&name, "fsname=");
    mgc_buf_adds(&name, conf->filesystem.source);
    if (name.failed)
        return -1;
    /* A comma in the source must not become an option of its own. */
    r |= fuse_opt_add_opt_escaped(&options, name.data);
    r |= fuse_opt_add_opt(&options, "subtype=" MGC_MOUNT_SUBTYPE);
    r |= fuse_opt_add_opt(&options, "default_permissions,nosuid,nodev");
    if (conf->filesystem.allow_other)
        r |= fuse_opt_add_opt(&options, "allow_other");
    r |= fuse_opt_add_arg(args, "mediagcfsd");
    r |= fuse_opt_add_arg(args, "-o");
    if (r == 0)
        r = fuse_opt_add_arg(args, options);
    return r;
}

static int mount_session(struct mgc_mount *m, struct mgc_err *err)
{
    const char *mountpoint = m->conf->filesystem.mountpoint;
    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    struct stat under;

    if (stat(mountpoint, &under) < 0)
        return mgc_err_set(err, -errno, "could not use mount point '%s'", MGC_SHOW(mountpoint));
    if (!S_ISDIR(under.st_mode))
        return mgc_err_set(err, -ENOTDIR, "could not use mount point '%s'", MGC_SHOW(mountpoint));
    m->under_dev = under.st_dev;
    fuse_set_log_func(log_libfuse);
    if (add_options(m->conf, &args) == 0)
        m->session = fuse_session_new(&args, &mgc_mount_ops, sizeof(mgc_mount_ops), m);
    fuse_opt_free_args(&args);
    if (m->session == NULL)
        return mgc_err_say(err, -ENOMEM, "could not set up the FUSE session");
    if (fuse_session_mount(m->session, mountpoint) == 0)
        return 0;
    fuse_session_destroy(m->session);
    m->session = NULL;
    (void)mgc_err_say(err, -EPERM, "could not mount on '%s'", MGC_SHOW(mountpoint));
    (void)mgc_err_hint(err, access("/dev/fuse", F_OK) < 0
                                ? "Load the kernel module: modprobe fuse."
                                : "Mounting takes root, or fusermount3 and a mount point of one's "
                                  "own; see the warning above.");
    return -EPERM;
}

int mgc_mount_open(const struct mgc_mount_spec *spec, struct mgc_mount **ret, struct mgc_err *err)
{
    mgc_autofree struct mgc_mount *m = calloc(1, sizeof(*m));
    int r;

    MGC_ASSERT(spec->conf != NULL);
    MGC_ASSERT(spec->tree != NULL);
    if (m == NULL)
        return mgc_err_set(err, -ENOMEM, "could not set up the FUSE session");
    m->conf = spec->conf;
    m->tree = spec->tree;
    m->ready = spec->ready;
    m->ready_arg = spec->arg;
    m->cache_seconds = (double)spec->conf->filesystem.cache_for_us / 1e6;
    m->stacked_source = is_stacked(spec->conf->filesystem.source);
    m->notify.last = &m->notify.first;
    raise_descriptor_limit();
    r = mount_session(m, err);
    if (r < 0)
        return r;
    (void)pthread_mutex_init(&m->lock, NULL);
    (void)pthread_cond_init(&m->ended_changed, NULL);
    (void)pthread_mutex_init(&m->notify.lock, NULL);
    (void)pthread_cond_init(&m->notify.changed, NULL);
    *ret = mgc_steal(m);
    /* A list that ends elsewhere than in its own head would have moved with the structure. */
    MGC_ASSERT((*ret)->notify.last == &(*ret)->notify.first);
    return 0;
}

/* ---- run ---- */

/* Waits until a look at the mount point is answered by us. */
static void *greet(void *arg)
{
    struct mgc_mount *m = arg;
    struct statx x;

    if (statx(AT_FDCWD, m->conf->filesystem.mountpoint, AT_NO_AUTOMOUNT | AT_STATX_FORCE_SYNC,
              STATX_BASIC_STATS, &x) < 0)
        return NULL;
    if (makedev(x.stx_dev_major, x.stx_dev_minor) == m->under_dev)
        return NULL; /* unmounted meanwhile: that was the directory beneath */
    (void)pthread_mutex_lock(&m->lock);
    m->dev = makedev(x.stx_dev_major, x.stx_dev_minor);
    (void)pthread_mutex_unlock(&m->lock);
    if (m->ready != NULL)
        m->ready(m->ready_arg);
    return NULL;
}

#if !MGC_FUSE_EXIT_WAKES
static void ignore_wake(int signal)
{
    (void)signal;
}
#endif

/* Rights that came from a supplementary group must survive the switch of ids (tree_caller.c). */
static void keep_capabilities(void)
{
    int bits = prctl(PR_GET_SECUREBITS);

    if (geteuid() != 0 || bits < 0)
        return;
    if (prctl(PR_SET_SECUREBITS, (unsigned long)bits | SECBIT_NO_SETUID_FIXUP) < 0)
        mgc_log(MGC_LOG_WARNING,
                "could not keep capabilities while files change hands: %s; writers whose right "
                "comes from a supplementary group may be refused",
                strerrordesc_np(errno));
}

static int serve(struct mgc_mount *m, struct mgc_err *err)
{
    struct fuse_loop_config *config = fuse_loop_cfg_create();
    int r;

    if (config == NULL)
        return mgc_err_set(err, -ENOMEM, "could not set up the FUSE session");
    fuse_loop_cfg_set_clone_fd(config, 0);
    fuse_loop_cfg_set_max_threads(config, MGC_MOUNT_THREADS);
    r = fuse_session_loop_mt(m->session, config);
    fuse_loop_cfg_destroy(config);
    if (r < 0)
        return mgc_err_set(err, r, "could not go on serving '%s'",
                           MGC_SHOW(m->conf->filesystem.mountpoint));
    return 0;
}

int mgc_mount_run(struct mgc_mount *m, struct mgc_err *err)
{
    int r;

    keep_capabilities();
#if !MGC_FUSE_EXIT_WAKES
    {
        /* No SA_RESTART: the signal is to end the wait in the loop (wake()). */
        struct sigaction action = {.sa_handler = ignore_wake};

        (void)sigaction(SIGUSR2, &action, NULL);
    }
#endif
    (void)umask(0);
    r = mgc_notify_start(m, err);
    if (r < 0)
        return r;
    (void)pthread_mutex_lock(&m->lock);
    MGC_ASSERT(!m->running);
    m->runner = pthread_self();
    m->running = true;
    m->greeter_started = pthread_create(&m->greeter, NULL, greet, m) == 0;
    (void)pthread_mutex_unlock(&m->lock);
    r = serve(m, err);
    (void)pthread_mutex_lock(&m->lock);
    m->running = false;
    m->ended = true;
    (void)pthread_cond_broadcast(&m->ended_changed);
    (void)pthread_mutex_unlock(&m->lock);
    return r;
}

/* ---- stop ---- */

enum seen { SEEN_OURS, SEEN_GONE, SEEN_OTHER };

/* S2.  No request is sent: the device is known to the kernel. */
static enum seen look(struct mgc_mount *m)
{
    struct statx x;
    uint64_t dev, now;

    (void)pthread_mutex_lock(&m->lock);
    dev = m->dev;
    (void)pthread_mutex_unlock(&m->lock);
    if (statx(AT_FDCWD, m->conf->filesystem.mountpoint, AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC,
              STATX_TYPE, &x) < 0)
        return errno == ENOTCONN || errno == ECONNABORTED ? SEEN_OURS : SEEN_OTHER;
    now = makedev(x.stx_dev_major, x.stx_dev_minor);
    if (now == m->under_dev)
        return SEEN_GONE;
    /* 0: it has not answered yet, and all that is known is what lay beneath. */
    return dev == 0 || now == dev ? SEEN_OURS : SEEN_OTHER;
}

static int unmount_by_helper(const char *mountpoint, bool lazy)
{
    const char *argv[] = {"fusermount3", "-u", "-q", lazy ? "-z" : "--", mountpoint, NULL};
    struct mgc_proc_spec spec = {
        .argv = argv, .uid = (uid_t)-1, .gid = (gid_t)-1, .capture = false, .pass_fd = -1};
    struct mgc_proc proc;
    int r = mgc_proc_start(&proc, &spec, NULL);

    if (r == 0)
        r = mgc_proc_wait(&proc, mgc_monotonic_us() + FUSERMOUNT_US, NULL);
    return r == 0 ? 0 : -EBUSY;
}

static int unmount(const char *mountpoint, bool lazy)
{
    if (umount2(mountpoint, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0)
        return 0;
    if (errno == EPERM && geteuid() != 0)
        return unmount_by_helper(mountpoint, lazy);
    return -errno;
}

static int say_busy(struct mgc_mount *m, int r, struct mgc_err *err)
{
    const char *mountpoint = m->conf->filesystem.mountpoint;
    char pids[MGC_ERR_TEXT_BYTES / 2] = "";
    uint64_t dev;

    if (r != -EBUSY)
        return mgc_err_set(err, r, "could not unmount '%s'", MGC_SHOW(mountpoint));
    (void)pthread_mutex_lock(&m->lock);
    dev = m->dev;
    (void)pthread_mutex_unlock(&m->lock);
    mgc_busy_list(dev, pids, sizeof(pids));
    (void)mgc_err_say(err, r, "could not unmount '%s': in use by %s", MGC_SHOW(mountpoint),
                      pids[0] != '\0' ? pids : "processes that cannot be seen from here");
    (void)mgc_err_hint(err, "Stop them first, or detach it with `mediagcfs unmount --lazy`.");
    return r;
}

static void wait_for_end(struct mgc_mount *m, int64_t wait_us)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += wait_us / 1000000;
    until.tv_nsec += wait_us % 1000000 * 1000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    (void)pthread_mutex_lock(&m->lock);
    while (m->running && pthread_cond_timedwait(&m->ended_changed, &m->lock, &until) == 0)
        ;
    (void)pthread_mutex_unlock(&m->lock);
}

/* S1: somebody still refers to the mount, so the kernel keeps the connection. */
static void end_by_hand(struct mgc_mount *m)
{
    bool running = true;

    mgc_notify_stop(m); /* S3 */
    while (running) {
        fuse_session_exit(m->session);
        (void)pthread_mutex_lock(&m->lock);
        running = m->running;
#if !MGC_FUSE_EXIT_WAKES
        if (running)
            (void)pthread_kill(m->runner, SIGUSR2);
#endif
        (void)pthread_mutex_unlock(&m->lock);
        if (running)
            wait_for_end(m, WAKE_PAUSE_US);
    }
}

int mgc_mount_stop(struct mgc_mount *m, bool lazy, struct mgc_err *err)
{
    const char *mountpoint = m->conf->filesystem.mountpoint;
    bool running, unmounted;
    enum seen seen;
    int r = 0;

    (void)pthread_mutex_lock(&m->lock);
    running = m->running;
    unmounted = m->unmounted || m->ended;
    (void)pthread_mutex_unlock(&m->lock);
    seen = unmounted ? SEEN_GONE : look(m);
    if (seen == SEEN_OTHER)
        return mgc_err_say(err, -EBUSY, "could not unmount '%s': something else is mounted over it",
                           MGC_SHOW(mountpoint));
    if (seen == SEEN_OURS)
        r = unmount(mountpoint, lazy);
    if (r < 0 && r != -EINVAL) /* not a mount point any more: somebody else was faster */
        return say_busy(m, r, err);
    (void)pthread_mutex_lock(&m->lock);
    m->unmounted = true;
    (void)pthread_mutex_unlock(&m->lock);
    if (running) {
        wait_for_end(m, END_WAIT_US);
        end_by_hand(m);
    }
    return 0;
}

void mgc_mount_close(struct mgc_mount *m)
{
    if (m == NULL)
        return;
    MGC_ASSERT(!m->running);
    if (!m->unmounted && look(m) == SEEN_OURS) {
        /* The loop ended by itself with the mount still there: by force also ends what waits. */
        if (umount2(m->conf->filesystem.mountpoint, UMOUNT_NOFOLLOW | MNT_FORCE | MNT_DETACH) < 0)
            fuse_session_unmount(m->session);
    }
    mgc_notify_stop(m);
    fuse_session_destroy(m->session); /* closes the connection: the greeter's look ends too */
    if (m->greeter_started)
        (void)pthread_join(m->greeter, NULL);
    (void)pthread_mutex_destroy(&m->lock);
    (void)pthread_cond_destroy(&m->ended_changed);
    (void)pthread_mutex_destroy(&m->notify.lock);
    (void)pthread_cond_destroy(&m->notify.changed);
    free(m);
}
