/*
 * run_ops.c -- what a reconciler may ask for while its run lasts.
 *
 * The reconciler is not trusted with more than its decisions: a run belongs to the connection that
 * began it, limits on files and bytes are enforced here, and the quarantine checks each candidate
 * against the tree itself.
 */
#include "mediagcfs/assert.h"
#include "mediagcfs/log.h"
#include "service_priv.h"

static int wrong(struct mgc_err *err, const char *what)
{
    return mgc_err_say(err, MGC_E_PROTOCOL, "control message has no valid '%s'", what);
}

static int64_t number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL ? text : "";
}

/* The run of this connection; copies its state. */
static int own_run(struct mgc_service *s, const struct mgc_peer *peer, json_t *request,
                   struct mgc_service_run *ret_run, struct mgc_err *err)
{
    int64_t id = number(request, "run");
    bool mine;

    (void)pthread_mutex_lock(&s->mutex);
    mine = id > 0 && s->run.id == id && s->run.connection == peer->connection;
    *ret_run = s->run;
    (void)pthread_mutex_unlock(&s->mutex);
    return mine ? 0
                : mgc_err_say(err, MGC_E_REFUSED, "run %lld is not going on in this connection",
                              (long long)id);
}

static int scan_complete(struct mgc_service *s, struct mgc_err *err)
{
    enum mgc_scan_state scan;
    struct mgc_err why;
    struct mgc_verify_result ignored;

    if (s->spec.offline)
        return mgc_service_scan_wait(s, false, &ignored, err);
    (void)pthread_mutex_lock(&s->mutex);
    scan = s->scan;
    why = s->scan_err;
    (void)pthread_mutex_unlock(&s->mutex);
    if (scan == MGC_SCAN_DONE && mgc_catalog_meta(s->catalog, MGC_META_INCOMPLETE, 1) == 0)
        return 0;
    if (scan == MGC_SCAN_BROKEN)
        (void)mgc_err_say(err, MGC_E_INCOMPLETE, "the verification of the tree is not complete: %s",
                          why.text);
    else
        (void)mgc_err_say(err, MGC_E_INCOMPLETE, "the verification of the tree has not ended yet");
    (void)mgc_err_hint(err, "'mediagcfs scan' waits for its end and says what stands in the way.");
    return MGC_E_INCOMPLETE;
}

static int previous_complete(void *arg, const struct mgc_run *run)
{
    *(int64_t *)arg = run->id;
    return 1;
}

/* The last run, when it was refused with this digest; its number of candidates is the limit. */
struct refused_run {
    const char *digest;
    bool found;
    int64_t candidates;
};
static int last_refused(void *arg, const struct mgc_run *run)
{
    struct refused_run *wanted = arg;

    if (run->result != MGC_RUN_REFUSED && run->result != MGC_RUN_DONE)
        return 0; /* one that judged nothing changes nothing */
    wanted->found = run->result == MGC_RUN_REFUSED && run->digest[0] != '\0' &&
                    strcmp(run->digest, wanted->digest) == 0;
    wanted->candidates = run->candidates;
    return 1;
}

int mgc_op_approve(struct mgc_service *s, const struct mgc_peer *peer, json_t *request,
                   json_t **ret_ok, struct mgc_err *err)
{
    struct refused_run wanted = {.digest = text_of(request, "digest")};
    char who[80];

    (void)ret_ok;
    (void)s->catalog->ops->runs(s->catalog, 0, 100, last_refused, &wanted);
    if (wanted.found) {
        mgc_service_say(s, MGC_EVENT_APPROVE, 0, wanted.digest,
                        mgc_peer_text(who, sizeof(who), peer));
        return s->catalog->ops->meta_text_set(s->catalog, MGC_META_APPROVED, wanted.digest, err);
    }
    (void)mgc_err_say(err, MGC_E_REFUSED, "'%s' is not the digest of the last run",
                      MGC_SHOW(wanted.digest));
    (void)mgc_err_hint(err,
                       "'mediagcfs status' shows it; a run without --approve makes a new one.");
    return MGC_E_REFUSED;
}

/*
 * An operator gave this approval and it was not used yet.  It is spent by asking; *ret_limit is how
 * many files it is good for.
 */
static int spend_approval(struct mgc_service *s, const char *digest, bool *ret_valid,
                          int64_t *ret_limit, struct mgc_err *err)
{
    struct refused_run wanted = {.digest = digest};
    char granted[64] = "";

    *ret_valid = false;
    if (digest[0] == '\0')
        return 0;
    (void)s->catalog->ops->meta_text_get(s->catalog, MGC_META_APPROVED, granted, sizeof(granted));
    (void)s->catalog->ops->runs(s->catalog, 0, 100, last_refused, &wanted);
    if (strcmp(granted, digest) != 0 || !wanted.found)
        return 0;
    *ret_valid = true;
    *ret_limit = wanted.candidates;
    return s->catalog->ops->meta_text_set(s->catalog, MGC_META_APPROVED, "", err);
}

static int prepare_facts(struct mgc_service *s, int64_t now, json_t **ret_facts,
                         struct mgc_err *err)
{
    char pinned[64] = "";
    bool tree_changed;
    int r = mgc_service_clock(s, false, err);

    if (r < 0)
        return r;
    r = mgc_home_check(&s->home, err);
    if (r < 0 && r != MGC_E_IDENTITY)
        return r;
    (void)s->catalog->ops->meta_text_get(s->catalog, MGC_META_TREE_ID, pinned, sizeof(pinned));
    tree_changed = r == MGC_E_IDENTITY || strcmp(pinned, s->home.tree_id) != 0;
    *ret_facts =
        json_pack("{s:b,s:b,s:b,s:b}", "tree_changed", tree_changed, "bypass",
                  mgc_catalog_meta_or(s->catalog, MGC_META_BYPASS, 0, 1) != 0, "clock_stepped",
                  now - s->conf->reconcile.grace_us <
                      mgc_catalog_meta_or(s->catalog, MGC_META_CLOCK_FLOOR, 0, INT64_MAX),
                  "held", mgc_service_on_hold(s, NULL));
    return *ret_facts != NULL ? 0 : mgc_err_set(err, -ENOMEM, "could not begin a run");
}

/* Claims the one place for a run; id -1 until the catalog has given one. */
static int claim(struct mgc_service *s, const struct mgc_peer *peer, struct mgc_err *err)
{
    bool busy;

    (void)pthread_mutex_lock(&s->mutex);
    busy = s->run.id != 0;
    if (!busy)
        s->run = (struct mgc_service_run){.id = -1, .connection = peer->connection};
    (void)pthread_mutex_unlock(&s->mutex);
    if (!busy)
        return 0;
    return mgc_err_say(err, MGC_E_BUSY, "another run is going on");
}

static void unclaim(struct mgc_service *s)
{
    (void)pthread_mutex_lock(&s->mutex);
    s->run = (struct mgc_service_run){0};
    (void)pthread_mutex_unlock(&s->mutex);
}

static int begin(struct mgc_service *s, const struct mgc_peer *peer, json_t *request,
                 json_t **ret_ok, struct mgc_err *err)
{
    struct mgc_service_run mine = {.connection = peer->connection};
    struct mgc_run row = {.digest = "", .refusal = "", .sources = "", .matcher = ""};
    const char *approve = text_of(request, "approve");
    json_t *facts = NULL;
    int r = scan_complete(s, err);

    if (r == 0)
        r = mgc_service_flush(s, err);
    row.t0_us = s->os->now_us(s->os);
    if (r == 0)
        r = prepare_facts(s, row.t0_us, &facts, err);
    if (r < 0)
        return r;
    (void)s->catalog->ops->run_last_complete(s->catalog, 0, previous_complete, &mine.previous);
    row.applied = mine.apply = json_is_true(json_object_get(request, "apply"));
    if (mine.apply)
        r = spend_approval(s, approve, &mine.approved, &mine.approved_files, err);
    if (r == 0)
        r = s->catalog->ops->run_begin(s->catalog, &row, err);
    if (r < 0) {
        json_decref(facts);
        return r;
    }
    mine.id = row.id;
    mine.t0_us = row.t0_us;
    (void)pthread_mutex_lock(&s->mutex);
    s->run = mine;
    (void)pthread_mutex_unlock(&s->mutex);
    *ret_ok = json_pack("{s:I,s:I,s:o,s:I,s:b}", "run", (json_int_t)mine.id, "t0_us",
                        (json_int_t)mine.t0_us, "facts", facts, "previous",
                        (json_int_t)mine.previous, "approved", mine.approved);
    return 0;
}

int mgc_op_run_begin(struct mgc_service *s, const struct mgc_peer *peer, json_t *request,
                     json_t **ret_ok, struct mgc_err *err)
{
    int r = claim(s, peer, err);

    if (r < 0)
        return r;
    r = begin(s, peer, request, ret_ok, err);
    if (r < 0)
        unclaim(s);
    return r;
}

int mgc_op_run_writers(struct mgc_service *s, const struct mgc_peer *peer, json_t *request,
                       json_t **ret_ok, struct mgc_err *err)
{
    mgc_autofree uint64_t *inos = calloc(MGC_WRITERS_MAX, sizeof(*inos));
    json_t *array = json_array();
    struct mgc_service_run run;
    size_t count = 0;
    int r = own_run(s, peer, request, &run, err);

    if (r == 0 && s->tree != NULL && inos != NULL)
        count = mgc_tree_writers(s->tree, inos, MGC_WRITERS_MAX);
    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(array, json_integer((json_int_t)inos[i]));
    if (r == 0)
        *ret_ok = json_pack("{s:o}", "inos", array);
    else
        json_decref(array);
    return r;
}

/* An array of ids; *ret_ids is the caller's to free. */
static int read_ids(json_t *request, int64_t **ret_ids, size_t *ret_count, struct mgc_err *err)
{
    const json_t *array = json_object_get(request, "ids");
    size_t count = json_array_size(array);
    int64_t *ids;

    if (!json_is_array(array) || count > MGC_IDS_PER_MESSAGE_MAX)
        return wrong(err, "ids");
    ids = calloc(count + 1, sizeof(*ids));
    if (ids == NULL)
        return mgc_err_set(err, -ENOMEM, "could not read ids");
    for (size_t i = 0; i < count; i++) {
        ids[i] = json_integer_value(json_array_get(array, i));
        if (ids[i] <= 0) {
            free(ids);
            return wrong(err, "ids");
        }
    }
    *ret_ids = ids;
    *ret_count = count;
    return 0;
}

int mgc_op_run_orphans(struct mgc_service *s, const struct mgc_peer *peer, json_t *request,
                       json_t **ret_ok, struct mgc_err *err)
{
    struct mgc_service_run run;
    mgc_autofree int64_t *ids = NULL;
    size_t count = 0;
    int r = own_run(s, peer, request, &run, err);

    (void)ret_ok;
    if (r == 0)
        r = read_ids(request, &ids, &count, err);
    if (r == 0)
        r = s->catalog->ops->mark_orphans(s->catalog, run.id, run.t0_us, run.previous, ids, count,
                                          err);
    return r;
}

int mgc_op_run_prove(struct mgc_service *s, const struct mgc_peer *peer, json_t *request,
                     json_t **ret_ok, struct mgc_err *err)
{
    struct mgc_service_run run;
    mgc_autofree int64_t *ids = NULL;
    size_t count = 0;
    int64_t t0 = number(request, "t0_us");
    int r = own_run(s, peer, request, &run, err);

    (void)ret_ok;
    if (r == 0 && t0 > s->os->now_us(s->os))
        r = wrong(err, "t0_us");
    if (r == 0)
        r = read_ids(request, &ids, &count, err);
    if (r == 0)
        r = s->catalog->ops->held_prove(s->catalog, ids, count, t0, run.id, err);
    return r;
}

static int finding_kind(const char *name, enum mgc_finding_kind *ret)
{
    static const char *const names[] = {"orphan", "suspect", "missing"};

    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (strcmp(name, names[i]) == 0) {
            *ret = (enum mgc_finding_kind)i;
            return 0;
        }
    return -EINVAL;
}

int mgc_op_run_findings(struct mgc_service *s, const struct mgc_peer *peer, json_t *request,
                        json_t **ret_ok, struct mgc_err *err)
{
    const json_t *array = json_object_get(request, "rows");
    size_t count = json_array_size(array);
    mgc_autofree struct mgc_finding *rows = calloc(count + 1, sizeof(*rows));
    mgc_autofree char *paths = malloc((count + 1) * (MGC_PATH_BYTES_MAX + 1));
    struct mgc_service_run run;
    int r = own_run(s, peer, request, &run, err);

    (void)ret_ok;
    if (r < 0)
        return r;
    if (!json_is_array(array) || count > MGC_MOVE_BATCH_MAX)
        return wrong(err, "rows");
    if (rows == NULL || paths == NULL)
        return mgc_err_set(err, -ENOMEM, "could not read findings");
    for (size_t i = 0; i < count; i++) {
        json_t *row = json_array_get(array, i);
        char *path = paths + i * (MGC_PATH_BYTES_MAX + 1);

        if (finding_kind(text_of(row, "kind"), &rows[i].kind) < 0 ||
            mgc_json_get_path(row, path, MGC_PATH_BYTES_MAX + 1) < 0)
            return wrong(err, "rows");
        rows[i].path = path;
        rows[i].entry_id = number(row, "entry");
        rows[i].verdict = text_of(row, "verdict");
        rows[i].reason = text_of(row, "reason");
        rows[i].bytes = number(row, "bytes");
        rows[i].born_us = number(row, "born_us");
        rows[i].opened_us = number(row, "opened_us");
        rows[i].runs = number(row, "runs");
        rows[i].source = text_of(row, "source");
        rows[i].table = text_of(row, "table");
        rows[i].column = text_of(row, "column");
        rows[i].text = text_of(row, "text");
    }
    return s->catalog->ops->findings_add(s->catalog, run.id, rows, count, err);
}

struct batch {
    struct mgc_candidate candidates[MGC_MOVE_BATCH_MAX];
    struct mgc_move_outcome outcomes[MGC_MOVE_BATCH_MAX];
    char paths[MGC_MOVE_BATCH_MAX][MGC_PATH_BYTES_MAX + 1];
    size_t count;
};

static int read_candidates(struct mgc_service *s, json_t *request,
                           const struct mgc_service_run *run, struct batch *batch,
                           struct mgc_err *err)
{
    const json_t *array = json_object_get(request, "candidates");
    int64_t latest = run->t0_us - s->conf->reconcile.grace_us;

    batch->count = json_array_size(array);
    if (!json_is_array(array) || batch->count > MGC_MOVE_BATCH_MAX)
        return wrong(err, "candidates");
    for (size_t i = 0; i < batch->count; i++) {
        json_t *row = json_array_get(array, i);
        struct mgc_candidate *c = &batch->candidates[i];

        if (mgc_json_get_path(row, batch->paths[i], sizeof(batch->paths[i])) < 0)
            return wrong(err, "candidates");
        c->path = batch->paths[i];
        c->entry_id = number(row, "id");
        c->id.ino = (uint64_t)number(row, "ino");
        c->id.stamp = number(row, "stamp");
        c->id.kind = (enum mgc_id_kind)number(row, "kind");
        c->horizon_us = number(row, "horizon_us");
        /* Nobody can ask for a horizon later than the rules of this configuration allow (G2). */
        if (c->horizon_us <= 0 || c->horizon_us > latest)
            return mgc_err_say(err, MGC_E_REFUSED, "horizon of '%s' is later than grace allows",
                               MGC_SHOW(c->path));
    }
    return 0;
}

static int add_size(void *arg, const struct mgc_entry *entry)
{
    *(int64_t *)arg += entry->size_bytes;
    return 0;
}

/* By our own records, not by what the reconciler says. */
static int64_t batch_bytes(struct mgc_service *s, const struct batch *batch)
{
    int64_t bytes = 0;

    for (size_t i = 0; i < batch->count; i++)
        (void)s->catalog->ops->entry_by_id(s->catalog, batch->candidates[i].entry_id, add_size,
                                           &bytes); /* unknown: the move is refused anyway */
    return bytes;
}

static int within_limits(struct mgc_service *s, const struct mgc_service_run *run,
                         const struct batch *batch, struct mgc_err *err)
{
    int64_t max_files = run->approved ? run->approved_files : s->conf->reconcile.max_files;
    int64_t max_bytes = run->approved ? MGC_CONF_OFF : s->conf->reconcile.max_bytes;

    if (!run->apply)
        return mgc_err_say(err, MGC_E_REFUSED, "run %lld only describes", (long long)run->id);
    if (mgc_service_on_hold(s, NULL))
        return mgc_service_say_held(err, "moves");
    if (!s->spec.offline && mgc_catalog_meta(s->catalog, MGC_META_INCOMPLETE, 1) != 0)
        return mgc_err_say(err, MGC_E_INCOMPLETE, "the catalog became incomplete during the run");
    if (max_files >= 0 && run->moved + (int64_t)batch->count > max_files)
        return mgc_err_say(err, MGC_E_REFUSED, "a run may move at most %lld files",
                           (long long)max_files);
    if (max_bytes >= 0 && run->moved_bytes + batch_bytes(s, batch) > max_bytes)
        return mgc_err_say(err, MGC_E_REFUSED, "a run may move at most %lld bytes",
                           (long long)max_bytes);
    return 0;
}

/* Also when a fault elsewhere in the batch makes the whole an error: what moved counts. */
static void count_moved(struct mgc_service *s, const struct batch *batch)
{
    (void)pthread_mutex_lock(&s->mutex);
    for (size_t i = 0; i < batch->count; i++)
        if (batch->outcomes[i].code == 0) {
            s->run.moved++;
            s->run.moved_bytes += batch->outcomes[i].bytes;
        }
    (void)pthread_mutex_unlock(&s->mutex);
}

static json_t *outcomes_json(const struct batch *batch)
{
    json_t *array = json_array();

    for (size_t i = 0; i < batch->count; i++) {
        const struct mgc_move_outcome *o = &batch->outcomes[i];

        (void)json_array_append_new(array, json_pack("{s:i,s:I,s:I}", "code", o->code, "held",
                                                     (json_int_t)o->held_id, "bytes",
                                                     (json_int_t)o->bytes));
    }
    return array;
}

int mgc_op_run_move(struct mgc_service *s, const struct mgc_peer *peer, json_t *request,
                    json_t **ret_ok, struct mgc_err *err)
{
    mgc_autofree struct batch *batch = calloc(1, sizeof(*batch));
    struct mgc_service_run run;
    int r;

    if (batch == NULL)
        return mgc_err_set(err, -ENOMEM, "could not move files");
    r = own_run(s, peer, request, &run, err);
    if (r == 0)
        r = read_candidates(s, request, &run, batch, err);
    if (r == 0)
        r = within_limits(s, &run, batch, err);
    if (r == 0)
        r = mgc_home_check(&s->home, err);
    if (r == 0)
        r = mgc_service_flush(s, err); /* births recorded meanwhile count (G2) */
    if (r < 0)
        return r;
    r = mgc_quarantine_move(s->quarantine, batch->candidates, batch->count, run.id, batch->outcomes,
                            err);
    count_moved(s, batch);
    if (r == 0)
        *ret_ok = json_pack("{s:o}", "outcomes", outcomes_json(batch));
    return r;
}

int mgc_op_run_heal(struct mgc_service *s, const struct mgc_peer *peer, json_t *request,
                    json_t **ret_ok, struct mgc_err *err)
{
    struct mgc_service_run run;
    char who[80];
    int r = own_run(s, peer, request, &run, err);

    (void)ret_ok;
    if (r < 0)
        return r;
    if (!run.apply)
        return mgc_err_say(err, MGC_E_REFUSED, "run %lld only describes", (long long)run.id);
    return mgc_quarantine_restore(s->quarantine, number(request, "id"), NULL, true,
                                  mgc_peer_text(who, sizeof(who), peer), err);
}

static void read_run(json_t *o, const struct mgc_service_run *mine, struct mgc_run *row)
{
    *row = (struct mgc_run){
        .id = mine->id,
        .t0_us = number(o, "t0_us"),
        .result = (enum mgc_run_result)number(o, "result"),
        .complete = json_is_true(json_object_get(o, "complete")),
        .applied = mine->apply,
        .horizon_us = number(o, "horizon_us"),
        .files = number(o, "files"),
        .referenced = number(o, "referenced"),
        .kept = number(o, "kept"),
        .derived = number(o, "derived"),
        .open = number(o, "open"),
        .young = number(o, "young"),
        .hot = number(o, "hot"),
        .suspect = number(o, "suspect"),
        .waiting = number(o, "waiting"),
        .candidates = number(o, "candidates"),
        .moved = mine->moved,
        .moved_bytes = mine->moved_bytes,
        .healed = number(o, "healed"),
        .missing = number(o, "missing"),
        .references = number(o, "references"),
        .digest = text_of(o, "digest"),
        .refusal = text_of(o, "refusal"),
        .sources = text_of(o, "sources"),
        .matcher = text_of(o, "matcher"),
    };
}

int mgc_op_run_end(struct mgc_service *s, const struct mgc_peer *peer, json_t *request,
                   json_t **ret_ok, struct mgc_err *err)
{
    json_t *o = json_object_get(request, "run_row");
    struct mgc_service_run run;
    struct mgc_run row;
    char who[80];
    int r = own_run(s, peer, request, &run, err);

    (void)ret_ok;
    if (r < 0)
        return r;
    if (!json_is_object(o))
        return wrong(err, "run_row");
    read_run(o, &run, &row);
    if (row.result <= MGC_RUN_RUNNING || row.result > MGC_RUN_FAILED)
        return wrong(err, "result");
    row.t0_us = row.t0_us > 0 && row.t0_us <= run.t0_us ? row.t0_us : run.t0_us;
    row.ended_us = s->os->now_us(s->os);
    r = s->catalog->ops->run_end(s->catalog, &row, err);
    if (r == 0 && row.complete)
        r = mgc_service_advance(s, err);
    mgc_service_say(s, row.result == MGC_RUN_REFUSED ? MGC_EVENT_REFUSED : MGC_EVENT_RUN, run.id,
                    row.refusal[0] != '\0' ? row.refusal : mgc_run_result_name(row.result),
                    mgc_peer_text(who, sizeof(who), peer));
    unclaim(s);
    return r;
}
