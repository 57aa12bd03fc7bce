/* SPDX-License-Identifier: Apache-2.0 */
/* What a child that belongs to the user answers about two places and one edit. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/authorized-keys/key_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	char home[] = "/home/alice/.ssh/authorized_keys", other[] = "/home/alice/.ssh/other";
	const struct key_place places[] = {{home, 11, false, false}, {other, 11, false, true}};
	const struct key_edit edits[] = {{1, "laptop", "", "ssh-ed25519 AAAA latchkey:laptop"}};
	const struct key_blob blobs[] = {{(const unsigned char *)"key", 3}};
	const bool chosen[] = {true, true};
	const struct key_task task = {.root_path = "/",
		.places = places,
		.place_count = 2,
		.chosen = chosen,
		.edits = edits,
		.edit_count = 1,
		.blobs = blobs,
		.blob_count = 1};
	struct key_view views[2] = {{0}};
	enum key_outcome outcomes[1] = {KEY_FAILED};
	const struct buffer answer = {.bytes = (char *)(uintptr_t)bytes, .size = size};

	if (key_wire_take_views(&task, &answer, views, outcomes) == 0) {
		for (unsigned i = 0; i < 2; i++) {
			if (views[i].code >= CODE_COUNT || strlen(views[i].detail) > DETAIL_MAX ||
				strlen(views[i].ours) != views[i].ours_size)
				abort();
		}
		if (outcomes[0] > KEY_FAILED)
			abort();
	}
	key_view_free(&views[0]);
	key_view_free(&views[1]);
	return 0;
}
