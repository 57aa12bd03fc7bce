/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A task on its way to the child that has become the user, and what the child saw on its way back: numbers of 32 bits
 * and counted bytes, in the order of key_wire.c, between two processes of one program. What comes back belongs to the
 * user and is checked as bytes from outside.
 */
#pragma once

#include "plugins/authorized-keys/key_task.h"

#define KEY_VIEW_EXISTS 1u
#define KEY_VIEW_HOME_OPEN 2u
#define KEY_VIEW_TIGHTENED 4u
#define KEY_VIEW_UNSYNCED 8u

void key_wire_put_number(struct buffer *output, unsigned number);
void key_wire_put_bytes(struct buffer *output, const char *bytes, size_t size);

void key_wire_put_task(struct buffer *output, const struct key_task *task);
/* What the child of the spawner does (user_task_function): the task is read, carried out, and its views written. */
int key_wire_serve(char *bytes, size_t size, int root, struct buffer *output);
/* Fills the views of the chosen places and the outcomes of their edits. -EBADMSG when it is not an answer to this. */
int key_wire_take_views(const struct key_task *task, const struct buffer *output, struct key_view *views,
	enum key_outcome *outcomes) MUST_CHECK;
