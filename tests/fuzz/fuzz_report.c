/* SPDX-License-Identifier: Apache-2.0 */
/* An instance's report as the console reads it: signed here by a key of the target's own, so that its shape is reached.
 */
#include <sodium.h>
#include <stdint.h>

#include "console/cli/report.h"
#include "lib/sshsig.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static const unsigned char seed[crypto_sign_SEEDBYTES];
	unsigned char public_key[crypto_sign_PUBLICKEYBYTES];
	cleanup_secret struct secret key = {0};
	cleanup_buffer struct buffer text = {0}, armour = {0}, blob = {0};
	cleanup_report struct report report = {0};

	if (sodium_init() < 0 || secret_allocate(SSHSIG_SECRET_SIZE, &key) < 0)
		return 0;
	(void)crypto_sign_seed_keypair(public_key, key.bytes, seed);
	buffer_append(&text, bytes, size);
	buffer_append_text(&text, "\n");
	if (buffer_status(&text) < 0 || sshsig_public_blob(&key, &blob) < 0 || buffer_status(&blob) < 0 ||
		sshsig_sign(&key, SSHSIG_REPORT, text.bytes, text.size, &armour) < 0)
		return 0;
	buffer_append(&text, armour.bytes, armour.size);
	if (buffer_status(&text) == 0)
		(void)report_read(text.bytes, "vm-1", (const unsigned char *)blob.bytes, blob.size, &report);
	return 0;
}
