/*
 * clock.c -- a clock that stepped makes no wait pass (H8).
 *
 * The wall clock minus the boot clock is constant while nobody sets the clock.  A change of a
 * minute, a start before the last sign of life, or a start long after it, moves the floor: waits
 * begin again there, and runs are refused until `grace` has passed since.
 */
#include "mediagcfs/brakes.h"
#include "mediagcfs/bytes.h"
#include "service_priv.h"

static int remember(struct mgc_service *s, const char *boot_id, int64_t offset_us,
                    struct mgc_err *err)
{
    struct mgc_catalog *c = s->catalog;
    int r = c->ops->meta_text_set(c, MGC_META_BOOT_ID, boot_id, err);

    return r < 0 ? r : c->ops->meta_set(c, MGC_META_CLOCK_OFFSET, offset_us, err);
}

int mgc_service_clock(struct mgc_service *s, bool starting, struct mgc_err *err)
{
    struct mgc_catalog *c = s->catalog;
    char boot[64] = "", before[64] = "";
    int64_t now = s->os->now_us(s->os);
    struct mgc_clock_facts facts = {
        .now_us = now,
        .offset_us = now - s->os->boottime_us(s->os),
        .last_event_us = mgc_catalog_meta_or(c, MGC_META_ALIVE, 0, INT64_MAX),
        .grace_us = s->conf->reconcile.grace_us,
    };
    int r = s->os->boot_id(s->os, boot, sizeof(boot));

    if (r < 0)
        return mgc_err_set(err, r, "could not read the identity of this boot");
    r = c->ops->meta_text_get(c, MGC_META_BOOT_ID, before, sizeof(before));
    if (r < 0 && r != -ENOENT)
        return mgc_err_set(err, r, "could not read from catalog '%s' when it was last used",
                           MGC_SHOW(s->conf->catalog.directory));
    if (r == -ENOENT)
        return remember(s, boot, facts.offset_us, err); /* a new catalog: nothing waits yet */
    facts.same_boot = strcmp(boot, before) == 0;
    /* What cannot be read counts as a step: that costs waits, never a file. */
    facts.offset_before_us = mgc_catalog_meta_or(c, MGC_META_CLOCK_OFFSET, facts.offset_us, 0);
    if (!starting && facts.same_boot)
        facts.last_event_us = 0; /* while we run, only a step within this boot can be told */
    if (!mgc_clock_stepped(&facts))
        return starting ? remember(s, boot, facts.offset_us, err) : 0;
    r = c->ops->restart_waits(c, err);
    if (r == 0)
        r = c->ops->meta_set(c, MGC_META_CLOCK_FLOOR, now, err);
    if (r == 0)
        r = remember(s, boot, facts.offset_us, err);
    if (r == 0)
        mgc_service_say(s, MGC_EVENT_REFUSED, 0, "the clock stepped: every wait starts again",
                        NULL);
    return r;
}
