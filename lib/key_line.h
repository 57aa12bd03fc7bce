/* SPDX-License-Identifier: Apache-2.0 */
/* One line of an authorized_keys file, as sshd(8) under AUTHORIZED_KEYS FILE FORMAT reads it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/cleanup.h"
#include "lib/sshkey.h"

#define KEY_LINE_MAX 65536u /* longer ones are passed over; a key with options has 3 KiB */

struct key_line {
	char fingerprint[SSHKEY_FINGERPRINT_SIZE];
	const char *type; /* static, "ssh-ed25519" */
	unsigned bits;
	bool has_principals; /* which sshd refuses but for an authority */
	bool is_authority;   /* cert-authority: says nothing about who can log in */
	bool has_command;    /* bound to one command */
	bool expires;
	int64_t expiry; /* the earliest, when it expires */
	char *from;     /* the pattern list, or NULL; owned */
};

/*
 * 0 and the key; -ENODATA for a blank line or a comment; -EBADMSG for what sshd would pass over (an unknown option, no
 * key); -ENOMEM. Times without Z are in the machine's time zone, as sshd's are.
 */
int key_line_parse(const char *line, size_t size, struct key_line *ret_line) MUST_CHECK;
void key_line_free(struct key_line *line);
#define cleanup_key_line CLEANUP(key_line_free)
/* "YYYYMMDD[HHMM[SS]][Z]". */
int key_line_parse_time(const char *text, int64_t *ret_time) MUST_CHECK;
