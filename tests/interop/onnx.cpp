// SPDX-License-Identifier: MIT
// needs: onnx
// Exported graphs against classify(), run by the naive twin of a runtime; claims-training runs them in onnxruntime.
#include "support/message_of.hpp"
#include "support/naive_onnx.hpp"
#include "support/pictures.hpp"
#include "support/temporary_folder.hpp"
#include <fovea/core/random.hpp>
#include <fovea/image/pyramid.hpp>
#include <fovea/interop/onnx.hpp>
#include <fovea/model/proxy_only.hpp>
#include <fovea/model/saccader.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <set>
#include <span>
#include <string>

#undef MAP_TYPE  // of sys/mman.h, and the name of an enumerator of ONNX's
#include <onnx/checker.h>

namespace {

using namespace fovea;
using fovea_test::message_of;
using fovea_test::NaiveOnnx;
using fovea_test::OnnxArray;

/// Noise of a few pixels and of many: edges that a glimpse sees and a proxy sees.
fovea_test::Picture<std::uint8_t> picture(Extents<3> extents, std::uint64_t number) {
  Stream stream(11, 0, number, Purpose::test);
  auto fine = fovea_test::noise<std::uint8_t>(stream, extents);
  const auto coarse = fovea_test::noise<std::uint8_t>(stream, {extents[0] / 8 + 1, extents[1] / 8 + 1, extents[2]});
  for (Index y = 0; y < extents[0]; ++y) {
    for (Index x = 0; x < extents[1]; ++x) {
      for (Index c = 0; c < extents[2]; ++c) {
        std::uint8_t& p = fine.view()(y, x, c);
        p = static_cast<std::uint8_t>((3 * coarse.view()(y / 8, x / 8, c) + p) / 4);
      }
    }
  }
  return fine;
}

OnnxArray input(const fovea_test::Picture<std::uint8_t>& image) {
  return {{1, image.extents[0], image.extents[1], image.extents[2]}, {image.pixels.begin(), image.pixels.end()}, true};
}

std::set<std::string> ops(const onnx::ModelProto& graph) {
  std::set<std::string> all;
  for (const auto& node : graph.graph().node()) all.insert(node.op_type());
  return all;
}

/// The largest difference between graph and classify() over a dozen images, in probabilities and regions.
template <class Model>
double difference(const Model& model, Extents<2> extent, const model::Looking& looking = {}) {
  const Parameters<float> parameters(model.layout(), 3);
  const onnx::ModelProto graph = [&] {
    if constexpr (requires(Arena & a, const Pyramid<std::uint8_t>& p) { model.classify(p, parameters, a, looking); }) {
      return interop::to_onnx(model, parameters, extent, looking);
    } else {
      return interop::to_onnx(model, parameters, extent);
    }
  }();
  onnx::checker::check_model(graph);
  const NaiveOnnx runtime(graph);
  double worst = 0;
  float least = 1;
  float most = 0;
  Arena arena;
  for (std::uint64_t i = 0; i < 12; ++i) {
    const auto image = picture({extent[0], extent[1], model.options().channels}, i);
    const Pyramid<std::uint8_t> pyramid(image.view());
    arena.reset();
    const model::Prediction expected = [&] {
      if constexpr (requires { model.classify(pyramid, parameters, arena, looking); }) {
        return model.classify(pyramid, parameters, arena, looking);
      } else {
        return model.classify(pyramid, parameters, arena);
      }
    }();
    const auto got = runtime.run({{"image", input(image)}});
    REQUIRE(got.at("probabilities").size() == static_cast<Index>(expected.probabilities.size()));
    for (std::size_t k = 0; k < expected.probabilities.size(); ++k) {
      worst = std::max(worst, std::abs(got.at("probabilities").data[k] - static_cast<double>(expected.probabilities[k])));
    }
    REQUIRE(got.contains("regions") == !expected.regions.empty());
    for (std::size_t t = 0; t < expected.regions.size(); ++t) {
      const auto& r = expected.regions[t];
      const double* row = got.at("regions").data.data() + 3 * t;
      worst = std::max({worst, std::abs(row[0] - static_cast<double>(r.s)), std::abs(row[1] - static_cast<double>(r.x)),
                        std::abs(row[2] - static_cast<double>(r.y))});
    }
    least = std::min(least, expected.probabilities[0]);
    most = std::max(most, expected.probabilities[0]);
  }
  CHECK(most - least > 1e-4F);  // the images are not all the same to the model
  return worst;
}

model::SaccaderOptions small() {
  model::SaccaderOptions o;
  o.classes = 5;
  o.glimpse = {16, 16};
  o.steps = 3;
  o.state = 16;
  o.location_features = 8;
  return o;
}

}  // namespace

TEST_CASE("a graph of ONNX answers as a saccader does") {
  CHECK(difference(model::Saccader(small()), {67, 83}) <= 1e-5);
  SUBCASE("with glimpses and levels as they may be") {
    model::SaccaderOptions o = small();
    o.channels = 3;
    o.proxy = {25, 18};
    o.glimpse = {12, 17};
    o.closed_loop = false;
    o.head_sees_state = true;
    for (const auto padding : {kernel::Padding::border, kernel::Padding::reflection}) {
      CHECK(difference(model::Saccader(o, glimpse::Antialiased{.padding = padding, .bias = -0.4}), {121, 90}) <= 1e-5);
    }
  }
  SUBCASE("that chooses its places, and does not return to them") {
    model::SaccaderOptions o = small();
    o.proxy = {30, 25};
    o.scale = 0.2;
    const model::Saccader chooser(o);
    const auto graph = interop::to_onnx(chooser, Parameters<float>(chooser.layout(), 3), {90, 110});
    CHECK(ops(graph).contains("ArgMax"));
    CHECK(difference(chooser, {90, 110}) <= 1e-5);
    o.policy.worth = 3;
    CHECK(difference(model::Saccader(o), {90, 110}) <= 1e-5);
  }
  SUBCASE("that looks where it is told, as often as it is told") {
    CHECK(difference(model::Saccader(small()), {50, 50}, {.gaze = model::Gaze::centre, .steps = 2}) <= 1e-5);
  }
  SUBCASE("with a head that is asked which classes there are") {
    model::SaccaderOptions o = small();
    o.question.task = model::Task::several_classes;
    CHECK(difference(model::Saccader(o), {40, 64}) <= 1e-5);
  }
}

TEST_CASE("a graph of ONNX answers as the published configuration does") {
  // Small ones norm groups of two numbers, which makes steps of slopes: there float itself is right to 2e-4 only.
  model::ReferenceOptions o{.classes = 5, .proxy = {40, 30}, .glimpse = {64, 64}, .steps = 2, .latent = 256, .filters = 8};
  CHECK(difference(model::Saccader::reference(o), {80, 60}) <= 1e-5);
  o.closed_loop = true;
  CHECK(difference(model::Saccader::reference(o, glimpse::Bilinear{.align_corners = true}), {50, 70}) <= 1e-5);
}

TEST_CASE("a graph of ONNX answers as a network that sees only the proxy does") {
  CHECK(difference(model::ProxyOnly({.classes = 4}), {101, 77}) <= 1e-5);
  CHECK(difference(model::ProxyOnly({.classes = 4}), {140, 150}) <= 1e-5);  // level 1 has 3 to 4 times its pixels
  CHECK(difference(model::ProxyOnly({.classes = 4, .channels = 3, .proxy = {9, 14}}), {11, 9}) <= 1e-5);  // enlarged
}

namespace {

/// A model made of ops that the library's own do not use, or of things that have no translation.
struct Odd {
  enum class Kind { ops, untraced, by_hand, two_ways } kind = Kind::ops;
  struct Options {
    Extents<2> proxy{9, 12};
    Index channels = 2;
    model::Question question = {.task = model::Task::numbers};
  };
  ParameterLayout list{};
  Parameter gamma = list.add("gamma", {4}, Initialiser::normal(1));
  Parameter beta = list.add("beta", {4}, Initialiser::normal(1));

  [[nodiscard]] Options options() const { return {}; }
  [[nodiscard]] const ParameterLayout& layout() const { return list; }

  template <Context C>
  [[nodiscard]] VarOf<C> forward(C& context, VarOf<C> proxies) const {
    const VarOf<C> mean = nn::global_average_pool(context, proxies.reshape({1, 108, 2}));
    if (kind == Kind::untraced) return nn::add(context, mean, squared(context, mean));
    if (kind == Kind::by_hand) return nn::add(context, mean, copied(context, mean));
    if (kind == Kind::two_ways) return *mean.value > 0.4F ? nn::tanh(context, mean) : nn::exp(context, mean);
    const VarOf<C> greatest = nn::max_pool2d(context, proxies, {3, 2, 2, 1, 1, 0});
    const VarOf<C> average = nn::average_pool2d(context, nn::softplus(context, greatest), {2, 3, 1, 2, 1, 1});
    const VarOf<C> larger = nn::resize_bilinear(context, average, {7, 5}, false);
    const VarOf<C> rows = nn::slice_samples(context, larger.reshape({35, 2}), 4, 2);
    const VarOf<C> four = nn::repeat_samples(context, rows.reshape({2, 2}), 2).reshape({2, 4});
    const VarOf<C> normal = nn::group_norm(context, nn::tile_samples(context, four, 2), context.parameter(gamma),
                                           context.parameter(beta), 2, 1e-3, nn::Activation::relu);
    const VarOf<C> all = nn::add_activate(context, nn::Activation::elu, normal, nn::scale(context, -0.5F, normal));
    return nn::concat(context, {nn::flatten(context, all.reshape({1, 4, 4})), mean});
  }
  [[nodiscard]] model::Prediction classify(const Pyramid<std::uint8_t>& image, const Parameters<float>& parameters,
                                           Arena& arena) const {
    Inference<float> context(arena, parameters.values());
    const Var<float> proxies = context.constant(Shape{1, 9, 12, 2});
    proxy(image, proxies.mutable_values<4>()[0]);
    return model::detail::prediction(forward(context, proxies), 0);
  }

  /// An op that tells nothing.
  template <Context C>
  [[nodiscard]] static VarOf<C> squared(C& context, VarOf<C> x) {
    return nn::pointwise(
        context,
        [](double v) {
          return kernel::Partials<1>{v * v, {2 * v}};
        },
        x);
  }
  template <Context C>
  [[nodiscard]] static VarOf<C> copied(C& context, VarOf<C> x) {
    const VarOf<C> y = context.constant(x.shape);
    std::copy_n(x.value, x.size(), y.value);
    return y;
  }
};

std::string refusal(Odd::Kind kind) {
  const Odd odd{.kind = kind};
  return message_of([&] { (void)interop::to_onnx(odd, Parameters<float>(odd.layout(), 3), {40, 50}); });
}

}  // namespace

TEST_CASE("ops that only a user's model has are exported too") { CHECK(difference(Odd{}, {40, 50}) <= 1e-5); }

TEST_CASE("what has no translation is refused and never becomes a constant") {
  CHECK(refusal(Odd::Kind::ops).empty());
  CHECK(refusal(Odd::Kind::untraced).find("made a tensor [1x2] that the answer depends on, and has no translation") !=
        std::string::npos);
  CHECK(refusal(Odd::Kind::by_hand).find("filled by hand; they depend on the image") != std::string::npos);
  CHECK(refusal(Odd::Kind::two_ways).find("two images went two ways") != std::string::npos);

  const auto published = model::Saccader::published({.latent = 8, .filters = 4});
  const Parameters<float> weights(published.layout(), 1);
  CHECK(message_of([&] {
          (void)interop::to_onnx(published, weights, {100, 100});
        }).find("no translation") != std::string::npos);

  const model::Saccader saccader(small());
  const Parameters<float> parameters(saccader.layout(), 1);
  const auto refused = [&](Extents<2> image, const model::Looking& looking) {
    return message_of([&] { (void)interop::to_onnx(saccader, parameters, image, looking); });
  };
  CHECK(refused({40, 40}, {.draw = true}).find("draws nothing expected") != std::string::npos);
  CHECK(refused({40, 40}, {.exit = {.rule = model::ExitRule::confidence}}).find("all its steps") != std::string::npos);
  CHECK(refused({0, 40}, {}).find("at least 1x1") != std::string::npos);
  CHECK(refused({1, 65536}, {}).find("12 levels") != std::string::npos);
}

TEST_CASE("a graph of ONNX is written whole, with the parameters by their names") {
  const fovea_test::TemporaryFolder folder;
  const model::Saccader saccader(small());
  const Parameters<float> parameters(saccader.layout(), 1);
  interop::export_onnx(folder.path / "saccader.onnx", saccader, parameters, {60, 40});
  onnx::ModelProto read;
  std::ifstream file(folder.path / "saccader.onnx", std::ios::binary);
  REQUIRE(read.ParseFromIstream(&file));
  onnx::checker::check_model(read);
  CHECK(read.SerializeAsString() == interop::to_onnx(saccader, parameters, {60, 40}).SerializeAsString());
  CHECK(ops(read).contains("GridSample"));
  REQUIRE(read.graph().input_size() == 1);
  CHECK(read.graph().input(0).type().tensor_type().elem_type() == onnx::TensorProto::UINT8);
  CHECK(read.graph().output(0).name() == "probabilities");
  CHECK(read.graph().output(1).name() == "regions");
  std::set<std::string> initializers;
  for (const auto& tensor : read.graph().initializer()) initializers.insert(tensor.name());
  CHECK(initializers.contains("proxy_network.conv1.w"));
  CHECK(initializers.contains("cell.w_h"));
  CHECK(!initializers.contains("decoder.w"));  // only training needs it
  CHECK(message_of([&] {
          interop::export_onnx(folder.path, saccader, parameters, {60, 40});
        }).find("cannot be written") != std::string::npos);
}
