# SPDX-License-Identifier: MIT
# Flags of fovea's own tests, benchmarks and examples. Neither target is installed or reaches whoever links fovea.
include_guard()

add_library(fovea_dev_flags INTERFACE)
target_compile_options(fovea_dev_flags INTERFACE -Wall -Wextra -Wconversion -Wshadow)
if(FOVEA_WARNINGS_AS_ERRORS)
  target_compile_options(fovea_dev_flags INTERFACE -Werror)
endif()

add_library(fovea_dev_arch INTERFACE)
if(FOVEA_ARCH)
  target_compile_options(fovea_dev_arch INTERFACE "-march=${FOVEA_ARCH}")
endif()
