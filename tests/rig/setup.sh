# SPDX-License-Identifier: Apache-2.0
# Sourced by ./demo and ./check: installs what a fresh Debian 12 lacks, builds and stages. Needs root.

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# Libraries, then what runs the tests. Nothing of it is started on this machine.
packages_build="gcc libc6-dev cmake ninja-build pkg-config libcjson-dev libsodium-dev libbsd-dev
	libsystemd-dev libcurl4-openssl-dev libmicrohttpd-dev libsqlite3-dev libcrypt-dev libcmocka-dev"
packages_run="e2fsprogs openssl openssh-server openssh-client sshpass python3 iproute2 util-linux passwd sudo procps binutils"
packages_vm="debhelper dh-apparmor dpkg-dev fakeroot lintian mmdebstrap systemd-container qemu-system-x86 qemu-utils e2fsprogs dosfstools mtools genisoimage
	selinux-policy-dev policycoreutils semodule-utils make m4 bzip2 rpm rpmlint"
packages_check="curl systemd clang libclang-rt-14-dev clang-format clang-tidy strace attr acl fail2ban nftables"

die() {
	echo "$*" >&2
	exit 1
}

say() {
	printf '\n\033[1m== %s\033[0m\n' "$*"
}

[ "$(id -u)" = 0 ] || die "$0 needs root: it installs packages and makes namespaces. Run it as: sudo $0"

missing_packages() {
	local package
	for package in "$@"; do
		dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || printf '%s ' "$package"
	done
}

# install_packages NAME…: with a policy-rc.d for that time, so that an installed sshd is not started here.
install_packages() {
	local missing policy=/usr/sbin/policy-rc.d saved=
	missing=$(missing_packages "$@")
	[ -n "$missing" ] || return 0
	command -v apt-get >/dev/null || die "these are needed and apt-get is not here to install them: $missing"
	echo "installing: $missing"
	if [ -e $policy ]; then
		saved=$(mktemp)
		cp -p $policy "$saved"
	fi
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
	local status=0
	# shellcheck disable=SC2086
	{ DEBIAN_FRONTEND=noninteractive apt-get update -qq &&
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing; } \
		</dev/null >"$project/build/apt.log" 2>&1 || status=$?
	if [ -n "$saved" ]; then mv "$saved" $policy; else rm -f $policy; fi
	[ $status = 0 ] || { tail -n 20 "$project/build/apt.log" >&2; die "apt-get failed; the whole log: build/apt.log"; }
}

# build PRESET: configures and builds; the output only when it fails.
build() {
	local log=$project/build/$1.log
	(cd "$project" && cmake --preset "$1" && ninja -C "build/$1") >"$log" 2>&1 || { tail -n 40 "$log" >&2; die "the build of $1 failed"; }
}

# stage PRESET: what the packages will install, under build/PRESET/stage, where the rig takes it from.
stage() {
	rm -rf "$project/build/$1/stage"
	DESTDIR=$project/build/$1/stage cmake --install "$project/build/$1" >"$project/build/stage.log" 2>&1 ||
		{ tail -n 20 "$project/build/stage.log" >&2; die "staging failed"; }
}

mkdir -p "$project/build"
