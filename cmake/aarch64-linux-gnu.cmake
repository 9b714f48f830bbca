# SPDX-License-Identifier: MIT
# Toolchain of the preset `neon`: 64-bit ARM by Debian's cross compiler, its programs run by qemu.
#   apt-get install g++-aarch64-linux-gnu qemu-user
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/aarch64-linux-gnu)
# The libraries that fovea needs are headers, and the same for every processor.
# Debian files some of their CMake packages under the processor of the machine that builds.
execute_process(COMMAND gcc -dumpmachine OUTPUT_VARIABLE build_machine OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
foreach(package xsimd xtensor xtl)
  set(${package}_DIR /usr/lib/${build_machine}/cmake/${package})
endforeach()
