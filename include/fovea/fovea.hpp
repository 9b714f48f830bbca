// SPDX-License-Identifier: MIT
/// \file
/// The whole method: models, and all they are made of. The rooms data/ and interop/, and headers that need further libraries,
/// are included on their own.
#pragma once

#include <fovea/bound/divergence.hpp>
#include <fovea/bound/information.hpp>
#include <fovea/bound/multi_sample.hpp>
#include <fovea/bound/product.hpp>
#include <fovea/bound/schedule.hpp>
#include <fovea/bound/sum.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/parallel.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/core/view.hpp>
#include <fovea/glimpse/affine.hpp>
#include <fovea/glimpse/antialiased.hpp>
#include <fovea/glimpse/bilinear.hpp>
#include <fovea/glimpse/finite_difference.hpp>
#include <fovea/glimpse/gaussian.hpp>
#include <fovea/glimpse/patch.hpp>
#include <fovea/glimpse/region.hpp>
#include <fovea/glimpse/retina.hpp>
#include <fovea/image/magnified.hpp>
#include <fovea/image/pyramid.hpp>
#include <fovea/image/resize.hpp>
#include <fovea/image/source.hpp>
#include <fovea/model/full_resolution.hpp>
#include <fovea/model/proxy_only.hpp>
#include <fovea/model/saccader.hpp>
#include <fovea/sample/sample.hpp>
#include <fovea/train/adam.hpp>
#include <fovea/train/coarse_to_fine.hpp>
#include <fovea/train/trainer.hpp>
#include <fovea/train/weight_average.hpp>
#include <fovea/version.hpp>
