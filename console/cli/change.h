/* SPDX-License-Identifier: Apache-2.0 */
/* One change from the operator to the instance: fold, sign, put, wait for the signed result. */
#pragma once

#include "console/cli/document.h"
#include "console/cli/results.h"

#define CHANGE_ID_SIZE 33u /* 128 random bits in hex */

struct change {
	struct pin pin;
	cJSON *command; /* id, do and fields; owned */
	const char *id; /* in the command */
	bool dry_run;
	int64_t not_before; /* 0: at once */
	int64_t seq;
	char digest[DOCUMENT_DIGEST_SIZE]; /* of the document it went out in */
	struct results_cursor cursor;
	cJSON *outcomes; /* id → result, of everything read so far; owned */
};

/*
 * Makes the command of the subcommand from its arguments (manifest_check included) and loads and checks the instance's
 * pin. Further fields may be added before change_send.
 */
enum cli_exit change_begin(
	struct cli *cli, const struct arguments *arguments, const char *do_name, struct change *ret_change);
/* Checks the command against the manifest, folds, signs and puts it; tries again when somebody else was faster. */
enum cli_exit change_send(struct cli *cli, const struct arguments *arguments, struct change *change);
/*
 * Waits for the result, tells it, and settles bindings. With --no-wait only says what was sent. The result, if there is
 * one, is in change->outcomes.
 */
enum cli_exit change_finish(struct cli *cli, const struct arguments *arguments, struct change *change);
/* All three. */
enum cli_exit change_run(struct cli *cli, const struct arguments *arguments);
void change_free(struct change *change);
#define cleanup_change CLEANUP(change_free)
/* The seconds of --timeout. */
enum cli_exit change_timeout(const struct arguments *arguments, int64_t *ret_seconds);
