/* test_path.c -- what may be opened (G10), and globs, which are compared with a slow plain one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "mediagcfs/path.h"

static char *repeated(const char *part, size_t times, const char *end)
{
    size_t bytes = strlen(part);
    char *text = malloc(bytes * times + strlen(end) + 1);

    assert_non_null(text);
    for (size_t i = 0; i < times; i++)
        memcpy(text + i * bytes, part, bytes);
    memcpy(text + bytes * times, end, strlen(end) + 1);
    return text;
}

static void only_paths_beneath_the_root_pass(void **state)
{
    static const struct {
        const char *path;
        int want;
    } rows[] = {
        {"a", 0},           {"docs/2024/a b.pdf", 0}, {"...", 0},
        {"a/..b/.c", 0},    {"caf\xE9", 0},           {"new\nline", 0},
        {".mediagcfsx", 0}, {"a/.mediagcfs", 0},      {"", -EINVAL},
        {"/", -EINVAL},     {"/etc/passwd", -EINVAL}, {"a/", -EINVAL},
        {"a//b", -EINVAL},  {".", -EINVAL},           {"..", -EINVAL},
        {"../a", -EINVAL},  {"a/..", -EINVAL},        {"a/../b", -EINVAL},
        {"a/./b", -EINVAL}, {".mediagcfs", -EINVAL},  {".mediagcfs/slots/1", -EINVAL},
    };
    char *long_name = repeated("n", 256, ""), *name = repeated("n", 255, "");
    char *long_path = repeated("ab/", 1365, "c"), *path = repeated("ab/", 1364, "abc");

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (mgc_path_check(rows[i].path) != rows[i].want)
            fail_msg("'%s': %d", rows[i].path, mgc_path_check(rows[i].path));
    assert_int_equal(strlen(path), MGC_PATH_BYTES_MAX);
    assert_int_equal(strlen(long_path), MGC_PATH_BYTES_MAX + 1);
    assert_int_equal(mgc_path_check(name), 0);
    assert_int_equal(mgc_path_check(long_name), -ENAMETOOLONG);
    assert_int_equal(mgc_path_check(path), 0);
    assert_int_equal(mgc_path_check(long_path), -ENAMETOOLONG);
    free(long_name);
    free(name);
    free(long_path);
    free(path);
}

static void parts_of_a_path(void **state)
{
    char out[8];

    (void)state;
    assert_string_equal(mgc_path_leaf("a/b/c"), "c");
    assert_string_equal(mgc_path_leaf("c"), "c");
    assert_int_equal(mgc_path_dir_bytes("a/b/c"), 3);
    assert_int_equal(mgc_path_dir_bytes("c"), 0);
    assert_int_equal(mgc_path_join(out, sizeof(out), "ab", "cdef"), 0);
    assert_string_equal(out, "ab/cdef");
    assert_int_equal(mgc_path_join(out, sizeof(out), "ab", "cdefg"), -ENAMETOOLONG);
    assert_int_equal(mgc_path_join(out, sizeof(out), "", "abcdefg"), 0);
    assert_string_equal(out, "abcdefg");
    assert_int_equal(mgc_path_join(out, sizeof(out), "", "abcdefgh"), -ENAMETOOLONG);
}

static void beneath_is_by_component(void **state)
{
    (void)state;
    assert_true(mgc_path_beneath("a/b", "a"));
    assert_true(mgc_path_beneath("a", "a"));
    assert_true(mgc_path_beneath("a", ""));
    assert_false(mgc_path_beneath("ab", "a"));
    assert_false(mgc_path_beneath("a", "a/b"));
    assert_true(mgc_path_is_private(".mediagcfs/x"));
    assert_false(mgc_path_is_private(".mediagcfs2"));
    assert_false(mgc_path_is_private("x/.mediagcfs"));
}

static void globs_follow_the_table(void **state)
{
    static const struct {
        const char *pattern, *path;
        bool want;
    } rows[] = {
        /* without a slash: the file name, anywhere */
        {"*.bak", "a.bak", true},
        {"*.bak", "d/e/a.bak", true},
        {"*.bak", "a.bak/c", false},
        {"robots.txt", "x/robots.txt", true},
        {"robots.txt", "xrobots.txt", false},
        {"*", "a/b", true},
        {"?", "\xC3", true},
        {"?", "", false},
        /* with one: the whole path */
        {"docs/*.pdf", "docs/a.pdf", true},
        {"docs/*.pdf", "docs/x/a.pdf", false},
        {"docs/*.pdf", "old/docs/a.pdf", false},
        {"/docs/*.pdf", "docs/a.pdf", true},
        {"/a", "a", true},
        {"/a", "b/a", false},
        {"docs/?", "docs/a", true},
        {"docs?a", "docs/a", false},
        {"docs*a/b", "docs/a/b", false},
        /* across directories */
        {"docs/**", "docs/a", true},
        {"docs/**", "docs/a/b/c", true},
        {"docs/**", "docs", false},
        {"docs/**", "docsx/a", false},
        {"**/a", "a", true},
        {"**/a", "x/a", true},
        {"**/a", "x/y/a", true},
        {"**/a", "xa", false},
        {"a/**/b", "a/b", true},
        {"a/**/b", "a/x/y/b", true},
        {"a/**/b", "a/xb", false},
        {"a/**/b", "ab", false},
        {"a**/b", "a/b", true},
        {"a**/b", "ax/y/b", true},
        {"a**/b", "ab", false},
        {"**.jpg", "x/y.jpg", true},
        {"**", "a/b/c", true},
        {"***", "a/b/c", true},
        {"**/**/**/a", "a", true},
        {"**/x/**/y", "a/x/y", true},
        {"**/x/**/y", "a/y/x", false},
        {"**/x*/*.jpg", "a/b/x/1/x2/c.jpg", true}, /* the last of several places */
        {"*a*a*a*b", "aaaaaaaaaaaaab", true},
        /* classes and escapes */
        {"[a-c]x", "bx", true},
        {"[a-c]x", "dx", false},
        {"[!a-c]x", "dx", true},
        {"[^a-c]x", "bx", false},
        {"[]a]", "]", true},
        {"[!]a]", "]", false},
        {"[a-]", "-", true},
        {"a[!b]c", "a/c", false},
        {"d/a[!b]c", "d/a/c", false},
        {"\\*", "*", true},
        {"\\*", "a", false},
        {"\\[a]", "[a]", true},
        {"a\\b", "ab", true},
        {"[\\]", "\\", true},
        {"\xE9*", "\xE9t\xE9", true},
        {"[\xE0-\xFF]", "\xE9", true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_int_equal(mgc_glob_check(rows[i].pattern), 0);
        if (mgc_glob_match(rows[i].pattern, rows[i].path) != rows[i].want)
            fail_msg("'%s' and '%s': want %d", rows[i].pattern, rows[i].path, rows[i].want);
    }
}

/* What the words of path.h say, one case after the other; exponential. */
static bool plain_glob(const char *whole, const char *p, const char *s)
{
    if (p[0] == '*' && p[1] == '*' && p[2] == '/' && (p == whole || p[-1] == '/')) {
        const char *slash = strchr(s, '/'); /* no directory, or one and again */

        return plain_glob(whole, p + 3, s) || (slash != NULL && plain_glob(whole, p, slash + 1));
    }
    if (p[0] == '*' && p[1] == '*')
        return plain_glob(whole, p + 2, s) || (*s != '\0' && plain_glob(whole, p, s + 1));
    if (*p == '*')
        return plain_glob(whole, p + 1, s) ||
               (*s != '\0' && *s != '/' && plain_glob(whole, p, s + 1));
    if (*p == '\0' || *s == '\0')
        return *p == *s;
    if (*p == '?' ? *s == '/' : *p != *s)
        return false;
    return plain_glob(whole, p + 1, s + 1);
}

static void globs_agree_with_a_plain_one(void **state)
{
    static const char letters[] = "*/?ab", plain[] = "ab/";
    unsigned seed = 20240401;
    size_t matches = 0;

    (void)state;
    for (int round = 0; round < 200000; round++) {
        char pattern[10] = "/", path[10] = "";
        bool want;

        /* A slash in front anchors the pattern, so that both read the whole path. */
        for (int i = 1; i < 2 + round % 8; i++) {
            seed = seed * 1103515245 + 12345;
            pattern[i] = letters[(seed >> 16) % 5];
        }
        for (int i = 0; i < round / 8 % 9; i++) {
            seed = seed * 1103515245 + 12345;
            path[i] = plain[(seed >> 16) % 3];
        }
        want = plain_glob(pattern + 1, pattern + 1, path);
        matches += want;
        if (mgc_glob_match(pattern, path) != want)
            fail_msg("'%s' and '%s': want %d", pattern, path, want);
    }
    assert_in_range(matches, 1000, 199000);
}

static void globs_take_time_in_proportion(void **state)
{
    char *stars = repeated("**a", 400, "b"), *path = repeated("a", 4000, "");
    char *deep = repeated("**/", 400, "x"), *directories = repeated("a/", 2000, "y");
    clock_t begin = clock();

    (void)state;
    assert_false(mgc_glob_match(stars, path));
    assert_false(mgc_glob_match(deep, directories));
    /* 5 million steps each; what went back at every star did not end. */
    assert_in_range((clock() - begin) / CLOCKS_PER_SEC, 0, 5);
    free(stars);
    free(path);
    free(deep);
    free(directories);
}

static void bad_patterns_are_refused(void **state)
{
    static const char *const bad[] = {"",    "[",   "[a",          "[!",       "[]",
                                      "[!]", "a\\", "[[:alpha:]]", "[a[.x.]]", "x[[=e=]]"};
    char *at_limit = repeated("a", MGC_GLOB_BYTES_MAX - 1, "");
    char *too_long = repeated("a", MGC_GLOB_BYTES_MAX, "");

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(mgc_glob_check(bad[i]), -EINVAL);
        (void)mgc_glob_match(bad[i], "a/b[c"); /* and stay inside the pattern all the same */
    }
    assert_int_equal(mgc_glob_check(at_limit), 0);
    assert_true(mgc_glob_match(at_limit, at_limit));
    assert_int_equal(mgc_glob_check(too_long), -EINVAL);
    assert_false(mgc_glob_match(too_long, too_long));
    free(at_limit);
    free(too_long);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_paths_beneath_the_root_pass),
        cmocka_unit_test(parts_of_a_path),
        cmocka_unit_test(beneath_is_by_component),
        cmocka_unit_test(globs_follow_the_table),
        cmocka_unit_test(globs_agree_with_a_plain_one),
        cmocka_unit_test(globs_take_time_in_proportion),
        cmocka_unit_test(bad_patterns_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
