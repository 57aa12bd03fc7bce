/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent/net/view_reader.h"

static const char text[] = "{\"v\":1,\"health\":\"ok\"}\n"
			   "{\"t\":\"command\",\"id\":\"c3\",\"detail\":\"\"}\n"
			   "{\"t\":\"command\",\"id\":\"c2\",\"detail\":\"a,\\\"uid\\\":1001,b\",\"uid\":1002}\n"
			   "{\"t\":\"command\",\"id\":\"c1\",\"detail\":\"\",\"uid\":1001}\n"
			   "{\"t\":\"unknown\",\"id\":\"c0\",\"uid\":1001}\n"
			   "{\"t\":\"user\",\"user\":\"alice\",\"uid\":1001}\n"
			   "{\"t\":\"user\",\"user\":\"uid\",\"uid\":4294967295}\n"
			   "{\"t\":\"key\",\"user\":\"alice\",\"uid\":100";

static void take(const char *bytes, size_t size, struct view *view)
{
	int descriptor = memfd_create("view", MFD_CLOEXEC);

	assert_true(descriptor >= 0 && write(descriptor, bytes, size) == (ssize_t)size);
	assert_int_equal(view_take(view, descriptor), 0);
}

static int collect(const cJSON *line, void *context)
{
	const char *id = "?";

	if (json_get_string(line, "id", &id) < 0)
		(void)!json_get_string(line, "user", &id);
	(void)strcat((char *)context, id);
	return 0;
}

static const char *walk(const struct view *view, enum view_type type, uid_t uid)
{
	static char found[64];

	found[0] = '\0';
	assert_int_equal(view_walk(view, type, uid, collect, found), 0);
	return found;
}

static void P70_lines_by_uid(void **state)
{
	struct view view = {.descriptor = -1};
	cleanup_json cJSON *status = NULL;
	(void)state;

	assert_int_equal(view_read_status(&view, &status), -ENOENT);
	take(text, sizeof(text) - 1, &view);
	assert_int_equal(view_read_status(&view, &status), 0);
	assert_string_equal(walk(&view, VIEW_COMMAND, 0), "c3c2c1");
	assert_string_equal(walk(&view, VIEW_COMMAND, 1001), "c1");
	assert_string_equal(walk(&view, VIEW_COMMAND, 1002), "c2");
	assert_string_equal(walk(&view, VIEW_COMMAND, (uid_t)-1), "");
	assert_string_equal(walk(&view, VIEW_USER, (uid_t)-1), "");
	assert_string_equal(walk(&view, VIEW_USER, 1001), "alice");
	assert_string_equal(walk(&view, VIEW_KEY, 100), ""); /* a torn line is none */
	assert_int_equal(view.counts[VIEW_COMMAND], 3);
	take("", 0, &view);
	assert_string_equal(walk(&view, VIEW_COMMAND, 0), "");
	assert_true(view_read_status(&view, &status) < 0);
	view_free(&view);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(P70_lines_by_uid)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
