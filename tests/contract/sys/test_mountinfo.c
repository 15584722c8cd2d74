/*
 * test_mountinfo.c -- a mount of ours, alive and dead, as the kernel shows it.
 *
 * A FUSE server of a few lines stands in for the daemon, so that it can die at will.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "mediagcfs/mountinfo.h"

static char point[64];
static pid_t server = -1;

static int begin(void **state)
{
    (void)state;
    (void)snprintf(point, sizeof(point), "/dev/shm/mgc-mount-XXXXXX");
    return mkdtemp(point) == NULL ? -1 : 0;
}

static void stop_server(void)
{
    if (server > 0) {
        (void)kill(server, SIGKILL);
        (void)waitpid(server, NULL, 0);
    }
    server = -1;
}

static int end(void **state)
{
    (void)state;
    stop_server();
    while (umount2(point, MNT_DETACH) == 0)
        ;
    return rmdir(point);
}

static void reply(int fd, uint64_t unique, int error, const void *body, size_t bytes)
{
    char out[512];
    const struct fuse_out_header head = {
        .len = (uint32_t)(sizeof(head) + bytes), .error = error, .unique = unique};
    ssize_t written;

    memcpy(out, &head, sizeof(head));
    if (bytes > 0)
        memcpy(out + sizeof(head), body, bytes);
    written = write(fd, out, sizeof(head) + bytes);
    (void)written;
}

/* Answers what a stat of the root asks, good for a day in the kernel's memory. */
static void serve(int fd)
{
    static char in[1 << 20];
    struct fuse_in_header head;

    while (read(fd, in, sizeof(in)) >= (ssize_t)sizeof(head)) {
        memcpy(&head, in, sizeof(head));
        if (head.opcode == FUSE_INIT) {
            const struct fuse_init_out init = {.major = FUSE_KERNEL_VERSION,
                                               .minor = FUSE_KERNEL_MINOR_VERSION,
                                               .max_write = 4096,
                                               .max_background = 4,
                                               .congestion_threshold = 3};
            reply(fd, head.unique, 0, &init, sizeof(init));
        } else if (head.opcode == FUSE_GETATTR) {
            const struct fuse_attr_out attr = {
                .attr_valid = 86400, .attr = {.ino = 1, .mode = S_IFDIR | 0755, .nlink = 2}};
            reply(fd, head.unique, 0, &attr, sizeof(attr));
        } else if (head.opcode != FUSE_FORGET && head.opcode != FUSE_BATCH_FORGET)
            reply(fd, head.unique, -ENOSYS, NULL, 0);
    }
}

static void mount_as(const char *type)
{
    char options[128];
    int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

    assert_true(fd >= 0);
    (void)snprintf(options, sizeof(options),
                   "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fd);
    assert_int_equal(mount("mediagcfs", point, type, MS_NOSUID | MS_NODEV, options), 0);
    server = fork();
    assert_true(server >= 0);
    if (server == 0) {
        serve(fd);
        _exit(0);
    }
    (void)close(fd);
}

static void alive_then_dead_then_gone(void **state)
{
    struct mgc_err err = {0};
    struct stat s;
    char type[64];

    (void)state;
    mount_as("fuse." MGC_MOUNT_SUBTYPE);
    assert_int_equal(mgc_mount_look(point), MGC_SEEN_OURS_ALIVE);
    assert_int_equal(mgc_mount_fstype(point, type, sizeof(type)), 0);
    assert_string_equal(type, "fuse.mediagcfs");
    assert_int_equal(mgc_mount_detach_dead(point, &err), 0); /* not that one */
    assert_int_equal(mgc_mount_look(point), MGC_SEEN_OURS_ALIVE);

    stop_server();
    assert_int_equal(stat(point, &s), 0); /* the kernel still remembers: that is no life */
    assert_int_equal(mgc_mount_look(point), MGC_SEEN_OURS_DEAD);
    assert_int_equal(mgc_mount_fstype(point, type, sizeof(type)), 0);
    assert_int_equal(mgc_mount_detach_dead(point, &err), 0);
    assert_int_equal(err.code, 0);
    assert_int_equal(mgc_mount_look(point), MGC_SEEN_NOTHING);
}

static void dead_ones_on_each_other_all_go(void **state)
{
    struct mgc_err err = {0};

    (void)state;
    for (int i = 0; i < 3; i++) {
        mount_as("fuse." MGC_MOUNT_SUBTYPE);
        stop_server();
    }
    assert_int_equal(mgc_mount_look(point), MGC_SEEN_OURS_DEAD);
    assert_int_equal(mgc_mount_detach_dead(point, &err), 0);
    assert_int_equal(mgc_mount_look(point), MGC_SEEN_NOTHING);
}

static void others_stay_dead_or_alive(void **state)
{
    struct mgc_err err = {0};

    (void)state;
    mount_as("fuse.sshfs");
    assert_int_equal(mgc_mount_look(point), MGC_SEEN_OTHER);
    stop_server();
    assert_int_equal(mgc_mount_look(point), MGC_SEEN_OTHER);
    assert_int_equal(mgc_mount_detach_dead(point, &err), 0);
    assert_int_equal(mgc_mount_look(point), MGC_SEEN_OTHER);
}

static void only_the_topmost_counts(void **state)
{
    struct mgc_err err = {0};

    (void)state;
    mount_as("fuse." MGC_MOUNT_SUBTYPE);
    stop_server();
    assert_int_equal(mount("none", point, "tmpfs", 0, "size=4k"), 0);
    assert_int_equal(mgc_mount_look(point), MGC_SEEN_OTHER);
    assert_int_equal(mgc_mount_detach_dead(point, &err), 0);
    assert_int_equal(mgc_mount_look(point), MGC_SEEN_OTHER);
    assert_int_equal(umount2(point, 0), 0);
    assert_int_equal(mgc_mount_look(point), MGC_SEEN_OURS_DEAD);
}

static void a_name_with_a_space_is_found(void **state)
{
    char plain[64], spaced[80];

    (void)state;
    memcpy(plain, point, sizeof(plain));
    (void)snprintf(spaced, sizeof(spaced), "%s a", plain);
    assert_in_range(strlen(spaced), 1, sizeof(point) - 1);
    assert_int_equal(rename(plain, spaced), 0);
    memcpy(point, spaced, sizeof(point));
    mount_as("fuse." MGC_MOUNT_SUBTYPE);
    assert_int_equal(mgc_mount_look(point), MGC_SEEN_OURS_ALIVE);
    stop_server();
    assert_int_equal(mgc_mount_look(point), MGC_SEEN_OURS_DEAD);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(alive_then_dead_then_gone),    TEST(dead_ones_on_each_other_all_go),
        TEST(others_stay_dead_or_alive),    TEST(only_the_topmost_counts),
        TEST(a_name_with_a_space_is_found),
    };

    /* Whatever happens here, no mount reaches anybody else. */
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
