/*
 * verdict.c -- the one place that decides what becomes of an entry.  Pure.
 *
 *   V1  Whatever is unknown counts as a reason to keep: a birth or change time of 0, a horizon of
 *       0, a row of orphan runs without a beginning.
 *   V2  The first rule that applies is the verdict; the order is that of enum mgc_verdict.
 */
#include "mediagcfs/verdict.h"

#include <strings.h>

#include "mediagcfs/assert.h"

static const char *const names[] = {
    [MGC_VERDICT_REFERENCED] = "referenced", [MGC_VERDICT_KEPT] = "kept",
    [MGC_VERDICT_DERIVED] = "derived",       [MGC_VERDICT_OPEN] = "open",
    [MGC_VERDICT_YOUNG] = "young",           [MGC_VERDICT_HOT] = "hot",
    [MGC_VERDICT_SUSPECT] = "suspect",       [MGC_VERDICT_WAITING] = "waiting",
    [MGC_VERDICT_CANDIDATE] = "candidate",
};
_Static_assert(ARRAY_SIZE(names) == MGC_VERDICT_COUNT, "a verdict has no name");

static const char *const whys[] = {
    [MGC_WHY_NONE] = "",
    [MGC_WHY_PATTERN] = "matches a keep pattern",
    [MGC_WHY_JUNK] = "is a file that systems and sites keep in directories",
    [MGC_WHY_UNMOVABLE] = "cannot be identified or moved safely on this filesystem",
    [MGC_WHY_NAMES] = "has several hard links",
    [MGC_WHY_BORN] = "came to this path after the horizon",
    [MGC_WHY_WRITTEN] = "was written after the horizon",
    [MGC_WHY_CHANGED] = "only its change time is after the horizon",
    [MGC_WHY_NO_HORIZON] = "transactions are open whose start is not visible",
    [MGC_WHY_NEAR] = "a mention differs from it only in case, form or encoding",
    [MGC_WHY_SHORT] = "a shortened mention fits it",
    [MGC_WHY_DIRECTORY] = "its directory is mentioned and nothing in it is",
    [MGC_WHY_MANIFEST] = "a playlist, page or style sheet beside it is referenced",
    [MGC_WHY_HEALED] = "was held before and turned out to be needed",
    [MGC_WHY_CONFIRM] = "not enough complete runs found it unreferenced",
    [MGC_WHY_SINCE] = "the runs that found it unreferenced do not span the wait yet",
    [MGC_WHY_ALIAS] = "reachable by another path",
};
_Static_assert(ARRAY_SIZE(whys) == MGC_WHY_COUNT, "a reason has no text");

int64_t mgc_verdict_horizon_us(const struct mgc_facts *facts, const struct mgc_terms *terms)
{
    bool nominated = terms->fenced_run > 0 && facts->orphan_first_run > 0 &&
                     facts->orphan_first_run <= terms->fenced_run;
    int64_t horizon_us = terms->horizon_us > 0 ? terms->horizon_us : 0;

    if (nominated && terms->fenced_horizon_us > horizon_us)
        return terms->fenced_horizon_us;
    return horizon_us;
}

/* The written time may be unknown: every write moves the change time too. */
static enum mgc_why youth(const struct mgc_facts *facts, int64_t horizon_us)
{
    if (horizon_us <= 0)
        return MGC_WHY_NO_HORIZON;
    if (facts->born_us <= 0 || facts->born_us > horizon_us)
        return MGC_WHY_BORN;
    if (facts->written_us > horizon_us)
        return MGC_WHY_WRITTEN;
    if (facts->changed_us <= 0 || facts->changed_us > horizon_us)
        return MGC_WHY_CHANGED;
    return MGC_WHY_NONE;
}

static bool hot(const struct mgc_facts *facts, const struct mgc_terms *terms)
{
    return terms->hot_for_us > 0 && facts->opened_us > 0 &&
           facts->opened_us > terms->now_us - terms->hot_for_us;
}

static enum mgc_why suspicion(const struct mgc_facts *facts)
{
    if (facts->near_miss)
        return MGC_WHY_NEAR;
    if (facts->shortened)
        return MGC_WHY_SHORT;
    if (facts->directory)
        return MGC_WHY_DIRECTORY;
    if (facts->manifest)
        return MGC_WHY_MANIFEST;
    return facts->healed ? MGC_WHY_HEALED : MGC_WHY_NONE;
}

/* Two databases are read in two snapshots: a reference that moves between them in between is seen
 * by neither.  It is seen by the next run. */
static enum mgc_why waits(const struct mgc_facts *facts, const struct mgc_terms *terms)
{
    int64_t least = terms->several_sources ? 2 : 1;
    int64_t need = terms->confirmations > least ? terms->confirmations : least;

    if (facts->orphan_runs < need)
        return MGC_WHY_CONFIRM;
    if (facts->orphan_since_us <= 0 || facts->orphan_since_us > terms->now_us)
        return MGC_WHY_SINCE;
    if (terms->now_us - facts->orphan_since_us < terms->confirm_over_us)
        return MGC_WHY_SINCE;
    return MGC_WHY_NONE;
}

static enum mgc_verdict judge(const struct mgc_facts *facts, const struct mgc_terms *terms,
                              enum mgc_why *why)
{
    if (facts->referenced)
        return MGC_VERDICT_REFERENCED;
    if (facts->kept) {
        *why = facts->kept_why;
        return MGC_VERDICT_KEPT;
    }
    if (facts->derived)
        return MGC_VERDICT_DERIVED;
    if (facts->open)
        return MGC_VERDICT_OPEN;
    *why = youth(facts, mgc_verdict_horizon_us(facts, terms));
    if (*why != MGC_WHY_NONE)
        return MGC_VERDICT_YOUNG;
    if (hot(facts, terms))
        return MGC_VERDICT_HOT;
    *why = suspicion(facts);
    if (*why != MGC_WHY_NONE)
        return MGC_VERDICT_SUSPECT;
    *why = waits(facts, terms);
    return *why != MGC_WHY_NONE ? MGC_VERDICT_WAITING : MGC_VERDICT_CANDIDATE;
}

enum mgc_verdict mgc_verdict_of(const struct mgc_facts *facts, const struct mgc_terms *terms,
                                enum mgc_why *ret_why)
{
    enum mgc_why why = MGC_WHY_NONE;
    enum mgc_verdict verdict = judge(facts, terms, &why);

    if (ret_why != NULL)
        *ret_why = why;
    return verdict;
}

bool mgc_verdict_counts(const struct mgc_facts *facts, const struct mgc_terms *terms,
                        int64_t nominal_us)
{
    enum mgc_why why;

    switch (mgc_verdict_of(facts, terms, &why)) {
    case MGC_VERDICT_HOT:
    case MGC_VERDICT_WAITING:
    case MGC_VERDICT_CANDIDATE:
        return true;
    case MGC_VERDICT_YOUNG:
        /* Nominated for a later run that knows that all of today's transactions have ended. */
        return why == MGC_WHY_NO_HORIZON && youth(facts, nominal_us) == MGC_WHY_NONE &&
               suspicion(facts) == MGC_WHY_NONE;
    default:
        return false;
    }
}

const char *mgc_verdict_name(enum mgc_verdict v)
{
    MGC_ASSERT((unsigned)v < MGC_VERDICT_COUNT);
    return names[v];
}

const char *mgc_why_text(enum mgc_why why)
{
    MGC_ASSERT((unsigned)why < MGC_WHY_COUNT);
    return whys[why];
}

bool mgc_verdict_junk(const char *name)
{
    static const char *const whole[] = {
        ".gitkeep",   ".keep",        ".gitignore",  ".gitattributes", ".htaccess",   ".htpasswd",
        "web.config", "index.html",   "index.htm",   "index.php",      "robots.txt",  ".DS_Store",
        "Thumbs.db",  "ehthumbs.db",  "desktop.ini", ".directory",     ".localized",  ".nomedia",
        ".hidden",    ".placeholder", ".stignore",   ".syncignore",    "CACHEDIR.TAG"};
    /* Names the kernel's NFS client, libfuse, macOS and rsync give to files that are in use. */
    static const char *const starts[] = {".nfs", ".fuse_hidden", "._", ".~tmp~"};

    for (size_t i = 0; i < ARRAY_SIZE(whole); i++)
        if (strcasecmp(name, whole[i]) == 0)
            return true;
    for (size_t i = 0; i < ARRAY_SIZE(starts); i++)
        if (strncmp(name, starts[i], strlen(starts[i])) == 0)
            return true;
    return false;
}

bool mgc_verdict_manifest(const char *name)
{
    static const char *const ends[] = {".m3u8",  ".m3u", ".mpd",  ".ism", ".html", ".htm",
                                       ".xhtml", ".dzi", ".gltf", ".css", ".vtt"};
    size_t bytes = strlen(name);

    for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
        size_t tail = strlen(ends[i]);
        if (bytes > tail && strcasecmp(name + bytes - tail, ends[i]) == 0)
            return true;
    }
    return strcasecmp(name, "imsmanifest.xml") == 0;
}
