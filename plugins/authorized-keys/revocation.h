/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keys.revoke: the list of fingerprints that sshd refuses whoever holds the key (RevokedKeys). sshd reads one list
 * alone, and none of anybody's keys when it cannot read it. So ours carries the operator's own along, is tried by
 * ssh-keygen before it gets its name, and is named in sshd's configuration (by the sshd plugin) only while it is whole.
 * What was revoked also stands in the plugin's state, from which a list that somebody took away is made again.
 */
#pragma once

#include "lib/krl.h"
#include "lib/name_map.h"
#include "lib/plugin.h"
#include "lib/sshd_config.h"
#include "plugins/authorized-keys/ledger.h"

struct revocation {
	struct name_map places; /* of each digest, by its hex digits */
	bool is_open;
	enum code code; /* why nothing can be revoked here, or OK */
	char detail[DETAIL_MAX + 1];
	struct buffer digests;   /* ours, KRL_DIGEST_SIZE each */
	struct buffer lines;     /* the state's own, JSON */
	struct buffer list;      /* the file as it stands */
	struct buffer operators; /* sections of the operator's list */
	char *carried;           /* its path, or NULL */
	char overriding[256];    /* FILE:LINE of a Match that names another list for some, or "" */
	bool is_whole;           /* the file that stands is a list, root's alone to write */
	bool changed;
};

/* Reads what stands, once. */
int revocation_open(const struct plugin_request *request, struct sshd *sshd, struct revocation *revocation) MUST_CHECK;
void revocation_free(struct revocation *revocation);
/* Decides one command: result->code, changes, plan, and (from the ledger) whose logins it touches. */
int revocation_plan(struct sshd *sshd, const struct key_ledger *ledger, struct revocation *revocation,
	const struct plugin_command *command, struct plugin_result *result) MUST_CHECK;
/* Adds it (or, in an undo, takes it away again); revocation_write makes it so. */
int revocation_change(const struct plugin_request *request, struct revocation *revocation,
	const struct plugin_command *command, struct plugin_result *result) MUST_CHECK;
/* What is revoked may log in all the same for those whom a Match gives another list: the result says so. */
int revocation_tell_overridden(const struct revocation *revocation, struct plugin_result *result);
/* True when the list is not what it should be: gone, damaged, or the operator's own has changed. */
bool revocation_is_stale(const struct plugin_request *request, const struct revocation *revocation);
/*
 * Writes the list where it is not what it should be, the operator's entries as they are now. OK, or why not, with
 * ret_detail. Nothing when nothing was ever revoked.
 */
enum code revocation_write(const struct plugin_request *request, struct revocation *revocation, bool *ret_written,
	char ret_detail[DETAIL_MAX + 1]);
