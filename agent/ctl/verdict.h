/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a user can log in, for `doctor` and `explain`. Root asks the login plugin's engine, which is what
 * latchkey-apply asks; anybody else is told about himself alone: the agent's last look, and his own files by the same
 * rules.
 */
#pragma once

#include "agent/ctl/ctl.h"
#include "lib/blocker.h"
#include "lib/key_files.h"

#define VERDICT_USER_SIZE 257u /* LOGIN_NAME_MAX */

struct verdict {
	char user[VERDICT_USER_SIZE];
	const char *from;        /* borrowed, or NULL */
	const char *fingerprint; /* borrowed, or NULL */
	bool by_engine;          /* otherwise: by the agent's last look, when is_known */
	bool is_known;
	bool key_can, password_can;
	blocker_set key, password;
	blocker_set since; /* what his own files say now, where the agent last saw that a key works */
	bool has_files;    /* `files` was looked at by ourselves */
	struct key_files_answer files;
	char unsafe_path[KEY_FILES_PATH_MAX], sshd[256], fail2ban[256];
	int64_t unsafe_mode, unsafe_owner; /* of unsafe_path, "" when every place is safe */
};

/*
 * EXIT_OK and the answer, or an exit code that was explained. EXIT_DENIED without any look-up when somebody who is not
 * root asks about a name that is not his own.
 */
int verdict_ask(const char *user, const char *from, const char *fingerprint, struct verdict *ret_verdict) MUST_CHECK;
/* As verdict_ask refuses: to be asked before anything is opened. */
int verdict_may_ask(const char *user) MUST_CHECK;
/* This machine's name, owned by the caller (free); NULL when the agent never said. */
char *verdict_instance(void);
bool verdict_can(const struct verdict *verdict);
void verdict_print(const struct verdict *verdict);
void verdict_write(const struct verdict *verdict, struct json_writer *writer, const char *key);
