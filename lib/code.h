/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one table of result codes (docs/ and man pages are made from it). A code fixes the status of a result; a code of
 * status `pending` is tried again until the command's `until`: not_yet at its `not_before`, awaiting_confirm never, the
 * others with growing distance.
 */
#pragma once

#include <stdbool.h>

enum code_status {
	STATUS_OK,
	STATUS_PENDING,
	STATUS_REJECTED,
	STATUS_DENIED,
	STATUS_REFUSED,
	STATUS_EXPIRED,
	STATUS_FAILED,
	STATUS_SUPERSEDED,
	STATUS_OVERRIDDEN,
	STATUS_ROLLED_BACK,
	STATUS_OBSERVED,
	STATUS_DOCUMENT, /* codes that refuse a whole document */
};

#define CODE_TABLE(X)                                            \
	X(OK, "ok", OK)                                          \
	X(BUSY, "busy", PENDING)                                 \
	X(NO_SPACE, "no_space", PENDING)                         \
	X(QUOTA, "quota", PENDING)                               \
	X(READ_ONLY, "read_only", PENDING)                       \
	X(TIMEOUT, "timeout", PENDING)                           \
	X(SERVICE_BUSY, "service_busy", PENDING)                 \
	X(NOT_YET, "not_yet", PENDING)                           \
	X(AWAITING_CONFIRM, "awaiting_confirm", PENDING)         \
	X(UNKNOWN_COMMAND, "unknown_command", REJECTED)          \
	X(UNKNOWN_FIELD, "unknown_field", REJECTED)              \
	X(FIELD_MISSING, "field_missing", REJECTED)              \
	X(FIELD_INVALID, "field_invalid", REJECTED)              \
	X(NAME_INVALID, "name_invalid", REJECTED)                \
	X(CONFLICT, "conflict", REJECTED)                        \
	X(KEY_INVALID, "key_invalid", REJECTED)                  \
	X(KEY_IS_PRIVATE, "key_is_private", REJECTED)            \
	X(KEY_FORMAT, "key_format", REJECTED)                    \
	X(KEY_TYPE, "key_type", REJECTED)                        \
	X(HASH_INVALID, "hash_invalid", REJECTED)                \
	X(HASH_UNSUPPORTED, "hash_unsupported", REJECTED)        \
	X(HASH_COST, "hash_cost", REJECTED)                      \
	X(UNSEAL_FAILED, "unseal_failed", REJECTED)              \
	X(EXPIRY_UNSUPPORTED, "expiry_unsupported", REJECTED)    \
	X(POLICY, "policy", DENIED)                              \
	X(UNSIGNED, "unsigned", DENIED)                          \
	X(SIGNER, "signer", DENIED)                              \
	X(SYSTEM_ACCOUNT, "system_account", DENIED)              \
	X(PRIVILEGED, "privileged", DENIED)                      \
	X(NOT_OURS, "not_ours", DENIED)                          \
	X(CLEAR_HASH, "clear_hash", DENIED)                      \
	X(PASSWORD_WEAK, "password_weak", DENIED)                \
	X(GROUP_PRIVILEGED, "group_privileged", DENIED)          \
	X(WOULD_LOCK_OUT, "would_lock_out", REFUSED)             \
	X(EXPIRED, "expired", EXPIRED)                           \
	X(NO_SUCH_USER, "no_such_user", FAILED)                  \
	X(NOT_LOCAL, "not_local", FAILED)                        \
	X(DUPLICATE_ENTRY, "duplicate_entry", FAILED)            \
	X(UID_TAKEN, "uid_taken", FAILED)                        \
	X(UID_EXHAUSTED, "uid_exhausted", FAILED)                \
	X(GROUP_MISSING, "group_missing", FAILED)                \
	X(HOME_EXISTS, "home_exists", FAILED)                    \
	X(HOME_UNSAFE, "home_unsafe", FAILED)                    \
	X(SYMLINK, "symlink", FAILED)                            \
	X(NOT_REGULAR, "not_regular", FAILED)                    \
	X(HARD_LINK, "hard_link", FAILED)                        \
	X(OWNER, "owner", FAILED)                                \
	X(SHARED_FILE, "shared_file", FAILED)                    \
	X(TOO_LARGE, "too_large", FAILED)                        \
	X(IMMUTABLE, "immutable", FAILED)                        \
	X(IO_ERROR, "io_error", FAILED)                          \
	X(STILL_BLOCKED, "still_blocked", FAILED)                \
	X(LSM_DENIED, "lsm_denied", FAILED)                      \
	X(KEYS_FILE_NONE, "keys_file_none", FAILED)              \
	X(UNSUPPORTED, "unsupported", FAILED)                    \
	X(UNSUPPORTED_BACKEND, "unsupported_backend", FAILED)    \
	X(CANNOT_VALIDATE, "cannot_validate", FAILED)            \
	X(SSHD_INVALID, "sshd_invalid", FAILED)                  \
	X(RELOAD_FAILED, "reload_failed", FAILED)                \
	X(CAPABILITY_MISSING, "capability_missing", FAILED)      \
	X(PLUGIN_MISSING, "plugin_missing", FAILED)              \
	X(PLUGIN_CRASHED, "plugin_crashed", FAILED)              \
	X(PLUGIN_PROTOCOL, "plugin_protocol", FAILED)            \
	X(INTERNAL, "internal", FAILED)                          \
	X(SUPERSEDED, "superseded", SUPERSEDED)                  \
	X(OVERRIDDEN, "overridden", OVERRIDDEN)                  \
	X(LISTENER_GONE, "listener_gone", ROLLED_BACK)           \
	X(SSHD_INVALID_AFTER, "sshd_invalid_after", ROLLED_BACK) \
	X(UNCONFIRMED, "unconfirmed", ROLLED_BACK)               \
	X(WOULD_CHANGE, "would_change", OBSERVED)                \
	X(WOULD_NOT_CHANGE, "would_not_change", OBSERVED)        \
	X(SIGNATURE_MISSING, "signature_missing", DOCUMENT)      \
	X(SIGNATURE_INVALID, "signature_invalid", DOCUMENT)      \
	X(SIGNER_UNKNOWN, "signer_unknown", DOCUMENT)            \
	X(SIGNER_EXPIRED, "signer_expired", DOCUMENT)            \
	X(SIGNER_REVOKED, "signer_revoked", DOCUMENT)            \
	X(MALFORMED, "malformed", DOCUMENT)                      \
	X(VERSION, "version", DOCUMENT)                          \
	X(WRONG_INSTANCE, "wrong_instance", DOCUMENT)            \
	X(REPLAYED, "replayed", DOCUMENT)                        \
	X(SEQ_GAP, "seq_gap", DOCUMENT)                          \
	X(NOT_YET_VALID, "not_yet_valid", DOCUMENT)              \
	X(VALIDITY_TOO_LONG, "validity_too_long", DOCUMENT)      \
	X(NO_SIGNERS, "no_signers", DOCUMENT)                    \
	X(MODE_OFF, "mode_off", DOCUMENT)

enum code {
#define X(name, text, status) CODE_##name,
	CODE_TABLE(X)
#undef X
		CODE_COUNT
};

/* The code's text, as it stands in results. */
const char *code_name(enum code code);
/* 0 and the code, or -ENOENT. */
int code_from_name(const char *name, enum code *ret_code);
enum code_status code_status(enum code code);
/* The status' text: "ok", "pending", … ("refused" for a whole document). */
const char *code_status_name(enum code_status status);
/* True for the pending codes that are tried again by themselves. */
bool code_is_retried(enum code code);
/* The code that a failed file operation (positive errno) is reported as; IO_ERROR when nothing fits better. */
enum code code_from_errno(int error);
