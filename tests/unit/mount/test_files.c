/* test_files.c -- open files through a real mount, in passthrough and without. */
#include "mounted.h"

#define FUSE_USE_VERSION 312
#include <dirent.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>

#include <cmocka.h>

static struct mounted m;
static bool passthrough; /* as configured for this test */

static int setup_passthrough(void **state)
{
    (void)state;
    passthrough = true;
    mounted_start(&m, &(struct mounted_options){.open_resolution_us = INT64_C(3600000000)});
    return 0;
}

static int setup_cached(void **state)
{
    (void)state;
    passthrough = false;
    mounted_start(&m, &(struct mounted_options){.no_passthrough = true});
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mounted_stop(&m);
    return 0;
}

/* How many descriptors of the server lead to source/name, O_PATH ones included. */
static int server_descriptors(const char *name)
{
    char dir_path[64], link[512], want[256];
    int count = 0;
    DIR *dir;

    (void)snprintf(dir_path, sizeof(dir_path), "/proc/%d/fd", (int)m.server);
    (void)snprintf(want, sizeof(want), "%s/%s", m.source, name);
    dir = opendir(dir_path);
    assert_non_null(dir);
    for (const struct dirent *e; (e = readdir(dir)) != NULL;) {
        ssize_t n = readlinkat(dirfd(dir), e->d_name, link, sizeof(link) - 1);

        if (n > 0) {
            link[n] = '\0';
            count += strcmp(link, want) == 0 ? 1 : 0;
        }
    }
    (void)closedir(dir);
    return count;
}

static bool expect_passthrough(void)
{
    struct utsname u;
    int major = 0, minor = 0;

    assert_int_equal(uname(&u), 0);
    assert_int_equal(sscanf(u.release, "%d.%d", &major, &minor), 2);
    return passthrough && fuse_version() >= 317 && (major > 6 || (major == 6 && minor >= 9));
}

/* F2: in passthrough nothing of ours has the file open, and every open shares the mode. */
static void open_modes(void **state)
{
    int a, b, c, own = expect_passthrough() ? 0 : 1;
    char byte;

    (void)state;
    a = open(at(m.mnt, "f"), O_WRONLY | O_CREAT, 0644);
    assert_true(a >= 0);
    assert_int_equal(server_descriptors("f"), 1 + own);
    b = open(at(m.mnt, "f"), O_RDWR);
    c = open(at(m.mnt, "f"), O_RDONLY);
    assert_true(b >= 0);
    assert_true(c >= 0);
    assert_int_equal(server_descriptors("f"), 1 + 3 * own);
    assert_int_equal(write(a, "1", 1), 1);
    assert_int_equal(pwrite(b, "2", 1, 1), 1);
    assert_int_equal(pread(c, &byte, 1, 1), 1);
    assert_int_equal(byte, '2');
    (void)close(a);
    (void)close(b);
    (void)close(c);
    assert_true(mounted_saw(&m, "write f uid=0 size=2"));
    /* From the start again: set-id files are never served in passthrough (H16). */
    assert_int_equal(chmod(at(m.mnt, "f"), 04755), 0);
    for (int i = 0; i < 400 && server_descriptors("f") > 1; i++)
        (void)usleep(5000);
    a = open(at(m.mnt, "f"), O_RDWR);
    assert_true(a >= 0);
    assert_int_equal(server_descriptors("f"), 2);
    (void)close(a);
}

static void a_write_is_seen_at_once(void **state)
{
    struct stat st;
    char text[16] = "";
    int fd = open(at(m.mnt, "f"), O_RDWR | O_CREAT, 0644);

    (void)state;
    assert_true(fd >= 0);
    for (int i = 1; i <= 100; i++) {
        assert_int_equal(write(fd, "abcdefgh", 8), 8);
        assert_int_equal(fstat(fd, &st), 0);
        assert_int_equal(st.st_size, 8 * i);
        assert_int_equal(stat(at(m.mnt, "f"), &st), 0);
        assert_int_equal(st.st_size, 8 * i);
    }
    assert_int_equal(pread(fd, text, 8, 792), 8);
    assert_string_equal(text, "abcdefgh");
    assert_int_equal(close(fd), 0);
    fd = open(at(m.mnt, "f"), O_WRONLY | O_APPEND);
    assert_int_equal(write(fd, "tail", 4), 4);
    assert_int_equal(close(fd), 0);
    assert_int_equal(stat(at(m.source, "f"), &st), 0);
    assert_int_equal(st.st_size, 804);
    fd = open(at(m.mnt, "f"), O_WRONLY | O_TRUNC);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, 0);
    assert_int_equal(close(fd), 0);
    assert_int_equal(stat(at(m.source, "f"), &st), 0);
    assert_int_equal(st.st_size, 0);
}

static void read_only_truncation_counts_as_a_writer(void **state)
{
    int fd;

    (void)state;
    put_file(at(m.mnt, "f"), "text");
    fd = open(at(m.mnt, "f"), O_RDONLY | O_TRUNC);
    assert_true(fd >= 0);
    assert_int_equal(mounted_mark(&m, "f"), -5010);
    assert_int_equal(close(fd), 0);
    assert_true(mounted_saw(&m, "write f uid=0 size=0"));
}

/* H17: after stores through a mapping the times are not those of before. */
static void mapped_stores_show_in_the_times(void **state)
{
    struct timespec old[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    struct stat st;
    char *map;
    int fd;

    (void)state;
    put_file(at(m.mnt, "f"), "0123456789");
    assert_int_equal(utimensat(AT_FDCWD, at(m.mnt, "f"), old, 0), 0);
    assert_int_equal(stat(at(m.mnt, "f"), &st), 0);
    assert_int_equal(st.st_mtim.tv_sec, 1000000000);
    fd = open(at(m.mnt, "f"), O_RDWR);
    assert_true(fd >= 0);
    map = mmap(NULL, 10, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(map != MAP_FAILED);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_mtim.tv_sec, 1000000000);
    map[0] = 'X';
    assert_int_equal(msync(map, 10, MS_SYNC), 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_true(st.st_mtim.tv_sec > 1000000000);
    assert_int_equal(munmap(map, 10), 0);
    assert_int_equal(close(fd), 0);
    assert_string_equal(get_file(at(m.source, "f")), "X123456789");
}

/* Pages of a mapping go where they belong although the descriptor appends. */
static void a_mapping_of_an_appending_descriptor(void **state)
{
    struct stat st;
    char *map;
    int fd;

    (void)state;
    put_file(at(m.mnt, "f"), "0123456789");
    fd = open(at(m.mnt, "f"), O_RDWR | O_APPEND);
    map = mmap(NULL, 10, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(map != MAP_FAILED);
    map[0] = 'X';
    assert_int_equal(msync(map, 10, MS_SYNC), 0);
    assert_int_equal(munmap(map, 10), 0);
    assert_int_equal(write(fd, "+", 1), 1);
    assert_int_equal(close(fd), 0);
    assert_int_equal(stat(at(m.source, "f"), &st), 0);
    assert_int_equal(st.st_size, 11);
    assert_string_equal(get_file(at(m.source, "f")), "X123456789+");
}

static void unlinked_but_open(void **state)
{
    struct stat st;
    char text[8] = "";
    int fd = open(at(m.mnt, "f"), O_RDWR | O_CREAT, 0600);

    (void)state;
    assert_int_equal(write(fd, "before", 6), 6);
    assert_int_equal(unlink(at(m.mnt, "f")), 0);
    assert_int_equal(pwrite(fd, "A", 1, 0), 1);
    assert_int_equal(pread(fd, text, 6, 0), 6);
    assert_string_equal(text, "Aefore");
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, 6);
    assert_int_equal(st.st_nlink, 0);
    assert_int_equal(fchmod(fd, 0640), 0);
    assert_int_equal(ftruncate(fd, 3), 0);
    assert_int_equal(fsync(fd), 0);
    /* No silly-renamed leftovers. */
    assert_int_equal(access(at(m.source, "f"), F_OK), -1);
    put_file(at(m.mnt, "f"), "new");
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, 3);
    assert_int_equal(close(fd), 0);
    assert_string_equal(get_file(at(m.mnt, "f")), "new");
    (void)usleep(20000);
    assert_int_equal(mounted_count(&m, "write f uid=0 size=6"), 0);
}

static void replaced_but_open(void **state)
{
    struct stat st;
    int fd;

    (void)state;
    put_file(at(m.mnt, "f"), "old content");
    put_file(at(m.mnt, "g"), "new");
    fd = open(at(m.mnt, "f"), O_RDONLY);
    assert_int_equal(rename(at(m.mnt, "g"), at(m.mnt, "f")), 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, 11);
    assert_int_equal(close(fd), 0);
    assert_string_equal(get_file(at(m.mnt, "f")), "new");
}

static void space_is_allocated_and_punched(void **state)
{
    static char data[65536];
    struct stat st;
    int fd = open(at(m.mnt, "f"), O_RDWR | O_CREAT, 0600);

    (void)state;
    memset(data, 'd', sizeof(data));
    assert_int_equal(fallocate(fd, 0, 0, 65536), 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, 65536);
    assert_int_equal(fallocate(fd, FALLOC_FL_KEEP_SIZE, 65536, 65536), 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, 65536);
    assert_int_equal(pwrite(fd, data, sizeof(data), 0), sizeof(data));
    assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 32768), 0);
    assert_int_equal(lseek(fd, 0, SEEK_DATA), 32768);
    assert_int_equal(lseek(fd, 0, SEEK_HOLE), 0);
    assert_int_equal(lseek(fd, 40000, SEEK_DATA), 40000);
    assert_int_equal(lseek(fd, 65536, SEEK_DATA), -1);
    assert_int_equal(errno, ENXIO);
    assert_int_equal(fallocate(fd, 0x4000, 0, 1), -1);
    assert_int_equal(errno, EOPNOTSUPP);
    assert_int_equal(close(fd), 0);
}

static void data_just_written_is_data(void **state)
{
    char page[4096];
    int fd = open(at(m.mnt, "f"), O_RDWR | O_CREAT, 0600);

    (void)state;
    memset(page, 'p', sizeof(page));
    assert_int_equal(pwrite(fd, page, sizeof(page), 40960), sizeof(page));
    assert_int_equal(lseek(fd, 0, SEEK_DATA), 40960);
    assert_int_equal(lseek(fd, 40960, SEEK_HOLE), 45056);
    assert_int_equal(close(fd), 0);
}

static void ranges_are_copied(void **state)
{
    off_t from_at = 2, to_at = 5;
    struct stat st;
    int from, to;

    (void)state;
    put_file(at(m.mnt, "from"), "0123456789");
    from = open(at(m.mnt, "from"), O_RDONLY);
    to = open(at(m.mnt, "to"), O_RDWR | O_CREAT, 0600);
    assert_int_equal(copy_file_range(from, &from_at, to, &to_at, 6, 0), 6);
    assert_int_equal(from_at, 8);
    assert_int_equal(to_at, 11);
    assert_int_equal(fstat(to, &st), 0);
    assert_int_equal(st.st_size, 11);
    (void)close(from);
    (void)close(to);
    assert_memory_equal(get_file(at(m.source, "to")),
                        "\0\0\0\0\0"
                        "234567",
                        11);
}

/* Repeated opens for reading within the resolution are one change; without a resolution each is. */
static void opens_are_merged(void **state)
{
    (void)state;
    put_file(at(m.mnt, "f"), "x");
    for (int i = 0; i < 10; i++)
        assert_non_null(get_file(at(m.mnt, "f")));
    assert_true(mounted_saw(&m, "open f"));
    assert_int_equal(mounted_count(&m, "open f"), passthrough ? 1 : 10);
}

static void files_without_a_name(void **state)
{
    char path[64];
    int fd;

    (void)state;
    fd = open(m.mnt, O_TMPFILE | O_RDWR, 0600);
    if (fuse_version() < 318) { /* that libfuse does not pass it on */
        assert_int_equal(fd, -1);
        assert_int_equal(errno, EOPNOTSUPP);
        return;
    }
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "nameless", 8), 8);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    assert_int_equal(mounted_count(&m, "create"), 0);
    assert_int_equal(linkat(AT_FDCWD, path, AT_FDCWD, at(m.mnt, "named"), AT_SYMLINK_FOLLOW), 0);
    assert_int_equal(close(fd), 0);
    assert_string_equal(get_file(at(m.source, "named")), "nameless");
    assert_true(mounted_saw(&m, "create named uid=0 size=8"));
    assert_true(mounted_saw(&m, "write named uid=0 size=8"));
}

static void a_file_that_came_beneath_is_opened(void **state)
{
    int fd;

    (void)state;
    assert_int_equal(access(at(m.mnt, "f"), F_OK), -1); /* remembered as missing */
    put_file(at(m.source, "f"), "beneath");
    fd = open(at(m.mnt, "f"), O_RDWR | O_CREAT, 0644);
    assert_true(fd >= 0);
    (void)close(fd);
    assert_string_equal(get_file(at(m.source, "f")), "beneath");
    assert_int_equal(mounted_count(&m, "create f"), 0);
    put_file(at(m.source, "g"), "beneath");
    assert_int_equal(open(at(m.mnt, "g"), O_RDWR | O_CREAT | O_EXCL, 0644), -1);
    assert_int_equal(errno, EEXIST);
}

static void directories_are_synced_and_not_written(void **state)
{
    int fd = open(m.mnt, O_RDONLY | O_DIRECTORY);

    (void)state;
    assert_int_equal(fsync(fd), 0);
    assert_int_equal(fdatasync(fd), 0);
    assert_int_equal(close(fd), 0);
    assert_int_equal(open(m.mnt, O_WRONLY), -1);
    assert_int_equal(errno, EISDIR);
    fd = open(at(m.mnt, "f"), O_WRONLY | O_CREAT, 0644);
    assert_int_equal(write(fd, "x", 1), 1);
    assert_int_equal(fsync(fd), 0);
    assert_int_equal(fdatasync(fd), 0);
    assert_int_equal(close(fd), 0);
}

int main(void)
{
#define BOTH(fn)                                                                                   \
    cmocka_unit_test_setup_teardown(fn, setup_passthrough, teardown),                              \
        cmocka_unit_test_setup_teardown(fn, setup_cached, teardown)
    const struct CMUnitTest tests[] = {
        BOTH(open_modes),
        BOTH(a_write_is_seen_at_once),
        BOTH(read_only_truncation_counts_as_a_writer),
        BOTH(mapped_stores_show_in_the_times),
        BOTH(a_mapping_of_an_appending_descriptor),
        BOTH(unlinked_but_open),
        BOTH(replaced_but_open),
        BOTH(space_is_allocated_and_punched),
        BOTH(data_just_written_is_data),
        BOTH(ranges_are_copied),
        BOTH(opens_are_merged),
        BOTH(files_without_a_name),
        BOTH(a_file_that_came_beneath_is_opened),
        BOTH(directories_are_synced_and_not_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
