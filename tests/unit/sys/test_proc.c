/* test_proc.c -- children start clean, end in time, and leave nothing behind. */
#include "scratch.h"

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "mediagcfs/bytes.h"
#include "mediagcfs/os.h"
#include "mediagcfs/proc.h"

#define SECOND INT64_C(1000000)
#define SOON (mgc_monotonic_us() + 20 * SECOND)

static struct mgc_proc_spec spec_of(const char *const *argv)
{
    return (struct mgc_proc_spec){
        .argv = argv, .uid = (uid_t)-1, .gid = (gid_t)-1, .capture = true, .pass_fd = -1};
}

/* Runs a shell line; returns what mgc_proc_wait() said. */
static int run_spec(struct mgc_proc_spec spec, char *out, size_t out_bytes, struct mgc_err *err)
{
    struct mgc_proc p;
    size_t used = 0;
    ssize_t got;

    assert_int_equal(mgc_proc_start(&p, &spec, err), 0);
    assert_true(p.pid > 0);
    while (spec.capture &&
           (got = mgc_proc_read(&p, out + used, out_bytes - 1 - used, SOON, err)) > 0)
        used += (size_t)got;
    out[used] = '\0';
    int r = mgc_proc_wait(&p, SOON, err);
    assert_int_equal(p.pid, -1);
    assert_int_equal(p.out_fd, -1);
    return r;
}

static int run(const char *line, char *out, size_t out_bytes, struct mgc_err *err)
{
    const char *const argv[] = {"sh", "-c", line, NULL};

    return run_spec(spec_of(argv), out, out_bytes, err);
}

static void output_and_success(void **state)
{
    struct mgc_err err = {0};
    char out[64];

    (void)state;
    assert_int_equal(run("printf 'a\\nb'; cat", out, sizeof(out), &err), 0); /* stdin is empty */
    assert_string_equal(out, "a\nb");
    assert_int_equal(err.code, 0);
}

static void failure_is_named(void **state)
{
    struct mgc_err err = {0};
    char out[64];

    (void)state;
    assert_int_equal(run("exit 3", out, sizeof(out), &err), MGC_E_SOURCE);
    assert_string_equal(err.text, "could not finish program 'sh': it exited with status 3");
    assert_int_equal(run("echo part; kill -9 $$", out, sizeof(out), &err), MGC_E_SOURCE);
    assert_string_equal(out, "part\n");
    assert_string_equal(err.text,
                        "could not finish program 'sh': it was ended by signal 9 (Killed)");
}

static void what_cannot_start_was_not_started(void **state)
{
    const char *const missing[] = {"mgc-no-such-program", NULL}, *const empty[] = {"", NULL};
    const char *const directory[] = {"/tmp", NULL};
    struct mgc_proc_spec spec = spec_of(missing);
    struct mgc_proc p = {.pid = 77, .out_fd = 78};
    struct mgc_err err = {0};

    (void)state;
    assert_int_equal(mgc_proc_start(&p, &spec, &err), -ENOENT);
    assert_non_null(strstr(err.text, "could not start program 'mgc-no-such-program': "));
    spec.argv = empty;
    assert_int_equal(mgc_proc_start(&p, &spec, &err), -ENOENT);
    spec.argv = directory;
    assert_int_equal(mgc_proc_start(&p, &spec, &err), -EACCES);
    assert_int_equal(p.pid, 77);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* not even a zombie */
    assert_int_equal(errno, ECHILD);
}

static void a_script_is_found_in_path_but_not_here(void **state)
{
    const char *const argv[] = {"mgc-here", NULL};
    struct mgc_proc_spec spec = spec_of(argv);
    char *path = strdup(getenv("PATH")), out[16];
    struct mgc_err err = {0};
    struct mgc_proc p;

    (void)state;
    scratch_write("mgc-here", "#!/bin/sh\necho found\n");
    assert_int_equal(fchmodat(scratch_fd, "mgc-here", 0755, 0), 0);
    assert_int_equal(chdir(scratch), 0);
    assert_int_equal(setenv("PATH", "::/bin:", 1), 0);
    assert_int_equal(mgc_proc_start(&p, &spec, &err), -ENOENT);
    assert_int_equal(setenv("PATH", scratch, 1), 0);
    assert_int_equal(run_spec(spec, out, sizeof(out), &err), 0);
    assert_string_equal(out, "found\n");
    assert_int_equal(setenv("PATH", path, 1), 0);
    assert_int_equal(chdir("/"), 0);
    free(path);
}

static void a_deadline_ends_the_whole_group(void **state)
{
    const char *const argv[] = {"sh", "-c", "sleep 1000 & echo $!; sleep 1000", NULL};
    struct mgc_proc_spec spec = spec_of(argv);
    struct mgc_err err = {0};
    struct mgc_proc p;
    char out[32] = "";
    int64_t begin;
    pid_t grandchild;
    int tries = 0;

    (void)state;
    assert_int_equal(mgc_proc_start(&p, &spec, &err), 0);
    assert_true(mgc_proc_read(&p, out, sizeof(out) - 1, SOON, &err) > 0);
    grandchild = (pid_t)strtol(out, NULL, 10);
    assert_true(grandchild > 1);
    begin = mgc_monotonic_us();
    assert_int_equal(mgc_proc_read(&p, out, sizeof(out), begin + SECOND / 20, &err), MGC_E_TIMEOUT);
    assert_int_equal(mgc_proc_wait(&p, begin + SECOND / 10, &err), MGC_E_TIMEOUT);
    assert_true(mgc_monotonic_us() - begin < 10 * SECOND);
    assert_string_equal(err.text, "could not finish program 'sh': it was stopped at its deadline");
    assert_int_equal(p.pid, -1);
    /* Its new parent reaps it; until then it is a zombie that can be signalled. */
    while (kill(grandchild, 0) == 0 && tries++ < 2000) {
        char name[64], line[256] = "";
        (void)snprintf(name, sizeof(name), "/proc/%d/stat", (int)grandchild);
        FILE *f = fopen(name, "r");
        bool zombie =
            f == NULL || fgets(line, sizeof(line), f) == NULL || strstr(line, ") Z") != NULL;
        if (f != NULL)
            (void)fclose(f);
        if (zombie)
            break;
        (void)usleep(1000);
    }
    assert_in_range(tries, 0, 1999);
}

static void what_a_child_leaves_behind_is_ended(void **state)
{
    struct mgc_err err = {0};
    int64_t begin = mgc_monotonic_us();
    char out[32];

    (void)state;
    /* The one in the background has let go of the output, so nothing here waits for it. */
    assert_int_equal(run("sleep 1000 >/dev/null & echo $!", out, sizeof(out), &err), 0);
    assert_true(mgc_monotonic_us() - begin < 10 * SECOND);
    for (int tries = 0; kill((pid_t)strtol(out, NULL, 10), 0) == 0 && tries < 100; tries++) {
        int status;
        (void)waitpid((pid_t)strtol(out, NULL, 10), &status, WNOHANG);
        (void)usleep(1000);
    }
    char name[64], line[256] = ") Z";
    (void)snprintf(name, sizeof(name), "/proc/%ld/stat", strtol(out, NULL, 10));
    FILE *f = fopen(name, "r");
    if (f != NULL) {
        assert_non_null(fgets(line, sizeof(line), f));
        (void)fclose(f);
    }
    assert_non_null(strstr(line, ") Z"));
}

static void kill_takes_anything(void **state)
{
    const char *const argv[] = {"sleep", "1000", NULL};
    struct mgc_proc_spec spec = spec_of(argv);
    struct mgc_proc p = {.pid = -1, .out_fd = -1};
    struct mgc_err err = {0};
    pid_t pid;

    (void)state;
    mgc_proc_kill(&p);
    assert_int_equal(mgc_proc_start(&p, &spec, &err), 0);
    pid = p.pid;
    mgc_proc_kill(&p);
    assert_int_equal(p.pid, -1);
    assert_int_equal(kill(pid, 0), -1);
    mgc_proc_kill(&p);
}

static void nothing_is_inherited(void **state)
{
    const char *const argv[] = {
        "sh", "-c", "ls /proc/$$/fd; umask; ps -o pgid= -p $$ | grep -q \"^ *$$\\$\" && echo own",
        NULL};
    struct mgc_proc_spec spec = spec_of(argv);
    struct mgc_err err = {0};
    char out[128];
    int leak = open("/dev/null", O_RDONLY); /* without close-on-exec */
    mode_t before = umask(0);

    (void)state;
    assert_true(leak >= 0);
    assert_int_equal(run_spec(spec, out, sizeof(out), &err), 0);
    assert_string_equal(out, "0\n1\n2\n0022\nown\n");

    /* Whatever number it has here, it is 3 there. */
    spec.pass_fd = leak;
    assert_int_equal(run_spec(spec, out, sizeof(out), &err), 0);
    assert_string_equal(out, "0\n1\n2\n3\n0022\nown\n");
    for (int want = 3; want <= 5; want++) {
        int fd = dup2(leak, want);

        assert_int_equal(fd, want);
        spec.pass_fd = fd;
        assert_int_equal(run_spec(spec, out, sizeof(out), &err), 0);
        assert_string_equal(out, "0\n1\n2\n3\n0022\nown\n");
        if (fd != leak)
            (void)close(fd);
    }
    (void)umask(before);
    (void)close(leak);
}

static void a_passed_descriptor_is_the_one(void **state)
{
    const char *const argv[] = {"sh", "-c", "cat <&3", NULL};
    struct mgc_proc_spec spec = spec_of(argv);
    struct mgc_err err = {0};
    char out[32];

    (void)state;
    scratch_write("in", "through three");
    mgc_autofd fd = openat(scratch_fd, "in", O_RDONLY | O_CLOEXEC);
    spec.pass_fd = fd;
    assert_int_equal(run_spec(spec, out, sizeof(out), &err), 0);
    assert_string_equal(out, "through three");
}

/* A daemon that blocks and ignores signals must not make its children deaf. */
static void signals_are_reset(void **state)
{
    struct mgc_err err = {0};
    sigset_t all, before;
    char out[64];
    int r;

    (void)state;
    (void)signal(SIGTERM, SIG_IGN);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    r = run("grep -E 'Sig(Blk|Ign)' /proc/self/status; kill -TERM $$; echo deaf", out, sizeof(out),
            &err);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)signal(SIGTERM, SIG_DFL);
    (void)signal(SIGPIPE, SIG_DFL);
    assert_int_equal(r, MGC_E_SOURCE);
    assert_string_equal(out, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    assert_non_null(strstr(err.text, "signal 15"));
}

static void another_user_is_another_user(void **state)
{
    const char *const argv[] = {
        "sh", "-c",
        "id -u; id -g; id -G; echo $HOME $USER $LOGNAME; tr '\\0' '\\n' </proc/$$/environ | grep "
        "-c ^HOME=; grep -h CapEff /proc/self/status",
        NULL};
    struct mgc_proc_spec spec = spec_of(argv);
    struct mgc_err err = {0};
    const gid_t ours[] = {4, 27};
    gid_t before[64];
    int before_count = getgroups(64, before);
    char out[256];

    (void)state;
    assert_true(before_count >= 0);
    assert_int_equal(setgroups(2, ours), 0); /* none of which may be left */
    assert_int_equal(setenv("HOME", "/root", 1), 0);
    spec.uid = 33; /* www-data on every Debian */
    spec.gid = 33;
    assert_int_equal(run_spec(spec, out, sizeof(out), &err), 0);
    assert_string_equal(out,
                        "33\n33\n33\n/var/www www-data www-data\n1\nCapEff:\t0000000000000000\n");

    spec.uid = 987654; /* an owner without an account */
    spec.gid = 987653;
    assert_int_equal(run_spec(spec, out, sizeof(out), &err), 0);
    assert_string_equal(out,
                        "987654\n987653\n987653\n/ 987654 987654\n1\nCapEff:\t0000000000000000\n");
    assert_int_equal(setgroups((size_t)before_count, before), 0);
}

/* Where the status is taken by somebody else, success cannot be claimed. */
static void an_unknown_end_is_no_success(void **state)
{
    struct mgc_err err = {0};
    char out[16];

    (void)state;
    (void)signal(SIGCHLD, SIG_IGN);
    assert_int_equal(run("true", out, sizeof(out), &err), -ECHILD);
    (void)signal(SIGCHLD, SIG_DFL);
}

static void without_capture_there_is_no_output(void **state)
{
    const char *const argv[] = {"sh", "-c", "readlink /proc/$$/fd/1; echo x >&2; test -c /dev/fd/1",
                                NULL};
    struct mgc_proc_spec spec = spec_of(argv);
    struct mgc_err err = {0};
    struct mgc_proc p;

    (void)state;
    spec.capture = false;
    assert_int_equal(mgc_proc_start(&p, &spec, &err), 0);
    assert_int_equal(p.out_fd, -1);
    assert_int_equal(mgc_proc_wait(&p, 0, &err), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_begin, scratch_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(output_and_success),
        TEST(failure_is_named),
        TEST(what_cannot_start_was_not_started),
        TEST(a_script_is_found_in_path_but_not_here),
        TEST(a_deadline_ends_the_whole_group),
        TEST(what_a_child_leaves_behind_is_ended),
        TEST(kill_takes_anything),
        TEST(nothing_is_inherited),
        TEST(a_passed_descriptor_is_the_one),
        TEST(signals_are_reset),
        TEST(another_user_is_another_user),
        TEST(an_unknown_end_is_no_success),
        TEST(without_capture_there_is_no_output),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
