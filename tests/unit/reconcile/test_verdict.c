/* Every verdict and every reason, in the order in which they apply (DESIGN 7). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mediagcfs/verdict.h"

enum { NOW = 1000000, HORIZON = 900000, HOT_FOR = 50000, OVER = 10000 };

static const struct mgc_terms usual = {
    .now_us = NOW,
    .horizon_us = HORIZON,
    .hot_for_us = HOT_FOR,
    .confirmations = 2,
    .confirm_over_us = OVER,
};
/* Nothing speaks for it and every wait is over. */
static const struct mgc_facts garbage = {
    .born_us = 1000,
    .written_us = 1000,
    .changed_us = 1000,
    .opened_us = 1000,
    .orphan_since_us = NOW - OVER,
    .orphan_runs = 2,
    .orphan_first_run = 7,
};

static void set_referenced(struct mgc_facts *f)
{
    f->referenced = true;
}
static void set_pattern(struct mgc_facts *f)
{
    f->kept = true;
    f->kept_why = MGC_WHY_PATTERN;
}
static void set_junk(struct mgc_facts *f)
{
    f->kept = true;
    f->kept_why = MGC_WHY_JUNK;
}
static void set_unmovable(struct mgc_facts *f)
{
    f->kept = true;
    f->kept_why = MGC_WHY_UNMOVABLE;
}
static void set_names(struct mgc_facts *f)
{
    f->kept = true;
    f->kept_why = MGC_WHY_NAMES;
}
static void set_alias(struct mgc_facts *f)
{
    f->kept = true;
    f->kept_why = MGC_WHY_ALIAS;
}
static void set_derived(struct mgc_facts *f)
{
    f->derived = true;
}
static void set_open(struct mgc_facts *f)
{
    f->open = true;
}
static void set_born(struct mgc_facts *f)
{
    f->born_us = HORIZON + 1;
}
static void set_written(struct mgc_facts *f)
{
    f->written_us = HORIZON + 1;
}
static void set_changed(struct mgc_facts *f)
{
    f->changed_us = HORIZON + 1;
}
static void set_hot(struct mgc_facts *f)
{
    f->opened_us = NOW - HOT_FOR + 1;
}
static void set_near(struct mgc_facts *f)
{
    f->near_miss = true;
}
static void set_short(struct mgc_facts *f)
{
    f->shortened = true;
}
static void set_directory(struct mgc_facts *f)
{
    f->directory = true;
}
static void set_manifest(struct mgc_facts *f)
{
    f->manifest = true;
}
static void set_healed(struct mgc_facts *f)
{
    f->healed = true;
}
static void set_few(struct mgc_facts *f)
{
    f->orphan_runs = 1;
}
static void set_lately(struct mgc_facts *f)
{
    f->orphan_since_us = NOW - OVER + 1;
}
static void set_nothing(struct mgc_facts *f)
{
    (void)f;
}

// clang-format off
/* In the order of precedence; MGC_WHY_NO_HORIZON is a matter of the terms, tested below. */
static const struct reason {
    const char *what;
    void (*set)(struct mgc_facts *f);
    enum mgc_verdict verdict;
    enum mgc_why why;
    bool counts; /* alone: the run counts as a confirmation */
} reasons[] = {
    {"mentioned",            set_referenced, MGC_VERDICT_REFERENCED, MGC_WHY_NONE,      false},
    {"keep pattern",         set_pattern,    MGC_VERDICT_KEPT,       MGC_WHY_PATTERN,   false},
    {"junk list",            set_junk,       MGC_VERDICT_KEPT,       MGC_WHY_JUNK,      false},
    {"cannot be moved",      set_unmovable,  MGC_VERDICT_KEPT,       MGC_WHY_UNMOVABLE, false},
    {"hard links",           set_names,      MGC_VERDICT_KEPT,       MGC_WHY_NAMES,     false},
    {"another path",         set_alias,      MGC_VERDICT_KEPT,       MGC_WHY_ALIAS,     false},
    {"its parent lives",     set_derived,    MGC_VERDICT_DERIVED,    MGC_WHY_NONE,      false},
    {"being written",        set_open,       MGC_VERDICT_OPEN,       MGC_WHY_NONE,      false},
    {"born lately",          set_born,       MGC_VERDICT_YOUNG,      MGC_WHY_BORN,      false},
    {"written lately",       set_written,    MGC_VERDICT_YOUNG,      MGC_WHY_WRITTEN,   false},
    {"changed lately",       set_changed,    MGC_VERDICT_YOUNG,      MGC_WHY_CHANGED,   false},
    {"opened lately",        set_hot,        MGC_VERDICT_HOT,        MGC_WHY_NONE,      true},
    {"near miss",            set_near,       MGC_VERDICT_SUSPECT,    MGC_WHY_NEAR,      false},
    {"shortened",            set_short,      MGC_VERDICT_SUSPECT,    MGC_WHY_SHORT,     false},
    {"directory mentioned",  set_directory,  MGC_VERDICT_SUSPECT,    MGC_WHY_DIRECTORY, false},
    {"manifest beside it",   set_manifest,   MGC_VERDICT_SUSPECT,    MGC_WHY_MANIFEST,  false},
    {"healed before",        set_healed,     MGC_VERDICT_SUSPECT,    MGC_WHY_HEALED,    false},
    {"too few runs",         set_few,        MGC_VERDICT_WAITING,    MGC_WHY_CONFIRM,   true},
    {"too short a time",     set_lately,     MGC_VERDICT_WAITING,    MGC_WHY_SINCE,     true},
    {"nothing",              set_nothing,    MGC_VERDICT_CANDIDATE,  MGC_WHY_NONE,      true},
};
// clang-format on
/* Every why but NONE (which three verdicts share) and NO_HORIZON, and four verdicts without one. */
_Static_assert(ARRAY_SIZE(reasons) == MGC_WHY_COUNT - 2 + 5, "a reason is missing");

static void expect(const char *what, const struct mgc_facts *facts, const struct mgc_terms *terms,
                   enum mgc_verdict verdict, enum mgc_why why)
{
    enum mgc_why got_why = MGC_WHY_COUNT;
    enum mgc_verdict got = mgc_verdict_of(facts, terms, &got_why);

    if (got != verdict || got_why != why)
        fail_msg("%s: %s (%s), want %s (%s)", what, mgc_verdict_name(got), mgc_why_text(got_why),
                 mgc_verdict_name(verdict), mgc_why_text(why));
    assert_int_equal(mgc_verdict_of(facts, terms, NULL), verdict);
}

static void each_reason_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
        struct mgc_facts facts = garbage;

        reasons[i].set(&facts);
        expect(reasons[i].what, &facts, &usual, reasons[i].verdict, reasons[i].why);
        if (mgc_verdict_counts(&facts, &usual, HORIZON) != reasons[i].counts)
            fail_msg("%s: counts the wrong way", reasons[i].what);
    }
}

/* Every pair: the earlier one decides. */
static void the_first_reason_wins(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
        for (size_t k = i; k < ARRAY_SIZE(reasons); k++) {
            struct mgc_facts facts = garbage;

            reasons[k].set(&facts);
            reasons[i].set(&facts);
            expect(reasons[i].what, &facts, &usual, reasons[i].verdict, reasons[i].why);
        }
}

/* All the later ones at once do not add up to less. */
static void everything_after_it_changes_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
        struct mgc_facts facts = garbage;

        for (size_t k = ARRAY_SIZE(reasons); k > i; k--)
            reasons[k - 1].set(&facts);
        expect(reasons[i].what, &facts, &usual, reasons[i].verdict, reasons[i].why);
    }
}

static void the_edges_belong_to_keeping(void **state)
{
    struct mgc_facts facts = garbage;
    struct mgc_terms terms = usual;

    (void)state;
    facts.born_us = facts.written_us = facts.changed_us = HORIZON; /* not after: may go */
    expect("at the horizon", &facts, &usual, MGC_VERDICT_CANDIDATE, MGC_WHY_NONE);
    facts = garbage;
    facts.born_us = 0;
    expect("birth not known", &facts, &usual, MGC_VERDICT_YOUNG, MGC_WHY_BORN);
    facts = garbage;
    facts.born_us = INT64_MAX;
    expect("a directory above has no place", &facts, &usual, MGC_VERDICT_YOUNG, MGC_WHY_BORN);
    facts = garbage;
    facts.changed_us = 0;
    expect("change time not known", &facts, &usual, MGC_VERDICT_YOUNG, MGC_WHY_CHANGED);
    facts = garbage;
    facts.written_us = 0;
    expect("never written: the change time says so", &facts, &usual, MGC_VERDICT_CANDIDATE,
           MGC_WHY_NONE);
    facts = garbage;
    facts.opened_us = 0;
    expect("never opened", &facts, &usual, MGC_VERDICT_CANDIDATE, MGC_WHY_NONE);
    facts.opened_us = NOW - HOT_FOR;
    expect("opened just long enough ago", &facts, &usual, MGC_VERDICT_CANDIDATE, MGC_WHY_NONE);
    facts.opened_us = NOW + 5;
    expect("opened since", &facts, &usual, MGC_VERDICT_HOT, MGC_WHY_NONE);
    terms.hot_for_us = 0;
    expect("hot is off", &facts, &terms, MGC_VERDICT_CANDIDATE, MGC_WHY_NONE);
    facts = garbage;
    facts.orphan_since_us = 0;
    expect("since when is not known", &facts, &usual, MGC_VERDICT_WAITING, MGC_WHY_SINCE);
    facts.orphan_since_us = NOW + 1;
    expect("since a time to come", &facts, &usual, MGC_VERDICT_WAITING, MGC_WHY_SINCE);
}

static void confirmations_are_counted(void **state)
{
    // clang-format off
    static const struct {
        const char *what;
        int64_t confirmations, runs;
        bool several;
        enum mgc_verdict want;
    } rows[] = {
        {"none wanted, first run",       0, 1, false, MGC_VERDICT_CANDIDATE},
        {"one wanted, first run",        1, 1, false, MGC_VERDICT_CANDIDATE},
        {"one wanted, no run",           1, 0, false, MGC_VERDICT_WAITING},
        {"one wanted, several sources",  1, 1, true,  MGC_VERDICT_WAITING},
        {"none wanted, several sources", 0, 1, true,  MGC_VERDICT_WAITING},
        {"several sources, second run",  1, 2, true,  MGC_VERDICT_CANDIDATE},
        {"three wanted, second run",     3, 2, false, MGC_VERDICT_WAITING},
        {"three wanted, several",        3, 2, true,  MGC_VERDICT_WAITING},
        {"three wanted, third run",      3, 3, true,  MGC_VERDICT_CANDIDATE},
    };
    // clang-format on

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct mgc_facts facts = garbage;
        struct mgc_terms terms = usual;

        facts.orphan_runs = rows[i].runs;
        terms.confirmations = rows[i].confirmations;
        terms.several_sources = rows[i].several;
        expect(rows[i].what, &facts, &terms, rows[i].want,
               rows[i].want == MGC_VERDICT_WAITING ? MGC_WHY_CONFIRM : MGC_WHY_NONE);
    }
}

static void the_fence_stands_in_for_the_horizon(void **state)
{
    // clang-format off
    static const struct {
        const char *what;
        int64_t horizon, fenced_run, fenced_horizon, first_run, born;
        enum mgc_verdict verdict;
        enum mgc_why why;
        int64_t limit;
    } rows[] = {
        {"nothing is known",          0, 0, 0,   7, 10, MGC_VERDICT_YOUNG, MGC_WHY_NO_HORIZON, 0},
        {"horizon below zero",       -5, 0, 0,   7, 10, MGC_VERDICT_YOUNG, MGC_WHY_NO_HORIZON, 0},
        {"nominated then",            0, 7, 500, 7, 10, MGC_VERDICT_CANDIDATE, MGC_WHY_NONE, 500},
        {"nominated before",          0, 9, 500, 7, 10, MGC_VERDICT_CANDIDATE, MGC_WHY_NONE, 500},
        {"nominated later",           0, 6, 500, 7, 10, MGC_VERDICT_YOUNG, MGC_WHY_NO_HORIZON, 0},
        {"not known when nominated",  0, 9, 500, 0, 10, MGC_VERDICT_YOUNG, MGC_WHY_NO_HORIZON, 0},
        {"born after that horizon",   0, 7, 500, 7, 501, MGC_VERDICT_YOUNG, MGC_WHY_BORN, 500},
        {"a fence without a horizon", 0, 7, 0,   7, 10, MGC_VERDICT_YOUNG, MGC_WHY_NO_HORIZON, 0},
        {"a better horizon is known", 800, 7, 500, 7, 700, MGC_VERDICT_CANDIDATE, MGC_WHY_NONE, 800},
        {"a better fence is known",   400, 7, 500, 7, 450, MGC_VERDICT_CANDIDATE, MGC_WHY_NONE, 500},
    };
    // clang-format on

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct mgc_facts facts = garbage;
        struct mgc_terms terms = usual;

        facts.born_us = rows[i].born;
        facts.written_us = facts.changed_us = 5;
        facts.orphan_first_run = rows[i].first_run;
        terms.horizon_us = rows[i].horizon;
        terms.fenced_run = rows[i].fenced_run;
        terms.fenced_horizon_us = rows[i].fenced_horizon;
        expect(rows[i].what, &facts, &terms, rows[i].verdict, rows[i].why);
        assert_int_equal(mgc_verdict_horizon_us(&facts, &terms), rows[i].limit);
    }
}

/* Behind a fence an entry is nominated, unless it would be young anyway. */
static void nominations_wait_for_the_fence(void **state)
{
    struct mgc_facts facts = garbage;
    struct mgc_terms terms = usual;

    (void)state;
    terms.horizon_us = 0;
    assert_true(mgc_verdict_counts(&facts, &terms, HORIZON));
    assert_false(mgc_verdict_counts(&facts, &terms, 999)); /* born after T0 - grace */
    assert_false(mgc_verdict_counts(&facts, &terms, 0));
    facts.near_miss = true;
    assert_false(mgc_verdict_counts(&facts, &terms, HORIZON));
}

static void names_and_texts_are_there(void **state)
{
    (void)state;
    for (unsigned i = 0; i < MGC_VERDICT_COUNT; i++)
        assert_true(strlen(mgc_verdict_name((enum mgc_verdict)i)) > 0);
    for (unsigned i = 1; i < MGC_WHY_COUNT; i++)
        assert_true(strlen(mgc_why_text((enum mgc_why)i)) > 0);
    assert_string_equal(mgc_verdict_name(MGC_VERDICT_CANDIDATE), "candidate");
    assert_string_equal(mgc_why_text(MGC_WHY_NONE), "");
}

static void junk_and_manifests_are_known(void **state)
{
    static const char *const junk[] = {".gitkeep",   "index.html",       "INDEX.HTML",
                                       ".DS_Store",  "Thumbs.db",        ".htaccess",
                                       ".nfs000001", ".fuse_hidden0001", "._photo.jpg"};
    static const char *const not_junk[] = {"photo.jpg", "myindex.html", "gitkeep", ".profile", ""};
    static const char *const manifests[] = {"a.m3u8", "b.MPD",    "page.html",      "x.css",
                                            "m.gltf", "deep.dzi", "imsmanifest.xml"};
    static const char *const not_manifests[] = {".html", "a.mp4", "m3u8", "a.html.jpg", "x.xml"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(junk); i++)
        assert_true(mgc_verdict_junk(junk[i]));
    for (size_t i = 0; i < ARRAY_SIZE(not_junk); i++)
        assert_false(mgc_verdict_junk(not_junk[i]));
    for (size_t i = 0; i < ARRAY_SIZE(manifests); i++)
        assert_true(mgc_verdict_manifest(manifests[i]));
    for (size_t i = 0; i < ARRAY_SIZE(not_manifests); i++)
        assert_false(mgc_verdict_manifest(not_manifests[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_reason_alone),
        cmocka_unit_test(the_first_reason_wins),
        cmocka_unit_test(everything_after_it_changes_nothing),
        cmocka_unit_test(the_edges_belong_to_keeping),
        cmocka_unit_test(confirmations_are_counted),
        cmocka_unit_test(the_fence_stands_in_for_the_horizon),
        cmocka_unit_test(nominations_wait_for_the_fence),
        cmocka_unit_test(names_and_texts_are_there),
        cmocka_unit_test(junk_and_manifests_are_known),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
