/* SPDX-License-Identifier: Apache-2.0 */
/* A fresh Ed25519 key pair in OpenSSH's own private key format (PROTOCOL.key), unencrypted, made inside the secret
 * type. */
#pragma once

#include "lib/buffer.h"
#include "lib/secret.h"

/* 0 with the private key's file text, and the public line "ssh-ed25519 BASE64 COMMENT\n" appended to `line`. */
int private_key_make(const char *comment, struct secret *ret_text, struct buffer *line) MUST_CHECK;
/*
 * Writes the private key once: to a new file of mode 0600, or for "-" to standard output. -EEXIST when the file is
 * there.
 */
int private_key_write(const char *path, const struct secret *text) MUST_CHECK;
