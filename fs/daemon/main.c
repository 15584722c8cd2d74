/*
 * main.c -- mediagcfsd: builds the objects, runs, stops in reverse order.  Wiring only.
 *
 *   conf -> source fd -> service (home, catalog, recorder) -> tree -> quarantine -> control socket
 *        -> mount -> verification and schedule
 *
 * The source is opened before anything is mounted over it, so the mount point may be the same path.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "daemon_priv.h"
#include "mediagcfs/log.h"
#include "mediagcfs/mount.h"
#include "mediagcfs/service.h"

struct daemon {
    struct mgc_conf *conf;
    struct mgc_background background;
    int root_fd;
    struct mgc_service *service;
    struct mgc_tree *tree;
    struct mgc_server *server;
    struct mgc_mount *mount;
    pthread_t signal_thread;
    bool signals_taken;  /* signal_thread runs */
    _Atomic bool ending; /* it is to end */
    bool failed;         /* the start went wrong after the mount answered */
};

static int stop_mount(void *arg, bool lazy, struct mgc_err *err)
{
    struct daemon *d = arg;

    return mgc_mount_stop(d->mount, lazy, err);
}

static void changed(void *arg, const struct mgc_file_stat *dir, const char *name, bool gone)
{
    struct daemon *d = arg;

    if (d->mount != NULL)
        mgc_mount_changed(d->mount, dir, name, gone);
}

/* The mount answers: whoever waits for it may go on, and what runs beside it begins. */
static void ready(void *arg)
{
    struct daemon *d = arg;
    char log_path[MGC_PATH_BYTES_MAX + 1];
    struct mgc_err err = {0};

    if (mgc_service_start(d->service, &err) < 0) {
        mgc_log_failure("start", &err);
        d->failed = true;
        if (mgc_mount_stop(d->mount, true, &err) < 0)
            mgc_log_failure("stop", &err);
        return;
    }
    (void)snprintf(log_path, sizeof(log_path), "%s/mediagcfsd.log", d->conf->catalog.directory);
    mgc_background_ready(&d->background, log_path);
}

static sigset_t stop_signals(void)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    return set;
}

/* A busy mount is detached: whoever sends SIGTERM wants the end, and open files go on until closed.
 */
static void *signal_loop(void *arg)
{
    struct daemon *d = arg;
    const sigset_t set = stop_signals();
    int number;

    for (;;) {
        struct mgc_err err = {0};

        if (sigwait(&set, &number) != 0)
            continue;
        if (atomic_load(&d->ending))
            return NULL;
        if (number == SIGHUP) {
            mgc_log(MGC_LOG_INFO, "a new configuration takes effect with the next start");
            continue;
        }
        if (mgc_mount_stop(d->mount, false, &err) < 0 && mgc_mount_stop(d->mount, true, &err) < 0)
            mgc_log_failure("stop", &err);
    }
}

/* Whatever it was told to stop it has stopped when this returns: only then may that be freed. */
static void end_signal_loop(struct daemon *d)
{
    if (!d->signals_taken)
        return;
    atomic_store(&d->ending, true);
    (void)pthread_kill(d->signal_thread, SIGINT);
    (void)pthread_join(d->signal_thread, NULL);
}

/* What is opened later must not become our standard output: background.c puts something else there.
 */
static void fill_standard_descriptors(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        (void)close(fd);
}

static void prepare_process(void)
{
    struct rlimit files;
    sigset_t set = stop_signals();

    (void)close_range(3, ~0U, 0); /* nothing of the caller stays open */
    fill_standard_descriptors();
    (void)umask(0); /* modes are explicit everywhere (H13) */
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGIO, SIG_IGN); /* a broken lease tells us nothing we wait for */
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files); /* what is granted suffices or EMFILE says so */
    }
}

static int make_tree(struct daemon *d, struct mgc_err *err)
{
    const struct mgc_tree_spec spec = {
        .os = mgc_os_real(),
        .root_fd = d->root_fd,
        .locks = mgc_service_pathlocks(d->service),
        .recorder = mgc_service_recorder(d->service),
        .open_resolution_us = d->conf->catalog.open_resolution_us,
    };

    return mgc_tree_new(&spec, &d->tree, err);
}

static int start_server(struct daemon *d, struct mgc_err *err)
{
    char path[MGC_PATH_BYTES_MAX + 1];
    struct mgc_server_spec spec = {
        .path = path,
        .mode = 0660,
        .gid = -1,
        .handle = mgc_service_handle,
        .gone = mgc_service_gone,
        .arg = d->service,
    };

    (void)snprintf(path, sizeof(path), "%s/control.sock", d->conf->catalog.directory);
    if (geteuid() == 0)
        spec.gid = (int64_t)mgc_service_gid(d->service);
    return mgc_server_start(&spec, &d->server, err);
}

static int build(struct daemon *d, struct mgc_err *err)
{
    struct mgc_service_spec service = {
        .conf = d->conf, .os = mgc_os_real(), .stop = stop_mount, .changed = changed, .arg = d};
    struct mgc_mount_spec mount = {.conf = d->conf, .ready = ready, .arg = d};
    int r = mgc_check_mountpoint(d->conf, err);

    if (r == 0)
        r = mgc_check_source(d->conf, &d->root_fd, err);
    if (r == 0)
        r = mgc_conf_places(d->conf, err);
    service.root_fd = d->root_fd;
    if (r == 0)
        r = mgc_service_open(&service, &d->service, err);
    if (r == 0)
        r = make_tree(d, err);
    if (r == 0)
        r = mgc_service_attach(d->service, d->tree, err);
    mount.tree = d->tree;
    if (r == 0)
        r = mgc_mount_open(&mount, &d->mount, err);
    if (r == 0)
        r = start_server(d, err);
    if (r < 0)
        return r;
    r = -pthread_create(&d->signal_thread, NULL, signal_loop, d);
    d->signals_taken = r == 0;
    return r < 0 ? mgc_err_set(err, r, "could not start a thread") : 0;
}

static int serve(struct daemon *d)
{
    struct mgc_err err = {0};
    int r = build(d, &err), closed;

    if (r == 0)
        r = mgc_mount_run(d->mount, &err);
    if (r < 0)
        mgc_log_failure("mount", &err);
    mgc_service_stop(d->service);
    mgc_server_stop(d->server);
    end_signal_loop(d);
    mgc_mount_close(d->mount);
    mgc_tree_free(d->tree);
    closed = mgc_service_close(d->service, &err);
    if (closed < 0)
        mgc_log_failure("stop", &err);
    if (d->root_fd >= 0)
        (void)close(d->root_fd);
    if (d->failed || (r == 0 && closed < 0))
        return 1;
    return r < 0 ? mgc_code_to_exit(r) : 0;
}

static int usage(void)
{
    (void)fprintf(stderr, "usage: mediagcfsd [-f] [-c FILE] [SOURCE [MOUNTPOINT]]\n"
                          "Started by 'mediagcfs mount'.\n");
    return 2;
}

/* SOURCE and MOUNTPOINT of the command line go before those of the file. */
static int load(const char *file, const char *source, const char *mountpoint,
                struct mgc_conf **ret_conf, struct mgc_err *err)
{
    int r;

    if (file == NULL)
        return mgc_conf_default("mediagcfs", source, mountpoint != NULL ? mountpoint : source,
                                ret_conf, err);
    r = mgc_conf_load(file, ret_conf, err);
    if (r == 0 && source != NULL)
        r = mgc_conf_mount_at(*ret_conf, source, mountpoint != NULL ? mountpoint : source, err);
    return r;
}

int main(int argc, char **argv)
{
    struct daemon d = {.root_fd = -1, .background.ready_fd = -1};
    const char *file = NULL, *places[2] = {NULL, NULL};
    bool foreground = false;
    struct mgc_err err = {0};
    int option, r;

    mgc_log_init("mediagcfsd", MGC_LOG_INFO);
    while ((option = getopt(argc, argv, "fc:h")) != -1) {
        if (option == 'f')
            foreground = true;
        else if (option == 'c')
            file = optarg;
        else
            return usage();
    }
    for (int i = optind; i < argc; i++) {
        if (i - optind == 2)
            return usage();
        places[i - optind] = argv[i];
    }
    if (file == NULL && places[0] == NULL)
        return usage();
    prepare_process();
    if (load(file, places[0], places[1], &d.conf, &err) < 0) {
        mgc_log_failure("configuration", &err);
        return mgc_code_to_exit(err.code);
    }
    mgc_log_init("mediagcfsd", (enum mgc_log_level)d.conf->log.level);
    for (size_t i = 0; i < d.conf->notices.count; i++)
        mgc_log(MGC_LOG_WARNING, "%s", d.conf->notices.items[i]);
    /* Children of the schedule learn it here: no argument of theirs names the file. */
    (void)setenv("MEDIAGCFS_CONFIG", d.conf->file != NULL ? d.conf->file : "", 1);
    if (!foreground)
        mgc_background_start(&d.background);
    r = serve(&d);
    mgc_conf_free(d.conf);
    return r;
}
