/* The decision tables, each combination once; names of slots; origins. */
#include "fs/quarantine/quarantine_priv.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define ABSENT MGC_SEEN_ABSENT
#define SAME MGC_SEEN_SAME
#define OTHER MGC_SEEN_OTHER

static void a_move_follows_the_table(void **state)
{
    /* clang-format off */
    static const struct {
        const char *what;
        enum mgc_seen media, slot;
        enum mgc_settle want;
    } rows[] = {
        {"stopped before the rename",     SAME,   ABSENT, MGC_SETTLE_FORGET},
        {"stopped after the rename",      ABSENT, SAME,   MGC_SETTLE_FINISH},
        {"moved, path reused since",      OTHER,  SAME,   MGC_SETTLE_FINISH},
        {"application removed it first",  ABSENT, ABSENT, MGC_SETTLE_FORGET},
        {"application replaced it first", OTHER,  ABSENT, MGC_SETTLE_FORGET},
        {"two names for one file",        SAME,   SAME,   MGC_SETTLE_ALARM},
        {"replaced while we moved",       ABSENT, OTHER,  MGC_SETTLE_RETURN},
        {"stranger, file still live",     SAME,   OTHER,  MGC_SETTLE_ALARM},
        {"stranger, path taken",          OTHER,  OTHER,  MGC_SETTLE_ALARM},
    };
    /* clang-format on */
    _Static_assert(ARRAY_SIZE(rows) == MGC_SEEN_COUNT * MGC_SEEN_COUNT, "a combination is missing");

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        enum mgc_settle got = mgc_settle_of_move(rows[i].media, rows[i].slot);

        if (got != rows[i].want)
            fail_msg("%s: %d, want %d", rows[i].what, (int)got, (int)rows[i].want);
    }
}

static void a_restore_follows_the_table(void **state)
{
    /* clang-format off */
    static const struct {
        const char *what;
        enum mgc_seen target, slot;
        enum mgc_settle want;
    } rows[] = {
        {"renamed",                       SAME,   ABSENT, MGC_SETTLE_FINISH},
        {"stopped before the rename",     ABSENT, SAME,   MGC_SETTLE_BACK},
        {"the path was taken first",      OTHER,  SAME,   MGC_SETTLE_BACK},
        {"restored, then removed",        ABSENT, ABSENT, MGC_SETTLE_FORGET},
        {"restored, then replaced",       OTHER,  ABSENT, MGC_SETTLE_FORGET},
        {"two names for one file",        SAME,   SAME,   MGC_SETTLE_ALARM},
        {"stranger, path free",           ABSENT, OTHER,  MGC_SETTLE_ALARM},
        {"stranger, file back already",   SAME,   OTHER,  MGC_SETTLE_ALARM},
        {"stranger, path taken",          OTHER,  OTHER,  MGC_SETTLE_ALARM},
    };
    /* clang-format on */
    _Static_assert(ARRAY_SIZE(rows) == MGC_SEEN_COUNT * MGC_SEEN_COUNT, "a combination is missing");

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        enum mgc_settle got = mgc_settle_of_restore(rows[i].target, rows[i].slot);

        if (got != rows[i].want)
            fail_msg("%s: %d, want %d", rows[i].what, (int)got, (int)rows[i].want);
    }
}

static void a_purge_follows_the_table(void **state)
{
    (void)state;
    assert_int_equal(mgc_settle_of_purge(ABSENT), MGC_SETTLE_FORGET);
    assert_int_equal(mgc_settle_of_purge(SAME), MGC_SETTLE_BACK);
    assert_int_equal(mgc_settle_of_purge(OTHER), MGC_SETTLE_ALARM);
}

static void only_what_we_write_names_a_slot(void **state)
{
    static const int64_t ids[] = {1, 10, 1000000, INT64_MAX};
    static const char *const strangers[] = {
        "", "0", "-1", "01", "1 ", " 1", "1a", "+1", "0x1", "1.0", "9223372036854775808", "a"};
    char name[MGC_SLOT_NAME_BYTES];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        mgc_slot_name(name, ids[i]);
        assert_int_equal(mgc_slot_id(name), ids[i]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(strangers); i++)
        assert_int_equal(mgc_slot_id(strangers[i]), -1);
}

static const struct mgc_held example = {
    .id = 4711,
    .reason = MGC_REASON_REPLACED,
    .path = "docs/a b\n%\xff.pdf",
    .stat = {.id = {.ino = UINT64_C(0xfedcba9876543210), .stamp = -5, .kind = MGC_ID_BIRTH}},
    .run = 12,
    .born_us = 1700000000000000,
    .written_us = 1700000000000001,
    .creator_uid = UINT32_MAX,
};

static void an_origin_comes_back_as_it_was(void **state)
{
    char path[MGC_PATH_BYTES_MAX + 1];
    struct mgc_held got;

    (void)state;
    for (int hex = 0; hex < 2; hex++) {
        mgc_autobuf record = {0};

        mgc_origin_encode(&record, &example, 77, hex == 1);
        assert_true(mgc_origin_decode(record.data, record.bytes, hex == 1, &got, path));
        assert_int_equal(got.id, example.id);
        assert_int_equal(got.reason, example.reason);
        assert_string_equal(got.path, example.path);
        assert_true(mgc_file_id_equal(&got.stat.id, &example.stat.id));
        assert_int_equal(got.run, 12);
        assert_int_equal(got.born_us, example.born_us);
        assert_int_equal(got.written_us, example.written_us);
        assert_int_equal(got.creator_uid, UINT32_MAX);
        assert_int_equal(got.held_us, 77);
        if (hex == 1) /* a line of the manifest is one line whatever the name holds */
            assert_null(memchr(record.data, '\n', record.bytes));
    }
}

/* Any single changed, missing or added byte makes it no record. */
static void a_damaged_origin_is_none(void **state)
{
    char path[MGC_PATH_BYTES_MAX + 1];
    struct mgc_held got;

    (void)state;
    for (int hex = 0; hex < 2; hex++) {
        mgc_autobuf record = {0};

        mgc_origin_encode(&record, &example, 77, hex == 1);
        for (size_t i = 0; i < record.bytes; i++) {
            record.data[i] ^= 1;
            assert_false(mgc_origin_decode(record.data, record.bytes, hex == 1, &got, path));
            record.data[i] ^= 1;
            assert_false(mgc_origin_decode(record.data, i, hex == 1, &got, path));
        }
        mgc_buf_addc(&record, '0');
        assert_false(mgc_origin_decode(record.data, record.bytes, hex == 1, &got, path));
    }
}

/* A record is text that somebody else may have written: a path that leads out is none (G10). */
static void an_origin_cannot_lead_out_of_the_tree(void **state)
{
    static const char *const paths[] = {"../a", "/etc/passwd", "a/../../b", ".mediagcfs/tree",
                                        "a//b", "a/"};
    char path[MGC_PATH_BYTES_MAX + 1];
    struct mgc_held held = example, got;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        mgc_autobuf record = {0};

        held.path = paths[i];
        mgc_origin_encode(&record, &held, 77, false);
        assert_false(mgc_origin_decode(record.data, record.bytes, false, &got, path));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_move_follows_the_table),
        cmocka_unit_test(a_restore_follows_the_table),
        cmocka_unit_test(a_purge_follows_the_table),
        cmocka_unit_test(only_what_we_write_names_a_slot),
        cmocka_unit_test(an_origin_comes_back_as_it_was),
        cmocka_unit_test(a_damaged_origin_is_none),
        cmocka_unit_test(an_origin_cannot_lead_out_of_the_tree),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
