// SPDX-License-Identifier: MIT
// needs: torch
// Glimpses with their gradient to (s, x, y) beside libtorch's affine_grid + grid_sample, on a tape on both sides. Every glimpse
// looks at another place of the image; `zoomed out` covers a quarter of each side, else a sample falls on every pixel.
//
// Both sides read the same float image; `uint8 source` is our side alone, on the bytes that image was made from. The
// anti-aliased sampler reads two levels of a pyramid made beforehand where it zooms out; torch then still reads one, without a
// filter, so the work is not the same, and values are compared where they are.
#include "peers.hpp"
#include <fovea/core/arena.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/core/view.hpp>
#include <fovea/glimpse/antialiased.hpp>
#include <fovea/glimpse/bilinear.hpp>
#include <fovea/image/pyramid.hpp>

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace {

using fovea::Index;
using fovea::Pyramid;
using fovea::PyramidView;
using fovea::Shape;
using fovea::Tensor;
using fovea::Var;
using fovea::View;

struct Row {
  Index channels, height, width, size, batch;
  float s;  ///< 0: a sample for each pixel
};
constexpr Row kRows[] = {{1, 2528, 2528, 64, 1, 0},
                         {1, 2528, 2528, 32, 32, 0},
                         {1, 2528, 2528, 64, 32, 0.25F},
                         {3, 3000, 4000, 64, 1, 0},
                         {3, 3000, 4000, 64, 32, 0.25F}};

std::string name(const Row& r) {
  return std::to_string(r.channels) + "x" + std::to_string(r.height) + "x" + std::to_string(r.width) + " " +
         std::to_string(r.size) + "x" + std::to_string(r.size) + " batch " + std::to_string(r.batch) +
         (r.s > 0 ? " zoomed out" : "");
}

/// A smooth picture: where a coordinate falls on the other side of a pixel in float32, the derivative hardly jumps.
Tensor<std::uint8_t, 3> picture(const Row& r) {
  Tensor<std::uint8_t, 3> bytes({r.height, r.width, r.channels});
  std::vector<double> across(static_cast<std::size_t>(r.width));
  for (Index x = 0; x < r.width; ++x) across[static_cast<std::size_t>(x)] = std::sin(0.013 * static_cast<double>(x));
  std::uint8_t* to = bytes.data();
  for (Index y = 0; y < r.height; ++y) {
    const double down = std::cos(0.017 * static_cast<double>(y));
    for (Index x = 0; x < r.width; ++x) {
      for (Index c = 0; c < r.channels; ++c) {
        const double value = 0.5 + 0.25 * across[static_cast<std::size_t>(x)] + 0.2 * down - 0.01 * static_cast<double>(c);
        *to++ = static_cast<std::uint8_t>(std::lround(255 * value));
      }
    }
  }
  return bytes;
}

constexpr std::size_t kPlaces = 64;  ///< turns until the first place comes again

struct Work {
  Row row;
  Tensor<std::uint8_t, 3> bytes;
  Tensor<float, 3> floats;
  Pyramid<std::uint8_t> byte_pyramid;
  Pyramid<float> float_pyramid;
  std::vector<float> regions;  ///< kPlaces x batch x (s, x, y)
  Tensor<float, 4> d_out;

  // our side
  fovea::Arena arena;
  std::vector<PyramidView<std::uint8_t>> byte_images;
  std::vector<PyramidView<float>> float_images;
  std::vector<float> d_regions;
  Var<float> out;
  std::size_t turn = 0;

  // torch's side
  torch::Tensor nchw, channels_last, d_nchw, d_channels_last, theta_of;
  std::vector<torch::Tensor> places;
  torch::Tensor theirs, d_theirs;
  std::size_t their_turn = 0;

  explicit Work(const Row& r)
      : row(r), bytes(picture(r)), floats({r.height, r.width, r.channels}), d_out({r.batch, r.size, r.size, r.channels}) {
    for (Index i = 0; i < bytes.size(); ++i) floats.data()[i] = static_cast<float>(bytes.data()[i]) / 255.0F;
    byte_pyramid.assign(std::as_const(bytes).view());
    float_pyramid.assign(std::as_const(floats).view());
    byte_images.assign(static_cast<std::size_t>(r.batch), byte_pyramid.pyramid());
    float_images.assign(static_cast<std::size_t>(r.batch), float_pyramid.pyramid());
    d_regions.resize(static_cast<std::size_t>(3 * r.batch));
    fovea::Stream stream(1, 0, 0, fovea::Purpose::user);
    const float s = r.s > 0 ? r.s : static_cast<float>(r.size) / static_cast<float>(std::max(r.height, r.width));
    for (std::size_t i = 0; i < kPlaces * static_cast<std::size_t>(r.batch); ++i) {
      regions.insert(regions.end(), {s, stream.uniform(s - 1, 1 - s), stream.uniform(s - 1, 1 - s)});
    }
    for (float& g : d_out) g = stream.uniform(-0.5F, 1.0F);

    const auto image = torch::from_blob(floats.data(), {1, r.height, r.width, r.channels}).permute({0, 3, 1, 2});
    channels_last = image.expand({r.batch, -1, -1, -1});
    nchw = image.contiguous().expand({r.batch, -1, -1, -1});
    d_channels_last = torch::from_blob(d_out.data(), {r.batch, r.size, r.size, r.channels}).permute({0, 3, 1, 2});
    d_nchw = d_channels_last.contiguous();
    theta_of = torch::zeros({3, 6});
    theta_of[0][0] = theta_of[0][4] = theta_of[1][2] = theta_of[2][5] = 1;
    for (std::size_t k = 0; k < kPlaces; ++k) {
      places.push_back(torch::from_blob(place(k), {r.batch, 3}).clone().requires_grad_());
    }
  }
  float* place(std::size_t k) { return regions.data() + k % kPlaces * static_cast<std::size_t>(3 * row.batch); }

  template <class Sampler, class P>
  void ours(const Sampler& sampler, const std::vector<PyramidView<P>>& images) {
    arena.reset();
    fovea::Tape<float> tape(arena);
    std::fill(d_regions.begin(), d_regions.end(), 0.0F);
    const Var<float> where{place(turn++), d_regions.data(), Shape{row.batch, 3}};
    out = sampler(tape, std::span<const PyramidView<P>>(images), where, {row.size, row.size});
    std::copy_n(d_out.data(), d_out.size(), out.gradient);
    tape.backward();
  }
  void torchs(const torch::Tensor& image, const torch::Tensor& gradient) {
    const torch::Tensor& where = places[their_turn++ % kPlaces];
    const auto theta = where.mm(theta_of).view({row.batch, 2, 3});
    const auto grid = torch::affine_grid_generator(theta, {row.batch, row.channels, row.size, row.size}, false);
    theirs = torch::grid_sampler(image, grid, 0, 0, false);
    d_theirs = torch::autograd::grad({theirs}, {where}, {gradient})[0];
  }

  void check(const char* what, bool with_s) {
    const auto plain = theirs.detach().permute({0, 2, 3, 1}).contiguous();
    float worst = 0;
    for (Index i = 0; i < out.size(); ++i) worst = std::max(worst, std::abs(out.value[i] - plain.data_ptr<float>()[i]));
    float largest[3] = {};
    float difference[3] = {};
    const auto d = d_theirs.contiguous();
    for (std::size_t i = 0; i < d_regions.size(); ++i) {
      const float expected = d.data_ptr<float>()[i];
      largest[i % 3] = std::max(largest[i % 3], std::abs(expected));
      difference[i % 3] = std::max(difference[i % 3], std::abs(expected - d_regions[i]));
    }
    float relative = 0;
    // At one sample for each pixel the anti-aliased sampler's derivative in s looks towards the coarser level.
    for (std::size_t k = with_s ? 0 : 1; k < 3; ++k) relative = std::max(relative, difference[k] / largest[k]);
    if (!(worst < 1e-3F && relative < 0.02F)) {
      std::fprintf(stderr, "glimpse %s %s: values differ by %g, gradients by %g of the largest\n", what, name(row).c_str(),
                   static_cast<double>(worst), static_cast<double>(relative));
      std::exit(1);
    }
  }
};

template <class Sampler, class P>
void add(std::vector<peers::MakeCase>& cases, const char* what, std::vector<PyramidView<P>> Work::*images) {
  for (const Row& r : kRows) {
    cases.push_back({std::string("glimpse ") + what + " " + name(r), [=] {
                       const auto work = std::make_shared<Work>(r);
                       Sampler sampler;
                       sampler.aspect = fovea::glimpse::Aspect::stretch;
                       const auto ours = [=] { work->ours(sampler, (*work).*images); };
                       const auto nchw = [=] { work->torchs(work->nchw, work->d_nchw); };
                       const auto channels_last = [=] { work->torchs(work->channels_last, work->d_channels_last); };
                       constexpr bool kBilinear = std::is_same_v<Sampler, fovea::glimpse::Bilinear>;
                       if (kBilinear || r.s == 0) {
                         for (const auto& theirs : std::vector<std::function<void()>>{nchw, channels_last}) {
                           work->turn = work->their_turn = 0;
                           ours();
                           theirs();
                           work->check(what, kBilinear);
                         }
                       }
                       std::vector<peers::Side> others{{"torch nchw", nchw}};
                       if (r.channels > 1) others.push_back({"torch channels_last", channels_last});
                       return peers::Case{1, {"fovea", ours}, others};
                     }});
  }
}

}  // namespace

int main(int argc, char** argv) {
  at::set_num_threads(1);
  using fovea::glimpse::Antialiased;
  using fovea::glimpse::Bilinear;
  std::vector<peers::MakeCase> cases;
  add<Bilinear>(cases, "bilinear", &Work::float_images);
  add<Bilinear>(cases, "bilinear uint8 source", &Work::byte_images);
  add<Antialiased>(cases, "antialiased", &Work::float_images);
  add<Antialiased>(cases, "antialiased uint8 source", &Work::byte_images);
  return peers::run(argc, argv, cases);
}
