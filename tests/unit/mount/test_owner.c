/*
 * test_owner.c -- what is made through the mount belongs to its maker: every step is done in the
 * mount and in a plain directory of the same filesystem, as root and as a web user, and what lies
 * on the backing filesystem afterwards must be the same.
 */
#include "mounted.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include <cmocka.h>

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
    mounted_start(&m, &(struct mounted_options){.in_place = true, .no_passthrough = true});
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mounted_stop(&m);
    return 0;
}

/* One line per step: what the call said and what lies there.  Returns the number of steps. */
struct report {
    const char *dir;
    mode_t mask;
    char *out; /* shared by fork through a file */
};

static void say(FILE *out, const char *step, int r, const char *path)
{
    int error = r < 0 ? errno : 0;
    struct stat st;

    (void)fprintf(out, "%s: %s", step, error != 0 ? strerrorname_np(error) : "ok");
    if (lstat(path, &st) == 0)
        (void)fprintf(out, " %o %u:%u links=%lu size=%lld", st.st_mode, st.st_uid, st.st_gid,
                      (unsigned long)st.st_nlink, (long long)st.st_size);
    (void)fputc('\n', out);
}

static int close_of(int fd)
{
    int error = errno;

    if (fd >= 0)
        (void)close(fd);
    errno = error;
    return fd < 0 ? -1 : 0;
}

static void make_steps(FILE *out, const char *d)
{
    const char *p;

    p = at(d, "file");
    say(out, "create", close_of(open(p, O_WRONLY | O_CREAT | O_EXCL, 0666)), p);
    say(out, "create again", close_of(open(p, O_WRONLY | O_CREAT | O_EXCL, 0666)), p);
    p = at(d, "all-bits");
    say(out, "create 7777", close_of(open(p, O_RDWR | O_CREAT, 07777)), p);
    p = at(d, "dir");
    say(out, "mkdir", mkdir(p, 0777), p);
    p = at(d, "dir/in");
    say(out, "create in it", close_of(open(p, O_WRONLY | O_CREAT, 0600)), p);
    p = at(d, "sticky");
    say(out, "mkdir sticky", mkdir(p, 01777), p);
    p = at(d, "sl");
    say(out, "symlink", symlink("file", p), p);
    p = at(d, "fifo");
    say(out, "mkfifo", mkfifo(p, 0666), p);
    p = at(d, "node");
    say(out, "mknod", mknod(p, S_IFREG | 0666, 0), p);
    p = at(d, "device");
    say(out, "mknod device", mknod(p, S_IFCHR | 0600, 0x103), p);
    p = at(d, "hard");
    say(out, "link", link(at(d, "file"), p), p);
    say(out, "link gone", link(at(d, "gone"), p), p);
}

static void shared_steps(FILE *out, const char *d)
{
    const char *p;

    p = at(d, "setgid/file");
    say(out, "create in setgid", close_of(open(p, O_WRONLY | O_CREAT, 0664)), p);
    p = at(d, "setgid/dir");
    say(out, "mkdir in setgid", mkdir(p, 0775), p);
    p = at(d, "setgid/sl");
    say(out, "symlink in setgid", symlink("x", p), p);
    p = at(d, "group/file");
    say(out, "create by group", close_of(open(p, O_WRONLY | O_CREAT, 0660)), p);
    p = at(d, "root-only/file");
    say(out, "create refused", close_of(open(p, O_WRONLY | O_CREAT, 0660)), p);
    p = at(d, "roots-file");
    say(out, "open refused", close_of(open(p, O_WRONLY)), p);
    say(out, "truncate refused", truncate(p, 0), p);
    say(out, "chmod refused", chmod(p, 0777), p);
    say(out, "unlink refused in sticky", unlink(at(d, "sticky-root/file")),
        at(d, "sticky-root/file"));
}

static void change_steps(FILE *out, const char *d)
{
    const char *p = at(d, "file");

    say(out, "chmod", chmod(p, 06755), p);
    say(out, "chown away", chown(p, 12, (gid_t)-1), p);
    say(out, "chgrp", chown(p, (uid_t)-1, 44), p);
    say(out, "chgrp foreign", chown(p, (uid_t)-1, 4444), p);
    say(out, "chmod sgid", chmod(p, 02755), p);
    {
        int fd = open(p, O_WRONLY);
        ssize_t n = write(fd, "12345", 5);

        say(out, "write", n == 5 ? close_of(fd) : -1, p);
    }
    say(out, "truncate", truncate(p, 3), p);
    say(out, "rename", rename(p, at(d, "renamed")), at(d, "renamed"));
    say(out, "rename over", rename(at(d, "renamed"), at(d, "node")), at(d, "node"));
    say(out, "rename onto dir", rename(at(d, "node"), at(d, "dir")), at(d, "node"));
    say(out, "rename dir onto file", rename(at(d, "dir"), at(d, "node")), at(d, "node"));
    say(out, "rename into itself", rename(at(d, "dir"), at(d, "dir/x")), at(d, "dir"));
    say(out, "exchange",
        renameat2(AT_FDCWD, at(d, "node"), AT_FDCWD, at(d, "dir"), RENAME_EXCHANGE), at(d, "node"));
    say(out, "rmdir full", rmdir(at(d, "node")), at(d, "node"));
    say(out, "rmdir file", rmdir(at(d, "dir")), at(d, "dir"));
    say(out, "unlink dir", unlink(at(d, "node")), at(d, "node"));
    say(out, "rmdir", rmdir(at(d, "sticky")), at(d, "sticky"));
    say(out, "unlink", unlink(at(d, "hard")), at(d, "hard"));
    say(out, "readlink", (int)readlink(at(d, "sl"), (char[16]){0}, 16), at(d, "sl"));
    say(out, "stat through file", access(at(d, "fifo/x"), F_OK), at(d, "fifo"));
    say(out, "loop", symlink("loop", at(d, "loop")) < 0 ? -1 : access(at(d, "loop"), F_OK),
        at(d, "loop"));
}

static int steps(void *arg)
{
    const struct report *r = arg;
    FILE *out = fopen(r->out, "w");

    if (out == NULL)
        return 1;
    (void)umask(r->mask);
    make_steps(out, r->dir);
    shared_steps(out, r->dir);
    change_steps(out, r->dir);
    return fclose(out) == 0 ? 0 : 2;
}

/* Places that only root can prepare, the same on both sides (made beneath the mount). */
static void prepare(const char *dir)
{
    (void)umask(0);
    assert_int_equal(mkdir(at(dir, "setgid"), 02777), 0);
    assert_int_equal(chown(at(dir, "setgid"), 0, 50), 0);
    assert_int_equal(chmod(at(dir, "setgid"), 02777), 0);
    assert_int_equal(mkdir(at(dir, "group"), 0770), 0);
    assert_int_equal(chown(at(dir, "group"), 0, 44), 0);
    assert_int_equal(mkdir(at(dir, "root-only"), 0755), 0);
    assert_int_equal(mkdir(at(dir, "sticky-root"), 01777), 0);
    put_file(at(dir, "roots-file"), "root's");
    put_file(at(dir, "sticky-root/file"), "root's");
    (void)umask(022);
}

static void compare(uid_t uid, gid_t gid, mode_t mask)
{
    char through[160], native[160], beneath[128], work[64], plain[192], mounted[192];
    static char first[8192];
    struct report r = {.mask = mask};

    (void)snprintf(work, sizeof(work), "u%u-%o", uid, mask);
    (void)snprintf(beneath, sizeof(beneath), "/proc/self/fd/%d/%s", m.source_fd, work);
    (void)snprintf(plain, sizeof(plain), "%s/%s", m.plain, work);
    (void)snprintf(mounted, sizeof(mounted), "%s/%s", m.mnt, work);
    assert_int_equal(mkdir(beneath, 0777), 0);
    assert_int_equal(chmod(beneath, 0777), 0);
    assert_int_equal(mkdir(plain, 0777), 0);
    assert_int_equal(chmod(plain, 0777), 0);
    prepare(beneath);
    prepare(plain);
    (void)snprintf(through, sizeof(through), "%s/%s.through", m.base, work);
    (void)snprintf(native, sizeof(native), "%s/%s.native", m.base, work);
    assert_int_equal(chmod(m.base, 0777), 0);
    r.dir = plain;
    r.out = native;
    assert_int_equal(as_user(uid, gid, 44, steps, &r), 0);
    r.dir = mounted;
    r.out = through;
    assert_int_equal(as_user(uid, gid, 44, steps, &r), 0);
    assert_non_null(get_file(native));
    (void)snprintf(first, sizeof(first), "%s", get_file(native));
    assert_true(strlen(first) > 1500);
    assert_string_equal(get_file(through), first);
}

static void root_sees_what_is_native(void **state)
{
    (void)state;
    compare(0, 0, 022);
    compare(0, 0, 0);
}

static void a_web_user_sees_what_is_native(void **state)
{
    (void)state;
    compare(33, 33, 022);
    compare(33, 33, 077);
    compare(33, 33, 0);
}

static int four_makers(void *arg)
{
    char path[256];

    for (int i = 0; i < 200; i++) {
        (void)snprintf(path, sizeof(path), "%s/many/%u-%d", (const char *)arg, getuid(), i);
        if (close_of(open(path, O_WRONLY | O_CREAT | O_EXCL, 0640)) < 0)
            return 1;
    }
    return 0;
}

static int many(void *arg)
{
    static const uid_t users[] = {33, 34, 35, 36};
    pid_t pids[ARRAY_SIZE(users)];
    int bad = 0, status;

    for (size_t i = 0; i < ARRAY_SIZE(users); i++) {
        pids[i] = fork();
        if (pids[i] == 0)
            _exit(as_user(users[i], users[i], 0, four_makers, arg));
    }
    for (size_t i = 0; i < ARRAY_SIZE(users); i++)
        if (waitpid(pids[i], &status, 0) < 0 || status != 0)
            bad++;
    return bad;
}

/* Ids are switched per thread: makers at the same time do not get each other's files. */
static void makers_at_the_same_time(void **state)
{
    struct stat st;
    char name[64];

    (void)state;
    assert_int_equal(mkdir(at(m.mnt, "many"), 0777), 0);
    assert_int_equal(chmod(at(m.mnt, "many"), 0777), 0);
    assert_int_equal(many(m.mnt), 0);
    for (unsigned uid = 33; uid <= 36; uid++)
        for (int i = 0; i < 200; i++) {
            (void)snprintf(name, sizeof(name), "many/%u-%d", uid, i);
            assert_int_equal(stat(at(m.mnt, name), &st), 0);
            assert_int_equal(st.st_uid, uid);
            assert_int_equal(st.st_gid, uid);
            assert_int_equal(st.st_mode, S_IFREG | 0640);
        }
}

static int make_under_acl(void *arg)
{
    (void)umask(077);
    return close_of(open(at(arg, "file"), O_WRONLY | O_CREAT, 0666)) < 0 ||
                   mkdir(at(arg, "dir"), 0777) < 0
               ? 1
               : 0;
}

/* A default ACL takes the umask's place, as it does natively. */
static void a_default_acl_replaces_the_umask(void **state)
{
    /* Version 2; user::rwx group::rwx other::r-x */
    static const unsigned char acl[] = {2,   0,   0, 0, 1,   0,   7,   0,   255, 255,
                                        255, 255, 4, 0, 7,   0,   255, 255, 255, 255,
                                        32,  0,   5, 0, 255, 255, 255, 255};
    struct stat a, b;

    (void)state;
    assert_int_equal(mkdir(at(m.source, "acl"), 0777), 0);
    assert_int_equal(mkdir(at(m.plain, "acl"), 0777), 0);
    assert_int_equal(setxattr(at(m.source, "acl"), "system.posix_acl_default", acl, sizeof(acl), 0),
                     0);
    assert_int_equal(setxattr(at(m.plain, "acl"), "system.posix_acl_default", acl, sizeof(acl), 0),
                     0);
    assert_int_equal(chmod(at(m.source, "acl"), 0777), 0);
    assert_int_equal(chmod(at(m.plain, "acl"), 0777), 0);
    assert_int_equal(as_user(33, 33, 0, make_under_acl, (void *)(uintptr_t)at(m.mnt, "acl")), 0);
    assert_int_equal(as_user(33, 33, 0, make_under_acl, (void *)(uintptr_t)at(m.plain, "acl")), 0);
    assert_int_equal(stat(at(m.source, "acl/file"), &a), 0);
    assert_int_equal(stat(at(m.plain, "acl/file"), &b), 0);
    assert_int_equal(a.st_mode, b.st_mode);
    assert_int_equal(a.st_mode & 0777, 0664);
    assert_int_equal(stat(at(m.source, "acl/dir"), &a), 0);
    assert_int_equal(stat(at(m.plain, "acl/dir"), &b), 0);
    assert_int_equal(a.st_mode, b.st_mode);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(root_sees_what_is_native),
        CASE(a_web_user_sees_what_is_native),
        CASE(makers_at_the_same_time),
        CASE(a_default_acl_replaces_the_umask),
        cmocka_unit_test_setup_teardown(root_sees_what_is_native, setup_in_place, teardown),
        cmocka_unit_test_setup_teardown(a_web_user_sees_what_is_native, setup_in_place, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
