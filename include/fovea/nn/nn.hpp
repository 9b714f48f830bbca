// SPDX-License-Identifier: MIT
/// \file
/// Everything in nn/: ops (functions of a context and Vars) and layers (handles of parameters, called like ops).
#pragma once

#include <fovea/nn/attention.hpp>
#include <fovea/nn/composition.hpp>
#include <fovea/nn/context.hpp>
#include <fovea/nn/conv2d.hpp>
#include <fovea/nn/dense.hpp>
#include <fovea/nn/elementwise.hpp>
#include <fovea/nn/group_norm.hpp>
#include <fovea/nn/initialisers.hpp>
#include <fovea/nn/loss.hpp>
#include <fovea/nn/pointwise.hpp>
#include <fovea/nn/pool.hpp>
#include <fovea/nn/recurrent.hpp>
#include <fovea/nn/reshape.hpp>
#include <fovea/nn/residual.hpp>
#include <fovea/nn/resize.hpp>
#include <fovea/nn/sequential.hpp>
#include <fovea/nn/stack.hpp>
