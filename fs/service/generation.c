/*
 * generation.c -- a catalog restored from a copy does not know what happened since (G6).
 *
 * Tree and catalog count together: at each start and after each run that judged.  A catalog that is
 * behind may remember waits that a later run had ended, so they all begin again, as after a clock
 * step.  The tree's count is written first: a crash in between costs waits, never a file.
 */
#include "mediagcfs/bytes.h"
#include "service_priv.h"

int mgc_service_advance(struct mgc_service *s, struct mgc_err *err)
{
    int64_t count = mgc_catalog_meta(s->catalog, MGC_META_GENERATION, 0) + 1;
    int r = mgc_home_advance(&s->home, count, err);

    return r < 0 ? r : s->catalog->ops->meta_set(s->catalog, MGC_META_GENERATION, count, err);
}

int mgc_service_generation(struct mgc_service *s, struct mgc_err *err)
{
    struct mgc_catalog *c = s->catalog;
    int64_t known = mgc_catalog_meta_or(c, MGC_META_GENERATION, 0, -1), count = 0;
    int64_t now = s->os->now_us(s->os);
    int r = mgc_home_generation(&s->home, &count);

    if (r < 0 && r != MGC_E_CORRUPT)
        return mgc_err_set(err, r, "could not read file '.mediagcfs/generation'");
    if (known < 0)
        return mgc_err_set(err, -EIO, "could not read the generation of catalog '%s'",
                           MGC_SHOW(s->conf->catalog.directory));
    if (r == 0 && (known == count || known == 0)) /* 0: a new catalog waits for everything anyway */
        return known == count ? mgc_service_advance(s, err)
                              : c->ops->meta_set(c, MGC_META_GENERATION, count, err);
    r = c->ops->restart_waits(c, err);
    if (r == 0)
        r = c->ops->meta_set(c, MGC_META_CLOCK_FLOOR, now, err);
    if (r == 0)
        r = c->ops->meta_set(c, MGC_META_OPENED_FLOOR, now, err);
    if (r == 0 && known < count)
        r = c->ops->meta_set(c, MGC_META_GENERATION, count, err);
    if (r == 0)
        r = mgc_service_advance(s, err);
    if (r == 0)
        mgc_service_say(s, MGC_EVENT_CATALOG, 0, "an older copy: every wait starts again", NULL);
    return r;
}
