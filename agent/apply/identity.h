/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who this instance is: its id, the Ed25519 key that signs results and identity (`sign`), the X25519 key that passwords
 * are sealed to (`box`), and the signed identity ready to send (`text`). All in identity/, 0600.
 */
#pragma once

#include "agent/apply/apply.h"
#include "lib/secret.h"
#include "lib/sshkey.h"

/* Finds the instance id and makes the identity where there is none; a clone's old one is wiped. Under the lock. */
int identity_open(struct apply *apply) MUST_CHECK;
/* Writes `text` anew with a higher generation where anything in it changed (host keys, box, agent). */
int identity_refresh(const struct apply *apply) MUST_CHECK;
/* A new box key; the one before is kept, and opens what was sealed meanwhile. */
int identity_rotate_box(const struct apply *apply) MUST_CHECK;
/*
 * On the host: a box key that has served for a week is replaced, and the one before it goes after a day
 * (lib/box_age.h). latchkeyd starts a run when either is due.
 */
int identity_age_box(const struct apply *apply) MUST_CHECK;
/* Of the key that signs, as the console pins it. -ENOENT before there is one. */
int identity_fingerprint(const struct apply *apply, char ret_fingerprint[SSHKEY_FINGERPRINT_SIZE]) MUST_CHECK;
/* Of the identity as it was made last. -ENOENT before there is one. */
int identity_generation(const struct apply *apply, int64_t *ret_generation) MUST_CHECK;
/* Appends the signature of the instance in that namespace. */
int identity_sign(const struct apply *apply, const char *name_space, struct buffer *payload) MUST_CHECK;
/* The host's public keys, "TYPE BASE64" each, as a JSON array member. */
void identity_put_host_keys(const struct apply *apply, struct json_writer *writer);
