/* test_bytes.c -- buffers, UTF-8, escapes for people, JSON and hexadecimal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mediagcfs/bytes.h"

static void a_buffer_grows_and_stays_terminated(void **state)
{
    mgc_autobuf b = {0};
    char want[3001];

    (void)state;
    for (size_t i = 0; i < 1000; i++) {
        mgc_buf_addf(&b, "%03zu", i);
        (void)snprintf(want + 3 * i, 4, "%03zu", i);
        assert_int_equal(b.data[b.bytes], '\0');
    }
    assert_false(b.failed);
    assert_int_equal(b.bytes, 3000);
    assert_string_equal(b.data, want);
    mgc_buf_clear(&b);
    assert_int_equal(b.bytes, 0);
    assert_string_equal(b.data, "");
    mgc_buf_add(&b, "a\0b", 3);
    mgc_buf_addc(&b, 'c');
    assert_int_equal(b.bytes, 4);
    assert_memory_equal(b.data, "a\0bc", 5);
}

static void a_failed_buffer_stays_failed(void **state)
{
    mgc_autobuf b = {0};

    (void)state;
    mgc_buf_adds(&b, "kept");
    assert_false(mgc_buf_reserve(&b, SIZE_MAX - 1));
    assert_true(b.failed);
    mgc_buf_adds(&b, "lost");
    assert_int_equal(b.bytes, 4);
    mgc_buf_clear(&b);
    assert_false(b.failed);
}

static void utf8_is_judged_by_the_letter(void **state)
{
    static const struct {
        const char *what, *bytes;
        size_t count;
        bool valid;
    } rows[] = {
        {"nothing", "", 0, true},
        {"ascii", "abc", 3, true},
        {"two bytes", "\xC3\xA4", 2, true},
        {"three bytes", "\xE2\x82\xAC", 3, true},
        {"four bytes", "\xF0\x9F\x98\x80", 4, true},
        {"last code point", "\xF4\x8F\xBF\xBF", 4, true},
        {"beyond the last", "\xF4\x90\x80\x80", 4, false},
        {"overlong slash", "\xC0\xAF", 2, false},
        {"overlong three", "\xE0\x9F\xBF", 3, false},
        {"overlong four", "\xF0\x8F\xBF\xBF", 4, false},
        {"surrogate", "\xED\xA0\x80", 3, false},
        {"last before the surrogates", "\xED\x9F\xBF", 3, true},
        {"lone continuation", "\x80", 1, false},
        {"cut two", "\xC3", 1, false},
        {"cut three", "\xE2\x82", 2, false},
        {"cut four", "a\xF0\x9F\x98", 4, false},
        {"wrong continuation", "\xE2\x28\xA1", 3, false},
        {"latin-1", "caf\xE9.jpg", 8, false},
        {"f5", "\xF5\x80\x80\x80", 4, false},
        {"ff", "\xFF", 1, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        /* Exactly as many bytes as it may look at: the address sanitizer sees one too many. */
        char *exact = malloc(rows[i].count + 1);

        assert_non_null(exact);
        memcpy(exact, rows[i].bytes, rows[i].count);
        exact = realloc(exact, rows[i].count > 0 ? rows[i].count : 1);
        if (mgc_utf8_valid(exact, rows[i].count) != rows[i].valid)
            fail_msg("%s", rows[i].what);
        free(exact);
    }
}

static void an_escape_shows_what_is_there(void **state)
{
    static const struct {
        const char *bytes, *want;
    } rows[] = {
        {"", ""},
        {"docs/a b.pdf", "docs/a b.pdf"},
        {"caf\xC3\xA9", "caf\xC3\xA9"},
        {"caf\xE9", "caf\\xe9"},
        {"a\nb\x1b[2J", "a\\x0ab\\x1b[2J"},
        {"a\\b", "a\\x5cb"}, /* else "\x0a" could be a name */
        {"\x7F", "\\x7f"},
        {"\xC2\x9B"
         "2J",
         "\\xc2\\x9b"
         "2J"}, /* an escape sequence in one character */
        {"\xC2\xA0", "\xC2\xA0"},
    };
    char out[64];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_ptr_equal(mgc_escape(out, sizeof(out), rows[i].bytes, strlen(rows[i].bytes)), out);
        assert_string_equal(out, rows[i].want);
    }
    assert_string_equal(MGC_SHOW("x\ty"), "x\\x09y");
}

static void a_cut_escape_says_so_and_stays_whole(void **state)
{
    char out[16];

    (void)state;
    for (size_t size = 8; size <= sizeof(out); size++) {
        memset(out, '#', sizeof(out));
        (void)mgc_escape(out, size, "\xC3\xA4\xC3\xB6\xC3\xBC\x01\x02\x03\x04\x05", 11);
        assert_in_range(strlen(out), 3, size - 1);
        assert_string_equal(out + strlen(out) - 3, "...");
        assert_true(mgc_utf8_valid(out, strlen(out)));
        for (size_t i = size; i < sizeof(out); i++)
            assert_int_equal(out[i], '#');
    }
}

static void json_is_text_whatever_the_bytes(void **state)
{
    mgc_autobuf b = {0};

    (void)state;
    mgc_buf_add_json(&b, "a\"b\\c\n\0\x7F/\xC3\xA9\xE9", 12);
    assert_string_equal(b.data, "\"a\\\"b\\\\c\\u000a\\u0000\\u007f/\xC3\xA9\xEF\xBF\xBD\"");
    assert_true(mgc_utf8_valid(b.data, b.bytes));
}

static void hexadecimal_goes_there_and_back(void **state)
{
    mgc_autobuf hex = {0}, back = {0};
    unsigned char all[256];

    (void)state;
    for (size_t i = 0; i < sizeof(all); i++)
        all[i] = (unsigned char)i;
    mgc_buf_add_hex(&hex, all, sizeof(all));
    assert_int_equal(hex.bytes, 512);
    assert_memory_equal(hex.data, "000102", 6);
    assert_true(mgc_buf_add_unhex(&back, hex.data, hex.bytes));
    assert_int_equal(back.bytes, sizeof(all));
    assert_memory_equal(back.data, all, sizeof(all));

    mgc_buf_clear(&back);
    assert_true(mgc_buf_add_unhex(&back, "aAFf", 4));
    assert_memory_equal(back.data, "\xAA\xFF", 3);
    assert_false(mgc_buf_add_unhex(&back, "abc", 3));
    assert_false(mgc_buf_add_unhex(&back, "0g", 2));
    assert_false(mgc_buf_add_unhex(&back, "-1", 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_buffer_grows_and_stays_terminated),
        cmocka_unit_test(a_failed_buffer_stays_failed),
        cmocka_unit_test(utf8_is_judged_by_the_letter),
        cmocka_unit_test(an_escape_shows_what_is_there),
        cmocka_unit_test(a_cut_escape_says_so_and_stays_whole),
        cmocka_unit_test(json_is_text_whatever_the_bytes),
        cmocka_unit_test(hexadecimal_goes_there_and_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
