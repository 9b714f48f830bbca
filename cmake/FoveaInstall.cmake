# SPDX-License-Identifier: MIT
# Headers, the CMake package and a pkg-config file. Nothing installed depends on the machine.
include_guard()
include(CMakePackageConfigHelpers)

set(fovea_package_dir "${CMAKE_INSTALL_DATAROOTDIR}/cmake/fovea")
set(fovea_file_sets FILE_SET HEADERS)
if(fovea_optional_headers)
  list(APPEND fovea_file_sets FILE_SET optional_headers)
endif()
install(TARGETS fovea EXPORT foveaTargets ${fovea_file_sets})
install(EXPORT foveaTargets NAMESPACE fovea:: DESTINATION "${fovea_package_dir}")

configure_package_config_file(cmake/foveaConfig.cmake.in "${CMAKE_CURRENT_BINARY_DIR}/foveaConfig.cmake"
  INSTALL_DESTINATION "${fovea_package_dir}" NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file("${CMAKE_CURRENT_BINARY_DIR}/foveaConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/foveaConfig.cmake"
              "${CMAKE_CURRENT_BINARY_DIR}/foveaConfigVersion.cmake"
              cmake/foveaComponents.cmake
        DESTINATION "${fovea_package_dir}")

configure_file(cmake/fovea.pc.in "${CMAKE_CURRENT_BINARY_DIR}/fovea.pc" @ONLY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/fovea.pc" DESTINATION "${CMAKE_INSTALL_DATAROOTDIR}/pkgconfig")
install(FILES LICENSE DESTINATION "${CMAKE_INSTALL_DOCDIR}")
