/*
 * test_hold.c -- H1 and H3: a file is moved away behind the kernel's back, with names cached for a
 * day and no notification sent.  Whatever the application does by the old name must not reach it.
 */
#include "mounted.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "mediagcfs/error.h"

#define SLOT ".mediagcfs/1"

static struct mounted m;

static int setup(void **state)
{
    (void)state;
    mounted_start(&m, &(struct mounted_options){0});
    put_file(at(m.mnt, "f"), "precious");
    /* Name and attributes are cached, the file is closed. */
    for (int i = 0; i < 400 && mounted_mark(&m, "f") != 0; i++)
        (void)usleep(5000);
    assert_int_equal(mounted_release(&m, "f"), 0);
    assert_string_equal(get_file(at(m.mnt, "f")), "precious");
    return 0;
}

static int setup_cached(void **state)
{
    (void)state;
    mounted_start(&m, &(struct mounted_options){.no_passthrough = true});
    put_file(at(m.mnt, "f"), "precious");
    assert_true(mounted_saw(&m, "write f"));
    assert_string_equal(get_file(at(m.mnt, "f")), "precious");
    (void)usleep(20000);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mounted_stop(&m);
    return 0;
}

static void hold(void)
{
    int r = MGC_E_BUSY;

    for (int i = 0; i < 400 && r == MGC_E_BUSY;
         i++) { /* the release of the last open is on its way */
        r = mounted_hold(&m, "f", SLOT);
        if (r == MGC_E_BUSY)
            (void)usleep(5000);
    }
    assert_int_equal(r, 0);
}

static void assert_held_untouched(void)
{
    struct stat st;

    assert_string_equal(get_file(at(m.source, SLOT)), "precious");
    assert_int_equal(stat(at(m.source, SLOT), &st), 0);
    assert_int_equal(st.st_nlink, 1);
    assert_int_equal(st.st_mode & 07777, 0644);
    assert_int_equal(st.st_uid, 0);
}

static void an_upload_to_the_old_name_makes_a_new_file(void **state)
{
    (void)state;
    hold();
    put_file(at(m.mnt, "f"), "upload"); /* O_CREAT | O_TRUNC through the cached name */
    assert_string_equal(get_file(at(m.source, "f")), "upload");
    assert_string_equal(get_file(at(m.mnt, "f")), "upload");
    assert_held_untouched();
}

static void writing_without_create_finds_nothing(void **state)
{
    (void)state;
    hold();
    assert_int_equal(open(at(m.mnt, "f"), O_WRONLY | O_TRUNC), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(access(at(m.source, "f"), F_OK), -1);
    assert_held_untouched();
}

static void attributes_and_links_do_not_reach_it(void **state)
{
    (void)state;
    hold();
    assert_int_equal(truncate(at(m.mnt, "f"), 0), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(chmod(at(m.mnt, "f"), 0600), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(chown(at(m.mnt, "f"), 33, 33), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(link(at(m.mnt, "f"), at(m.mnt, "g")), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(access(at(m.source, "g"), F_OK), -1);
    assert_int_equal(rename(at(m.mnt, "f"), at(m.mnt, "g")), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(unlink(at(m.mnt, "f")), -1);
    assert_int_equal(errno, ENOENT);
    assert_held_untouched();
}

static void a_descriptor_of_the_path_does_not_reach_it(void **state)
{
    char path[64];
    int fd = open(at(m.mnt, "f"), O_PATH);

    (void)state;
    assert_true(fd >= 0);
    hold();
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    assert_int_equal(open(path, O_WRONLY | O_TRUNC), -1);
    assert_int_equal(errno, ESTALE);
    assert_int_equal(truncate(path, 0), -1);
    assert_int_equal(errno, ESTALE);
    assert_int_equal(linkat(AT_FDCWD, path, AT_FDCWD, at(m.mnt, "g"), AT_SYMLINK_FOLLOW), -1);
    assert_held_untouched();
    (void)close(fd);
}

static void a_reader_goes_on_reading(void **state)
{
    struct stat st;
    char text[16] = "";
    int fd = open(at(m.mnt, "f"), O_RDONLY);

    (void)state;
    hold();
    assert_int_equal(read(fd, text, sizeof(text)), 8);
    assert_string_equal(text, "precious");
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(fchmod(fd, 0600), -1);
    assert_int_equal(errno, ESTALE);
    assert_int_equal(close(fd), 0);
    assert_held_untouched();
}

static void a_writer_is_not_moved(void **state)
{
    int fd = open(at(m.mnt, "f"), O_WRONLY);

    (void)state;
    assert_int_equal(mounted_hold(&m, "f", SLOT), MGC_E_BUSY);
    assert_int_equal(access(at(m.source, "f"), F_OK), 0);
    assert_int_equal(write(fd, "P", 1), 1);
    assert_int_equal(close(fd), 0);
    hold();
    assert_string_equal(get_file(at(m.source, SLOT)), "Precious");
}

/*
 * H3: the mapping outlives the descriptor.  Here it is the lease of the mover that shows it (tmpfs
 * has leases), so the mark alone succeeds; in the cached mode the handle itself stays open.
 */
static void a_mapping_shows(void **state)
{
    char *map;
    int fd = open(at(m.mnt, "f"), O_RDWR), back, lease;

    (void)state;
    map = mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(map != MAP_FAILED);
    assert_int_equal(close(fd), 0);
    (void)usleep(50000);
    back = open(at(m.source, "f"), O_RDONLY);
    assert_true(back >= 0);
    lease = fcntl(back, F_SETLEASE, F_RDLCK);
    if (lease == 0)
        (void)fcntl(back, F_SETLEASE, F_UNLCK);
    assert_true(lease != 0 || mounted_mark(&m, "f") == MGC_E_BUSY);
    (void)close(back);
    map[0] = 'P';
    assert_int_equal(munmap(map, 8), 0);
}

static void release_gives_it_back(void **state)
{
    (void)state;
    for (int i = 0; i < 400 && mounted_mark(&m, "f") != 0; i++)
        (void)usleep(5000);
    assert_int_equal(mounted_release(&m, "f"), 0);
    assert_string_equal(get_file(at(m.mnt, "f")), "precious");
    assert_int_equal(truncate(at(m.mnt, "f"), 3), 0);
    assert_string_equal(get_file(at(m.source, "f")), "pre");
}

/* A file put back under a live name is found there and served again. */
static void what_comes_back_is_served(void **state)
{
    (void)state;
    hold();
    assert_int_equal(open(at(m.mnt, "f"), O_RDONLY), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(rename(at(m.source, SLOT), at(m.source, "f")), 0);
    assert_int_equal(mounted_changed(&m, "", "f", false), 0);
    for (int i = 0; i < 400 && access(at(m.mnt, "f"), F_OK) < 0; i++)
        (void)usleep(5000);
    assert_string_equal(get_file(at(m.mnt, "f")), "precious");
    assert_int_equal(truncate(at(m.mnt, "f"), 0), 0);
}

/* The notification spares the application the look at a ghost, in names and in listings. */
static void a_notification_drops_the_name(void **state)
{
    struct stat st;
    int i, dir = open(m.mnt, O_RDONLY | O_DIRECTORY);

    (void)state;
    assert_int_equal(fstat(dir, &st), 0);
    hold();
    assert_int_equal(mounted_changed(&m, "", "f", true), 0);
    for (i = 0; i < 400 && stat(at(m.mnt, "f"), &st) == 0; i++)
        (void)usleep(5000);
    assert_true(i < 400);
    assert_int_equal(errno, ENOENT);
    (void)close(dir);
    assert_held_untouched();
}

int main(void)
{
#define BOTH(fn)                                                                                   \
    cmocka_unit_test_setup_teardown(fn, setup, teardown),                                          \
        cmocka_unit_test_setup_teardown(fn, setup_cached, teardown)
    const struct CMUnitTest tests[] = {
        BOTH(an_upload_to_the_old_name_makes_a_new_file),
        BOTH(writing_without_create_finds_nothing),
        BOTH(attributes_and_links_do_not_reach_it),
        BOTH(a_descriptor_of_the_path_does_not_reach_it),
        BOTH(a_reader_goes_on_reading),
        BOTH(a_writer_is_not_moved),
        BOTH(a_mapping_shows),
        BOTH(release_gives_it_back),
        BOTH(what_comes_back_is_served),
        BOTH(a_notification_drops_the_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
