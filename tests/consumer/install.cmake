# SPDX-License-Identifier: MIT
# Installs into an empty prefix, and compares what arrived with what is in the checkout.
cmake_minimum_required(VERSION 3.25)
file(REMOVE_RECURSE "${PREFIX}")
execute_process(COMMAND "${CMAKE_COMMAND}" --install "${BUILD_DIR}" --prefix "${PREFIX}"
                COMMAND_ERROR_IS_FATAL ANY OUTPUT_QUIET)

file(GLOB_RECURSE wanted RELATIVE "${SOURCE_DIR}/include" "${SOURCE_DIR}/include/*.hpp")
file(GLOB_RECURSE installed RELATIVE "${PREFIX}/include" "${PREFIX}/include/*")
list(SORT wanted)
list(SORT installed)
if(NOT wanted STREQUAL installed)
  message(FATAL_ERROR "headers in the checkout:\n${wanted}\ninstalled:\n${installed}")
endif()

file(GLOB_RECURSE texts "${PREFIX}/share/*.cmake" "${PREFIX}/share/*.pc")
foreach(file IN LISTS texts)
  file(READ "${file}" text)
  foreach(stranger "${SOURCE_DIR}/include" "${BUILD_DIR}/" "-march" "-Wall" "-fsanitize")
    string(FIND "${text}" "${stranger}" at)
    if(NOT at EQUAL -1)
      message(FATAL_ERROR "${file} mentions ${stranger}")
    endif()
  endforeach()
endforeach()
