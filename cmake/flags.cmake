# SPDX-License-Identifier: Apache-2.0
# Two interface targets: how everything is compiled (warnings) and how what ships is protected (hardening).
include(CheckCCompilerFlag)

add_library(latchkey_flags INTERFACE)
target_compile_definitions(latchkey_flags INTERFACE _GNU_SOURCE LATCHKEY_VERSION="${PROJECT_VERSION}")
target_include_directories(latchkey_flags INTERFACE ${PROJECT_SOURCE_DIR})

set(warnings
	-Wall -Wextra -Wconversion -Wsign-conversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes
	-Wwrite-strings -Wcast-qual -Wformat=2 -Wundef -Wvla -Walloca -Wnull-dereference -Wswitch-enum)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
	list(APPEND warnings -Wimplicit-fallthrough=5 -Wlogical-op -Wduplicated-cond)
	# gcc 11, which is EL 9's, does not know it.
	check_c_compiler_flag(-ftrivial-auto-var-init=zero LATCHKEY_HAS_ZERO_INIT)
	list(APPEND warnings $<$<BOOL:${LATCHKEY_HAS_ZERO_INIT}>:-ftrivial-auto-var-init=zero>)
else()
	list(APPEND warnings -Wimplicit-fallthrough)
endif()
if(LATCHKEY_WERROR)
	list(APPEND warnings -Werror)
endif()
target_compile_options(latchkey_flags INTERFACE ${warnings})

if(LATCHKEY_SANITIZE)
	target_compile_options(latchkey_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all
		-fno-omit-frame-pointer)
	target_link_options(latchkey_flags INTERFACE -fsanitize=address,undefined)
elseif(LATCHKEY_FUZZ)
	target_compile_options(latchkey_flags INTERFACE -fsanitize=fuzzer-no-link,address,undefined
		-fno-sanitize-recover=all)
	target_link_options(latchkey_flags INTERFACE -fsanitize=address,undefined)
else()
	# Control flow is guarded by another flag on each kind of processor.
	check_c_compiler_flag(-fcf-protection=full LATCHKEY_HAS_CF_PROTECTION)
	check_c_compiler_flag(-mbranch-protection=standard LATCHKEY_HAS_BRANCH_PROTECTION)
	target_compile_options(latchkey_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -fstack-protector-strong
		-fstack-clash-protection $<$<BOOL:${LATCHKEY_HAS_CF_PROTECTION}>:-fcf-protection=full>
		$<$<BOOL:${LATCHKEY_HAS_BRANCH_PROTECTION}>:-mbranch-protection=standard>)
	if(LATCHKEY_SHARED)
		target_compile_options(latchkey_flags INTERFACE -fPIC -fno-semantic-interposition)
	else()
		target_compile_options(latchkey_flags INTERFACE -fPIE)
	endif()
	target_link_options(latchkey_flags INTERFACE $<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>:-pie> -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed)
endif()

# For size: functions nobody calls go, and no tables for unwinding (the debug symbols have their own). Said to the linker too,
# which is the compiler where packages are optimized at link time.
if(NOT LATCHKEY_SANITIZE AND NOT LATCHKEY_FUZZ)
	check_c_compiler_flag(-Oz LATCHKEY_HAS_OZ)
	# -fno-plt: all is bound at start anyway, and a table of jumps for each program was 13 kB.
	set(size $<$<BOOL:${LATCHKEY_HAS_OZ}>:-Oz> -fno-plt -ffunction-sections -fdata-sections -fno-asynchronous-unwind-tables -fno-unwind-tables)
	target_compile_options(latchkey_flags INTERFACE "$<$<CONFIG:MinSizeRel>:${size}>")
	target_link_options(latchkey_flags INTERFACE "$<$<CONFIG:MinSizeRel>:${size};LINKER:--gc-sections>")
endif()
