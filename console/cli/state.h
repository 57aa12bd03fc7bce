/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operator's state directory, 0700: config, token, signing_key, allowed_signers, known_instances, keypairs/,
 * bindings, sent, lock. Everything in it is JSON or plain text, written whole and renamed.
 */
#pragma once

#include "console/cli/cli.h"
#include "lib/allowed_signers.h"
#include "lib/json.h"

#define STATE_FILE_MAX (16u << 20) /* ten thousand instances of the longest names, and as many bindings */
#define STATE_TOKEN_MAX 256u
#define STATE_SENT "sent"
#define STATE_SENT_MAX 1000 /* more than anyone scrolls through */

/* Opens (with `create`: makes) the directory and takes its lock. */
enum cli_exit state_open(struct cli *cli, const char *path, bool create);
void state_close(struct cli *cli);
/* Lets others have the lock during a long wait, and takes it again. */
void state_unlock(struct cli *cli);
enum cli_exit state_lock(struct cli *cli);
enum cli_exit state_load_settings(struct cli *cli);
enum cli_exit state_save_settings(struct cli *cli);
/* The endpoint's token, without a newline (free). */
enum cli_exit state_load_token(struct cli *cli, char **ret_token);
enum cli_exit state_save_token(struct cli *cli, const char *token);
/* Whose documents this operator folds into his own: his allowed_signers file. */
enum cli_exit state_load_signers(struct cli *cli, struct allowed_signers *ret_signers);
/* A JSON object; an empty one when the file is missing. */
enum cli_exit state_load_json(struct cli *cli, const char *name, cJSON **ret_root);
enum cli_exit state_save_json(struct cli *cli, const char *name, const cJSON *root);
/* What was sent, in words, for reading results later: the newest STATE_SENT_MAX commands. */
enum cli_exit state_add_sent(struct cli *cli, const char *id, const char *words);
enum cli_exit state_write(struct cli *cli, const char *name, const void *bytes, size_t size, bool must_be_new);
