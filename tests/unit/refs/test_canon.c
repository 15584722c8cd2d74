/* test_canon.c -- each decoder and each form, case by case. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "fs/refs/canon_priv.h"

struct row {
    const char *in;
    const char *want; /* NULL: nothing to decode */
};

static void check_decode(const struct row *rows, size_t count, unsigned kinds)
{
    struct mgc_buf out = {0};

    for (size_t i = 0; i < count; i++) {
        bool changed = mgc_canon_decode(&out, rows[i].in, strlen(rows[i].in), kinds);
        const char *want = rows[i].want == NULL ? rows[i].in : rows[i].want;

        assert_false(out.failed);
        if (changed != (rows[i].want != NULL) || strcmp(out.data, want) != 0)
            fail_msg("'%s': got '%s', want '%s'", rows[i].in, out.data, want);
        assert_true(out.bytes <= strlen(rows[i].in)); /* C1 */
    }
    mgc_buf_done(&out);
}

static void percent_is_undone_once(void **state)
{
    static const struct row rows[] = {
        {"a%20b", "a b"},
        {"%2520", "%20"},
        {"%c3%A9", "\xc3\xa9"},
        {"%u00e9", "\xc3\xa9"},
        {"%uD83D", NULL},
        {"50% off", NULL},
        {"%", NULL},
        {"%2", NULL},
        {"%zz", NULL},
        {"%%41", "%A"},
        {"x%4", NULL},
        {"%u00e", NULL},
        {"a&amp;b", NULL},
        {"\\u0041", NULL},
        {"a+b", NULL},
    };

    (void)state;
    check_decode(rows, ARRAY_SIZE(rows), MGC_ESC_PERCENT);
}

static void entities_are_undone_once(void **state)
{
    static const struct row rows[] = {
        {"r&amp;d", "r&d"},
        {"&amp;amp;", "&amp;"},
        {"&#39;", "'"},
        {"&#x2F;&#X2f;", "//"},
        {"&eacute;", "\xc3\xa9"},
        {"&euro;", "\xe2\x82\xac"},
        {"&apos;", "'"},
        {"&sol;", "/"},
        {"&nbsp;", "\xc2\xa0"},
        {"&#233 ", "\xc3\xa9 "},
        {"&#233%3B", NULL},
        {"&#233", "\xc3\xa9"},
        {"&#0;", NULL},
        {"&#xD800;", NULL},
        {"&#x110000;", NULL},
        {"&#1114112;", NULL},
        {"&nosuch;", NULL},
        {"&amp", NULL},
        {"&;", NULL},
        {"&#;", NULL},
        {"&#x;", NULL},
        {"&", NULL},
        {"&#x1F389;", "\xf0\x9f\x8e\x89"},
        {"&#99999999999;", NULL},
        {"&eacut;", NULL},
        {"&eacutee;", NULL},
        {"&lt&gt;", "&lt>"},
        {"&AElig;&zwnj;", "\xc3\x86\xe2\x80\x8c"},
    };

    (void)state;
    check_decode(rows, ARRAY_SIZE(rows), MGC_ESC_ENTITY);
}

static void backslashes_are_undone_once(void **state)
{
    static const struct row rows[] = {
        {"\\/", "/"},
        {"\\\\n", "\\n"},
        {"a\\nb", "a\nb"},
        {"\\\"", "\""},
        {"\\u00e9", "\xc3\xa9"},
        {"\\ud83c\\udf89", "\xf0\x9f\x8e\x89"},
        {"\\ud83c", NULL},
        {"\\ud83c\\u0041", "\\ud83cA"},
        {"\\udce9", "\xe9"},
        {"\\u{1F389}", "\xf0\x9f\x8e\x89"},
        {"\\u{}", NULL},
        {"\\u{110000}", NULL},
        {"\\U0001F389", "\xf0\x9f\x8e\x89"},
        {"\\xc3\\xa9", "\xc3\xa9"},
        {"\\303\\251", "\xc3\xa9"},
        {"\\400", NULL},
        {"\\s\\q", NULL},
        {"\\", NULL},
        {"\\x4", NULL},
        {"\\u00", NULL},
        {"\\ \\(\\_", " (_"},
    };

    (void)state;
    check_decode(rows, ARRAY_SIZE(rows), MGC_ESC_BACKSLASH);
}

static void quotes_and_all_at_once(void **state)
{
    static const struct row rows[] = {
        {"a\"\"b''c'", "a\"b'c'"},
        {"%26amp;&amp;\\u0026", "&amp;&&"},
        {"\\%41", "\\A"},
        {"\\&amp;", "\\&"},
        {"\\%4", "%4"},
        {"\\&a", "&a"},
    };

    (void)state;
    check_decode(rows, ARRAY_SIZE(rows), MGC_ESC_DECODERS | MGC_ESC_QUOTES);
}

/* The table must be sorted: every name is found through it. */
static void named_entities_are_all_found(void **state)
{
    static const struct {
        const char *name;
        uint32_t code;
    } some[] = {{"AElig", 198},  {"Aacute", 193},   {"zwnj", 8204}, {"zwj", 8205}, {"yuml", 255},
                {"quot", 34},    {"lt", 60},        {"gt", 62},     {"ni", 8715},  {"diams", 9830},
                {"Scaron", 352}, {"thetasym", 977}, {"lowbar", 95}, {"period", 46}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(some); i++)
        assert_int_equal(mgc_canon_entity(some[i].name, strlen(some[i].name)), some[i].code);
    assert_int_equal(mgc_canon_entity("", 0), 0);
    assert_int_equal(mgc_canon_entity("am", 2), 0);
    assert_int_equal(mgc_canon_entity("ampx", 4), 0);
}

static void up_is_resolved(void **state)
{
    static const struct row rows[] = {
        {"a/x/../b", "a/b"}, {"a/x/y/../../b", "a/b"}, {"/../a", NULL},      {"../a", NULL},
        {"a/../b", NULL},    {"/a/../b", "/b"},        {"//a//../b", "//b"}, {"a/x/./../b", "a/b"},
        {"a/../../b", NULL}, {"a/..b/c", NULL},        {"a/x/..", NULL},
    };
    struct mgc_buf out = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        bool changed = mgc_canon_up(&out, rows[i].in, strlen(rows[i].in));

        if (changed != (rows[i].want != NULL) || (changed && strcmp(out.data, rows[i].want) != 0))
            fail_msg("'%s': got '%s'", rows[i].in, out.data);
    }
    mgc_buf_done(&out);
}

static void the_canonical_form(void **state)
{
    static const struct row rows[] = {
        {"plain", NULL},
        {"\xc3\xa9", NULL},                                       /* composed already */
        {"e\xcc\x81", "\xc3\xa9"},                                /* NFD */
        {"\xe9t\xe9", "\xc3\xa9t\xc3\xa9"},                       /* Latin-1 */
        {"\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab", "\xed\x95\x9c"}, /* Hangul */
        {"\xe2\x84\xab", "\xc3\x85"},                             /* Angstrom sign */
        {"\xe6\x96\x87", NULL},
        {"\xf0\x9f\x8e\x89", NULL},
        {"\xe9"
         "e\xcc\x81",
         "\xc3\xa9\xc3\xa9"},
        {"\xd0\xb8\xcc\x86", "\xd0\xb9"},
    };
    struct mgc_buf out = {0}, again = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        bool changed = mgc_canon_form(&out, rows[i].in, strlen(rows[i].in));

        assert_int_equal(changed, rows[i].want != NULL);
        if (!changed)
            continue;
        assert_string_equal(out.data, rows[i].want);
        assert_false(mgc_canon_form(&again, out.data, out.bytes)); /* F1 */
    }
    mgc_buf_done(&out);
    mgc_buf_done(&again);
}

static void the_folded_form(void **state)
{
    static const struct row rows[] = {
        {"Docs/A+b.PDF", "docs/a b.pdf"},
        {"a\\b", "a/b"},
        {"\xc3\x89T\xc3\x89", "\xc3\xa9t\xc3\xa9"},
        {"\xc3\x83\xc2\xa9", "\xc3\xa9"}, /* mojibake */
        {"\xef\xac\x81le", "file"},       /* ligature */
        {"stra\xc3\x9f"
         "e",
         "strasse"},
        {"\xe9", "\xc3\xa9"},
    };
    struct mgc_buf out = {0}, again = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        mgc_canon_fold(&out, rows[i].in, strlen(rows[i].in));
        assert_string_equal(out.data, rows[i].want);
        mgc_canon_fold(&again, out.data, out.bytes);
        assert_string_equal(again.data, out.data); /* F1 */
    }
    mgc_buf_done(&out);
    mgc_buf_done(&again);
}

static void base64_runs(void **state)
{
    static const char text[] = "x eyJhIjogMX0gZG9jcy9h, ZG9jcy9hLnA= short abcdefgh";
    struct mgc_base64_run run;
    struct mgc_buf out = {0};

    (void)state;
    assert_true(mgc_base64_next(text, strlen(text), 0, 16, &run));
    mgc_base64_decode(&out, text, run.at, run.end);
    assert_string_equal(out.data, "{\"a\": 1} docs/a");
    assert_false(run.padded);
    assert_true(mgc_base64_next(text, strlen(text), run.end, 16, &run)); /* shorter, but padded */
    mgc_base64_decode(&out, text, run.at, run.end);
    assert_string_equal(out.data, "docs/a.p");
    assert_true(run.padded);
    assert_false(mgc_base64_next(text, strlen(text), run.end, 16, &run));
    mgc_buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percent_is_undone_once),
        cmocka_unit_test(entities_are_undone_once),
        cmocka_unit_test(backslashes_are_undone_once),
        cmocka_unit_test(quotes_and_all_at_once),
        cmocka_unit_test(named_entities_are_all_found),
        cmocka_unit_test(up_is_resolved),
        cmocka_unit_test(the_canonical_form),
        cmocka_unit_test(the_folded_form),
        cmocka_unit_test(base64_runs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
