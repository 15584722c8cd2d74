/*
 * conf_priv.h -- the steps between a configuration file and struct mgc_conf.
 *
 * Role     text (conf_text.c) -> blocks and settings (conf_read.c, by libconfuse) -> values
 *          (conf_keys.c, one table) -> checks of values against each other (conf_check.c).
 * Layer    1.
 */
#ifndef MEDIAGCFS_SYS_CONF_PRIV_H
#define MEDIAGCFS_SYS_CONF_PRIV_H

#include "mediagcfs/bytes.h"
#include "mediagcfs/conf.h"

enum {
    MGC_CONF_WORD_BYTES = 64, /* longest name of a block, key or title */
    MGC_CONF_TEXT_BYTES_MAX = 1 << 20,
    MGC_CONF_BLOCKS_MAX = 512,
    MGC_CONF_SETTINGS_MAX = 65536,
};

struct mgc_conf_block {
    char name[MGC_CONF_WORD_BYTES], title[MGC_CONF_WORD_BYTES];
    int line;
};
struct mgc_conf_setting {
    char name[MGC_CONF_WORD_BYTES], title[MGC_CONF_WORD_BYTES]; /* of its block */
    const char *key;                                            /* of the table */
    char *value;
    int line;
};
/* A file as it was read, and where messages about it come from. */
struct mgc_conf_raw {
    const char *file;
    struct mgc_conf_block *blocks;
    size_t blocks_count;
    struct mgc_conf_setting *settings;
    size_t settings_count;
};
void mgc_conf_raw_done(struct mgc_conf_raw *raw);

/* "FILE:LINE: text" as MGC_E_CONFIG; line 0: the file as a whole. */
int mgc_conf_fail(struct mgc_err *err, const char *file, int line, const char *format, ...)
    MGC_PRINTF(4, 5);

/* conf_text.c: the text in a form libconfuse cannot misread; blocks with their lines. */
MGC_MUST_CHECK int mgc_conf_scan_text(struct mgc_conf_raw *raw, const char *text, size_t bytes,
                                      struct mgc_buf *out, struct mgc_err *err);
/* Whole file, at most `most` bytes, NUL-terminated; its faults become err. */
MGC_MUST_CHECK int mgc_conf_read_file(const char *path, size_t most, struct mgc_buf *out,
                                      struct mgc_err *err);

/* conf_read.c: runs libconfuse over the text of the scan. */
MGC_MUST_CHECK int mgc_conf_parse(struct mgc_conf_raw *raw, const char *text, struct mgc_err *err);

/* conf_keys.c: the table of keys. */
enum mgc_conf_kind {
    MGC_KEY_BOOL,
    MGC_KEY_WORD,      /* one of `words`, stored as an enumeration */
    MGC_KEY_WORD_BOOL, /* the same, stored as bool */
    MGC_KEY_DURATION,
    MGC_KEY_WAIT,     /* a duration, or `off`, which is 0 */
    MGC_KEY_SCHEDULE, /* a duration, `off`, or `feed` */
    MGC_KEY_TIMER,    /* a duration, or `off` */
    MGC_KEY_COUNT,    /* between `least` and `most` */
    MGC_KEY_LIMIT,    /* the same, or `off` */
    MGC_KEY_SIZE,     /* bytes, or `off` */
    MGC_KEY_MEMORY,   /* bytes, or `auto` */
    MGC_KEY_SHARE,    /* a share, or `off`, which is negative */
    MGC_KEY_LEVEL,    /* a share, or `off`, which is 0 */
    MGC_KEY_PATH,     /* absolute */
    MGC_KEY_TEXT,
    MGC_KEY_SECRET, /* text or @file */
    MGC_KEY_LIST,
    MGC_KEY_QUERIES, /* list of text or @file */
    MGC_KEY_GLOBS,
    MGC_KEY_COLUMNS,
    MGC_KEY_TABLES,
};
struct mgc_conf_key {
    const char *block, *key;
    enum mgc_conf_kind kind;
    size_t offset;        /* into struct mgc_conf, or the struct of the block */
    const char *standard; /* its default as a file would say it; NULL: none */
    const char *words;    /* MGC_KEY_WORD*: values separated by '|' in order of the enumeration */
    int64_t least, most;  /* microseconds or counts; both 0: no bounds */
    bool later;           /* its work belongs to a later version */
};
extern const struct mgc_conf_key mgc_conf_keys[];
extern const size_t mgc_conf_keys_count;
const struct mgc_conf_key *mgc_conf_key_find(const char *block, const char *key);
bool mgc_conf_is_block(const char *name);
bool mgc_conf_is_titled(const char *block);
bool mgc_conf_is_list(const struct mgc_conf_key *key);
/* Stores one value; the message says what was expected, without file and line. */
MGC_MUST_CHECK int mgc_conf_set(const struct mgc_conf_key *key, void *base, const char *value,
                                struct mgc_err *err);
/* Sets every default of a block. */
MGC_MUST_CHECK int mgc_conf_set_defaults(const char *block, void *base, struct mgc_err *err);
/* True when the value asks for something that a later version will do. */
bool mgc_conf_asks_later(const struct mgc_conf_key *key, const void *base);
MGC_MUST_CHECK int mgc_conf_list_add(struct mgc_conf_list *list, const char *text);
/* Explains an unknown block or key: near misses, where the key belongs, what there is. */
void mgc_conf_suggest(const char *block, const char *key, struct mgc_err *err);

/* conf_check.c: finishes what depends on other values; refuses what contradicts itself. */
MGC_MUST_CHECK int mgc_conf_check(struct mgc_conf *conf, const struct mgc_conf_raw *raw,
                                  struct mgc_err *err);
/* The part of it that concerns source, mountpoint and what must not lie in them. */
MGC_MUST_CHECK int mgc_conf_check_tree(struct mgc_conf *conf, const struct mgc_conf_raw *raw,
                                       struct mgc_err *err);
/* Places that were not given follow from others. */
MGC_MUST_CHECK int mgc_conf_fill_places(struct mgc_conf *conf, struct mgc_err *err);
MGC_MUST_CHECK int mgc_conf_notice(struct mgc_conf *conf, const char *format, ...) MGC_PRINTF(2, 3);
/* Absolute, without repeated or trailing slashes; -EINVAL (with a message) for anything else. */
MGC_MUST_CHECK int mgc_conf_clean_path(const char *text, char **ret_path, struct mgc_err *err);

/*
 * Follows a path whose last component is a symlink: a mount lands on its target, and is found and
 * unmounted there only.  0, -ENAMETOOLONG, -ELOOP or -ENOMEM; a path that is no link stays.
 */
MGC_MUST_CHECK int mgc_conf_follow(char **path);

#endif
