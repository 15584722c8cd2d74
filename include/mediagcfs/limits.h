/*
 * limits.h -- every bound of the project, with its unit and its reason.
 *
 * Role     Reaching a bound is an error (MGC_E_LIMIT) or is documented at its use; never a silent
 *          cut.
 * Layer    0.
 */
#ifndef MEDIAGCFS_LIMITS_H
#define MEDIAGCFS_LIMITS_H

enum {
    MGC_NAME_BYTES_MAX = 255,     /* one path component, as the kernel bounds it */
    MGC_PATH_BYTES_MAX = 4095,    /* a path relative to the tree, without the final NUL */
    MGC_ERR_TEXT_BYTES = 768,     /* message of struct mgc_err: escaped names fit mostly */
    MGC_ERR_HINT_BYTES = 320,     /* its hint */
    MGC_GLOB_BYTES_MAX = 4096,    /* a glob, its NUL included: two bit sets of it on the stack */
    MGC_DEPTH_MAX = 2048,         /* directories in a path: PATH_MAX / 2 */
    MGC_CONF_REFERENCES_MAX = 64, /* blocks of one configuration; each is a connection */
    MGC_CONF_DERIVED_MAX = 256,   /* derived blocks */
    MGC_CONF_LIST_MAX = 4096,     /* values of one list */
    MGC_CONF_FILE_BYTES_MAX = 1 << 20, /* a file named by @file */
    MGC_MOVE_BATCH_MAX = 256,        /* moves sharing one commit: bounds what a crash leaves open */
    MGC_WRITERS_MAX = 16384,         /* open writers told to a run; each move looks itself */
    MGC_IDS_PER_MESSAGE_MAX = 10000, /* ids in one control message: about 200 KB of JSON */
    MGC_MESSAGE_BYTES_MAX = 4 << 20, /* one line on the control socket */
    MGC_CONTROL_CLIENTS_MAX = 64,    /* connections served at once, a thread each */
    MGC_RECORDER_QUEUE_MAX = 65536,  /* changes waiting for a commit (about 16 MiB with paths) */
    MGC_TEXT_DECODE_DEPTH_MAX = 8,   /* encodings laid over each other in one text */
    MGC_SUSPECT_SHARE_MAX = 8,       /* entries that may share a shortened mention (DESIGN 7) */
    MGC_ID_RESERVE = 1000000,        /* ids reserved durably at a time (H11) */
    MGC_CHILD_OUTPUT_LINE_MAX = 16 << 20, /* one line or record of a command source */
};

#endif
