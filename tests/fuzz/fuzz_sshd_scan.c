/* SPDX-License-Identifier: Apache-2.0 */
/* The scanner of sshd's configuration: any bytes as the main file, which may include itself and nothing else. */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include "lib/sshd_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	const struct sshd_overlay overlay = {SSHD_MAIN, (const char *)bytes, size};
	cleanup_close int root = open("/proc/self/fdinfo", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_sshd_scan struct sshd_scan scan = {0};
	char detail[SSHD_SCAN_DETAIL_MAX + 1];

	if (size > 65536)
		return -1;
	if (sshd_scan_read(root, &overlay, &scan, detail) == 0) {
		(void)sshd_scan_global(&scan, "passwordauthentication");
		(void)sshd_scan_in_match(&scan, "permitrootlogin", 0);
		(void)sshd_scan_reads(&scan, SSHD_DROP_IN);
	}
	return 0;
}
