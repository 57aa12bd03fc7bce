#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""lint.py includes|calls|closure|headers|format|tidy|options|tables|packages [BUILD]: the rules of docs/ARCHITECTURE.md that a reader cannot
be trusted to see. Prints each breach as FILE:LINE: WHAT and exits 1 when there is any."""
import os
import re
import subprocess
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
breaches = []


def breach(place, what):
    breaches.append(f"{place}: {what}")


def tracked(*endings):
    names = subprocess.run(["git", "-C", ROOT, "-c", f"safe.directory={ROOT}", "ls-files", "-co", "--exclude-standard"],
                           stdout=subprocess.PIPE, check=True, text=True).stdout.split("\n")
    names = [n for n in names if n.endswith(endings) and os.path.exists(os.path.join(ROOT, n))]
    assert names, "git lists no files"
    return names


def lines(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read().split("\n")


# Which folders may include which: the arrows of docs/ARCHITECTURE.md.
ALLOWED = {
    "lib": ["lib"],
    "policy": ["policy", "lib"],
    "agent/apply": ["agent/apply", "policy", "lib"],
    "agent/daemon": ["agent/daemon", "lib"],
    "agent/net": ["agent/net", "lib"],
    "agent/ctl": ["agent/ctl", "policy", "lib"],
    "agent/medium": ["agent/medium", "lib"],
    "plugins/account": ["plugins/account", "lib"],
    "plugins/authorized-keys": ["plugins/authorized-keys", "lib"],
    "plugins/sshd": ["plugins/sshd", "lib"],
    "plugins/login": ["plugins/login", "lib"],
    "console/endpoint": ["console/endpoint", "lib"],
    "console/cli": ["console/cli", "lib"],
}
CURL = ("agent/net", "console")


def lint_includes():
    for name in tracked(".c", ".h"):
        folder = next((f for f in ALLOWED if name.startswith(f + "/")), None)
        if not folder:
            continue
        for number, line in enumerate(lines(name), 1):
            own = re.match(r'#include "([^"]+)"', line)
            if own and not any(own[1].startswith(f + "/") for f in ALLOWED[folder]):
                breach(f"{name}:{number}", f"{folder} must not include {own[1]}")
            if own and not os.path.exists(os.path.join(ROOT, own[1])):
                breach(f"{name}:{number}", f"no such file: {own[1]} (paths are from the project's root)")
            if "<curl/" in line and not folder.startswith(CURL):
                breach(f"{name}:{number}", "only agent/net and console include curl")


BANNED = [
    (r"\b(strcpy|strcat|sprintf|vsprintf|gets|strtok|atoi|atol|strtol|strtoul|strtoll|strtoull|sscanf|system|popen|tmpnam|"
     r"access|alloca)\s*\(", "banned call"),
    (r"\b(chown|lchown|chmod)\s*\(", "path-based chown or chmod"),
    (r"\bfchmodat\s*\(", "path-based chmod"),
    (r"\bcJSON_Parse\s*\(|\bcJSON_GetObjectItem\s*\(|\bvalueint\b", "not through lib/json"),
    (r"\blckpwdf\s*\(", "lckpwdf: see plugins/account"),
    (r"\b(rand|srand|random|srandom)\s*\(\s*\)", "random numbers come from getrandom"),
    (r"(?<![.\w])(renameat2?|rename|unlinkat|unlink|mkdirat|mkdir|fsync|fdatasync|ftruncate|linkat|symlinkat|fchown|fchmod|"
     r"fsetxattr|fallocate)\s*\(", "not through lib/sys"),
    (r"return errno;", "a positive errno as a return value"),
    (r"^\s*/\*.*\b(XXX|FIXME|TODO)\b|//\s", "a note to oneself, or a // comment"),
]


def lint_calls():
    for name in tracked(".c", ".h"):
        if name.startswith("tests/"):
            continue
        text = lines(name)
        for number, line in enumerate(text, 1):
            code = re.sub(r'"(\\.|[^"\\])*"', '""', line)
            if re.match(r"\s*(/?\*)", code):
                continue
            for pattern, what in BANNED:
                if what == "not through lib/sys" and not re.match(r"(lib/(?!sys)|plugins/|agent/(apply|daemon)/|policy/)", name):
                    continue
                if re.search(pattern, re.sub(r"/\*.*?\*/", "", code)):
                    breach(f"{name}:{number}", f"{what}: {line.strip()}")
        if len(text) > 700:
            breach(name, f"{len(text)} lines: split by idea")


# What each program may link, by `readelf -d`.
CLOSURE = {
    "usr/sbin/latchkeyd": ["libc"],
    "usr/libexec/latchkey/latchkey-net": ["libc", "libcurl", "libsystemd", "libcjson"],
    "usr/libexec/latchkey/latchkey-medium": ["libc"],
    "usr/sbin/latchkey-apply": ["libc", "libcjson", "libsodium"],
    "usr/libexec/latchkey/plugins/account": ["libc", "libcjson", "libsodium", "libcrypt"],
    "usr/libexec/latchkey/plugins/authorized-keys": ["libc", "libcjson", "libsodium"],
    "usr/libexec/latchkey/plugins/sshd": ["libc", "libcjson", "libsystemd"],
    "usr/libexec/latchkey/plugins/login": ["libc", "libcjson", "libsodium"],
    "usr/bin/latchctl": ["libc", "libcjson", "libsodium"],
    "usr/sbin/latchkey-endpoint": ["libc", "libcjson", "libsodium", "libmicrohttpd", "libsqlite3"],
    "usr/bin/latchkey": ["libc", "libcjson", "libsodium", "libcurl", "libbsd"],
}


def lint_closure(build):
    stage = os.path.join(build, "stage")
    found = []
    for folder, _, names in os.walk(stage):
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                if file.read(4) == b"\x7fELF":
                    found.append(os.path.relpath(os.path.join(folder, name), stage))
    for program in sorted(set(CLOSURE) | set(found)):
        if program not in CLOSURE or program not in found:
            breach(program, "not installed" if program in CLOSURE else "a program that this lint does not know")
            continue
        path = os.path.join(stage, program)
        dynamic = subprocess.run(["readelf", "-dW", path], stdout=subprocess.PIPE, check=True, text=True).stdout
        needed = re.findall(r"\(NEEDED\).*\[(lib\w+)[.-]", dynamic)
        for library in needed:
            if library not in CLOSURE[program]:
                breach(program, f"links {library}")
        if not needed:
            breach(program, "readelf shows no libraries")
        if "BIND_NOW" not in dynamic or "PIE" not in dynamic:
            breach(program, "is not hardened (-z now, -pie)")


def lint_headers():
    for name in tracked(".c", ".h", ".py", ".sh", ".cmake", "CMakeLists.txt"):
        if "SPDX-License-Identifier: Apache-2.0" not in "\n".join(lines(name)[:3]):
            breach(f"{name}:1", "no SPDX line")


def lint_format():
    names = [n for n in tracked(".c", ".h")]
    done = subprocess.run(["clang-format", "--dry-run", "-Werror", *names], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    for line in done.stderr.split("\n"):
        if "error:" in line:
            breach(line.split(" error:")[0].rstrip(":"), "not as clang-format has it")


def lint_tidy():
    """clang-tidy over what ships, with the flags of the fuzz preset, which is clang's."""
    database = os.path.join(ROOT, "build", "fuzz")
    if not os.path.exists(os.path.join(database, "compile_commands.json")):
        breach("build/fuzz", "missing: cmake --preset fuzz makes the flags that clang-tidy needs")
        return
    names = [n for n in tracked(".c") if not n.startswith("tests/")]
    done = subprocess.run(["xargs", "-P", "2", "-n", "8", "clang-tidy", "--quiet", "-p", database], cwd=ROOT, text=True,
                          input="\n".join(names), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    found = sorted({line for line in done.stdout.split("\n") if "error:" in line or "warning:" in line})
    for line in found:
        breach(line.split(" error:")[0].rstrip(":").replace(ROOT + "/", ""), line.split("error:")[-1].strip())
    if done.returncode != 0 and not found:
        breach("clang-tidy", done.stderr[-500:])


MAN = {"latchkeyd": 8, "latchkey-net": 8, "latchkey-medium": 8, "latchkey-apply": 8, "latchkey-endpoint": 8, "latchctl": 1, "latchkey": 1}


def lint_options(build):
    """Every long option that a program's --help names stands in its manual page, and the other way round."""
    stage = os.path.join(build, "stage")
    for program in CLOSURE:
        name = os.path.basename(program)
        if name not in MAN:
            continue
        page = os.path.join(ROOT, "man", f"{name}.{MAN[name]}")
        if not os.path.exists(page):
            breach(f"man/{name}.{MAN[name]}", "missing")
            continue
        with open(page, encoding="utf-8") as file:
            text = file.read().replace("\\-", "-")
        def help_of(*command):
            return subprocess.run([os.path.join(stage, program), *command, "--help"], stdout=subprocess.PIPE, check=True, text=True).stdout
        shown = help_of()
        if "each with its own --help" in shown:
            commands = re.findall(r"^  ([a-z][a-z-]*(?: [a-z][a-z-]*)?)(?= |$)", shown.split("Options:")[0], re.M)
            shown += "".join(help_of(*command.split()) for command in commands)
        in_help, in_page = (set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", t)) for t in (shown, text))
        for option in in_help - in_page:
            breach(f"man/{name}.{MAN[name]}", f"does not name {option}, which --help does")
        for option in in_page - in_help:
            breach(f"man/{name}.{MAN[name]}", f"names {option}, which --help does not")


TABLES = {"lib/agent_config.c": "man/latchkey.conf.5", "policy/policy.c": "man/latchkey-policy.5"}


def lint_tables():
    """Every configuration key stands in its manual page with its default, every result code in latchkey-protocol(7)."""
    for source, page in TABLES.items():
        text = "\n".join(lines(source))
        rows = re.findall(r'\{"(\w+)", "(\w+)", CONFIG_\w+, (?:NULL|"([^"]*)"), (?:NULL|"([^"]*)"),', text)
        assert len(rows) > 5, f"no key table in {source}"
        sections, section = {}, None
        for line in lines(page):
            head = re.match(r"\.SS \[(\w+)", line)
            section = head[1] if head else section
            sections[section] = sections.get(section, "") + line + "\n"
        for section, key, span, default in rows:
            where = sections.get(section, "")
            if not re.search(rf"\b{key}\b", where):
                breach(page, f"does not name [{section}] {key}")
            elif default and f"default: {default}" not in where:
                breach(page, f"[{section}] {key}: the default is {default}")

    codes = re.findall(r'X\(\w+, "(\w+)", \w+\)', "\n".join(lines("lib/code.h")))
    assert len(codes) > 50, "no code table in lib/code.h"
    protocol = "\n".join(lines("man/latchkey-protocol.7"))
    for code in codes:
        if not re.search(rf"\b{code}\b", protocol):
            breach("man/latchkey-protocol.7", f"does not name the code {code}")


def lint_packages():
    """What the build asks pkg-config for, something links; the spec asks for the same, and for no newer or older cmake."""
    wanted = dict(re.findall(r"pkg_check_modules\((\w+) REQUIRED IMPORTED_TARGET ([\w-]+)\)", "\n".join(lines("cmake/libraries.cmake"))))
    linked = "\n".join("\n".join(lines(name)) for name in tracked("CMakeLists.txt"))
    for name, module in wanted.items():
        if f"PkgConfig::{name}" not in linked:
            breach("cmake/libraries.cmake", f"{module}: nothing links it")
    spec = "\n".join(lines("rpm/latchkey.spec"))
    asked = set(re.findall(r"^BuildRequires: +pkgconfig\(([\w-]+)\)", spec, re.M))
    for module in sorted(asked ^ set(wanted.values())):
        breach("rpm/latchkey.spec", f"pkgconfig({module}): asked for there or in cmake/libraries.cmake, not in both")
    version = re.search(r"cmake_minimum_required\(VERSION ([\d.]+)\)", "\n".join(lines("CMakeLists.txt")))[1]
    if f"BuildRequires:  cmake >= {version}\n" not in spec:
        breach("rpm/latchkey.spec", f"needs cmake >= {version}")


def main():
    build = os.path.abspath(sys.argv[2]) if len(sys.argv) > 2 else None
    kind = sys.argv[1]
    function = globals()["lint_" + kind]
    function(build) if kind in ("closure", "options") else function()
    for text in breaches:
        print(text)
    print(f"lint {kind}: {len(breaches)} breaches")
    sys.exit(1 if breaches else 0)


main()
