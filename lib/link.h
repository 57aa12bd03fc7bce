/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The link between latchkey-net (uid latchkey) and latchkeyd (root): SOCK_SEQPACKET, one struct, always whole, at most
 * one descriptor with it. A body travels as a memfd of at most LINK_BODY_MAX bytes. See docs/ARCHITECTURE.md.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "lib/cleanup.h"

#define LINK_BODY_MAX (1u << 20)

#define LINK_TEXT_FILES "files" /* the endpoint is a directory: results stay on this machine */

enum link_type {
	/* down: latchkeyd to latchkey-net */
	LINK_HELLO = 1,    /* text: instance; descriptor: the listening status socket */
	LINK_IDENTITY = 2, /* body: the signed identity */
	LINK_HAVE = 3,     /* etag: of the document taken over last, "" none */
	LINK_RESULTS = 4,  /* seq, body */
	LINK_ASK = 5,      /* code 0: the document; 1: the trust document */
	LINK_VIEW = 6,     /* descriptor: the view, read-only */
	LINK_REPORT = 7,   /* body: the signed report */
	/* up: latchkey-net to latchkeyd */
	LINK_READY = 17,      /* code 1: the version */
	LINK_DOCUMENT = 18,   /* etag, body */
	LINK_TRUST = 19,      /* body */
	LINK_IDENTIFIED = 20, /* code: HTTP status, 0 no answer */
	LINK_DELIVERED = 21,  /* seq, code */
	LINK_ENDPOINT = 22,   /* code, text: why it is unreachable, or LINK_TEXT_FILES; on change only */
	LINK_REPORTED = 23,   /* code */
};

struct link_message { /* host order, unused bytes zero */
	uint32_t type, code;
	uint64_t seq, size; /* size of the body in the descriptor */
	char etag[128];     /* as received, with quotes; "" = none */
	char text[256];
	uint8_t pad[104];
};

_Static_assert(sizeof(struct link_message) == 512, "the link's message has 512 bytes");

/* Sends never block: -EAGAIN when the other side does not read. descriptor -1: none. It stays the caller's. */
int link_send(int link, const struct link_message *message, int descriptor) MUST_CHECK;
/* Puts the body into a sealed memfd and sends it; sets message->size. -EFBIG. */
int link_send_body(int link, struct link_message *message, const void *bytes, size_t size) MUST_CHECK;
/*
 * One whole message and its descriptor (-1: none; the caller closes it). -EAGAIN; -ECONNRESET at the end; -EBADMSG for
 * another size, a truncation, an unterminated text or more than one descriptor: the link is to be closed.
 */
int link_receive(int link, struct link_message *ret_message, int *ret_descriptor) MUST_CHECK;
/* The body of a sealed memfd into memory of our own (free). -EBADMSG for anything else. */
int link_read_body(const struct link_message *message, int descriptor, char **ret_bytes) MUST_CHECK;
