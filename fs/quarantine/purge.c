/*
 * purge.c -- held files deleted for good: the rules that can be told here, and the only unlink.
 *
 *   HELD --purging--> PURGING --unlink, sync, forget--> (no row)
 *     ^                  |
 *     +------back--------+   the slot is still there: the proof is made again
 *
 * G5: a held orphan goes only when two complete scans of everything, both made after its retention
 * ended, the second after the first and at most an hour ago, found no mention.  This file believes
 * the times it is given and compares; that the scans were complete is the caller's word.
 */
#include "quarantine_priv.h"

#include "mediagcfs/assert.h"
#include "mediagcfs/path.h"

static const int64_t proof_lasts_us = INT64_C(3600) * 1000000;

static int64_t add_capped(int64_t a, int64_t b)
{
    int64_t sum;

    if (b < 0) /* a negative duration is no way to shorten one */
        b = 0;
    return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

struct mgc_purge_rules mgc_purge_rules_of(const struct mgc_conf *conf, struct mgc_catalog *catalog,
                                          int64_t now_us)
{
    return (struct mgc_purge_rules){
        .now_us = now_us,
        .retention_us = conf->quarantine.retention_us,
        .min_retention_us = conf->quarantine.min_retention_us,
        .deleted_retention_us = conf->quarantine.deleted_retention_us,
        .clock_floor_us = mgc_catalog_meta_or(catalog, MGC_META_CLOCK_FLOOR, 0, INT64_MAX),
    };
}

int64_t mgc_purge_due_us(const struct mgc_held *held, const struct mgc_purge_rules *rules)
{
    int64_t retention = rules->retention_us, from_us = held->held_us;

    if (held->held_us <= 0) /* unknown means keep */
        return INT64_MAX;
    if (from_us < rules->clock_floor_us)
        from_us = rules->clock_floor_us;
    if (held->reason != MGC_REASON_ORPHAN)
        return add_capped(from_us, rules->deleted_retention_us);
    if (retention < rules->min_retention_us)
        retention = rules->min_retention_us;
    return add_capped(from_us, retention);
}

const char *mgc_purge_refusal(const struct mgc_held *held, const struct mgc_purge_rules *rules,
                              const struct mgc_purge_ask *ask)
{
    int64_t due_us = mgc_purge_due_us(held, rules);
    int64_t first_us = ask->first_us != 0 ? ask->first_us : held->proof_us;
    int64_t from_us = ask->now ? held->held_us : due_us;

    if (held->state != MGC_HELD_HELD)
        return "it is not held";
    if (held->pinned)
        return "it is pinned";
    if (held->held_us <= 0)
        return "it is not known since when it is held";
    if (!ask->now && due_us > rules->now_us)
        return "its retention has not ended";
    if (held->reason != MGC_REASON_ORPHAN)
        return NULL; /* the application's own delete: neither proof nor minimum */
    if (first_us <= 0 || ask->second_us <= 0)
        return "it is not proven twice";
    if (first_us < from_us)
        return "the first proof is older than the end of its retention";
    if (ask->second_us <= first_us)
        return "the second proof is not later than the first";
    if (ask->second_us > rules->now_us)
        return "the second proof lies in the future";
    if (rules->now_us - ask->second_us > proof_lasts_us)
        return "the second proof is older than an hour";
    return NULL;
}

/* ---- one part of at most MGC_MOVE_BATCH_MAX files ---- */

struct purge {
    struct mgc_quarantine *q;
    struct mgc_purge_rules rules;
    struct mgc_purge_ask ask;
    const char *who;
    struct mgc_held_rows leftovers;
};
struct part {
    const struct purge *purge;
    struct mgc_held_rows rows;
    struct mgc_notices notices;
};

static int refuse(struct part *p, struct mgc_held_row *row, const char *why)
{
    mgc_notice_event(p->purge->q, &p->notices, MGC_EVENT_REFUSED, &row->held, why, p->purge->who);
    return MGC_E_REFUSED;
}

static int check(struct part *p, struct mgc_held_row *row, struct mgc_err *err)
{
    const char *why = mgc_purge_refusal(&row->held, &p->purge->rules, &p->purge->ask);
    enum mgc_seen slot;
    int r;

    if (why != NULL)
        return refuse(p, row, why);
    r = mgc_look_slot(p->purge->q, row->held.id, &row->held.stat.id, &slot, NULL, err);
    if (r < 0)
        return r;
    if (slot == MGC_SEEN_SAME)
        return 0;
    return mgc_err_say(err, MGC_E_CONFLICT, "could not purge file '%s': slot %lld does not hold it",
                       MGC_SHOW(row->path), (long long)row->held.id);
}

static int load(struct part *p, const int64_t *ids, size_t count, int *outcomes,
                struct mgc_err *err)
{
    struct mgc_catalog *c = p->purge->q->spec.catalog;

    for (size_t i = 0; i < count; i++) {
        size_t before = p->rows.count;
        int r = c->ops->held_get(c, ids[i], mgc_held_rows_add, &p->rows);

        outcomes[i] = r;
        if (r == -ENOENT)
            continue;
        if (r < 0)
            return mgc_err_set(err, r, "could not read held file '%lld'", (long long)ids[i]);
        MGC_ASSERT(p->rows.count == before + 1);
        for (size_t k = 0; k < before; k++)
            if (p->rows.row[k].held.id ==
                ids[i]) /* named twice: the second is not there any more */
                p->rows.row[before].code = -ENOENT;
        if (p->rows.row[before].code > 0)
            outcomes[i] = check(p, &p->rows.row[before], err);
        if (outcomes[i] < 0)
            p->rows.row[before].code = outcomes[i];
    }
    return 0;
}

static int announce(struct part *p, struct mgc_err *err)
{
    struct mgc_quarantine *q = p->purge->q;
    struct mgc_catalog *c = q->spec.catalog;
    mgc_autofree int64_t *ids = calloc(p->rows.count + 1, sizeof(*ids));
    size_t n = 0;
    int r;

    if (ids == NULL)
        return mgc_err_set(err, -ENOMEM, "could not purge %zu files", p->rows.count);
    for (size_t i = 0; i < p->rows.count; i++)
        if (p->rows.row[i].code > 0)
            ids[n++] = p->rows.row[i].held.id;
    if (n == 0)
        return 0;
    r = c->ops->held_purging(c, ids, n, err);
    if (r < 0)
        q->unsettled = true;
    return r;
}

/* The only place where a held file is deleted: by slot, after one more look at what is in it. */
static void unlink_slots(struct part *p)
{
    struct mgc_quarantine *q = p->purge->q;
    char name[MGC_SLOT_NAME_BYTES];

    for (size_t i = 0; i < p->rows.count; i++) {
        const struct mgc_held_row *row = &p->rows.row[i];
        enum mgc_seen slot;

        if (row->code <= 0)
            continue;
        mgc_slot_name(name, row->held.id);
        if (mgc_look_slot(q, row->held.id, &row->held.stat.id, &slot, NULL, NULL) == 0 &&
            slot == MGC_SEEN_SAME)
            (void)q->spec.os->unlink(q->spec.os, q->spec.home->slots_fd, name);
    }
}

static void report(struct part *p, const int64_t *ids, size_t count, int *outcomes)
{
    for (size_t k = 0; k < p->rows.count; k++)
        for (size_t i = 0; i < count; i++)
            if (p->rows.row[k].held.id == ids[i] && outcomes[i] == 0)
                outcomes[i] = p->rows.row[k].code == -ESTALE ? -EIO : p->rows.row[k].code;
}

static int purge_part(struct part *p, const int64_t *ids, size_t count, int *outcomes,
                      struct mgc_err *err)
{
    struct mgc_quarantine *q = p->purge->q;
    struct mgc_recover_result tally = {0};
    int r = mgc_notices_reserve(&p->notices, count, err);

    if (r == 0)
        r = load(p, ids, count, outcomes, err);
    if (r == 0)
        r = announce(p, err);
    if (r < 0) {
        for (size_t i = 0; i < count; i++)
            if (outcomes[i] == 0)
                outcomes[i] = r;
        return r;
    }
    unlink_slots(p);
    r = mgc_settle_purges(q, p->rows.row, p->rows.count, &tally, err);
    report(p, ids, count, outcomes);
    for (size_t i = 0; i < p->rows.count; i++)
        if (p->rows.row[i].code == 0)
            mgc_notice_event(q, &p->notices, MGC_EVENT_PURGE, &p->rows.row[i].held,
                             p->purge->ask.now ? "now" : NULL, p->purge->who);
    mgc_dirs_remove_emptied(q, p->rows.row, p->rows.count, &p->notices);
    return r;
}

/* The hooks are called between the parts, while no lock is held. */
static int purge_one_part(struct purge *a, const int64_t *ids, size_t count, int *outcomes,
                          struct mgc_err *err)
{
    mgc_autonotices leftover_news = {0};
    struct mgc_quarantine *q = a->q;
    struct part p = {.purge = a};
    int64_t now_us;
    int r;

    MGC_ASSERT(pthread_mutex_lock(&q->acts) == 0);
    now_us = q->spec.os->now_us(q->spec.os);
    if (now_us > a->rules.now_us) /* a proof grows old while a long purge goes on */
        a->rules.now_us = now_us;
    r = mgc_settle_leftovers(q, &a->leftovers, &leftover_news, err);
    if (r == 0)
        r = purge_part(&p, ids, count, outcomes, err);
    else
        for (size_t i = 0; i < count; i++)
            outcomes[i] = r;
    MGC_ASSERT(pthread_mutex_unlock(&q->acts) == 0);
    mgc_notices_tell(q, &leftover_news);
    mgc_notices_tell(q, &p.notices);
    mgc_notices_done(&p.notices);
    mgc_held_rows_done(&p.rows);
    mgc_held_rows_done(&a->leftovers);
    return r;
}

int mgc_quarantine_purge(struct mgc_quarantine *q, const int64_t *ids, size_t count,
                         int64_t first_us, int64_t second_us, bool now,
                         const struct mgc_purge_rules *rules, const char *who, int *outcomes,
                         struct mgc_err *err)
{
    struct purge a = {
        .q = q,
        .rules = *rules,
        .ask = {.first_us = first_us, .second_us = second_us, .now = now},
        .who = who,
    };
    int r = 0;

    for (size_t done = 0; done < count; done += MGC_MOVE_BATCH_MAX) {
        size_t part = count - done < MGC_MOVE_BATCH_MAX ? count - done : MGC_MOVE_BATCH_MAX;
        int one;

        for (size_t i = 0; i < part; i++)
            outcomes[done + i] = 0;
        one = purge_one_part(&a, ids + done, part, outcomes + done, err);
        if (one < 0)
            r = one;
    }
    return r;
}
