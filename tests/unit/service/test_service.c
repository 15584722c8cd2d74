/*
 * The service: who may ask for what, the limits it enforces whoever asks, and the clock (H8).
 * A real tree in memory, opened without a mount; the clock is ours to set.
 */
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "mediagcfs/service.h"

#define SECOND_US INT64_C(1000000)
#define HOUR_US (3600 * SECOND_US)
#define DAY_US (24 * HOUR_US)

static struct {
    char dir[64];
    struct mgc_conf *conf;
    struct mgc_service *service;
    struct mgc_os os;
    int64_t shift_us, boot_shift_us;
    int boot;
    int root_fd;
    struct mgc_err err;
} F;

static int64_t shifted_now(struct mgc_os *os)
{
    (void)os;
    return mgc_os_real()->now_us(mgc_os_real()) + F.shift_us;
}

static int64_t shifted_boot(struct mgc_os *os)
{
    (void)os;
    return mgc_os_real()->boottime_us(mgc_os_real()) + F.boot_shift_us;
}

static int set_boot_id(struct mgc_os *os, char *out, size_t out_bytes)
{
    (void)os;
    (void)snprintf(out, out_bytes, "boot-%d", F.boot);
    return 0;
}

static const struct mgc_peer root = {.uid = 0, .pid = 1, .connection = 1};
static const struct mgc_peer other_root = {.uid = 0, .pid = 1, .connection = 2};
static const struct mgc_peer web = {.uid = 33, .gid = 33, .pid = 1, .connection = 3};
static const struct mgc_peer stranger = {.uid = 12345, .gid = 12345, .pid = 1, .connection = 4};

static int call(const struct mgc_peer *peer, json_t *request, json_t **ret_ok)
{
    json_t *ok = NULL;
    int r;

    assert_non_null(request);
    F.err = (struct mgc_err){0};
    r = mgc_service_handle(F.service, peer, request, NULL, NULL, &ok, &F.err);
    json_decref(request);
    if (ret_ok != NULL && r == 0)
        *ret_ok = ok;
    else
        json_decref(ok);
    return r;
}

static json_t *op(const char *name)
{
    return json_pack("{s:s}", "op", name);
}

static void open_service(void)
{
    const struct mgc_service_spec spec = {
        .conf = F.conf, .os = &F.os, .root_fd = F.root_fd, .offline = true};

    if (mgc_service_open(&spec, &F.service, &F.err) != 0)
        fail_msg("could not open: %s", F.err.text);
}

/* Stops, boots again with the clock on (or back) by this much, starts. */
static void reboot_after(int64_t us)
{
    F.boot++;
    assert_int_equal(mgc_service_close(F.service, &F.err), 0);
    F.service = NULL;
    F.shift_us += us;
    F.boot_shift_us += us;
    open_service();
}

static void make_file(const char *name)
{
    int fd = openat(F.root_fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, "x", 1), 1);
    (void)close(fd);
}

static int set_up(void **state)
{
    char path[128];

    (void)state;
    memset(&F, 0, sizeof(F));
    (void)snprintf(F.dir, sizeof(F.dir), "/dev/shm/mgc-service-XXXXXX");
    assert_non_null(mkdtemp(F.dir));
    (void)snprintf(path, sizeof(path), "%s/media", F.dir);
    assert_int_equal(mkdir(path, 0755), 0);
    assert_int_equal(chown(path, 33, 33), 0);
    F.root_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(mgc_conf_default("test", path, path, &F.conf, NULL), 0);
    free(F.conf->catalog.directory);
    free(F.conf->log.file);
    (void)snprintf(path, sizeof(path), "%s/catalog", F.dir);
    F.conf->catalog.directory = strdup(path);
    (void)snprintf(path, sizeof(path), "%s/catalog/events.jsonl", F.dir);
    F.conf->log.file = strdup(path);
    F.os = *mgc_os_real();
    F.os.now_us = shifted_now;
    F.os.boottime_us = shifted_boot;
    F.os.boot_id = set_boot_id;
    open_service();
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    (void)st;
    (void)type;
    (void)walk;
    return remove(path);
}

static int tear_down(void **state)
{
    (void)state;
    (void)mgc_service_close(F.service, NULL);
    mgc_conf_free(F.conf);
    (void)close(F.root_fd);
    return nftw(F.dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int64_t begin(const struct mgc_peer *peer, bool apply, const char *approve, json_t **ret_ok)
{
    json_t *ok = NULL;
    int64_t run;
    int r = call(peer,
                 json_pack("{s:s,s:b,s:s}", "op", "run.begin", "apply", apply, "approve", approve),
                 &ok);

    if (r < 0)
        return r;
    run = json_integer_value(json_object_get(ok, "run"));
    if (ret_ok != NULL)
        *ret_ok = ok;
    else
        json_decref(ok);
    return run;
}

static int end(const struct mgc_peer *peer, int64_t run, enum mgc_run_result result,
               const char *digest)
{
    return call(peer,
                json_pack("{s:s,s:I,s:{s:i,s:b,s:s,s:s}}", "op", "run.end", "run", (json_int_t)run,
                          "run_row", "result", (int)result, "complete", 1, "digest", digest,
                          "refusal", ""),
                NULL);
}

static json_t *move_request(int64_t run, size_t count, int64_t horizon_us)
{
    json_t *array = json_array();

    for (size_t i = 0; i < count; i++) {
        char name[32];

        (void)snprintf(name, sizeof(name), "f%zu", i);
        (void)json_array_append_new(array, json_pack("{s:I,s:s,s:I,s:I,s:i,s:I}", "id",
                                                     (json_int_t)i + 2, "path", name, "ino",
                                                     (json_int_t)1, "stamp", (json_int_t)1, "kind",
                                                     1, "horizon_us", (json_int_t)horizon_us));
    }
    return json_pack("{s:s,s:I,s:o}", "op", "run.move", "run", (json_int_t)run, "candidates",
                     array);
}

static void each_op_asks_who_it_is(void **state)
{
    static const struct {
        const char *op;
        bool web, stranger;
    } rows[] = {
        {"hello", true, true},        {"status", true, true},        {"flush", true, true},
        {"scan", true, false},        {"run.begin", true, false},    {"run.writers", true, false},
        {"run.orphans", true, false}, {"run.findings", true, false}, {"run.move", true, false},
        {"run.heal", true, false},    {"approve", false, false},     {"run.prove", true, false},
        {"run.end", true, false},     {"purge", false, false},       {"restore", false, false},
        {"hold", false, false},       {"resume", false, false},      {"stop", false, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        bool refused;

        (void)call(&web, op(rows[i].op), NULL);
        refused = strstr(F.err.text, "may not ask") != NULL;
        if (refused == rows[i].web)
            fail_msg("%s by the reconciler's user: %s", rows[i].op, F.err.text);
        (void)call(&stranger, op(rows[i].op), NULL);
        refused = strstr(F.err.text, "may not ask") != NULL;
        if (refused == rows[i].stranger)
            fail_msg("%s by a stranger: %s", rows[i].op, F.err.text);
    }
    assert_int_equal(call(&root, op("no.such.op"), NULL), MGC_E_PROTOCOL);
}

static void a_run_belongs_to_the_connection_that_began_it(void **state)
{
    int64_t run = begin(&web, true, "", NULL);

    (void)state;
    assert_true(run > 0);
    assert_int_equal(begin(&root, false, "", NULL), MGC_E_BUSY);
    assert_int_equal(call(&other_root, move_request(run, 1, 1), NULL), MGC_E_REFUSED);
    assert_int_equal(end(&other_root, run, MGC_RUN_DONE, ""), MGC_E_REFUSED);
    assert_int_equal(end(&web, run, MGC_RUN_DONE, ""), 0);
    assert_true(begin(&root, false, "", NULL) > run);
}

static int first_result(void *arg, const struct mgc_run *run)
{
    *(enum mgc_run_result *)arg = run->result;
    return 1;
}

static void a_run_whose_connection_goes_has_failed(void **state)
{
    struct mgc_catalog *c = mgc_service_catalog(F.service);
    enum mgc_run_result result = MGC_RUN_RUNNING;

    (void)state;
    assert_true(begin(&web, true, "", NULL) > 0);
    mgc_service_gone(F.service, &root); /* somebody else: nothing happens */
    assert_int_equal(begin(&root, false, "", NULL), MGC_E_BUSY);
    mgc_service_gone(F.service, &web);
    (void)c->ops->runs(c, 0, 1, first_result, &result);
    assert_int_equal(result, MGC_RUN_FAILED);
    assert_true(begin(&root, false, "", NULL) > 0);
}

static void limits_hold_whoever_asks(void **state)
{
    int64_t now = shifted_now(NULL), fine, run;

    (void)state;
    F.conf->reconcile.grace_us = HOUR_US;
    F.conf->reconcile.max_files = 3;
    fine = now - 2 * HOUR_US;
    run = begin(&root, false, "", NULL);
    assert_int_equal(call(&root, move_request(run, 1, fine), NULL), MGC_E_REFUSED);
    assert_non_null(strstr(F.err.text, "only describes"));
    assert_int_equal(end(&root, run, MGC_RUN_DONE, ""), 0);

    run = begin(&root, true, "", NULL);
    assert_int_equal(call(&root, move_request(run, 1, now - HOUR_US / 2), NULL), MGC_E_REFUSED);
    assert_non_null(strstr(F.err.text, "horizon"));
    assert_int_equal(call(&root, move_request(run, 1, 0), NULL), MGC_E_REFUSED);
    assert_int_equal(call(&root, move_request(run, 4, fine), NULL), MGC_E_REFUSED);
    assert_non_null(strstr(F.err.text, "at most 3 files"));
    assert_int_equal(call(&root, move_request(run, 3, fine), NULL), 0); /* none of them exists */
    assert_int_equal(end(&root, run, MGC_RUN_DONE, ""), 0);
}

static int approve(const struct mgc_peer *peer, const char *digest)
{
    return call(peer, json_pack("{s:s,s:s}", "op", "approve", "digest", digest), NULL);
}

static int refuse(const struct mgc_peer *peer, const char *digest, int candidates)
{
    int64_t run = begin(peer, true, "", NULL);

    return call(peer,
                json_pack("{s:s,s:I,s:{s:i,s:b,s:s,s:s,s:i}}", "op", "run.end", "run",
                          (json_int_t)run, "run_row", "result", MGC_RUN_REFUSED, "complete", 1,
                          "digest", digest, "refusal", "too many", "candidates", candidates),
                NULL);
}

/* How many files a run with this approval may move: 0 when not even one. */
static int allowed(const char *digest)
{
    int64_t run = begin(&web, true, digest, NULL), fine = shifted_now(NULL) - 2 * DAY_US;
    int most = 0;

    assert_true(run > 0);
    for (int n = 1; n <= 6; n++)
        if (call(&web, move_request(run, (size_t)n, fine), NULL) == 0)
            most = n;
    assert_int_equal(end(&web, run, MGC_RUN_INCOMPLETE, ""), 0);
    return most;
}

static void an_approval_is_an_operators_for_one_run_and_its_number(void **state)
{
    static const char digest[] = "00112233445566ff";

    (void)state;
    F.conf->reconcile.max_files = 1;
    assert_int_equal(refuse(&web, digest, 4), 0);
    assert_int_equal(allowed(digest), 1); /* nobody has approved it */
    assert_int_equal(approve(&web, digest), MGC_E_REFUSED);
    assert_int_equal(approve(&root, "ffffffffffffffff"), MGC_E_REFUSED);
    assert_int_equal(allowed(digest), 1);
    assert_int_equal(approve(&root, digest), 0);
    assert_int_equal(allowed("ffffffffffffffff"), 1); /* not the digest that was approved */
    assert_int_equal(allowed(digest), 4);
    assert_int_equal(allowed(digest), 1); /* spent */
}

static void an_approval_ends_with_the_next_run_that_judges(void **state)
{
    int64_t run;

    (void)state;
    F.conf->reconcile.max_files = 1;
    assert_int_equal(refuse(&web, "00112233445566ff", 4), 0);
    assert_int_equal(approve(&root, "00112233445566ff"), 0);
    run = begin(&web, false, "", NULL);
    assert_int_equal(end(&web, run, MGC_RUN_DONE, ""), 0);
    assert_int_equal(allowed("00112233445566ff"), 1);
    assert_int_equal(approve(&root, "00112233445566ff"), MGC_E_REFUSED);
}

/* H8 again: what was held before the step is held for its whole retention after it. */
static void a_clock_step_moves_the_floor_of_purges(void **state)
{
    (void)state;
    F.conf->quarantine.retention_us = DAY_US;
    assert_int_equal(call(&root, json_pack("{s:s,s:[]}", "op", "purge", "ids"), NULL), 0);
    assert_int_equal(mgc_catalog_meta(mgc_service_catalog(F.service), MGC_META_CLOCK_FLOOR, 0), 0);
    F.shift_us += 40 * DAY_US;
    assert_int_equal(call(&root, json_pack("{s:s,s:[]}", "op", "purge", "ids"), NULL), 0);
    assert_true(mgc_catalog_meta(mgc_service_catalog(F.service), MGC_META_CLOCK_FLOOR, 0) >
                shifted_now(NULL) - HOUR_US);
}

static void only_an_applied_run_heals(void **state)
{
    int64_t run = begin(&web, false, "", NULL);

    (void)state;
    assert_int_equal(
        call(&web, json_pack("{s:s,s:I,s:i}", "op", "run.heal", "run", (json_int_t)run, "id", 1),
             NULL),
        MGC_E_REFUSED);
}

static void a_hold_stops_moves_and_purges(void **state)
{
    int64_t fine = shifted_now(NULL) - 2 * DAY_US, run;
    json_t *ok = NULL;

    (void)state;
    assert_int_equal(call(&root,
                          json_pack("{s:s,s:I,s:s}", "op", "hold", "for_us", (json_int_t)HOUR_US,
                                    "reason", "migration"),
                          NULL),
                     0);
    run = begin(&root, true, "", &ok);
    assert_true(json_is_true(json_object_get(json_object_get(ok, "facts"), "held")));
    json_decref(ok);
    assert_int_equal(call(&root, move_request(run, 1, fine), NULL), MGC_E_REFUSED);
    assert_int_equal(call(&root, json_pack("{s:s,s:[]}", "op", "purge", "ids"), NULL),
                     MGC_E_REFUSED);
    F.shift_us += 2 * HOUR_US; /* it ends by itself */
    F.boot_shift_us += 2 * HOUR_US;
    assert_int_equal(call(&root, move_request(run, 1, fine), NULL), 0);
    assert_int_equal(call(&root, op("hold"), NULL), 0);
    F.shift_us += 365 * DAY_US;
    F.boot_shift_us += 365 * DAY_US;
    assert_int_equal(call(&root, move_request(run, 1, fine), NULL), MGC_E_REFUSED);
    assert_int_equal(call(&root, op("resume"), NULL), 0);
    assert_int_equal(call(&root, move_request(run, 1, fine), NULL), 0);
}

static bool stepped(void)
{
    json_t *ok = NULL;
    bool answer;
    int64_t run = begin(&root, false, "", &ok);

    assert_true(run > 0);
    answer = json_is_true(json_object_get(json_object_get(ok, "facts"), "clock_stepped"));
    json_decref(ok);
    assert_int_equal(end(&root, run, MGC_RUN_DONE, ""), 0);
    return answer;
}

/* H8: a clock that jumps must not make every wait pass at once. */
static void a_clock_step_restarts_every_wait(void **state)
{
    (void)state;
    make_file("a.txt");
    assert_false(stepped());
    F.shift_us += 30 * SECOND_US; /* below the minute that counts */
    assert_false(stepped());
    F.shift_us += 2 * DAY_US;
    assert_true(stepped());
    assert_true(stepped()); /* until grace has passed since */
    F.shift_us += F.conf->reconcile.grace_us + SECOND_US;
    F.boot_shift_us += F.conf->reconcile.grace_us + SECOND_US;
    assert_false(stepped());
}

static void a_start_before_the_last_event_or_long_after_restarts_every_wait(void **state)
{
    (void)state;
    assert_false(stepped());
    reboot_after(HOUR_US);
    assert_false(stepped());
    reboot_after(-3 * HOUR_US);
    assert_true(stepped());
    F.shift_us += F.conf->reconcile.grace_us + SECOND_US;
    F.boot_shift_us += F.conf->reconcile.grace_us + SECOND_US;
    assert_false(stepped());
    reboot_after(10 * DAY_US);
    assert_true(stepped());
}

static void copy_catalog(const char *from, const char *to)
{
    char command[256];
    pid_t child = fork();

    if (child == 0) {
        (void)snprintf(command, sizeof(command), "rm -rf %s/%s && cp -a %s/%s %s/%s", F.dir, to,
                       F.dir, from, F.dir, to);
        (void)execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(child, NULL, 0), child);
}

/* G6: a run of yesterday's catalog must not be taken for the last one. */
static void an_older_copy_of_the_catalog_restarts_every_wait(void **state)
{
    (void)state;
    assert_false(stepped());
    assert_int_equal(mgc_service_close(F.service, &F.err), 0);
    copy_catalog("catalog", "copy");
    open_service();
    assert_false(stepped()); /* the copy does not know this run */
    assert_int_equal(mgc_service_close(F.service, &F.err), 0);
    copy_catalog("copy", "catalog");
    open_service();
    assert_true(stepped());
    assert_true(mgc_catalog_meta(mgc_service_catalog(F.service), MGC_META_OPENED_FLOOR, 0) >
                shifted_now(NULL) - HOUR_US);
}

/* H10: the disk with the tree was swapped or is not mounted. */
static void another_tree_under_the_catalog_is_refused(void **state)
{
    const struct mgc_service_spec spec = {
        .conf = F.conf, .os = &F.os, .root_fd = F.root_fd, .offline = true};

    (void)state;
    assert_int_equal(mgc_service_close(F.service, &F.err), 0);
    F.service = NULL;
    assert_int_equal(renameat(F.root_fd, ".mediagcfs", F.root_fd, "elsewhere"), 0);
    assert_int_equal(mgc_service_open(&spec, &F.service, &F.err), MGC_E_IDENTITY);
    assert_null(F.service);
    assert_int_equal(mgc_code_to_exit(MGC_E_IDENTITY), 3);
}

/* ---- a catalog that cannot be read or written in part ---- */

static const struct mgc_catalog_ops *real_ops;
static struct mgc_catalog_ops failing_ops;
static const char *unreadable_key;

static int meta_get_fails(struct mgc_catalog *c, const char *key, int64_t *ret_value)
{
    return strcmp(key, unreadable_key) == 0 ? -EIO : real_ops->meta_get(c, key, ret_value);
}

static int text_get_fails(struct mgc_catalog *c, const char *key, char *out, size_t out_bytes)
{
    return strcmp(key, unreadable_key) == 0 ? -EIO
                                            : real_ops->meta_text_get(c, key, out, out_bytes);
}

static int forget_fails(struct mgc_catalog *c, const int64_t *ids, size_t count,
                        struct mgc_err *err)
{
    (void)c;
    (void)ids;
    (void)count;
    return mgc_err_set(err, -EIO, "could not forget");
}

static struct mgc_catalog_ops *take_over_catalog(void)
{
    struct mgc_catalog *c = mgc_service_catalog(F.service);

    real_ops = c->ops;
    failing_ops = *real_ops;
    c->ops = &failing_ops;
    return &failing_ops;
}

static bool fact(const char *name)
{
    json_t *ok = NULL;
    bool answer;
    int64_t run = begin(&root, false, "", &ok);

    assert_true(run > 0);
    answer = json_is_true(json_object_get(json_object_get(ok, "facts"), name));
    json_decref(ok);
    assert_int_equal(end(&root, run, MGC_RUN_DONE, ""), 0);
    return answer;
}

/* What cannot be read lifts no rule. */
static void an_unreadable_rule_holds(void **state)
{
    static const struct {
        const char *key, *fact;
    } rows[] = {
        {MGC_META_HOLD_UNTIL, "held"},
        {MGC_META_BYPASS, "bypass"},
        {MGC_META_CLOCK_FLOOR, "clock_stepped"},
        {MGC_META_CLOCK_OFFSET, "clock_stepped"},
    };

    (void)state;
    take_over_catalog()->meta_get = meta_get_fails;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        unreadable_key = "";
        if (fact(rows[i].fact))
            fail_msg("%s without a reason", rows[i].fact);
        unreadable_key = rows[i].key;
        if (!fact(rows[i].fact))
            fail_msg("%s is unreadable and says nothing", rows[i].key);
    }
    unreadable_key = MGC_META_HOLD_UNTIL;
    assert_int_equal(call(&root, json_pack("{s:s,s:[]}", "op", "purge", "ids"), NULL),
                     MGC_E_REFUSED);
    assert_non_null(strstr(F.err.hint, "resume"));
    /* Not taken for a new catalog, which has nothing to wait for. */
    failing_ops.meta_text_get = text_get_fails;
    unreadable_key = MGC_META_BOOT_ID;
    assert_int_equal(begin(&root, false, "", NULL), -EIO);
}

static int take_id(void *arg, const struct mgc_entry *entry)
{
    json_t *row = arg;

    (void)json_object_set_new(row, "id", json_integer(entry->id));
    (void)json_object_set_new(row, "ino", json_integer((json_int_t)entry->file_id.ino));
    (void)json_object_set_new(row, "stamp", json_integer(entry->file_id.stamp));
    (void)json_object_set_new(row, "kind", json_integer((json_int_t)entry->file_id.kind));
    return 0;
}

static json_t *candidate(const char *name, int64_t horizon_us)
{
    struct mgc_catalog *c = mgc_service_catalog(F.service);
    json_t *row = json_pack("{s:s,s:I}", "path", name, "horizon_us", (json_int_t)horizon_us);

    assert_int_equal(c->ops->entry_by_path(c, name, take_id, row), 0);
    return row;
}

static json_t *move_two(int64_t run, int64_t horizon_us)
{
    return json_pack("{s:s,s:I,s:[o,o]}", "op", "run.move", "run", (json_int_t)run, "candidates",
                     candidate("a", horizon_us), candidate("b", horizon_us));
}

/* The limits are on what moved, also where something else in the batch went wrong. */
static void what_moved_counts_although_its_batch_failed(void **state)
{
    json_t *ok = NULL, *second;
    int64_t run, t0;
    int writer;

    (void)state;
    F.conf->reconcile.grace_us = 0;
    F.conf->reconcile.max_files = 2;
    make_file("a");
    make_file("b");
    run = begin(&root, true, "", &ok);
    assert_true(run > 0);
    t0 = json_integer_value(json_object_get(ok, "t0_us"));
    json_decref(ok);
    second = move_two(run, t0);
    writer = openat(F.root_fd, "b", O_WRONLY | O_CLOEXEC);
    take_over_catalog()->held_forget = forget_fails;
    assert_int_equal(call(&root, move_two(run, t0), NULL), -EIO);
    mgc_service_catalog(F.service)->ops = real_ops;
    (void)close(writer);
    assert_int_equal(faccessat(F.root_fd, "a", F_OK, 0), -1); /* it did move */
    assert_int_equal(faccessat(F.root_fd, "b", F_OK, 0), 0);
    assert_int_equal(call(&root, second, NULL), MGC_E_REFUSED);
    assert_non_null(strstr(F.err.text, "at most 2 files"));
}

/* Until then nothing verifies, and two verifications at once would cross. */
static void no_scan_before_the_tree_is_served(void **state)
{
    const struct mgc_service_spec spec = {.conf = F.conf, .os = &F.os, .root_fd = F.root_fd};

    (void)state;
    assert_int_equal(mgc_service_close(F.service, &F.err), 0);
    F.service = NULL;
    assert_int_equal(mgc_service_open(&spec, &F.service, &F.err), 0);
    assert_int_equal(mgc_service_attach(F.service, NULL, &F.err), 0);
    assert_int_equal(call(&root, op("scan"), NULL), MGC_E_INCOMPLETE);
    assert_true(F.err.hint[0] != '\0');
    assert_int_equal(mgc_service_start(F.service, &F.err), 0);
    assert_int_equal(call(&root, op("scan"), NULL), 0);
}

/* A daemon that cannot say who the reconciler is would have it stay root. */
static void places_that_are_not_utf8_are_answered_too(void **state)
{
    static const char *const ops[] = {"hello", "status"};

    (void)state;
    free(F.conf->filesystem.source);
    F.conf->filesystem.source = strdup("/srv/m\xe9"
                                       "dia");
    for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
        json_t *ok = NULL;

        assert_int_equal(call(&root, op(ops[i]), &ok), 0);
        assert_true(json_is_string(json_object_get(ok, "source")));
        if (i == 0)
            assert_int_equal(json_integer_value(json_object_get(ok, "user")), 33);
        json_decref(ok);
    }
}

static void ids_are_not_spent_by_restarts(void **state)
{
    int64_t before, after;

    (void)state;
    before = mgc_catalog_meta(mgc_service_catalog(F.service), MGC_META_NEXT_ID, 0);
    for (int i = 0; i < 3; i++)
        reboot_after(SECOND_US);
    after = mgc_catalog_meta(mgc_service_catalog(F.service), MGC_META_NEXT_ID, 0);
    assert_in_range(after, before, before + 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_op_asks_who_it_is, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_run_belongs_to_the_connection_that_began_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_run_whose_connection_goes_has_failed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(limits_hold_whoever_asks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_approval_is_an_operators_for_one_run_and_its_number,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_approval_ends_with_the_next_run_that_judges, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_clock_step_moves_the_floor_of_purges, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_an_applied_run_heals, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_hold_stops_moves_and_purges, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_clock_step_restarts_every_wait, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_start_before_the_last_event_or_long_after_restarts_every_wait, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_older_copy_of_the_catalog_restarts_every_wait, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(another_tree_under_the_catalog_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_unreadable_rule_holds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_moved_counts_although_its_batch_failed, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(no_scan_before_the_tree_is_served, set_up, tear_down),
        cmocka_unit_test_setup_teardown(places_that_are_not_utf8_are_answered_too, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(ids_are_not_spent_by_restarts, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
