# SPDX-License-Identifier: MIT
# Compiles SOURCE with FOVEA_SHOULD_FAIL=SHOULD_FAIL and checks what the compiler makes of it.
cmake_minimum_required(VERSION 3.25)

file(STRINGS "${SOURCE}" first LIMIT_COUNT 1)
if(NOT first MATCHES "^// expect: (.+)$")
  message(FATAL_ERROR "${SOURCE}: the first line must be '// expect: <regular expression>'")
endif()
set(expected "${CMAKE_MATCH_1}")

set(includes "-I${INCLUDE_DIR}")
foreach(folder IN LISTS SYSTEM_INCLUDE_DIRS)
  list(APPEND includes -isystem "${folder}")
endforeach()
execute_process(
  COMMAND "${CMAKE_COMMAND}" -E env LC_ALL=C
    "${COMPILER}" -std=c++20 ${ARCH_FLAG} ${includes} "-DFOVEA_SHOULD_FAIL=${SHOULD_FAIL}" -fsyntax-only "${SOURCE}"
  RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)

if(NOT SHOULD_FAIL)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${SOURCE} must compile with FOVEA_SHOULD_FAIL=0:\n${output}")
  endif()
elseif(result EQUAL 0)
  message(FATAL_ERROR "${SOURCE} must not compile with FOVEA_SHOULD_FAIL=1, and did")
elseif(NOT output MATCHES "${expected}")
  message(FATAL_ERROR "${SOURCE} does not compile, but for another reason than\n  ${expected}\n${output}")
endif()
