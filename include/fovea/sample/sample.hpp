// SPDX-License-Identifier: MIT
/// \file
/// All of sample/, distributions and estimators, but full_gaussian.hpp, which needs Eigen.
#pragma once

#include <fovea/sample/attention_sampling.hpp>
#include <fovea/sample/beta.hpp>
#include <fovea/sample/categorical.hpp>
#include <fovea/sample/clipped_policy_gradient.hpp>
#include <fovea/sample/distribution.hpp>
#include <fovea/sample/estimator.hpp>
#include <fovea/sample/gaussian.hpp>
#include <fovea/sample/grid.hpp>
#include <fovea/sample/kumaraswamy.hpp>
#include <fovea/sample/logistic_normal.hpp>
#include <fovea/sample/mixed.hpp>
#include <fovea/sample/mixture.hpp>
#include <fovea/sample/noise.hpp>
#include <fovea/sample/pathwise.hpp>
#include <fovea/sample/perturbed_top_k.hpp>
#include <fovea/sample/product.hpp>
#include <fovea/sample/rebar.hpp>
#include <fovea/sample/relaxed_categorical.hpp>
#include <fovea/sample/score_function.hpp>
#include <fovea/sample/straight_through.hpp>
#include <fovea/sample/top_k.hpp>
#include <fovea/sample/truncated_gaussian.hpp>
#include <fovea/sample/vimco.hpp>
