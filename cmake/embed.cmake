# SPDX-License-Identifier: Apache-2.0
# latchkey_embed(TARGET SYMBOL FILE): compiles FILE's text into TARGET as `const char SYMBOL[]`, ending in a NUL.
function(latchkey_embed target symbol file)
	get_filename_component(source ${file} ABSOLUTE)
	set(output ${CMAKE_CURRENT_BINARY_DIR}/embedded_${symbol}.c)
	add_custom_command(OUTPUT ${output}
		COMMAND ${CMAKE_COMMAND} -DSOURCE=${source} -DOUTPUT=${output} -DSYMBOL=${symbol}
			-P ${PROJECT_SOURCE_DIR}/cmake/embed_file.cmake
		DEPENDS ${source} ${PROJECT_SOURCE_DIR}/cmake/embed_file.cmake VERBATIM)
	target_sources(${target} PRIVATE ${output})
endfunction()
