/* host.c -- what a run asks of the daemon, as control messages. */
#include "cli_priv.h"

static json_t *op(const char *name, int64_t run)
{
    return json_pack("{s:s,s:I}", "op", name, "run", (json_int_t)run);
}

static int host_begin(void *arg, bool apply, const char *approve, struct mgc_run *ret_run,
                      struct mgc_brake_facts *ret_facts, struct mgc_err *err)
{
    json_t *ok = NULL, *facts;
    int r = mgc_cli_call(arg,
                         json_pack("{s:s,s:b,s:s}", "op", "run.begin", "apply", apply, "approve",
                                   approve != NULL ? approve : ""),
                         &ok, err);

    if (r < 0)
        return r;
    ret_run->id = json_integer_value(json_object_get(ok, "run"));
    ret_run->t0_us = json_integer_value(json_object_get(ok, "t0_us"));
    facts = json_object_get(ok, "facts");
    ret_facts->tree_changed = json_is_true(json_object_get(facts, "tree_changed"));
    ret_facts->bypass = json_is_true(json_object_get(facts, "bypass"));
    ret_facts->clock_stepped = json_is_true(json_object_get(facts, "clock_stepped"));
    ret_facts->held = json_is_true(json_object_get(facts, "held"));
    json_decref(ok);
    return 0;
}

static int host_flush(void *arg, struct mgc_err *err)
{
    return mgc_cli_call(arg, json_pack("{s:s}", "op", "flush"), NULL, err);
}

static int host_writers(void *arg, int64_t run, uint64_t *inos, size_t *ret_count,
                        struct mgc_err *err)
{
    json_t *ok = NULL;
    const json_t *array;
    size_t count;
    int r = mgc_cli_call(arg, op("run.writers", run), &ok, err);

    if (r < 0)
        return r;
    array = json_object_get(ok, "inos");
    count = json_array_size(array);
    if (count > MGC_WRITERS_MAX)
        count = MGC_WRITERS_MAX;
    for (size_t i = 0; i < count; i++)
        inos[i] = (uint64_t)json_integer_value(json_array_get(array, i));
    *ret_count = count;
    json_decref(ok);
    return 0;
}

static json_t *ids_json(const int64_t *ids, size_t count)
{
    json_t *array = json_array();

    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(array, json_integer(ids[i]));
    return array;
}

/* Sends ids in messages of bounded size. */
static int send_ids(struct mgc_cli *cli, const char *name, int64_t run, const int64_t *ids,
                    size_t count, int64_t t0_us, struct mgc_err *err)
{
    int r = 0;

    for (size_t at = 0; r == 0 && at < count; at += MGC_IDS_PER_MESSAGE_MAX) {
        size_t part = count - at < MGC_IDS_PER_MESSAGE_MAX ? count - at : MGC_IDS_PER_MESSAGE_MAX;
        json_t *request = op(name, run);

        (void)json_object_set_new(request, "ids", ids_json(ids + at, part));
        (void)json_object_set_new(request, "t0_us", json_integer(t0_us));
        r = mgc_cli_call(cli, request, NULL, err);
    }
    return r;
}

static int host_orphans(void *arg, int64_t run, const int64_t *ids, size_t count,
                        struct mgc_err *err)
{
    return send_ids(arg, "run.orphans", run, ids, count, 0, err);
}

static int host_prove(void *arg, int64_t run, const int64_t *ids, size_t count, int64_t t0_us,
                      struct mgc_err *err)
{
    return send_ids(arg, "run.prove", run, ids, count, t0_us, err);
}

/* Text of a database may hold any bytes; JSON takes UTF-8 only. */
static json_t *lossy(const char *text)
{
    json_t *value = mgc_json_text(text != NULL ? text : "");

    return value != NULL ? value : json_string("");
}

static json_t *finding_json(const struct mgc_finding *f)
{
    static const char *const kinds[] = {"orphan", "suspect", "missing"};
    json_t *o = json_pack("{s:s,s:I,s:I,s:I,s:I,s:I}", "kind", kinds[f->kind], "entry",
                          (json_int_t)f->entry_id, "bytes", (json_int_t)f->bytes, "born_us",
                          (json_int_t)f->born_us, "opened_us", (json_int_t)f->opened_us, "runs",
                          (json_int_t)f->runs);

    mgc_json_set_path(o, f->path);
    (void)json_object_set_new(o, "verdict", lossy(f->verdict));
    (void)json_object_set_new(o, "reason", lossy(f->reason));
    (void)json_object_set_new(o, "source", lossy(f->source));
    (void)json_object_set_new(o, "table", lossy(f->table));
    (void)json_object_set_new(o, "column", lossy(f->column));
    (void)json_object_set_new(o, "text", lossy(f->text));
    return o;
}

static int host_findings(void *arg, int64_t run, const struct mgc_finding *rows, size_t count,
                         struct mgc_err *err)
{
    int r = 0;

    for (size_t at = 0; r == 0 && at < count; at += MGC_MOVE_BATCH_MAX) {
        size_t end = count - at < MGC_MOVE_BATCH_MAX ? count : at + MGC_MOVE_BATCH_MAX;
        json_t *request = op("run.findings", run), *array = json_array();

        for (size_t i = at; i < end; i++)
            (void)json_array_append_new(array, finding_json(&rows[i]));
        (void)json_object_set_new(request, "rows", array);
        r = mgc_cli_call(arg, request, NULL, err);
    }
    return r;
}

static json_t *candidate_json(const struct mgc_candidate *c)
{
    json_t *o = json_pack("{s:I,s:I,s:I,s:i,s:I}", "id", (json_int_t)c->entry_id, "ino",
                          (json_int_t)c->id.ino, "stamp", (json_int_t)c->id.stamp, "kind",
                          (int)c->id.kind, "horizon_us", (json_int_t)c->horizon_us);

    mgc_json_set_path(o, c->path);
    return o;
}

static int host_move(void *arg, int64_t run, const struct mgc_candidate *candidates, size_t count,
                     struct mgc_move_outcome *outcomes, struct mgc_err *err)
{
    json_t *request = op("run.move", run), *array = json_array(), *ok = NULL;
    const json_t *codes;
    int r;

    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(array, candidate_json(&candidates[i]));
    (void)json_object_set_new(request, "candidates", array);
    r = mgc_cli_call(arg, request, &ok, err);
    if (r < 0)
        return r;
    codes = json_object_get(ok, "outcomes");
    if (json_array_size(codes) != count)
        r = mgc_err_say(err, MGC_E_PROTOCOL, "the daemon answered for %zu of %zu files",
                        json_array_size(codes), count);
    for (size_t i = 0; r == 0 && i < count; i++) {
        const json_t *o = json_array_get(codes, i);

        outcomes[i].code = (int)json_integer_value(json_object_get(o, "code"));
        outcomes[i].held_id = json_integer_value(json_object_get(o, "held"));
        outcomes[i].bytes = json_integer_value(json_object_get(o, "bytes"));
    }
    json_decref(ok);
    return r;
}

static int host_heal(void *arg, int64_t run, int64_t held_id, struct mgc_err *err)
{
    json_t *request = op("run.heal", run);

    (void)json_object_set_new(request, "id", json_integer(held_id));
    return mgc_cli_call(arg, request, NULL, err);
}

static json_t *run_row(const struct mgc_run *run)
{
    json_t *o = json_object();
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {
        {"t0_us", run->t0_us},
        {"horizon_us", run->horizon_us},
        {"files", run->files},
        {"referenced", run->referenced},
        {"kept", run->kept},
        {"derived", run->derived},
        {"open", run->open},
        {"young", run->young},
        {"hot", run->hot},
        {"suspect", run->suspect},
        {"waiting", run->waiting},
        {"candidates", run->candidates},
        {"healed", run->healed},
        {"missing", run->missing},
        {"references", run->references},
        {"result", (int64_t)run->result},
    };

    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
        (void)json_object_set_new(o, numbers[i].name, json_integer(numbers[i].value));
    (void)json_object_set_new(o, "complete", json_boolean(run->complete));
    (void)json_object_set_new(o, "digest", lossy(run->digest));
    (void)json_object_set_new(o, "refusal", lossy(run->refusal));
    (void)json_object_set_new(o, "sources", lossy(run->sources));
    (void)json_object_set_new(o, "matcher", lossy(run->matcher));
    return o;
}

static int host_end(void *arg, const struct mgc_run *run, struct mgc_err *err)
{
    json_t *request = op("run.end", run->id);

    (void)json_object_set_new(request, "run_row", run_row(run));
    return mgc_cli_call(arg, request, NULL, err);
}

static int host_purge(void *arg, const int64_t *ids, size_t count, int64_t first_us,
                      int64_t second_us, bool now, int *outcomes, struct mgc_err *err)
{
    json_t *ok = NULL;
    const json_t *codes;
    int r = mgc_cli_call(arg,
                         json_pack("{s:s,s:o,s:I,s:I,s:b}", "op", "purge", "ids",
                                   ids_json(ids, count), "first_us", (json_int_t)first_us,
                                   "second_us", (json_int_t)second_us, "now", now),
                         &ok, err);

    if (r < 0)
        return r;
    codes = json_object_get(ok, "outcomes");
    if (json_array_size(codes) != count)
        r = mgc_err_say(err, MGC_E_PROTOCOL, "the daemon answered for %zu of %zu files",
                        json_array_size(codes), count);
    for (size_t i = 0; r == 0 && i < count; i++)
        outcomes[i] = (int)json_integer_value(json_array_get(codes, i));
    json_decref(ok);
    return r;
}

static void host_notice(void *arg, const char *text)
{
    const struct mgc_cli *cli = arg;

    if (cli->quiet)
        return;
    mgc_cli_progress_end();
    (void)fprintf(stderr, "mediagcfs: %s\n", text);
}

void mgc_cli_host(struct mgc_cli *cli)
{
    cli->host = (struct mgc_run_host){
        .arg = cli,
        .begin = host_begin,
        .flush = host_flush,
        .writers = host_writers,
        .orphans = host_orphans,
        .findings = host_findings,
        .move = host_move,
        .heal = host_heal,
        .prove = host_prove,
        .end = host_end,
        .purge = host_purge,
        .progress = mgc_cli_progress,
        .notice = host_notice,
    };
}
