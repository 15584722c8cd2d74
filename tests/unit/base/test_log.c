/* test_log.c -- times, events as JSON, and what reaches stderr. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "mediagcfs/log.h"

static void times_are_utc_with_microseconds(void **state)
{
    static const struct {
        int64_t us;
        const char *want;
    } rows[] = {
        {0, "1970-01-01T00:00:00.000000Z"},
        {1, "1970-01-01T00:00:00.000001Z"},
        {-1, "1969-12-31T23:59:59.999999Z"},
        {INT64_C(1709210096000007), "2024-02-29T12:34:56.000007Z"},
        {INT64_C(4102444799999999), "2099-12-31T23:59:59.999999Z"},
    };
    char out[32];

    (void)state;
    assert_int_equal(setenv("TZ", "America/New_York", 1), 0);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        assert_string_equal(mgc_time_text(out, sizeof(out), rows[i].us), rows[i].want);
    assert_in_range(strlen(mgc_time_text(out, sizeof(out), INT64_MAX)), 1, sizeof(out) - 1);
    assert_in_range(strlen(mgc_time_text(out, sizeof(out), INT64_MIN)), 1, sizeof(out) - 1);
}

/* They are written to logs that other programs read: a change here breaks them. */
static void event_names_are_stable(void **state)
{
    static const char *const names[] = {
        [MGC_EVENT_MOVE] = "move",       [MGC_EVENT_HEAL] = "heal",
        [MGC_EVENT_RESTORE] = "restore", [MGC_EVENT_PURGE] = "purge",
        [MGC_EVENT_REFUSED] = "refused", [MGC_EVENT_RUN] = "run",
        [MGC_EVENT_HOLD] = "hold",       [MGC_EVENT_RESUME] = "resume",
        [MGC_EVENT_MOUNT] = "mount",     [MGC_EVENT_UNMOUNT] = "unmount",
        [MGC_EVENT_BYPASS] = "bypass",   [MGC_EVENT_SCAN] = "scan",
        [MGC_EVENT_RECOVER] = "recover", [MGC_EVENT_CATALOG] = "catalog",
        [MGC_EVENT_APPROVE] = "approve",
    };
    _Static_assert(ARRAY_SIZE(names) == MGC_EVENT_COUNT, "an event is missing");

    (void)state;
    for (int i = 0; i < MGC_EVENT_COUNT; i++)
        assert_string_equal(mgc_event_name((enum mgc_event_kind)i), names[i]);
}

static void an_event_is_one_line_of_json(void **state)
{
    mgc_autobuf b = {0};
    const struct mgc_event full = {.time_us = 1500000,
                                   .kind = MGC_EVENT_MOVE,
                                   .path = "docs/a\n\"b\".pdf",
                                   .run = 7,
                                   .held = 9,
                                   .bytes = 10,
                                   .reason = "orphan",
                                   .who = "uid 33 pid 812 nginx"};
    const struct mgc_event latin = {.kind = MGC_EVENT_PURGE, .path = "caf\xE9"};
    const struct mgc_event bare = {.kind = MGC_EVENT_RESUME, .path = "", .reason = ""};

    (void)state;
    mgc_event_json(&b, &full);
    assert_string_equal(b.data,
                        "{\"v\":1,\"time\":\"1970-01-01T00:00:01.500000Z\",\"event\":\"move\","
                        "\"path\":\"docs/a\\u000a\\\"b\\\".pdf\",\"run\":7,\"id\":9,"
                        "\"bytes\":10,\"reason\":\"orphan\",\"who\":\"uid 33 pid 812 nginx\"}");
    mgc_buf_clear(&b);
    mgc_event_json(&b, &latin);
    assert_string_equal(b.data,
                        "{\"v\":1,\"time\":\"1970-01-01T00:00:00.000000Z\",\"event\":\"purge\","
                        "\"path\":\"caf\xEF\xBF\xBD\",\"path_hex\":\"636166e9\"}");
    mgc_buf_clear(&b);
    mgc_event_json(&b, &bare);
    assert_string_equal(b.data,
                        "{\"v\":1,\"time\":\"1970-01-01T00:00:00.000000Z\",\"event\":\"resume\"}");
}

/* What mgc_log() wrote while `act` ran. */
static void capture(void (*act)(void), char *out, size_t out_bytes)
{
    mgc_autofd file = memfd_create("stderr", MFD_CLOEXEC), before = dup(STDERR_FILENO);
    ssize_t got;

    assert_true(file >= 0 && before >= 0);
    assert_true(dup2(file, STDERR_FILENO) >= 0);
    act();
    assert_true(dup2(before, STDERR_FILENO) >= 0);
    got = pread(file, out, out_bytes - 1, 0);
    assert_true(got >= 0);
    out[got] = '\0';
}

static void log_at_every_level(void)
{
    struct mgc_err err = {0};

    mgc_log_init("prog", MGC_LOG_WARNING);
    mgc_log(MGC_LOG_DEBUG, "not shown");
    mgc_log(MGC_LOG_INFO, "not shown either");
    mgc_log(MGC_LOG_WARNING, "careful %d", 1);
    (void)mgc_err_say(&err, -EIO, "broken");
    (void)mgc_err_hint(&err, "Mend it.");
    mgc_log_failure("start", &err);
    mgc_log_init("prog", MGC_LOG_DEBUG);
    mgc_log(MGC_LOG_INFO, "plain");
    mgc_log(MGC_LOG_DEBUG, "detail");
}

static void log_too_much(void)
{
    char text[5000];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    mgc_log(MGC_LOG_ERROR, "%s", text);
}

static void messages_have_one_form(void **state)
{
    char out[4096];

    (void)state;
    capture(log_at_every_level, out, sizeof(out));
    assert_string_equal(out, "prog: warning: careful 1\n"
                             "prog: error: start: broken\n"
                             "prog: error: Mend it.\n"
                             "prog: plain\n"
                             "prog: debug: detail\n");
    capture(log_too_much, out, sizeof(out));
    assert_in_range(strlen(out), 1000, 2048);
    assert_int_equal(out[strlen(out) - 1], '\n');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_utc_with_microseconds),
        cmocka_unit_test(event_names_are_stable),
        cmocka_unit_test(an_event_is_one_line_of_json),
        cmocka_unit_test(messages_have_one_form),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
