/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "lib/file.h"
#include "lib/process.h"
#include "lib/sshd_process.h"
#include "lib/sshd_sockets.h"
#include "plugins/sshd/place.h"
#include "plugins/sshd/settings.h"

static void lines_and_settings(void **state)
{
	cleanup_settings struct settings settings = {0};
	cleanup_buffer struct buffer text = {0};
	(void)state;

	assert_int_equal(settings_parse("# x\npasswordauthentication=no\nPasswordAuthentication yes\nBanner none\n"
					"AuthorizedKeysFile .ssh/a \"/etc/my keys/%u\"\nPermitRootLogin \"no",
				 &settings),
		0);
	assert_string_equal(settings.values[SETTING_PASSWORD], "no");
	assert_null(settings.values[SETTING_ROOT]);
	assert_int_equal(settings_format(&settings, &text), 0);
	assert_string_equal(text.bytes, "PasswordAuthentication no\nAuthorizedKeysFile .ssh/a \"/etc/my keys/%u\"\n");
}

static void a_change_goes_through_its_plan(void **state)
{
	cleanup_settings struct settings present = {0}, next = {0};
	cleanup_settings_change struct settings_change change = {0}, again = {0};
	cleanup_free char *json = NULL;
	cleanup_json cJSON *plan = NULL;
	(void)state;

	assert_int_equal(settings_put(&present, SETTING_ROOT, "no"), 0);
	assert_int_equal(settings_put(&present, SETTING_KEYBOARD, "no"), 0);
	assert_int_equal(settings_touch(&change, &present, SETTING_PASSWORD, "yes"), 0);
	assert_int_equal(settings_touch(&change, &present, SETTING_KEYBOARD, NULL), 0);
	assert_int_equal(settings_change_write(&change, &json), 0);
	assert_string_equal(json,
		"{\"before\":{\"PasswordAuthentication\":\"\",\"KbdInteractiveAuthentication\":\"no\"},"
		"\"after\":{\"PasswordAuthentication\":\"yes\",\"KbdInteractiveAuthentication\":\"\"}}");
	assert_int_equal(json_parse_object(json, strlen(json), &plan), 0);
	assert_int_equal(settings_change_read(plan, &again), 0);
	assert_true(settings_match(&again, &again.before, &present));
	assert_false(settings_match(&again, &again.after, &present));
	assert_int_equal(settings_apply(&again, &present, &next), 0);
	assert_string_equal(next.values[SETTING_PASSWORD], "yes");
	assert_null(next.values[SETTING_KEYBOARD]);
	assert_string_equal(next.values[SETTING_ROOT], "no"); /* not touched: kept */
	settings_change_exchange(&again);
	assert_true(settings_match(&again, &again.after, &present));
	assert_false(settings_change_leave_foreign(&again, &next));
	assert_int_equal(settings_put(&next, SETTING_PASSWORD, "no"), 0); /* neither before nor after */
	assert_true(settings_change_leave_foreign(&again, &next));
	assert_false(again.touched[SETTING_PASSWORD]);
	assert_true(again.touched[SETTING_KEYBOARD]);
}

static void a_plan_that_is_not_ours_is_refused(void **state)
{
	static const char *const plans[] = {"{}", "{\"before\":{},\"after\":7}",
		"{\"before\":{\"PermitRootLogin\":\"no\"},\"after\":{}}",
		"{\"before\":{\"PermitRootLogin\":\"no\"},\"after\":{\"PermitRootLogin\":\"no\\nMatch all\"}}"};
	(void)state;
	for (size_t i = 0; i < ELEMENTS(plans); i++) {
		cleanup_json cJSON *plan = NULL;
		struct settings_change change;
		assert_int_equal(json_parse_object(plans[i], strlen(plans[i]), &plan), 0);
		assert_int_equal(settings_change_read(plan, &change), -EBADMSG);
	}
}

static void paths_are_quoted_where_they_must(void **state)
{
	const char *const good[] = {"a", "b c", "#d", "e=f", ""}, *const bad[] = {"a\"b"};
	cleanup_buffer struct buffer out = {0};
	(void)state;
	assert_int_equal(settings_join(good, ELEMENTS(good), &out), 0);
	assert_string_equal(out.bytes, "a \"b c\" \"#d\" \"e=f\" \"\"");
	assert_int_equal(settings_join(bad, 1, &out), -EINVAL);
}

static void P55_every_byte_of_the_main_file_is_kept(void **state)
{
	static const char *const mains[] = {"", "\n", "PasswordAuthentication yes", "Match all\r\nX11Forwarding no\r\n",
		"# END latchkey\nPort 22\n", "# BEGIN latchkey: x\nPort 22\n", "\xef\xbb\xbfPort 22\n"};
	(void)state;
	for (size_t i = 0; i < ELEMENTS(mains); i++) {
		char path[] = "/tmp/latchkey-place.XXXXXX", detail[SSHD_DETAIL_MAX + 1];
		cleanup_settings struct settings wanted = {0}, none = {0};
		cleanup_close int directory = -1, root = -1;
		cleanup_free char *bytes = NULL;
		size_t size;

		assert_non_null(mkdtemp(path));
		root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_int_equal(file_make_directory(root, "etc/ssh", 0755, &directory), 0);
		assert_int_equal(file_replace_simple(directory, "sshd_config", mains[i], strlen(mains[i]), 0640), 0);
		assert_int_equal(settings_put(&wanted, SETTING_PASSWORD, "no"), 0);
		for (unsigned step = 0; step < 3; step++) {
			cleanup_place struct place place = {0};
			bool changed = false;
			assert_int_equal(place_read(root, &place), 0);
			assert_int_equal(place_write(&place, step == 2 ? &none : &wanted, &changed, detail), 0);
			assert_int_equal(changed, step != 1);
			free(bytes);
			bytes = NULL;
			assert_int_equal(file_read(directory, "sshd_config", 65536, &bytes, &size), 0);
			if (step < 2) {
				assert_int_equal(strncmp(bytes, "# BEGIN latchkey", 16), 0);
				assert_non_null(strstr(bytes, "\nPasswordAuthentication no\n# END latchkey\n"));
				assert_string_equal(bytes + size - strlen(mains[i]), mains[i]);
			} else {
				assert_string_equal(bytes, mains[i]);
			}
		}
		assert_int_equal(file_remove(directory, "sshd_config"), 0);
		assert_int_equal(unlinkat(root, "etc/ssh", AT_REMOVEDIR), 0);
		assert_int_equal(unlinkat(root, "etc", AT_REMOVEDIR), 0);
		assert_int_equal(rmdir(path), 0);
	}
}

static void listening_sockets_are_read(void **state)
{
	static const char four[] =
		"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
		"   0: 0100007F:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1 0 100 "
		"0 0 10 0\n"
		"   1: 0100007F:0016 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 78 1 0 100 "
		"0 0 10 0\n"
		"   2: 0100007F:0017 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 79 1 0 100 "
		"0 0 10 0\n"
		"   3: 01\n\n   4: 0100007F:0016 00000000:0000 0A\n";
	static const char six[] = "  sl  local_address\n   0: 00000000000000000000000000000000:0016 "
				  "00000000000000000000000000000000:0000 0A "
				  "00000000:00000000 00:00000000 00000000     0        0 80 1 0 100 0 0 10 0";
	struct sshd_sockets sockets = {.count = 0}, before;
	(void)state;

	sshd_sockets_parse(four, false, 22, &sockets);
	assert_int_equal(sockets.count, 1);
	assert_int_equal(sockets.sockets[0].inode, 77);
	assert_int_equal(sockets.sockets[0].address[0], 127);
	before = sockets;
	assert_false(sshd_sockets_have_new(&before, &sockets));
	sshd_sockets_parse(six, true, 22, &sockets);
	assert_int_equal(sockets.count, 2);
	assert_int_equal(sockets.sockets[1].inode, 80);
	assert_true(sshd_sockets_have_new(&before, &sockets));
	sshd_sockets_parse("", false, 22, &sockets);
	sshd_sockets_parse("x\n", false, 22, &sockets);
	assert_int_equal(sockets.count, 2);
}

static void only_a_listener_is_a_listener(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		size_t size;
		bool listens;
	} cases[] = {
#define CASE(text, listens) {text, sizeof(text) - 1, listens}
		CASE("sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups", true),
		CASE("/usr/sbin/sshd", true),
		CASE("/usr/sbin/sshd\0-D\0", true),
		CASE("/usr/sbin/sshd\0-De\0-f\0-i\0-oPidFile=-t\0-p\0"
		     "22\0",
			true),
		CASE("/usr/sbin/sshd\0-i\0", false),
		CASE("/usr/sbin/sshd\0-D\0-R\0", false),
		CASE("/usr/sbin/sshd\0-f\0/etc/f\0-ei\0", false),
		CASE("/usr/sbin/sshd\0-T\0-C\0user=a\0", false),
		CASE("/usr/sbin/sshd\0-t", false),
		CASE("sshd: alice [priv]", false),
		CASE("/usr/libexec/latchkey/plugins/sshd", false),
		CASE("/home/alice/sshd", false),
		CASE("sshd", false),
		CASE("", false),
#undef CASE
	};
	for (size_t i = 0; i < ELEMENTS(cases); i++)
		assert_int_equal(sshd_process_is_command_line(cases[i].text, cases[i].size), cases[i].listens);
}

static void options_of_the_running_sshd(void **state)
{
	static const struct {
		const char *words[8];
		const char *options; /* joined by | */
	} cases[] = {
		{{NULL}, ""},
		{{"-D", NULL}, ""},
		{{"-De", "-p", "2222", NULL}, "-p2222"},
		{{"-p2222", "-4", "-o", "PermitRootLogin=yes", NULL}, "-p2222|-4|-oPermitRootLogin=yes"},
		{{"-o", "PermitRootLogin", "yes", "-6D", "-oBanner=x", NULL}, "-oPermitRootLogin yes|-6|-oBanner=x"},
		{{"-E", "/var/log/x", "-f", "/etc/other", "-h/key", NULL}, "-f/etc/other"},
		{{"-o", NULL}, "-o"},
		{{"x", "-p", "1", NULL}, ""},
		{{"-", "-p", "1", NULL}, ""},
	};
	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		cleanup_buffer struct buffer joined = {0};
		cleanup_names char **options = NULL;
		char *words[8] = {0};
		for (unsigned j = 0; cases[i].words[j]; j++)
			words[j] = strdup(cases[i].words[j]);
		assert_int_equal(sshd_process_parse_options(words, &options), 0);
		for (unsigned j = 0; options[j]; j++)
			buffer_append_format(&joined, "%s%s", j ? "|" : "", options[j]);
		assert_string_equal(joined.size ? joined.bytes : "", cases[i].options);
		for (unsigned j = 0; words[j]; j++)
			free(words[j]);
	}
}

/* Both ways see the same sockets, and the inode that fstat shows. */
static void P54_listeners_are_found_in_proc(void **state)
{
	(void)state;
	for (unsigned six = 0; six < 2; six++) {
		struct sockaddr_in four_address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
		struct sockaddr_in6 six_address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
		struct sockaddr *address = six ? (void *)&six_address : (void *)&four_address;
		socklen_t size = six ? sizeof(six_address) : sizeof(four_address);
		struct sshd_sockets asked;
		struct stat status;
		char port[16];

		cleanup_close int descriptor = socket(six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (descriptor < 0 || bind(descriptor, address, size) < 0) {
			assert_true(six); /* a machine without IPv6 */
			continue;
		}
		assert_int_equal(getsockname(descriptor, address, &size), 0);
		(void)snprintf(port, sizeof(port), "%u", ntohs(six ? six_address.sin6_port : four_address.sin_port));
		struct sshd_value values[] = {{"port", "1"}, {"port", port}, {"listenaddress", "0.0.0.0:1"}};
		const struct sshd_effective effective = {values, ELEMENTS(values), false};
		assert_int_equal(sshd_sockets_read(getpid(), &effective, &asked), 0);
		assert_int_equal(asked.count, 0);
		assert_int_equal(listen(descriptor, 1), 0);
		assert_int_equal(sshd_sockets_read(getpid(), &effective, &asked), 0);
		assert_int_equal(fstat(descriptor, &status), 0);
		assert_int_equal(asked.count, 1);
		assert_int_equal(asked.sockets[0].inode, status.st_ino);
	}
}

#define CONNECTIONS 200

/* What a busy machine has behind its listeners is not read, and does not hide them. */
static void P54_connections_do_not_hide_listeners(void **state)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t size = sizeof(address);
	struct sshd_sockets found;
	int clients[CONNECTIONS];
	char port[16];

	(void)state;
	cleanup_close int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(listener, CONNECTIONS), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(connect(clients[i], (struct sockaddr *)&address, size), 0);
	}
	(void)snprintf(port, sizeof(port), "%u", ntohs(address.sin_port));
	struct sshd_value values[] = {{"port", port}};
	const struct sshd_effective effective = {values, ELEMENTS(values), false};
	assert_int_equal(sshd_sockets_read(getpid(), &effective, &found), 0);
	assert_int_equal(found.count, 1);
	for (unsigned i = 0; i < CONNECTIONS; i++)
		(void)close(clients[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_and_settings),
		cmocka_unit_test(a_change_goes_through_its_plan),
		cmocka_unit_test(a_plan_that_is_not_ours_is_refused),
		cmocka_unit_test(paths_are_quoted_where_they_must),
		cmocka_unit_test(P55_every_byte_of_the_main_file_is_kept),
		cmocka_unit_test(listening_sockets_are_read),
		cmocka_unit_test(options_of_the_running_sshd),
		cmocka_unit_test(only_a_listener_is_a_listener),
		cmocka_unit_test(P54_listeners_are_found_in_proc),
		cmocka_unit_test(P54_connections_do_not_hide_listeners),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
