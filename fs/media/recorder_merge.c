/*
 * recorder_merge.c -- what of a batch of changes has to be written.
 *
 * A later change of a path makes an earlier one superfluous, as long as the path has meant the
 * same thing throughout.  One pass, with a table of what was seen last for each path:
 *
 *   M1  OPEN    replaces an earlier OPEN.            The later time of the two stands.
 *       WRITE   replaces an earlier WRITE and STAT.  (It sets all that they set.)
 *       STAT    replaces an earlier STAT, not a WRITE, whose time it does not carry.
 *   M2  UNLINK  of what was created (or linked) in this batch takes the CREATE and everything about
 *       the path since with it.  The UNLINK itself stays, since the catalog may have had a row of
 *       that path before; it costs one look-up that finds nothing.  It goes too where the batch
 *       itself says that the path was free before the CREATE: after an UNLINK or a RENAME away.
 *       What was created before a LINK is not cancelled: the LINK may be a second name of it, and
 *       the store counts names.
 *   M3  CREATE, LINK, MKDIR, UNLINK, RENAME and EXCHANGE of files begin their paths anew: nothing
 *       is merged across them.
 *   M4  Where a directory is renamed, exchanged or removed, everything begins anew.
 *   M5  What stays keeps its order.
 *
 * A verification may meet a file in the tree between its CREATE and its UNLINK; therefore nothing
 * is cancelled (M2) while one runs.
 */
#include <sys/stat.h>

#include "fs/media/recorder_priv.h"
#include "mediagcfs/assert.h"

enum { NONE = -1 };

/* What the batch says about one path since it began anew.  Numbers are places in the batch. */
struct path_state {
    const char *path; /* NULL: unused */
    uint32_t era;     /* M4: states of an earlier era say nothing */
    bool free;        /* nothing is at the path now */
    bool was_free;    /* nothing was there when `create` came */
    int32_t create, write, stat, open;
};
struct merge {
    struct mgc_change *changes;
    bool *left_out;
    struct path_state *states; /* open addressing, a power of two */
    size_t mask;
    uint32_t era;
    int32_t last_link;
    bool cancel;
};

static void begin_anew(struct path_state *s, bool is_free)
{
    s->free = is_free;
    s->was_free = false;
    s->create = s->write = s->stat = s->open = NONE;
}

static uint64_t hash_path(const char *path)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (; *path != '\0'; path++)
        h = (h ^ (unsigned char)*path) * UINT64_C(0x100000001b3);
    return h ^ (h >> 29);
}

/* The table has room for two paths of every change: it always ends. */
static struct path_state *state_of(struct merge *m, const char *path)
{
    size_t i = (size_t)hash_path(path) & m->mask;

    while (m->states[i].path != NULL && strcmp(m->states[i].path, path) != 0)
        i = (i + 1) & m->mask;
    if (m->states[i].path == NULL || m->states[i].era != m->era) {
        m->states[i].path = path;
        m->states[i].era = m->era;
        begin_anew(&m->states[i], false);
    }
    return &m->states[i];
}

static void leave_out(struct merge *m, int32_t *place)
{
    if (*place != NONE)
        m->left_out[*place] = true;
    *place = NONE;
}

/* M1.  The later one stands in its place with the later time, should the clock have gone back. */
static void replace(struct merge *m, int32_t *place, int32_t by)
{
    if (*place != NONE && m->changes[*place].time_us > m->changes[by].time_us)
        m->changes[by].time_us = m->changes[*place].time_us;
    leave_out(m, place);
    *place = by;
}

static void on_unlink(struct merge *m, struct path_state *s, int32_t at)
{
    if (m->cancel && s->create != NONE && s->create > m->last_link) {
        leave_out(m, &s->create);
        leave_out(m, &s->write);
        leave_out(m, &s->stat);
        leave_out(m, &s->open);
        m->left_out[at] = s->was_free;
    }
    begin_anew(s, true);
}

static void on_create(struct path_state *s, int32_t at)
{
    bool was_free = s->free;

    begin_anew(s, false);
    s->was_free = was_free;
    s->create = at;
}

bool mgc_recorder_moves_directory(const struct mgc_change *c)
{
    return (c->kind == MGC_CHANGE_RENAME || c->kind == MGC_CHANGE_EXCHANGE) &&
           (c->directory || c->directory2 || S_ISDIR(c->stat.mode));
}

static void on_change(struct merge *m, int32_t at)
{
    struct mgc_change *c = &m->changes[at];
    struct path_state *s;

    if (c->kind == MGC_CHANGE_RENAME || c->kind == MGC_CHANGE_EXCHANGE) {
        m->era += mgc_recorder_moves_directory(c); /* M4 */
        begin_anew(state_of(m, c->path), c->kind == MGC_CHANGE_RENAME);
        begin_anew(state_of(m, c->path2), false);
        return;
    }
    if (c->kind == MGC_CHANGE_RMDIR)
        m->era++; /* M4 */
    s = state_of(m, c->path);
    if (c->kind == MGC_CHANGE_UNLINK) {
        on_unlink(m, s, at);
        return;
    }
    if (c->kind == MGC_CHANGE_LINK)
        m->last_link = at;
    if (c->kind == MGC_CHANGE_CREATE || c->kind == MGC_CHANGE_LINK)
        on_create(s, at);
    s->free = false;
    if (c->kind == MGC_CHANGE_WRITE) {
        replace(m, &s->write, at);
        leave_out(m, &s->stat);
    } else if (c->kind == MGC_CHANGE_STAT)
        replace(m, &s->stat, at);
    else if (c->kind == MGC_CHANGE_OPEN)
        replace(m, &s->open, at);
    else if (c->kind == MGC_CHANGE_MKDIR)
        begin_anew(s, false);
}

size_t mgc_recorder_merge(struct mgc_change *changes, size_t count, bool cancel)
{
    struct merge m = {.changes = changes, .era = 1, .last_link = NONE, .cancel = cancel};
    size_t slots = 4, kept = 0;

    if (count < 2)
        return count;
    MGC_ASSERT(count <= INT32_MAX / 4);
    while (slots < 4 * count) /* at most half full with two paths each */
        slots *= 2;
    m.mask = slots - 1;
    m.states = calloc(slots, sizeof(*m.states));
    m.left_out = calloc(count, sizeof(*m.left_out));
    if (m.states != NULL && m.left_out != NULL) {
        for (size_t i = 0; i < count; i++)
            on_change(&m, (int32_t)i);
        for (size_t i = 0; i < count; i++)
            if (!m.left_out[i])
                changes[kept++] = changes[i];
    } else
        kept = count;
    free(m.states);
    free(m.left_out);
    return kept;
}
