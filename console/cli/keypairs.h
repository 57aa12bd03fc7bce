/* SPDX-License-Identifier: Apache-2.0 */
/* Named public keys (keypairs/LABEL.pub) and where each was bound (bindings), so that a bound pair is not deleted. */
#pragma once

#include "console/cli/cli.h"
#include "lib/json.h"
#include "lib/sshkey.h"

#define KEYPAIRS_MAX 4096u

enum cli_exit keypair_load(struct cli *cli, const char *label, struct sshkey *ret_key);
enum cli_exit keypair_store(struct cli *cli, const char *label, const struct sshkey *key, bool replace);
enum cli_exit keypair_delete(struct cli *cli, const char *label);
/* Sorted labels; free with file_names_free. */
enum cli_exit keypair_labels(struct cli *cli, char ***ret_labels, size_t *ret_count);

/*
 * A bind of this command id was sent. A label bound twice to one user of one instance is one binding: an unbind that
 * was sent before ends it no more, and where the first bind went well (`outcomes` tells, or it was settled) the
 * second's failure does not.
 */
enum cli_exit binding_add(struct cli *cli, const char *label, const char *instance, const char *user,
	const char *command, const cJSON *outcomes);
/* An unbind was sent (label NULL: everything of that user, who is removed). */
enum cli_exit binding_end(
	struct cli *cli, const char *label, const char *instance, const char *user, const char *command);
/* The final result of that instance's command: a bind that failed and an unbind that went well end the binding. */
enum cli_exit binding_settle(struct cli *cli, const char *instance, const char *command, bool good);
/* The bindings of a pair, an array of {"instance","user",…}; owned by the caller. */
enum cli_exit binding_list(struct cli *cli, const char *label, cJSON **ret_bindings);
