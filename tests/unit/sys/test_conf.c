/* test_conf.c -- configuration files: what they mean, what is refused and where, the sample. */
#include "scratch.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "fs/sys/conf_priv.h"
#include "mediagcfs/conf.h"

#define MINUTE (60 * INT64_C(1000000))
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

static struct mgc_err err;

static struct mgc_conf *load(const char *text)
{
    struct mgc_conf *conf = NULL;

    scratch_write("shop.conf", text);
    memset(&err, 0, sizeof(err));
    if (mgc_conf_load(scratch_path("shop.conf"), &conf, &err) != 0)
        return NULL;
    assert_int_equal(err.code, 0);
    return conf;
}

/* Loads what must be fine. */
static struct mgc_conf *good(const char *text)
{
    struct mgc_conf *conf = load(text);

    if (conf == NULL)
        fail_msg("%s\n%s", text, err.text);
    return conf;
}

static bool noticed(const struct mgc_conf *conf, const char *text)
{
    for (size_t i = 0; i < conf->notices.count; i++)
        if (strstr(conf->notices.items[i], text) != NULL)
            return true;
    return false;
}

static void units_are_exact(void **state)
{
    static const struct {
        const char *text;
        int r;
        int64_t want;
    } durations[] =
        {
            {"200ms", 0, 200000},
            {"30s", 0, 30 * INT64_C(1000000)},
            {"15m", 0, 15 * MINUTE},
            {"24h", 0, DAY},
            {"30d", 0, 30 * DAY},
            {"0", 0, 0},
            {"0s", 0, 0},
            {"000", 0, 0},
            {"36500d", 0, 36500 * DAY},
            {"36501d", -ERANGE, 0},
            {"9223372036854775807d", -ERANGE, 0},
            {"99999999999999999999s", -ERANGE, 0},
            {"99999999999999999999", -EINVAL, 0},
            {"", -EINVAL, 0},
            {"24", -EINVAL, 0},
            {"h", -EINVAL, 0},
            {"-1h", -EINVAL, 0},
            {"+1h", -EINVAL, 0},
            {"1.5h", -EINVAL, 0},
            {"1h30m", -EINVAL, 0},
            {" 1h", -EINVAL, 0},
            {"1h ", -EINVAL, 0},
            {"1H", -EINVAL, 0},
            {"off", -EINVAL, 0},
        },
      sizes[] = {
          {"0", 0, 0},
          {"123", 0, 123},
          {"64K", 0, 65536},
          {"64k", 0, 65536},
          {"200M", 0, 200 * INT64_C(1048576)},
          {"10G", 0, 10 * INT64_C(1073741824)},
          {"2T", 0, INT64_C(2) << 40},
          {"9223372036854775807", 0, INT64_MAX},
          {"9223372036854775808", -ERANGE, 0},
          {"9000000000T", -ERANGE, 0},
          {"", -EINVAL, 0},
          {"K", -EINVAL, 0},
          {"1KB", -EINVAL, 0},
          {"1.5G", -EINVAL, 0},
          {"-1", -EINVAL, 0},
          {"1P", -EINVAL, 0},
      };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(durations); i++) {
        int64_t us = 77;

        if (mgc_conf_duration(durations[i].text, &us) != durations[i].r ||
            us != (durations[i].r == 0 ? durations[i].want : 77))
            fail_msg("duration '%s'", durations[i].text);
    }
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        int64_t bytes = 77;

        if (mgc_conf_size(sizes[i].text, &bytes) != sizes[i].r ||
            bytes != (sizes[i].r == 0 ? sizes[i].want : 77))
            fail_msg("size '%s'", sizes[i].text);
    }
}

static void shares_are_never_misread(void **state)
{
    static const struct {
        const char *text;
        int r, want_per_mille;
    } rows[] = {
        {"10%", 0, 100},     {"0.1", 0, 100},     {"12.5%", 0, 125},    {"100%", 0, 1000},
        {"1.0", 0, 1000},    {"0", 0, 0},         {"0%", 0, 0},         {"101%", -ERANGE, 0},
        {"1.1", -ERANGE, 0}, {"1", -EINVAL, 0},   {"10", -EINVAL, 0},   {"", -EINVAL, 0},
        {"%", -EINVAL, 0},   {".1", -EINVAL, 0},  {"1.", -EINVAL, 0},   {"-1%", -EINVAL, 0},
        {"1%%", -EINVAL, 0}, {"0,1", -EINVAL, 0}, {"1e-1", -EINVAL, 0}, {"nan", -EINVAL, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        double share = 77;

        if (mgc_conf_share(rows[i].text, &share) != rows[i].r ||
            (rows[i].r == 0 ? (int)(share * 1000 + 0.5) != rows[i].want_per_mille : share < 77))
            fail_msg("share '%s'", rows[i].text);
    }
}

static void the_least_configuration(void **state)
{
    struct mgc_conf *c = good("filesystem { source = /srv/media }\n");

    (void)state;
    assert_string_equal(c->file, scratch_path("shop.conf"));
    assert_string_equal(c->name, "shop");
    assert_string_equal(c->filesystem.source, "/srv/media");
    assert_string_equal(c->filesystem.mountpoint, "/srv/media");
    assert_int_equal(c->filesystem.allow_other, geteuid() == 0);
    assert_int_equal(c->filesystem.passthrough, MGC_SWITCH_AUTO);
    assert_int_equal(c->filesystem.io_uring, MGC_SWITCH_AUTO);
    assert_int_equal(c->filesystem.xattr, MGC_SWITCH_AUTO);
    assert_int_equal(c->filesystem.cache_for_us, DAY);
    assert_string_equal(c->catalog.directory, "/var/lib/mediagcfs/shop");
    assert_int_equal(c->catalog.commit_every_us, 1000000);
    assert_int_equal(c->catalog.open_resolution_us, HOUR);
    assert_int_equal(c->catalog.uncounted.count, 0);
    assert_null(c->catalog.group);
    assert_int_equal(c->references_count, 0);
    assert_int_equal(c->keep.count, 0);
    assert_int_equal(c->derived_count, 0);
    assert_int_equal(c->reconcile.mode, MGC_MODE_SHADOW);
    assert_int_equal(c->reconcile.every_us, 6 * HOUR);
    assert_int_equal(c->reconcile.grace_us, DAY);
    assert_int_equal(c->reconcile.confirmations, 2);
    assert_int_equal(c->reconcile.confirm_over_us, 12 * HOUR);
    assert_int_equal(c->reconcile.hot_for_us, 7 * DAY);
    assert_int_equal(c->reconcile.max_files, 10000);
    assert_int_equal(c->reconcile.max_bytes, MGC_CONF_OFF);
    assert_int_equal((int)(c->reconcile.max_share * 1000 + 0.5), 100);
    assert_int_equal((int)(c->reconcile.max_fall * 1000 + 0.5), 200);
    assert_int_equal((int)(c->reconcile.control_share * 1000 + 0.5), 500);
    assert_int_equal(c->reconcile.fence_for_us, MINUTE);
    assert_int_equal(c->reconcile.memory_bytes, MGC_CONF_AUTO);
    assert_null(c->reconcile.user);
    assert_int_equal(c->reconcile.settle_us, MINUTE);
    assert_int_equal(c->quarantine.retention_us, 30 * DAY);
    assert_int_equal(c->quarantine.min_retention_us, 7 * DAY);
    assert_int_equal(c->quarantine.max_bytes, MGC_CONF_OFF);
    assert_false(c->quarantine.keep_deleted);
    assert_int_equal(c->quarantine.deleted_retention_us, 7 * DAY);
    assert_int_equal(c->quarantine.temporary_for_us, 10 * MINUTE);
    assert_int_equal((int)(c->quarantine.low_space_share * 1000 + 0.5), 50);
    assert_int_equal(c->quarantine.heal, MGC_HEAL_RESTORE);
    assert_int_equal(c->purge.mode, MGC_MODE_SHADOW);
    assert_int_equal(c->purge.every_us, DAY);
    assert_int_equal(c->purge.rate, MGC_CONF_OFF);
    assert_string_equal(c->web.listen, "127.0.0.1:8420");
    assert_null(c->web.secret);
    assert_false(c->web.read_only);
    assert_false(c->web.given);
    assert_string_equal(c->log.file, "/var/lib/mediagcfs/shop/events.jsonl");
    assert_int_equal(c->log.level, MGC_CONF_INFO);
    assert_int_equal(c->notices.count, 0);
    mgc_conf_free(c);
}

static void every_value_arrives(void **state)
{
    struct mgc_conf *c = good(
        "filesystem { source = /a mountpoint = /b allow_other = no passthrough = off\n"
        "  xattr = on cache_for = 5m }\n"
        "catalog { directory = /c commit_every = 200ms open_resolution = 10m }\n"
        "references pg { type = postgresql conninfo = \"host=db dbname='x y'\" scan = columns\n"
        "  columns = {t.c, s.t.c} query = {'SELECT 1', \"SELECT 'a'\"} ignore = {log, s.log}\n"
        "  binary = off timeout = 30m }\n"
        "references lite { type = sqlite database = /d/x.sqlite3 }\n"
        "references cmd { type = command command = 'list | sort -u' format = nul }\n"
        "keep { pattern = {*.bak, 'a b/**', /x/[a-c]?, robots.txt} }\n"
        "reconcile { mode = apply every = off grace = 1h confirmations = 1 confirm_over = off\n"
        "  hot_for = off max_files = off max_bytes = 10G max_share = off max_fall = 0.5\n"
        "  control = off fence_for = 10s user = www-data }\n"
        "quarantine { retention = 8d min_retention = 2d heal = off }\n"
        "purge { mode = apply every = off }\n"
        "log { file = /e/log.jsonl level = debug }\n");
    const struct mgc_conf_references *ref = c->references;

    (void)state;
    assert_string_equal(c->filesystem.mountpoint, "/b");
    assert_false(c->filesystem.allow_other);
    assert_int_equal(c->filesystem.passthrough, MGC_SWITCH_OFF);
    assert_int_equal(c->filesystem.xattr, MGC_SWITCH_ON);
    assert_int_equal(c->filesystem.cache_for_us, 5 * MINUTE);
    assert_string_equal(c->catalog.directory, "/c");
    assert_int_equal(c->catalog.commit_every_us, 200000);
    assert_int_equal(c->references_count, 3);
    assert_string_equal(ref[0].name, "pg");
    assert_int_equal(ref[0].type, MGC_TYPE_POSTGRESQL);
    assert_string_equal(ref[0].conninfo, "host=db dbname='x y'");
    assert_int_equal(ref[0].scan, MGC_SCAN_COLUMNS);
    assert_int_equal(ref[0].columns.count, 2);
    assert_string_equal(ref[0].columns.items[1], "s.t.c");
    assert_null(ref[0].columns.items[2]);
    assert_string_equal(ref[0].query.items[0], "SELECT 1");
    assert_string_equal(ref[0].query.items[1], "SELECT 'a'");
    assert_string_equal(ref[0].ignore.items[0], "log");
    assert_false(ref[0].binary);
    assert_int_equal(ref[0].timeout_us, 30 * MINUTE);
    assert_int_equal(ref[0].jobs, 1);
    assert_int_equal(ref[0].line, 4);
    assert_int_equal(ref[1].type, MGC_TYPE_SQLITE);
    assert_string_equal(ref[1].database, "/d/x.sqlite3");
    assert_true(ref[1].binary);
    assert_string_equal(ref[1].conninfo, "");
    assert_int_equal(ref[1].line, 7);
    assert_int_equal(ref[2].type, MGC_TYPE_COMMAND);
    assert_string_equal(ref[2].command, "list | sort -u");
    assert_true(ref[2].format_nul);
    assert_int_equal(ref[2].timeout_us, 2 * HOUR);
    assert_int_equal(c->keep.count, 4);
    assert_string_equal(c->keep.items[0], "*.bak");
    assert_string_equal(c->keep.items[1], "a b/**");
    assert_string_equal(c->keep.items[2], "/x/[a-c]?");
    assert_int_equal(c->reconcile.mode, MGC_MODE_APPLY);
    assert_int_equal(c->reconcile.every_us, MGC_CONF_OFF);
    assert_int_equal(c->reconcile.confirm_over_us, 0);
    assert_int_equal(c->reconcile.hot_for_us, 0);
    assert_int_equal(c->reconcile.max_files, MGC_CONF_OFF);
    assert_int_equal(c->reconcile.max_bytes, 10 * INT64_C(1073741824));
    assert_true(c->reconcile.max_share < 0);
    assert_true(c->reconcile.control_share < 0);
    assert_string_equal(c->reconcile.user, "www-data");
    assert_int_equal(c->quarantine.heal, MGC_HEAL_OFF);
    assert_int_equal(c->purge.mode, MGC_MODE_APPLY);
    assert_int_equal(c->purge.every_us, MGC_CONF_OFF);
    assert_string_equal(c->log.file, "/e/log.jsonl");
    assert_int_equal(c->log.level, MGC_CONF_DEBUG);
    mgc_conf_free(c);
}

/* One value in its block, and what it is read as. */
static void values_are_read_as_written(void **state)
{
    static const struct {
        const char *written, *want;
    } rows[] = {
        {"a-b_c", "a-b_c"},
        {"\"a b\"", "a b"},
        {"'a b'", "a b"},
        {"postgresql://u:p%40@h:5432/d?x", "postgresql://u:p%40@h:5432/d?x"},
        {"a*b", "a*b"}, /* libconfuse alone: "ab" */
        {"a+b", "a+b"}, /* the same */
        {"a#b", "a#b"}, /* libconfuse alone: "a" */
        {"a/*b", "a/*b"},
        {"a//b", "a//b"},
        {"@b", "@b"},
        {"!a~b^c|d&e<f>g`h", "!a~b^c|d&e<f>g`h"},
        {"a$b", "a$b"},
        {"\\\\d", "\\\\d"},
        {"caf\xC3\xA9", "caf\xC3\xA9"},
        {"caf\xE9", "caf\xE9"},
        {"'${HOME} \\d+ \"x\" $1'", "${HOME} \\d+ \"x\" $1"},
        {"'it\\'s \\\\ \\n'", "it's \\ \\n"},
        {"\"it's \\\"x\\\" \\\\ a\\tb\\nc\"", "it's \"x\" \\ a\tb\nc"},
        {"\"a\nb\"", "a\nb"},
        {"'a\nb'", "a\nb"},
        {"\"a\\\nb\"", "ab"},
        {"\"# no comment /* here // \"", "# no comment /* here // "},
        {"'{a, b} = (c);'", "{a, b} = (c);"},
        {"\"$1 $x %s %n\"", "$1 $x %s %n"},
        {"x# no comment", NULL}, /* 'x#' and then words that are no keys */
        {"x # comment", "x"},
        {"x // comment", "x"},
        {"x /* comment */", "x"},
        {"/* before */ x", "x"},
        {"# before\n x", "x"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char text[512];
        struct mgc_conf *c;

        (void)snprintf(text, sizeof(text),
                       "filesystem { source = /a }\nreconcile { user = %s\n grace = 5h }\n",
                       rows[i].written);
        c = load(text);
        if (rows[i].want == NULL) {
            assert_null(c);
            continue;
        }
        if (c == NULL)
            fail_msg("%s: %s", rows[i].written, err.text);
        assert_string_equal(c->reconcile.user, rows[i].want);
        assert_int_equal(c->reconcile.grace_us, 5 * HOUR); /* nothing was swallowed */
        mgc_conf_free(c);
    }
}

static void form_is_free(void **state)
{
    static const char *const same[] = {
        "filesystem{source=/a}keep{pattern={x,y}}",
        "filesystem {\n\tsource\n=\n/a\n}\n\nkeep\n{\npattern = {\nx,\n y,\n}\n}",
        "\xEF\xBB\xBF"
        "filesystem { source = /a }\r\nkeep { pattern = {x, y} }\r\n",
        "# c\nfilesystem { # c\n source = \"/a\" // c\n }\n/* c\n * c */ keep { pattern = {'x', # "
        "c\n "
        "\"y\"} }",
        "filesystem { source = '/a/' }\nkeep { pattern = {x} pattern += {y} }",
        "keep { pattern = {x, y} } filesystem { source = //a///./ }",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
        struct mgc_conf *c = load(same[i]);

        if (i == 5) { /* "//a" might be a comment: it has to be said which */
            assert_null(c);
            continue;
        }
        if (c == NULL)
            fail_msg("%zu: %s", i, err.text);
        assert_string_equal(c->filesystem.source, "/a");
        assert_int_equal(c->keep.count, 2);
        assert_string_equal(c->keep.items[0], "x");
        assert_string_equal(c->keep.items[1], "y");
        mgc_conf_free(c);
    }
}

#define TREE "filesystem { source = /a }\n"

static void mistakes_are_named_with_their_line(void **state)
{
    static const struct {
        const char *text;
        int line;
        const char *want, *hint;
    } rows[] = {
        /* names */
        {"filesystem { source = /a\n scource = /b }", 2, "unknown key 'scource' in 'filesystem'",
         "Did you mean 'source'?"},
        {TREE "reconcile { gracee = 1h }", 2, "unknown key 'gracee' in 'reconcile'",
         "Did you mean 'grace'?"},
        {TREE "quarantine { grace = 1h }", 2, "unknown key 'grace' in 'quarantine'",
         "Key 'grace' belongs into block 'reconcile'."},
        {TREE "log { colour = 1 }", 2, "unknown key 'colour' in 'log'", "There are: file, level."},
        {TREE "log { 'file|x' = /y }", 2, "'file|x' is not a name", ""},
        {TREE "purje { }", 2, "unknown block 'purje'", "Did you mean 'purge'?"},
        {TREE "nonsense { }", 2, "unknown block 'nonsense'", "There are: filesystem, catalog"},
        {TREE "grace = 1h", 2, "key 'grace' stands outside every block", "block 'reconcile'"},
        {TREE "\n\nreferences { type = sqlite }", 4, "block 'references' needs a name",
         "references NAME { ... }"},
        {TREE "log x { }", 2, "block 'log' has no name", ""},
        {TREE "references a { type = postgresql }\nreferences a { type = postgresql }", 3,
         "block 'references a' stands here and at line 2", ""},
        {TREE "log { level = info }\nlog { file = /l }", 3, "block 'log' stands here and at line 2",
         ""},
        {"filesystem { source = /a source = /b }", 1, "key 'source' is given twice", ""},
        {TREE "keep { pattern = {x}\n pattern = {y} }", 3, "key 'pattern' is given twice", ""},
        /* form */
        {TREE "log { level = info", 2, "a block that begins here has no '}'", ""},
        {TREE "log { level = info\n\nreferences a { type = sqlite }", 4,
         "block 'references' begins inside the one of line 2", ""},
        {TREE "log { level info }", 2, "'=' is missing after 'level'", ""},
        {TREE "log { level }", 2, "key 'level' has no value", ""},
        {TREE "log { level = }", 2, "key 'level' has no value", ""},
        {TREE "log { file = /a b }", 2, "key 'b' has no value", "a value with spaces needs quotes"},
        {TREE "log { level = info } }", 2, "a '}' without its '{'", ""},
        {TREE "log", 2, "'log' is not finished", ""},
        {TREE "keep { pattern = {x, y", 2, "a list that begins here has no '}'", ""},
        {TREE "keep { pattern = {x y} }", 2, "unexpected token 'y'", ""},
        {TREE "log { level = {info} }", 2, "unexpected token '{'", ""},
        {TREE "log { level = info, }", 2, "a comma outside a list", ""},
        {TREE "log { level = a=b }", 2, "an '=' where none belongs", "needs quotes"},
        {TREE "log { level == info }", 2, "an '=' where none belongs", ""},
        {TREE "{ }", 2, "a '{' that belongs to nothing", ""},
        {TREE "include(\"/etc/passwd\")", 2, "outside quotes", "single quotes"},
        {TREE "log { level = 'in'fo }", 2, "only a part is in quotes", ""},
        {TREE "log { level = in'fo' }", 2, "only a part is in quotes", ""},
        {TREE "log {\n level = 'info\n}\n", 3, "a quote that begins here does not end", ""},
        {TREE "log {\n level = \"info\n}\n", 3, "a quote that begins here does not end", ""},
        {TREE "\n/* log {\n level = info }", 3, "a comment that begins here does not end", ""},
        {TREE "keep { pattern = {/*/x/*, y} }", 2, "a value that begins like a comment", "quotes"},
        {TREE "keep { pattern = {#x#} }", 2, "a value that begins like a comment", "quotes"},
        {TREE "log { file = //x }", 2, "a value that begins like a comment", "quotes"},
        {TREE "log { file = \"${HOME}/x\" }", 2, "'${' is not replaced here", "single quotes"},
        {TREE "log { file = ${HOME} }", 2, "'${' outside quotes", "single quotes"},
        {TREE "log { file = \"/a\\d\" }", 2, "a backslash that means nothing here", "\\\\"},
        {TREE "log { file = /a\x01 }", 2, "a control character outside quotes", ""},
        {TREE "log { file = /a\rb }", 2, "a control character outside quotes", ""},
        {TREE "/* two\nlines */ log { /* x */\n bad = 1 }", 4, "unknown key 'bad'", ""},
        /* values */
        {TREE "reconcile { grace = 24 }", 2, "key 'grace' in 'reconcile': '24' is not a duration",
         "24h"},
        {TREE "reconcile { grace = off }", 2, "'off' is not a duration", ""},
        {TREE "reconcile { grace = 101000d }", 2, "'101000d' is out of range", ""},
        {TREE "catalog { commit_every = 2h }", 2, "'2h' is out of range", ""},
        {TREE "reconcile { every = feeds }", 2, "'feeds' is not a duration", "`feed`"},
        {TREE "purge { every = feed }", 2, "'feed' is not a duration", "`off`"},
        {TREE "reconcile { max_files = -1 }", 2, "'-1' is not a number or `off`", ""},
        {TREE "reconcile { max_files = 99999999999999999999 }", 2, "is out of range", ""},
        {TREE "reconcile { confirmations = 0 }", 2, "'0' is out of range", ""},
        {TREE "reconcile { confirmations = off }", 2, "'off' is not a number", ""},
        {TREE "reconcile { max_bytes = 10GB }", 2, "'10GB' is not a size", "10G"},
        {TREE "reconcile { memory = 1K }", 2, "'1K' is out of range", ""},
        {TREE "reconcile { max_share = 1 }", 2, "'1' is not a share", "10%"},
        {TREE "reconcile { max_share = 110% }", 2, "'110%' is out of range", ""},
        {TREE "reconcile { mode = delete }", 2, "'delete' is not possible here",
         "Possible: shadow, apply."},
        {"filesystem { source = /a passthrough = on }", 1, "'on' is not possible here",
         "Possible: off, auto."},
        {"filesystem { source = /a allow_other = maybe }", 1, "'maybe' is not yes or no", ""},
        {TREE "log { level = '' }", 2, "key 'level' has an empty value", ""},
        {TREE "keep { pattern = {'[a'} }", 2, "'[a' is not a pattern", ""},
        {TREE "keep { pattern = {cache/} }", 2, "it ends with '/'", "**"},
        /* places */
        {"filesystem { source = media }", 1, "'media' is not an absolute path", "from '/' on"},
        {"filesystem { source = ~/media }", 1, "is not an absolute path", ""},
        {"filesystem { source = /a/../b }", 1, "has a '..' in it", ""},
        {"filesystem { source = / }", 1, "'source' must not be the root directory", ""},
        {"filesystem { source = /a mountpoint = / }", 1, "'mountpoint' must not be the root", ""},
        {"filesystem { source = /a mountpoint = /a/b }", 1, "lie in each other", ""},
        {"filesystem { source = /a/b mountpoint = /a }", 1, "lie in each other", ""},
        {TREE "catalog { directory = /a/c }", 2, "'directory' of 'catalog' lies in the media tree",
         "anywhere else"},
        {TREE "catalog { directory = //a//c }", 2, "like a comment", ""},
        {TREE "log { file = /a/x.jsonl }", 2, "'file' of 'log' lies in the media tree '/a'", ""},
        {"filesystem { source = /b mountpoint = /a }\nlog { file = /b/x }", 2, "media tree '/b'",
         ""},
        {"filesystem { source = /var }", 0, "'directory' of 'catalog' lies in the media tree", ""},
        {TREE "web { textfile = /a/x }", 2, "'textfile' of 'web' lies in the media tree", ""},
        {"reconcile { }", 0, "key 'source' is missing in 'filesystem'", "source = "},
        {"filesystem { }", 1, "key 'source' is missing in 'filesystem'", ""},
        {"", 0, "key 'source' is missing in 'filesystem'", ""},
        /* references and rules */
        {TREE "references x { }", 2, "key 'type' is missing in 'references x'", ""},
        {TREE "references x { type = mysql }", 2, "'mysql' is not possible here",
         "postgresql, sqlite, command"},
        {TREE "references x { type = sqlite }", 2, "key 'database' is missing", ""},
        {TREE "references x { type = sqlite database = db }", 2, "is not an absolute path", ""},
        {TREE "references x { type = command }", 2, "key 'command' is missing", ""},
        {TREE "references x { type = postgresql\n database = /d }", 3,
         "key 'database' has no meaning where type is postgresql", ""},
        {TREE "references x { type = sqlite database = /d\n conninfo = x }", 3,
         "key 'conninfo' has no meaning where type is sqlite", ""},
        {TREE "references x { type = command command = x\n columns = {a.b} }", 3,
         "key 'columns' has no meaning where type is command", ""},
        {TREE "references x { type = postgresql\n scan = columns }", 3, "'scan = columns' without",
         "everything"},
        {TREE "references x { type = postgresql columns = {a} }", 2, "'a' is not table.column", ""},
        {TREE "references x { type = postgresql columns = {a..b} }", 2, "'a..b' is not", ""},
        {TREE "references x { type = postgresql columns = {a.b.c.d} }", 2, "'a.b.c.d' is not", ""},
        {TREE "references x { type = postgresql ignore = {a.b.c} }", 2, "'a.b.c' is not a table",
         ""},
        {TREE "references x { type = postgresql query = {@q.sql} }", 2,
         "'q.sql' is not an absolute path", "@/etc"},
        {TREE "references x { type = postgresql query = {@/none/q.sql} }", 2,
         "could not open file '/none/q.sql': No such file", ""},
        {TREE "references x { type = postgresql jobs = 0 }", 2, "'0' is out of range", ""},
        {TREE "derived x { child = a }", 2, "'derived x' needs", ""},
        {TREE "derived x { child = a parent = b scheme = c }", 2, "'derived x' needs", ""},
        {TREE "quarantine { retention = 1d\n min_retention = 2d }", 3,
         "'min_retention' is longer than 'retention'", ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct mgc_conf *c = load(rows[i].text);
        char where[128];

        if (c != NULL)
            fail_msg("accepted: %s", rows[i].text);
        if (rows[i].line > 0)
            (void)snprintf(where, sizeof(where), "%s:%d: ", scratch_path("shop.conf"),
                           rows[i].line);
        else
            (void)snprintf(where, sizeof(where), "%s: ", scratch_path("shop.conf"));
        if (err.code != MGC_E_CONFIG || strncmp(err.text, where, strlen(where)) != 0 ||
            strstr(err.text, rows[i].want) == NULL || strstr(err.hint, rows[i].hint) == NULL)
            fail_msg("%s\n  got: %s (%s)\n  want: %s%s (%s)", rows[i].text, err.text, err.hint,
                     where, rows[i].want, rows[i].hint);
    }
}

static void a_bad_file_leaves_nothing(void **state)
{
    struct mgc_conf *untouched = (struct mgc_conf *)0x77, *conf = untouched;

    (void)state;
    assert_int_equal(mgc_conf_load(scratch_path("none.conf"), &conf, &err), -ENOENT);
    assert_non_null(strstr(err.text, "could not open configuration '"));
    assert_int_equal(mgc_conf_load(scratch, &conf, &err), -EISDIR);
    scratch_write("bad name.conf", TREE);
    assert_int_equal(mgc_conf_load(scratch_path("bad name.conf"), &conf, &err), MGC_E_CONFIG);
    scratch_write("open.conf", TREE);
    assert_int_equal(fchmodat(scratch_fd, "open.conf", 0666, 0), 0);
    assert_int_equal(mgc_conf_load(scratch_path("open.conf"), &conf, &err), MGC_E_CONFIG);
    assert_non_null(strstr(err.text, "everybody may write this file"));
    {
        mgc_autofd fd = openat(scratch_fd, "nul.conf", O_WRONLY | O_CREAT, 0644);

        assert_int_equal(write(fd, TREE "\0keep { }", sizeof(TREE) + 8), sizeof(TREE) + 8);
    }
    assert_int_equal(mgc_conf_load(scratch_path("nul.conf"), &conf, &err), MGC_E_CONFIG);
    assert_non_null(strstr(err.text, "it is not a text"));
    {
        mgc_autofd fd = openat(scratch_fd, "big.conf", O_WRONLY | O_CREAT, 0644);

        assert_int_equal(ftruncate(fd, (2 << 20)), 0);
    }
    assert_int_equal(mgc_conf_load(scratch_path("big.conf"), &conf, &err), MGC_E_LIMIT);
    assert_ptr_equal(conf, untouched);
    mgc_conf_free(NULL);
}

static void long_values_come_from_files(void **state)
{
    char text[512];
    struct mgc_conf *c;

    (void)state;
    scratch_write("q.sql", "SELECT a\nFROM \"t\" -- ${x} \\d\n\n");
    scratch_write("empty", " \n");
    (void)snprintf(text, sizeof(text),
                   TREE "references x { type = postgresql query = {@%s/q.sql, 'SELECT 2'} }\n"
                        "web { secret = '@%s/q.sql' }",
                   scratch, scratch);
    c = good(text);
    assert_int_equal(c->references[0].query.count, 2);
    assert_string_equal(c->references[0].query.items[0], "SELECT a\nFROM \"t\" -- ${x} \\d");
    assert_string_equal(c->references[0].query.items[1], "SELECT 2");
    assert_string_equal(c->web.secret, "SELECT a\nFROM \"t\" -- ${x} \\d");
    mgc_conf_free(c);
    (void)snprintf(text, sizeof(text), TREE "references x { type = postgresql query = @%s/empty }",
                   scratch);
    assert_null(load(text));
    assert_non_null(strstr(err.text, "is empty"));
}

static void later_work_is_said_once(void **state)
{
    static const struct {
        const char *text, *want; /* NULL: nothing to say */
    } rows[] = {
        {"filesystem { source = /a io_uring = auto }", "key 'io_uring = auto' in 'filesystem'"},
        {"filesystem { source = /a io_uring = off }", NULL},
        {"filesystem { source = /a xattr = off }", "key 'xattr = off'"},
        {"filesystem { source = /a xattr = on }", "key 'xattr = on'"},
        {"filesystem { source = /a xattr = auto passthrough = auto }", NULL},
        {TREE "catalog { uncounted = {backup, clamscan} }", "key 'uncounted' in 'catalog'"},
        {TREE "catalog { group = www-data }", "key 'group = www-data'"},
        {TREE "references x { type = postgresql jobs = 4 }", "key 'jobs = 4' in 'references x'"},
        {TREE "references x { type = postgresql jobs = 1 }", NULL},
        {TREE "references x { type = postgresql large_objects = on }", "'large_objects = on'"},
        {TREE "references x { type = postgresql large_objects = off }", NULL},
        {TREE "derived x { scheme = y }\nderived z { scheme = y }", "block 'derived'"},
        {TREE "reconcile { every = feed }", "key 'every = feed' in 'reconcile'"},
        {TREE "reconcile { every = 1h }", NULL},
        {TREE "reconcile { settle = 1m }", "key 'settle = 1m'"},
        {TREE "reconcile { memory = 64M }", "key 'memory = 64M'"},
        {TREE "reconcile { memory = auto }", NULL},
        {TREE "quarantine { keep_deleted = yes }", "key 'keep_deleted = yes'"},
        {TREE "quarantine { keep_deleted = no }", NULL},
        {TREE "quarantine { deleted_retention = 7d }", "key 'deleted_retention = 7d'"},
        {TREE "quarantine { temporary_for = 10m }", "key 'temporary_for = 10m'"},
        {TREE "quarantine { low_space = 5% }", "key 'low_space = 5%'"},
        {TREE "quarantine { heal = restore }", "key 'heal = restore'"},
        {TREE "quarantine { heal = off }", NULL},
        {TREE "quarantine { max_bytes = 10G }", "key 'max_bytes = 10G'"},
        {TREE "quarantine { max_bytes = off }", NULL},
        {TREE "purge { rate = 100 }", "key 'rate = 100'"},
        {TREE "purge { rate = off }", NULL},
        {TREE "web { listen = 127.0.0.1:1 read_only = yes }", "block 'web'"},
        {TREE "web { }", "block 'web'"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct mgc_conf *c = good(rows[i].text);

        if (c->notices.count != (rows[i].want != NULL ? 1 : 0))
            fail_msg("%s: %zu notices", rows[i].text, c->notices.count);
        if (rows[i].want != NULL)
            assert_true(noticed(c, rows[i].want) && noticed(c, "has no effect yet"));
        mgc_conf_free(c);
    }
}

static void doubtful_values_are_noticed(void **state)
{
    struct mgc_conf *c = good(TREE "reconcile { grace = 0 confirm_over = 0s hot_for = off }\n"
                                   "quarantine { retention = 0 }");

    (void)state;
    assert_int_equal(c->notices.count, 3);
    assert_true(noticed(c, "zero duration 'grace' in 'reconcile'"));
    assert_true(noticed(c, "zero duration 'confirm_over' in 'reconcile'"));
    assert_true(noticed(c, "zero duration 'retention' in 'quarantine'"));
    assert_int_equal(c->quarantine.min_retention_us, 0); /* a default may not contradict */
    mgc_conf_free(c);
    c = good(TREE "references x { type = sqlite database = /a/db.sqlite3 columns = {a.b} }");
    assert_int_equal(c->notices.count, 2);
    assert_true(noticed(c, "lies in the media tree"));
    assert_true(noticed(c, "key 'columns' in 'references x' has no effect"));
    mgc_conf_free(c);
}

static void bounds_are_errors(void **state)
{
    mgc_autobuf text = {0};

    (void)state;
    mgc_buf_adds(&text, TREE);
    for (int i = 0; i <= MGC_CONF_REFERENCES_MAX; i++)
        mgc_buf_addf(&text, "references r%d { type = postgresql }\n", i);
    assert_null(load(text.data));
    assert_non_null(strstr(err.text, "more than 64 'references' blocks"));
    mgc_buf_clear(&text);
    mgc_buf_adds(&text, TREE "keep { pattern = {");
    for (int i = 0; i <= MGC_CONF_LIST_MAX; i++)
        mgc_buf_addf(&text, "%d,\n", i);
    mgc_buf_adds(&text, "} }");
    assert_null(load(text.data));
    assert_int_equal(err.code, MGC_E_CONFIG);
    assert_non_null(strstr(err.text, "a limit was reached"));
}

static void defaults_from_the_command_line(void **state)
{
    struct mgc_conf *c = NULL;

    (void)state;
    assert_int_equal(mgc_conf_default("media", "/srv/m/", NULL, &c, &err), 0);
    assert_string_equal(c->name, "media");
    assert_string_equal(c->file, "");
    assert_string_equal(c->filesystem.source, "/srv/m");
    assert_string_equal(c->filesystem.mountpoint, "/srv/m");
    assert_string_equal(c->catalog.directory, "/var/lib/mediagcfs/media");
    assert_int_equal(c->reconcile.grace_us, DAY);
    assert_int_equal(mgc_conf_mount_at(c, "/x", "/y", &err), 0);
    assert_string_equal(c->filesystem.source, "/x");
    assert_string_equal(c->filesystem.mountpoint, "/y");
    assert_int_equal(mgc_conf_mount_at(c, "x", NULL, &err), MGC_E_CONFIG);
    assert_string_equal(err.text, "'x' is not an absolute path");
    assert_string_equal(c->filesystem.source, "/x");
    assert_int_equal(mgc_conf_mount_at(c, "/", NULL, &err), MGC_E_CONFIG);
    assert_int_equal(mgc_conf_mount_at(c, "/var/lib", NULL, &err), MGC_E_CONFIG);
    mgc_conf_free(c);
    assert_int_equal(mgc_conf_default("media", "/", "/", &c, &err), 0); /* no tree wanted */
    mgc_conf_free(c);
    assert_int_equal(mgc_conf_default("media", "/var", NULL, &c, &err), MGC_E_CONFIG);
    assert_int_equal(mgc_conf_default("media", "m", NULL, &c, &err), MGC_E_CONFIG);

    /* Sources of a file stay what they were. */
    c = good(TREE "references x { type = sqlite database = /d }");
    assert_int_equal(mgc_conf_mount_at(c, "/b", NULL, &err), 0);
    assert_int_equal(c->references_count, 1);
    mgc_conf_free(c);
}

/* "#key = value" and "#}" are settings that were switched off, "# words" are not. */
static void uncomment(struct mgc_buf *out, const char *text)
{
    for (const char *line = text; *line != '\0';) {
        size_t length = strcspn(line, "\n"), blank = strspn(line, " ");
        bool setting = line[blank] == '#' && line[blank + 1] != ' ' && line[blank + 1] != '\n';

        if (setting) {
            mgc_buf_add(out, line, blank);
            blank++;
        }
        mgc_buf_add(out, line + (setting ? blank : 0), length - (setting ? blank : 0));
        mgc_buf_addc(out, '\n');
        line += length + (line[length] == '\n');
    }
}

static bool same_default(const struct mgc_conf_key *key, const char *shown)
{
    char a[sizeof(struct mgc_conf)] = {0}, b[sizeof(struct mgc_conf)] = {0};
    bool text = key->kind == MGC_KEY_TEXT;
    int r = text ? 0 : mgc_conf_set(key, a, key->standard, &err);

    if (text)
        return strcmp(shown, key->standard) == 0;
    return r == 0 && mgc_conf_set(key, b, shown, &err) == 0 && memcmp(a, b, sizeof(a)) == 0;
}

static void the_sample_shows_every_key_and_its_default(void **state)
{
    mgc_autobuf sample = {0}, all = {0}, clean = {0};
    struct mgc_conf *conf = NULL, *plain = NULL;
    struct mgc_conf_raw raw = {.file = "mediagcfs.conf"};
    char text[256];

    (void)state;
    if (mgc_conf_load(MGC_SOURCE_DIR "/mediagcfs.conf", &conf, &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(conf->notices.count, 0);
    assert_int_equal(conf->references_count, 1);
    assert_int_equal(conf->reconcile.mode, MGC_MODE_SHADOW);
    mgc_conf_free(conf);

    assert_int_equal(mgc_conf_read_file(MGC_SOURCE_DIR "/mediagcfs.conf", 1 << 20, &sample, &err),
                     0);
    uncomment(&all, sample.data);
    if (mgc_conf_scan_text(&raw, all.data, all.bytes, &clean, &err) != 0 ||
        mgc_conf_parse(&raw, clean.data, &err) != 0)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < mgc_conf_keys_count; i++) {
        const struct mgc_conf_key *key = &mgc_conf_keys[i];
        bool found = false, shown = false;

        for (size_t j = 0; j < raw.settings_count; j++) {
            const struct mgc_conf_setting *s = &raw.settings[j];

            if (strcmp(s->name, key->block) != 0 || strcmp(s->key, key->key) != 0)
                continue;
            found = true;
            shown = shown || (key->standard != NULL && same_default(key, s->value));
        }
        if (!found || (key->standard != NULL && !shown))
            fail_msg("%s.%s: %s", key->block, key->key, found ? "not its default" : "not shown");
    }
    mgc_conf_raw_done(&raw);

    /* Switched on, everything that is shown can be loaded (its secret lies elsewhere). */
    scratch_write("secret", "s");
    (void)snprintf(text, sizeof(text), "@%s/secret", scratch);
    char *at = strstr(all.data, "@/etc/mediagcfs/web.secret");
    assert_non_null(at);
    mgc_autobuf on = {0};
    mgc_buf_add(&on, all.data, (size_t)(at - all.data));
    mgc_buf_adds(&on, text);
    mgc_buf_adds(&on, at + strlen("@/etc/mediagcfs/web.secret"));
    plain = good(on.data);
    assert_int_equal(plain->references_count, 3);
    assert_int_equal(plain->derived_count, 2);
    mgc_conf_free(plain);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_begin, scratch_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(units_are_exact),
        TEST(shares_are_never_misread),
        TEST(the_least_configuration),
        TEST(every_value_arrives),
        TEST(values_are_read_as_written),
        TEST(form_is_free),
        TEST(mistakes_are_named_with_their_line),
        TEST(a_bad_file_leaves_nothing),
        TEST(long_values_come_from_files),
        TEST(later_work_is_said_once),
        TEST(doubtful_values_are_noticed),
        TEST(bounds_are_errors),
        TEST(defaults_from_the_command_line),
        TEST(the_sample_shows_every_key_and_its_default),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
