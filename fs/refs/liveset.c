/*
 * liveset.c -- see liveset_priv.h.
 *
 *   L1  Every directory above an added path has a node in the same space.
 *   L2  A key that several paths share leads to all of them (twins): a mention of it marks each.
 *   L3  Nobody without the seed can choose names whose fingerprints meet.
 */
#include "liveset_priv.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "mediagcfs/assert.h"
#include "mediagcfs/error.h"
#include "textscan_priv.h"

enum { CAPACITY_FIRST = 1024, TAIL_BYTES = 4, TAIL_BITS = 20, ROOT_TAIL_BITS = 16 };

__extension__ typedef unsigned __int128 wide;

int mgc_liveset_init(struct mgc_liveset *set, const uint64_t seed[2], int64_t bytes_max)
{
    _Static_assert(MGC_SECRET_BYTES == XXH3_SECRET_DEFAULT_SIZE, "length of an xxh3 secret");
    static const char names[MGC_SPACE_COUNT + 1] = "edfl";

    *set = (struct mgc_liveset){.bytes_max = bytes_max, .capacity = CAPACITY_FIRST};
    XXH3_generateSecret(set->secret, sizeof(set->secret), seed, 2 * sizeof(seed[0]));
    for (int i = 0; i < MGC_SPACE_COUNT; i++)
        set->roots[i] = mgc_liveset_print(set, &names[i], 1);
    set->seed_lead = mgc_liveset_print(set, &names[MGC_SPACE_COUNT], 1);
    set->prints = calloc(set->capacity, sizeof(*set->prints));
    set->values = calloc(set->capacity, sizeof(*set->values));
    if (set->prints == NULL || set->values == NULL) {
        mgc_liveset_done(set);
        return -ENOMEM;
    }
    return 0;
}

void mgc_liveset_done(struct mgc_liveset *set)
{
    free(set->prints);
    free(set->values);
    free(set->twins);
    *set = (struct mgc_liveset){0};
}

uint64_t mgc_liveset_print(const struct mgc_liveset *set, const void *bytes, size_t count)
{
    return XXH3_64bits_withSecret(bytes, count, set->secret, sizeof(set->secret));
}

static uint64_t mix(const struct mgc_liveset *set, uint64_t a, uint64_t b)
{
    uint64_t both[2] = {a, b};
    uint64_t print = XXH3_64bits_withSecret(both, sizeof(both), set->secret, sizeof(set->secret));

    return print == 0 ? 1 : print; /* 0 marks a free place */
}

uint64_t mgc_liveset_step(const struct mgc_liveset *set, uint64_t dir, const char *name,
                          size_t bytes)
{
    return mix(set, dir, mgc_liveset_print(set, name, bytes));
}

/* The place of a fingerprint, or the free one where it belongs. */
static size_t place_of(const uint64_t *prints, size_t capacity, uint64_t print)
{
    size_t at = (size_t)((wide)print * capacity >> 64);

    while (prints[at] != 0 && prints[at] != print)
        at = at + 1 == capacity ? 0 : at + 1;
    return at;
}

const uint32_t *mgc_liveset_find(const struct mgc_liveset *set, uint64_t print)
{
    size_t at = place_of(set->prints, set->capacity, print);

    return set->prints[at] == 0 ? NULL : &set->values[at];
}

bool mgc_liveset_has_lead(const struct mgc_liveset *set, uint64_t lead)
{
    return mgc_liveset_find(set, mix(set, lead, set->seed_lead)) != NULL;
}

int64_t mgc_liveset_memory(const struct mgc_liveset *set)
{
    return (int64_t)(sizeof(*set) + set->capacity * (sizeof(*set->prints) + sizeof(*set->values)) +
                     set->twins_capacity * sizeof(*set->twins));
}

/* Small sets double, large ones grow by a quarter: memory stays near what is needed. */
static int grow(struct mgc_liveset *set)
{
    size_t capacity =
        set->capacity < 1u << 20 ? set->capacity * 2 : set->capacity + set->capacity / 4;
    int64_t more = (int64_t)((capacity - set->capacity) * (sizeof(uint64_t) + sizeof(uint32_t)));
    mgc_autofree uint64_t *prints = NULL;
    mgc_autofree uint32_t *values = NULL;

    if (set->bytes_max > 0 && mgc_liveset_memory(set) + more > set->bytes_max) {
        set->over = true;
        return 0;
    }
    prints = calloc(capacity, sizeof(*prints));
    values = calloc(capacity, sizeof(*values));
    if (prints == NULL || values == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < set->capacity; i++) {
        size_t at;

        if (set->prints[i] == 0)
            continue;
        at = place_of(prints, capacity, set->prints[i]);
        prints[at] = set->prints[i];
        values[at] = set->values[i];
    }
    free(set->prints);
    free(set->values);
    set->prints = mgc_steal(prints);
    set->values = mgc_steal(values);
    set->capacity = capacity;
    return 0;
}

/* The value under a fingerprint, made with no path of its own if it is new. */
static int obtain(struct mgc_liveset *set, uint64_t print, uint32_t **ret)
{
    size_t at;

    if (set->used >= set->capacity / 4 * 3) {
        int r = grow(set);

        if (r < 0)
            return r;
        if (set->over)
            return MGC_E_LIMIT;
    }
    at = place_of(set->prints, set->capacity, print);
    if (set->prints[at] == 0) {
        set->prints[at] = print;
        set->values[at] = MGC_NODE_INDEX;
        set->used++;
    }
    *ret = &set->values[at];
    return 0;
}

static int new_twin(struct mgc_liveset *set, uint32_t index, uint32_t next, uint32_t *ret)
{
    if (set->twins_count + 1 >= set->twins_capacity) {
        size_t capacity = set->twins_capacity == 0 ? 16 : set->twins_capacity * 2;
        struct mgc_twin *twins = realloc(set->twins, capacity * sizeof(*twins));

        if (twins == NULL)
            return -ENOMEM;
        set->twins = twins;
        set->twins_capacity = capacity;
        if (set->twins_count == 0)
            set->twins_count = 1; /* 0 ends a list */
    }
    set->twins[set->twins_count] = (struct mgc_twin){.index = index, .next = next};
    *ret = (uint32_t)set->twins_count++;
    return 0;
}

/* Makes `index` one of the paths under a value (L2). */
static int attach(struct mgc_liveset *set, uint32_t *value, uint32_t index)
{
    uint32_t now = *value & MGC_NODE_INDEX, head = now;
    int r;

    if (now == MGC_NODE_INDEX) {
        *value = (*value & ~(uint32_t)MGC_NODE_INDEX) | index;
        return 0;
    }
    if ((*value & MGC_NODE_TWINS) == 0) {
        if (now == index)
            return 0;
        r = new_twin(set, now, 0, &head);
        if (r < 0)
            return r;
    }
    /* Keys of one path are added one after the other: it can only be the first. */
    if (set->twins[head].index == index)
        return 0;
    r = new_twin(set, index, head, &head);
    if (r < 0)
        return r;
    *value = (*value & ~(uint32_t)MGC_NODE_INDEX) | MGC_NODE_TWINS | head;
    return 0;
}

static void set_begin(struct mgc_liveset *set, enum mgc_space space, const char *name, size_t bytes)
{
    unsigned first = (unsigned char)name[0];

    set->in_use[space] = true;
    if (bytes == 1) {
        for (int i = 0; i < 4; i++) /* whatever follows */
            set->begins[space][first * 4 + (unsigned)i] = UINT64_MAX;
        return;
    }
    first = first << 8 | (unsigned char)name[1];
    set->begins[space][first / 64] |= (uint64_t)1 << (first % 64);
}

/* Notes that `dir` has a name with delimiters, and how that begins. */
static int add_spaced(struct mgc_liveset *set, enum mgc_space space, uint64_t dir, const char *name,
                      size_t bytes)
{
    size_t lead = mgc_scan_lead(name, bytes);
    uint64_t print = mgc_liveset_step(set, dir, name, lead);
    uint32_t *value;
    int r;

    set->any_spaced = true;
    set->spaced_lengths[bytes / 64] |= (uint64_t)1 << (bytes % 64);
    set->any_space = set->any_space || memchr(name, ' ', bytes) != NULL;
    set->any_double_quote = set->any_double_quote || memchr(name, '"', bytes) != NULL;
    set->any_quote =
        set->any_quote || memchr(name, '"', bytes) != NULL || memchr(name, '\'', bytes) != NULL;
    if (dir == set->roots[space]) {
        set->root_spaced[space] = true;
    } else {
        r = obtain(set, dir, &value);
        if (r < 0)
            return r;
        *value |= MGC_NODE_SPACED;
    }
    return obtain(set, mix(set, print, set->seed_lead), &value);
}

/* The node of dir/name. */
static int add_name(struct mgc_liveset *set, enum mgc_space space, uint64_t dir, const char *name,
                    size_t bytes, uint64_t *ret_print)
{
    uint32_t *value;
    int r = 0;

    if (bytes == 0 || bytes > MGC_NAME_BYTES_MAX)
        return -EINVAL; /* a derived spelling that no longer is a path */
    if (dir == set->roots[space])
        set_begin(set, space, name, bytes);
    if (!mgc_scan_is_plain(name, bytes))
        r = add_spaced(set, space, dir, name, bytes);
    if (r < 0)
        return r;
    *ret_print = mgc_liveset_step(set, dir, name, bytes);
    return obtain(set, *ret_print, &value);
}

/* The fingerprint of a directory, with nodes for it and all above it (L1). */
static int add_dirs(struct mgc_liveset *set, enum mgc_space space, const char *path, size_t bytes,
                    uint64_t *ret_print)
{
    struct mgc_liveset_cache *cache = &set->cache[space];
    uint64_t print = set->roots[space];

    if (cache->valid && cache->bytes == bytes && memcmp(cache->dir, path, bytes) == 0) {
        *ret_print = cache->print;
        return 0;
    }
    for (size_t at = 0; at < bytes;) {
        const char *slash = memchr(path + at, '/', bytes - at);
        size_t end = slash == NULL ? bytes : (size_t)(slash - path);
        uint32_t *value;
        int r = add_name(set, space, print, path + at, end - at, &print);

        if (r == 0)
            r = obtain(set, print, &value);
        if (r < 0)
            return r;
        *value |= MGC_NODE_DIR;
        at = end + 1;
    }
    cache->valid = bytes < sizeof(cache->dir);
    if (cache->valid) {
        memcpy(cache->dir, path, bytes);
        cache->bytes = bytes;
        cache->print = print;
    }
    *ret_print = print;
    return 0;
}

int mgc_liveset_add(struct mgc_liveset *set, enum mgc_space space, const char *path, size_t bytes,
                    uint32_t index, bool is_dir)
{
    const char *slash = memrchr(path, '/', bytes);
    size_t dir_bytes = slash == NULL ? 0 : (size_t)(slash - path);
    size_t at = slash == NULL ? 0 : dir_bytes + 1;
    uint64_t print;
    uint32_t *value;
    int r;

    if (index > MGC_LIVESET_INDEX_MAX)
        return MGC_E_LIMIT;
    if (set->over)
        return 0;
    r = add_dirs(set, space, path, dir_bytes, &print);
    if (r == 0)
        r = add_name(set, space, print, path + at, bytes - at, &print);
    if (r == 0)
        r = obtain(set, print, &value);
    if (r == 0) {
        *value |= is_dir ? (uint32_t)MGC_NODE_DIR : (uint32_t)MGC_NODE_FILE;
        r = attach(set, value, index);
    }
    return set->over ? 0 : r;
}

/* The last bytes of a last component, with its length where it is shorter. */
static uint64_t tail_key(const char *path, size_t bytes)
{
    unsigned char tail[TAIL_BYTES + 1] = {0};
    size_t have = 0;

    while (have < TAIL_BYTES && have < bytes && path[bytes - 1 - have] != '/') {
        tail[have] = (unsigned char)path[bytes - 1 - have];
        have++;
    }
    tail[TAIL_BYTES] = (unsigned char)have;
    return ((uint64_t)tail[0] << 32 | (uint64_t)tail[1] << 24 | (uint64_t)tail[2] << 16 |
            (uint64_t)tail[3] << 8 | tail[4]) *
           UINT64_C(0x9E3779B97F4A7C15);
}

static void set_bit(uint64_t *bits, uint64_t key, unsigned width)
{
    uint64_t bit = key >> (64 - width);

    bits[bit / 64] |= (uint64_t)1 << (bit % 64);
}

static bool has_bit(const uint64_t *bits, uint64_t key, unsigned width)
{
    uint64_t bit = key >> (64 - width);

    return (bits[bit / 64] >> (bit % 64) & 1) != 0;
}

void mgc_liveset_add_tail(struct mgc_liveset *set, const char *path, size_t bytes)
{
    uint64_t key = tail_key(path, bytes);

    set_bit(set->tails, key, TAIL_BITS);
    if (memchr(path, '/', bytes) == NULL)
        set_bit(set->root_tails, key, ROOT_TAIL_BITS);
}

void mgc_liveset_add_folded_tail(struct mgc_liveset *set, const char *folded, size_t bytes)
{
    set_bit(set->folded_tails, tail_key(folded, bytes), TAIL_BITS);
}

bool mgc_liveset_has_tail(const struct mgc_liveset *set, const char *path, size_t bytes)
{
    return has_bit(set->tails, tail_key(path, bytes), TAIL_BITS);
}

bool mgc_liveset_has_root_tail(const struct mgc_liveset *set, const char *path, size_t bytes)
{
    return has_bit(set->root_tails, tail_key(path, bytes), ROOT_TAIL_BITS);
}

bool mgc_liveset_may_have_folded_tail(const struct mgc_liveset *set, const char *path, size_t bytes)
{
    size_t tail = bytes < TAIL_BYTES ? bytes : TAIL_BYTES;
    char folded[TAIL_BYTES];

    for (size_t i = 0; i < tail; i++) {
        char c = path[bytes - tail + i];

        if ((unsigned char)c >= 0x80)
            return true; /* folding may change its length */
        if (c >= 'A' && c <= 'Z')
            c = (char)(c + ('a' - 'A'));
        folded[i] = (char)(c == '+' ? ' ' : c == '\\' ? '/' : c);
    }
    return has_bit(set->folded_tails, tail_key(folded, tail), TAIL_BITS);
}
