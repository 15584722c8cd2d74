/* test_os.c -- the real kernel keeps the promises of os.h. */
#include "scratch.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "mediagcfs/os.h"
#include "mediagcfs/path.h"

static struct mgc_os *os;

static int begin(void **state)
{
    os = mgc_os_real();
    return scratch_begin(state);
}

static const char *const bad_names[] = {".", "..", "a/b", "/", "/etc/passwd", "a/"};

static void an_identity_is_one_file(void **state)
{
    struct mgc_file_stat a, again, b;

    (void)state;
    scratch_write("a", "12345");
    assert_int_equal(os->stat(os, scratch_fd, "a", &a), 0);
    assert_int_equal(a.id.kind, MGC_ID_BIRTH); /* tmpfs has birth times */
    assert_true(mgc_file_id_equal(&a.id, &a.id));
    assert_int_equal(a.size_bytes, 5);
    assert_int_equal(a.nlink, 1);
    assert_int_equal(a.mode, S_IFREG | 0644);
    assert_in_range(a.ctime_us, mgc_now_us() - 60 * INT64_C(1000000), mgc_now_us() + 1000000);

    /* The name is not the file, nor is what was written into it. */
    assert_int_equal(os->rename_new(os, scratch_fd, "a", scratch_fd, "c"), 0);
    scratch_write("a", "other");
    scratch_write("c", "longer than before");
    assert_int_equal(os->stat(os, scratch_fd, "a", &b), 0);
    assert_int_equal(os->stat(os, scratch_fd, "c", &again), 0);
    assert_false(mgc_file_id_equal(&a.id, &b.id));
    assert_true(mgc_file_id_equal(&a.id, &again.id));
}

static void an_unknown_part_equals_nothing(void **state)
{
    const struct mgc_file_id birth = {1, 2, MGC_ID_BIRTH}, none = {1, 2, MGC_ID_NONE};
    const struct mgc_file_id generation = {1, 2, MGC_ID_GENERATION}, later = {1, 3, MGC_ID_BIRTH};
    const struct mgc_file_id other = {2, 2, MGC_ID_BIRTH}, zero = {0, 0, MGC_ID_BIRTH};

    (void)state;
    assert_true(mgc_file_id_equal(&birth, &birth));
    assert_true(mgc_file_id_equal(&generation, &generation));
    assert_false(mgc_file_id_equal(&none, &none));
    assert_false(mgc_file_id_equal(&birth, &none));
    assert_false(mgc_file_id_equal(&birth, &generation));
    assert_false(mgc_file_id_equal(&birth, &later));
    assert_false(mgc_file_id_equal(&birth, &other));
    assert_false(mgc_file_id_equal(&zero, &zero));
}

static void stat_follows_nothing(void **state)
{
    struct mgc_file_stat s, untouched = {.mode = 77}, dir;
    struct stat plain;

    (void)state;
    assert_int_equal(symlinkat("/etc/passwd", scratch_fd, "link"), 0);
    assert_int_equal(os->stat(os, scratch_fd, "link", &s), 0);
    assert_true(S_ISLNK(s.mode));
    assert_int_equal(os->stat(os, scratch_fd, "none", &untouched), -ENOENT);
    assert_int_equal(untouched.mode, 77);
    for (size_t i = 0; i < ARRAY_SIZE(bad_names); i++)
        assert_int_equal(os->stat(os, scratch_fd, bad_names[i], &s), -EINVAL);
    assert_int_equal(os->stat(os, scratch_fd, "", &dir), 0); /* the directory itself */
    assert_int_equal(fstat(scratch_fd, &plain), 0);
    assert_int_equal(dir.id.ino, plain.st_ino);
    assert_int_equal(dir.dev, plain.st_dev);
    assert_int_equal(dir.mode, plain.st_mode);
}

static void directories_open_beneath_the_root_only(void **state)
{
    struct stat s, want;
    int fd;

    (void)state;
    assert_int_equal(mkdirat(scratch_fd, "d", 0755), 0);
    assert_int_equal(mkdirat(scratch_fd, "d/e", 0755), 0);
    assert_int_equal(symlinkat("d", scratch_fd, "inside"), 0);
    assert_int_equal(symlinkat("/", scratch_fd, "outside"), 0);
    scratch_write("file", "");
    fd = os->open_dir(os, scratch_fd, "d/e");
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &s), 0);
    assert_int_equal(fstatat(scratch_fd, "d/e", &want, 0), 0);
    assert_int_equal(s.st_ino, want.st_ino);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    (void)close(fd);
    fd = os->open_dir(os, scratch_fd, "");
    assert_true(fd >= 0);
    (void)close(fd);
    assert_int_equal(os->open_dir(os, scratch_fd, "none"), -ENOENT);
    assert_int_equal(os->open_dir(os, scratch_fd, "file"), -ENOTDIR);
    assert_int_equal(os->open_dir(os, scratch_fd, "inside/e"), -ELOOP);
    assert_int_equal(os->open_dir(os, scratch_fd, "inside"), -ELOOP);
    assert_int_equal(os->open_dir(os, scratch_fd, "outside/etc"), -ELOOP);
    assert_int_equal(os->open_dir(os, scratch_fd, ".."), -EXDEV);
    assert_int_equal(os->open_dir(os, scratch_fd, "d/../.."), -EXDEV);
    assert_int_equal(os->open_dir(os, scratch_fd, "/etc"), -EXDEV);
}

static void the_parent_of_a_path(void **state)
{
    const char *leaf = NULL, *path = "d/file";
    struct mgc_err err = {0};
    int fd;

    (void)state;
    assert_int_equal(mkdirat(scratch_fd, "d", 0755), 0);
    fd = mgc_open_parent(os, scratch_fd, path, &leaf, &err);
    assert_true(fd >= 0);
    assert_ptr_equal(leaf, path + 2);
    assert_int_equal(err.code, 0);
    (void)close(fd);
    fd = mgc_open_parent(os, scratch_fd, "top", &leaf, &err);
    assert_true(fd >= 0);
    assert_string_equal(leaf, "top");
    (void)close(fd);

    leaf = path;
    assert_int_equal(mgc_open_parent(os, scratch_fd, "x/y", &leaf, &err), -ENOENT);
    assert_ptr_equal(leaf, path);
    assert_string_equal(err.text, "could not open directory 'x': No such file or directory");
    assert_int_equal(mgc_open_parent(os, scratch_fd, "../x", &leaf, &err), -EINVAL);
    assert_int_equal(mgc_open_parent(os, scratch_fd, MGC_PRIVATE_DIR "/x", &leaf, NULL), -EINVAL);
    assert_ptr_equal(leaf, path);
}

static void only_regular_files_open(void **state)
{
    char text[8] = "";
    int fd;

    (void)state;
    scratch_write("a", "text");
    assert_int_equal(symlinkat("a", scratch_fd, "link"), 0);
    assert_int_equal(mkdirat(scratch_fd, "d", 0755), 0);
    assert_int_equal(mkfifoat(scratch_fd, "pipe", 0644), 0);
    fd = os->open_file(os, scratch_fd, "a");
    assert_true(fd >= 0);
    assert_int_equal(read(fd, text, sizeof(text)), 4);
    assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    (void)close(fd);
    assert_int_equal(os->open_file(os, scratch_fd, "link"), -ELOOP);
    assert_int_equal(os->open_file(os, scratch_fd, "d"), -EISDIR);
    assert_int_equal(os->open_file(os, scratch_fd, "pipe"), -EINVAL);
    assert_int_equal(os->open_file(os, scratch_fd, "none"), -ENOENT);
    for (size_t i = 0; i < ARRAY_SIZE(bad_names); i++)
        assert_int_equal(os->open_file(os, scratch_fd, bad_names[i]), -EINVAL);
}

/* H3: handles of ours do not show a mapping that goes on writing, a lease does. */
static void a_lease_shows_every_writer(void **state)
{
    int reader, writer;
    char *map;

    (void)state;
    scratch_write("a", "text");
    reader = os->open_file(os, scratch_fd, "a");
    assert_true(reader >= 0);
    assert_int_equal(os->lease_read(os, reader), 0);
    os->lease_drop(os, reader);

    writer = openat(scratch_fd, "a", O_RDWR | O_CLOEXEC);
    assert_true(writer >= 0);
    assert_int_equal(os->lease_read(os, reader), -EAGAIN);
    map = mmap(NULL, 4, PROT_READ | PROT_WRITE, MAP_SHARED, writer, 0);
    assert_ptr_not_equal(map, MAP_FAILED);
    (void)close(writer);
    assert_int_equal(os->lease_read(os, reader), -EAGAIN);
    assert_int_equal(munmap(map, 4), 0);
    assert_int_equal(os->lease_read(os, reader), 0);
    os->lease_drop(os, reader);
    (void)close(reader);
}

/* SIGIO would end the daemon the first time somebody opens the file for writing meanwhile. */
static void a_broken_lease_harms_nobody(void **state)
{
    int status = 0;
    pid_t pid;

    (void)state;
    scratch_write("a", "text");
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int reader = os->open_file(os, scratch_fd, "a"), writer;

        (void)signal(SIGIO, SIG_DFL);
        if (reader < 0 || os->lease_read(os, reader) != 0)
            _exit(2);
        writer = openat(scratch_fd, "a", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
        if (writer >= 0 || errno != EWOULDBLOCK) /* it is being broken */
            _exit(3);
        os->lease_drop(os, reader);
        writer = openat(scratch_fd, "a", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
        _exit(writer >= 0 ? 0 : 4);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void no_lease_is_said_so(void **state)
{
    int ends[2];

    (void)state;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(os->lease_read(os, ends[0]), -EOPNOTSUPP);
    (void)close(ends[0]);
    (void)close(ends[1]);
    assert_int_equal(os->lease_read(os, ends[0]), -EBADF);
}

static void a_rename_never_replaces(void **state)
{
    struct mgc_file_stat a, b;

    (void)state;
    scratch_write("a", "a");
    scratch_write("b", "bb");
    assert_int_equal(mkdirat(scratch_fd, "d", 0755), 0);
    assert_int_equal(os->rename_new(os, scratch_fd, "a", scratch_fd, "b"), -EEXIST);
    assert_int_equal(os->rename_new(os, scratch_fd, "a", scratch_fd, "d"), -EEXIST);
    assert_int_equal(os->rename_new(os, scratch_fd, "none", scratch_fd, "x"), -ENOENT);
    assert_int_equal(os->stat(os, scratch_fd, "a", &a), 0);
    assert_int_equal(os->stat(os, scratch_fd, "b", &b), 0);
    assert_int_equal(a.size_bytes, 1);
    assert_int_equal(b.size_bytes, 2);
    assert_int_equal(os->rename_new(os, scratch_fd, "a", scratch_fd, "c"), 0);
    for (size_t i = 0; i < ARRAY_SIZE(bad_names); i++) {
        assert_int_equal(os->rename_new(os, scratch_fd, "c", scratch_fd, bad_names[i]), -EINVAL);
        assert_int_equal(os->rename_new(os, scratch_fd, bad_names[i], scratch_fd, "x"), -EINVAL);
    }
    assert_int_equal(os->rename_new(os, scratch_fd, "", scratch_fd, "x"), -EINVAL);
}

static void a_mode_is_what_was_asked_for(void **state)
{
    static const uint32_t masks[] = {0, 022, 077, 0777}, modes[] = {0700, 0755, 0777, 02775, 0};
    struct mgc_file_stat s;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(masks); i++)
        for (size_t j = 0; j < ARRAY_SIZE(modes); j++) {
            mode_t before = umask(masks[i]);
            int r = os->mkdir(os, scratch_fd, "d", modes[j]);

            (void)umask(before);
            assert_int_equal(r, 0);
            assert_int_equal(os->stat(os, scratch_fd, "d", &s), 0);
            assert_int_equal(s.mode, S_IFDIR | modes[j]);
            assert_int_equal(os->mkdir(os, scratch_fd, "d", 0755), -EEXIST);
            assert_int_equal(os->rmdir(os, scratch_fd, "d"), 0);
        }
    for (size_t i = 0; i < ARRAY_SIZE(bad_names); i++)
        assert_int_equal(os->mkdir(os, scratch_fd, bad_names[i], 0755), -EINVAL);
}

static void what_is_removed_is_of_its_kind(void **state)
{
    (void)state;
    scratch_write("a", "");
    assert_int_equal(mkdirat(scratch_fd, "d", 0755), 0);
    assert_int_equal(mkdirat(scratch_fd, "d/e", 0755), 0);
    assert_int_equal(symlinkat("a", scratch_fd, "link"), 0);
    assert_int_equal(os->unlink(os, scratch_fd, "d"), -EISDIR);
    assert_int_equal(os->rmdir(os, scratch_fd, "a"), -ENOTDIR);
    assert_int_equal(os->rmdir(os, scratch_fd, "d"), -ENOTEMPTY);
    assert_int_equal(os->unlink(os, scratch_fd, "d/e"), -EINVAL);
    assert_int_equal(os->rmdir(os, scratch_fd, "d/e"), -EINVAL);
    assert_int_equal(os->rmdir(os, scratch_fd, ".."), -EINVAL);
    assert_int_equal(os->unlink(os, scratch_fd, "link"), 0); /* not what it points to */
    assert_int_equal(faccessat(scratch_fd, "a", F_OK, 0), 0);
    assert_int_equal(os->unlink(os, scratch_fd, "a"), 0);
    assert_int_equal(os->unlink(os, scratch_fd, "a"), -ENOENT);
}

static void an_owner_is_changed_on_the_link_itself(void **state)
{
    struct mgc_file_stat s;

    (void)state;
    scratch_write("a", "");
    assert_int_equal(symlinkat("a", scratch_fd, "link"), 0);
    assert_int_equal(os->chown(os, scratch_fd, "link", 33, 34), 0);
    assert_int_equal(os->stat(os, scratch_fd, "link", &s), 0);
    assert_int_equal(s.uid, 33);
    assert_int_equal(s.gid, 34);
    assert_int_equal(os->stat(os, scratch_fd, "a", &s), 0);
    assert_int_equal(s.uid, geteuid());
    assert_int_equal(os->chown(os, scratch_fd, "none", 0, 0), -ENOENT);
    assert_int_equal(os->chown(os, scratch_fd, "../x", 0, 0), -EINVAL);
}

static void attributes_belong_to_the_name_itself(void **state)
{
    static const char key[] = "trusted.mediagcfs.test";
    char out[16] = "", name[MGC_NAME_BYTES_MAX + 1];

    (void)state;
    scratch_write("a", "");
    assert_int_equal(symlinkat("a", scratch_fd, "link"), 0);
    assert_int_equal(os->get_xattr(os, scratch_fd, "a", key, out, sizeof(out)), -ENODATA);
    assert_int_equal(os->set_xattr(os, scratch_fd, "a", key, "v\0w", 3), 0);
    assert_int_equal(os->get_xattr(os, scratch_fd, "a", key, out, sizeof(out)), 3);
    assert_memory_equal(out, "v\0w", 3);
    assert_int_equal(os->get_xattr(os, scratch_fd, "a", key, out, 2), -ERANGE);
    assert_int_equal(os->get_xattr(os, scratch_fd, "link", key, out, sizeof(out)), -ENODATA);
    assert_int_equal(os->set_xattr(os, scratch_fd, "link", key, "x", 1), 0);
    assert_int_equal(os->get_xattr(os, scratch_fd, "a", key, out, sizeof(out)), 3);
    assert_int_equal(os->remove_xattr(os, scratch_fd, "a", key), 0);
    assert_int_equal(os->remove_xattr(os, scratch_fd, "a", key), -ENODATA);
    assert_int_equal(os->get_xattr(os, scratch_fd, "none", key, out, sizeof(out)), -ENOENT);
    assert_int_equal(os->set_xattr(os, scratch_fd, "none", key, "x", 1), -ENOENT);
    assert_int_equal(os->set_xattr(os, scratch_fd, "../x", key, "x", 1), -EINVAL);

    memset(name, 'n', MGC_NAME_BYTES_MAX); /* the longest name still fits */
    name[MGC_NAME_BYTES_MAX] = '\0';
    scratch_write(name, "");
    assert_int_equal(os->set_xattr(os, scratch_fd, name, key, "x", 1), 0);
    assert_int_equal(os->get_xattr(os, scratch_fd, name, key, out, sizeof(out)), 1);
}

static void clocks_and_boot(void **state)
{
    char id[37], again[37], small[36];
    int64_t wall = os->now_us(os), boot = os->boottime_us(os), monotonic = mgc_monotonic_us();

    (void)state;
    assert_true(wall > INT64_C(1700000000) * 1000000);
    assert_true(mgc_now_us() >= wall && mgc_now_us() - wall < 60 * INT64_C(1000000));
    assert_true(boot > 0 && os->boottime_us(os) >= boot);
    assert_true(boot >= monotonic - 1000000);
    assert_int_equal(os->boot_id(os, id, sizeof(id)), 0);
    assert_int_equal(strlen(id), 36);
    assert_int_equal(os->boot_id(os, again, sizeof(again)), 0);
    assert_string_equal(id, again);
    assert_int_equal(os->boot_id(os, small, sizeof(small)), -ERANGE);
    assert_int_equal(os->sync_dir(os, scratch_fd), 0);
    assert_int_equal(os->sync_dir(os, -1), -EBADF);
}

static void random_bytes_are_all_filled(void **state)
{
    unsigned char a[64] = {0}, b[64] = {0}, seen = 0;

    (void)state;
    mgc_random(a, 0);
    assert_memory_equal(a, b, sizeof(a));
    mgc_random(a, sizeof(a));
    mgc_random(b, sizeof(b));
    assert_memory_not_equal(a, b, sizeof(a));
    for (size_t i = 48; i < sizeof(a); i++)
        seen |= a[i];
    assert_int_not_equal(seen, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, scratch_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_identity_is_one_file),
        TEST(an_unknown_part_equals_nothing),
        TEST(stat_follows_nothing),
        TEST(directories_open_beneath_the_root_only),
        TEST(the_parent_of_a_path),
        TEST(only_regular_files_open),
        TEST(a_lease_shows_every_writer),
        TEST(a_broken_lease_harms_nobody),
        TEST(no_lease_is_said_so),
        TEST(a_rename_never_replaces),
        TEST(a_mode_is_what_was_asked_for),
        TEST(what_is_removed_is_of_its_kind),
        TEST(an_owner_is_changed_on_the_link_itself),
        TEST(attributes_belong_to_the_name_itself),
        TEST(clocks_and_boot),
        TEST(random_bytes_are_all_filled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
