/* test_mountinfo.c -- lines of mountinfo, and mounts that every machine has. */
#include "scratch.h"

#include <sys/stat.h>

#include "fs/sys/mountinfo_priv.h"
#include "mediagcfs/mountinfo.h"

static void lines_are_taken_apart(void **state)
{
    static const struct {
        const char *line;
        int64_t id, parent;
        const char *mountpoint, *fstype;
    } rows[] = {
        {"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n", 36, 35,
         "/mnt2", "ext3"},
        {"22 1 0:21 / / rw shared:1 master:2 propagate_from:3 unbindable - btrfs /dev/x rw", 22, 1,
         "/", "btrfs"},
        {"9 8 0:5 / /srv/a\\040b\\011\\134x rw - fuse.mediagcfs mediagcfs rw,user_id=0\n", 9, 8,
         "/srv/a b\t\\x", "fuse.mediagcfs"},
        {"9 8 0:5 / /caf\xE9 rw - fuse.a\\040b x rw", 9, 8, "/caf\xE9", "fuse.a b"},
        {"9 8 0:5 / /a\\09 rw - tmpfs none rw", 9, 8, "/a\\09", "tmpfs"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char *line = strdup(rows[i].line);
        struct mgc_mount_row row;

        assert_true(mgc_mountinfo_parse(line, &row));
        assert_int_equal(row.id, rows[i].id);
        assert_int_equal(row.parent, rows[i].parent);
        assert_string_equal(row.mountpoint, rows[i].mountpoint);
        assert_string_equal(row.fstype, rows[i].fstype);
        free(line);
    }
}

static void other_lines_are_not_believed(void **state)
{
    static const char *const bad[] = {
        "",
        "\n",
        "36",
        "36 35 98:0 / /mnt rw",
        "36 35 98:0 / /mnt rw master:1",
        "36 35 98:0 / /mnt rw -",
        "36 35 98:0 / /mnt rw - ",
        "x 35 98:0 / /mnt rw - ext4 a rw",
        "36 -1 98:0 / /mnt rw - ext4 a rw",
        "36x 35 98:0 / /mnt rw - ext4 a rw",
        "99999999999999999999 35 98:0 / /mnt rw - ext4 a rw",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        char *line = strdup(bad[i]);
        struct mgc_mount_row row = {.id = 77};

        if (mgc_mountinfo_parse(line, &row))
            fail_msg("'%s'", bad[i]);
        assert_int_equal(row.id, 77);
        free(line);
    }
}

static void common_mounts_are_seen(void **state)
{
    char type[64] = "";

    (void)state;
    assert_int_equal(mgc_mount_look("/proc"), MGC_SEEN_OTHER);
    assert_int_equal(mgc_mount_look("/proc/"), MGC_SEEN_OTHER);
    assert_int_equal(mgc_mount_look("/proc/self"), MGC_SEEN_NOTHING);
    assert_int_equal(mgc_mount_look(scratch), MGC_SEEN_NOTHING);
    assert_int_equal(mgc_mount_look(scratch_path("none")), MGC_SEEN_NOTHING);
    assert_int_equal(mgc_mount_fstype("/proc/self/net", type, sizeof(type)), 0);
    assert_string_equal(type, "proc");
    assert_int_equal(mgc_mount_fstype(scratch, type, sizeof(type)), 0);
    assert_string_equal(type, "tmpfs");
    assert_int_equal(mgc_mount_fstype(scratch, type, 5), -ERANGE);
    assert_int_equal(mgc_mount_fstype(scratch_path("none"), type, sizeof(type)), -ENOENT);
}

static void a_link_to_a_mount_is_the_mount(void **state)
{
    (void)state;
    assert_int_equal(symlinkat("/proc", scratch_fd, "link"), 0);
    assert_int_equal(mgc_mount_look(scratch_path("link")), MGC_SEEN_OTHER);
}

static void nothing_dead_is_nothing_to_do(void **state)
{
    struct mgc_err err = {0};

    (void)state;
    assert_int_equal(mgc_mount_detach_dead("/proc", &err), 0);
    assert_int_equal(mgc_mount_detach_dead(scratch, &err), 0);
    assert_int_equal(mgc_mount_detach_dead(scratch_path("none"), &err), 0);
    assert_int_equal(mgc_mount_look("/proc"), MGC_SEEN_OTHER);
    assert_int_equal(err.code, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_begin, scratch_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lines_are_taken_apart),         TEST(other_lines_are_not_believed),
        TEST(common_mounts_are_seen),        TEST(a_link_to_a_mount_is_the_mount),
        TEST(nothing_dead_is_nothing_to_do),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
