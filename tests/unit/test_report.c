/* SPDX-License-Identifier: Apache-2.0 */
#include "console/cli/report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/sshsig.h"

#define WHOLE                                                                                                          \
	"{\"v\":1,\"instance\":\"vm-1\",\"generation\":3,\"agent\":\"1.0.0\",\"mode\":\"enforce\",\"policy\":\"ab\","  \
	"\"trust\":2,\"seq\":7,\"floor\":5,\"sshd\":{\"state\":\"ok\",\"version\":\"\",\"settings\":{\"usepam\":"      \
	"\"yes\"}},\"user_count\":1,\"users\":[{\"user\":\"alice\",\"key\":true,\"password\":false}],\"key_count\":1," \
	"\"keys\":[{\"user\":\"alice\",\"keypair\":\"laptop\",\"fingerprint\":\"SHA256:x\",\"state\":\"present\"}],"   \
	"\"drift\":{\"missing\":0,\"foreign\":0,\"inherited\":0},\"problems\":[\"mode\"],\"time\":9}"

struct key {
	struct secret secret;
	struct buffer blob;
};

static int make_key(void **state)
{
	static struct key key;

	assert_int_equal(sshsig_generate_key(&key.secret), 0);
	assert_int_equal(sshsig_public_blob(&key.secret, &key.blob), 0);
	*state = &key;
	return 0;
}

static int free_key(void **state)
{
	struct key *key = *state;
	secret_free(&key->secret);
	buffer_free(&key->blob);
	return 0;
}

static enum code read_signed(const struct key *key, const char *name_space, const char *payload, struct report *report)
{
	cleanup_buffer struct buffer text = {0}, armour = {0};

	buffer_append_format(&text, "%s\n", payload);
	assert_int_equal(buffer_status(&text), 0);
	assert_int_equal(sshsig_sign(&key->secret, name_space, text.bytes, text.size, &armour), 0);
	buffer_append(&text, armour.bytes, armour.size);
	assert_int_equal(buffer_status(&text), 0);
	return report_read(text.bytes, "vm-1", (const unsigned char *)key->blob.bytes, key->blob.size, report);
}

static void P101_only_the_pinned_key_in_its_namespace(void **state)
{
	struct key *key = *state;
	cleanup_report struct report report = {0};
	struct key other = {0};

	assert_int_equal(read_signed(key, SSHSIG_REPORT, WHOLE, &report), CODE_OK);
	assert_int_equal(report.marks.values[REPORT_SEQ], 7);
	assert_int_equal(report.marks.values[REPORT_TIME], 9);
	report_free(&report);
	assert_int_equal(read_signed(key, SSHSIG_RESULTS, WHOLE, &report), CODE_SIGNATURE_INVALID);
	assert_int_equal(sshsig_generate_key(&other.secret), 0);
	other.blob = key->blob;
	assert_int_equal(read_signed(&other, SSHSIG_REPORT, WHOLE, &report), CODE_SIGNER_UNKNOWN);
	secret_free(&other.secret);
	assert_int_equal(
		report_read(WHOLE "\n", "vm-1", (const unsigned char *)key->blob.bytes, key->blob.size, &report),
		CODE_SIGNATURE_MISSING);
}

/* Each member in turn of another type, or gone. */
static void every_member_has_its_type(void **state)
{
	static const struct {
		const char *from, *to;
	} changes[] = {{"\"v\":1", "\"v\":2"}, {"vm-1", "vm-2"}, {"\"generation\":3", "\"generation\":\"3\""},
		{"\"agent\":\"1.0.0\"", "\"agent\":1"}, {"\"seq\":7,", ""}, {"\"users\":[", "\"users\":[1,"},
		{"\"key\":true", "\"key\":1"}, {"\"keypair\":\"laptop\",", ""}, {"\"missing\":0,", ""},
		{"[\"mode\"]", "[{}]"}, {"\"usepam\":\"yes\"", "\"usepam\":true"}, {"\"time\":9", "\"time\":true"},
		{"laptop", "lap\\u001btop"}, {"alice", "al\\u009bice"}, {"\"mode\":\"enforce\",", ""}};

	for (size_t i = 0; i < ELEMENTS(changes); i++) {
		cleanup_buffer struct buffer text = {0};
		cleanup_report struct report report = {0};
		static const char whole[] = WHOLE;
		const char *at = strstr(whole, changes[i].from);
		assert_non_null(at);
		buffer_append(&text, whole, (size_t)(at - whole));
		buffer_append_format(&text, "%s%s", changes[i].to, at + strlen(changes[i].from));
		assert_int_equal(buffer_status(&text), 0);
		assert_int_equal(read_signed(*state, SSHSIG_REPORT, text.bytes, &report), CODE_MALFORMED);
	}
}

static void a_later_agent_may_say_more(void **state)
{
	cleanup_report struct report report = {0};
	cleanup_buffer struct buffer text = {0};

	buffer_append_format(&text, "{\"more\":[1],%s", &WHOLE[1]);
	assert_int_equal(buffer_status(&text), 0);
	assert_int_equal(read_signed(*state, SSHSIG_REPORT, text.bytes, &report), CODE_OK);
}

static void P17_what_went_back_shows(void **state)
{
	(void)state;
	struct report_marks before = {{10, 5, 2, 1, 9}}, now = {{11, 4, 2, 0, 9}};

	assert_int_equal(report_marks_lower(&before, &now), 1u << REPORT_SEQ | 1u << REPORT_TRUST);
	report_marks_raise(&before, &now);
	assert_int_equal(before.values[REPORT_TIME], 11);
	assert_int_equal(before.values[REPORT_SEQ], 5);
	assert_int_equal(report_marks_lower(&now, &before), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(P101_only_the_pinned_key_in_its_namespace),
		cmocka_unit_test(every_member_has_its_type),
		cmocka_unit_test(a_later_agent_may_say_more),
		cmocka_unit_test(P17_what_went_back_shows),
	};
	return cmocka_run_group_tests(tests, make_key, free_key);
}
