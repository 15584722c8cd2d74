/* test_matcher.c -- the interface: marks, hits, missing paths, references, bounds, cost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "fs/refs/matcher_priv.h"
#include "mediagcfs/bytes.h"

/* What the callbacks received, as text. */
struct heard {
    struct mgc_buf missing, hits;
};

static void on_missing(void *arg, const char *path, size_t bytes)
{
    struct heard *heard = arg;

    mgc_buf_addf(&heard->missing, "[%.*s]", (int)bytes, path);
}

static void on_hit(void *arg, uint32_t index, enum mgc_mark mark, bool whole, int64_t at,
                   size_t length)
{
    struct heard *heard = arg;

    mgc_buf_addf(&heard->hits, "[%u %#x%s %lld+%zu]", index, (unsigned)mark, whole ? " whole" : "",
                 (long long)at, length);
}

static struct mgc_matcher *make(const char *const *paths, struct heard *heard, bool hits)
{
    struct mgc_matcher_spec spec = {.seed = {21, 22}, .arg = heard};
    struct mgc_matcher *m = NULL;

    if (heard != NULL) {
        *heard = (struct heard){0};
        mgc_buf_add(&heard->missing, "", 0);
        mgc_buf_add(&heard->hits, "", 0);
        spec.missing = on_missing;
        spec.hit = hits ? on_hit : NULL;
    }
    assert_int_equal(mgc_matcher_new(&spec, &m, NULL), 0);
    for (size_t i = 0; paths[i] != NULL; i++) {
        size_t bytes = strlen(paths[i]);
        char path[MGC_PATH_BYTES_MAX + 1];
        bool is_dir = paths[i][bytes - 1] == '/';

        (void)snprintf(path, sizeof(path), "%.*s", (int)(is_dir ? bytes - 1 : bytes), paths[i]);
        assert_int_equal(mgc_matcher_add(m, path, is_dir, NULL), 0);
    }
    assert_int_equal(mgc_matcher_seal(m, NULL), 0);
    return m;
}

static void done(struct mgc_matcher *m, struct heard *heard)
{
    mgc_matcher_free(m);
    if (heard != NULL) {
        mgc_buf_done(&heard->missing);
        mgc_buf_done(&heard->hits);
    }
}

static bool say(struct mgc_matcher *m, const char *text, bool weak)
{
    bool whole = false;

    assert_int_equal(mgc_matcher_text(m, text, strlen(text), weak, &whole, NULL), 0);
    return whole;
}

static void weak_texts_mark_weak(void **state)
{
    static const char *const paths[] = {"docs/a.pdf", "docs/", "private/b.pdf", "docs/C.pdf", NULL};
    struct mgc_matcher *m = make(paths, NULL, false);

    (void)state;
    (void)say(m, "docs/a.pdf, docs/, b.pdf and docs/c.pdf", true);
    assert_int_equal(mgc_matcher_marks(m, 0), MGC_MARK_WEAK);
    assert_int_equal(mgc_matcher_marks(m, 1), MGC_MARK_DIR_WEAK);
    assert_int_equal(mgc_matcher_marks(m, 2), 0);
    assert_int_equal(mgc_matcher_marks(m, 3), 0); /* no near misses in ignored tables */
    assert_false(mgc_matcher_any_short(m));
    assert_int_equal(mgc_matcher_references(m), 0);
    (void)say(m, "docs/a.pdf", false);
    assert_int_equal(mgc_matcher_marks(m, 0), MGC_MARK_WEAK | MGC_MARK_STRONG);
    assert_int_equal(mgc_matcher_references(m), 1);
    done(m, NULL);
}

static void references_are_counted_per_text(void **state)
{
    static const char *const paths[] = {"docs/a.pdf", "docs/b c.pdf", "docs/", NULL};
    struct mgc_matcher *m = make(paths, NULL, false);

    (void)state;
    (void)say(m, "docs/a.pdf docs/a.pdf docs%2Fa.pdf docs/b%20c.pdf docs/", false);
    assert_int_equal(mgc_matcher_references(m), 2);
    (void)say(m, "docs/a.pdf", false);
    assert_int_equal(mgc_matcher_references(m), 3);
    (void)say(m, "docs/none.pdf", false);
    assert_int_equal(mgc_matcher_references(m), 3);
    done(m, NULL);
}

static void whole_texts_are_told(void **state)
{
    static const char *const paths[] = {"docs/a b.pdf", "docs/", "x", NULL};
    static const struct {
        const char *text;
        bool whole;
    } rows[] = {
        {"docs/a b.pdf", true},
        {"/docs/a b.pdf", true},
        {"./docs/a b.pdf", true},
        {"docs/a%20b.pdf", true},
        {"docs/a b.pdf ", false},
        {"see docs/a b.pdf", false},
        {"docs/", false},
        {"/docs", false},
        {"docs/a b.pdf?x", false},
        {"", false},
        {"media/docs/a b.pdf", false},
        {"x", true},
        {"eA==", false},
    };
    struct mgc_matcher *m = make(paths, NULL, false);

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (say(m, rows[i].text, false) != rows[i].whole)
            fail_msg("'%s'", rows[i].text);
    done(m, NULL);
}

static void hits_have_a_place(void **state)
{
    static const char *const paths[] = {"docs/a.pdf", "docs/b c.pdf", "docs/", NULL};
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"docs/a.pdf", "[0 0x1 whole 0+10]"},
        {"x docs/a.pdf y docs/a.pdf", "[0 0x1 2+10][0 0x1 15+10]"},
        {"x docs%2Fa.pdf", "[0 0x1 -1+10]"},
        {"docs/a.pdf%20", "[0 0x1 0+10]"}, /* verbatim and decoded: told once */
        {"a=/docs/b+c.pdf", "[1 0x1 -1+12]"},
        {"in docs/ now", "[2 0x10 3+5]"},
        {"DOCS/A.PDF", "[0 0x4 -1+10]"},
        {"nothing", ""},
    };
    struct heard heard;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct mgc_matcher *m = make(paths, &heard, true);

        (void)say(m, rows[i].text, false);
        assert_string_equal(heard.hits.data, rows[i].want);
        done(m, &heard);
    }
}

static void missing_paths_are_told(void **state)
{
    static const char *const paths[] = {"docs/a.pdf", "docs/2024/b c.pdf", "logo.png", "x/y", NULL};
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"docs/gone.pdf", "[docs/gone.pdf]"},
        {"/docs/gone.pdf", "[docs/gone.pdf]"},
        {"docs/gone file.pdf", "[docs/gone file.pdf]"},
        {"docs/gone", "[docs/gone]"},
        {"docs/1999/gone.pdf", "[docs/1999/gone.pdf]"},
        {"gone.png", "[gone.png]"},
        {"gone.doc", ""},
        {"gone", ""},
        {"none/gone.pdf", ""},
        {"docs/a.pdf", ""},
        {"docs/2024/b+c.pdf", ""},
        {"docs\\2024\\b c.pdf", ""},
        {"docs/", ""},
        {"docs/2024", ""},
        {"https://x.org/media/docs/gone.pdf", "[docs/gone.pdf]"},
        {"https://x.org/media/docs/gone.pdf?v=1#p", "[docs/gone.pdf]"},
        {"https://x.org/media/gone.pdf", ""},
        {"<img src=\"/media/docs/gone.png\"> and <img src=\"/media/docs/a.pdf\">",
         "[docs/gone.png]"},
        {"<a href=\"/media/docs/2024/no%20more.pdf\">", "[docs/2024/no more.pdf]"},
        {"{\"f\":\"\\/media\\/docs\\/gone.pdf\"}", "[docs/gone.pdf]"},
        {"See docs/gone.pdf for details. Or docs/a.pdf.", "[docs/gone.pdf]"},
        {"docs/gone.pdf and docs/lost.pdf", "[docs/gone.pdf][docs/lost.pdf]"},
        {"docs/gone.pdf,docs/gone.pdf", "[docs/gone.pdf]"},
        {"either and/or both", ""},
        {"docs/../docs/gone.pdf", "[docs/gone.pdf]"},
        {"docs/..", ""},
        {"<x////docs/gone.pdf>", "[docs/gone.pdf]"},
        {"docs/gone#1.pdf", "[docs/gone#1.pdf]"},
        {"docs/gone.pdf.", "[docs/gone.pdf.][docs/gone.pdf]"},
    };
    struct heard heard;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct mgc_matcher *m = make(paths, &heard, false);

        (void)say(m, rows[i].text, false);
        if (strcmp(heard.missing.data, rows[i].want) != 0)
            fail_msg("'%s': got %s, want %s", rows[i].text, heard.missing.data, rows[i].want);
        done(m, &heard);
    }
}

static unsigned short_marks(const char *const *paths, const char *text)
{
    struct mgc_matcher *m = make(paths, NULL, false);
    unsigned marked = 0;

    (void)say(m, text, false);
    for (uint32_t i = 0; paths[i] != NULL && mgc_matcher_any_short(m); i++)
        assert_int_equal(mgc_matcher_short_path(m, i, paths[i]), 0);
    mgc_matcher_short_done(m);
    for (uint32_t i = 0; paths[i] != NULL; i++)
        marked += (mgc_matcher_marks(m, i) & MGC_MARK_SHORT) != 0;
    assert_false(mgc_matcher_any_short(m));
    done(m, NULL);
    return marked;
}

static void shortened_mentions_mark_few(void **state)
{
    static const char *const eight[] = {"1/x.png", "2/x.png", "3/x.png", "4/x.png",  "5/x.png",
                                        "6/x.png", "7/x.png", "8/x.png", "8/xx.png", NULL};
    static const char *const nine[] = {"1/x.png", "2/x.png", "3/x.png", "4/x.png", "5/x.png",
                                       "6/x.png", "7/x.png", "8/x.png", "9/x.png", NULL};

    (void)state;
    assert_int_equal(short_marks(eight, "x.png"), 8);
    assert_int_equal(short_marks(nine, "x.png"), 0);
    assert_int_equal(short_marks(eight, "y.png"), 0);
    assert_int_equal(short_marks(eight, "1/x.png"), 0); /* resolved */
    assert_int_equal(short_marks(eight, "/media/8/xx.png"), 0);
    assert_int_equal(short_marks(eight, "a/xx.png"), 0); /* its own suffixes do not count */
}

/* Mentions at every place around the edges of parts are found, and no half of a name is. */
static void parts_overlap(void **state)
{
    enum { SIZE = 3 * MGC_WINDOW_BYTES };
    static const char *const paths[] = {"docs/annual report.pdf", "report.pdf", "ocs/annual", NULL};
    static const char path[] = "docs/annual report.pdf";
    char *text = malloc(SIZE);
    struct heard heard;

    (void)state;
    assert_non_null(text);
    for (size_t shift = 0; shift < 60; shift += 7) {
        struct mgc_matcher *m = make(paths, &heard, true);
        int64_t count = 0;

        memset(text, 'n', SIZE);
        for (size_t at = shift; at + 64 < SIZE; at += 1021) {
            text[at] = '/';
            memcpy(text + at + 1, path, strlen(path));
            text[at + 1 + strlen(path)] = '"';
            count++;
        }
        assert_int_equal(mgc_matcher_text(m, text, SIZE, false, NULL, NULL), 0);
        for (const char *at = heard.hits.data; (at = strstr(at, "[0 0x1 ")) != NULL; at++)
            count--;
        assert_int_equal(count, 0); /* each once, although parts overlap */
        assert_int_equal(mgc_matcher_marks(m, 2), 0);
        assert_int_equal(mgc_matcher_references(m), 2); /* "report.pdf" stands there too */
        done(m, &heard);
    }
    free(text);
}

/* A longer name that the edge of a part cuts is not taken for the shorter one. */
static void edges_of_parts_are_no_edges(void **state)
{
    enum { WINDOW = 1024, OVERLAP = 256, SIZE = 4 * WINDOW };
    static const char *const paths[] = {"docs/a.pdf", "a.pdf", "ocs/a", NULL};
    static const char name[] = "mydocs/a.pdf.bak";
    static char text[SIZE];

    (void)state;
    for (size_t at = WINDOW - 64; at < WINDOW + OVERLAP + 64; at++) {
        struct mgc_matcher *m = make(paths, NULL, false);

        m->window_bytes = WINDOW;
        m->overlap_bytes = OVERLAP;
        memset(text, 'n', SIZE);
        memcpy(text + at, name, strlen(name));
        assert_int_equal(mgc_matcher_text(m, text, SIZE, false, NULL, NULL), 0);
        for (uint32_t i = 0; i < 3; i++)
            assert_int_equal(mgc_matcher_marks(m, i) & MGC_MARK_STRONG, 0);
        done(m, NULL);
    }
}

/* Encoded mentions, as long as they may be, across the edge of a part. */
static void long_mentions_cross_the_edge(void **state)
{
    enum { SIZE = 2 * MGC_WINDOW_BYTES };
    char path[MGC_PATH_BYTES_MAX + 1] = {0}, *text = malloc(SIZE);
    const char *paths[2] = {path, NULL};

    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < MGC_PATH_BYTES_MAX; i++)
        path[i] = i % 200 == 199 ? '/' : "e f+"[i % 4];
    path[MGC_PATH_BYTES_MAX - 1] = 'e';
    for (size_t at = MGC_WINDOW_BYTES - 30000; at < MGC_WINDOW_BYTES + 2000; at += 6007) {
        struct mgc_matcher *m = make(paths, NULL, false);
        size_t used = at;

        memset(text, ' ', SIZE);
        text[used++] = '"';
        for (size_t i = 0; i < MGC_PATH_BYTES_MAX; i++, used += 7) {
            char code[16];

            (void)snprintf(code, sizeof(code), "%%2525%02X", (unsigned char)path[i]);
            memcpy(text + used, code, 7);
        }
        text[used] = '"';
        assert_int_equal(mgc_matcher_text(m, text, SIZE, false, NULL, NULL), 0);
        assert_int_equal(mgc_matcher_marks(m, 0), MGC_MARK_STRONG);
        done(m, NULL);
    }
    free(text);
}

/* Names that share a key are all marked, whichever is asked first. */
static void twins_share_their_fate(void **state)
{
    static const char *const paths[] = {"d/\xc3\xa9", "d/e\xcc\x81", "d/\xe9", "d/f", NULL};
    struct mgc_matcher *m = make(paths, NULL, false);

    (void)state;
    (void)say(m, "d/e\xcc\x81", true);
    (void)say(m, "d/e\xcc\x81", false);
    (void)say(m, "d/e\xcc\x81", false);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(mgc_matcher_marks(m, i), MGC_MARK_STRONG | MGC_MARK_WEAK);
    assert_int_equal(mgc_matcher_marks(m, 3), 0);
    done(m, NULL);
}

static void bad_additions_are_refused(void **state)
{
    static const char *const none[] = {NULL};
    struct mgc_matcher_spec spec = {.seed = {1, 2}, .memory_bytes = 1 << 20};
    struct mgc_matcher *m = NULL;
    struct mgc_err err = {0};
    char path[MGC_PATH_BYTES_MAX + 2];
    bool whole = true;

    (void)state;
    memset(path, 'x', sizeof(path));
    path[sizeof(path) - 1] = '\0';
    assert_int_equal(mgc_matcher_new(&spec, &m, &err), 0);
    assert_int_equal(mgc_matcher_add(m, "", false, &err), -EINVAL);
    assert_int_equal(mgc_matcher_add(m, path, false, &err), -EINVAL);
    for (int i = 0; i < 100000; i++) {
        (void)snprintf(path, sizeof(path), "docs/%d.pdf", i);
        assert_int_equal(mgc_matcher_add(m, path, false, &err), 0);
    }
    assert_int_equal(mgc_matcher_seal(m, &err), MGC_E_LIMIT);
    assert_non_null(strstr(err.hint, "memory"));
    mgc_matcher_free(m);
    mgc_matcher_free(NULL);
    m = make(none, NULL, false); /* an empty tree */
    assert_int_equal(mgc_matcher_text(m, "docs/a.pdf", 10, false, &whole, NULL), 0);
    assert_false(whole);
    done(m, NULL);
}

/* A tree as an attacker would make it: every suffix of the texts below is a path in it. */
static struct mgc_matcher *make_hostile(void)
{
    struct mgc_matcher_spec spec = {.seed = {5, 6}, .missing = on_missing};
    struct mgc_matcher *m = NULL;
    static struct heard heard;
    char path[MGC_PATH_BYTES_MAX + 1];

    mgc_buf_done(&heard.missing);
    spec.arg = &heard;
    assert_int_equal(mgc_matcher_new(&spec, &m, NULL), 0);
    path[0] = '\0';
    for (size_t i = 0; i < 24; i++) {
        (void)snprintf(path + 2 * i, sizeof(path) - 2 * i, "a");
        assert_int_equal(mgc_matcher_add(m, path, i < 23, NULL), 0);
        (void)snprintf(path + 2 * i, sizeof(path) - 2 * i, "a b%zu c", i);
        assert_int_equal(mgc_matcher_add(m, path, false, NULL), 0);
        (void)snprintf(path + 2 * i, sizeof(path) - 2 * i, "a/");
    }
    for (size_t i = 1; i < 30; i++) { /* names with delimiters of many lengths */
        for (size_t k = 0; k < i; k++)
            path[k] = k % 2 == 0 ? 'a' : ' ';
        (void)snprintf(path + i, sizeof(path) - i, "(\"'+%%41&amp;\\\\");
        assert_int_equal(mgc_matcher_add(m, path, false, NULL), 0);
    }
    assert_int_equal(mgc_matcher_seal(m, NULL), 0);
    return m;
}

static uint64_t cost(const char *unit, size_t unit_bytes, size_t bytes)
{
    struct mgc_matcher *m = make_hostile();
    char *text = malloc(bytes);
    uint64_t result;

    assert_non_null(text);
    m->window_bytes = 8 << 10;
    m->overlap_bytes = 1 << 10;
    for (size_t i = 0; i < bytes; i++)
        text[i] = unit[i % unit_bytes];
    assert_int_equal(mgc_matcher_text(m, text, bytes, false, NULL, NULL), 0);
    result = m->steps + m->total_bytes;
    free(text);
    mgc_matcher_free(m);
    return result;
}

/* H38: twice the text costs twice as much, whatever it is made of, and never ends in an error. */
static void cost_is_linear(void **state)
{
    static const char *const units[] = {
        "a/",
        "a",
        "a ",
        "a b",
        "/",
        "../",
        "a/../",
        "./",
        "%25",
        "%",
        "%2525252525",
        "\\",
        "\\\\\\u005c",
        "&amp;amp;amp;amp;",
        "&amp;",
        "&",
        "+",
        "a+",
        "\"",
        "'\"",
        "a/a b1 c/",
        "A/",
        "a (",
        ".",
        "a.",
        "%41+&amp;\\\\/\"a b\\u0025",
        "YWFh",
        "YWFh/",
        "YWFhLyVBJTI1JTI1",
        "\xe9",
        "\xc3\xa9",
        "e\xcc\x81",
        "\005a/a b",
        "=",
        "((",
        "\n",
        "a\n",
        "<a href=\"/a/a/a.x\">",
        "a/gone.pdf ",
        "\xe6\x96\x87",
        "%5C%2B%26amp;%255C",
    };
    enum { SIZE = 16 << 10 }; /* two parts; twice as much: four */

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        uint64_t one = cost(units[i], strlen(units[i]), SIZE);
        uint64_t two = cost(units[i], strlen(units[i]), 2 * SIZE);

        /* The first part is cheaper: where it begins is known.  A quadratic cost would be 4. */
        if (two > 3 * one)
            fail_msg("'%s': %llu, twice as much: %llu", units[i], (unsigned long long)one,
                     (unsigned long long)two);
        if (two > (uint64_t)2 * SIZE * 200)
            fail_msg("'%s': %llu for %d bytes", units[i], (unsigned long long)two, 2 * SIZE);
    }
}

/* A text of random pieces of encodings: the closure stays bounded and nothing is refused. */
static void dense_encodings_are_bounded(void **state)
{
    static const char *const pieces[] = {"%",  "25",    "41",  "&",   "amp;", "#x5c;",
                                         "\\", "u0026", "\"",  "'",   "+",    "a",
                                         "/",  " ",     "%5c", "%2B", "x26",  "#37;"};
    enum { SIZE = 32 << 10, ROUNDS = 2 };
    struct mgc_matcher *m = make_hostile();
    uint64_t random = 42;
    char *text = malloc(SIZE);
    size_t most = 0;

    (void)state;
    assert_non_null(text);
    for (int round = 0; round < ROUNDS; round++) {
        size_t used = 0;

        while (used + 8 < SIZE) {
            const char *piece;

            random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
            piece = pieces[(random >> 33) % ARRAY_SIZE(pieces)];
            memcpy(text + used, piece, strlen(piece));
            used += strlen(piece);
        }
        assert_int_equal(mgc_matcher_text(m, text, used, false, NULL, NULL), 0);
        most = m->readings > most ? m->readings : most;
    }
    assert_in_range(most, 10, MGC_READINGS_MAX - 100);
    free(text);
    mgc_matcher_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weak_texts_mark_weak),
        cmocka_unit_test(references_are_counted_per_text),
        cmocka_unit_test(whole_texts_are_told),
        cmocka_unit_test(hits_have_a_place),
        cmocka_unit_test(missing_paths_are_told),
        cmocka_unit_test(shortened_mentions_mark_few),
        cmocka_unit_test(parts_overlap),
        cmocka_unit_test(edges_of_parts_are_no_edges),
        cmocka_unit_test(long_mentions_cross_the_edge),
        cmocka_unit_test(twins_share_their_fate),
        cmocka_unit_test(bad_additions_are_refused),
        cmocka_unit_test(cost_is_linear),
        cmocka_unit_test(dense_encodings_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
