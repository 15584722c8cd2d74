/*
 * proc.c -- start, read and end child processes (proc.h).
 *
 * P1  Everything that allocates or looks something up happens before fork(): another thread may
 *     have held a lock of the C library at that moment.
 * P2  The child has the descriptors 0, 1, 2 and, where asked for, 3; nothing else survives exec.
 *     What it needs is moved to FIRST_SPARE or above first, so that nothing is overwritten early.
 * P3  A child that could not be started was never started: the reason comes back through a pipe
 *     that exec closes.
 * P4  A process group ends with its leader, so nothing of ours stays behind (killed while the
 *     leader is a zombie, when its number cannot belong to anybody else yet).
 */
#include "mediagcfs/proc.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/securebits.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "mediagcfs/assert.h"
#include "mediagcfs/bytes.h"
#include "mediagcfs/os.h"
#include "mediagcfs/path.h"

enum {
    FIRST_SPARE = 10,
    FAILURE_FD = 4, /* where the child says why exec did not happen */
    GROUPS_MAX = 1024,
    ACCOUNT_BYTES = 16384,
    ENVIRONMENT_MAX = 65536,
    STEP_MS_MAX = 60 * 1000, /* poll() counts milliseconds in an int */
};
static const char default_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/* All a child needs between fork and exec. */
struct plan {
    char file[MGC_PATH_BYTES_MAX + 1];
    char *const *argv;
    char **environment; /* NULL: ours */
    char home[MGC_PATH_BYTES_MAX + 8], user[280], logname[280];
    gid_t groups[GROUPS_MAX];
    int groups_count;
    uid_t uid;
    gid_t gid;
    bool change_user, keep_stderr;
    int null_fd, out_fd, failure_fd, pass_fd;
};

static bool executable(const char *file)
{
    struct stat s;

    return stat(file, &s) == 0 && S_ISREG(s.st_mode) && access(file, X_OK) == 0;
}

/* As the shell does, but an empty part of PATH is not the current directory. */
static int find_program(const char *name, char *out, size_t out_bytes)
{
    const char *path = getenv("PATH");
    size_t length;
    int need;

    if (name[0] == '\0')
        return -ENOENT;
    if (strchr(name, '/') != NULL) {
        need = snprintf(out, out_bytes, "%s", name);
        return need < 0 || (size_t)need >= out_bytes ? -ENAMETOOLONG : 0;
    }
    for (const char *p = path != NULL ? path : default_path; *p != '\0';
         p += length + (p[length] == ':')) {
        length = strcspn(p, ":");
        need = snprintf(out, out_bytes, "%.*s/%s", (int)length, p, name);
        if (length > 0 && need > 0 && (size_t)need < out_bytes && executable(out))
            return 0;
    }
    return -ENOENT;
}

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Our environment with the three names that say who one is. */
static int build_environment(struct plan *plan)
{
    size_t count = 0, used = 0;

    while (environ != NULL && environ[count] != NULL && count < ENVIRONMENT_MAX)
        count++;
    plan->environment = calloc(count + 4, sizeof(char *));
    if (plan->environment == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        if (!starts_with(environ[i], "HOME=") && !starts_with(environ[i], "USER=") &&
            !starts_with(environ[i], "LOGNAME="))
            plan->environment[used++] = environ[i];
    plan->environment[used++] = plan->home;
    plan->environment[used++] = plan->user;
    plan->environment[used++] = plan->logname;
    return 0;
}

/* A uid without an account has no groups but its own. */
static int plan_user(struct plan *plan, const struct mgc_proc_spec *spec)
{
    char text[ACCOUNT_BYTES];
    struct passwd account, *found = NULL;

    /* Only root may set its groups; who stays the same has nothing to change. */
    plan->change_user = spec->uid != (uid_t)-1 &&
                        (geteuid() == 0 || spec->uid != geteuid() || spec->gid != getegid());
    if (!plan->change_user)
        return 0;
    plan->uid = spec->uid;
    plan->gid = spec->gid;
    plan->groups_count = GROUPS_MAX;
    if (getpwuid_r(spec->uid, &account, text, sizeof(text), &found) == 0 && found != NULL) {
        if (getgrouplist(account.pw_name, spec->gid, plan->groups, &plan->groups_count) < 0)
            return MGC_E_LIMIT;
        (void)snprintf(plan->home, sizeof(plan->home), "HOME=%s", account.pw_dir);
        (void)snprintf(plan->user, sizeof(plan->user), "USER=%s", account.pw_name);
        (void)snprintf(plan->logname, sizeof(plan->logname), "LOGNAME=%s", account.pw_name);
    } else {
        plan->groups[0] = spec->gid;
        plan->groups_count = 1;
        (void)snprintf(plan->home, sizeof(plan->home), "HOME=/");
        (void)snprintf(plan->user, sizeof(plan->user), "USER=%u", (unsigned)spec->uid);
        (void)snprintf(plan->logname, sizeof(plan->logname), "LOGNAME=%u", (unsigned)spec->uid);
    }
    return build_environment(plan);
}

/* By system call: the C library would tell threads that do not exist in the child. */
static int become(const struct plan *plan)
{
    long r = syscall(SYS_setgroups, plan->groups_count, plan->groups);

    if (r == 0)
        r = syscall(SYS_setresgid, plan->gid, plan->gid, plan->gid);
    if (r == 0)
        r = syscall(SYS_setresuid, plan->uid, plan->uid, plan->uid);
    return r == 0 ? 0 : -1;
}

/* The daemon's threads keep their capabilities when they change ids; whoever gives up root does
 * not.
 */
static void reset_securebits(void)
{
    int bits = prctl(PR_GET_SECUREBITS);

    if (bits > 0 && (bits & SECBIT_NO_SETUID_FIXUP) != 0)
        (void)prctl(PR_SET_SECUREBITS, (unsigned long)(bits & ~SECBIT_NO_SETUID_FIXUP));
}

static void reset_signals(void)
{
    struct sigaction plain = {.sa_handler = SIG_DFL};
    sigset_t none;

    for (int number = 1; number < NSIG; number++)
        (void)sigaction(number, &plain, NULL); /* refused for KILL, STOP and two of the library */
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Between fork and exec: system calls only (P1). */
static MGC_NORETURN void child(const struct plan *plan)
{
    int code;
    ssize_t written;

    (void)setpgid(0, 0);
    (void)umask(022);
    reset_securebits();
    reset_signals();
    if (dup2(plan->null_fd, 0) < 0 || dup2(plan->out_fd, 1) < 0)
        goto failed;
    if (!plan->keep_stderr && dup2(plan->null_fd, 2) < 0)
        goto failed;
    if (dup3(plan->failure_fd, FAILURE_FD, O_CLOEXEC) < 0)
        goto failed;
    if (plan->pass_fd >= 0 ? dup2(plan->pass_fd, 3) < 0 : syscall(SYS_close_range, 3U, 3U, 0U) != 0)
        goto failed;
    if (syscall(SYS_close_range, FAILURE_FD + 1U, ~0U, 0U) != 0)
        goto failed_late;
    if (plan->change_user && become(plan) < 0)
        goto failed_late;
    (void)execve(plan->file, plan->argv, plan->environment != NULL ? plan->environment : environ);
failed_late:
    code = errno;
    written = write(FAILURE_FD, &code, sizeof(code));
    (void)written;
    _exit(127);
failed:
    code = errno;
    written = write(plan->failure_fd, &code, sizeof(code));
    (void)written;
    _exit(127);
}

/* A copy out of the way of 0 to 4; takes `fd` unless keep. */
static int lift(int fd, bool keep)
{
    int lifted, saved;

    if (fd < 0)
        return -1;
    lifted = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_SPARE);
    saved = errno;
    if (!keep)
        (void)close(fd);
    errno = saved;
    return lifted;
}

static int fork_with(const struct plan *plan, pid_t *ret_pid)
{
    sigset_t all, before;
    pid_t pid;
    int saved;

    /* No handler of ours may run in the child. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    pid = fork();
    if (pid == 0)
        child(plan);
    saved = errno;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pid < 0)
        return -saved;
    (void)setpgid(pid, pid); /* whichever of the two comes first */
    *ret_pid = pid;
    return 0;
}

/* 0 when exec closed the pipe, else what the child said. */
static int exec_outcome(int fd)
{
    int code = 0;
    ssize_t got;

    do
        got = read(fd, &code, sizeof(code));
    while (got < 0 && errno == EINTR);
    if (got == 0)
        return 0;
    return got == (ssize_t)sizeof(code) && code > 0 ? -code : -EIO;
}

static void reap(pid_t pid)
{
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

/* Starts plan->file; *ret_out is the read end of its output or -1. */
static int launch(struct plan *plan, const struct mgc_proc_spec *spec, pid_t *ret_pid, int *ret_out)
{
    int ends[2], r;
    pid_t pid = -1;

    mgc_autofd null_fd = lift(open("/dev/null", O_RDWR | O_CLOEXEC), false);
    mgc_autofd pass_fd = spec->pass_fd >= 0 ? lift(spec->pass_fd, true) : -1;
    if (null_fd < 0 || (spec->pass_fd >= 0 && pass_fd < 0) || pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    mgc_autofd failure_read = ends[0];
    mgc_autofd failure_write = lift(ends[1], false);
    mgc_autofd out_read = -1, out_write = -1;
    if (failure_write < 0)
        return -errno;
    if (spec->capture) {
        if (pipe2(ends, O_CLOEXEC) < 0)
            return -errno;
        out_read = ends[0];
        out_write = lift(ends[1], false);
        if (out_write < 0 || fcntl(out_read, F_SETFL, O_NONBLOCK) < 0)
            return -errno;
    }
    plan->null_fd = null_fd;
    plan->out_fd = out_write >= 0 ? out_write : null_fd;
    plan->failure_fd = failure_write;
    plan->pass_fd = pass_fd;
    r = fork_with(plan, &pid);
    if (r < 0)
        return r;
    (void)close(mgc_fd_steal(&failure_write));
    r = exec_outcome(failure_read);
    if (r < 0) {
        reap(pid);
        return r;
    }
    *ret_pid = pid;
    *ret_out = mgc_fd_steal(&out_read);
    return 0;
}

int mgc_proc_start(struct mgc_proc *p, const struct mgc_proc_spec *spec, struct mgc_err *err)
{
    mgc_autofree struct plan *plan = calloc(1, sizeof(*plan));
    const char *name = spec->argv[0];
    pid_t pid = -1;
    int out_fd = -1, r;

    MGC_ASSERT(name != NULL);
    if (plan == NULL)
        return mgc_err_set(err, -ENOMEM, "could not start program '%s'", MGC_SHOW(name));
    memcpy(&plan->argv, &spec->argv, sizeof(plan->argv)); /* execve() takes them unchanged */
    plan->keep_stderr = spec->keep_stderr;
    r = find_program(name, plan->file, sizeof(plan->file));
    if (r == 0)
        r = plan_user(plan, spec);
    if (r == 0)
        r = launch(plan, spec, &pid, &out_fd);
    free(plan->environment);
    if (r < 0)
        return mgc_err_set(err, r, "could not start program '%s'", MGC_SHOW(name));
    *p = (struct mgc_proc){.pid = pid, .out_fd = out_fd};
    (void)mgc_escape(p->name, sizeof(p->name), mgc_path_leaf(name), strlen(mgc_path_leaf(name)));
    return 0;
}

/* Waits until fd is readable: 0, MGC_E_TIMEOUT or a negated errno. */
static int await(int fd, int64_t deadline_us)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};

    for (;;) {
        int64_t left_ms = STEP_MS_MAX;
        int r;

        if (deadline_us != 0) {
            left_ms = (deadline_us - mgc_monotonic_us() + 999) / 1000;
            if (left_ms > STEP_MS_MAX)
                left_ms = STEP_MS_MAX;
            if (left_ms < 0)
                left_ms = 0;
        }
        r = poll(&wait, 1, (int)left_ms);
        if (r > 0)
            return 0;
        if (r < 0 && errno != EINTR)
            return -errno;
        if (deadline_us != 0 && mgc_monotonic_us() >= deadline_us)
            return MGC_E_TIMEOUT;
    }
}

ssize_t mgc_proc_read(struct mgc_proc *p, void *out, size_t bytes, int64_t deadline_us,
                      struct mgc_err *err)
{
    MGC_ASSERT(p->out_fd >= 0);
    for (;;) {
        int r = await(p->out_fd, deadline_us);
        ssize_t got;

        if (r < 0)
            return mgc_err_set(err, r, "could not read the output of program '%s'", p->name);
        got = read(p->out_fd, out, bytes);
        if (got >= 0)
            return got;
        if (errno != EAGAIN && errno != EINTR)
            return mgc_err_set(err, -errno, "could not read the output of program '%s'", p->name);
    }
}

/* Waits for the end without reaping, so that the number stays ours. */
static int await_end(struct mgc_proc *p, int64_t deadline_us, siginfo_t *ret_info)
{
    siginfo_t info = {0};

    if (deadline_us != 0) {
        mgc_autofd fd = (int)syscall(SYS_pidfd_open, p->pid, 0U);
        int r = fd < 0 ? -errno : await(fd, deadline_us);

        if (r < 0)
            return r == -ESRCH ? -ECHILD : r;
    }
    while (waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOWAIT) < 0)
        if (errno != EINTR)
            return -errno;
    *ret_info = info;
    return 0;
}

static void forget(struct mgc_proc *p)
{
    if (p->out_fd >= 0)
        (void)close(p->out_fd);
    p->pid = -1;
    p->out_fd = -1;
}

void mgc_proc_kill(struct mgc_proc *p)
{
    if (p->pid > 0) {
        (void)kill(-p->pid, SIGKILL); /* P4 */
        (void)kill(p->pid, SIGKILL);  /* in case it left its group */
        reap(p->pid);
    }
    forget(p);
}

int mgc_proc_wait(struct mgc_proc *p, int64_t deadline_us, struct mgc_err *err)
{
    siginfo_t info = {0};
    int r;

    MGC_ASSERT(p->pid > 0);
    r = await_end(p, deadline_us, &info);
    if (r == -ECHILD)
        forget(p); /* its number may belong to somebody else by now */
    else
        mgc_proc_kill(p);
    if (r == MGC_E_TIMEOUT)
        return mgc_err_say(err, r, "could not finish program '%s': it was stopped at its deadline",
                           p->name);
    if (r < 0) /* also when its status was taken by somebody else: unknown is not success */
        return mgc_err_set(err, r, "could not learn how program '%s' ended", p->name);
    if (info.si_code == CLD_EXITED && info.si_status == 0)
        return 0;
    if (info.si_code == CLD_EXITED)
        return mgc_err_say(err, MGC_E_SOURCE,
                           "could not finish program '%s': it exited with "
                           "status %d",
                           p->name, info.si_status);
    return mgc_err_say(err, MGC_E_SOURCE,
                       "could not finish program '%s': it was ended by signal "
                       "%d (%s)",
                       p->name, info.si_status, strsignal(info.si_status));
}
