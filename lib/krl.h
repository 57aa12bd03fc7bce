/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSH key revocation lists (its PROTOCOL.krl): what sshd refuses by RevokedKeys. A list that sshd cannot read
 * closes every key login, so what is written here is only what every sshd since 7.9 reads.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/buffer.h"
#include "lib/ssh_wire.h"

#define KRL_SIZE_MAX (4u << 20)     /* 100,000 fingerprints */
#define KRL_FINGERPRINTS_MAX 65536u /* of one section that we write */
#define KRL_DIGEST_SIZE 32u

enum krl_kind {
	KRL_CERTIFICATES = 1, /* the whole section, not looked into */
	KRL_KEY = 2,          /* a key's blob */
	KRL_SHA1 = 3,         /* a key's SHA-1 */
	KRL_SHA256 = 5,       /* a key's SHA-256: what a fingerprint says */
};

/* Called for each entry, with the number of its section (from 0). Non-zero ends the walk, which returns it. */
typedef int (*krl_visitor)(enum krl_kind kind, unsigned section, const struct ssh_slice *value, void *context);

bool krl_is_one(const void *bytes, size_t size);
/* -EBADMSG for what is no list or has a section that is none of the above (signatures among them). */
int krl_walk(const void *bytes, size_t size, krl_visitor visit, void *context) MUST_CHECK;
/* The part before the first section. */
void krl_put_header(struct buffer *out, uint64_t version, uint64_t time);
/* One section of fingerprints, in the order that the format wants; sorts them where they are. */
void krl_put_fingerprints(struct buffer *out, unsigned char (*digests)[KRL_DIGEST_SIZE], size_t count);
/* Another list's sections from that number on, but its signatures, byte for byte. -EBADMSG. */
int krl_put_sections(struct buffer *out, const void *bytes, size_t size, unsigned from) MUST_CHECK;
