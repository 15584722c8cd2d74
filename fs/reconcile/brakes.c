/*
 * brakes.c -- rules that refuse a whole run (DESIGN 7).  Pure.
 *
 *   B1  A rule fires on what is wrong, whether or not anything would be moved: an unnoticed fall
 *       today would be the usual state tomorrow.
 *   B2  Size is judged by what would be moved; everything else by what was read.
 */
#include "mediagcfs/brakes.h"

#include <inttypes.h>
#include <stdarg.h>
#include <xxhash.h>

#include "mediagcfs/assert.h"
#include "mediagcfs/error.h"

enum {
    CONTROL_ENTRIES_MIN = 200, /* fewer recent entries say nothing about the matcher */
    CONTROL_RUNS_MIN = 10,     /* fewer complete runs are no history */
};

// clang-format off
static const struct kind {
    const char *name;
    bool size, approvable;
} kinds[] = {
    [MGC_BRAKE_NO_REFERENCES] = {"no-references", false, true},
    [MGC_BRAKE_FALL]          = {"fall",          false, true},
    [MGC_BRAKE_FILES]         = {"files",         true,  true},
    [MGC_BRAKE_BYTES]         = {"bytes",         true,  true},
    [MGC_BRAKE_SHARE]         = {"share",         true,  true},
    [MGC_BRAKE_CONTROL]       = {"control",       false, true},
    [MGC_BRAKE_CHANGED]       = {"changed",       false, false}, /* the waits restart anyway */
    [MGC_BRAKE_NEW_TABLE]     = {"new-table",     false, false}, /* the next run goes on */
    [MGC_BRAKE_IDENTITY]      = {"identity",      false, true},
    [MGC_BRAKE_TREE]          = {"tree",          false, false}, /* nobody can vouch for a disk */
    [MGC_BRAKE_BYPASS]        = {"bypass",        false, true},
    [MGC_BRAKE_CLOCK]         = {"clock",         false, false}, /* the waits restart anyway */
    [MGC_BRAKE_HOLD]          = {"hold",          false, false}, /* lifted by `resume` */
    [MGC_BRAKE_FENCE]         = {"fence",         false, false}, /* a reference may be on its way */
};
// clang-format on
_Static_assert(ARRAY_SIZE(kinds) == MGC_BRAKE_COUNT, "a brake has no row");

bool mgc_brake_is_size(enum mgc_brake b)
{
    MGC_ASSERT((unsigned)b < MGC_BRAKE_COUNT);
    return kinds[b].size;
}

bool mgc_brake_approvable(enum mgc_brake b)
{
    MGC_ASSERT((unsigned)b < MGC_BRAKE_COUNT);
    return kinds[b].approvable;
}

const char *mgc_brake_name(enum mgc_brake b)
{
    MGC_ASSERT((unsigned)b < MGC_BRAKE_COUNT);
    return kinds[b].name;
}

struct hits {
    struct mgc_brake_hit *rows;
    size_t count, max;
    size_t source; /* the one being judged */
};

static void hit(struct hits *hits, enum mgc_brake brake, const char *format, ...) MGC_PRINTF(3, 4);
static void hit(struct hits *hits, enum mgc_brake brake, const char *format, ...)
{
    struct mgc_brake_hit *row;
    va_list args;

    if (hits->count == hits->max)
        return;
    row = &hits->rows[hits->count++];
    memset(row, 0, sizeof(*row)); /* the digest reads the text only, but never stale bytes */
    row->brake = brake;
    row->source = hits->source;
    va_start(args, format);
    (void)vsnprintf(row->text, sizeof(row->text), format, args);
    va_end(args);
}

/* "" or ": what exactly". */
static const char *detail(const struct mgc_brake_source *s, char *out, size_t out_bytes)
{
    out[0] = '\0';
    if (s->detail != NULL && s->detail[0] != '\0')
        (void)snprintf(out, out_bytes, ": %s", s->detail);
    return out;
}

/* Percent with one digit, without floating point formats that depend on a locale. */
static int64_t per_mille(double share)
{
    return (int64_t)(share * 1000.0 + 0.5);
}
#define PERCENT "%" PRId64 ".%" PRId64 "%%"
#define PERCENT_OF(share) per_mille(share) / 10, per_mille(share) % 10

static void judge_source(struct hits *hits, enum mgc_brake brake, const struct mgc_brake_source *s,
                         const struct mgc_brake_limits *limits)
{
    char more[200];

    switch (brake) {
    case MGC_BRAKE_FALL:
        if (limits->max_fall >= 0 && s->references_before > 0 &&
            (double)s->references < (double)s->references_before * (1.0 - limits->max_fall))
            hit(hits, brake,
                "%s: references fell from %" PRId64 " to %" PRId64 ", more than max_fall " PERCENT,
                s->name, s->references_before, s->references, PERCENT_OF(limits->max_fall));
        break;
    case MGC_BRAKE_CHANGED:
        if (s->changed)
            hit(hits, brake, "%s: its configuration changed since the waits began, they restart%s",
                s->name, detail(s, more, sizeof(more)));
        break;
    case MGC_BRAKE_NEW_TABLE:
        if (s->new_table)
            hit(hits, brake, "%s: a table or column is new%s", s->name,
                detail(s, more, sizeof(more)));
        break;
    case MGC_BRAKE_IDENTITY:
        if (s->identity_changed)
            hit(hits, brake, "%s: is another database than before%s", s->name,
                detail(s, more, sizeof(more)));
        else if (s->went_back)
            hit(hits, brake, "%s: went back in time, a restored copy?%s", s->name,
                detail(s, more, sizeof(more)));
        break;
    case MGC_BRAKE_FENCE:
        if (s->fence_open)
            hit(hits, brake, "%s: a transaction whose start is not visible did not end in time%s",
                s->name, detail(s, more, sizeof(more)));
        break;
    default:
        break;
    }
}

static void judge_size(struct hits *hits, enum mgc_brake brake, const struct mgc_brake_facts *facts,
                       const struct mgc_brake_limits *limits)
{
    if (brake == MGC_BRAKE_FILES && limits->max_files >= 0 && facts->candidates > limits->max_files)
        hit(hits, brake, "%" PRId64 " candidates, more than max_files %" PRId64, facts->candidates,
            limits->max_files);
    if (brake == MGC_BRAKE_BYTES && limits->max_bytes >= 0 &&
        facts->candidate_bytes > limits->max_bytes)
        hit(hits, brake, "candidates of %" PRId64 " bytes, more than max_bytes %" PRId64,
            facts->candidate_bytes, limits->max_bytes);
    if (brake == MGC_BRAKE_SHARE && limits->max_share >= 0 && facts->candidates > 0 &&
        (double)facts->candidates > (double)facts->entries * limits->max_share)
        hit(hits, brake,
            "%" PRId64 " candidates of %" PRId64 " entries, more than max_share " PERCENT,
            facts->candidates, facts->entries, PERCENT_OF(limits->max_share));
}

static void judge_control(struct hits *hits, const struct mgc_brake_facts *facts,
                          const struct mgc_brake_limits *limits)
{
    double share;

    if (limits->control_share < 0 || facts->control_history < 0 ||
        facts->recent < CONTROL_ENTRIES_MIN || facts->complete_runs < CONTROL_RUNS_MIN)
        return;
    share = (double)facts->recent_referenced / (double)facts->recent;
    if (share < facts->control_history * limits->control_share)
        hit(hits, MGC_BRAKE_CONTROL,
            "only " PERCENT " of the recent entries are referenced, usually " PERCENT
            ": references are no longer recognised",
            PERCENT_OF(share), PERCENT_OF(facts->control_history));
}

static void judge_whole(struct hits *hits, enum mgc_brake brake,
                        const struct mgc_brake_facts *facts)
{
    if (brake == MGC_BRAKE_CHANGED && facts->matcher_changed)
        hit(hits, brake,
            "the matcher or the list of sources changed since the waits began, they "
            "restart");
    if (brake == MGC_BRAKE_TREE && facts->tree_changed)
        hit(hits, brake, "the tree is not the one it was: its id differs (a disk not mounted?)");
    if (brake == MGC_BRAKE_BYPASS && facts->bypass)
        hit(hits, brake, "the tree was changed beneath the mount");
    if (brake == MGC_BRAKE_CLOCK && facts->clock_stepped)
        hit(hits, brake, "the clock stepped, every wait restarts");
    if (brake == MGC_BRAKE_HOLD && facts->held)
        hit(hits, brake, "moves are on hold");
}

size_t mgc_brakes(const struct mgc_brake_facts *facts, const struct mgc_brake_limits *limits,
                  struct mgc_brake_hit *hits, size_t max)
{
    struct hits out = {hits, 0, max, MGC_BRAKE_WHOLE};

    for (unsigned b = 0; b < MGC_BRAKE_COUNT; b++) {
        enum mgc_brake brake = (enum mgc_brake)b;

        for (size_t i = 0; i < facts->sources_count; i++) {
            const struct mgc_brake_source *s = &facts->sources[i];

            out.source = i;
            if (brake == MGC_BRAKE_NO_REFERENCES && facts->entries > 0 && s->references <= 0)
                hit(&out, brake, "%s: mentions no file at all", s->name);
            judge_source(&out, brake, s, limits);
        }
        out.source = MGC_BRAKE_WHOLE;
        judge_size(&out, brake, facts, limits);
        if (brake == MGC_BRAKE_CONTROL)
            judge_control(&out, facts, limits);
        judge_whole(&out, brake, facts);
    }
    return out.count;
}

/* Byte by byte, so that the digest is the same on every machine. */
static void add_number(XXH3_state_t *state, uint64_t value)
{
    unsigned char bytes[8];

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (unsigned char)(value >> (8 * i));
    (void)XXH3_64bits_update(state, bytes, sizeof(bytes));
}

void mgc_brakes_digest(const struct mgc_brake_hit *hits, size_t hits_count, const int64_t *ids,
                       size_t ids_count, char *out)
{
    XXH3_state_t *state = XXH3_createState();

    MGC_ASSERT(state != NULL);
    (void)XXH3_64bits_reset(state);
    add_number(state, hits_count);
    for (size_t i = 0; i < hits_count; i++) {
        add_number(state, (uint64_t)hits[i].brake);
        /* With its final NUL: two texts never run into one. */
        (void)XXH3_64bits_update(state, hits[i].text, strlen(hits[i].text) + 1);
    }
    add_number(state, ids_count);
    for (size_t i = 0; i < ids_count; i++)
        add_number(state, (uint64_t)ids[i]);
    (void)snprintf(out, 17, "%016" PRIx64, (uint64_t)XXH3_64bits_digest(state));
    (void)XXH3_freeState(state);
}
