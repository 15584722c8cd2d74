/* conf_suggest.c -- what an unknown block or key was probably meant to be. */
#include "fs/sys/conf_priv.h"

enum { FAR = 3 }; /* three or more changed letters are another word */

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;

    return least < c ? least : c;
}

/* Letters to insert, drop or replace; both words are names, shorter than MGC_CONF_WORD_BYTES. */
static size_t distance(const char *a, const char *b)
{
    size_t row[MGC_CONF_WORD_BYTES + 1], width = strlen(b);

    for (size_t j = 0; j <= width; j++)
        row[j] = j;
    for (size_t i = 0; a[i] != '\0'; i++) {
        size_t diagonal = row[0];

        row[0] = i + 1;
        for (size_t j = 0; j < width; j++) {
            size_t above = row[j + 1];

            row[j + 1] = min3(above + 1, row[j] + 1, diagonal + (a[i] != b[j]));
            diagonal = above;
        }
    }
    return row[width];
}

/* One list of what there is; blocks when `block` is NULL. */
static void list_names(const char *block, char *out, size_t out_bytes)
{
    const char *before = "";
    size_t used = 0;

    out[0] = '\0';
    for (size_t i = 0; i < mgc_conf_keys_count && used < out_bytes; i++) {
        const struct mgc_conf_key *key = &mgc_conf_keys[i];
        const char *name = block != NULL ? key->key : key->block;

        if ((block != NULL && strcmp(key->block, block) != 0) || strcmp(name, before) == 0)
            continue;
        used += (size_t)snprintf(out + used, out_bytes - used, "%s%s", used > 0 ? ", " : "", name);
        before = name;
    }
}

void mgc_conf_suggest(const char *block, const char *key, struct mgc_err *err)
{
    const char *wanted = key != NULL ? key : block, *best = NULL, *elsewhere = NULL;
    size_t best_distance = FAR;
    char names[240];

    if (strlen(wanted) >= MGC_CONF_WORD_BYTES)
        return;
    for (size_t i = 0; i < mgc_conf_keys_count; i++) {
        const struct mgc_conf_key *row = &mgc_conf_keys[i];
        const char *name = key != NULL ? row->key : row->block;
        size_t d;

        if (strcmp(row->key, wanted) == 0)
            elsewhere = row->block;
        if (key != NULL && strcmp(row->block, block) != 0)
            continue;
        d = distance(wanted, name);
        if (d < best_distance && d < strlen(name)) {
            best_distance = d;
            best = name;
        }
    }
    if (best != NULL) {
        (void)mgc_err_hint(err, "Did you mean '%s'?", best);
        return;
    }
    if (elsewhere != NULL) {
        (void)mgc_err_hint(err, "Key '%s' belongs into block '%s'.", wanted, elsewhere);
        return;
    }
    list_names(key != NULL ? block : NULL, names, sizeof(names));
    (void)mgc_err_hint(err, "There are: %s.", names);
}
