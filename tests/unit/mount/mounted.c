/* mounted.c -- see mounted.h. */
#include "mounted.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "mediagcfs/mount.h"
#include "mediagcfs/path.h"

struct mounted_log {
    _Atomic size_t bytes;
    char text[MOUNTED_LOG_BYTES];
};

struct command {
    char what; /* h: hold and move, m: mark, r: release, c: changed, u: unmount */
    bool flag;
    char path[128], to[128];
};
struct answer {
    int code;
    char message[MGC_ERR_TEXT_BYTES];
};

/* ---- the server ---- */

static struct {
    struct mounted_log *log;
    pthread_mutex_t log_lock;
    pthread_mutex_t command_lock; /* held while a command is carried out and answered */
    struct mgc_tree *tree;
    struct mgc_mount *mount;
    int root_fd, commands, answers;
} server = {.log_lock = PTHREAD_MUTEX_INITIALIZER, .command_lock = PTHREAD_MUTEX_INITIALIZER};

static void record(void *arg, const struct mgc_change *c)
{
    static const char *const names[] = {"create", "link",  "write",  "stat",     "mkdir",
                                        "unlink", "rmdir", "rename", "exchange", "open"};
    struct mounted_log *log = arg;
    size_t used;
    int n;

    (void)pthread_mutex_lock(&server.log_lock);
    used = log->bytes;
    n = snprintf(log->text + used, sizeof(log->text) - used, "%s %s%s%s uid=%d size=%lld%s%s\n",
                 names[c->kind], c->path, c->path2 != NULL ? " -> " : "",
                 c->path2 != NULL ? c->path2 : "", (int)c->uid, (long long)c->stat.size_bytes,
                 c->directory ? " dir" : "", c->directory2 ? " dir2" : "");
    if (n > 0 && used + (size_t)n < sizeof(log->text))
        log->bytes = used + (size_t)n;
    (void)pthread_mutex_unlock(&server.log_lock);
}

static void say_ready(void *arg)
{
    struct answer a = {.code = 0};
    ssize_t n = write(server.answers, &a, sizeof(a));

    (void)arg;
    if (n != (ssize_t)sizeof(a))
        _exit(3);
}

static int hold(const struct command *c, bool move)
{
    struct mgc_os *os = mgc_os_real();
    struct mgc_file_stat dir, file;
    struct mgc_pathlock lock;
    const char *leaf;
    int r, parent = mgc_open_parent(os, server.root_fd, c->path, &leaf, NULL);

    if (parent < 0)
        return parent;
    r = os->stat(os, parent, "", &dir);
    if (r == 0)
        r = os->stat(os, parent, leaf, &file);
    if (r == 0) {
        lock = mgc_pathlock_take(mgc_tree_pathlocks(server.tree), dir.dev, dir.id.ino, leaf,
                                 MGC_PATHLOCK_EXCLUSIVE);
        if (c->what == 'r')
            mgc_tree_release(server.tree, &file);
        else
            r = mgc_tree_hold(server.tree, &file);
        if (r == 0 && move && renameat(parent, leaf, server.root_fd, c->to) < 0)
            r = -errno;
        mgc_pathlock_drop(&lock);
    }
    (void)close(parent);
    return r;
}

static int changed(const struct command *c)
{
    struct mgc_os *os = mgc_os_real();
    struct mgc_file_stat dir;
    int fd = os->open_dir(os, server.root_fd, c->path), r;

    if (fd < 0)
        return fd;
    r = os->stat(os, fd, "", &dir);
    if (r == 0)
        mgc_mount_changed(server.mount, &dir, c->to, c->flag);
    (void)close(fd);
    return r;
}

static void *obey(void *arg)
{
    struct command c;

    (void)arg;
    while (read(server.commands, &c, sizeof(c)) == (ssize_t)sizeof(c)) {
        struct answer a = {.code = 0};
        struct mgc_err err = {0};

        (void)pthread_mutex_lock(&server.command_lock);
        if (c.what == 'u')
            a.code = mgc_mount_stop(server.mount, c.flag, &err);
        else if (c.what == 'c')
            a.code = changed(&c);
        else
            a.code = hold(&c, c.what == 'h');
        (void)snprintf(a.message, sizeof(a.message), "%s", err.text);
        if (write(server.answers, &a, sizeof(a)) != (ssize_t)sizeof(a))
            _exit(3);
        (void)pthread_mutex_unlock(&server.command_lock);
    }
    return NULL;
}

static int serve(struct mounted *m, const struct mounted_options *options)
{
    struct mgc_conf conf = {
        .filesystem = {.source = m->source,
                       .mountpoint = m->mnt,
                       .allow_other = true,
                       .passthrough = options->no_passthrough ? MGC_SWITCH_OFF : MGC_SWITCH_AUTO,
                       .cache_for_us = options->cache_for_us}};
    struct mgc_tree_spec tree_spec = {.os = mgc_os_real(),
                                      .root_fd = m->source_fd,
                                      .locks = mgc_pathlocks_new(),
                                      .record = record,
                                      .arg = m->log,
                                      .open_resolution_us = options->open_resolution_us};
    struct mgc_mount_spec spec = {.conf = &conf, .ready = say_ready};
    struct mgc_err err = {0};
    pthread_t thread;
    int r;

    server.root_fd = m->source_fd;
    server.log = m->log;
    r = mgc_tree_new(&tree_spec, &server.tree, &err);
    spec.tree = server.tree;
    if (r == 0)
        r = mgc_mount_open(&spec, &server.mount, &err);
    if (r == 0 && pthread_create(&thread, NULL, obey, NULL) != 0)
        return 4;
    if (r == 0)
        (void)pthread_detach(thread); /* it ends with the process, or when the test closes */
    if (r == 0)
        r = mgc_mount_run(server.mount, &err);
    if (r < 0) {
        (void)fprintf(stderr, "server: %s\n", err.text);
        return 5;
    }
    /* A stop asked for by command may still be on its way out. */
    (void)pthread_mutex_lock(&server.command_lock);
    mgc_mount_close(server.mount);
    mgc_tree_free(server.tree);
    mgc_pathlocks_free(tree_spec.locks);
    return 0;
}

/* ---- the janitor ---- */

static void clean(const struct mounted *m, int pipe_fd)
{
    char c;

    (void)setsid();
    while (read(pipe_fd, &c, 1) > 0)
        ;
    (void)kill(m->server, SIGKILL);
    while (umount2(m->mnt, MNT_DETACH) == 0)
        ;
    _exit(0);
}

/* By rm, which walks by descriptor: a test makes paths longer than a path can be. */
static void remove_tree(const char *path)
{
    pid_t pid = fork();

    if (pid == 0) {
        (void)execlp("rm", "rm", "-rf", "--one-file-system", path, (char *)NULL);
        _exit(127);
    }
    (void)waitpid(pid, NULL, 0);
}

/* ---- start and stop ---- */

static void lay_out(struct mounted *m, const struct mounted_options *options)
{
    (void)snprintf(m->base, sizeof(m->base), "/dev/shm/mgc-test-XXXXXX");
    assert_non_null(mkdtemp(m->base));
    assert_int_equal(chmod(m->base, 0755), 0);
    (void)snprintf(m->source, sizeof(m->source), "%s/source", m->base);
    (void)snprintf(m->plain, sizeof(m->plain), "%s/plain", m->base);
    (void)snprintf(m->mnt, sizeof(m->mnt), "%s/%s", m->base, options->in_place ? "source" : "mnt");
    assert_int_equal(mkdir(m->source, 0777), 0);
    assert_int_equal(mkdir(m->plain, 0777), 0);
    assert_int_equal(chmod(m->source, 0777), 0);
    assert_int_equal(chmod(m->plain, 0777), 0);
    if (!options->in_place)
        assert_int_equal(mkdir(m->mnt, 0755), 0);
    m->source_fd = open(m->source, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(m->source_fd >= 0);
    assert_int_equal(mkdirat(m->source_fd, MGC_PRIVATE_DIR, 0700), 0);
    m->log = mmap(NULL, sizeof(*m->log), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(m->log != MAP_FAILED);
}

static bool read_answer(struct mounted *m, struct answer *ret)
{
    enum { PATIENCE_MS = 20000 };
    struct pollfd p = {.fd = m->answers, .events = POLLIN};

    return poll(&p, 1, PATIENCE_MS) == 1 &&
           read(m->answers, ret, sizeof(*ret)) == (ssize_t)sizeof(*ret);
}

static void spawn(struct mounted *m, const struct mounted_options *options)
{
    int commands[2], answers[2], guard[2];

    assert_int_equal(pipe2(commands, O_CLOEXEC), 0);
    assert_int_equal(pipe2(answers, O_CLOEXEC), 0);
    assert_int_equal(pipe2(guard, O_CLOEXEC), 0);
    (void)fflush(NULL);
    m->server = fork();
    assert_true(m->server >= 0);
    if (m->server == 0) {
        (void)close(guard[1]);
        (void)close(commands[1]);
        (void)close(answers[0]);
        m->answers = server.answers = answers[1];
        server.commands = commands[0];
        exit(serve(m, options));
    }
    m->janitor = fork();
    assert_true(m->janitor >= 0);
    if (m->janitor == 0) {
        (void)close(guard[1]);
        (void)close(commands[1]);
        clean(m, guard[0]);
    }
    (void)close(commands[0]);
    (void)close(answers[1]);
    (void)close(guard[0]);
    m->commands = commands[1];
    m->answers = answers[0];
    m->janitor_pipe = guard[1];
}

void mounted_start(struct mounted *m, const struct mounted_options *options)
{
    enum { TEST_SECONDS_MAX = 120, DAY_S = 86400 };
    struct mounted_options o = *options;
    struct answer ready;

    if (o.cache_for_us == 0)
        o.cache_for_us = DAY_S * INT64_C(1000000);
    (void)alarm(TEST_SECONDS_MAX); /* a hang ends the test; the janitor does the rest */
    (void)signal(SIGPIPE, SIG_IGN);
    *m = (struct mounted){.server = -1};
    lay_out(m, &o);
    spawn(m, &o);
    if (!read_answer(m, &ready))
        fail_msg("the mount does not answer");
}

int mounted_wait(struct mounted *m)
{
    int status = -1;

    for (int i = 0; i < 1000 && m->server > 0; i++) {
        if (waitpid(m->server, &status, WNOHANG) == m->server) {
            m->server = -1;
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        }
        (void)usleep(10000);
    }
    return -1;
}

void mounted_stop(struct mounted *m)
{
    char message[MGC_ERR_TEXT_BYTES] = "";
    int r = 0, status = 0;

    if (m->server > 0) {
        r = mounted_unmount(m, false, message, sizeof(message));
        (void)close(m->commands);
        if (r == 0)
            status = mounted_wait(m);
    } else {
        (void)close(m->commands);
    }
    (void)close(m->janitor_pipe);
    (void)waitpid(m->janitor, NULL, 0);
    if (m->server > 0)
        (void)waitpid(m->server, NULL, 0);
    (void)close(m->answers);
    (void)close(m->source_fd);
    (void)munmap(m->log, sizeof(*m->log));
    remove_tree(m->base);
    (void)alarm(0);
    if (r != 0)
        fail_msg("unmount: %d %s", r, message);
    assert_int_equal(status, 0);
}

/* ---- commands ---- */

static int command(struct mounted *m, const struct command *c, char *message, size_t bytes)
{
    struct answer a;

    if (write(m->commands, c, sizeof(*c)) != (ssize_t)sizeof(*c) || !read_answer(m, &a))
        return -EPIPE;
    if (message != NULL)
        (void)snprintf(message, bytes, "%s", a.message);
    return a.code;
}

static int simple(struct mounted *m, char what, const char *path, const char *to, bool flag)
{
    struct command c = {.what = what, .flag = flag};

    (void)snprintf(c.path, sizeof(c.path), "%s", path);
    (void)snprintf(c.to, sizeof(c.to), "%s", to);
    return command(m, &c, NULL, 0);
}

int mounted_hold(struct mounted *m, const char *path, const char *to)
{
    return simple(m, 'h', path, to, false);
}

int mounted_mark(struct mounted *m, const char *path)
{
    return simple(m, 'm', path, "", false);
}

int mounted_release(struct mounted *m, const char *path)
{
    return simple(m, 'r', path, "", false);
}

int mounted_changed(struct mounted *m, const char *dir, const char *name, bool gone)
{
    return simple(m, 'c', dir, name, gone);
}

int mounted_unmount(struct mounted *m, bool lazy, char *message, size_t message_bytes)
{
    struct command c = {.what = 'u', .flag = lazy};

    return command(m, &c, message, message_bytes);
}

/* ---- what was recorded ---- */

const char *mounted_recorded(struct mounted *m)
{
    return m->log->text;
}

int mounted_count(struct mounted *m, const char *text)
{
    size_t bytes = strlen(text);
    const char *end;
    int count = 0;

    /* The server may be in the middle of a line: only whole ones count. */
    for (const char *line = m->log->text; (end = strchr(line, '\n')) != NULL; line = end + 1)
        if (strncmp(line, text, bytes) == 0)
            count++;
    return count;
}

bool mounted_saw(struct mounted *m, const char *text)
{
    for (int i = 0; i < 400; i++) {
        if (mounted_count(m, text) > 0)
            return true;
        (void)usleep(5000);
    }
    return false;
}

/* ---- users and files ---- */

int as_user(uid_t uid, gid_t gid, gid_t group, int (*fn)(void *arg), void *arg)
{
    int status;
    pid_t pid;

    (void)fflush(NULL);
    pid = fork();
    if (pid == 0) {
        if (setgroups(group != 0 ? 1 : 0, &group) < 0 || setresgid(gid, gid, gid) < 0 ||
            setresuid(uid, uid, uid) < 0)
            _exit(250);
        _exit(fn(arg));
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
        return -1;
    return WEXITSTATUS(status);
}

const char *at(const char *dir, const char *name)
{
    static char ring[8][512];
    static int next;
    char *out = ring[next++ % 8];

    (void)snprintf(out, sizeof(ring[0]), "%s/%s", dir, name);
    return out;
}

void put_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(close(fd), 0);
}

const char *get_file(const char *path)
{
    static char text[8192];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return NULL;
    n = read(fd, text, sizeof(text) - 1);
    (void)close(fd);
    if (n < 0)
        return NULL;
    text[n] = '\0';
    return text;
}
