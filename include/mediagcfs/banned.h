/*
 * banned.h -- functions that do not compile in this project.
 *
 * Role     strcpy and friends have no bound, strtok and localtime have hidden state, atoi has no
 *          error, system() has a shell.  The replacements: snprintf, struct mgc_buf, strtoll with
 *          checks, mgc_proc_*.
 * Layer    0.  Include only through attr.h, after the system headers.
 */
#ifndef MEDIAGCFS_BANNED_H
#define MEDIAGCFS_BANNED_H

#define MGC_BANNED(name) mgc_banned_##name##_see_banned_h

#undef strcpy
#undef strcat
#undef strncpy
#undef strncat
#undef sprintf
#undef vsprintf
#undef strtok
#undef atoi
#undef atol
#undef system
#define strcpy(...) MGC_BANNED(strcpy)
#define strcat(...) MGC_BANNED(strcat)
#define strncpy(...) MGC_BANNED(strncpy)
#define strncat(...) MGC_BANNED(strncat)
#define sprintf(...) MGC_BANNED(sprintf)
#define vsprintf(...) MGC_BANNED(vsprintf)
#define strtok(...) MGC_BANNED(strtok)
#define atoi(...) MGC_BANNED(atoi)
#define atol(...) MGC_BANNED(atol)
#define system(...) MGC_BANNED(system)

#endif
