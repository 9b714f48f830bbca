# SPDX-License-Identifier: MIT
# The optional headers and the libraries they need. fovea_find_component(<name>) makes the target fovea::<name>, which is
# fovea::fovea and those libraries, where they are found:
#
#   jpeg     fovea/image/jpeg.hpp       libjpeg-turbo                  libjpeg62-turbo-dev
#   tiff     fovea/image/tiff*.hpp      libtiff 4.5                    libtiff-dev
#   vips     fovea/image/vips.hpp       libvips 8.14, by pkg-config    libvips-dev pkg-config
#   open     fovea/image/open.hpp       all three
#            fovea/data/picture*.hpp
#   opencv   fovea/interop/opencv.hpp   OpenCV's core                  libopencv-core-dev
#   json     fovea/model/*_json.hpp     nlohmann-json 3.10             nlohmann-json3-dev
#            fovea/train/fit.hpp and others that say so
#   mpi      fovea/train/mpi.hpp        MPI 3, and json                libopenmpi-dev openmpi-bin
#   onnx     fovea/interop/onnx*.hpp    ONNX 1.12, protobuf            libonnx-dev libprotobuf-dev
#
# Part of the installed package too: find_package(fovea COMPONENTS jpeg).
include_guard(GLOBAL)
set(fovea_components jpeg tiff vips open opencv json mpi onnx)

function(fovea_find_component component)
  if(TARGET fovea::${component})
    return()
  endif()
  set(libraries "")
  if(component STREQUAL "jpeg")
    find_package(JPEG QUIET GLOBAL)
    set(libraries JPEG::JPEG)
  elseif(component STREQUAL "tiff")
    find_package(TIFF QUIET GLOBAL)
    set(libraries TIFF::TIFF)
  elseif(component STREQUAL "vips")
    find_package(PkgConfig QUIET)
    if(PkgConfig_FOUND)
      pkg_check_modules(fovea_vips QUIET IMPORTED_TARGET GLOBAL vips>=8.14)
    endif()
    set(libraries PkgConfig::fovea_vips)
  elseif(component STREQUAL "open")
    foreach(part jpeg tiff vips)
      fovea_find_component(${part})
      list(APPEND libraries fovea::${part})
    endforeach()
  elseif(component STREQUAL "opencv")
    # Debian has OpenCV's own CMake package with all of its modules only.
    find_path(FOVEA_OPENCV_INCLUDE opencv2/core/mat.hpp PATH_SUFFIXES opencv4)
    find_library(FOVEA_OPENCV_CORE opencv_core)
    mark_as_advanced(FOVEA_OPENCV_INCLUDE FOVEA_OPENCV_CORE)
    if(FOVEA_OPENCV_INCLUDE AND FOVEA_OPENCV_CORE AND NOT TARGET fovea::opencv_core)
      add_library(fovea::opencv_core INTERFACE IMPORTED GLOBAL)
      set_target_properties(fovea::opencv_core PROPERTIES
        INTERFACE_INCLUDE_DIRECTORIES "${FOVEA_OPENCV_INCLUDE}" INTERFACE_LINK_LIBRARIES "${FOVEA_OPENCV_CORE}")
    endif()
    set(libraries fovea::opencv_core)
  elseif(component STREQUAL "json")
    if(NOT TARGET nlohmann_json::nlohmann_json)
      find_package(nlohmann_json QUIET GLOBAL)
    endif()
    set(libraries nlohmann_json::nlohmann_json)
  elseif(component STREQUAL "mpi")
    fovea_find_component(json)
    if(NOT TARGET MPI::MPI_CXX)
      find_package(MPI QUIET COMPONENTS CXX)
      if(TARGET MPI::MPI_CXX)
        set_target_properties(MPI::MPI_CXX PROPERTIES IMPORTED_GLOBAL ON)
      endif()
    endif()
    set(libraries fovea::json MPI::MPI_CXX)
  elseif(component STREQUAL "onnx")
    if(NOT TARGET protobuf::libprotobuf)
      find_package(Protobuf QUIET GLOBAL)
    endif()
    if(TARGET protobuf::libprotobuf AND NOT TARGET onnx)
      find_package(ONNX CONFIG QUIET GLOBAL)
    endif()
    set(libraries onnx protobuf::libprotobuf)
  else()
    return()
  endif()
  foreach(library IN LISTS libraries)
    if(NOT TARGET ${library})
      return()
    endif()
  endforeach()
  add_library(fovea::${component} INTERFACE IMPORTED GLOBAL)
  set_property(TARGET fovea::${component} PROPERTY INTERFACE_LINK_LIBRARIES fovea::fovea ${libraries})
endfunction()
