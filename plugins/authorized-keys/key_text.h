/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The line that a command asks for: the key decoded and written again, options only from the command's typed fields,
 * our mark at the end. expiry-time is UTC ("…Z") from OpenSSH 9.1 on, sshd's local standard time from 7.7 to 9.0.
 */
#pragma once

#include "lib/plugin.h"
#include "lib/sshd_config.h"
#include "lib/sshkey.h"

struct key_text {
	struct sshkey key;
	char *line; /* owned */
	char fingerprint[SSHKEY_FINGERPRINT_SIZE];
	int64_t expires; /* -1: never */
};

/* On a refusal the result has the code, and 0 is returned. sshd may be NULL. */
int key_text_make(const struct plugin_request *request, const struct plugin_command *command, struct sshd *sshd,
	struct plugin_result *result, struct key_text *ret_text) MUST_CHECK;
void key_text_free(struct key_text *text);
