/* Every brake, alone and with all others; each from an incident that deleted live files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mediagcfs/brakes.h"

enum { MAX = 64 };

static const struct mgc_brake_limits usual_limits = {
    .max_files = 100, .max_bytes = 5000, .max_share = 0.1, .max_fall = 0.2, .control_share = 0.5};

struct scene {
    struct mgc_brake_source sources[2];
    struct mgc_brake_facts facts;
    struct mgc_brake_limits limits;
};

/* A usual day: nothing fires. */
static void quiet(struct scene *s)
{
    memset(s, 0, sizeof(*s));
    s->sources[0] = (struct mgc_brake_source){
        .name = "app", .references = 5000, .references_before = 5100, .detail = ""};
    s->sources[1] = (struct mgc_brake_source){
        .name = "old", .references = 10, .references_before = -1, .detail = NULL};
    s->facts = (struct mgc_brake_facts){
        .sources_count = 2,
        .entries = 10000,
        .candidates = 100,
        .candidate_bytes = 5000,
        .recent = 400,
        .recent_referenced = 380,
        .control_history = 0.95,
        .complete_runs = 20,
    };
    s->limits = usual_limits;
}

static size_t judge(struct scene *s, struct mgc_brake_hit *hits)
{
    s->facts.sources = s->sources; /* here: a scene may have been copied */
    return mgc_brakes(&s->facts, &s->limits, hits, MAX);
}

static void no_references(struct scene *s)
{
    s->sources[1].references = 0;
}
static void fall(struct scene *s)
{
    s->sources[0].references = 4079;
}
static void files(struct scene *s)
{
    s->facts.candidates = 101;
}
static void bytes(struct scene *s)
{
    s->facts.candidate_bytes = 5001;
}
static void share(struct scene *s)
{
    s->facts.entries = 999;
}
static void control(struct scene *s)
{
    s->facts.recent_referenced = 180;
}
static void changed_matcher(struct scene *s)
{
    s->facts.matcher_changed = true;
}
static void changed_source(struct scene *s)
{
    s->sources[0].changed = true;
}
static void new_table(struct scene *s)
{
    s->sources[0].new_table = true;
    s->sources[0].detail = "public.shop_image.file";
}
static void identity(struct scene *s)
{
    s->sources[0].identity_changed = true;
}
static void went_back(struct scene *s)
{
    s->sources[0].went_back = true;
}
static void tree(struct scene *s)
{
    s->facts.tree_changed = true;
}
static void bypass(struct scene *s)
{
    s->facts.bypass = true;
}
static void clock_step(struct scene *s)
{
    s->facts.clock_stepped = true;
}
static void hold(struct scene *s)
{
    s->facts.held = true;
}
static void fence(struct scene *s)
{
    s->sources[1].fence_open = true;
    s->sources[1].detail = "pid 812, user 'batch', database 'shop'";
}

// clang-format off
static const struct incident {
    const char *what;
    void (*set)(struct scene *s);
    enum mgc_brake brake;
    bool size, approvable;
    const char *text; /* part of what is said */
} incidents[] = {
    {"an empty database was restored",        no_references,   MGC_BRAKE_NO_REFERENCES, false, true,  "old: mentions no file at all"},
    {"half of a table was lost in a dump",    fall,            MGC_BRAKE_FALL,          false, true,  "app: references fell from 5100 to 4079, more than max_fall 20.0%"},
    {"a mass delete by mistake",              files,           MGC_BRAKE_FILES,         true,  true,  "101 candidates, more than max_files 100"},
    {"a few very large files",                bytes,           MGC_BRAKE_BYTES,         true,  true,  "5001 bytes, more than max_bytes 5000"},
    {"a tenth of everything at once",         share,           MGC_BRAKE_SHARE,         true,  true,  " candidates of 999 entries, more than max_share 10.0%"},
    {"an upgrade broke the matching",         control,         MGC_BRAKE_CONTROL,       false, true,  "only 45.0% of the recent entries are referenced, usually 95.0%"},
    {"an upgrade changed the matching",       changed_matcher, MGC_BRAKE_CHANGED,       false, false, "matcher"},
    {"a source was configured otherwise",     changed_source,  MGC_BRAKE_CHANGED,       false, false, "app: its configuration changed"},
    {"a migration added a table",             new_table,       MGC_BRAKE_NEW_TABLE,     false, false, "app: a table or column is new: public.shop_image.file"},
    {"a staging copy answers",                identity,        MGC_BRAKE_IDENTITY,      false, true,  "app: is another database"},
    {"a backup was restored in place",        went_back,       MGC_BRAKE_IDENTITY,      false, true,  "app: went back in time"},
    {"the disk is not mounted",               tree,            MGC_BRAKE_TREE,          false, false, "its id differs"},
    {"a container writes beneath the mount",  bypass,          MGC_BRAKE_BYPASS,        false, true,  "beneath the mount"},
    {"the clock jumped two days",             clock_step,      MGC_BRAKE_CLOCK,         false, false, "the clock stepped"},
    {"a deploy is going on",                  hold,            MGC_BRAKE_HOLD,          false, false, "on hold"},
    {"an upload's transaction stays open",    fence,           MGC_BRAKE_FENCE,         false, false, "pid 812, user 'batch'"},
};
// clang-format on
/* Each brake once, CHANGED and IDENTITY twice. */
_Static_assert(ARRAY_SIZE(incidents) == MGC_BRAKE_COUNT + 2, "a brake has no incident");

static void a_usual_day_is_not_refused(void **state)
{
    struct mgc_brake_hit hits[MAX];
    struct scene s;

    (void)state;
    quiet(&s);
    assert_int_equal(judge(&s, hits), 0);
}

static void each_incident_is_refused(void **state)
{
    bool seen[MGC_BRAKE_COUNT] = {false};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(incidents); i++) {
        const struct incident *c = &incidents[i];
        struct mgc_brake_hit hits[MAX];
        struct scene s;
        size_t count;

        quiet(&s);
        c->set(&s);
        count = judge(&s, hits);
        if (count != 1 || hits[0].brake != c->brake)
            fail_msg("%s: %zu brakes, first %s", c->what, count,
                     count > 0 ? mgc_brake_name(hits[0].brake) : "none");
        if (strstr(hits[0].text, c->text) == NULL)
            fail_msg("%s: said '%s'", c->what, hits[0].text);
        assert_int_equal(mgc_brake_is_size(c->brake), c->size);
        assert_int_equal(mgc_brake_approvable(c->brake), c->approvable);
        assert_true(strlen(mgc_brake_name(c->brake)) > 0);
        seen[c->brake] = true;
    }
    for (size_t i = 0; i < MGC_BRAKE_COUNT; i++)
        assert_true(seen[i]);
}

static void every_pair_is_reported_in_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(incidents); i++)
        for (size_t k = 0; k < ARRAY_SIZE(incidents); k++) {
            struct mgc_brake_hit hits[MAX];
            bool first = false, second = false;
            struct scene s;
            size_t count;

            quiet(&s);
            incidents[i].set(&s);
            incidents[k].set(&s);
            count = judge(&s, hits);
            for (size_t n = 0; n < count; n++) {
                first |= hits[n].brake == incidents[i].brake;
                second |= hits[n].brake == incidents[k].brake;
                assert_true(n == 0 || hits[n - 1].brake <= hits[n].brake);
                if (hits[n].source != MGC_BRAKE_WHOLE) /* the one its text is about */
                    assert_int_equal(strncmp(hits[n].text, s.sources[hits[n].source].name, 3), 0);
                else
                    assert_true(strncmp(hits[n].text, "app:", 4) != 0 &&
                                strncmp(hits[n].text, "old:", 4) != 0);
            }
            if (!first || !second)
                fail_msg("%s + %s: one is missing", incidents[i].what, incidents[k].what);
        }
}

static void off_is_off(void **state)
{
    struct mgc_brake_hit hits[MAX];
    struct scene s;

    (void)state;
    quiet(&s);
    fall(&s);
    files(&s);
    bytes(&s);
    share(&s);
    control(&s);
    s.limits = (struct mgc_brake_limits){-1, -1, -1, -1, -1};
    assert_int_equal(judge(&s, hits), 0);
}

static void limits_are_reached_at_more_not_at_equal(void **state)
{
    struct mgc_brake_hit hits[MAX];
    struct scene s;

    (void)state;
    quiet(&s);
    s.sources[0].references_before = 5000;
    s.sources[0].references = 4000; /* exactly max_fall */
    s.limits.max_files = 1000;
    s.facts.candidates = 1000;      /* exactly max_files and max_share */
    s.facts.candidate_bytes = 5000; /* exactly max_bytes */
    s.facts.control_history = 0.5;
    s.facts.recent_referenced = 100; /* exactly half of half */
    assert_int_equal(judge(&s, hits), 0);
    s.limits.max_files = 0;
    s.facts.candidates = 0;
    assert_int_equal(judge(&s, hits), 0);
    s.facts.candidates = 1;
    assert_int_equal(judge(&s, hits), 1);
}

static void small_numbers_say_nothing_about_the_matcher(void **state)
{
    struct mgc_brake_hit hits[MAX];
    struct scene s;

    (void)state;
    quiet(&s);
    control(&s);
    assert_int_equal(judge(&s, hits), 1);
    s.facts.complete_runs = 9;
    assert_int_equal(judge(&s, hits), 0);
    s.facts.complete_runs = 10;
    s.facts.recent = 199;
    s.facts.recent_referenced = 0;
    assert_int_equal(judge(&s, hits), 0);
    s.facts.recent = 200;
    assert_int_equal(judge(&s, hits), 1);
    s.facts.control_history = -1;
    assert_int_equal(judge(&s, hits), 0);
}

static void an_empty_tree_needs_no_references(void **state)
{
    struct mgc_brake_hit hits[MAX];
    struct scene s;

    (void)state;
    quiet(&s);
    no_references(&s);
    s.facts.entries = s.facts.candidates = s.facts.candidate_bytes = 0;
    assert_int_equal(judge(&s, hits), 0);
    s.facts.entries = 1;
    assert_int_equal(judge(&s, hits), 1);
}

/* More brakes than room: what does not fit is left out, never written past. */
static void the_room_is_respected(void **state)
{
    struct mgc_brake_hit hits[3];
    struct scene s;

    (void)state;
    quiet(&s);
    for (size_t i = 0; i < ARRAY_SIZE(incidents); i++)
        incidents[i].set(&s);
    s.facts.sources = s.sources;
    memset(hits, 0x5a, sizeof(hits));
    assert_int_equal(mgc_brakes(&s.facts, &s.limits, hits, 2), 2);
    for (size_t i = 0; i < sizeof(hits[2]); i++)
        assert_int_equal(((const unsigned char *)&hits[2])[i], 0x5a);
}

static void the_digest_binds_brakes_and_set(void **state)
{
    struct mgc_brake_hit hits[2] = {{.brake = MGC_BRAKE_FALL, .text = "a"},
                                    {.brake = MGC_BRAKE_FILES, .text = "b"}};
    struct mgc_brake_hit other[2] = {{.brake = MGC_BRAKE_FALL, .text = "a"},
                                     {.brake = MGC_BRAKE_FILES, .text = "c"}};
    const int64_t ids[3] = {3, 7, 1000000007}, more[3] = {3, 7, 1000000008};
    char first[17], next[17];

    (void)state;
    mgc_brakes_digest(hits, 2, ids, 3, first);
    assert_int_equal(strlen(first), 16);
    assert_int_equal(strspn(first, "0123456789abcdef"), 16);
    memset(hits[0].text + 2, 'x', 20); /* what lies behind the text does not count */
    mgc_brakes_digest(hits, 2, ids, 3, next);
    assert_string_equal(first, next);
    mgc_brakes_digest(hits, 2, more, 3, next);
    assert_string_not_equal(first, next);
    mgc_brakes_digest(hits, 2, ids, 2, next);
    assert_string_not_equal(first, next);
    mgc_brakes_digest(other, 2, ids, 3, next);
    assert_string_not_equal(first, next);
    mgc_brakes_digest(hits, 1, ids, 3, next);
    assert_string_not_equal(first, next);
    hits[1].brake = MGC_BRAKE_BYTES;
    mgc_brakes_digest(hits, 2, ids, 3, next);
    assert_string_not_equal(first, next);
    mgc_brakes_digest(NULL, 0, NULL, 0, next);
    assert_int_equal(strlen(next), 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_usual_day_is_not_refused),
        cmocka_unit_test(each_incident_is_refused),
        cmocka_unit_test(every_pair_is_reported_in_order),
        cmocka_unit_test(off_is_off),
        cmocka_unit_test(limits_are_reached_at_more_not_at_equal),
        cmocka_unit_test(small_numbers_say_nothing_about_the_matcher),
        cmocka_unit_test(an_empty_tree_needs_no_references),
        cmocka_unit_test(the_room_is_respected),
        cmocka_unit_test(the_digest_binds_brakes_and_set),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
