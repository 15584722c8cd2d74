/* test_session.c -- mounting, stopping, and what stands in the way. */
#include "mounted.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "mediagcfs/bytes.h"
#include "mediagcfs/mount.h"
#include "mediagcfs/mountinfo.h"

static struct mounted m;

static int setup(void **state)
{
    (void)state;
    mounted_start(&m, &(struct mounted_options){0});
    return 0;
}

static int setup_in_place(void **state)
{
    (void)state;
    mounted_start(&m, &(struct mounted_options){.in_place = true});
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mounted_stop(&m);
    return 0;
}

static void it_is_known_as_ours(void **state)
{
    static char text[65536];
    char want[256];
    FILE *f = fopen("/proc/self/mountinfo", "re");
    const char *line = NULL;

    (void)state;
    assert_int_equal(mgc_mount_look(m.mnt), MGC_SEEN_OURS_ALIVE);
    assert_non_null(f);
    (void)snprintf(want, sizeof(want), " %s ", m.mnt);
    while (line == NULL && fgets(text, sizeof(text), f) != NULL)
        line = strstr(text, want);
    (void)fclose(f);
    assert_non_null(line);
    assert_non_null(strstr(line, "fuse.mediagcfs"));
    assert_non_null(strstr(line, m.source)); /* fsname */
    assert_non_null(strstr(line, "nosuid"));
    assert_non_null(strstr(line, "nodev"));
    assert_non_null(strstr(line, "default_permissions"));
    assert_non_null(strstr(line, "allow_other"));
}

static void in_place_the_plain_directory_comes_back(void **state)
{
    char message[256];

    (void)state;
    put_file(at(m.mnt, "f"), "through");
    assert_true(mounted_saw(&m, "create f"));
    assert_int_equal(access(at(m.mnt, ".mediagcfs"), F_OK), -1);
    assert_int_equal(mounted_unmount(&m, false, message, sizeof(message)), 0);
    assert_int_equal(mounted_wait(&m), 0);
    assert_int_equal(mgc_mount_look(m.mnt), MGC_SEEN_NOTHING);
    assert_string_equal(get_file(at(m.mnt, "f")), "through");
    assert_int_equal(access(at(m.mnt, ".mediagcfs"), F_OK), 0);
}

/* A process that holds `path` in the given way until it is killed. */
static pid_t holder(const char *path, char how)
{
    int ready[2];
    pid_t pid;
    char c;

    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int fd = how == 'd' ? -1 : open(path, O_RDONLY | O_CLOEXEC);

        if (how == 'd' && chdir(path) < 0)
            _exit(1);
        if (how != 'd' && fd < 0)
            _exit(2);
        if (how == 'm') {
            if (mmap(NULL, 1, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED)
                _exit(3);
            (void)close(fd);
        }
        if (write(ready[1], "r", 1) != 1)
            _exit(4);
        for (;;)
            (void)pause();
    }
    (void)close(ready[1]);
    assert_int_equal(read(ready[0], &c, 1), 1);
    (void)close(ready[0]);
    return pid;
}

static void end_holder(pid_t pid)
{
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
}

static void a_busy_mount_names_who(void **state)
{
    static const char ways[] = "fdm";
    char message[MGC_ERR_TEXT_BYTES], want[32];
    struct stat st;

    (void)state;
    put_file(at(m.mnt, "f"), "x");
    assert_int_equal(mkdir(at(m.mnt, "d"), 0755), 0);
    for (const char *how = ways; *how != '\0'; how++) {
        pid_t pid = holder(at(m.mnt, *how == 'd' ? "d" : "f"), *how);
        int r = mounted_unmount(&m, false, message, sizeof(message));

        end_holder(pid);
        assert_int_equal(r, -EBUSY);
        (void)snprintf(want, sizeof(want), "pid %d (", (int)pid);
        assert_non_null(strstr(message, want));
    }
    /* It goes on serving. */
    assert_int_equal(stat(at(m.mnt, "f"), &st), 0);
}

static void at_most_ten_are_named(void **state)
{
    char message[MGC_ERR_TEXT_BYTES];
    pid_t pids[12];
    int named = 0, r;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
        pids[i] = holder(m.mnt, 'd');
    r = mounted_unmount(&m, false, message, sizeof(message));
    for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
        end_holder(pids[i]);
    assert_int_equal(r, -EBUSY);
    for (const char *p = message; (p = strstr(p, "pid ")) != NULL; p++)
        named++;
    assert_int_equal(named, 10);
}

static void lazily_a_busy_one_goes_too(void **state)
{
    char message[MGC_ERR_TEXT_BYTES];
    pid_t pid;

    (void)state;
    put_file(at(m.mnt, "f"), "x");
    pid = holder(m.mnt, 'd');
    assert_int_equal(mounted_unmount(&m, true, message, sizeof(message)), 0);
    assert_int_equal(mgc_mount_look(m.mnt), MGC_SEEN_NOTHING);
    assert_int_equal(mounted_wait(&m), 0);
    end_holder(pid);
}

/* A writer that the kernel did not get to close is recorded at the end. */
static void an_open_writer_is_recorded_at_the_end(void **state)
{
    char message[MGC_ERR_TEXT_BYTES];
    int fd = open(at(m.mnt, "f"), O_WRONLY | O_CREAT, 0644);

    (void)state;
    assert_int_equal(write(fd, "abc", 3), 3);
    assert_int_equal(mounted_unmount(&m, true, message, sizeof(message)), 0);
    assert_int_equal(mounted_wait(&m), 0);
    assert_true(mounted_saw(&m, "write f uid=0 size=3"));
    (void)close(fd);
}

static void somebody_else_unmounts(void **state)
{
    (void)state;
    assert_int_equal(umount2(m.mnt, 0), 0);
    assert_int_equal(mounted_wait(&m), 0);
}

/* What lies over our mount is not taken away instead of it. */
static void a_stranger_over_it_is_left_alone(void **state)
{
    char message[MGC_ERR_TEXT_BYTES];
    int r;

    (void)state;
    assert_int_equal(mount("none", m.mnt, "tmpfs", 0, NULL), 0);
    put_file(at(m.mnt, "stranger"), "x");
    r = mounted_unmount(&m, false, message, sizeof(message));
    assert_int_equal(access(at(m.mnt, "stranger"), F_OK), 0);
    assert_int_equal(umount2(m.mnt, 0), 0);
    assert_int_equal(r, -EBUSY);
    assert_non_null(strstr(message, "something else"));
}

static void killed_it_leaves_a_dead_mount(void **state)
{
    struct stat st;

    (void)state;
    put_file(at(m.mnt, "f"), "x");
    (void)kill(m.server, SIGKILL);
    assert_int_equal(mounted_wait(&m), 128 + SIGKILL);
    assert_int_equal(stat(m.mnt, &st), -1);
    assert_int_equal(errno, ENOTCONN);
    assert_int_equal(mgc_mount_look(m.mnt), MGC_SEEN_OURS_DEAD);
    assert_int_equal(mgc_mount_detach_dead(m.mnt, NULL), 0);
    assert_int_equal(mgc_mount_look(m.mnt), MGC_SEEN_NOTHING);
}

static void no_mount_point_no_mount(void **state)
{
    struct mgc_conf conf = {
        .filesystem = {.source = m.source, .mountpoint = (char *)(uintptr_t)at(m.base, "gone")}};
    struct mgc_tree_spec tree_spec = {
        .os = mgc_os_real(), .root_fd = m.source_fd, .locks = mgc_pathlocks_new()};
    struct mgc_mount_spec spec = {.conf = &conf};
    struct mgc_mount *mount = NULL;
    struct mgc_err err = {0};

    (void)state;
    assert_int_equal(mgc_tree_new(&tree_spec, &spec.tree, &err), 0);
    assert_int_equal(mgc_mount_open(&spec, &mount, &err), -ENOENT);
    assert_non_null(strstr(err.text, "could not use mount point"));
    conf.filesystem.mountpoint = (char *)(uintptr_t)at(m.base, "file");
    put_file(conf.filesystem.mountpoint, "x");
    assert_int_equal(mgc_mount_open(&spec, &mount, &err), -ENOTDIR);
    assert_null(mount);
    mgc_tree_free(spec.tree);
    mgc_pathlocks_free(tree_spec.locks);
}

/* Opened and never run: closing takes the mount away. */
static void opened_and_closed(void **state)
{
    struct mgc_conf conf = {.filesystem = {.source = m.source, .mountpoint = m.plain}};
    struct mgc_tree_spec tree_spec = {
        .os = mgc_os_real(), .root_fd = m.source_fd, .locks = mgc_pathlocks_new()};
    struct mgc_mount_spec spec = {.conf = &conf};
    struct mgc_mount *mount = NULL;
    struct mgc_err err = {0};

    (void)state;
    assert_int_equal(mgc_tree_new(&tree_spec, &spec.tree, &err), 0);
    assert_int_equal(mgc_mount_open(&spec, &mount, &err), 0);
    mgc_mount_close(mount);
    assert_int_equal(mgc_mount_look(m.plain), MGC_SEEN_NOTHING);
    mgc_mount_close(NULL);
    mgc_tree_free(spec.tree);
    mgc_pathlocks_free(tree_spec.locks);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(it_is_known_as_ours),
        cmocka_unit_test_setup_teardown(in_place_the_plain_directory_comes_back, setup_in_place,
                                        teardown),
        CASE(a_busy_mount_names_who),
        CASE(at_most_ten_are_named),
        CASE(lazily_a_busy_one_goes_too),
        cmocka_unit_test_setup_teardown(lazily_a_busy_one_goes_too, setup_in_place, teardown),
        CASE(an_open_writer_is_recorded_at_the_end),
        CASE(somebody_else_unmounts),
        CASE(a_stranger_over_it_is_left_alone),
        CASE(killed_it_leaves_a_dead_mount),
        CASE(no_mount_point_no_mount),
        CASE(opened_and_closed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
