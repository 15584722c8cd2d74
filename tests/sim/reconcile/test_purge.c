/* Purges: two proofs of everything, after the retention, with nothing open in between (G5). */
#include "world.h"

/* docs/c.jpg has been held for long; docs/a.jpg is mentioned. */
static struct world *usual(size_t sources)
{
    struct world *w = world_new(sources);
    int64_t old_us = w->now_us - 100 * DAY;

    world_dir(w, "docs", old_us);
    world_file(w, "docs/a.jpg", old_us);
    world_file(w, "docs/c.jpg", old_us);
    for (size_t i = 0; i < sources; i++)
        world_row(w, i, "public.photo", "image", "docs/a.jpg");
    w->conf.reconcile.max_fall = -1;
    world_confirm(w);
    assert_true(world_held(w, "docs/c.jpg") > 0);
    w->real_time = true;
    return w;
}

struct said {
    size_t count;
    int code;
    char reason[256], path[128];
};

static void each(void *arg, const struct mgc_held *held, int code, const char *reason)
{
    struct said *said = arg;

    assert_true((code == 0) == (reason == NULL));
    said->count++;
    said->code = code;
    (void)snprintf(said->path, sizeof(said->path), "%s", held->path);
    (void)snprintf(said->reason, sizeof(said->reason), "%s", reason != NULL ? reason : "");
}

static struct said said;
static int64_t purged, kept;

static int purge_ids(struct world *w, bool apply, bool now, const int64_t *ids, size_t count)
{
    const struct mgc_purge_spec spec = {
        .conf = &w->conf,
        .catalog = w->catalog,
        .sources = w->sources,
        .sources_count = w->sources_count,
        .host = &w->host,
        .ids = ids,
        .count = count,
        .apply = apply,
        .now = now,
        .each = each,
        .arg = &said,
    };

    said = (struct said){0};
    purged = kept = -1;
    w->purged = 0;
    w->err = (struct mgc_err){0};
    return mgc_run_purge(&spec, &purged, &kept, &w->err);
}

static int purge(struct world *w, bool apply)
{
    int64_t id = world_held(w, "docs/c.jpg");

    return purge_ids(w, apply, false, &id, 1);
}

static void is_kept(struct world *w, const char *reason)
{
    assert_int_equal(w->purged, 0);
    assert_int_equal(said.count, 1);
    assert_string_equal(said.path, "docs/c.jpg");
    if (strstr(said.reason, reason) == NULL)
        fail_msg("kept because '%s', not '%s'", said.reason, reason);
    assert_true(world_held(w, "docs/c.jpg") > 0);
}

static void what_nothing_mentions_is_purged(void **state)
{
    struct world *w = usual(2);
    int64_t id = world_held(w, "docs/c.jpg"), before_us = mgc_now_us();
    int scans = w->fakes[0].scans;

    (void)state;
    assert_code(w, purge(w, false), 0); /* describes */
    assert_int_equal(purged, 1);
    assert_int_equal(w->purged, 0);
    assert_true(world_held(w, "docs/c.jpg") > 0);
    scans = w->fakes[0].scans;
    assert_code(w, purge(w, true), 0);
    assert_int_equal(purged, 1);
    assert_int_equal(kept, 0);
    assert_int_equal(w->purged, 1);
    assert_int_equal(w->purged_ids[0], id);
    assert_int_equal(said.code, 0);
    assert_int_equal(w->fakes[0].scans, scans + 2);
    assert_int_equal(w->fakes[1].depth, MGC_DEPTH_PROOF);
    assert_true(w->purge_first_us >= before_us);
    assert_true(w->purge_second_us > w->purge_first_us);
    assert_int_equal(world_held(w, "docs/c.jpg"), 0);
    world_free(w);
}

/* Each kind of mention keeps it, in either source. */
static void any_mention_keeps(void **state)
{
    static const struct {
        const char *what, *text;
        bool weak;
        const char *reason;
    } rows[] = {
        {"again in a column", "docs/c.jpg", false, "mentioned in app public.essay.body"},
        {"in a rich text", "<img src='/media/docs/c.jpg?x=1'>", false, "mentioned in app"},
        {"in an ignored table", "docs/c.jpg", true, "mentioned in app django_session.data"},
        {"in another case", "docs/C.JPG", false, "differs"},
        {"shortened", "c.jpg", false, "shortened"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct world *w = usual(1);

        if (rows[i].weak)
            world_weak_row(w, 0, "django_session", rows[i].text);
        else
            world_row(w, 0, "public.essay", "body", rows[i].text);
        assert_code(w, purge(w, true), 0);
        assert_int_equal(purged, 0);
        assert_int_equal(kept, 1);
        is_kept(w, rows[i].reason);
        assert_int_equal(said.code, MGC_E_REFUSED);
        world_free(w);
    }
}

/* H5: every path it has had. */
static void the_name_of_today_counts_too(void **state)
{
    struct world *w = usual(1);

    (void)state;
    world_rename(w, "docs", "papers", true);
    world_no_rows(w, 0);
    world_row(w, 0, "public.photo", "image", "papers/a.jpg");
    world_weak_row(w, 0, "django_admin_log", "changed papers/c.jpg");
    assert_code(w, purge(w, true), 0);
    is_kept(w, "django_admin_log");
    world_free(w);
}

/* It came back between the two scans. */
static struct world *late_world;
static int flush_count;
static void late_progress(void *arg, const char *phase, int64_t done, int64_t total)
{
    (void)arg;
    (void)done;
    (void)total;
    if (strcmp(phase, "connect") == 0 && ++flush_count == 2)
        world_row(late_world, 0, "public.essay", "body", "docs/c.jpg");
}

static void the_second_scan_counts(void **state)
{
    struct world *w = usual(1);

    (void)state;
    late_world = w;
    flush_count = 0;
    w->host.progress = late_progress;
    assert_code(w, purge(w, true), 0);
    is_kept(w, "mentioned in app public.essay.body");
    world_free(w);
}

static void an_incomplete_proof_purges_nothing(void **state)
{
    static const struct {
        const char *what;
        struct source_script broken;
        int want;
    } rows[] = {
        {"cannot connect", {.begin = MGC_E_SOURCE}, MGC_E_SOURCE},
        {"cut in the middle", {.cut = true}, MGC_E_SOURCE},
        {"says 0 by oversight", {.scan = 1000}, MGC_E_INCOMPLETE},
        {"fence not to be had", {.fence = MGC_E_SOURCE}, MGC_E_SOURCE},
        {"another database", {.identity = "staging"}, MGC_E_REFUSED},
        {"a restored one", {.progress = 7}, MGC_E_REFUSED},
        {"another one at the second", {.later_identity = "staging"}, MGC_E_IDENTITY},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct world *w = usual(1);
        struct source_script *script = &w->fakes[0].script;

        world_row(w, 0, "public.photo", "image", "docs/a.jpg");
        script->begin = rows[i].broken.begin;
        script->cut = rows[i].broken.cut;
        script->scan = rows[i].broken.scan;
        script->fence = rows[i].broken.fence;
        if (rows[i].broken.identity != NULL)
            script->identity = rows[i].broken.identity;
        if (rows[i].broken.progress != 0)
            script->progress = rows[i].broken.progress;
        w->fakes[0].begins_before = w->fakes[0].begins;
        script->later_identity = rows[i].broken.later_identity;
        if (purge(w, true) != rows[i].want)
            fail_msg("%s: %d %s", rows[i].what, w->err.code, w->err.text);
        is_kept(w, "");
        assert_int_equal(said.code, rows[i].want);
        world_free(w);
    }
}

static void a_source_that_fell_silent_proves_nothing(void **state)
{
    struct world *w = usual(1);

    (void)state;
    world_no_rows(w, 0);
    assert_code(w, purge(w, true), MGC_E_REFUSED);
    is_kept(w, "mentions no file at all");
    world_free(w);
}

static void a_fall_proves_nothing(void **state)
{
    struct world *w = usual(1);

    (void)state;
    for (int i = 0; i < 9; i++)
        world_row(w, 0, "public.photo", "image", "docs/a.jpg");
    w->real_time = false;
    assert_code(w, world_run(w, false, NULL), 0);
    w->real_time = true;
    w->fakes[0].texts_count = 5;
    w->conf.reconcile.max_fall = 0.2;
    assert_code(w, purge(w, true), MGC_E_REFUSED);
    is_kept(w, "references fell from 10 to 5");
    world_free(w);
}

static void a_source_nobody_pinned_proves_nothing(void **state)
{
    struct world *w = usual(1);

    (void)state;
    w->sources_count = w->conf.references_count = 2;
    world_row(w, 1, "public.photo", "image", "docs/a.jpg");
    assert_code(w, purge(w, true), MGC_E_REFUSED);
    is_kept(w, "no complete run has read source 'old'");
    world_free(w);
}

static void a_source_taken_away_proves_nothing(void **state)
{
    struct world *w = usual(2);

    (void)state;
    w->sources_count = w->conf.references_count = 1;
    assert_code(w, purge(w, true), MGC_E_REFUSED);
    is_kept(w, "list of sources changed");
    world_free(w);
}

static void open_transactions_are_waited_for(void **state)
{
    struct world *w = usual(1);

    (void)state;
    w->fakes[0].script.open_for = 3;
    w->conf.reconcile.fence_for_us = 30 * SECOND;
    assert_code(w, purge(w, true), 0);
    assert_int_equal(w->purged, 1);
    world_free(w);
    w = usual(1);
    w->fakes[0].script.open_for = 99;
    w->conf.reconcile.fence_for_us = 0;
    assert_code(w, purge(w, true), 0);
    is_kept(w, "pid 812, user 'batch', database 'shop'");
    world_free(w);
}

static void what_is_not_due_is_kept_without_a_scan(void **state)
{
    struct world *w = usual(1);
    int64_t id = world_held(w, "docs/c.jpg");
    int scans = w->fakes[0].scans;

    (void)state;
    w->conf.quarantine.retention_us = 400 * DAY;
    assert_code(w, purge(w, true), 0);
    is_kept(w, "its retention ends at");
    w->conf.quarantine.retention_us = 0;
    w->conf.quarantine.min_retention_us = 400 * DAY; /* nothing shortens it below this */
    assert_code(w, purge(w, true), 0);
    is_kept(w, "its retention ends at");
    w->conf.quarantine.min_retention_us = 0;
    assert_code(w, w->catalog->ops->held_pin(w->catalog, id, true, &w->err), 0);
    assert_code(w, purge(w, true), 0);
    is_kept(w, "pinned");
    assert_int_equal(w->fakes[0].scans, scans);
    id = 987654;
    assert_code(w, purge_ids(w, true, false, &id, 1), 0); /* healed meanwhile */
    assert_int_equal(said.count, 0);
    world_free(w);
}

static void now_skips_the_retention_not_the_proof(void **state)
{
    struct world *w = usual(1);
    int64_t id = world_held(w, "docs/c.jpg");

    (void)state;
    w->conf.quarantine.retention_us = 400 * DAY;
    world_weak_row(w, 0, "django_session", "docs/c.jpg");
    assert_code(w, purge_ids(w, true, true, &id, 1), 0);
    is_kept(w, "mentioned");
    w->fakes[0].texts_count--;
    assert_code(w, purge_ids(w, true, true, &id, 1), 0);
    assert_int_equal(w->purged, 1);
    assert_true(w->purge_now);
    world_free(w);
}

static void what_the_application_deleted_needs_no_proof(void **state)
{
    struct world *w = usual(1);
    int64_t ids[2] = {world_held(w, "docs/c.jpg"), world_unlinked(w, "docs/old.jpg")};

    (void)state;
    w->fakes[0].script.scan = MGC_E_SOURCE;
    assert_code(w, purge_ids(w, true, false, ids, 2), MGC_E_SOURCE);
    assert_int_equal(w->purged, 1);
    assert_int_equal(w->purged_ids[0], ids[1]);
    assert_int_equal(said.count, 2);
    w->conf.quarantine.deleted_retention_us = 400 * DAY;
    ids[1] = world_unlinked(w, "docs/older.jpg");
    assert_code(w, purge_ids(w, true, false, &ids[1], 1), 0);
    assert_int_equal(w->purged, 0);
    world_free(w);
}

/* All sources are commands: a run reads as deep as a proof. */
static struct world *proven(void)
{
    struct world *w = world_new(1);
    int64_t old_us = w->now_us - 100 * DAY;

    w->blocks[0].type = MGC_TYPE_COMMAND;
    w->conf.reconcile.max_fall = -1;
    world_dir(w, "docs", old_us);
    world_file(w, "docs/a.jpg", old_us);
    world_file(w, "docs/c.jpg", old_us);
    world_row(w, 0, "", "", "docs/a.jpg");
    world_confirm(w);
    assert_int_equal(w->proofs, 0);
    w->now_us += 31 * DAY;
    w->fakes[0].script.fence_text = "of the run";
    assert_code(w, world_run(w, false, NULL), 0);
    assert_int_equal(w->proofs, 1);
    w->fakes[0].script.fence_text = "of today";
    w->real_time = true;
    return w;
}

static void a_run_may_make_the_first_proof(void **state)
{
    struct world *w = proven();
    int scans = w->fakes[0].scans;

    (void)state;
    assert_code(w, purge(w, true), 0);
    assert_int_equal(w->purged, 1);
    assert_int_equal(w->purge_first_us, 0); /* the row's own */
    assert_int_equal(w->fakes[0].scans, scans + 1);
    world_free(w);
    w = proven();
    w->fakes[0].script.open_for = 99;
    w->fakes[0].script.open_fence = "of the run";
    assert_code(w, purge(w, true), 0);
    is_kept(w, "transactions open at its first proof");
    world_free(w);
    w = proven(); /* proven too early for the retention of today: both again */
    w->conf.quarantine.retention_us = 40 * DAY;
    scans = w->fakes[0].scans;
    assert_code(w, purge(w, true), 0);
    assert_int_equal(w->purged, 1);
    assert_int_equal(w->fakes[0].scans, scans + 2);
    world_free(w);
}

static void a_run_proves_only_what_is_not_mentioned(void **state)
{
    struct world *w = proven();

    (void)state;
    w->real_time = false;
    w->proofs = 0;
    w->now_us += DAY;
    world_row(w, 0, "", "", "docs/C.jpg");
    assert_code(w, world_run(w, false, NULL), 0);
    assert_int_equal(w->proofs, 0);
    w->fakes[0].texts_count--;
    w->blocks[0].type = MGC_TYPE_POSTGRESQL; /* reads less than a proof */
    assert_code(w, world_run(w, false, NULL), MGC_E_REFUSED);
    w->now_us += DAY;
    assert_code(w, world_run(w, false, NULL), 0);
    assert_int_equal(w->proofs, 0);
    world_free(w);
}

static void a_flush_that_fails_ends_it(void **state)
{
    struct world *w = usual(1);

    (void)state;
    w->flush_code = -EIO;
    assert_code(w, purge(w, true), -EIO);
    assert_int_equal(w->purged, 0);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_nothing_mentions_is_purged),
        cmocka_unit_test(any_mention_keeps),
        cmocka_unit_test(the_name_of_today_counts_too),
        cmocka_unit_test(the_second_scan_counts),
        cmocka_unit_test(an_incomplete_proof_purges_nothing),
        cmocka_unit_test(a_source_that_fell_silent_proves_nothing),
        cmocka_unit_test(a_fall_proves_nothing),
        cmocka_unit_test(a_source_nobody_pinned_proves_nothing),
        cmocka_unit_test(a_source_taken_away_proves_nothing),
        cmocka_unit_test(open_transactions_are_waited_for),
        cmocka_unit_test(what_is_not_due_is_kept_without_a_scan),
        cmocka_unit_test(now_skips_the_retention_not_the_proof),
        cmocka_unit_test(what_the_application_deleted_needs_no_proof),
        cmocka_unit_test(a_run_may_make_the_first_proof),
        cmocka_unit_test(a_run_proves_only_what_is_not_mentioned),
        cmocka_unit_test(a_flush_that_fails_ends_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
