/* test_error.c -- the table of codes is complete, and messages keep their promises. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mediagcfs/error.h"

enum { CODES_MIN = 15, CODES_MAX = 90 };

/* Reads "MGC_E_NAME = -5001" lines of the header: a code without a row must not go unnoticed. */
static size_t codes_of_header(int *codes)
{
    FILE *f = fopen(MGC_SOURCE_DIR "/include/mediagcfs/error.h", "r");
    char line[256], name[64];
    size_t count = 0;
    int code;

    assert_non_null(f);
    while (fgets(line, sizeof(line), f) != NULL)
        if (sscanf(line, " MGC_E_%63[A-Z_] = %d", name, &code) == 2 && strcmp(name, "FIRST") != 0) {
            assert_in_range(count, 0, CODES_MAX - 1);
            codes[count++] = code;
        }
    (void)fclose(f);
    assert_in_range(count, CODES_MIN, CODES_MAX);
    return count;
}

static void every_code_has_a_row(void **state)
{
    int codes[CODES_MAX];
    size_t count = codes_of_header(codes);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        assert_in_range(-codes[i], 5001, 5098);
        assert_string_not_equal(mgc_code_name(codes[i]), "unknown");
        assert_string_not_equal(mgc_code_text(codes[i]), "unknown error");
        assert_in_range(mgc_code_to_errno(codes[i]), 1, 4095);
        assert_in_range(mgc_code_to_exit(codes[i]), 1, 3);
        for (size_t j = 0; j < i; j++) {
            assert_int_not_equal(codes[i], codes[j]);
            assert_string_not_equal(mgc_code_name(codes[i]), mgc_code_name(codes[j]));
        }
    }
}

static void codes_become_what_others_understand(void **state)
{
    static const struct {
        int code;
        const char *name;
        int to_errno, to_exit;
        bool fault;
    } rows[] = {
        {0, "ok", 0, 0, false},
        {1, "unknown", EIO, 0, false},
        {-ENOENT, "ENOENT", ENOENT, 1, false},
        {-EIO, "EIO", EIO, 1, true},
        {-ENOSPC, "ENOSPC", ENOSPC, 1, true},
        {-ENOMEM, "ENOMEM", ENOMEM, 1, true},
        {-4999, "unknown", EIO, 1, true},
        {MGC_E_REFUSED, "refused", EPERM, 3, true},
        {MGC_E_IDENTITY, "identity", ESTALE, 3, true},
        {MGC_E_USAGE, "usage", EINVAL, 2, true},
        {MGC_E_BUSY, "busy", EBUSY, 1, false},
        {MGC_E_INCOMPLETE, "incomplete", EIO, 1, true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_string_equal(mgc_code_name(rows[i].code), rows[i].name);
        assert_int_equal(mgc_code_to_errno(rows[i].code), rows[i].to_errno);
        assert_int_equal(mgc_code_to_exit(rows[i].code), rows[i].to_exit);
        assert_int_equal(mgc_code_is_fault(rows[i].code), rows[i].fault);
    }
}

static void a_message_names_its_reason(void **state)
{
    struct mgc_err err = {0};

    (void)state;
    assert_int_equal(mgc_err_set(&err, -ENOENT, "could not open file '%s'", "a"), -ENOENT);
    assert_int_equal(err.code, -ENOENT);
    assert_string_equal(err.text, "could not open file 'a': No such file or directory");
    assert_string_equal(err.hint, "");
    assert_int_equal(mgc_err_hint(&err, "Create it."), -ENOENT);
    assert_string_equal(err.hint, "Create it.");

    /* The hint belongs to one message. */
    assert_int_equal(mgc_err_say(&err, MGC_E_REFUSED, "no"), MGC_E_REFUSED);
    assert_string_equal(err.text, "no");
    assert_string_equal(err.hint, "");
}

static void a_message_may_go_nowhere(void **state)
{
    (void)state;
    assert_int_equal(mgc_err_set(NULL, -EIO, "x"), -EIO);
    assert_int_equal(mgc_err_say(NULL, MGC_E_LIMIT, "x"), MGC_E_LIMIT);
    assert_int_equal(mgc_err_hint(NULL, "x"), 0);
    mgc_err_copy(NULL, NULL);
}

static void a_long_message_is_cut_inside_its_bounds(void **state)
{
    struct {
        struct mgc_err err;
        char guard[8];
    } held = {.guard = "guarded"};
    char text[2000];

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(mgc_err_set(&held.err, -EIO, "%s", text), -EIO);
    assert_int_equal(strlen(held.err.text), MGC_ERR_TEXT_BYTES - 1);
    (void)mgc_err_hint(&held.err, "%s", text);
    assert_int_equal(strlen(held.err.hint), MGC_ERR_HINT_BYTES - 1);
    assert_string_equal(held.guard, "guarded");
}

static void a_copy_is_whole(void **state)
{
    struct mgc_err from = {0}, to = {0};

    (void)state;
    (void)mgc_err_set(&from, -EIO, "a");
    (void)mgc_err_hint(&from, "b");
    mgc_err_copy(&to, &from);
    assert_memory_equal(&to, &from, sizeof(to));
    mgc_err_copy(&to, &to);
    assert_string_equal(to.hint, "b");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_a_row),
        cmocka_unit_test(codes_become_what_others_understand),
        cmocka_unit_test(a_message_names_its_reason),
        cmocka_unit_test(a_message_may_go_nowhere),
        cmocka_unit_test(a_long_message_is_cut_inside_its_bounds),
        cmocka_unit_test(a_copy_is_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
