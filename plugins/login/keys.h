/* SPDX-License-Identifier: Apache-2.0 */
/* The files of keys are read as their user (as sshd does), in a child that sends back counts only. */
#pragma once

#include "lib/key_files.h"
#include "lib/user_spawner.h"

/* Asks in a child of the user; the answer is waited for later. */
int keys_start(const struct user_spawner *spawner, const struct user_identity *identity,
	const struct key_files_question *question, struct user_spawned *ret_child) MUST_CHECK;
/* 0, -ETIMEDOUT when the home does not answer, or another negative errno. What was started must be finished. */
int keys_finish(struct user_spawned *child, struct key_files_answer *ret_answer) MUST_CHECK;
/* What the child does (user_task_function). */
int keys_serve(char *task, size_t size, int root, struct buffer *output);
