# SPDX-License-Identifier: MIT
# fovea_dependency(<name> ...) makes one library available as an imported target, from the system where find_package
# finds it, from its repository otherwise. Header-only libraries are fetched without their own CMake code: an imported
# target with an include folder is all they need, and nothing of theirs is configured, built or installed by us.
#
# The targets that the rest of the build uses: xsimd::xsimd, xtensor::xtensor, Eigen3::Eigen, doctest::doctest,
# benchmark::benchmark, nlohmann_json::nlohmann_json, CLI11::CLI11, PNG::PNG, Threads::Threads.
include_guard()
include(FetchContent)

# Gives the target <wanted> whatever name the installed package exports it under.
function(fovea_alias_target wanted)
  if(TARGET ${wanted})
    return()
  endif()
  foreach(name IN LISTS ARGN)
    if(TARGET ${name})
      add_library(${wanted} INTERFACE IMPORTED GLOBAL)
      set_property(TARGET ${wanted} PROPERTY INTERFACE_LINK_LIBRARIES ${name})
      return()
    endif()
  endforeach()
endfunction()

# fovea_dependency(<package> TARGET <target> [ALSO <other target names>...] [VERSION <minimum>]
#                  DEBIAN <package> [REQUIRED]
#                  [REPOSITORY <url> TAG <tag> [INCLUDE <folder>] [BUILD] [LINK <targets>...]])
# After it <target> exists, or, without REQUIRED, it may not.
function(fovea_dependency package)
  cmake_parse_arguments(PARSE_ARGV 1 arg "REQUIRED;BUILD" "TARGET;VERSION;DEBIAN;REPOSITORY;TAG;INCLUDE" "ALSO;LINK")
  fovea_alias_target(${arg_TARGET} ${arg_ALSO})
  if(TARGET ${arg_TARGET})
    message(STATUS "fovea: ${package} ${${package}_VERSION} found")  # brought by an enclosing project
    return()
  endif()

  # The version is compared here: xsimd's package accepts its own major version only, and every one since 8.1 will do.
  find_package(${package} QUIET GLOBAL)
  string(REGEX MATCH "^[0-9.]+" found_version "${${package}_VERSION}")
  if(${package}_FOUND AND arg_VERSION AND found_version AND found_version VERSION_LESS arg_VERSION)
    message(FATAL_ERROR "fovea: ${package} ${arg_VERSION} or later is needed; found ${found_version} in "
                        "${${package}_DIR}")
  endif()
  if(${package}_FOUND)
    fovea_alias_target(${arg_TARGET} ${arg_ALSO})
    message(STATUS "fovea: ${package} ${found_version} found")
    set(CMAKE_MODULE_PATH "${CMAKE_MODULE_PATH}" PARENT_SCOPE)  # doctest's package adds to it
    return()
  endif()

  if(NOT FOVEA_FETCH_DEPENDENCIES OR NOT arg_REPOSITORY)
    if(arg_REQUIRED)
      message(FATAL_ERROR "fovea: ${package} not found. Debian: apt-get install ${arg_DEBIAN}"
                          ", or set CMAKE_PREFIX_PATH, or FOVEA_FETCH_DEPENDENCIES=ON.")
    endif()
    message(STATUS "fovea: ${package} not found (Debian: ${arg_DEBIAN})")
    return()
  endif()

  message(STATUS "fovea: ${package} not found, fetching ${arg_TAG} (Debian: ${arg_DEBIAN})")
  if(arg_BUILD)
    FetchContent_Declare(${package} GIT_REPOSITORY ${arg_REPOSITORY} GIT_TAG ${arg_TAG} GIT_SHALLOW ON SYSTEM)
    FetchContent_MakeAvailable(${package})
  else()
    FetchContent_Declare(${package} GIT_REPOSITORY ${arg_REPOSITORY} GIT_TAG ${arg_TAG} GIT_SHALLOW ON
                         SOURCE_SUBDIR no-cmake-code-of-theirs)
    FetchContent_MakeAvailable(${package})
    string(TOLOWER ${package} lower)
    add_library(${arg_TARGET} INTERFACE IMPORTED GLOBAL)
    target_include_directories(${arg_TARGET} INTERFACE "${${lower}_SOURCE_DIR}/${arg_INCLUDE}")
    target_link_libraries(${arg_TARGET} INTERFACE ${arg_LINK})
    set(${package}_SOURCE_DIR "${${lower}_SOURCE_DIR}" PARENT_SCOPE)
  endif()
endfunction()

# --- What the library needs ---------------------------------------------------------------------------------------
find_package(Threads REQUIRED)
fovea_dependency(xsimd TARGET xsimd::xsimd ALSO xsimd VERSION 8.1 REQUIRED DEBIAN libxsimd-dev
  REPOSITORY https://github.com/xtensor-stack/xsimd.git TAG 8.1.0 INCLUDE include)
fovea_dependency(Eigen3 TARGET Eigen3::Eigen VERSION 3.4 REQUIRED DEBIAN libeigen3-dev
  REPOSITORY https://gitlab.com/libeigen/eigen.git TAG 3.4.0)
if(NOT TARGET xtensor::xtensor AND NOT TARGET xtensor)
  find_package(xtensor QUIET GLOBAL)
  if(NOT xtensor_FOUND)  # xtensor's own package finds xtl; the fetched headers need it from us
    fovea_dependency(xtl TARGET xtl::xtl ALSO xtl VERSION 0.7 REQUIRED DEBIAN xtl-dev
      REPOSITORY https://github.com/xtensor-stack/xtl.git TAG 0.7.5 INCLUDE include)
  endif()
endif()
fovea_dependency(xtensor TARGET xtensor::xtensor ALSO xtensor VERSION 0.24 REQUIRED DEBIAN libxtensor-dev
  REPOSITORY https://github.com/xtensor-stack/xtensor.git TAG 0.24.3 INCLUDE include LINK xtl::xtl)
fovea_dependency(nlohmann_json TARGET nlohmann_json::nlohmann_json VERSION 3.10 DEBIAN nlohmann-json3-dev
  REPOSITORY https://github.com/nlohmann/json.git TAG v3.11.2 INCLUDE include)

# One target for them all; foveaConfig.cmake makes fovea::dependencies, its twin for an installed fovea.
add_library(fovea_build_dependencies INTERFACE)
add_library(fovea::build_dependencies ALIAS fovea_build_dependencies)
target_link_libraries(fovea_build_dependencies INTERFACE
  xsimd::xsimd xtensor::xtensor Eigen3::Eigen Threads::Threads)
if(TARGET nlohmann_json::nlohmann_json)
  target_link_libraries(fovea_build_dependencies INTERFACE nlohmann_json::nlohmann_json)
endif()

# --- What only our own programs need ------------------------------------------------------------------------------
# The claims are made of tests.
if(FOVEA_BUILD_TESTS OR FOVEA_BUILD_BENCHMARKS)
  fovea_dependency(doctest TARGET doctest::doctest VERSION 2.4 REQUIRED DEBIAN doctest-dev
    REPOSITORY https://github.com/doctest/doctest.git TAG v2.4.9)
  if(doctest_SOURCE_DIR)
    list(APPEND CMAKE_MODULE_PATH "${doctest_SOURCE_DIR}/scripts/cmake")
  endif()
endif()
if(FOVEA_BUILD_BENCHMARKS)
  set(BENCHMARK_ENABLE_TESTING OFF)
  set(BENCHMARK_ENABLE_INSTALL OFF)
  fovea_dependency(benchmark TARGET benchmark::benchmark VERSION 1.7 DEBIAN libbenchmark-dev BUILD
    REPOSITORY https://github.com/google/benchmark.git TAG v1.7.1)
endif()
if(FOVEA_BUILD_EXAMPLES)
  fovea_dependency(CLI11 TARGET CLI11::CLI11 VERSION 2.1 DEBIAN libcli11-dev
    REPOSITORY https://github.com/CLIUtils/CLI11.git TAG v2.3.2 INCLUDE include)
  fovea_dependency(PNG TARGET PNG::PNG DEBIAN libpng-dev)
endif()
