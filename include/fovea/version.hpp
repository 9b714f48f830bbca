// SPDX-License-Identifier: MIT
// The one place where the version is written; CMakeLists.txt reads it from here.
#pragma once

#define FOVEA_VERSION_MAJOR 0
#define FOVEA_VERSION_MINOR 1
#define FOVEA_VERSION_PATCH 0

/// major * 10000 + minor * 100 + patch, for `#if FOVEA_VERSION >= 100`.
#define FOVEA_VERSION (FOVEA_VERSION_MAJOR * 10000 + FOVEA_VERSION_MINOR * 100 + FOVEA_VERSION_PATCH)
