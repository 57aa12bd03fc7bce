/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sshd's configuration read as sshd_config(5) says sshd reads it: Include with patterns and nesting, relative to
 * /etc/ssh; Match blocks; `keyword=value`, tabs, quotes, any case, CR, trailing comments; the first value wins. A Match
 * is not evaluated, only marked: what is in force for one user is asked of sshd (lib/sshd_config.h).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "lib/cleanup.h"

#define SSHD_MAIN "/etc/ssh/sshd_config"
#define SSHD_MAIN_VENDOR "/usr/etc/ssh/sshd_config" /* read by some distributions while SSHD_MAIN does not exist */
#define SSHD_DIRECTORY "/etc/ssh"
#define SSHD_DROP_IN_DIRECTORY SSHD_DIRECTORY "/sshd_config.d"
#define SSHD_DROP_IN_NAME "00-latchkey.conf"
#define SSHD_DROP_IN SSHD_DROP_IN_DIRECTORY "/" SSHD_DROP_IN_NAME
#define SSHD_REVOKED_NAME "latchkey_revoked_keys"
#define SSHD_REVOKED SSHD_DIRECTORY "/" SSHD_REVOKED_NAME /* our list for RevokedKeys, see plugins/authorized-keys */

#define SSHD_SCAN_DEPTH_MAX 16u        /* sshd's own limit of nesting */
#define SSHD_SCAN_BYTES_MAX (2u << 20) /* of all files, repeats counted: twice the largest configuration we promise */
#define SSHD_SCAN_FILES_MAX 1024u      /* of all files and directories, repeats counted */
#define SSHD_SCAN_ARGUMENTS_MAX 4096u  /* of one line: AllowUsers with that many names */

struct sshd_setting {
	const char *keyword;          /* in lower case */
	const char *const *arguments; /* without quotes; NULL-terminated */
	unsigned count;
	unsigned file; /* index into the scan's files */
	unsigned line; /* from 1 */
	int match;     /* index of the Match setting it stands under (its own, of a Match), or -1 */
};

/* One file read, or one directory or file that was looked for; what identifies its present content. */
struct sshd_file {
	char *path;
	bool missing, is_directory;
	bool is_overlay;
	uint64_t device, inode, size;
	int64_t modified_s, changed_s;
	uint32_t modified_ns, changed_ns;
};

struct sshd_scan {
	struct sshd_setting
		*settings; /* in the order in which sshd meets them; Match and Include lines are among them */
	size_t count;
	struct sshd_file *files;
	size_t file_count;
	const char *main_path; /* SSHD_MAIN or SSHD_MAIN_VENDOR */
	bool has_main;
	bool has_match; /* a Match stands anywhere that Include reaches */
	void *storage;  /* owns the text */
};

/* A file as if it had these bytes (NULL: as if it did not exist), whatever the disk has. */
struct sshd_overlay {
	const char *path;
	const char *bytes;
	size_t size;
};

/*
 * Scans the configuration below root ("/" is root itself when its descriptor is of "/"); overlay may be NULL. Links are
 * resolved inside root. 0; -EINVAL where sshd itself would stop (bad quotes, no argument, dangling link, too deep) with
 * file:line in ret_detail; -E2BIG over a limit; or another negative errno. Free with sshd_scan_free.
 */
#define SSHD_SCAN_DETAIL_MAX 200u
int sshd_scan_read(int root, const struct sshd_overlay *overlay, struct sshd_scan *ret_scan,
	char ret_detail[SSHD_SCAN_DETAIL_MAX + 1]) MUST_CHECK;
void sshd_scan_free(struct sshd_scan *scan);
#define cleanup_sshd_scan CLEANUP(sshd_scan_free)

/* The first setting of that keyword (lower case) outside any Match: the one that wins. NULL when there is none. */
const struct sshd_setting *sshd_scan_global(const struct sshd_scan *scan, const char *keyword);
/* The first setting of that keyword inside a Match at or after `from`, or NULL. */
const struct sshd_setting *sshd_scan_in_match(const struct sshd_scan *scan, const char *keyword, size_t from);
/* True when the file of that path sets something outside any Match. */
bool sshd_scan_reads(const struct sshd_scan *scan, const char *path);

/*
 * Splits one line (no newline in it) into the keyword in lower case and its arguments, as sshd does. 0 and *ret_count
 * 0 for a blank line or comment; -EINVAL for bad quotes or a keyword alone. ret_words is one allocation (free).
 */
int sshd_scan_line(const char *line, char ***ret_words, unsigned *ret_count) MUST_CHECK;
