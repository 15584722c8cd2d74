/* test_textscan.c -- where a mention begins and ends, in one reading of a text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "fs/refs/canon_priv.h"
#include "fs/refs/textscan_priv.h"

static const uint64_t seed[2] = {3, 4};

/* Paths that were found, as "path path/ ": a directory mentioned by itself has a slash. */
struct found {
    char text[4096];
    const char *in;
};

static void note(void *arg, const uint32_t *value, bool dir, size_t at, size_t end)
{
    struct found *f = arg;
    size_t used = strlen(f->text);

    (void)value;
    if (dir && end > at && f->in[end - 1] == '/')
        end--;
    (void)snprintf(f->text + used, sizeof(f->text) - used, "[%.*s%s]", (int)(end - at), f->in + at,
                   dir ? "/" : "");
}

struct scene {
    struct mgc_liveset set;
    struct found found;
    uint8_t kinds[4096];
    uint64_t steps;
};

static void setup(struct scene *scene)
{
    static const char *const files[] = {
        "docs/a.pdf", "docs/annual report.pdf", "docs/readme", "docs/readme.", "a.pdf", "(x)/y.txt",
        "t.c",        "docs/a/b/c.jpg"};

    *scene = (struct scene){0};
    assert_int_equal(mgc_liveset_init(&scene->set, seed, 0), 0);
    for (size_t i = 0; i < ARRAY_SIZE(files); i++)
        assert_int_equal(mgc_liveset_add(&scene->set, MGC_SPACE_EXACT, files[i], strlen(files[i]),
                                         (uint32_t)i, false),
                         0);
}

static struct mgc_scan scanner(struct scene *scene, const char *text)
{
    scene->found = (struct found){.in = text};
    (void)mgc_scan_kinds(scene->kinds, text, strlen(text));
    return (struct mgc_scan){.set = &scene->set,
                             .space = MGC_SPACE_EXACT,
                             .text = text,
                             .kinds = scene->kinds,
                             .bytes = strlen(text),
                             .found = note,
                             .arg = &scene->found,
                             .steps = &scene->steps};
}

static void mentions_have_edges(void **state)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"docs/a.pdf", "[docs/a.pdf][a.pdf]"},
        {"xdocs/a.pdf", "[a.pdf]"},
        {"xa.pdf", ""},
        {"docs/a.pdf.bak", ""},
        {"docs/a.pdfx", ""},
        {"docs/a.pdf_", ""},
        {"docs/a.pdf-", ""},
        {"docs/a.pdf5", ""},
        {"(docs/a.pdf)", "[docs/a.pdf][a.pdf]"},
        {"docs/a.pdf.", "[docs/a.pdf][a.pdf]"},
        {"docs/a.pdf...", "[docs/a.pdf][a.pdf]"},
        {"docs/a.pdf. Then", "[docs/a.pdf][a.pdf]"},
        {"docs/readme.", "[docs/readme.][docs/readme]"},
        {"docs/readme. ", "[docs/readme.][docs/readme]"},
        {"docs/readme.txt", ""},
        {"docs/annual report.pdf", "[docs/annual report.pdf]"},
        {"docs/annual report.pdfs", ""},
        {"docs/annual reports", ""},
        {"docs/annual", ""},
        {"docs//a.pdf", "[docs//a.pdf][a.pdf]"},
        {"docs/./a.pdf", "[docs/./a.pdf][a.pdf]"},
        {"docs/a.pdf/x", "[docs/a.pdf][a.pdf]"},
        {"(x)/y.txt", "[(x)/y.txt]"},
        {"see (x)/y.txt", "[(x)/y.txt]"},
        {".t.c", ""},
        {"=t.c;", "[t.c]"},
        {"docs", ""},
        {"docs/", "[docs/]"},
        {"/docs", "[docs/]"},
        {"docs/ x", "[docs/]"},
        {"docs/x", ""},
        {"docs/.x", ""},
        {"docs/.", "[docs/]"},
        {"docs/a/b/", "[docs/a/b/]"},
        {"docs/a/b", "[docs/a/b/]"},
        {"docs/a/b/c.jpg", "[docs/a/b/c.jpg]"},
        {"docs/a/c.jpg", ""},
        {"t.c\xc3\xa9", ""},
        {"\xc3\xa9t.c", ""},
        {"\xe6\x96\x87t.c\xe6\x96\x87", "[t.c]"},
        {"\xe9t.c\xe9", "[t.c]"},
        {"", ""},
        {"/", ""},
    };
    static struct scene scene;

    (void)state;
    setup(&scene);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct mgc_scan scan = scanner(&scene, rows[i].text);

        mgc_scan_run(&scan);
        if (strcmp(scene.found.text, rows[i].want) != 0)
            fail_msg("'%s': got %s, want %s", rows[i].text, scene.found.text, rows[i].want);
    }
    mgc_liveset_done(&scene.set);
}

/* The edge of a part of a text is no edge of a mention. */
static void open_edges(void **state)
{
    static struct scene scene;
    struct mgc_scan scan;

    (void)state;
    setup(&scene);
    scan = scanner(&scene, "t.c t.c t.c");
    scan.open_start = scan.open_end = true;
    mgc_scan_run(&scan);
    assert_string_equal(scene.found.text, "[t.c]");
    scan = scanner(&scene, "/docs/a.pdf.");
    scan.open_end = true;
    mgc_scan_run(&scan);
    assert_string_equal(scene.found.text, "");
    scan = scanner(&scene, "/docs/");
    scan.open_end = true;
    mgc_scan_run(&scan);
    assert_string_equal(scene.found.text, "");
    mgc_liveset_done(&scene.set);
}

static void lengths_before_texts(void **state)
{
    static struct scene scene;
    static const char path[] = "n/123456789012345678901234567890123456789012345678.jpg";
    char text[128];
    struct mgc_scan scan;

    (void)state;
    setup(&scene);
    assert_int_equal(mgc_liveset_add(&scene.set, MGC_SPACE_EXACT, path, strlen(path), 20, false),
                     0);
    mgc_liveset_add_tail(&scene.set, path, strlen(path));
    (void)snprintf(text, sizeof(text), "\x0a%c%sZ", (int)strlen(path), path);
    scan = scanner(&scene, text);
    mgc_scan_run(&scan);
    assert_string_equal(scene.found.text, "");
    mgc_scan_prefixed(&scan);
    assert_int_equal(strncmp(scene.found.text + 1, path, strlen(path)), 0);
    (void)snprintf(text, sizeof(text), "\x0a%c%sZ", (int)strlen(path) + 1, path);
    scan = scanner(&scene, text);
    mgc_scan_prefixed(&scan);
    assert_string_equal(scene.found.text, "");
    mgc_liveset_done(&scene.set);
}

static void directories_of_missing_files(void **state)
{
    static struct scene scene;
    struct mgc_scan scan;
    size_t name = 0;

    (void)state;
    setup(&scene);
    scan = scanner(&scene, "docs/a//./b/gone.jpg");
    assert_true(mgc_scan_in_dir(&scan, 0, scan.bytes, false, &name));
    assert_int_equal(name, 12);
    scan = scanner(&scene, "docs/x/gone.jpg");
    assert_false(mgc_scan_in_dir(&scan, 0, scan.bytes, false, &name));
    assert_true(mgc_scan_in_dir(&scan, 0, scan.bytes, true, &name));
    assert_int_equal(name, 7);
    scan = scanner(&scene, "x/docs/gone.jpg");
    assert_false(mgc_scan_in_dir(&scan, 0, scan.bytes, true, &name));
    scan = scanner(&scene, "gone.jpg");
    assert_false(mgc_scan_in_dir(&scan, 0, scan.bytes, true, &name));
    scan = scanner(&scene, "docs/a.pdf/x.jpg"); /* a file is no directory */
    assert_false(mgc_scan_in_dir(&scan, 0, scan.bytes, false, &name));
    mgc_liveset_done(&scene.set);
}

static void kinds_tell_what_occurs(void **state)
{
    uint8_t kinds[16];

    (void)state;
    assert_int_equal(mgc_scan_kinds(kinds, "a b/c.d_-1", 10), 0);
    assert_int_equal(mgc_scan_kinds(kinds, "%&\\", 3),
                     MGC_ESC_PERCENT | MGC_ESC_ENTITY | MGC_ESC_BACKSLASH);
    assert_int_equal(mgc_scan_kinds(kinds, "+'", 2), MGC_ESC_PLUS | MGC_ESC_QUOTES);
    assert_int_equal(mgc_scan_kinds(kinds, "a/..", 4), MGC_ESC_UP);
    assert_int_equal(mgc_scan_kinds(kinds, "\xc3\xa9", 2), MGC_ESC_HIGH);
    assert_int_equal(kinds[1] & MGC_KIND_INSIDE, MGC_KIND_INSIDE);
    assert_int_equal(mgc_scan_kinds(kinds, "\xc3", 1), MGC_ESC_HIGH | MGC_ESC_BINARY);
    assert_int_equal(mgc_scan_kinds(kinds, "\0", 1), MGC_ESC_BINARY);
    assert_int_equal(mgc_scan_kinds(kinds, "\n\t", 2), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mentions_have_edges),    cmocka_unit_test(open_edges),
        cmocka_unit_test(lengths_before_texts),   cmocka_unit_test(directories_of_missing_files),
        cmocka_unit_test(kinds_tell_what_occurs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
