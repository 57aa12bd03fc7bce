/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines that stand for a change of state: with a MESSAGE_ID, by which they are found (journalctl MESSAGE_ID=…) and
 * explained (journalctl -x, packaging/catalog). Where standard error is not the journal they are lines as log.h's.
 */
#pragma once

#define LOG_EVENT_TABLE(X)                                      \
	X(COMMAND_ENDED, "7a158a2e6241408fb870e7be39e00500")    \
	X(DOCUMENT_REFUSED, "c57863c2abd343f88b40127189bb3e9d") \
	X(TAKEN_BACK, "e97d0017484f44958df1d87cd7d9daf1")       \
	X(TRUST_CHANGED, "a87e87266f8f41c4abf0a9f8d3b147cc")    \
	X(FLOORS_RESET, "1bf1d35f4e3c42c4ad97fa06022638df")     \
	X(MACHINE_CLONED, "1ee00927602a45d38e96fff7241e6972")   \
	X(ENDPOINT_LOST, "d65c170f528c49a5a636649396dbe40f")    \
	X(ENDPOINT_BACK, "5f3bdd0282a0446d80cc294646f977d2")    \
	X(CONFIGURATION_REFUSED, "3ca9dbfabe5e4bc7abd27ea33837bd35")

enum log_event {
#define X(name, id) LOG_EVENT_##name,
	LOG_EVENT_TABLE(X)
#undef X
		LOG_EVENTS
};

/* As log_message. `subject` (a command's id, a user; may be NULL) becomes the field LATCHKEY_SUBJECT. */
void log_event(enum log_event event, int level, const char *subject, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
