/* test_names.c -- names and attributes through a real mount; what was recorded of it. */
#include "mounted.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <cmocka.h>

static struct mounted m;

static int setup(void **state)
{
    (void)state;
    mounted_start(&m, &(struct mounted_options){0});
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mounted_stop(&m);
    return 0;
}

static ino_t inode(const char *path)
{
    struct stat st;

    assert_int_equal(lstat(path, &st), 0);
    return st.st_ino;
}

static void create_write_read_unlink(void **state)
{
    (void)state;
    put_file(at(m.mnt, "a.txt"), "hello");
    assert_string_equal(get_file(at(m.source, "a.txt")), "hello");
    assert_string_equal(get_file(at(m.mnt, "a.txt")), "hello");
    assert_true(mounted_saw(&m, "create a.txt uid=0"));
    assert_true(mounted_saw(&m, "write a.txt uid=0 size=5"));
    assert_true(mounted_saw(&m, "open a.txt"));
    assert_int_equal(unlink(at(m.mnt, "a.txt")), 0);
    assert_int_equal(access(at(m.source, "a.txt"), F_OK), -1);
    assert_true(mounted_saw(&m, "unlink a.txt"));
    assert_int_equal(unlink(at(m.mnt, "a.txt")), -1);
    assert_int_equal(errno, ENOENT);
}

static void directories(void **state)
{
    (void)state;
    assert_int_equal(mkdir(at(m.mnt, "d"), 0750), 0);
    assert_int_equal(mkdir(at(m.mnt, "d/e"), 0755), 0);
    put_file(at(m.mnt, "d/e/f"), "x");
    assert_int_equal(rmdir(at(m.mnt, "d")), -1);
    assert_int_equal(errno, ENOTEMPTY);
    /* A file below a renamed directory is recorded under the path it has by then. */
    assert_int_equal(rename(at(m.mnt, "d"), at(m.mnt, "g")), 0);
    put_file(at(m.mnt, "g/e/f"), "xyz");
    assert_true(mounted_saw(&m, "mkdir d/e"));
    assert_true(mounted_saw(&m, "rename d -> g uid=0 size="));
    assert_true(mounted_saw(&m, "write g/e/f uid=0 size=3"));
    assert_non_null(strstr(mounted_recorded(&m), " dir\n"));
    assert_int_equal(unlink(at(m.mnt, "g/e/f")), 0);
    assert_int_equal(rmdir(at(m.mnt, "g/e")), 0);
    assert_true(mounted_saw(&m, "rmdir g/e"));
    assert_int_equal(access(at(m.source, "g/e"), F_OK), -1);
}

/* A writer that is open while its name and its directory change is recorded where it ended up. */
static void an_open_writer_follows_its_name(void **state)
{
    int fd;

    (void)state;
    assert_int_equal(mkdir(at(m.mnt, "d"), 0755), 0);
    fd = open(at(m.mnt, "d/tmp"), O_WRONLY | O_CREAT, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "12345678", 8), 8);
    assert_int_equal(rename(at(m.mnt, "d/tmp"), at(m.mnt, "d/final")), 0);
    assert_int_equal(rename(at(m.mnt, "d"), at(m.mnt, "dd")), 0);
    assert_int_equal(close(fd), 0);
    assert_true(mounted_saw(&m, "write dd/final uid=0 size=8"));
    assert_int_equal(mounted_count(&m, "write d/"), 0);
}

static void links_are_one_inode(void **state)
{
    struct stat a, b;

    (void)state;
    put_file(at(m.mnt, "a"), "one");
    assert_int_equal(stat(at(m.mnt, "a"), &a), 0);
    assert_int_equal(link(at(m.mnt, "a"), at(m.mnt, "b")), 0);
    assert_int_equal(stat(at(m.mnt, "a"), &a), 0);
    assert_int_equal(stat(at(m.mnt, "b"), &b), 0);
    assert_true(a.st_ino == b.st_ino);
    assert_int_equal(a.st_nlink, 2);
    assert_true(mounted_saw(&m, "link b uid=-1 size=3"));
    put_file(at(m.mnt, "b"), "changed");
    assert_string_equal(get_file(at(m.mnt, "a")), "changed");
    /* rename(2) between two names of one file does nothing, so nothing is recorded. */
    assert_int_equal(rename(at(m.mnt, "a"), at(m.mnt, "b")), 0);
    assert_int_equal(access(at(m.source, "a"), F_OK), 0);
    assert_int_equal(mounted_count(&m, "rename"), 0);
    assert_int_equal(unlink(at(m.mnt, "a")), 0);
    assert_int_equal(stat(at(m.mnt, "b"), &b), 0);
    assert_int_equal(b.st_nlink, 1);
}

static void symlinks(void **state)
{
    char target[64] = "";
    struct stat st;

    (void)state;
    put_file(at(m.mnt, "file"), "content");
    assert_int_equal(symlink("file", at(m.mnt, "sl")), 0);
    assert_int_equal(readlink(at(m.mnt, "sl"), target, sizeof(target) - 1), 4);
    assert_string_equal(target, "file");
    assert_string_equal(get_file(at(m.mnt, "sl")), "content");
    assert_int_equal(lstat(at(m.source, "sl"), &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_true(mounted_saw(&m, "create sl uid=0 size=4"));
    /* Attributes of the link itself. */
    assert_int_equal(lchown(at(m.mnt, "sl"), 33, 33), 0);
    assert_int_equal(lstat(at(m.source, "sl"), &st), 0);
    assert_int_equal(st.st_uid, 33);
    assert_int_equal(stat(at(m.source, "file"), &st), 0);
    assert_int_equal(st.st_uid, 0);
    /* A hard link to the link, not to its target. */
    assert_int_equal(link(at(m.mnt, "sl"), at(m.mnt, "sl2")), 0);
    assert_int_equal(lstat(at(m.source, "sl2"), &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(
        utimensat(AT_FDCWD, at(m.mnt, "sl"),
                  (struct timespec[2]){{.tv_sec = 5, .tv_nsec = 6}, {.tv_sec = 7, .tv_nsec = 8}},
                  AT_SYMLINK_NOFOLLOW),
        0);
    assert_int_equal(lstat(at(m.source, "sl"), &st), 0);
    assert_int_equal(st.st_mtim.tv_nsec, 8);
}

static void rename_flags(void **state)
{
    ino_t a, b;

    (void)state;
    put_file(at(m.mnt, "a"), "a");
    put_file(at(m.mnt, "b"), "b");
    assert_int_equal(mkdir(at(m.mnt, "d"), 0755), 0);
    a = inode(at(m.source, "a"));
    b = inode(at(m.source, "b"));
    assert_int_equal(
        renameat2(AT_FDCWD, at(m.mnt, "a"), AT_FDCWD, at(m.mnt, "b"), RENAME_NOREPLACE), -1);
    assert_int_equal(errno, EEXIST);
    assert_int_equal(renameat2(AT_FDCWD, at(m.mnt, "a"), AT_FDCWD, at(m.mnt, "b"), RENAME_EXCHANGE),
                     0);
    assert_true(inode(at(m.source, "a")) == b);
    assert_true(inode(at(m.source, "b")) == a);
    assert_string_equal(get_file(at(m.mnt, "a")), "b");
    assert_true(mounted_saw(&m, "exchange a -> b"));
    assert_int_equal(renameat2(AT_FDCWD, at(m.mnt, "a"), AT_FDCWD, at(m.mnt, "d"), RENAME_EXCHANGE),
                     0);
    assert_non_null(strstr(mounted_recorded(&m), " dir2\n"));
    put_file(at(m.mnt, "a/in"), "x");
    assert_true(mounted_saw(&m, "create a/in"));
    assert_int_equal(renameat2(AT_FDCWD, at(m.mnt, "b"), AT_FDCWD, at(m.mnt, "c"), RENAME_WHITEOUT),
                     -1);
    assert_int_equal(errno, EINVAL);
    /* Replacing. */
    assert_int_equal(rename(at(m.mnt, "b"), at(m.mnt, "d")), 0);
    assert_string_equal(get_file(at(m.mnt, "d")), "a");
    assert_true(mounted_saw(&m, "rename b -> d"));
    assert_int_equal(access(at(m.mnt, "b"), F_OK), -1);
}

static void attributes(void **state)
{
    struct timespec times[2] = {{.tv_sec = 1000000000, .tv_nsec = 123456789},
                                {.tv_sec = 1100000000, .tv_nsec = 987654321}};
    struct stat st, back;
    int fd;

    (void)state;
    put_file(at(m.mnt, "a"), "0123456789");
    assert_int_equal(utimensat(AT_FDCWD, at(m.mnt, "a"), times, 0), 0);
    assert_int_equal(stat(at(m.mnt, "a"), &st), 0);
    assert_int_equal(stat(at(m.source, "a"), &back), 0);
    assert_memory_equal(&st.st_mtim, &times[1], sizeof(st.st_mtim));
    assert_memory_equal(&back.st_mtim, &times[1], sizeof(st.st_mtim));
    assert_memory_equal(&back.st_atim, &times[0], sizeof(st.st_mtim));
    times[1].tv_nsec = UTIME_OMIT;
    times[0].tv_nsec = UTIME_NOW;
    assert_int_equal(utimensat(AT_FDCWD, at(m.mnt, "a"), times, 0), 0);
    assert_int_equal(stat(at(m.source, "a"), &st), 0);
    assert_int_equal(st.st_mtim.tv_nsec, 987654321);
    assert_true(st.st_atim.tv_sec > 1700000000);
    assert_int_equal(chmod(at(m.mnt, "a"), 0604), 0);
    assert_int_equal(chown(at(m.mnt, "a"), 33, 44), 0);
    assert_int_equal(stat(at(m.mnt, "a"), &st), 0);
    assert_int_equal(stat(at(m.source, "a"), &back), 0);
    assert_int_equal(st.st_mode & 07777, 0604);
    assert_int_equal(back.st_mode & 07777, 0604);
    assert_int_equal(back.st_uid, 33);
    assert_int_equal(back.st_gid, 44);
    assert_int_equal(chown(at(m.mnt, "a"), (uid_t)-1, 55), 0);
    assert_int_equal(stat(at(m.mnt, "a"), &st), 0);
    assert_int_equal(st.st_uid, 33);
    assert_int_equal(st.st_gid, 55);
    assert_int_equal(truncate(at(m.mnt, "a"), 4), 0);
    assert_int_equal(stat(at(m.mnt, "a"), &st), 0);
    assert_int_equal(st.st_size, 4);
    assert_true(mounted_saw(&m, "stat a uid=0 size=4"));
    fd = open(at(m.mnt, "a"), O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 100), 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, 100);
    assert_int_equal(close(fd), 0);
    assert_int_equal(stat(at(m.source, "a"), &st), 0);
    assert_int_equal(st.st_size, 100);
}

static void special_files(void **state)
{
    struct stat st;

    (void)state;
    assert_int_equal(mkfifo(at(m.mnt, "fifo"), 0640), 0);
    assert_int_equal(stat(at(m.source, "fifo"), &st), 0);
    assert_true(S_ISFIFO(st.st_mode));
    assert_int_equal(mknod(at(m.mnt, "file"), S_IFREG | 0600, 0), 0);
    assert_int_equal(stat(at(m.source, "file"), &st), 0);
    assert_true(S_ISREG(st.st_mode));
    assert_true(mounted_saw(&m, "create file"));
    assert_int_equal(mounted_count(&m, "create fifo"), 0); /* not an entry */
}

static void the_private_directory_exists_for_nobody(void **state)
{
    const char *private = at(m.mnt, ".mediagcfs"), *other = at(m.mnt, "other");
    DIR *dir;
    struct stat st;
    int listed = 0;

    (void)state;
    put_file(other, "x");
    assert_int_equal(stat(private, &st), -1);
    assert_int_equal(errno, ENOENT);
    dir = opendir(m.mnt);
    assert_non_null(dir);
    for (const struct dirent *e; (e = readdir(dir)) != NULL;) {
        listed++;
        assert_string_not_equal(e->d_name, ".mediagcfs");
    }
    (void)closedir(dir);
    assert_int_equal(listed, 3);
    assert_int_equal(mkdir(private, 0755), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(open(private, O_WRONLY | O_CREAT, 0644), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(symlink("x", private), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(mknod(private, S_IFREG | 0600, 0), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(link(other, private), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(rename(other, private), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(renameat2(AT_FDCWD, other, AT_FDCWD, private, RENAME_NOREPLACE), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(rename(private, other), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(rmdir(private), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(stat(at(m.source, ".mediagcfs"), &st), 0);
    /* Only at the root. */
    assert_int_equal(mkdir(at(m.mnt, "d"), 0755), 0);
    assert_int_equal(mkdir(at(m.mnt, "d/.mediagcfs"), 0755), 0);
    assert_int_equal(stat(at(m.mnt, "d/.mediagcfs"), &st), 0);
}

static void listing_survives_changes_and_seeks(void **state)
{
    enum { FILES = 3000 };
    static bool seen[FILES];
    char name[32];
    long middle = 0;
    int count = 0, number;
    DIR *dir;

    (void)state;
    assert_int_equal(mkdir(at(m.mnt, "many"), 0755), 0);
    memset(seen, 0, sizeof(seen));
    for (int i = 0; i < FILES; i++) {
        (void)snprintf(name, sizeof(name), "many/f%d", i);
        assert_int_equal(mknod(at(m.source, name), S_IFREG | 0644, 0), 0);
    }
    dir = opendir(at(m.mnt, "many"));
    assert_non_null(dir);
    for (const struct dirent *e; (e = readdir(dir)) != NULL;) {
        if (sscanf(e->d_name, "f%d", &number) != 1)
            continue;
        assert_in_range(number, 0, FILES - 1);
        assert_false(seen[number]);
        seen[number] = true;
        if (++count == FILES / 2)
            middle = telldir(dir);
        /* What has been listed may go meanwhile. */
        if (number % 7 == 0)
            assert_int_equal(unlinkat(dirfd(dir), e->d_name, 0), 0);
    }
    assert_int_equal(count, FILES);
    seekdir(dir, middle);
    for (count = 0; readdir(dir) != NULL; count++)
        ;
    assert_in_range(count, FILES / 2 - FILES / 7 - 2, FILES / 2);
    rewinddir(dir);
    for (count = 0; readdir(dir) != NULL; count++)
        ;
    assert_int_equal(count, FILES - (FILES + 6) / 7 + 2);
    (void)closedir(dir);
}

static void filesystem_figures(void **state)
{
    struct statvfs through, back;

    (void)state;
    assert_int_equal(statvfs(m.mnt, &through), 0);
    assert_int_equal(statvfs(m.source, &back), 0);
    assert_int_equal(through.f_blocks, back.f_blocks);
    assert_int_equal(through.f_bsize, back.f_bsize);
    assert_int_equal(through.f_namemax, back.f_namemax);
    assert_int_equal(through.f_flag & (ST_NOSUID | ST_NODEV), ST_NOSUID | ST_NODEV);
}

static void names_at_the_limit(void **state)
{
    char name[300];

    (void)state;
    memset(name, 'n', sizeof(name));
    name[255] = '\0';
    put_file(at(m.mnt, name), "x");
    assert_int_equal(access(at(m.source, name), F_OK), 0);
    assert_int_equal(unlink(at(m.mnt, name)), 0);
    name[255] = 'n';
    name[256] = '\0';
    assert_int_equal(open(at(m.mnt, name), O_WRONLY | O_CREAT, 0644), -1);
    assert_int_equal(errno, ENAMETOOLONG);
}

/* Deeper than any path can say: still served, only not recorded. */
static void deeper_than_a_path(void **state)
{
    char name[201];
    int fd = open(m.mnt, O_RDONLY | O_DIRECTORY), file;

    (void)state;
    memset(name, 'd', sizeof(name) - 1);
    name[200] = '\0';
    for (int i = 0; i < 25; i++) {
        int next;

        assert_int_equal(mkdirat(fd, name, 0755), 0);
        next = openat(fd, name, O_RDONLY | O_DIRECTORY);
        assert_true(next >= 0);
        (void)close(fd);
        fd = next;
    }
    file = openat(fd, "file", O_RDWR | O_CREAT, 0644);
    assert_true(file >= 0);
    assert_int_equal(write(file, "x", 1), 1);
    (void)close(file);
    assert_int_equal(unlinkat(fd, "file", 0), 0);
    (void)close(fd);
    assert_int_equal(mounted_count(&m, "create"), 0);
    assert_true(mounted_count(&m, "mkdir") >= 20);
    assert_true(mounted_count(&m, "mkdir") < 25);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(create_write_read_unlink),
        CASE(directories),
        CASE(an_open_writer_follows_its_name),
        CASE(links_are_one_inode),
        CASE(symlinks),
        CASE(rename_flags),
        CASE(attributes),
        CASE(special_files),
        CASE(the_private_directory_exists_for_nobody),
        CASE(listing_survives_changes_and_seeks),
        CASE(filesystem_figures),
        CASE(names_at_the_limit),
        CASE(deeper_than_a_path),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
