/*
 * test_shapes.c -- every shape of the .tsv files beside it, through the public interface.
 *
 * A row: name, verdict, path of the entry, text.  Further columns are further entries of the tree.
 * Verdicts: found (the entry must be kept), strong (referenced), near, short, dir (the reason), and
 * absent (none of them).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "mediagcfs/bytes.h"
#include "mediagcfs/matcher.h"

enum { FIELDS_MAX = 16, LINE_BYTES_MAX = 1 << 16 };

static void unescape(struct mgc_buf *out, const char *in)
{
    mgc_buf_clear(out);
    mgc_buf_add(out, "", 0);
    for (; *in != '\0'; in++) {
        if (*in != '\\') {
            mgc_buf_addc(out, *in);
            continue;
        }
        in++;
        if (*in == 'x') {
            assert_true(mgc_buf_add_unhex(out, in + 1, 2));
            in += 2;
        } else {
            mgc_buf_addc(out, *in == 't' ? '\t' : *in == 'n' ? '\n' : *in == 'r' ? '\r' : *in);
            assert_non_null(strchr("tnr\\", *in));
        }
    }
}

static void add(struct mgc_matcher *m, const char *path, bool is_dir)
{
    struct mgc_err err = {0};

    if (mgc_matcher_add(m, path, is_dir, &err) != 0)
        fail_msg("%s", err.text);
}

/* Adds the directories above a path, nearest first; returns how many. */
static unsigned add_dirs(struct mgc_matcher *m, const char *path)
{
    char dir[5000];
    unsigned count = 0;

    (void)snprintf(dir, sizeof(dir), "%s", path);
    for (char *slash; (slash = strrchr(dir, '/')) != NULL; count++) {
        *slash = '\0';
        add(m, dir, true);
    }
    return count;
}

/* Marks of the entry (index 0), with DIR of its directory (index 1). */
static unsigned marks_of(char **fields, int count, const struct mgc_buf *text)
{
    struct mgc_matcher_spec spec = {.seed = {7, 9}};
    struct mgc_matcher *m = NULL;
    struct mgc_buf path = {0};
    struct mgc_err err = {0};
    unsigned marks, dirs;

    assert_int_equal(mgc_matcher_new(&spec, &m, &err), 0);
    unescape(&path, fields[2]);
    add(m, path.data, false);
    dirs = add_dirs(m, path.data);
    for (int i = 4; i < count; i++) {
        struct mgc_buf other = {0};

        unescape(&other, fields[i]);
        add(m, other.data, false);
        mgc_buf_done(&other);
    }
    assert_int_equal(mgc_matcher_seal(m, &err), 0);
    if (mgc_matcher_text(m, text->data, text->bytes, false, NULL, &err) != 0)
        fail_msg("%s: %s", fields[0], err.text);
    if (mgc_matcher_any_short(m))
        assert_int_equal(mgc_matcher_short_path(m, 0, path.data), 0);
    mgc_matcher_short_done(m);
    marks = mgc_matcher_marks(m, 0);
    if (dirs > 0)
        marks |= mgc_matcher_marks(m, 1) & MGC_MARK_DIR;
    mgc_matcher_free(m);
    mgc_buf_done(&path);
    return marks;
}

static bool holds(const char *verdict, unsigned marks)
{
    unsigned kept = MGC_MARK_STRONG | MGC_MARK_NEAR | MGC_MARK_SHORT | MGC_MARK_DIR;

    if (strcmp(verdict, "found") == 0)
        return (marks & kept) != 0;
    if (strcmp(verdict, "absent") == 0)
        return (marks & kept) == 0;
    if (strcmp(verdict, "strong") == 0)
        return (marks & MGC_MARK_STRONG) != 0;
    marks &= kept;
    if (strcmp(verdict, "near") == 0)
        return marks == MGC_MARK_NEAR;
    if (strcmp(verdict, "short") == 0)
        return marks == MGC_MARK_SHORT;
    if (strcmp(verdict, "dir") == 0)
        return marks == MGC_MARK_DIR;
    fail_msg("unknown verdict %s", verdict);
    return false;
}

static int run_line(char *line)
{
    char *fields[FIELDS_MAX];
    struct mgc_buf text = {0};
    int count = 0;
    unsigned marks;
    bool good;

    for (char *at = line; at != NULL && count < FIELDS_MAX; count++) {
        fields[count] = at;
        at = strchr(at, '\t');
        if (at != NULL)
            *at++ = '\0';
    }
    assert_true(count >= 4);
    unescape(&text, fields[3]);
    marks = marks_of(fields, count, &text);
    good = holds(fields[1], marks);
    if (!good)
        print_error("%s: marks %#x, want %s\n", fields[0], marks, fields[1]);
    mgc_buf_done(&text);
    return good ? 0 : 1;
}

static void run_file(const char *name, int rows_least)
{
    static char line[LINE_BYTES_MAX];
    int rows = 0, wrong = 0;
    FILE *file = fopen(name, "r");

    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '#' || line[0] == '\0')
            continue;
        rows++;
        wrong += run_line(line);
    }
    (void)fclose(file);
    assert_int_equal(wrong, 0);
    assert_true(rows >= rows_least);
}

static void required_shapes(void **state)
{
    (void)state;
    run_file(MGC_SOURCE_DIR "/tests/unit/refs/reference-shapes.tsv", 80);
}

static void further_shapes(void **state)
{
    (void)state;
    run_file(MGC_SOURCE_DIR "/tests/unit/refs/more-shapes.tsv", 80);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(required_shapes),
        cmocka_unit_test(further_shapes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
