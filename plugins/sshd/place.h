/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where our settings stand: the drop-in 00-latchkey.conf where sshd's configuration includes it before anything that
 * competes, else a fenced block at line 1 of the main file, whose other bytes are kept as they are.
 */
#pragma once

#include <stdbool.h>

#include "lib/cleanup.h"
#include "lib/sshd_config.h"
#include "plugins/sshd/settings.h"

struct place_file {
	bool exists;
	char *bytes;
	size_t size;
};

struct place {
	int root;
	bool main_is_link;
	bool has_block;
	unsigned block_first, block_last; /* its lines in the main file; it belongs at line 1 */
	struct place_file drop_in, main;  /* as they were when read */
	bool drop_in_written, main_written;
	struct settings settings; /* what we set at present */
};

/* Removes what a crash left of our own: latchkey-apply runs one at a time, so a temporary file of ours is nobody's. */
void place_sweep(int root);
/* Reads both files below root. -ENOENT when there is no etc/ssh. */
int place_read(int root, struct place *ret_place) MUST_CHECK;
/*
 * Makes the settings stand where they win. *ret_changed says whether a byte changed. -ENOTSUP with ret_detail where no
 * place of ours can win (a vendor file without Include, a main file that is a link).
 */
int place_write(struct place *place, const struct settings *settings, bool *ret_changed,
	char ret_detail[SSHD_DETAIL_MAX + 1]) MUST_CHECK;
/* Puts back the bytes that stood before place_write. */
int place_restore(struct place *place) MUST_CHECK;
/*
 * A mark in the plugin's state that stands from the write until sshd has taken it up: a kill in between must not leave
 * files that say one thing and a server that does another. Only the host's own sshd runs; a power cut ends it as well.
 */
void place_mark_unfinished(int state);
void place_clear_unfinished(int state);
bool place_is_unfinished(int state);
/* Whether every setting of ours is the first of its keyword in the scan. */
bool place_wins(const struct place *place, const struct sshd_scan *scan, const struct settings *settings);
void place_free(struct place *place);
#define cleanup_place CLEANUP(place_free)
