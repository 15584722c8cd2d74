/*
 * run_state.c -- what a run leaves for the next ones: the JSON in mgc_run.sources.
 *
 *   {"v":1, "t0":.., "complete":true, "brakes":["files"], "texts":["10 candidates, more than .."],
 *    "set":"16 hex", "recent":..,
 *    "recent_referenced":.., "sources":{"app":{"conf":"16 hex", "identity":"..", "progress":..,
 *    "position":"..", "fence":"..", "t0":.., "complete":true, "accepted":true, "references":..,
 *    "covered":["public.photo.image", ..]}}}
 *
 * brakes, texts and set: of a refused run, what `--approve` is about.  accepted: the identity is
 * the pinned one, or the first, or was approved.
 */
#include "fs/reconcile/run_priv.h"

#include <inttypes.h>
#include <xxhash.h>

json_t *mgc_state_text(const char *bytes)
{
    mgc_autobuf text = {0};

    if (bytes == NULL)
        return json_null();
    if (mgc_utf8_valid(bytes, strlen(bytes)))
        return json_string(bytes);
    mgc_buf_adds(&text, "\\x");
    mgc_buf_add_hex(&text, bytes, strlen(bytes));
    return text.failed ? NULL : json_string(text.data);
}

bool mgc_state_same(const char *stored, const char *bytes)
{
    json_t *text = mgc_state_text(bytes);
    const char *now = json_string_value(text);
    bool same = now != NULL && stored != NULL && strcmp(stored, now) == 0;

    json_decref(text);
    return same;
}

static json_t *source_state(const struct mgc_work_source *s)
{
    return json_pack(
        "{s:s, s:o, s:I, s:o, s:o, s:I, s:b, s:b, s:I, s:O}", "conf", s->conf_hash, "identity",
        mgc_state_text(s->view.identity), "progress", (json_int_t)s->view.progress, "position",
        mgc_state_text(s->view.position != NULL ? s->view.position : ""), "fence",
        mgc_state_text(s->view.fence), "t0", (json_int_t)s->view.t0_us, "complete",
        (int)s->complete, "accepted", (int)s->accepted, "references", (json_int_t)s->references,
        "covered", s->covered != NULL ? s->covered : json_null());
}

static json_t *brakes_state(const struct mgc_work *w)
{
    json_t *names = json_array();

    for (size_t i = 0; i < w->hits_count; i++)
        if (json_array_append_new(names, json_string(mgc_brake_name(w->hits[i].brake))) < 0) {
            json_decref(names);
            return NULL;
        }
    return names;
}

static json_t *texts_state(const struct mgc_work *w)
{
    json_t *texts = json_array();

    for (size_t i = 0; i < w->hits_count; i++)
        if (json_array_append_new(texts, mgc_state_text(w->hits[i].text)) < 0) {
            json_decref(texts);
            return NULL;
        }
    return texts;
}

int mgc_work_state(const struct mgc_work *w, struct mgc_buf *out, struct mgc_err *err)
{
    json_t *sources = json_object(), *root;
    bool complete = w->sources_count > 0, failed = false;
    char *text;

    for (size_t i = 0; i < w->sources_count; i++) {
        const struct mgc_work_source *s = &w->sources[i];

        complete = complete && s->complete;
        if (s->viewed)
            failed |= json_object_set_new(sources, s->source->name, source_state(s)) < 0;
    }
    root = json_pack("{s:i, s:I, s:b, s:o, s:o, s:s, s:I, s:I, s:o}", "v", 1, "t0",
                     (json_int_t)w->run.t0_us, "complete", (int)complete, "brakes", brakes_state(w),
                     "texts", texts_state(w), "set", w->set, "recent", (json_int_t)w->recent,
                     "recent_referenced", (json_int_t)w->recent_referenced, "sources", sources);
    text = root != NULL && !failed ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    if (text != NULL)
        mgc_buf_adds(out, text);
    free(text);
    if (text == NULL || out->failed)
        return mgc_err_set(err, -ENOMEM, "could not note what the run saw");
    return 0;
}

static void add_text(XXH3_state_t *state, const char *text)
{
    /* With the final NUL, and a mark for "none": no two configurations look alike. */
    (void)XXH3_64bits_update(state, text != NULL ? "+" : "-", 1);
    if (text != NULL)
        (void)XXH3_64bits_update(state, text, strlen(text) + 1);
}

static void add_list(XXH3_state_t *state, const struct mgc_conf_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        add_text(state, list->items[i]);
    add_text(state, NULL);
}

/* Where it is and as whom it is read does not count: that is what the identity is for. */
void mgc_work_hash_conf(const struct mgc_conf_references *conf, char *out)
{
    XXH3_state_t *state = XXH3_createState();
    char switches[64];

    out[0] = '\0';
    if (state == NULL)
        return; /* compares as changed: the waits restart */
    (void)XXH3_64bits_reset(state);
    (void)snprintf(switches, sizeof(switches), "%d %d %d %d %d", (int)conf->type,
                   (int)conf->format_nul, (int)conf->scan, (int)conf->binary,
                   (int)conf->large_objects);
    add_text(state, switches);
    add_text(state, conf->command);
    add_list(state, &conf->columns);
    add_list(state, &conf->query);
    add_list(state, &conf->ignore);
    (void)snprintf(out, 17, "%016" PRIx64, (uint64_t)XXH3_64bits_digest(state));
    (void)XXH3_freeState(state);
}

void mgc_work_matcher_text(const struct mgc_work *w, char *out, size_t out_bytes)
{
    mgc_autobuf all = {0};

    for (size_t i = 0; i < w->sources_count; i++)
        mgc_buf_addf(&all, "%s=%s\n", w->sources[i].source->name, w->sources[i].conf_hash);
    if (all.failed || all.data == NULL)
        (void)snprintf(out, out_bytes, "%s:?", MGC_MATCHER_VERSION);
    else
        (void)snprintf(out, out_bytes, "%s:%016" PRIx64, MGC_MATCHER_VERSION,
                       (uint64_t)XXH3_64bits(all.data, all.bytes));
}
