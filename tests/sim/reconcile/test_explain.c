/* What is said about one path is what a run would decide, with every mention. */
#include "world.h"

struct heard {
    size_t count, weak;
    char where[256], around[256];
    size_t around_bytes;
};

static void mention(void *arg, const struct mgc_origin *origin, const char *around, size_t bytes)
{
    struct heard *heard = arg;

    heard->count++;
    heard->weak += origin->weak ? 1 : 0;
    (void)snprintf(heard->where, sizeof(heard->where), "%s %s.%s", origin->source, origin->table,
                   origin->column);
    (void)snprintf(heard->around, sizeof(heard->around), "%.*s", (int)bytes, around);
    heard->around_bytes = bytes;
}

static struct heard heard;
static struct mgc_explanation told;

static int explain(struct world *w, const char *path)
{
    const struct mgc_explain_spec spec = {
        .conf = &w->conf,
        .catalog = w->catalog,
        .sources = w->sources,
        .sources_count = w->sources_count,
        .path = path,
        .mention = mention,
        .arg = &heard,
    };

    heard = (struct heard){0};
    w->err = (struct mgc_err){0};
    return mgc_run_explain(&spec, &told, &w->err);
}

static struct world *usual(void)
{
    struct world *w = world_new(2);
    int64_t old_us = w->now_us - 100 * DAY;

    world_dir(w, "docs", old_us);
    world_file(w, "docs/a.jpg", old_us);
    world_file(w, "docs/b.jpg", old_us);
    world_file(w, "docs/c.jpg", old_us);
    world_row(w, 0, "public.photo", "image", "docs/a.jpg");
    world_row(w, 1, "public.photo", "image", "docs/b.jpg");
    w->conf.reconcile.max_fall = -1;
    return w;
}

static void every_mention_is_told_with_what_stands_around_it(void **state)
{
    struct world *w = usual();
    char body[600];

    (void)state;
    memset(body, 'x', sizeof(body));
    memcpy(body + 300, " <img src=\"/media/docs/a.jpg\"> ", 31);
    body[sizeof(body) - 1] = '\0';
    world_row(w, 1, "public.page", "body", body);
    world_weak_row(w, 1, "django_session", "docs/a.jpg");
    w->real_time = true;
    assert_code(w, explain(w, "docs/a.jpg"), 0);
    assert_int_equal(told.verdict, MGC_VERDICT_REFERENCED);
    assert_int_equal(told.references, 2);
    assert_true(told.complete);
    assert_int_equal(heard.count, 3);
    assert_int_equal(heard.weak, 1);
    w->fakes[1].texts_count--; /* without the session the long text is the last */
    assert_code(w, explain(w, "docs/a.jpg"), 0);
    assert_string_equal(heard.where, "old public.page.body");
    assert_non_null(strstr(heard.around, "docs/a.jpg"));
    assert_in_range(heard.around_bytes, 31, 120);
    world_free(w);
}

static void the_verdict_is_that_of_the_next_run(void **state)
{
    struct world *w = usual();
    int64_t first_us;

    (void)state;
    w->now_us = mgc_now_us() - 20 * HOUR;
    first_us = w->now_us;
    w->real_time = true;
    world_file(w, "docs/new.jpg", mgc_now_us() - HOUR);
    assert_code(w, explain(w, "docs/c.jpg"), 0);
    assert_int_equal(told.verdict, MGC_VERDICT_WAITING);
    assert_int_equal(told.why, MGC_WHY_CONFIRM);
    assert_int_equal(told.facts.orphan_runs, 1);
    assert_int_equal(heard.count, 0);
    assert_code(w, explain(w, "docs/new.jpg"), 0);
    assert_int_equal(told.verdict, MGC_VERDICT_YOUNG);
    w->real_time = false;
    assert_code(w, world_run(w, false, NULL), 0);
    w->real_time = true;
    assert_code(w, explain(w, "docs/c.jpg"), 0);
    assert_int_equal(told.verdict, MGC_VERDICT_CANDIDATE);
    assert_int_equal(told.facts.orphan_runs, 2);
    assert_int_equal(told.facts.orphan_since_us, first_us);
    assert_int_equal(world_runs_of(w, "docs/c.jpg"), 1); /* no effect */
    w->fakes[0].script.invisible = true;
    assert_code(w, explain(w, "docs/c.jpg"), 0);
    assert_int_equal(told.verdict, MGC_VERDICT_CANDIDATE); /* behind the fence of that run */
    w->fakes[0].script.open_for = 99;
    assert_code(w, explain(w, "docs/c.jpg"), 0);
    assert_int_equal(told.verdict, MGC_VERDICT_YOUNG);
    assert_int_equal(told.why, MGC_WHY_NO_HORIZON);
    world_free(w);
}

static void a_source_that_fails_makes_it_provisional(void **state)
{
    struct world *w = usual();

    (void)state;
    w->real_time = true;
    w->fakes[0].script.begin = MGC_E_SOURCE;
    assert_code(w, explain(w, "docs/b.jpg"), 0);
    assert_false(told.complete);
    assert_int_equal(told.references, 1); /* the other one is read */
    w->fakes[0].script.begin = 0;
    w->real_time = false;
    assert_code(w, world_run(w, false, NULL), 0); /* pins */
    w->real_time = true;
    assert_code(w, explain(w, "docs/b.jpg"), 0);
    assert_true(told.complete);
    w->fakes[0].script.progress = 7; /* a restored copy */
    assert_code(w, explain(w, "docs/b.jpg"), 0);
    assert_false(told.complete);
    w->fakes[0].script.progress = 100;
    w->fakes[0].script.scan = 1000;
    assert_code(w, explain(w, "docs/b.jpg"), 0);
    assert_false(told.complete);
    world_free(w);
}

static void held_and_unknown_paths(void **state)
{
    struct world *w = usual();

    (void)state;
    world_confirm(w);
    assert_true(world_held(w, "docs/c.jpg") > 0);
    w->real_time = true;
    assert_code(w, explain(w, "docs/c.jpg"), 0);
    assert_int_equal(told.references, 0);
    assert_int_equal(told.verdict, MGC_VERDICT_CANDIDATE);
    world_row(w, 0, "public.photo", "image", "docs/c.jpg");
    assert_code(w, explain(w, "docs/c.jpg"), 0);
    assert_int_equal(told.references, 1);
    assert_int_equal(told.verdict, MGC_VERDICT_REFERENCED);
    assert_code(w, explain(w, "docs/none.jpg"), -ENOENT);
    assert_non_null(strstr(w->err.text, "could not explain file 'docs/none.jpg'"));
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_mention_is_told_with_what_stands_around_it),
        cmocka_unit_test(the_verdict_is_that_of_the_next_run),
        cmocka_unit_test(a_source_that_fails_makes_it_provisional),
        cmocka_unit_test(held_and_unknown_paths),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
