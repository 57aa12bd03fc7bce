/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/krl.h"

#include <errno.h>
#include <string.h>

#define SIGNATURE 4u
#define SHA1_SIZE 20u

static const char magic[8] = "SSHKRL\n"; /* its NUL counts */

bool krl_is_one(const void *bytes, size_t size)
{
	return size >= sizeof(magic) && memcmp(bytes, magic, sizeof(magic)) == 0;
}

static int skip(struct ssh_slice *slice, size_t size)
{
	if (slice->size < size)
		return -EBADMSG;
	slice->bytes += size;
	slice->size -= size;
	return 0;
}

/* Version of the format; the list's own number, its time and its flags; two strings. */
static int take_header(struct ssh_slice *slice)
{
	struct ssh_slice text;
	uint32_t version;

	int r = skip(slice, sizeof(magic));
	if (r == 0)
		r = ssh_wire_take_uint32(slice, &version);
	if (r == 0 && version != 1)
		r = -EBADMSG;
	if (r == 0)
		r = skip(slice, 3 * sizeof(uint64_t));
	if (r == 0)
		r = ssh_wire_take_string(slice, &text);
	return r < 0 ? r : ssh_wire_take_string(slice, &text);
}

static int walk_entries(
	enum krl_kind kind, unsigned section, struct ssh_slice entries, krl_visitor visit, void *context)
{
	while (entries.size > 0) {
		struct ssh_slice value;
		int r = ssh_wire_take_string(&entries, &value);
		if (r < 0)
			return r;
		if ((kind == KRL_SHA256 && value.size != KRL_DIGEST_SIZE) ||
			(kind == KRL_SHA1 && value.size != SHA1_SIZE) || value.size == 0)
			return -EBADMSG;
		r = visit ? visit(kind, section, &value, context) : 0;
		if (r != 0)
			return r;
	}
	return 0;
}

int krl_walk(const void *bytes, size_t size, krl_visitor visit, void *context)
{
	struct ssh_slice slice = {bytes, size}, content;
	uint8_t type;

	if (!krl_is_one(bytes, size))
		return -EBADMSG;
	int r = take_header(&slice);
	for (unsigned section = 0; r == 0 && slice.size > 0; section++) {
		r = ssh_wire_take_byte(&slice, &type);
		if (r == 0)
			r = ssh_wire_take_string(&slice, &content);
		if (r < 0)
			return r;
		switch (type) {
		case KRL_CERTIFICATES:
			r = visit ? visit(KRL_CERTIFICATES, section, &content, context) : 0;
			break;
		case KRL_KEY:
		case KRL_SHA1:
		case KRL_SHA256:
			r = walk_entries((enum krl_kind)type, section, content, visit, context);
			break;
		default:
			return -EBADMSG;
		}
	}
	return r;
}

static void put_uint64(struct buffer *out, uint64_t number)
{
	ssh_wire_put_uint32(out, (uint32_t)(number >> 32));
	ssh_wire_put_uint32(out, (uint32_t)number);
}

void krl_put_header(struct buffer *out, uint64_t version, uint64_t time)
{
	buffer_append(out, magic, sizeof(magic));
	ssh_wire_put_uint32(out, 1);
	put_uint64(out, version);
	put_uint64(out, time);
	put_uint64(out, 0);
	ssh_wire_put_text(out, "");
	ssh_wire_put_text(out, "latchkey");
}

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, KRL_DIGEST_SIZE);
}

void krl_put_fingerprints(struct buffer *out, unsigned char (*digests)[KRL_DIGEST_SIZE], size_t count)
{
	static const unsigned char type = KRL_SHA256;
	cleanup_buffer struct buffer section = {0};

	if (count > 0)
		qsort(digests, count, sizeof(*digests), compare);
	for (size_t i = 0; i < count; i++)
		ssh_wire_put_string(&section, digests[i], KRL_DIGEST_SIZE);
	out->failed = out->failed || buffer_status(&section) < 0;
	buffer_append(out, &type, sizeof(type));
	ssh_wire_put_string(out, section.bytes ? section.bytes : "", section.size);
}

int krl_put_sections(struct buffer *out, const void *bytes, size_t size, unsigned from)
{
	struct ssh_slice slice = {bytes, size}, content;
	uint8_t type;

	if (!krl_is_one(bytes, size))
		return -EBADMSG;
	int r = take_header(&slice);
	for (unsigned section = 0; r == 0 && slice.size > 0; section++) {
		r = ssh_wire_take_byte(&slice, &type);
		if (r == 0 && type == SIGNATURE) /* of bytes that will no longer be these; nothing follows them */
			return buffer_status(out);
		if (r == 0)
			r = ssh_wire_take_string(&slice, &content);
		if (r < 0)
			return r;
		if (section < from)
			continue;
		buffer_append(out, &type, sizeof(type));
		ssh_wire_put_string(out, content.bytes, content.size);
	}
	return r < 0 ? r : buffer_status(out);
}
