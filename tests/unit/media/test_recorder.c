/* The recorder against a catalog that is a list: merging, order, full queue, failures, flush. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sys/stat.h>

#include "fs/media/recorder_priv.h"
#include "mediagcfs/assert.h"
#include "mediagcfs/bytes.h"

/* ---- a catalog that writes down what it is told ---- */

struct fake {
    struct mgc_catalog base; /* first */
    pthread_mutex_t mutex;
    pthread_cond_t moved;
    struct mgc_buf log; /* "C a;U a;" */
    int64_t applied, calls, flushes, alive, floor;
    int64_t incomplete, verified;
    int64_t last_of[8]; /* per pusher: the number in its last path */
    bool in_order;
    int fail_next, fail_code; /* that many applies fail */
    int fail_meta;            /* that many meta_sets fail */
    bool closed, inside;      /* the gate: an apply waits while closed */
    int told;
    char told_text[MGC_ERR_TEXT_BYTES];
};
static struct fake F;

/* In the order of enum mgc_change_kind. */
static const char *const letters = "CLWSMUNRXO";

static void note(const struct mgc_change *c)
{
    unsigned who, number;

    F.applied++;
    if (sscanf(c->path, "p%u/%u", &who, &number) == 2 && who < ARRAY_SIZE(F.last_of)) {
        F.in_order &= F.last_of[who] < (int64_t)number;
        F.last_of[who] = number;
        return;
    }
    mgc_buf_addf(&F.log, "%c%s", letters[c->kind], c->path);
    if (c->path2 != NULL)
        mgc_buf_addf(&F.log, ">%s", c->path2);
    if (c->kind == MGC_CHANGE_WRITE || c->kind == MGC_CHANGE_OPEN || c->kind == MGC_CHANGE_STAT)
        mgc_buf_addf(&F.log, "@%d", (int)c->time_us);
    mgc_buf_addc(&F.log, ' ');
}

static int fake_apply(struct mgc_catalog *c, const struct mgc_change *changes, size_t count,
                      struct mgc_err *err)
{
    int r = 0;

    (void)c;
    (void)pthread_mutex_lock(&F.mutex);
    F.calls++;
    F.inside = true;
    (void)pthread_cond_broadcast(&F.moved);
    while (F.closed)
        (void)pthread_cond_wait(&F.moved, &F.mutex);
    F.inside = false;
    if (F.fail_next > 0) {
        F.fail_next--;
        r = mgc_err_set(err, F.fail_code, "could not commit");
    } else
        for (size_t i = 0; i < count; i++)
            note(&changes[i]);
    (void)pthread_mutex_unlock(&F.mutex);
    return r;
}

static int fake_meta_set(struct mgc_catalog *c, const char *key, int64_t value, struct mgc_err *err)
{
    int r = 0;

    (void)c;
    (void)pthread_mutex_lock(&F.mutex);
    if (F.fail_meta > 0) {
        F.fail_meta--;
        r = mgc_err_set(err, -ENOSPC, "could not set %s", key);
    } else if (strcmp(key, MGC_META_INCOMPLETE) == 0)
        F.incomplete = value;
    else if (strcmp(key, MGC_META_VERIFIED) == 0)
        F.verified = value;
    else if (strcmp(key, MGC_META_ALIVE) == 0)
        F.alive = value;
    else if (strcmp(key, MGC_META_OPENED_FLOOR) == 0)
        F.floor = value;
    (void)pthread_mutex_unlock(&F.mutex);
    return r;
}

static int fake_flush(struct mgc_catalog *c, struct mgc_err *err)
{
    (void)c;
    (void)err;
    (void)pthread_mutex_lock(&F.mutex);
    F.flushes++;
    (void)pthread_mutex_unlock(&F.mutex);
    return 0;
}

static const struct mgc_catalog_ops fake_ops = {
    .kind = "list", .apply = fake_apply, .meta_set = fake_meta_set, .flush = fake_flush};

static void told_incomplete(void *arg, const struct mgc_err *why)
{
    (void)arg;
    (void)pthread_mutex_lock(&F.mutex);
    F.told++;
    (void)snprintf(F.told_text, sizeof(F.told_text), "%s", why->text);
    (void)pthread_mutex_unlock(&F.mutex);
}

static int set_up(void **state)
{
    (void)state;
    memset(&F, 0, sizeof(F));
    F.base.ops = &fake_ops;
    F.in_order = true;
    for (size_t i = 0; i < ARRAY_SIZE(F.last_of); i++)
        F.last_of[i] = -1;
    (void)pthread_mutex_init(&F.mutex, NULL);
    (void)pthread_cond_init(&F.moved, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    mgc_buf_done(&F.log);
    (void)pthread_cond_destroy(&F.moved);
    (void)pthread_mutex_destroy(&F.mutex);
    return 0;
}

static int64_t peek(const int64_t *value)
{
    int64_t seen;

    (void)pthread_mutex_lock(&F.mutex);
    seen = *value;
    (void)pthread_mutex_unlock(&F.mutex);
    return seen;
}

static void gate(bool closed)
{
    (void)pthread_mutex_lock(&F.mutex);
    F.closed = closed;
    (void)pthread_cond_broadcast(&F.moved);
    (void)pthread_mutex_unlock(&F.mutex);
}

static void wait_until_inside(void)
{
    (void)pthread_mutex_lock(&F.mutex);
    while (!F.inside)
        (void)pthread_cond_wait(&F.moved, &F.mutex);
    (void)pthread_mutex_unlock(&F.mutex);
}

static struct mgc_recorder *start(int64_t commit_every_us)
{
    struct mgc_recorder_spec spec = {.catalog = &F.base,
                                     .os = mgc_os_real(),
                                     .commit_every_us = commit_every_us,
                                     .incomplete = told_incomplete};
    struct mgc_recorder *r = NULL;

    assert_int_equal(mgc_recorder_start(&spec, &r, NULL), 0);
    return r;
}

static void push(struct mgc_recorder *r, enum mgc_change_kind kind, const char *path)
{
    struct mgc_change c = {.kind = kind, .path = path, .time_us = 1};
    mgc_recorder_push(r, &c);
}

#define NEVER_US (INT64_C(3600) * 1000000)

/* ---- merging ---- */

/* "Ca Wa@5 Ra>b Da>b": letters as above, D a renamed directory, times are optional. */
static size_t parse(char *text, struct mgc_change *changes)
{
    size_t n = 0;
    char *rest = NULL;

    for (char *w = strtok_r(text, " ", &rest); w != NULL; w = strtok_r(NULL, " ", &rest)) {
        struct mgc_change c = {.time_us = 1, .path = w + 1};
        char *cut = strchr(w, '@');

        if (cut != NULL) {
            c.time_us = strtol(cut + 1, NULL, 10);
            *cut = '\0';
        }
        cut = strchr(w, '>');
        if (cut != NULL) {
            *cut = '\0';
            c.path2 = cut + 1;
        }
        if (*w == 'D') {
            c.kind = MGC_CHANGE_RENAME;
            c.directory = true;
        } else
            c.kind = (enum mgc_change_kind)(strchr(letters, *w) - letters);
        changes[n++] = c;
    }
    return n;
}

static void show(struct mgc_buf *out, const struct mgc_change *c, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char letter = letters[c[i].kind];

        if (c[i].kind == MGC_CHANGE_RENAME && c[i].directory)
            letter = 'D';
        mgc_buf_addf(out, "%s%c%s", i > 0 ? " " : "", letter, c[i].path);
        if (c[i].path2 != NULL)
            mgc_buf_addf(out, ">%s", c[i].path2);
        if (c[i].time_us != 1)
            mgc_buf_addf(out, "@%d", (int)c[i].time_us);
    }
}

static const struct {
    const char *what, *given, *want;
} merges[] = {
    /* clang-format off */
    {"repeated opens",                     "Oa@3 Ob@4 Oa@5",          "Ob@4 Oa@5"},
    {"the later time stands",              "Oa@9 Oa@5",               "Oa@9"},
    {"repeated writes",                    "Wa@2 Wb@3 Wa@4",          "Wb@3 Wa@4"},
    {"a write covers a stat",              "Sa@2 Wa@3",               "Wa@3"},
    {"a stat does not cover a write",      "Wa@2 Sa@3",               "Wa@2 Sa@3"},
    {"stats around a write",               "Sa@2 Wa@3 Sa@4 Sa@5",     "Wa@3 Sa@5"},
    {"different kinds stay",               "Ca Wa@2 Oa@3",            "Ca Wa@2 Oa@3"},
    {"a temporary file",                   "Ca Wa@2 Oa@3 Sa@4 Ua",    "Ua"},
    {"others between it stay in order",    "Cx Ca Cy Wa Ua Uy Wx@2",  "Cx Ua Uy Wx@2"},
    {"unlink of what was there stays",     "Wa@2 Ua",                 "Wa@2 Ua"},
    {"replaced by remove and create",      "Ua Ca Wa@2",              "Ua Ca Wa@2"},
    {"free before it was created",         "Ua Ca Wa Ua",             "Ua"},
    {"twice created, removed",             "Ca Ua Ca Ua Ca",          "Ua Ca"},
    {"created over something",             "Wa@2 Ca Wa@3 Ua",         "Wa@2 Ua"},
    {"created twice without an unlink",    "Ua Ca Ca Ua",             "Ua Ca Ua"},
    {"not known free: something wrote",    "Ua Wa@2 Ca Ua",           "Ua Wa@2 Ua"},
    {"renamed away stays",                 "Ca Wa@2 Ra>b",            "Ca Wa@2 Ra>b"},
    {"renamed, then removed",              "Ca Ra>b Ub",              "Ca Ra>b Ub"},
    {"renamed away, then made again",      "Ca Ra>b Ca Ua",           "Ca Ra>b"},
    {"renamed over: not the same file",    "Ca Rb>a Ua",              "Ca Rb>a Ua"},
    {"writes before and after a rename",   "Wa@2 Ra>b Rb>a Wa@3",     "Wa@2 Ra>b Rb>a Wa@3"},
    {"exchanged",                          "Ca Xa>b Ua Ub",           "Ca Xa>b Ua Ub"},
    {"directory renamed in between",       "Cd/a Dd>e Md Cd/a Ud/a",  "Cd/a Dd>e Md Ud/a"},
    {"and the old one removed",            "Cd/a Dd>e Ue/a",          "Cd/a Dd>e Ue/a"},
    {"writes across a directory rename",   "Wd/a@2 Dd>e Dx>d Wd/a@3", "Wd/a@2 Dd>e Dx>d Wd/a@3"},
    {"create across a directory rename",   "Cd/a Dd>e Dx>d Ud/a",     "Cd/a Dd>e Dx>d Ud/a"},
    {"free across a directory rename",     "Ud/a Dx>d Cd/a Ud/a",     "Ud/a Dx>d Ud/a"},
    {"removed directory in between",       "Wd/a@2 Nd Md Wd/a@3",     "Wd/a@2 Nd Md Wd/a@3"},
    {"file where a directory was",         "Ma Na Ca Wa@2",           "Ma Na Ca Wa@2"},
    {"second name keeps the first's row",  "Ca La2 Ua",               "Ca La2 Ua"},
    {"a link itself is not cancelled",     "Lb Ub",                   "Lb Ub"},
    {"created after the link",             "Lb Ca Ua",                "Lb Ua"},
    {"nothing to merge",                   "Ca",                      "Ca"},
    /* clang-format on */
};

static void batches_merge_as_the_table_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(merges); i++) {
        struct mgc_change changes[16];
        char text[128];
        mgc_autobuf got = {0};

        (void)snprintf(text, sizeof(text), "%s", merges[i].given);
        show(&got, changes, mgc_recorder_merge(changes, parse(text, changes), true));
        if (strcmp(got.data, merges[i].want) != 0)
            fail_msg("%s: '%s' became '%s', want '%s'", merges[i].what, merges[i].given, got.data,
                     merges[i].want);
    }
}

static void nothing_is_cancelled_while_a_verification_runs(void **state)
{
    char text[] = "Ua Ca Wa@2 Wa@3 Ua";
    struct mgc_change changes[8];
    mgc_autobuf got = {0};

    (void)state;
    show(&got, changes, mgc_recorder_merge(changes, parse(text, changes), false));
    assert_string_equal(got.data, "Ua Ca Wa@3 Ua");
}

/*
 * The catalog as a set of paths with the last write of each: a random batch and what it is merged
 * to must leave the same set, whatever was there before.
 */
struct model {
    int rows[8]; /* 0: none, else 1 + time of last write */
    int opened[8];
};

static void model_apply(struct model *m, const struct mgc_change *c)
{
    size_t a = (size_t)(c->path[0] - 'a'), b = c->path2 != NULL ? (size_t)(c->path2[0] - 'a') : 0;

    switch (c->kind) {
    case MGC_CHANGE_CREATE:
        m->rows[a] = 1;
        m->opened[a] = 0;
        break;
    case MGC_CHANGE_UNLINK:
        m->rows[a] = 0;
        m->opened[a] = 0;
        break;
    case MGC_CHANGE_WRITE:
        if (m->rows[a] != 0)
            m->rows[a] = 1 + (int)c->time_us;
        break;
    case MGC_CHANGE_OPEN:
        if (m->rows[a] != 0)
            m->opened[a] = (int)c->time_us;
        break;
    case MGC_CHANGE_RENAME:
        if (a == b || m->rows[a] == 0)
            break;
        m->rows[b] = m->rows[a];
        m->opened[b] = m->opened[a];
        m->rows[a] = m->opened[a] = 0;
        break;
    default:
        break;
    }
}

static void random_batches_mean_the_same_when_merged(void **state)
{
    static const enum mgc_change_kind kinds[] = {
        MGC_CHANGE_CREATE, MGC_CHANGE_UNLINK, MGC_CHANGE_WRITE, MGC_CHANGE_OPEN, MGC_CHANGE_RENAME};
    static const char *const names[] = {"a", "b", "c"};
    unsigned seed = 4711;
    size_t saved = 0;

    (void)state;
    for (int round = 0; round < 20000; round++) {
        struct mgc_change changes[24];
        struct model plain = {.rows = {round & 1, round & 2, round & 4}}, merged = plain;
        size_t count = ARRAY_SIZE(changes), kept;

        for (size_t i = 0; i < count; i++) {
            changes[i] = (struct mgc_change){
                .kind = kinds[(size_t)rand_r(&seed) % ARRAY_SIZE(kinds)],
                .path = names[rand_r(&seed) % 3],
                .time_us = (int64_t)i + 2,
            };
            if (changes[i].kind == MGC_CHANGE_RENAME)
                changes[i].path2 = names[rand_r(&seed) % 3];
            model_apply(&plain, &changes[i]);
        }
        kept = mgc_recorder_merge(changes, count, true);
        saved += count - kept;
        for (size_t i = 0; i < kept; i++)
            model_apply(&merged, &changes[i]);
        if (memcmp(&plain, &merged, sizeof(plain)) != 0)
            fail_msg("round %d: the merged batch means something else", round);
    }
    assert_true(saved > 10000); /* it did merge */
}

/* ---- queue, flush, failures ---- */

static void changes_arrive_in_order_with_own_copies_of_paths(void **state)
{
    struct mgc_recorder *r = start(NEVER_US);
    char path[16] = "x", path2[16] = "y";
    struct mgc_change c = {.kind = MGC_CHANGE_RENAME, .path = path, .path2 = path2};
    struct mgc_recorder_counts counts;

    (void)state;
    push(r, MGC_CHANGE_CREATE, path);
    mgc_recorder_push(r, &c);
    path[0] = path2[0] = '!';
    mgc_recorder_counts(r, &counts);
    assert_int_equal(counts.queued, 2);
    assert_int_equal(mgc_recorder_flush(r, NULL), 0);
    assert_string_equal(F.log.data, "Cx Rx>y ");
    assert_true(F.alive > 0);
    assert_int_equal(F.flushes, 1);
    mgc_recorder_counts(r, &counts);
    assert_int_equal(counts.queued, 0);
    assert_int_equal(counts.recorded, 2);
    assert_int_equal(F.incomplete, 0);
    assert_int_equal(mgc_recorder_stop(r, NULL), 0);
    assert_int_equal(mgc_recorder_stop(NULL, NULL), 0);
}

static void a_batch_commits_by_itself_when_its_time_has_come(void **state)
{
    struct mgc_recorder *r = start(20 * 1000);

    (void)state;
    push(r, MGC_CHANGE_CREATE, "a");
    for (int i = 0; i < 5000 && peek(&F.applied) == 0; i++)
        (void)usleep(1000);
    assert_int_equal(peek(&F.applied), 1);
    assert_int_equal(mgc_recorder_stop(r, NULL), 0);
}

static void a_half_full_queue_does_not_wait_for_its_time(void **state)
{
    struct mgc_recorder *r = start(NEVER_US);
    char path[32];

    (void)state;
    for (int i = 0; i < MGC_RECORDER_QUEUE_MAX / 2; i++) {
        (void)snprintf(path, sizeof(path), "p0/%d", i);
        push(r, MGC_CHANGE_CREATE, path);
    }
    for (int i = 0; i < 5000 && peek(&F.applied) == 0; i++)
        (void)usleep(1000);
    assert_int_equal(peek(&F.applied), MGC_RECORDER_QUEUE_MAX / 2);
    assert_int_equal(mgc_recorder_stop(r, NULL), 0);
}

static void stop_commits_the_rest(void **state)
{
    struct mgc_recorder *r = start(NEVER_US);

    (void)state;
    push(r, MGC_CHANGE_CREATE, "a");
    push(r, MGC_CHANGE_OPEN, "b");
    assert_int_equal(mgc_recorder_stop(r, NULL), 0);
    assert_string_equal(F.log.data, "Ca Ob@1 ");
    assert_int_equal(F.flushes, 1);
}

static void reads_alone_cost_no_commit(void **state)
{
    struct mgc_recorder *r = start(NEVER_US);

    (void)state;
    push(r, MGC_CHANGE_OPEN, "a");
    assert_int_equal(mgc_recorder_drain(r, NULL), 0);
    assert_string_equal(F.log.data, "Oa@1 ");
    assert_int_equal(F.alive, 0);
    assert_int_equal(F.flushes, 0); /* the array stays in memory */
    assert_int_equal(mgc_recorder_flush(r, NULL), 0);
    assert_int_equal(F.flushes, 1); /* and is written for whoever asks */
    assert_int_equal(mgc_recorder_flush(r, NULL), 0);
    assert_int_equal(F.flushes, 1);
    assert_int_equal(mgc_recorder_stop(r, NULL), 0);
}

static void *flush_in_thread(void *arg)
{
    int *code = malloc(sizeof(*code));

    *code = mgc_recorder_flush(arg, NULL);
    return code;
}

static void a_flush_waits_for_a_commit_and_a_push_does_not(void **state)
{
    struct mgc_recorder *r = start(NEVER_US);
    mgc_autofree int *code = NULL;
    void *result = NULL;
    pthread_t thread;

    (void)state;
    push(r, MGC_CHANGE_CREATE, "a");
    gate(true);
    assert_int_equal(pthread_create(&thread, NULL, flush_in_thread, r), 0);
    wait_until_inside(); /* the commit hangs */
    push(r, MGC_CHANGE_CREATE, "b");
    push(r, MGC_CHANGE_UNLINK, "b");
    assert_int_equal(pthread_tryjoin_np(thread, NULL), EBUSY);
    assert_int_equal(peek(&F.applied), 0);
    gate(false);
    assert_int_equal(pthread_join(thread, &result), 0);
    code = result;
    assert_int_equal(*code, 0);
    assert_true(peek(&F.applied) >= 1);
    assert_int_equal(mgc_recorder_stop(r, NULL), 0);
    assert_string_equal(F.log.data, "Ca Ub ");
}

static void a_full_queue_drops_and_says_so(void **state)
{
    struct mgc_recorder *r = start(NEVER_US);
    struct mgc_recorder_counts counts;
    char path[32];

    (void)state;
    gate(true);
    push(r, MGC_CHANGE_CREATE, "first");
    for (int i = 0; i < MGC_RECORDER_QUEUE_MAX / 2; i++)
        push(r, MGC_CHANGE_CREATE, "z"); /* wakes the writer, which hangs in the commit */
    wait_until_inside();
    for (int i = 0; i < MGC_RECORDER_QUEUE_MAX + 10; i++) {
        (void)snprintf(path, sizeof(path), "p1/%d", i);
        push(r, MGC_CHANGE_CREATE, path);
    }
    mgc_recorder_counts(r, &counts);
    assert_true(counts.dropped >= 10);
    assert_true(mgc_recorder_misses(r) >= 10);
    assert_int_equal(peek(&F.incomplete), 0);
    gate(false);
    assert_int_equal(mgc_recorder_flush(r, NULL), 0); /* what was queued is committed */
    assert_int_equal(F.incomplete, 1);                /* and the catalog knows */
    assert_int_equal(F.floor, 0);                     /* no open was lost */
    assert_true(F.told >= 1);
    assert_non_null(strstr(F.told_text, "too many changes"));
    assert_int_equal(mgc_recorder_stop(r, NULL), 0);
    assert_true(F.in_order);
}

static void opens_leave_room_for_births(void **state)
{
    struct mgc_recorder *r = start(NEVER_US);
    char path[32];

    (void)state;
    gate(true);
    for (int i = 0; i < MGC_RECORDER_QUEUE_MAX / 2; i++)
        push(r, MGC_CHANGE_OPEN, "z");
    wait_until_inside();
    for (int i = 0; i < MGC_RECORDER_QUEUE_MAX; i++) {
        (void)snprintf(path, sizeof(path), "p2/%d", i);
        push(r, MGC_CHANGE_OPEN, path);
    }
    push(r, MGC_CHANGE_CREATE, "birth");
    gate(false);
    assert_int_equal(mgc_recorder_flush(r, NULL), 0);
    assert_non_null(strstr(F.log.data, "Cbirth "));
    assert_true(F.floor > 0); /* lost opens: everything counts as opened */
    assert_int_equal(F.incomplete, 1);
    assert_int_equal(mgc_recorder_stop(r, NULL), 0);
}

static void a_failed_commit_is_told_and_tried_again(void **state)
{
    struct mgc_recorder *r = start(NEVER_US);
    struct mgc_recorder_counts counts;
    struct mgc_err err = {0};

    (void)state;
    F.fail_next = 1;
    F.fail_code = -ENOSPC;
    push(r, MGC_CHANGE_CREATE, "a");
    assert_int_equal(mgc_recorder_flush(r, &err), -ENOSPC);
    assert_non_null(strstr(err.text, "could not commit"));
    push(r, MGC_CHANGE_CREATE, "b");
    assert_int_equal(mgc_recorder_flush(r, NULL), 0);
    assert_string_equal(F.log.data, "Ca Cb ");
    assert_int_equal(F.incomplete, 1);
    assert_int_equal(F.told, 1);
    mgc_recorder_counts(r, &counts);
    assert_int_equal(counts.failed_commits, 1);
    assert_int_equal(counts.dropped, 0);
    assert_int_equal(mgc_recorder_stop(r, NULL), 0);
}

static void a_batch_that_never_commits_is_given_up_and_counted(void **state)
{
    struct mgc_recorder *r = start(1000);
    struct mgc_recorder_counts counts = {0};

    (void)state;
    F.fail_next = MGC_RECORDER_ATTEMPTS_MAX;
    F.fail_code = -EIO;
    push(r, MGC_CHANGE_CREATE, "poison");
    push(r, MGC_CHANGE_OPEN, "poison");
    for (int i = 0; i < 5000 && counts.dropped == 0; i++) {
        (void)usleep(1000);
        mgc_recorder_counts(r, &counts);
    }
    assert_int_equal(counts.dropped, 2);
    push(r, MGC_CHANGE_CREATE, "next");
    assert_int_equal(mgc_recorder_flush(r, NULL), 0);
    assert_string_equal(F.log.data, "Cnext ");
    assert_int_equal(F.incomplete, 1);
    assert_true(F.floor > 0);
    assert_int_equal(mgc_recorder_misses(r), 2); /* at the failure and at the loss */
    assert_int_equal(mgc_recorder_stop(r, NULL), 0);
}

static void stop_reports_what_it_could_not_commit(void **state)
{
    struct mgc_recorder *r = start(NEVER_US);
    struct mgc_err err = {0};

    (void)state;
    F.fail_next = 1000;
    F.fail_code = -EIO;
    push(r, MGC_CHANGE_CREATE, "a");
    assert_int_equal(mgc_recorder_stop(r, &err), -EIO);
    assert_int_equal(err.code, -EIO);
    assert_int_equal(F.calls, MGC_RECORDER_ATTEMPTS_MAX);
    assert_int_equal(F.incomplete, 1);
}

static void a_flush_fails_while_the_loss_cannot_be_written_down(void **state)
{
    struct mgc_recorder *r = start(NEVER_US);

    (void)state;
    F.fail_meta = 2; /* tried before and after the batch of a cycle */
    mgc_recorder_missed(r, NULL);
    for (int i = 0; i < 5000 && peek(&F.incomplete) == 0; i++)
        (void)usleep(1000); /* it tries again by itself */
    assert_int_equal(peek(&F.incomplete), 1);
    assert_int_equal(mgc_recorder_flush(r, NULL), 0);
    assert_int_equal(F.told, 1);
    gate(false);
    (void)pthread_mutex_lock(&F.mutex);
    F.fail_meta = 1000;
    (void)pthread_mutex_unlock(&F.mutex);
    mgc_recorder_missed(r, NULL);
    assert_int_equal(mgc_recorder_flush(r, NULL), -ENOSPC);
    assert_int_equal(mgc_recorder_stop(r, NULL), -ENOSPC);
}

static void a_verification_clears_only_what_was_missed_before_it(void **state)
{
    struct mgc_recorder *r = start(NEVER_US);
    int64_t misses;

    (void)state;
    mgc_recorder_missed(r, NULL);
    assert_int_equal(mgc_recorder_flush(r, NULL), 0);
    assert_int_equal(F.incomplete, 1);
    misses = mgc_recorder_misses(r);
    mgc_recorder_missed(r, NULL); /* while it runs */
    assert_int_equal(mgc_recorder_complete(r, misses, 77, NULL), MGC_E_INCOMPLETE);
    assert_int_equal(F.incomplete, 1);
    assert_int_equal(F.verified, 0);
    misses = mgc_recorder_misses(r);
    push(r, MGC_CHANGE_CREATE, "a");
    assert_int_equal(mgc_recorder_complete(r, misses, 78, NULL), 0);
    assert_int_equal(F.incomplete, 0);
    assert_int_equal(F.verified, 78);
    assert_int_equal(F.applied, 1);
    assert_int_equal(mgc_recorder_stop(r, NULL), 0);
}

static void verifying_reaches_the_batches(void **state)
{
    struct mgc_recorder *r = start(NEVER_US);

    (void)state;
    mgc_recorder_verifying(r, true);
    push(r, MGC_CHANGE_CREATE, "a");
    push(r, MGC_CHANGE_UNLINK, "a");
    assert_int_equal(mgc_recorder_flush(r, NULL), 0);
    mgc_recorder_verifying(r, false);
    push(r, MGC_CHANGE_CREATE, "b");
    push(r, MGC_CHANGE_UNLINK, "b");
    assert_int_equal(mgc_recorder_flush(r, NULL), 0);
    assert_string_equal(F.log.data, "Ca Ua Ub ");
    assert_int_equal(mgc_recorder_stop(r, NULL), 0);
}

static void a_path_that_is_too_long_is_missed_not_cut(void **state)
{
    struct mgc_recorder *r = start(NEVER_US);
    char path[MGC_PATH_BYTES_MAX + 2];

    (void)state;
    for (size_t i = 0; i < sizeof(path); i++)
        path[i] = i % 2 == 0 ? 'x' : '/';
    path[sizeof(path) - 1] = '\0';
    push(r, MGC_CHANGE_CREATE, path);
    assert_int_equal(mgc_recorder_misses(r), 1);
    path[MGC_PATH_BYTES_MAX] = '\0';
    push(r, MGC_CHANGE_CREATE, path);
    assert_int_equal(mgc_recorder_flush(r, NULL), 0);
    assert_int_equal(F.applied, 1);
    assert_int_equal(F.log.bytes, MGC_PATH_BYTES_MAX + 2);
    assert_int_equal(F.incomplete, 1);
    assert_int_equal(mgc_recorder_stop(r, NULL), 0);
}

static void a_path_the_catalog_would_refuse_costs_only_itself(void **state)
{
    struct mgc_recorder *r = start(NEVER_US);
    struct mgc_change half = {.kind = MGC_CHANGE_RENAME, .path = "a"};

    (void)state;
    push(r, MGC_CHANGE_CREATE, "a");
    push(r, MGC_CHANGE_CREATE, "../up");
    push(r, MGC_CHANGE_CREATE, "");
    push(r, MGC_CHANGE_CREATE, ".mediagcfs/ids");
    mgc_recorder_push(r, &half);
    push(r, MGC_CHANGE_STAT, ""); /* the root itself */
    push(r, MGC_CHANGE_CREATE, "b");
    assert_int_equal(mgc_recorder_flush(r, NULL), 0);
    assert_string_equal(F.log.data, "Ca S@1 Cb ");
    assert_int_equal(mgc_recorder_misses(r), 4);
    assert_int_equal(F.incomplete, 1);
    assert_int_equal(mgc_recorder_stop(r, NULL), 0);
}

enum { PUSHERS = 4, PUSHES = 20000 };
struct pusher {
    struct mgc_recorder *r;
    int number;
};

static void *push_many(void *arg)
{
    struct pusher *p = arg;
    char path[32];

    for (int i = 0; i < PUSHES; i++) {
        (void)snprintf(path, sizeof(path), "p%d/%d", p->number, i);
        push(p->r, MGC_CHANGE_CREATE, path);
        if (i % 5000 == 0 && mgc_recorder_flush(p->r, NULL) != 0)
            break;
        if (i % 1000 == 0) /* bounded, so that nothing is dropped here */
            while (true) {
                struct mgc_recorder_counts counts;
                mgc_recorder_counts(p->r, &counts);
                if (counts.queued < MGC_RECORDER_QUEUE_MAX / 2)
                    break;
                (void)usleep(100);
            }
    }
    return NULL;
}

static void many_threads_lose_nothing_and_keep_their_order(void **state)
{
    struct mgc_recorder *r = start(1000);
    struct pusher pushers[PUSHERS];
    pthread_t threads[PUSHERS];
    struct mgc_recorder_counts counts;

    (void)state;
    for (int i = 0; i < PUSHERS; i++) {
        pushers[i] = (struct pusher){.r = r, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, push_many, &pushers[i]), 0);
    }
    for (int i = 0; i < PUSHERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(mgc_recorder_flush(r, NULL), 0);
    mgc_recorder_counts(r, &counts);
    assert_int_equal(counts.dropped, 0);
    assert_int_equal(counts.recorded, PUSHERS * PUSHES);
    assert_int_equal(F.applied, PUSHERS * PUSHES);
    assert_true(F.in_order);
    assert_int_equal(mgc_recorder_stop(r, NULL), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(batches_merge_as_the_table_says),
        TEST(nothing_is_cancelled_while_a_verification_runs),
        TEST(random_batches_mean_the_same_when_merged),
        TEST(changes_arrive_in_order_with_own_copies_of_paths),
        TEST(a_batch_commits_by_itself_when_its_time_has_come),
        TEST(a_half_full_queue_does_not_wait_for_its_time),
        TEST(stop_commits_the_rest),
        TEST(reads_alone_cost_no_commit),
        TEST(a_flush_waits_for_a_commit_and_a_push_does_not),
        TEST(a_full_queue_drops_and_says_so),
        TEST(opens_leave_room_for_births),
        TEST(a_failed_commit_is_told_and_tried_again),
        TEST(a_batch_that_never_commits_is_given_up_and_counted),
        TEST(stop_reports_what_it_could_not_commit),
        TEST(a_flush_fails_while_the_loss_cannot_be_written_down),
        TEST(a_verification_clears_only_what_was_missed_before_it),
        TEST(verifying_reaches_the_batches),
        TEST(a_path_that_is_too_long_is_missed_not_cut),
        TEST(a_path_the_catalog_would_refuse_costs_only_itself),
        TEST(many_threads_lose_nothing_and_keep_their_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
