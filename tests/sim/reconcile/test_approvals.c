/* What an approval lifts is what was refused, and nothing that came instead of it. */
#include "world.h"

#define OLD(w) ((w)->now_us - 100 * DAY)

static char digest[17];

/* Ten mentioned files and ten that are not, one run over; the next one moves. */
static struct world *usual(size_t sources)
{
    static char mentioned[10][32];
    struct world *w = world_new(sources);
    char path[32];

    world_dir(w, "docs", OLD(w));
    for (int i = 0; i < 10; i++) {
        (void)snprintf(mentioned[i], sizeof(mentioned[i]), "docs/live%d.jpg", i);
        world_file(w, mentioned[i], OLD(w));
        for (size_t k = 0; k < sources; k++)
            world_row(w, k, "public.photo", "image", mentioned[i]);
        (void)snprintf(path, sizeof(path), "docs/dead%d.jpg", i);
        world_file(w, path, OLD(w));
    }
    for (size_t k = 0; k < sources; k++)
        w->fakes[k].script.position = "0/500";
    assert_code(w, world_run(w, true, NULL), 0);
    w->now_us += 13 * HOUR;
    return w;
}

/* Runs, is refused, keeps the digest. */
static void refuse(struct world *w, const char *approve, const char *part)
{
    assert_code(w, world_run(w, true, approve), MGC_E_REFUSED);
    assert_int_equal(w->moved, 0);
    if (strstr(w->report.run.refusal, part) == NULL)
        fail_msg("refusal '%s' has no '%s'", w->report.run.refusal, part);
    (void)snprintf(digest, sizeof(digest), "%s", w->report.run.digest);
    assert_int_equal(strlen(digest), 16);
}

static void another_database_than_the_approved_one_is_refused(void **state)
{
    struct world *w = usual(1);
    struct source_script *script = &w->fakes[0].script;

    (void)state;
    script->identity = "system 2 database 5";
    refuse(w, NULL, "is system 2 database 5, was system 1 database 5");
    script->identity = "system 3 database 5";
    refuse(w, digest, "is system 3 database 5");
    script->identity = "system 2 database 5"; /* the digest is about the third now */
    refuse(w, digest, "is system 2 database 5");
    assert_code(w, world_run(w, true, digest), 0);
    assert_int_equal(w->moved, 10);
    assert_code(w, world_run(w, true, NULL), 0); /* pinned: what was seen */
    script->identity = "system 1 database 5";
    w->moved = 0;
    refuse(w, NULL, "is system 1 database 5, was system 2 database 5");
    world_free(w);
}

/* They differ only where a text of bounded length would be cut. */
static void long_identities_are_told_apart(void **state)
{
    struct world *w = usual(1);
    static char second[200], third[200];

    (void)state;
    memset(second, 'x', sizeof(second) - 1);
    memset(third, 'x', sizeof(third) - 1);
    third[sizeof(third) - 2] = 'y';
    w->fakes[0].script.identity = second;
    refuse(w, NULL, "another database");
    w->fakes[0].script.identity = third;
    refuse(w, digest, "another database");
    assert_code(w, world_run(w, true, digest), 0);
    assert_int_equal(w->moved, 10);
    world_free(w);
}

static void a_restored_copy_may_go_on_but_not_back(void **state)
{
    static const struct {
        const char *what, *position;
        int64_t progress;
        int want;
    } rows[] = {
        {"as it was", "0/400", 50, 0},
        {"in use since", "0/480", 60, 0},
        {"restored once more, by progress", "0/400", 49, MGC_E_REFUSED},
        {"restored once more, by position", "0/3FF", 50, MGC_E_REFUSED},
        {"progress no longer told", "0/400", -1, MGC_E_REFUSED},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct world *w = usual(1);
        struct source_script *script = &w->fakes[0].script;

        script->progress = 50;
        script->position = "0/400";
        refuse(w, NULL, "went back in time");
        script->progress = rows[i].progress;
        script->position = rows[i].position;
        if (world_run(w, true, digest) != rows[i].want)
            fail_msg("%s: %d %s", rows[i].what, w->err.code, w->err.text);
        assert_int_equal(w->moved, rows[i].want == 0 ? 10 : 0);
        if (rows[i].want == 0) { /* pinned where it was seen: from there it may not go back */
            w->moved = 0;
            script->progress = rows[i].progress - 1;
            refuse(w, NULL, "went back in time");
        }
        world_free(w);
    }
}

static void a_further_fall_is_refused(void **state)
{
    struct world *w = usual(1);

    (void)state;
    w->fakes[0].texts_count = 7;
    refuse(w, NULL, "references fell from 10 to 7");
    w->fakes[0].texts_count = 2;
    refuse(w, digest, "references fell from 10 to 2");
    assert_code(w, world_run(w, true, digest), 0); /* that one was approved now */
    assert_int_equal(w->moved, 10);
    world_free(w);
}

/* Two sources: an approval for one database accepts no other. */
static void an_approval_is_for_its_own_source(void **state)
{
    struct world *w = usual(2);

    (void)state;
    w->fakes[0].script.identity = "system 2 database 5";
    refuse(w, NULL, "app: is another database");
    assert_null(strstr(w->report.run.refusal, "old:"));
    w->fakes[1].script.identity = "system 9 database 9";
    refuse(w, digest, "old: is another database");
    /* Neither was accepted by that; the digest is about both. */
    assert_non_null(strstr(w->report.run.refusal, "app: is another database"));
    w->fakes[0].script.identity = "system 1 database 5";
    refuse(w, NULL, "old: is another database");
    assert_null(strstr(w->report.run.refusal, "app:"));
    world_free(w);
}

/* A run that is still refused pins nothing, and its digest lifts all of it: no going round. */
static void what_stays_refused_is_approved_as_a_whole(void **state)
{
    struct world *w = usual(1);

    (void)state;
    w->fakes[0].script.identity = "system 2 database 5";
    refuse(w, NULL, "is another database");
    w->fakes[0].texts_count = 5;
    refuse(w, digest, "references fell from 10 to 5");
    assert_non_null(strstr(w->report.run.refusal, "is another database"));
    assert_code(w, world_run(w, true, digest), 0);
    assert_int_equal(w->moved, 10);
    world_free(w);
}

/* Its digest is about all candidates, so its text must tell of all of them too. */
static void what_stays_refused_counts_all_candidates(void **state)
{
    struct world *w = usual(1);

    (void)state;
    w->conf.reconcile.max_files = 5;
    world_file(w, "docs/late.jpg", OLD(w));
    refuse(w, NULL, "10 candidates");
    w->now_us += 13 * HOUR; /* the late one is a candidate too */
    w->fakes[0].texts_count = 5;
    refuse(w, digest, "11 candidates");
    world_free(w);
}

/* What has no figures says the same every time. */
static void a_bypass_is_approved_by_its_text(void **state)
{
    struct world *w = usual(1);

    (void)state;
    w->facts.bypass = true;
    refuse(w, NULL, "beneath the mount");
    assert_code(w, world_run(w, true, digest), 0);
    assert_int_equal(w->moved, 10);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_database_than_the_approved_one_is_refused),
        cmocka_unit_test(long_identities_are_told_apart),
        cmocka_unit_test(a_restored_copy_may_go_on_but_not_back),
        cmocka_unit_test(a_further_fall_is_refused),
        cmocka_unit_test(an_approval_is_for_its_own_source),
        cmocka_unit_test(what_stays_refused_is_approved_as_a_whole),
        cmocka_unit_test(what_stays_refused_counts_all_candidates),
        cmocka_unit_test(a_bypass_is_approved_by_its_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
