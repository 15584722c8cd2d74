/* site.c -- see site.h. */
#include "site.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "mediagcfs/path.h"

struct site S;

int64_t site_now_us(void)
{
    return S.os.now_us(&S.os);
}

static int64_t hooked_now_us(struct mgc_os *os)
{
    return mgc_os_real()->now_us(os) + S.ahead_us;
}

static int hooked_rename(struct mgc_os *os, int from_fd, const char *from, int to_fd,
                         const char *to)
{
    void (*hook)(void) = S.before_rename;

    S.before_rename = NULL;
    if (hook != NULL)
        hook();
    return mgc_os_real()->rename_new(os, from_fd, from, to_fd, to);
}

static int hooked_lease(struct mgc_os *os, int fd)
{
    S.lease_fd = fd;
    return mgc_os_real()->lease_read(os, fd);
}

static int hooked_set_xattr(struct mgc_os *os, int dir_fd, const char *name, const char *key,
                            const void *value, size_t bytes)
{
    if (S.no_xattr)
        return -EOPNOTSUPP;
    return mgc_os_real()->set_xattr(os, dir_fd, name, key, value, bytes);
}

static void on_event(void *arg, const struct mgc_event *event)
{
    static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;

    (void)arg;
    assert_int_equal(pthread_mutex_lock(&one), 0);
    S.events[event->kind]++;
    (void)snprintf(S.reason, sizeof(S.reason), "%s", event->reason != NULL ? event->reason : "");
    assert_int_equal(pthread_mutex_unlock(&one), 0);
}

static int reserve(void *arg, int64_t up_to, struct mgc_err *err)
{
    (void)arg;
    return mgc_home_reserve(&S.home, up_to, err);
}

static void start(void)
{
    struct mgc_catalog_spec spec = {.reserve = reserve, .mode = 0600, .gid = -1};
    struct mgc_quarantine_spec quarantine;
    struct mgc_err err = {0};
    char directory[96];

    if (mgc_home_open(&S.os, S.tree_fd, &S.home, &err) != 0)
        fail_msg("%s", err.text);
    (void)snprintf(directory, sizeof(directory), "%s/catalog", S.base);
    spec.directory = directory;
    spec.reserved_id = S.home.reserved_id;
    if (mgc_catalog_open_sqlite(&spec, &S.catalog, &err) != 0)
        fail_msg("%s", err.text);
    S.locks = mgc_pathlocks_new();
    assert_non_null(S.locks);
    quarantine = (struct mgc_quarantine_spec){
        .os = &S.os,
        .catalog = S.catalog,
        .home = &S.home,
        .locks = S.locks,
        .event = on_event,
    };
    assert_int_equal(mgc_quarantine_new(&quarantine, &S.q, NULL), 0);
}

static void stop(void)
{
    mgc_quarantine_free(S.q);
    mgc_pathlocks_free(S.locks);
    mgc_catalog_close(S.catalog);
    mgc_home_close(&S.home);
}

int site_setup(void **state)
{
    struct mgc_recover_result done;

    (void)state;
    memset(&S, 0, sizeof(S));
    (void)snprintf(S.base, sizeof(S.base), "/dev/shm/mediagcfs-unit-XXXXXX");
    assert_non_null(mkdtemp(S.base));
    S.tree_fd = open(S.base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(S.tree_fd >= 0);
    assert_int_equal(mkdirat(S.tree_fd, "tree", 0755), 0);
    assert_int_equal(mkdirat(S.tree_fd, "catalog", 0700), 0);
    (void)close(S.tree_fd);
    S.os = *mgc_os_real();
    S.os.rename_new = hooked_rename;
    S.os.lease_read = hooked_lease;
    S.os.set_xattr = hooked_set_xattr;
    S.os.now_us = hooked_now_us;
    {
        char tree[96];

        (void)snprintf(tree, sizeof(tree), "%s/tree", S.base);
        S.tree_fd = open(tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(S.tree_fd >= 0);
    }
    start();
    assert_int_equal(mgc_quarantine_recover(S.q, &done, NULL), 0);
    return 0;
}

static void remove_beneath(int dir_fd)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fdopendir(fd);
    struct dirent *e;

    while (dir != NULL && (e = readdir(dir)) != NULL) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (unlinkat(dir_fd, e->d_name, 0) < 0) {
            mgc_autofd sub = openat(dir_fd, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

            if (sub >= 0)
                remove_beneath(sub);
            (void)unlinkat(dir_fd, e->d_name, AT_REMOVEDIR);
        }
    }
    (void)closedir(dir);
}

int site_teardown(void **state)
{
    (void)state;
    stop();
    (void)close(S.tree_fd);
    mgc_autofd base = open(S.base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    remove_beneath(base);
    return rmdir(S.base);
}

struct mgc_recover_result site_restart(bool lose)
{
    struct mgc_recover_result first = {0}, again = {0};
    struct mgc_err err = {0};
    char directory[96];

    stop();
    (void)snprintf(directory, sizeof(directory), "%s/catalog", S.base);
    if (lose) {
        mgc_autofd fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        remove_beneath(fd);
    }
    start();
    if (mgc_quarantine_recover(S.q, &first, &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(mgc_quarantine_recover(S.q, &again, NULL), 0);
    assert_int_equal(again.alarms, first.alarms);
    again.alarms = 0;
    assert_memory_equal(&again, &(struct mgc_recover_result){0}, sizeof(again));
    return first;
}

/* ---- the application ---- */

static void record(enum mgc_change_kind kind, const char *path, const char *path2)
{
    struct mgc_change change = {.kind = kind, .path = path, .path2 = path2, .uid = 0};
    const char *leaf, *at = path2 != NULL ? path2 : path;
    mgc_autofd parent = mgc_open_parent(&S.os, S.tree_fd, at, &leaf, NULL);

    assert_true(parent >= 0);
    assert_int_equal(S.os.stat(&S.os, parent, leaf, &change.stat), 0);
    change.directory = S_ISDIR(change.stat.mode);
    change.time_us = site_now_us();
    assert_int_equal(S.catalog->ops->apply(S.catalog, &change, 1, NULL), 0);
}

void site_mkdir(const char *path)
{
    assert_int_equal(mkdirat(S.tree_fd, path, 0755), 0);
    record(MGC_CHANGE_MKDIR, path, NULL);
}

void site_file(const char *path, const char *content)
{
    int fd = openat(S.tree_fd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), (ssize_t)strlen(content));
    (void)close(fd);
    record(MGC_CHANGE_CREATE, path, NULL);
}

void site_symlink(const char *path, const char *target)
{
    assert_int_equal(symlinkat(target, S.tree_fd, path), 0);
    record(MGC_CHANGE_CREATE, path, NULL);
}

void site_rename_dir(const char *from, const char *to)
{
    assert_int_equal(renameat(S.tree_fd, from, S.tree_fd, to), 0);
    record(MGC_CHANGE_RENAME, from, to);
}

const char *site_read(const char *path)
{
    static char text[256];
    ssize_t n = readlinkat(S.tree_fd, path, text, sizeof(text) - 1);

    if (n < 0) {
        mgc_autofd fd = openat(S.tree_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

        n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    }
    if (n < 0)
        return NULL;
    text[n] = '\0';
    return text;
}

bool site_exists(const char *path)
{
    struct stat st;

    return fstatat(S.tree_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

int site_slots(void)
{
    DIR *dir = fdopendir(openat(S.home.slots_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    struct dirent *e;
    int count = 0;

    assert_non_null(dir);
    while ((e = readdir(dir)) != NULL)
        count += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    (void)closedir(dir);
    return count;
}

static int take(void *arg, const struct mgc_entry *entry)
{
    struct mgc_candidate *c = arg;

    c->entry_id = entry->id;
    c->id = entry->file_id;
    return 0;
}

struct mgc_candidate site_candidate(const char *path)
{
    struct mgc_candidate c = {.path = path, .horizon_us = site_now_us()};

    assert_int_equal(S.catalog->ops->entry_by_path(S.catalog, path, take, &c), 0);
    return c;
}

int site_move(const char *path, int64_t *ret_id)
{
    struct mgc_candidate c = site_candidate(path);
    struct mgc_move_outcome outcome;
    struct mgc_err err = {0};
    int r = mgc_quarantine_move(S.q, &c, 1, 5, &outcome, &err);

    assert_true(r <= 0);
    if (outcome.code == 0 && ret_id != NULL)
        *ret_id = outcome.held_id;
    if (r < 0)
        assert_true(outcome.code < 0);
    return outcome.code;
}

int site_purge(int64_t id, int64_t first_us, int64_t second_us, bool now)
{
    struct mgc_purge_rules rules = {
        .now_us = site_now_us(),
        .retention_us = 30 * 24 * SITE_HOUR,
        .min_retention_us = 7 * 24 * SITE_HOUR,
        .deleted_retention_us = 7 * 24 * SITE_HOUR,
    };
    int outcome = 1;

    assert_int_equal(
        mgc_quarantine_purge(S.q, &id, 1, first_us, second_us, now, &rules, "test", &outcome, NULL),
        0);
    return outcome;
}
