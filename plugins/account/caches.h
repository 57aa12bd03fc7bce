/* SPDX-License-Identifier: Apache-2.0 */
/* Telling those who keep copies of the account files, or records of what was done. All of it best effort. */
#pragma once

/* nscd(8) where its socket exists, sss_cache(8) where sssd is installed. */
void caches_forget(void);
/* One record to the kernel's audit trail, as shadow-utils write it. */
void caches_audit(const char *do_name, const char *user);
