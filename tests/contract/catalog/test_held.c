/* test_held.c -- the journal of the quarantine: rows, states, batches. */
#include "fixture.h"

#include "mediagcfs/attr.h"

static struct mgc_held a_held(const char *path, int64_t entry_id)
{
    return (struct mgc_held){.reason = MGC_REASON_ORPHAN,
                             .path = path,
                             .restore_to = "",
                             .stat = a_file(7, 100, T0),
                             .entry_id = entry_id,
                             .born_us = T0,
                             .written_us = T0 + 1,
                             .creator_uid = 33,
                             .run = 4};
}

/* An entry that was moved: its row's id. */
static int64_t hold(struct fixture *f, const char *path)
{
    struct mgc_held row;

    create(f, path, 7, T0);
    row = a_held(path, entry_at(f, path).id);
    ok(f, f->c->ops->held_begin(f->c, &row, 1, &f->err));
    ok(f, f->c->ops->held_finish(f->c, &row.id, 1, T0 + HOUR, &f->err));
    return row.id;
}

static char kept_text[2][4096]; /* strings are valid in the callback only */

static int keep(void *arg, const struct mgc_held *held)
{
    struct mgc_held *out = arg;

    *out = *held;
    (void)snprintf(kept_text[0], sizeof(kept_text[0]), "%s", held->path);
    (void)snprintf(kept_text[1], sizeof(kept_text[1]), "%s", held->restore_to);
    out->path = kept_text[0];
    out->restore_to = kept_text[1];
    return 0;
}

static struct mgc_held held_at(struct fixture *f, int64_t id)
{
    struct mgc_held held = {0};

    ok(f, f->c->ops->held_get(f->c, id, keep, &held));
    return held;
}

static bool is_held(struct fixture *f, int64_t id)
{
    struct mgc_held held;
    int r = f->c->ops->held_get(f->c, id, keep, &held);

    if (r != 0)
        assert_int_equal(r, -ENOENT);
    return r == 0;
}

static void a_move_is_announced_then_finished(void **state)
{
    struct fixture *f = *state;
    struct mgc_held row, got;
    struct mgc_dir dir;
    int64_t entry_id, count, bytes;

    create(f, "d/a\xff", 7, T0);
    entry_id = entry_at(f, "d/a\xff").id;
    row = a_held("d/a\xff", entry_id);
    ok(f, f->c->ops->held_begin(f->c, &row, 1, &f->err));
    assert_true(row.id > entry_id);
    assert_int_equal(row.state, MGC_HELD_MOVING);
    got = held_at(f, row.id);
    ok(f, f->c->ops->dir_find(f->c, "d", &dir));
    assert_int_equal(got.state, MGC_HELD_MOVING);
    assert_int_equal(got.reason, MGC_REASON_ORPHAN);
    assert_string_equal(got.path, "d/a\xff");
    assert_int_equal(got.dir_id, dir.id);
    assert_true(mgc_file_id_equal(&got.stat.id, &row.stat.id));
    assert_int_equal(got.stat.dev, 0); /* never stored (H10) */
    assert_int_equal(got.stat.mode, row.stat.mode);
    assert_int_equal(got.stat.uid, 33);
    assert_int_equal(got.stat.gid, 33);
    assert_int_equal(got.stat.nlink, 1);
    assert_int_equal(got.stat.size_bytes, 100);
    assert_int_equal(got.stat.mtime_us, T0);
    assert_int_equal(got.stat.ctime_us, T0);
    assert_int_equal(got.entry_id, entry_id);
    assert_int_equal(got.born_us, T0);
    assert_int_equal(got.written_us, T0 + 1);
    assert_int_equal(got.creator_uid, 33);
    assert_int_equal(got.held_us, 0);
    assert_int_equal(got.run, 4);
    assert_true(exists(f, "d/a\xff")); /* until it is known to be moved */
    ok(f, f->c->ops->held_totals(f->c, &count, &bytes));
    assert_int_equal(count, 0);
    ok(f, f->c->ops->held_finish(f->c, &row.id, 1, T0 + HOUR, &f->err));
    got = held_at(f, row.id);
    assert_int_equal(got.state, MGC_HELD_HELD);
    assert_int_equal(got.held_us, T0 + HOUR);
    assert_false(exists(f, "d/a\xff"));
    assert_totals(f, 0, 0);
    ok(f, f->c->ops->held_totals(f->c, &count, &bytes));
    assert_int_equal(count, 1);
    assert_int_equal(bytes, 100);
    ok(f, f->c->ops->held_finish(f->c, &row.id, 1, T0 + 2 * HOUR, &f->err)); /* done is done */
    assert_int_equal(held_at(f, row.id).held_us, T0 + HOUR);
}

static void finishing_leaves_a_file_that_took_the_path(void **state)
{
    struct fixture *f = *state;
    struct mgc_held row;

    create(f, "a", 7, T0);
    row = a_held("a", entry_at(f, "a").id);
    ok(f, f->c->ops->held_begin(f->c, &row, 1, &f->err));
    create(f, "a", 8, T0 + HOUR); /* the application used the name again */
    ok(f, f->c->ops->held_finish(f->c, &row.id, 1, T0 + HOUR, &f->err));
    assert_int_equal(entry_at(f, "a").file_id.ino, 8);
    assert_totals(f, 1, 100);
}

static void a_batch_is_announced_whole_or_not_at_all(void **state)
{
    struct fixture *f = *state;
    struct mgc_held rows[] = {a_held("a", 0), a_held("b", 0), a_held("a", 0)};
    struct mgc_held one = a_held("b", 0);
    int64_t count, bytes;

    assert_int_equal(f->c->ops->held_begin(f->c, rows, 3, &f->err), MGC_E_BUSY);
    assert_int_equal(rows[0].id, 0); /* written only on success */
    ok(f, f->c->ops->held_begin(f->c, rows, 2, &f->err));
    assert_true(rows[1].id > rows[0].id);
    /* A MOVING row is the lock on its path. */
    assert_int_equal(f->c->ops->held_begin(f->c, &one, 1, &f->err), MGC_E_BUSY);
    ok(f, f->c->ops->held_finish(f->c, &rows[1].id, 1, T0, &f->err));
    ok(f, f->c->ops->held_begin(f->c, &one, 1, &f->err));
    assert_true(one.id > rows[1].id);
    rows[0].path = "../x";
    assert_int_equal(f->c->ops->held_begin(f->c, rows, 1, &f->err), -EINVAL);
    ok(f, f->c->ops->held_totals(f->c, &count, &bytes));
    assert_int_equal(count, 1);
}

/* What each call does to a row in each state; anything else than 0 leaves the row alone. */
static void transitions_follow_the_picture(void **state)
{
    enum call { FINISH, RESTORING, PURGING, BACK, CALLS };
    static const struct {
        enum mgc_held_state from;
        int want[CALLS];
        enum mgc_held_state then[CALLS];
    } rows[] = {
        {MGC_HELD_MOVING,
         {0, MGC_E_CONFLICT, MGC_E_CONFLICT, MGC_E_CONFLICT},
         {MGC_HELD_HELD, MGC_HELD_MOVING, MGC_HELD_MOVING, MGC_HELD_MOVING}},
        {MGC_HELD_HELD,
         {0, 0, 0, 0},
         {MGC_HELD_HELD, MGC_HELD_RESTORING, MGC_HELD_PURGING, MGC_HELD_HELD}},
        {MGC_HELD_RESTORING,
         {MGC_E_CONFLICT, 0, MGC_E_CONFLICT, 0},
         {MGC_HELD_RESTORING, MGC_HELD_RESTORING, MGC_HELD_RESTORING, MGC_HELD_HELD}},
        {MGC_HELD_PURGING,
         {MGC_E_CONFLICT, MGC_E_CONFLICT, 0, 0},
         {MGC_HELD_PURGING, MGC_HELD_PURGING, MGC_HELD_PURGING, MGC_HELD_HELD}},
    };
    struct fixture *f = *state;
    const struct mgc_catalog_ops *ops = f->c->ops;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        for (enum call call = 0; call < CALLS; call++) {
            struct mgc_held row = a_held("a", 0);
            int r = -1;

            ok(f, ops->held_begin(f->c, &row, 1, &f->err));
            if (rows[i].from != MGC_HELD_MOVING)
                ok(f, ops->held_finish(f->c, &row.id, 1, T0, &f->err));
            if (rows[i].from == MGC_HELD_RESTORING)
                ok(f, ops->held_restoring(f->c, row.id, "a", false, &f->err));
            if (rows[i].from == MGC_HELD_PURGING)
                ok(f, ops->held_purging(f->c, &row.id, 1, &f->err));
            if (call == FINISH)
                r = ops->held_finish(f->c, &row.id, 1, T0, &f->err);
            else if (call == RESTORING)
                r = ops->held_restoring(f->c, row.id, "b/c", true, &f->err);
            else if (call == PURGING)
                r = ops->held_purging(f->c, &row.id, 1, &f->err);
            else
                r = ops->held_back(f->c, row.id, &f->err);
            if (r != rows[i].want[call] || held_at(f, row.id).state != rows[i].then[call])
                fail_msg("%s, call %d: %d, then %s", mgc_held_state_name(rows[i].from), (int)call,
                         r, mgc_held_state_name(held_at(f, row.id).state));
            ok(f, ops->held_forget(f->c, &row.id, 1, &f->err));
        }
}

static void a_restore_says_where_and_why(void **state)
{
    struct fixture *f = *state;
    int64_t id = hold(f, "d/a"), unknown = 77777;

    ok(f, f->c->ops->held_restoring(f->c, id, "e/b", true, &f->err));
    assert_string_equal(held_at(f, id).restore_to, "e/b");
    assert_true(held_at(f, id).heal);
    ok(f, f->c->ops->held_back(f->c, id, &f->err));
    assert_string_equal(held_at(f, id).restore_to, "");
    assert_false(held_at(f, id).heal);
    assert_int_equal(f->c->ops->held_restoring(f->c, id, "/etc/passwd", false, &f->err), -EINVAL);
    assert_int_equal(f->c->ops->held_restoring(f->c, unknown, "a", false, &f->err), -ENOENT);
    assert_int_equal(f->c->ops->held_finish(f->c, &unknown, 1, T0, &f->err), -ENOENT);
    assert_int_equal(f->c->ops->held_back(f->c, unknown, &f->err), -ENOENT);
    assert_int_equal(f->c->ops->held_pin(f->c, unknown, true, &f->err), -ENOENT);
    ok(f, f->c->ops->held_forget(f->c, &unknown, 1, &f->err)); /* recovery may do it twice */
}

static void a_returned_file_is_an_entry_again(void **state)
{
    struct fixture *f = *state;
    struct mgc_file_stat stat = a_file(7, 100, T0 + 2 * HOUR);
    int64_t id = hold(f, "d/a");
    struct mgc_entry e;

    ok(f, f->c->ops->held_restoring(f->c, id, "d/a", true, &f->err));
    ok(f, f->c->ops->held_returned(f->c, id, "d/a", &stat, T0 + 2 * HOUR, true, &f->err));
    assert_false(is_held(f, id));
    e = entry_at(f, "d/a");
    assert_true(e.id > id);
    assert_int_equal(e.born_us, T0 + 2 * HOUR);
    assert_int_equal(e.healed_us, T0 + 2 * HOUR);
    assert_int_equal(e.written_us, T0 + 1);
    assert_int_equal(e.uid, 33);
    assert_int_equal(e.orphan_runs, 0);
    assert_totals(f, 1, 100);
    assert_int_equal(f->c->ops->held_returned(f->c, id, "d/a", &stat, T0 + 2 * HOUR, true, &f->err),
                     -ENOENT);
}

static void an_operator_s_restore_is_no_heal(void **state)
{
    struct fixture *f = *state;
    struct mgc_file_stat stat = a_file(7, 100, T0 + 2 * HOUR);
    int64_t id = hold(f, "d/a");

    ok(f, f->c->ops->held_restoring(f->c, id, "new/place/b", false, &f->err));
    create(f, "new/place/b", 7, T0 + 3 * HOUR); /* seen by a verification before */
    ok(f, f->c->ops->held_returned(f->c, id, "new/place/b", &stat, T0 + 2 * HOUR, false, &f->err));
    assert_int_equal(entry_at(f, "new/place/b").healed_us, 0);
    assert_int_equal(entry_at(f, "new/place/b").born_us, T0 + 3 * HOUR);
    assert_totals(f, 1, 100);
}

static void a_held_file_follows_its_directory(void **state)
{
    struct fixture *f = *state;
    int64_t id = hold(f, "d/sub/a");
    char path[64];

    rename_at(f, "d", "e", true, T0 + HOUR);
    ok(f, f->c->ops->dir_path(f->c, held_at(f, id).dir_id, path, sizeof(path)));
    assert_string_equal(path, "e/sub");
    assert_string_equal(held_at(f, id).path, "d/sub/a");
    change(f, (struct mgc_change){.kind = MGC_CHANGE_RMDIR, .path = "e", .time_us = T0});
    assert_int_equal(held_at(f, id).dir_id, 0);
    assert_true(is_held(f, id));
}

static void a_slot_without_a_row_is_adopted(void **state)
{
    struct fixture *f = *state;
    struct mgc_held row = a_held("d/a", 0);
    int64_t next;

    row.id = 5000000;
    row.held_us = T0;
    row.state = MGC_HELD_HELD;
    mkdir_at(f, "d", T0);
    ok(f, f->c->ops->held_adopt(f->c, &row, &f->err));
    assert_int_equal(held_at(f, row.id).state, MGC_HELD_HELD);
    assert_int_equal(held_at(f, row.id).held_us, T0);
    assert_true(held_at(f, row.id).dir_id > 0);
    assert_int_equal(f->c->ops->held_adopt(f->c, &row, &f->err), -EEXIST);
    ok(f, f->c->ops->meta_get(f->c, MGC_META_NEXT_ID, &next));
    assert_true(next > 5000000);
    assert_true(f->reserved > 5000000);
    create(f, "x", 1, T0);
    assert_true(entry_at(f, "x").id > 5000000);
    row.id = INT64_MAX; /* a name in the slots is input */
    assert_int_equal(f->c->ops->held_adopt(f->c, &row, &f->err), MGC_E_LIMIT);
    row.id = 0;
    assert_int_equal(f->c->ops->held_adopt(f->c, &row, &f->err), MGC_E_LIMIT);
}

static void pins_and_proofs(void **state)
{
    struct fixture *f = *state;
    int64_t ids[] = {hold(f, "a"), hold(f, "b"), 77777};

    ok(f, f->c->ops->held_pin(f->c, ids[0], true, &f->err));
    assert_true(held_at(f, ids[0]).pinned);
    assert_int_equal(f->c->ops->held_purging(f->c, ids, 2, &f->err), MGC_E_REFUSED);
    assert_int_equal(held_at(f, ids[1]).state, MGC_HELD_HELD); /* all or nothing */
    ok(f, f->c->ops->held_pin(f->c, ids[0], false, &f->err));
    ok(f, f->c->ops->held_prove(f->c, ids, 3, T0 + HOUR, 9, &f->err));
    assert_int_equal(held_at(f, ids[0]).proof_us, T0 + HOUR);
    assert_int_equal(held_at(f, ids[1]).proof_run, 9);
    ok(f, f->c->ops->restart_waits(f->c, &f->err));
    assert_int_equal(held_at(f, ids[0]).proof_us, 0);
    assert_int_equal(held_at(f, ids[1]).proof_run, 0);
    ok(f, f->c->ops->held_purging(f->c, ids, 2, &f->err));
    assert_int_equal(held_at(f, ids[1]).state, MGC_HELD_PURGING);
    ok(f, f->c->ops->held_forget(f->c, ids, 3, &f->err));
    assert_false(is_held(f, ids[0]));
}

static int count_one(void *arg, const struct mgc_held *held)
{
    int64_t *last = arg;

    assert_true(held->id > *last);
    *last = held->id;
    return 0;
}

static void rows_are_scanned_all_or_by_path(void **state)
{
    struct fixture *f = *state;
    int64_t a = hold(f, "a"), last = 0;

    (void)hold(f, "b");
    (void)hold(f, "a");
    assert_int_equal(f->c->ops->held_scan(f->c, 0, 100, NULL, count_one, &last, &f->err), 3);
    last = 0;
    assert_int_equal(f->c->ops->held_scan(f->c, 0, 2, NULL, count_one, &last, &f->err), 2);
    last = 0;
    assert_int_equal(f->c->ops->held_scan(f->c, 0, 100, "a", count_one, &last, &f->err), 2);
    last = 0;
    assert_int_equal(f->c->ops->held_scan(f->c, a, 100, "a", count_one, &last, &f->err), 1);
    assert_int_equal(f->c->ops->held_scan(f->c, 0, 100, "c", count_one, &last, &f->err), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_move_is_announced_then_finished),
        cmocka_unit_test(finishing_leaves_a_file_that_took_the_path),
        cmocka_unit_test(a_batch_is_announced_whole_or_not_at_all),
        cmocka_unit_test(transitions_follow_the_picture),
        cmocka_unit_test(a_restore_says_where_and_why),
        cmocka_unit_test(a_returned_file_is_an_entry_again),
        cmocka_unit_test(an_operator_s_restore_is_no_heal),
        cmocka_unit_test(a_held_file_follows_its_directory),
        cmocka_unit_test(a_slot_without_a_row_is_adopted),
        cmocka_unit_test(pins_and_proofs),
        cmocka_unit_test(rows_are_scanned_all_or_by_path),
    };

    return contract_run("held", tests, ARRAY_SIZE(tests));
}
