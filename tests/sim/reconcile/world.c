/* world.c -- see world.h. */
#include "world.h"

#include <sys/stat.h>

/* ---- sources ---- */

static int fake_start(struct mgc_source *s, struct mgc_err *err)
{
    (void)s;
    (void)err;
    return 0;
}

static struct world *the_world; /* one at a time; the source table has no argument */

static int fake_begin(struct mgc_source *s, int64_t deadline_us, struct mgc_source_view *ret_view,
                      struct mgc_err *err)
{
    struct fake *f = (struct fake *)s;
    const struct source_script *x = &f->script;
    int64_t now_us = the_world->real_time ? mgc_now_us() : the_world->now_us;

    assert_true(deadline_us > 0);
    f->begins++;
    if (x->begin != 0)
        return mgc_err_say(err, x->begin, "could not connect to source '%s'", s->name);
    *ret_view = (struct mgc_source_view){
        .t0_us = now_us,
        .oldest_us = x->invisible ? 0 : now_us - x->lag_us,
        .sees_transactions = x->sees,
        .fence = x->fence_text != NULL ? strdup(x->fence_text) : NULL,
        .identity =
            strdup(x->later_identity != NULL && f->begins > f->begins_before + 1 ? x->later_identity
                                                                                 : x->identity),
        .progress = x->progress,
        .position = strdup(x->position != NULL ? x->position : ""),
    };
    if (f->script.open_for > 0)
        f->script.open_for--;
    return 0;
}

static int fake_fence(struct mgc_source *s, const char *fence, int64_t deadline_us,
                      struct mgc_err *err)
{
    struct fake *f = (struct fake *)s;
    const struct source_script *x = &f->script;

    (void)deadline_us;
    f->fences++;
    if (x->fence != 0)
        return mgc_err_say(err, x->fence, "could not ask source '%s'", s->name);
    if (fence == NULL || x->open_for == 0 ||
        (x->open_fence != NULL && strcmp(x->open_fence, fence) != 0)) {
        f->begins_at_pass = f->begins;
        return 1;
    }
    (void)mgc_err_say(err, MGC_E_BUSY, "pid 812, user 'batch', database 'shop'");
    return 0;
}

static int give(struct fake *f, const struct text *t, mgc_text_fn *each, void *arg)
{
    const struct mgc_origin origin = {
        .source = f->base.name, .table = t->table, .column = t->column, .weak = t->weak};

    return each(arg, &origin, t->text, strlen(t->text));
}

static int outcome(int code, struct mgc_err *err, const char *what)
{
    if (code == 1000)
        return 0; /* the oversight G1 speaks of */
    if (code < 0)
        return mgc_err_say(err, code, "could not %s", what);
    return MGC_SOURCE_COMPLETE;
}

static int fake_scan(struct mgc_source *s, enum mgc_source_depth depth, int64_t deadline_us,
                     mgc_text_fn *each, void *arg, struct mgc_err *err)
{
    struct fake *f = (struct fake *)s;

    (void)deadline_us;
    f->scans++;
    f->begins_at_scan = f->begins;
    f->depth = depth;
    for (size_t i = 0; i < f->texts_count; i++) {
        int r;

        if (f->texts[i].weak && depth != MGC_DEPTH_PROOF)
            continue;
        if (f->script.cut && i >= f->texts_count / 2)
            return mgc_err_say(err, MGC_E_SOURCE, "could not read table '%s': connection lost",
                               f->texts[i].table);
        r = give(f, &f->texts[i], each, arg);
        if (r < 0)
            return r;
    }
    return outcome(f->script.scan, err, "read");
}

static int fake_ask(struct mgc_source *s, const char *const *paths, size_t count,
                    const char *const *columns, size_t columns_count, int64_t deadline_us,
                    mgc_text_fn *each, void *arg, struct mgc_err *err)
{
    struct fake *f = (struct fake *)s;

    (void)deadline_us;
    f->asks++;
    f->asked_paths = count;
    f->asked_columns = columns_count;
    if (columns_count > 0)
        (void)snprintf(f->asked_column, sizeof(f->asked_column), "%s", columns[0]);
    for (size_t i = 0; f->script.late_path != NULL && i < count; i++)
        if (strcmp(paths[i], f->script.late_path) == 0) {
            const struct text late = {"public.photo", "image", f->script.late_path, false};
            int r = give(f, &late, each, arg);

            if (r < 0)
                return r;
        }
    return outcome(f->script.ask, err, "ask");
}

static const char *fake_covered(struct mgc_source *s)
{
    return ((struct fake *)s)->script.covered;
}

static void fake_end(struct mgc_source *s)
{
    ((struct fake *)s)->ends++;
}

static void fake_free(struct mgc_source *s)
{
    (void)s;
}

static const struct mgc_source_ops fake_ops = {
    .kind = "fake",
    .start = fake_start,
    .begin = fake_begin,
    .fence_passed = fake_fence,
    .scan = fake_scan,
    .ask = fake_ask,
    .covered = fake_covered,
    .end = fake_end,
    .free = fake_free,
};

/* ---- host ---- */

static int take_id(void *arg, const struct mgc_run *run)
{
    *(int64_t *)arg = run->id;
    return 0;
}

static int host_begin(void *arg, bool apply, const char *approve, struct mgc_run *ret_run,
                      struct mgc_brake_facts *ret_facts, struct mgc_err *err)
{
    struct world *w = arg;
    struct mgc_run row = {.digest = "", .refusal = "", .sources = "", .matcher = ""};
    int r;

    (void)approve;
    if (w->begin_code < 0)
        return mgc_err_say(err, w->begin_code, "could not begin");
    w->previous = 0;
    (void)w->catalog->ops->run_last_complete(w->catalog, 0, take_id, &w->previous);
    row.t0_us = w->now_us;
    row.applied = apply;
    r = w->catalog->ops->run_begin(w->catalog, &row, err);
    if (r < 0)
        return r;
    w->run = row.id;
    w->t0_us = row.t0_us;
    *ret_run = row;
    *ret_facts = w->facts;
    return 0;
}

static int host_flush(void *arg, struct mgc_err *err)
{
    struct world *w = arg;

    return w->flush_code < 0 ? mgc_err_say(err, w->flush_code, "could not flush") : 0;
}

static int host_orphans(void *arg, int64_t run, const int64_t *ids, size_t count,
                        struct mgc_err *err)
{
    struct world *w = arg;

    assert_int_equal(run, w->run);
    w->orphan_calls++;
    w->orphans += count;
    if (w->orphans_code < 0)
        return mgc_err_say(err, w->orphans_code, "could not record");
    return w->catalog->ops->mark_orphans(w->catalog, run, w->t0_us, w->previous, ids, count, err);
}

static int host_findings(void *arg, int64_t run, const struct mgc_finding *rows, size_t count,
                         struct mgc_err *err)
{
    struct world *w = arg;

    w->findings += count;
    if (w->findings_code < 0)
        return mgc_err_say(err, w->findings_code, "could not report");
    if (w->finding_lost && count > 0)
        count--;
    for (size_t i = 0; i < count && w->kept_count < ARRAY_SIZE(w->kept); i++) {
        size_t at = w->kept_count++;

        w->kept[at].row = rows[i];
        (void)snprintf(w->kept[at].path, sizeof(w->kept[at].path), "%s", rows[i].path);
        w->kept[at].row.path = w->kept[at].path;
        w->kept[at].row.source = w->kept[at].row.table = "";
        w->kept[at].row.column = w->kept[at].row.text = "";
    }
    return w->catalog->ops->findings_add(w->catalog, run, rows, count, err);
}

static int take_entry(void *arg, const struct mgc_entry *entry)
{
    struct mgc_entry *to = arg;

    *to = *entry;
    to->name = NULL;
    return 0;
}

static int hold(struct world *w, const struct mgc_candidate *c, struct mgc_move_outcome *out)
{
    struct mgc_entry entry;
    struct mgc_held row;
    int r = w->catalog->ops->entry_by_id(w->catalog, c->entry_id, take_entry, &entry);

    if (r < 0)
        return r;
    row = (struct mgc_held){
        .reason = MGC_REASON_ORPHAN,
        .path = c->path,
        .dir_id = entry.dir_id,
        .restore_to = "",
        .stat = {.id = c->id,
                 .mode = S_IFREG | 0644,
                 .nlink = 1,
                 .size_bytes = entry.size_bytes,
                 .mtime_us = entry.written_us,
                 .ctime_us = w->now_us},
        .entry_id = c->entry_id,
        .born_us = entry.born_us,
        .written_us = entry.written_us,
        .run = w->run,
    };
    r = w->catalog->ops->held_begin(w->catalog, &row, 1, NULL);
    if (r == 0)
        r = w->catalog->ops->held_finish(w->catalog, &row.id, 1, w->now_us, NULL);
    out->held_id = row.id;
    out->bytes = entry.size_bytes;
    return r;
}

static int host_move(void *arg, int64_t run, const struct mgc_candidate *candidates, size_t count,
                     struct mgc_move_outcome *outcomes, struct mgc_err *err)
{
    struct world *w = arg;

    assert_int_equal(run, w->run);
    assert_in_range(count, 1, MGC_MOVE_BATCH_MAX);
    if (w->move_code < 0)
        return mgc_err_say(err, w->move_code, "could not move");
    for (size_t i = 0; i < count; i++) {
        outcomes[i].code =
            w->outcome_code != 0 ? w->outcome_code : hold(w, &candidates[i], &outcomes[i]);
        if (outcomes[i].code == 0 && w->moved < 256) {
            w->horizons[w->moved] = candidates[i].horizon_us;
            w->moved_ids[w->moved++] = candidates[i].entry_id;
        }
    }
    return 0;
}

struct found_held {
    int64_t id;
    char path[512];
    struct mgc_file_stat stat;
};

static int take_held(void *arg, const struct mgc_held *row)
{
    struct found_held *to = arg;

    to->id = row->id;
    to->stat = row->stat;
    (void)snprintf(to->path, sizeof(to->path), "%s", row->path);
    return 0;
}

static int host_heal(void *arg, int64_t run, int64_t held_id, struct mgc_err *err)
{
    struct world *w = arg;
    struct found_held held = {0};
    int r;

    assert_int_equal(run, w->run);
    if (w->heal_code < 0)
        return mgc_err_say(err, w->heal_code, "could not heal");
    r = w->catalog->ops->held_get(w->catalog, held_id, take_held, &held);
    if (r == 0)
        r = w->catalog->ops->held_restoring(w->catalog, held_id, held.path, true, err);
    if (r == 0)
        r = w->catalog->ops->held_returned(w->catalog, held_id, held.path, &held.stat, w->now_us,
                                           true, err);
    w->heals += r == 0 ? 1 : 0;
    return r;
}

static int host_prove(void *arg, int64_t run, const int64_t *ids, size_t count, int64_t t0_us,
                      struct mgc_err *err)
{
    struct world *w = arg;

    w->proofs += count;
    return w->catalog->ops->held_prove(w->catalog, ids, count, t0_us, run, err);
}

static int host_end(void *arg, const struct mgc_run *run, struct mgc_err *err)
{
    struct world *w = arg;

    assert_int_equal(run->id, w->run);
    assert_non_null(run->digest);
    assert_non_null(run->refusal);
    assert_non_null(run->sources);
    assert_non_null(run->matcher);
    assert_int_not_equal(run->result, MGC_RUN_RUNNING);
    w->ends++;
    w->ended = *run;
    if (w->end_code < 0)
        return mgc_err_say(err, w->end_code, "could not end");
    return w->catalog->ops->run_end(w->catalog, run, err);
}

static int host_purge(void *arg, const int64_t *ids, size_t count, int64_t first_us,
                      int64_t second_us, bool now, int *outcomes, struct mgc_err *err)
{
    struct world *w = arg;

    assert_in_range(count, 1, MGC_MOVE_BATCH_MAX);
    w->purge_first_us = first_us;
    w->purge_second_us = second_us;
    w->purge_now = now;
    for (size_t i = 0; i < count; i++) {
        outcomes[i] = 0;
        w->purged_ids[w->purged++] = ids[i];
    }
    return w->catalog->ops->held_forget(w->catalog, ids, count, err);
}

static void host_progress(void *arg, const char *phase, int64_t done, int64_t total)
{
    (void)arg;
    assert_non_null(phase);
    assert_true(done >= 0);
    assert_true(total >= 0);
}

static void host_notice(void *arg, const char *text)
{
    struct world *w = arg;

    if (w->notices < SAID_MAX)
        (void)snprintf(w->notice[w->notices++], 256, "%s", text);
}

/* ---- the world ---- */

static int reserve(void *arg, int64_t up_to, struct mgc_err *err)
{
    (void)arg;
    (void)up_to;
    (void)err;
    return 0;
}

static void configure(struct world *w)
{
    static char names[SOURCES_MAX][8] = {"app", "old", "third"};
    struct mgc_conf *c = &w->conf;

    for (size_t i = 0; i < SOURCES_MAX; i++) {
        w->blocks[i] = (struct mgc_conf_references){
            .name = names[i], .type = MGC_TYPE_POSTGRESQL, .timeout_us = HOUR, .jobs = 1};
        w->fakes[i].base = (struct mgc_source){&fake_ops, names[i]};
        w->fakes[i].script =
            (struct source_script){.sees = true,
                                   .identity = "system 1 database 5",
                                   .fence_text = "{\"vxids\":[],\"prepared\":[],\"xmax\":\"9\"}",
                                   .covered = "[\"public.photo.image\"]",
                                   .progress = 100};
        w->sources[i] = &w->fakes[i].base;
    }
    c->references = w->blocks;
    c->references_count = w->sources_count;
    c->reconcile.grace_us = DAY;
    c->reconcile.confirmations = 2;
    c->reconcile.confirm_over_us = 12 * HOUR;
    c->reconcile.hot_for_us = 7 * DAY;
    c->reconcile.max_files = 10000;
    c->reconcile.max_bytes = MGC_CONF_OFF;
    c->reconcile.max_share = -1;
    c->reconcile.max_fall = 0.2;
    c->reconcile.control_share = 0.5;
    c->reconcile.memory_bytes = MGC_CONF_AUTO;
    c->quarantine.retention_us = 30 * DAY;
    c->quarantine.min_retention_us = 7 * DAY;
    c->quarantine.deleted_retention_us = 7 * DAY;
}

struct world *world_new(size_t sources)
{
    struct world *w = calloc(1, sizeof(*w));
    struct mgc_catalog_spec spec = {.reserved_id = 1, .reserve = reserve, .mode = 0600, .gid = -1};

    assert_non_null(w);
    the_world = w;
    (void)snprintf(w->directory, sizeof(w->directory), "/dev/shm/mgc-run-XXXXXX");
    assert_non_null(mkdtemp(w->directory));
    spec.directory = w->directory;
    assert_int_equal(mgc_catalog_open_sqlite(&spec, &w->catalog, &w->err), 0);
    w->sources_count = sources;
    w->now_us = mgc_now_us() - 300 * DAY;
    w->next_ino = 1000;
    configure(w);
    w->host = (struct mgc_run_host){.arg = w,
                                    .begin = host_begin,
                                    .flush = host_flush,
                                    .orphans = host_orphans,
                                    .findings = host_findings,
                                    .move = host_move,
                                    .heal = host_heal,
                                    .prove = host_prove,
                                    .end = host_end,
                                    .purge = host_purge,
                                    .progress = host_progress,
                                    .notice = host_notice};
    return w;
}

void world_free(struct world *w)
{
    static const char *const files[] = {"catalog.db", "catalog.db-wal", "catalog.db-shm", "opened"};
    char path[128];

    mgc_run_report_done(&w->report);
    mgc_catalog_close(w->catalog);
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", w->directory, files[i]);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(w->directory), 0);
    free(w);
}

static void apply(struct world *w, struct mgc_change change)
{
    assert_code(w, w->catalog->ops->apply(w->catalog, &change, 1, &w->err), 0);
}

static struct mgc_file_stat stat_of(struct world *w, uint32_t mode, int64_t time_us)
{
    uint64_t ino = w->next_ino++;

    return (struct mgc_file_stat){
        .id = {.ino = ino, .stamp = (int64_t)ino * 7, .kind = MGC_ID_BIRTH},
        .mode = mode,
        .uid = 33,
        .gid = 33,
        .nlink = 1,
        .size_bytes = 100,
        .mtime_us = time_us,
        .ctime_us = time_us,
    };
}

void world_dir(struct world *w, const char *path, int64_t born_us)
{
    apply(w, (struct mgc_change){.kind = MGC_CHANGE_MKDIR,
                                 .directory = true,
                                 .path = path,
                                 .time_us = born_us,
                                 .uid = 33,
                                 .stat = stat_of(w, S_IFDIR | 0755, born_us)});
}

static int64_t id_of(struct world *w, const char *path)
{
    struct mgc_entry entry = {0};
    int r = w->catalog->ops->entry_by_path(w->catalog, path, take_entry, &entry);

    return r >= 0 ? entry.id : 0;
}

int64_t world_file(struct world *w, const char *path, int64_t born_us)
{
    int64_t id;

    apply(w, (struct mgc_change){.kind = MGC_CHANGE_CREATE,
                                 .path = path,
                                 .time_us = born_us,
                                 .uid = 33,
                                 .stat = stat_of(w, S_IFREG | 0644, born_us)});
    id = id_of(w, path);
    assert_true(id > 0);
    return id;
}

void world_rename(struct world *w, const char *from, const char *to, bool directory)
{
    struct mgc_change change = {
        .kind = MGC_CHANGE_RENAME,
        .directory = directory,
        .path = from,
        .path2 = to,
        .time_us = w->now_us,
        .stat = stat_of(w, directory ? S_IFDIR | 0755 : S_IFREG | 0644, w->now_us)};

    apply(w, change);
}

static void add_row(struct world *w, size_t source, struct text text)
{
    struct fake *f = &w->fakes[source];

    assert_true(f->texts_count < TEXTS_MAX);
    f->texts[f->texts_count++] = text;
}

void world_row(struct world *w, size_t source, const char *table, const char *column,
               const char *text)
{
    add_row(w, source, (struct text){table, column, text, false});
}

void world_weak_row(struct world *w, size_t source, const char *table, const char *text)
{
    add_row(w, source, (struct text){table, "data", text, true});
}

void world_no_rows(struct world *w, size_t source)
{
    w->fakes[source].texts_count = 0;
}

int world_run(struct world *w, bool act, const char *approve)
{
    const struct mgc_run_spec spec = {
        .conf = &w->conf,
        .catalog = w->catalog,
        .sources = w->sources,
        .sources_count = w->sources_count,
        .host = &w->host,
        .apply = act,
        .approve = approve,
    };
    struct mgc_run_report old = w->report; /* approve may point into it */
    size_t ends = w->ends;
    int r;

    w->orphan_calls = w->orphans = w->findings = w->kept_count = w->notices = 0;
    for (size_t i = 0; i < w->sources_count; i++)
        w->fakes[i].begins_before = w->fakes[i].begins;
    w->err = (struct mgc_err){0};
    r = mgc_run_reconcile(&spec, &w->report, &w->err);
    mgc_run_report_done(&old);
    assert_true((r < 0) == (w->err.code < 0));
    if (w->report.run.id != 0) /* R2: what began was ended */
        assert_int_equal(w->ends, ends + 1);
    for (size_t i = 0; i < w->sources_count; i++)
        if (w->fakes[i].begins > 0)
            assert_true(w->fakes[i].ends > 0 || w->fakes[i].script.begin != 0);
    return r;
}

void world_confirm(struct world *w)
{
    assert_code(w, world_run(w, false, NULL), 0);
    w->now_us += 13 * HOUR;
    assert_code(w, world_run(w, true, NULL), 0);
}

bool world_has(struct world *w, const char *path)
{
    return id_of(w, path) != 0;
}

int64_t world_held(struct world *w, const char *path)
{
    struct found_held held = {0};

    assert_true(w->catalog->ops->held_scan(w->catalog, 0, 100, path, take_held, &held, NULL) >= 0);
    return held.id;
}

int64_t world_runs_of(struct world *w, const char *path)
{
    struct mgc_entry entry = {0};

    assert_true(w->catalog->ops->entry_by_path(w->catalog, path, take_entry, &entry) >= 0);
    return entry.orphan_runs;
}

bool world_said(const struct world *w, const char *part)
{
    for (size_t i = 0; i < w->notices; i++)
        if (strstr(w->notice[i], part) != NULL)
            return true;
    return false;
}

const char *world_verdict(struct world *w, const char *path)
{
    for (size_t i = 0; i < w->kept_count; i++)
        if (w->kept[i].row.kind != MGC_FINDING_MISSING && strcmp(w->kept[i].path, path) == 0)
            return w->kept[i].row.verdict; /* a constant of verdict.c */
    return "";
}

size_t world_missing(struct world *w)
{
    size_t count = 0;

    for (size_t i = 0; i < w->kept_count; i++)
        count += w->kept[i].row.kind == MGC_FINDING_MISSING ? 1 : 0;
    return count;
}

int64_t world_unlinked(struct world *w, const char *path)
{
    struct mgc_held row = {.reason = MGC_REASON_UNLINKED,
                           .path = path,
                           .restore_to = "",
                           .stat = {.id = {5, 5, MGC_ID_BIRTH}, .mode = 0100644, .nlink = 1},
                           .born_us = w->now_us};

    assert_code(w, w->catalog->ops->held_begin(w->catalog, &row, 1, &w->err), 0);
    assert_code(w, w->catalog->ops->held_finish(w->catalog, &row.id, 1, w->now_us, &w->err), 0);
    return row.id;
}
