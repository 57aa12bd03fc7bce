/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /etc/.pwd.lock, the lock that shadow-utils, systemd-sysusers and glibc's lckpwdf honour, with a deadline of our own
 * (lckpwdf uses SIGALRM, and in musl it is empty). The per-file `.lock` files of shadow neither block us nor are
 * touched.
 */
#pragma once

#include <stdbool.h>

#include "lib/cleanup.h"

#define DATABASE_LOCK_TIMEOUT_MS 30000u /* as long as people wait for passwd; half of the plugin's own deadline */
#define DATABASE_LOCK_HOLDER_MAX 64u    /* "PID NAME" */

/*
 * With `end_holder`, where one of the setuid tools by which an unprivileged user gets at the lock (he may have stopped
 * or frozen it) held it at the beginning and one holds it at the end of that time, it is killed, and so is each that
 * takes the lock after it: he may have many of them wait, and hand the lock from one to the next.
 *
 * 0 and the descriptor that holds the lock until it is closed (no other descriptor of the file may be open in this
 * process); -EBUSY and the holder as text at the deadline; -ELOOP, -EROFS, … when the file cannot be opened.
 */
int database_lock(int etc, unsigned timeout_ms, bool end_holder, int *ret_descriptor,
	char ret_holder[DATABASE_LOCK_HOLDER_MAX]) MUST_CHECK;
