/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What sshd does with whom: the scan of its files, and the values in force for a user as `sshd -T -C` prints them. One
 * answer serves all users while no file that Include reaches contains a Match; it is kept in the plugin's state and
 * checked by the identity of every file read, of every directory listed and of the sshd binary. Below a --root nothing
 * is executed: the values are then the scan's, and `scanned` says so.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/account_files.h"
#include "lib/cleanup.h"
#include "lib/sshd_scan.h"

#define SSHD_DETAIL_MAX SSHD_SCAN_DETAIL_MAX
#define SSHD_KEYS_FILES_MAX 256u /* as sshd's own limit on AuthorizedKeysFile entries was */

struct sshd; /* one look at the configuration; forget it (sshd_close) and open anew after a change */

struct sshd_value {
	const char *keyword; /* in lower case */
	const char *value;   /* the rest of the line; "" when there is none */
};

struct sshd_effective {
	struct sshd_value *values; /* repeated keywords (port, allowusers) stand repeated */
	size_t count;
	bool scanned; /* from the scan and sshd's defaults, Match blocks ignored: sshd was not asked */
};

enum sshd_validity {
	SSHD_VALID,
	SSHD_INVALID,         /* sshd -t refuses the configuration */
	SSHD_CANNOT_VALIDATE, /* no sshd, no host key to be made, no privilege separation directory … */
};

/*
 * `state` is the plugin's state directory (-1: nothing is kept), is_host as in struct plugin_request. 0; negative errno
 * of sshd_scan_read with ret_detail when the configuration cannot be read as sshd would.
 */
int sshd_open(
	int root, bool is_host, int state, struct sshd **ret_sshd, char ret_detail[SSHD_DETAIL_MAX + 1]) MUST_CHECK;
void sshd_close(struct sshd *sshd);
static inline void cleanup_sshd_pointer(struct sshd **sshd)
{
	sshd_close(*sshd);
}
#define cleanup_sshd CLEANUP(cleanup_sshd_pointer)

/*
 * From where the user would come (an IP address, checked by the caller; it must live as long as sshd): Match Address
 * is decided by it. Without it, from an address that nobody has and nobody exempts.
 */
void sshd_set_address(struct sshd *sshd, const char *address);
/* The scan, alive as long as sshd. */
const struct sshd_scan *sshd_get_scan(const struct sshd *sshd);
/*
 * The values in force for a user (who need not exist), alive as long as sshd. -ENOENT: no sshd is installed; -EBADMSG:
 * sshd refuses its configuration (ret_detail has its words); -EAGAIN: sshd cannot say for another reason (ret_detail).
 */
int sshd_get_effective(struct sshd *sshd, const char *user, const struct sshd_effective **ret_effective,
	char ret_detail[SSHD_DETAIL_MAX + 1]) MUST_CHECK;
/* The same from the scan alone: global values, sshd's defaults for what is not set. For when sshd cannot be asked. */
int sshd_get_scanned(struct sshd *sshd, const struct sshd_effective **ret_effective) MUST_CHECK;
/* First value of a keyword (lower case), or NULL. */
const char *sshd_value(const struct sshd_effective *effective, const char *keyword);
/* True when the value is "yes"; kbdinteractiveauthentication also stands for its name before 8.7. */
bool sshd_is_yes(const struct sshd_effective *effective, const char *keyword);
/* `without-password` and `prohibit-password` are one value; otherwise case decides nothing. */
bool sshd_same_value(const char *a, const char *b);

/* Runs sshd -t on what is on disk now. ret_detail: sshd's first words about it. */
enum sshd_validity sshd_test(struct sshd *sshd, char ret_detail[SSHD_DETAIL_MAX + 1]);
/* The version of the installed sshd: 9 and 2 for OpenSSH_9.2p1. -ENOENT: no sshd; -EAGAIN: it does not say. */
int sshd_get_version(struct sshd *sshd, unsigned *ret_major, unsigned *ret_minor) MUST_CHECK;

/*
 * The files in which sshd looks for the account's keys: the entries of AuthorizedKeysFile that are in force, tokens
 * expanded (%h %u %U %%), relative ones below the home. `none` gives an empty list. NULL-terminated; free with
 * file_names_free (lib/file.h). -EINVAL for an unknown token.
 */
int sshd_keys_files(const struct sshd *sshd, const struct sshd_effective *effective, const struct account *account,
	char ***ret_paths, size_t *ret_count) MUST_CHECK;
/* The entries themselves, unexpanded, in order; quotes of the configuration respected. */
int sshd_keys_patterns(const struct sshd *sshd, const struct sshd_effective *effective, char ***ret_patterns,
	size_t *ret_count) MUST_CHECK;
/* One pattern, expanded for the account. */
int sshd_expand(const char *pattern, const struct account *account, char **ret_path) MUST_CHECK;
