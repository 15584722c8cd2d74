/*
 * fuzz_text.c -- libFuzzer target: any bytes as a text, and any bytes as the paths of a tree.
 *
 * Input: paths, one per line, up to an empty line; then the text.  Checked beyond memory errors:
 * reading never fails, whatever the text, and what is reported missing is relative.
 *
 * Build and run:
 *   clang -g -O1 -std=gnu17 -D_GNU_SOURCE -DMGC_VERSION='"0"' -I. -Iinclude \
 *     -fsanitize=fuzzer,address,undefined tests/fuzz/fuzz_text.c fs/refs/canon.c fs/refs/forms.c \
 *     fs/refs/entities.c fs/refs/liveset.c fs/refs/textscan.c fs/refs/shortset.c \
 *     fs/refs/matcher.c fs/refs/readings.c fs/refs/unresolved.c fs/base/[a-z]*.c -lutf8proc \
 *     -o fuzz_text
 *   ./fuzz_text -max_len=4096 -timeout=10 corpus
 */
#include "mediagcfs/assert.h"
#include "mediagcfs/matcher.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PATHS_MAX = 64 };

struct tree {
    char *paths[PATHS_MAX];
    size_t count;
};

static void on_missing(void *arg, const char *path, size_t bytes)
{
    (void)arg;
    MGC_ASSERT(bytes > 0);
    MGC_ASSERT(path[0] != '/');
}

/* Takes the paths off the front; returns where the text begins. */
static size_t read_tree(struct tree *tree, struct mgc_matcher *m, const char *data, size_t size)
{
    size_t at = 0;

    while (at < size && data[at] != '\n') {
        const char *line = memchr(data + at, '\n', size - at);
        size_t bytes = line == NULL ? size - at : (size_t)(line - (data + at));
        char *path = strndup(data + at, bytes);

        MGC_ASSERT(path != NULL);
        at += bytes < size - at ? bytes + 1 : bytes;
        if (tree->count < PATHS_MAX && mgc_matcher_add(m, path, bytes % 7 == 6, NULL) == 0)
            tree->paths[tree->count++] = path;
        else
            free(path);
    }
    return at < size ? at + 1 : at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mgc_matcher_spec spec = {.seed = {1, 2}, .missing = on_missing};
    struct mgc_matcher *m = NULL;
    struct tree tree = {.count = 0};
    size_t at;
    bool whole;
    int r;

    r = mgc_matcher_new(&spec, &m, NULL);
    MGC_ASSERT(r == 0);
    at = read_tree(&tree, m, (const char *)data, size);
    r = mgc_matcher_seal(m, NULL);
    MGC_ASSERT(r == 0);
    r = mgc_matcher_text(m, (const char *)data + at, size - at, false, &whole, NULL);
    MGC_ASSERT(r == 0);
    for (uint32_t i = 0; i < tree.count; i++) {
        r = mgc_matcher_short_path(m, i, tree.paths[i]);
        MGC_ASSERT(r == 0);
    }
    mgc_matcher_short_done(m);
    for (uint32_t i = 0; i < tree.count; i++)
        free(tree.paths[i]);
    mgc_matcher_free(m);
    return 0;
}
