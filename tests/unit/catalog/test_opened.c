/* test_opened.c -- the array of last-opened times: file, holes, belief after a stop. */
#include "scratch.h"

#include <endian.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "fs/catalog/opened_priv.h"

static const char id_a[] = "0123456789abcdef0123456789abcdef";
static const char id_b[] = "fedcba9876543210fedcba9876543210";

static struct mgc_opened *fresh(struct scratch *s, const char *id)
{
    struct mgc_opened *o = NULL;
    enum mgc_opened_found found;
    int64_t generation = -1;

    ok(s, mgc_opened_open(s->directory, id, &o, &found, &generation, &s->err));
    assert_int_equal(found, MGC_OPENED_MISSING);
    assert_int_equal(generation, 0);
    ok(s, mgc_opened_create(o, 0640, -1, 1, &s->err));
    return o;
}

static void values_survive_in_the_file(void **state)
{
    struct scratch *s = *state;
    struct mgc_opened *o = fresh(s, id_a);
    enum mgc_opened_found found;
    int64_t generation;
    struct stat st;

    assert_int_equal(mgc_opened_mark(o, 5, T0 + 59 * SECOND), 0);
    assert_int_equal(mgc_opened_mark(o, 3000000, T0 + MINUTE), 0);
    assert_int_equal(mgc_opened_mark(o, 5, T0 - HOUR), 0); /* never back */
    assert_int_equal(mgc_opened_mark(o, 6, -1), 0);
    assert_int_equal(mgc_opened_get(o, 5), T0);
    ok(s, mgc_opened_seal(o, 7, &s->err));
    mgc_opened_close(o);
    ok(s, mgc_opened_open(s->directory, id_a, &o, &found, &generation, &s->err));
    assert_int_equal(found, MGC_OPENED_OURS);
    assert_int_equal(generation, 7);
    assert_int_equal(mgc_opened_get(o, 5), T0);
    assert_int_equal(mgc_opened_get(o, 6), 0);
    assert_int_equal(mgc_opened_get(o, 3000000), T0 + MINUTE);
    mgc_opened_close(o);
    assert_int_equal(stat(in(s, "opened"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_true(st.st_blocks * 512 < 100000); /* ids may be sparse */
}

static void the_format_is_as_documented(void **state)
{
    struct scratch *s = *state;
    struct mgc_opened *o = fresh(s, id_a);
    mgc_autofree char *data = NULL;
    uint32_t minutes;
    size_t bytes;

    assert_int_equal(mgc_opened_mark(o, 5, T0), 0);
    ok(s, mgc_opened_seal(o, 258, &s->err));
    mgc_opened_close(o);
    data = read_whole(in(s, "opened"), &bytes);
    assert_memory_equal(data, "mediagcfs opened\1\0\0\0\4\0\0\0", 24);
    assert_memory_equal(data + 24, id_a, 32);
    assert_memory_equal(data + 56, "\2\1\0\0\0\0\0\0", 8);
    memcpy(&minutes, data + 4096 + 4 * 5, 4);
    assert_int_equal(le32toh(minutes), T0 / MINUTE);
    assert_int_equal(bytes % 4096, 0);
}

static void sparse_ids_cost_nothing(void **state)
{
    struct scratch *s = *state;
    struct mgc_opened *o = fresh(s, id_a);
    struct rusage before, after;

    assert_int_equal(getrusage(RUSAGE_SELF, &before), 0);
    for (int64_t i = 1; i <= 500; i++) /* 500 crashes of the machine: 2 GB if it were dense */
        assert_int_equal(mgc_opened_mark(o, i * 1000000, T0), 0);
    assert_int_equal(getrusage(RUSAGE_SELF, &after), 0);
    assert_true(after.ru_maxrss - before.ru_maxrss < 64 * 1024);
    assert_int_equal(mgc_opened_mark(o, MGC_OPENED_ID_MAX, T0), MGC_E_LIMIT);
    assert_int_equal(mgc_opened_mark(o, 0, T0), MGC_E_LIMIT);
    assert_int_equal(mgc_opened_get(o, MGC_OPENED_ID_MAX), 0);
    mgc_opened_close(o);
}

static void pages_are_written_as_far_as_allowed(void **state)
{
    struct scratch *s = *state;
    struct mgc_opened *o = fresh(s, id_a);

    for (int64_t i = 0; i < 10; i++)
        assert_int_equal(mgc_opened_mark(o, 1 + i * 5000, T0), 0);
    assert_int_equal(mgc_opened_write(o, 4), 6);
    assert_int_equal(mgc_opened_write(o, 4), 2);
    assert_int_equal(mgc_opened_write(o, 4), 0);
    assert_int_equal(mgc_opened_mark(o, 1, T0), 0); /* nothing new */
    assert_int_equal(mgc_opened_write(o, 0), 0);
    assert_int_equal(mgc_opened_mark(o, 1, T0 + HOUR), 0);
    assert_int_equal(mgc_opened_write(o, 0), 1);
    mgc_opened_close(o);
}

static void another_catalog_s_file_is_not_read(void **state)
{
    struct scratch *s = *state;
    struct mgc_opened *o = fresh(s, id_a);

    assert_int_equal(mgc_opened_mark(o, 5, T0), 0);
    ok(s, mgc_opened_seal(o, 1, &s->err));
    mgc_opened_close(o);
    o = fresh(s, id_b);
    assert_int_equal(mgc_opened_get(o, 5), 0);
    mgc_opened_close(o);
    write_at(in(s, "opened"), 0, "x", 1);
    o = fresh(s, id_b);
    mgc_opened_close(o);
}

static void a_full_disk_is_an_error_and_no_signal(void **state)
{
    struct scratch *s = *state;
    struct mgc_opened *o = fresh(s, id_a);
    struct rlimit small = {.rlim_cur = 8192, .rlim_max = RLIM_INFINITY}, before;
    enum mgc_opened_found found;
    int64_t generation;

    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small.rlim_max = before.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(mgc_opened_mark(o, 1000000, T0), 0);
    assert_int_equal(mgc_opened_sync(o, &s->err), -EFBIG);
    assert_int_equal(mgc_opened_get(o, 1000000), T0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    ok(s, mgc_opened_sync(o, &s->err)); /* what could not be written is still dirty */
    mgc_opened_close(o);
    ok(s, mgc_opened_open(s->directory, id_a, &o, &found, &generation, &s->err));
    assert_int_equal(mgc_opened_get(o, 1000000), T0);
    mgc_opened_close(o);
}

static void a_view_reads_afresh(void **state)
{
    struct scratch *s = *state;
    struct mgc_opened *o = fresh(s, id_a);
    struct mgc_opened_view view;

    mgc_opened_view_init(&view);
    assert_int_equal(mgc_opened_mark(o, 5, T0), 0);
    assert_int_equal(mgc_opened_write(o, 100), 0);
    assert_int_equal(mgc_opened_view_get(&view, s->directory, id_a, 5), T0);
    assert_int_equal(mgc_opened_mark(o, 5, T0 + HOUR), 0);
    assert_int_equal(mgc_opened_write(o, 100), 0);
    assert_int_equal(mgc_opened_view_get(&view, s->directory, id_a, 5), T0 + HOUR);
    assert_int_equal(mgc_opened_view_get(&view, s->directory, id_a, 6), 0);
    assert_int_equal(view.reads, 2); /* ascending within a page: read once */
    assert_int_equal(mgc_opened_view_get(&view, s->directory, id_a, 90000000), 0);
    assert_int_equal(mgc_opened_view_get(&view, s->directory, id_b, 5), -ENOENT);
    mgc_opened_close(o);
}

/* ---- belief ---- */

static void clean_stop(struct scratch *s, struct mgc_catalog *c)
{
    ok(s, c->ops->flush(c, &s->err));
    ok(s, c->ops->meta_set(c, MGC_META_ALIVE, T0 + 20 * HOUR, &s->err));
    ok(s, c->ops->meta_set(c, MGC_META_CLEAN, 1, &s->err));
    mgc_catalog_close(c);
}

static void after_a_clean_stop_the_array_is_believed(void **state)
{
    struct scratch *s = *state;
    struct mgc_catalog *c = writer(s);

    create(s, c, "a", 1);
    create(s, c, "b", 2);
    opened_at(s, c, "a", T0 + HOUR);
    clean_stop(s, c);
    for (int i = 0; i < 2; i++) { /* and a second time without a change */
        c = writer(s);
        assert_int_equal(c->ops->opened_us(c, id_of(c, "a")), T0 + HOUR);
        assert_int_equal(c->ops->opened_us(c, id_of(c, "b")), 0);
        assert_int_equal(mgc_catalog_meta(c, MGC_META_CLEAN, 0), 1);
        mgc_catalog_close(c);
    }
    c = writer(s);
    opened_at(s, c, "b", T0 + HOUR);
    assert_int_equal(mgc_catalog_meta(c, MGC_META_CLEAN, 1), 0); /* before the array is written */
    mgc_catalog_close(c);
}

static void after_an_unclean_stop_every_entry_counts_as_opened_then(void **state)
{
    struct scratch *s = *state;
    struct mgc_catalog *c = writer(s), *r;
    int64_t a, later;

    create(s, c, "a", 1);
    create(s, c, "b", 2);
    clean_stop(s, c);
    c = writer(s);
    opened_at(s, c, "a", T0 + 50 * HOUR);
    ok(s, c->ops->meta_set(c, MGC_META_ALIVE, T0 + 30 * HOUR, &s->err));
    ok(s, c->ops->flush(c, &s->err));
    mgc_catalog_close(c); /* no clean stop */
    c = writer(s);
    a = id_of(c, "a");
    assert_int_equal(c->ops->opened_us(c, a), T0 + 50 * HOUR);
    assert_int_equal(c->ops->opened_us(c, id_of(c, "b")), T0 + 30 * HOUR);
    create(s, c, "later", 3);
    later = id_of(c, "later");
    assert_int_equal(c->ops->opened_us(c, later), 0); /* it was not there then */
    r = reader(s);
    assert_int_equal(r->ops->opened_us(r, id_of(c, "b")), T0 + 30 * HOUR);
    assert_int_equal(r->ops->opened_us(r, later), 0);
    mgc_catalog_close(r);
    /* The floor outlives clean stops. */
    clean_stop(s, c);
    c = writer(s);
    assert_int_equal(c->ops->opened_us(c, id_of(c, "b")), T0 + 30 * HOUR);
    assert_int_equal(c->ops->opened_us(c, a), T0 + 50 * HOUR);
    mgc_catalog_close(c);
}

/* What is done to the files between a clean stop and the next start. */
static void lose_file(struct scratch *s)
{
    assert_int_equal(unlink(in(s, "opened")), 0);
}
static void lose_end(struct scratch *s)
{
    assert_int_equal(truncate(in(s, "opened"), 50), 0);
}
static void take_older(struct scratch *s)
{
    write_at(in(s, "opened"), 56, "\1\0\0\0\0\0\0\0", 8);
}
static void lose_alive(struct scratch *s)
{
    sql(s, "DELETE FROM meta WHERE key IN ('alive_us', 'clean')");
}

static void where_the_stop_is_unknown_it_was_now(void **state)
{
    static void (*const damage[])(struct scratch *) = {lose_file, lose_end, take_older, lose_alive};
    struct scratch *s = *state;

    for (size_t i = 0; i < ARRAY_SIZE(damage); i++) {
        struct mgc_catalog *c = writer(s);
        int64_t before_us;

        create(s, c, "a", 1 + i);
        clean_stop(s, c);
        damage[i](s);
        before_us = mgc_now_us();
        c = writer(s);
        if (c->ops->opened_us(c, id_of(c, "a")) < before_us)
            fail_msg("damage %zu: believed", i);
        clean_stop(s, c);
        c = writer(s); /* and it stays so */
        assert_true(c->ops->opened_us(c, id_of(c, "a")) >= before_us);
        mgc_catalog_close(c);
        ok(s, mgc_catalog_set_aside(s->directory, (char[256]){0}, 256, &s->err));
    }
}

static void a_catalog_without_entries_needs_no_floor(void **state)
{
    struct scratch *s = *state;
    struct mgc_catalog *c = writer(s);

    mgc_catalog_close(c);
    c = writer(s);
    create(s, c, "a", 1);
    assert_int_equal(c->ops->opened_us(c, id_of(c, "a")), 0);
    mgc_catalog_close(c);
}

static void who_lost_opens_raises_the_floor(void **state)
{
    struct scratch *s = *state;
    struct mgc_catalog *c = writer(s);
    struct mgc_change lost[] = {{.kind = MGC_CHANGE_OPEN, .path = "a", .time_us = T0 + 9 * HOUR},
                                {.kind = MGC_CHANGE_UNLINK, .path = "../x", .time_us = T0}};

    create(s, c, "a", 1);
    ok(s, c->ops->meta_set(c, MGC_META_OPENED_FLOOR, T0 + 5 * HOUR, &s->err));
    ok(s, c->ops->meta_set(c, MGC_META_OPENED_FLOOR, T0 + 1 * HOUR, &s->err)); /* never back */
    assert_int_equal(c->ops->opened_us(c, id_of(c, "a")), T0 + 5 * HOUR);
    create(s, c, "b", 2);
    assert_int_equal(c->ops->opened_us(c, id_of(c, "b")), 0);
    ok(s, c->ops->meta_set(c, MGC_META_OPENED_FLOOR, T0 + 1 * HOUR, &s->err));
    assert_int_equal(c->ops->opened_us(c, id_of(c, "a")), T0 + 5 * HOUR);
    assert_true(c->ops->opened_us(c, id_of(c, "b")) >= T0 + 1 * HOUR);
    create(s, c, "c", 3);
    assert_int_equal(c->ops->opened_us(c, id_of(c, "c")), 0);
    /* A batch that fails raises it by itself. */
    assert_int_equal(c->ops->apply(c, lost, 2, &s->err), -EINVAL);
    assert_int_equal(c->ops->opened_us(c, id_of(c, "b")), T0 + 9 * HOUR);
    clean_stop(s, c);
    c = writer(s);
    assert_int_equal(c->ops->opened_us(c, id_of(c, "b")), T0 + 9 * HOUR);
    mgc_catalog_close(c);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        scratch_test(values_survive_in_the_file),
        scratch_test(the_format_is_as_documented),
        scratch_test(sparse_ids_cost_nothing),
        scratch_test(pages_are_written_as_far_as_allowed),
        scratch_test(another_catalog_s_file_is_not_read),
        scratch_test(a_full_disk_is_an_error_and_no_signal),
        scratch_test(a_view_reads_afresh),
        scratch_test(after_a_clean_stop_the_array_is_believed),
        scratch_test(after_an_unclean_stop_every_entry_counts_as_opened_then),
        scratch_test(where_the_stop_is_unknown_it_was_now),
        scratch_test(a_catalog_without_entries_needs_no_floor),
        scratch_test(who_lost_opens_raises_the_floor),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
