// SPDX-License-Identifier: MIT
// One tiny task, trained with each estimator under the same budget: how many steps to 90 %?
//
// A picture of 32x32 pixels has a sign in one of 16 cells, one of four, among bright and dark nonsense. The proxy is the mean
// of each cell, which tells the sign's only most of the time. The model sees the proxy, looks once, and names the sign; nobody
// tells it where the sign is. All start from the same weights and see the same pictures with the same random numbers.
// needs: CLI11
// smoke-test: --steps 60 --signs 2
#include <fovea/bound/information.hpp>
#include <fovea/bound/schedule.hpp>
#include <fovea/core/arena.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/random.hpp>
#include <fovea/core/tape.hpp>
#include <fovea/glimpse/bilinear.hpp>
#include <fovea/nn/nn.hpp>
#include <fovea/sample/sample.hpp>
#include <fovea/train/adam.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <vector>

namespace {

using namespace fovea;

constexpr Index kCell = 8, kCells = 4, kSide = kCell * kCells, kPlaces = kCells * kCells;
constexpr sample::Grid kGrid{kCells, kCells};

/// A minibatch: pictures [B, 32, 32, 1], the same cut into cells [B, 16, 64], proxies [B, 16], and what sign they show.
struct Batch {
  std::vector<float> pictures, cells, proxies;
  std::vector<std::int32_t> signs;
};

Batch make_batch(Index count, int signs, std::uint64_t step) {
  Batch batch;
  batch.pictures.resize(static_cast<std::size_t>(count * kSide * kSide));
  batch.cells.resize(batch.pictures.size());
  batch.proxies.resize(static_cast<std::size_t>(count * kPlaces));
  for (Index b = 0; b < count; ++b) {
    Stream stream(7, step, static_cast<std::uint64_t>(b), Purpose::generate);
    const auto place = static_cast<Index>(stream.below(kPlaces));
    const auto sign = static_cast<std::int32_t>(stream.below(static_cast<std::uint32_t>(signs)));
    batch.signs.push_back(sign);
    for (Index cell = 0; cell < kPlaces; ++cell) {
      const double brightness = cell == place ? stream.uniform(0.65, 0.75) : stream.uniform(0.25, 0.6);
      const double angle = cell == place ? 0.7854 * sign : stream.uniform(0.0, 3.1416);
      // A sign is a grating in one of the directions; nonsense is one in any direction and far finer.
      const double wave = cell == place ? 1.3 : 2.9;
      double sum = 0;
      for (Index i = 0; i < kCell * kCell; ++i) {
        const Index y = i / kCell, x = i % kCell;
        const double u = (static_cast<double>(x) - 3.5) * std::cos(angle) + (static_cast<double>(y) - 3.5) * std::sin(angle);
        const double v = std::clamp(brightness + 0.25 * std::sin(wave * u), 0.0, 1.0);
        sum += v / static_cast<double>(kCell * kCell);
        const Index row = cell / kCells * kCell + y, column = cell % kCells * kCell + x;
        batch.pictures[static_cast<std::size_t>((b * kSide + row) * kSide + column)] = static_cast<float>(v);
        batch.cells[static_cast<std::size_t>((b * kPlaces + cell) * kCell * kCell + i)] = static_cast<float>(v);
      }
      batch.proxies[static_cast<std::size_t>(b * kPlaces + cell)] = static_cast<float>(4 * (sum - 0.4));
    }
  }
  return batch;
}

/// The networks: where to look (cells, or a Gaussian), what is seen, and what the score function and RELAX learn beside.
class Model {
 public:
  explicit Model(int signs)
      : see_(layout_, "see", 1, 16, {.kernel = 5}),
        name_(layout_, "name", 16, signs),
        promise_hidden_(layout_, "policy.hidden", 1, 16, {.kernel = 1}),
        promise_(layout_, "policy.promise", 16, 1, {.kernel = 1}),
        spread_(layout_, "policy.spread", kPlaces, 2, {.bias_start = -0.9}),
        baseline_hidden_(layout_, "baseline.hidden", kPlaces, 32),
        baseline_(layout_, "baseline.out", 32, 1),
        surrogate_hidden_(layout_, "surrogate.hidden", kPlaces, 32),
        surrogate_(layout_, "surrogate.out", 32, 1) {}

  [[nodiscard]] const ParameterLayout& layout() const { return layout_; }

  /// Which cell to look at: each promises by its own brightness.
  template <Context C>
  sample::Categorical<typename C::Scalar> cells(C& context, VarOf<C> proxies) const {
    const VarOf<C> map = proxies.reshape(Shape{proxies.shape[0], kCells, kCells, 1});
    return {promise_(context, nn::relu(context, promise_hidden_(context, map))).reshape(proxies.shape)};
  }
  /// Or a place: the mean one under the same promises.
  template <Context C>
  sample::DiagonalGaussian<typename C::Scalar> place(C& context, VarOf<C> proxies) const {
    return {sample::locations(context, kGrid, sample::probabilities(context, cells(context, proxies))),
            spread_(context, proxies)};
  }
  template <Context C>
  VarOf<C> logits(C& context, VarOf<C> windows) const {
    const VarOf<C> seen = nn::relu(context, see_(context, windows));
    return name_(context, nn::global_average_pool(context, seen));
  }
  template <Context C>
  VarOf<C> baseline(C& context, VarOf<C> proxies) const {
    return baseline_(context, nn::relu(context, baseline_hidden_(context, proxies))).reshape(Shape{proxies.shape[0]});
  }
  template <Context C>
  VarOf<C> surrogate(C& context, VarOf<C> z) const {
    return surrogate_(context, nn::tanh(context, surrogate_hidden_(context, z))).reshape(Shape{z.shape[0]});
  }

 private:
  ParameterLayout layout_;
  nn::Conv2d see_;
  nn::Dense name_;
  nn::Conv2d promise_hidden_, promise_;
  nn::Dense spread_, baseline_hidden_, baseline_, surrogate_hidden_, surrogate_;
};

/// What a location shows: of weights of cells, their mean; of a place, a window there of twice the side.
template <Context C>
VarOf<C> look(C& context, const Batch& batch, VarOf<C> z) {
  const auto count = static_cast<Index>(batch.signs.size());
  const Index copies = z.shape[0] / count;
  if (z.shape[1] == kPlaces) {
    const VarOf<C> cells = context.constant(batch.cells.data(), Shape{count, kPlaces, kCell * kCell});
    return nn::attention_pool(context, z, nn::repeat_samples(context, cells, copies))
        .reshape(Shape{z.shape[0], kCell, kCell, 1});
  }
  const VarOf<C> pictures = context.constant(batch.pictures.data(), Shape{count, kSide, kSide, 1});
  const VarOf<C> scale = context.constant(Shape{z.shape[0], 1});
  std::fill_n(scale.value, scale.size(), 2.0F / kCells);
  const glimpse::Bilinear sampler{.padding = kernel::Padding::border};
  return sampler(context, nn::repeat_samples(context, pictures, copies), nn::concat(context, {scale, z}),
                 {2 * kCell, 2 * kCell});
}

struct Budget {
  Index steps = 4000;
  int signs = 4;
  double rate = 5e-3;
  std::uint64_t seed = 1;
};

constexpr Index kBatch = 32, kTested = 1024, kEvery = 25;
constexpr std::uint64_t kBatches = 1000;

constexpr bound::Ramp exploration{0.1, 0, 0, 0.5};

struct Outcome {
  Index steps_to_90 = -1;
  double accuracy = 0;
  double milliseconds = 0;  ///< of a step
};

/// Trains with what `make(model, tape, proxies, average)` returns, an estimator. `Cells`: over cells, else over a Gaussian
/// place.
template <bool Cells, class Make>
Outcome train(const Budget& budget, Make make) {
  const Model model(budget.signs);
  Parameters<float> parameters(model.layout(), budget.seed);
  std::vector<float> gradient(static_cast<std::size_t>(parameters.values().size()));
  const View<float, 1> gradients(gradient.data(), {parameters.values().size()});
  train::Adam<float> adam(parameters.values().size());
  sample::MovingAverage average;
  Arena arena;
  static const Batch tested = make_batch(kTested, budget.signs, ~std::uint64_t{0});
  static const std::vector<Batch> batches = [&budget] {
    std::vector<Batch> made;
    for (std::uint64_t step = 0; step < kBatches; ++step) made.push_back(make_batch(kBatch, budget.signs, step));
    return made;
  }();
  Outcome outcome;

  const auto accuracy = [&] {
    arena.reset();
    Inference<float> context(arena, parameters.values());
    const auto proxies = context.constant(tested.proxies.data(), Shape{kTested, kPlaces});
    const auto z = [&] {
      if constexpr (Cells)
        return sample::mode(context, model.cells(context, proxies));
      else
        return sample::mode(context, model.place(context, proxies));
    }();
    const auto logits = model.logits(context, look(context, tested, z));
    Index right = 0;
    for (Index b = 0; b < kTested; ++b) {
      const float* row = logits.value + b * budget.signs;
      right += std::max_element(row, row + budget.signs) - row == tested.signs[static_cast<std::size_t>(b)] ? 1 : 0;
    }
    return static_cast<double>(right) / kTested;
  };

  const auto start = std::chrono::steady_clock::now();
  for (Index step = 0; step < budget.steps; ++step) {
    const Batch& batch = batches[static_cast<std::size_t>(step) % batches.size()];
    const sample::NoiseKey key{.seed = budget.seed, .step = static_cast<std::uint64_t>(step)};
    std::fill(gradient.begin(), gradient.end(), 0.0F);
    arena.reset();
    Tape<float> tape(arena, parameters.values(), gradients);
    const auto proxies = tape.constant(batch.proxies.data(), Shape{kBatch, kPlaces});
    const auto q = [&] {
      if constexpr (Cells)
        return model.cells(tape, proxies);
      else
        return model.place(tape, proxies);
    }();
    const auto estimator = make(model, tape, proxies, average);
    const auto cost = [&](Var<float> z) {
      std::vector<std::int32_t> signs;
      const Index copies = z.shape[0] / kBatch;
      for (Index r = 0; r < z.shape[0]; ++r) signs.push_back(batch.signs[static_cast<std::size_t>(r / copies)]);
      return nn::cross_entropy(tape, model.logits(tape, look(tape, batch, z)), signs);
    };
    const Var<float> estimate = estimator(tape, q, key, cost);
    average.observe(static_cast<double>(nn::mean(tape, nn::detach(estimate)).item()));
    // At first nobody knows what a sign is: looks at cells stay spread until something has been learned from those that met
    // one. A Gaussian place starts spread.
    const double progress = static_cast<double>(step) / static_cast<double>(budget.steps);
    const bound::EntropyBonus explore{Cells ? exploration(progress) : 0.0};
    tape.backward(nn::mean(tape, explore(tape, estimate, q)));

    if constexpr (requires { estimator.surrogate; }) {  // RELAX: its surrogate learns to make the variance small
      for (const auto& entry : parameters.layout().entries()) {
        if (entry.name.starts_with("surrogate"))
          std::fill_n(gradient.data() + entry.parameter.offset, entry.parameter.shape.size(), 0.0F);
      }
      const Var<float> loss = estimator.variance_loss(tape, q, key, tape.constant(q.logits.gradient, q.logits.shape));
      tape.backward(nn::scale(tape, static_cast<float>(kBatch), loss));
    }
    adam.step(parameters.values(), std::as_const(gradients), budget.rate);
    if ((step + 1) % kEvery == 0) {
      outcome.accuracy = accuracy();
      if (outcome.steps_to_90 < 0 && outcome.accuracy >= 0.9) outcome.steps_to_90 = step + 1;
    }
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  outcome.milliseconds = 1e3 * seconds / static_cast<double>(budget.steps);
  return outcome;
}

void report(const char* name, const Outcome& outcome) {
  const std::string steps = outcome.steps_to_90 < 0 ? "-" : std::to_string(outcome.steps_to_90);
  std::printf("%-42s %10s %11.1f %% %9.2f\n", name, steps.c_str(), 100 * outcome.accuracy, outcome.milliseconds);
  (void)std::fflush(stdout);
}

/// An estimator that needs nothing of the pass.
template <class Estimator>
auto plain(const Estimator& estimator) {
  return [estimator](const Model&, Tape<float>&, Var<float>, const sample::MovingAverage&) { return estimator; };
}

}  // namespace

int main(int argc, char** argv) {
  Budget budget;
  CLI::App app("Trains one tiny task with each estimator, and tells how many steps it took to 90 %.");
  app.add_option("--steps", budget.steps, "Budget of each")->check(CLI::Range(1, 1000000))->capture_default_str();
  app.add_option("--signs", budget.signs, "Classes")->check(CLI::Range(2, 4))->capture_default_str();
  app.add_option("--rate", budget.rate, "Learning rate")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--seed", budget.seed, "Of weights and locations")->capture_default_str();
  CLI11_PARSE(app, argc, argv);

  std::printf("%-42s %10s %13s %9s\n", "over cells", "steps to 90 %", "at the end", "ms/step");
  report("score function", train<true>(budget, plain(sample::ScoreFunction<>{})));
  report("score function, moving average",
         train<true>(budget, [](const Model&, Tape<float>&, Var<float>, const sample::MovingAverage& average) {
           return sample::ScoreFunction<sample::MovingAverage>{.baseline = average};
         }));
  report("score function, learned baseline",
         train<true>(budget, [](const Model& model, Tape<float>& tape, Var<float> proxies, const sample::MovingAverage&) {
           return sample::ScoreFunction<sample::LearnedBaseline<float>>{.baseline = {model.baseline(tape, proxies)}};
         }));
  report("score function, leave one out of 4",
         train<true>(budget, plain(sample::ScoreFunction<sample::LeaveOneOut>{.samples = 4})));
  report("clipped policy gradient, leave one out of 4",
         train<true>(budget, plain(sample::ClippedPolicyGradient<sample::LeaveOneOut>{.samples = 4})));
  report("VIMCO, 4", train<true>(budget, plain(sample::Vimco{.samples = 4})));
  report("straight-through", train<true>(budget, plain(sample::StraightThrough{})));
  report("Gumbel straight-through", train<true>(budget, plain(sample::GumbelStraightThrough{})));
  report("relaxed (Gumbel-softmax)", train<true>(budget, plain(sample::Relaxed{})));
  report("REBAR", train<true>(budget, plain(sample::Rebar{})));
  report("RELAX", train<true>(budget, [](const Model& model, Tape<float>& tape, Var<float>, const sample::MovingAverage&) {
           return sample::Relax{[&model, &tape](Var<float> z) { return model.surrogate(tape, z); }, Index{1}};
         }));
  report("attention sampling, 4 without replacement", train<true>(budget, plain(sample::AttentionSampling{.samples = 4})));
  report("attention sampling, 4 with replacement",
         train<true>(budget, plain(sample::AttentionSampling{.samples = 4, .with_replacement = true})));
  report("perturbed top-1", train<true>(budget, plain(sample::PerturbedTopK{.sigma = 0.5})));
  std::printf("%-42s %10s %13s %9s\n", "over a Gaussian place", "steps to 90 %", "at the end", "ms/step");
  report("pathwise", train<false>(budget, plain(sample::Pathwise{})));
  report("pathwise, 4", train<false>(budget, plain(sample::Pathwise{.samples = 4})));
  report("score function, leave one out of 4",
         train<false>(budget, plain(sample::ScoreFunction<sample::LeaveOneOut>{.samples = 4})));
  return 0;
}
