// SPDX-License-Identifier: MIT
// The published Variational Saccading network (J. Ramapuram, M. Diephuis, R. Webb, A. Kalousis, F. Lavda, BMVC 2019), a second
// time and in the plainest way: scalar loops over std::vector<double>, one picture, and of fovea only the weights, by name.
//
// It is the network of the experiment with two cluttered digits: resnet encoders, dense decoder, ELU, group norms, two LSTMs,
// Gaussian locations. What docs/reference.md calls mended is a choice, `to_the_letter`: the coordinates of z, and what the
// second half of the posterior's and prior's numbers means. Three things are as fovea has them, and not as the published code:
// group norms stand for batch norms (docs/reference.md); the proxy is resized with align_corners false; the head's input is
// [phi_o, h], which is the same network with the rows of one matrix in another order.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace fovea_test {

struct PublishedNetworkOptions {
  bool to_the_letter = false;
  double largest = 0.3;    ///< p: half-extent of the largest region
  double deviation = 0.1;  ///< unless to the letter: of the posterior whose network says 0
  std::size_t steps = 4;
  std::size_t glimpse = 64;  ///< pixels on a side
  std::size_t filters = 32;
  std::size_t latent = 256;
};

class PublishedNetwork {
 public:
  using Doubles = std::vector<double>;
  using Weights = std::map<std::string, Doubles>;

  /// [height, width, channels].
  struct Picture {
    std::size_t height = 0;
    std::size_t width = 0;
    std::size_t channels = 0;
    Doubles pixels;
  };

  /// What one step comes to. `spread`: the logarithm of a deviation; to the letter, the number v that is a log-variance where z
  /// is drawn and a deviation in the KL.
  struct Step {
    Doubles posterior_mean;
    Doubles posterior_spread;
    Doubles prior_mean;
    Doubles prior_spread;
    Doubles z;
    Doubles region;  ///< s, x, y
    Picture glimpse;
    Doubles proxy_logits;
    double proxy_log_likelihood = 0;
    double kl = 0;
    Doubles evidence;
    Doubles logits;  ///< of the steps up to this one
    Doubles state;   ///< h_{t-1}
  };

  /// The weights by the names of fovea's layout, each row-major: matrices [inputs, outputs], kernels [h, w, inputs, outputs].
  PublishedNetwork(Weights weights, const PublishedNetworkOptions& options) : weights_(std::move(weights)), o_(options) {}

  /// `noise`: for each step three standard normal numbers; none: evaluation, where z is the mean. `given`: for each step the z
  /// that all else goes on from, whatever Step::z comes to; none: that.
  [[nodiscard]] std::vector<Step> operator()(const Picture& proxy, const Picture& image, const std::vector<Doubles>& noise = {},
                                             const std::vector<Doubles>& given = {}) const {
    // The published code has this within the loop; the proxy is the same each time.
    const Doubles seen = each(encoder("proxy_network", resized(proxy)), elu);

    std::vector<Step> steps(o_.steps);
    std::array<Lstm, 2> memory;
    for (Lstm& m : memory) m.h = m.c = Doubles(o_.latent, 0.0);
    Doubles sum(o_.latent, 0.0);
    for (std::size_t t = 0; t < o_.steps; ++t) {
      Step& step = steps[t];
      // encode: the state is the mean over the layers, and not what the upper one gives
      Doubles h(o_.latent);
      for (std::size_t i = 0; i < o_.latent; ++i) h[i] = (memory[0].h[i] + memory[1].h[i]) / 2;
      step.state = h;
      const Doubles encoded = dense_network("policy", 2, joined(seen, h));
      const Doubles prior = dense_network("prior", 2, h);
      locate(step, encoded, prior, noise.empty() ? Doubles{} : noise[t]);
      const Doubles& z = given.empty() ? step.z : given[t];

      // crop, and what it says of the class
      step.region = region_of(z);
      step.glimpse = crop(image, step.region);
      const Doubles crop_features = encoder("glimpse_network", step.glimpse);
      step.evidence = dense_network("head.step", 2, joined(crop_features, h));
      step.evidence.pop_back();  // was to say when to stop
      for (std::size_t i = 0; i < o_.latent; ++i) sum[i] += step.evidence[i];
      Doubles mean = sum;
      for (double& m : mean) m /= static_cast<double>(t + 1);
      step.logits = dense_network("head.classes", 2, mean);

      // decode, and update the state
      const Doubles located = each(dense_network("location_features", 2, z), selu);
      step.proxy_logits = dense_network("decoder", 3, joined(located, h));
      step.proxy_log_likelihood = bernoulli_log_likelihood(step.proxy_logits, proxy.pixels);
      memory[0] = lstm("cell.lower", joined(seen, located), memory[0]);
      memory[1] = lstm("cell.upper", memory[0].h, memory[1]);
    }
    return steps;
  }

  /// What is minimised of one picture: the mean over the steps of the negative bound, times the cross-entropy.
  [[nodiscard]] static double loss(const std::vector<Step>& steps, std::int32_t label, double kl_weight) {
    double bound = 0;
    for (const Step& step : steps)
      bound += (kl_weight * step.kl - step.proxy_log_likelihood) / static_cast<double>(steps.size());
    double sum = 0;
    for (const double logit : steps.back().logits) sum += std::exp(logit);
    return bound * (std::log(sum) - steps.back().logits[static_cast<std::size_t>(label)]);
  }

 private:
  struct Lstm {
    Doubles h;
    Doubles c;
  };

  [[nodiscard]] const Doubles& at(const std::string& name, std::size_t size) const {
    const Doubles& w = weights_.at(name);
    if (w.size() != size) throw std::logic_error("published network: " + name + " is of another size");
    return w;
  }

  // ------------------------------------------------------------------------------------------------- one number at a time

  static double elu(double x) { return x > 0 ? x : std::exp(x) - 1; }
  static double selu(double x) {
    return 1.0507009873554804934193349852946 * (x > 0 ? x : 1.6732632423543772848170429916717 * (std::exp(x) - 1));
  }
  static double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

  template <class F>
  [[nodiscard]] static Doubles each(Doubles x, F f) {
    for (double& v : x) v = f(v);
    return x;
  }
  [[nodiscard]] static Doubles joined(Doubles a, const Doubles& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
  }

  // ---------------------------------------------------------------------------------------------------------- dense layers

  [[nodiscard]] Doubles dense(const std::string& name, const Doubles& x) const {
    Doubles y = weights_.at(name + ".b");
    const Doubles& w = at(name + ".w", x.size() * y.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      for (std::size_t k = 0; k < y.size(); ++k) y[k] += x[i] * w[i * y.size() + k];
    }
    return y;
  }
  [[nodiscard]] Doubles dense_network(const std::string& name, int layers, Doubles x) const {
    for (int l = 1; l <= layers; ++l) {
      x = dense(name + ".dense" + std::to_string(l), x);
      if (l < layers) x = each(std::move(x), elu);
    }
    return x;
  }

  /// As torch has it: gates i, f, g, o, and two biases.
  [[nodiscard]] Lstm lstm(const std::string& name, const Doubles& x, const Lstm& before) const {
    const std::size_t n = before.h.size();
    const Doubles& w_x = at(name + ".w_x", x.size() * 4 * n);
    const Doubles& w_h = at(name + ".w_h", n * 4 * n);
    const Doubles& b_x = at(name + ".b_x", 4 * n);
    const Doubles& b_h = at(name + ".b_h", 4 * n);
    Doubles gates(4 * n);
    for (std::size_t k = 0; k < 4 * n; ++k) gates[k] = b_x[k] + b_h[k];
    for (std::size_t i = 0; i < x.size(); ++i) {
      for (std::size_t k = 0; k < 4 * n; ++k) gates[k] += x[i] * w_x[i * 4 * n + k];
    }
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t k = 0; k < 4 * n; ++k) gates[k] += before.h[i] * w_h[i * 4 * n + k];
    }
    Lstm after{Doubles(n), Doubles(n)};
    for (std::size_t k = 0; k < n; ++k) {
      after.c[k] = sigmoid(gates[n + k]) * before.c[k] + sigmoid(gates[k]) * std::tanh(gates[2 * n + k]);
      after.h[k] = sigmoid(gates[3 * n + k]) * std::tanh(after.c[k]);
    }
    return after;
  }

  // -------------------------------------------------------------------------------------------------------------- pictures

  /// To 64 pixels on the longer side, bilinear, the outermost pixels onto each other (align_corners).
  [[nodiscard]] static Picture resized(const Picture& from) {
    const double ratio = static_cast<double>(std::max(from.height, from.width)) / 64;
    const auto scaled = [ratio](std::size_t n) {
      return static_cast<std::size_t>(std::max(1L, std::lround(static_cast<double>(n) / ratio)));
    };
    Picture to{scaled(from.height), scaled(from.width), from.channels, {}};
    const auto position = [](std::size_t i, std::size_t out, std::size_t in) {
      return out > 1 ? static_cast<double>(i * (in - 1)) / static_cast<double>(out - 1) : 0.0;
    };
    for (std::size_t i = 0; i < to.height; ++i) {
      for (std::size_t j = 0; j < to.width; ++j) {
        add_pixel(from, position(i, to.height, from.height), position(j, to.width, from.width), to.pixels);
      }
    }
    return to;
  }

  /// affine_grid and grid_sample: -1 and 1 are the centres of the outermost pixels, and outside the image it is 0.
  [[nodiscard]] Picture crop(const Picture& image, const Doubles& region) const {
    Picture to{o_.glimpse, o_.glimpse, image.channels, {}};
    const auto position = [&](std::size_t i, double centre, std::size_t in) {
      const double own = 2 * static_cast<double>(i) / static_cast<double>(o_.glimpse - 1) - 1;
      return (region[0] * own + centre + 1) / 2 * static_cast<double>(in - 1);
    };
    for (std::size_t i = 0; i < to.height; ++i) {
      for (std::size_t j = 0; j < to.width; ++j) {
        add_pixel(image, position(i, region[2], image.height), position(j, region[1], image.width), to.pixels);
      }
    }
    return to;
  }

  /// Appends what lies at (y, x), in pixels, between four of them.
  static void add_pixel(const Picture& image, double y, double x, Doubles& to) {
    const double top = std::floor(y);
    const double left = std::floor(x);
    for (std::size_t c = 0; c < image.channels; ++c) {
      const auto pixel = [&](double i, double j) {
        if (i < 0 || j < 0 || i >= static_cast<double>(image.height) || j >= static_cast<double>(image.width)) return 0.0;
        return image.pixels[(static_cast<std::size_t>(i) * image.width + static_cast<std::size_t>(j)) * image.channels + c];
      };
      to.push_back((top + 1 - y) * ((left + 1 - x) * pixel(top, left) + (x - left) * pixel(top, left + 1)) +
                   (y - top) * ((left + 1 - x) * pixel(top + 1, left) + (x - left) * pixel(top + 1, left + 1)));
    }
  }

  /// A square kernel of `side`, with side / 2 zeros around the picture.
  [[nodiscard]] Picture convolved(const std::string& name, const Picture& x, std::size_t outputs, std::size_t side,
                                  std::size_t stride) const {
    const Doubles& w = at(name + ".w", side * side * x.channels * outputs);
    const std::size_t padding = side / 2;
    Picture y{(x.height + stride - 1) / stride, (x.width + stride - 1) / stride, outputs, {}};
    y.pixels.assign(y.height * y.width * outputs, 0.0);
    for (std::size_t i = 0; i < y.height; ++i) {
      for (std::size_t j = 0; j < y.width; ++j) {
        double* const sums = y.pixels.data() + (i * y.width + j) * outputs;
        for (std::size_t a = 0; a < side; ++a) {
          for (std::size_t b = 0; b < side; ++b) {
            const std::size_t row = i * stride + a - padding;  // wraps around where it lies above the picture
            const std::size_t column = j * stride + b - padding;
            if (row >= x.height || column >= x.width) continue;
            for (std::size_t c = 0; c < x.channels; ++c) {
              const double pixel = x.pixels[(row * x.width + column) * x.channels + c];
              const double* const weights = w.data() + ((a * side + b) * x.channels + c) * outputs;
              for (std::size_t k = 0; k < outputs; ++k) sums[k] += pixel * weights[k];
            }
          }
        }
      }
    }
    return y;
  }

  /// min(ceil(C / 2), 32) groups, 1e-5 in the variance.
  [[nodiscard]] Picture normalised(const std::string& name, Picture x) const {
    const Doubles& gamma = at(name + ".gamma", x.channels);
    const Doubles& beta = at(name + ".beta", x.channels);
    const std::size_t groups = std::min((x.channels + 1) / 2, std::size_t{32});
    const std::size_t width = x.channels / groups;
    const std::size_t places = x.height * x.width;
    const auto count = static_cast<double>(places * width);
    for (std::size_t first = 0; first < x.channels; first += width) {
      double mean = 0;
      double variance = 0;
      for (std::size_t p = 0; p < places; ++p) {
        for (std::size_t c = first; c < first + width; ++c) mean += x.pixels[p * x.channels + c] / count;
      }
      for (std::size_t p = 0; p < places; ++p) {
        for (std::size_t c = first; c < first + width; ++c)
          variance += std::pow(x.pixels[p * x.channels + c] - mean, 2) / count;
      }
      for (std::size_t p = 0; p < places; ++p) {
        for (std::size_t c = first; c < first + width; ++c) {
          double& v = x.pixels[p * x.channels + c];
          v = gamma[c] * (v - mean) / std::sqrt(variance + 1e-5) + beta[c];
        }
      }
    }
    return x;
  }

  /// A residual block of stride 2: its shortcut is always a 1x1 convolution.
  [[nodiscard]] Picture block(const std::string& name, const Picture& x, std::size_t outputs) const {
    Picture y = normalised(name + ".norm1", convolved(name + ".conv1", x, outputs, 3, 2));
    y.pixels = each(std::move(y.pixels), elu);
    y = normalised(name + ".norm2", convolved(name + ".conv2", y, outputs, 3, 1));
    const Picture shortcut = normalised(name + ".shortcut.norm", convolved(name + ".shortcut.conv", x, outputs, 1, 2));
    for (std::size_t i = 0; i < y.pixels.size(); ++i) y.pixels[i] = elu(y.pixels[i] + shortcut.pixels[i]);
    return y;
  }

  /// Six blocks, of which 64x64 pixels leave one place, and there a 1x1 convolution.
  [[nodiscard]] Doubles encoder(const std::string& name, Picture x) const {
    const std::size_t f = o_.filters;
    const std::array<std::size_t, 6> widths{f, 2 * f, 4 * f, 2 * f, f, o_.latent};
    for (std::size_t i = 0; i < widths.size(); ++i) x = block(name + ".block" + std::to_string(i + 1), x, widths[i]);
    if (x.pixels.size() != o_.latent) throw std::logic_error("published network: a picture of up to 64x64 pixels expected");
    return dense(name + ".dense", x.pixels);
  }

  // ------------------------------------------------------------------------------------------------------------- locations

  /// Means first, then what says how wide. `noise` is empty at evaluation.
  void locate(Step& step, const Doubles& encoded, const Doubles& prior, const Doubles& noise) const {
    for (std::size_t k = 0; k < 3; ++k) {
      step.posterior_mean.push_back(encoded[k]);
      step.prior_mean.push_back(prior[k]);
      const double q = encoded[3 + k];
      const double p = prior[3 + k];
      step.posterior_spread.push_back(o_.to_the_letter ? q + 1e-6 : q + std::log(o_.deviation));
      step.prior_spread.push_back(o_.to_the_letter ? sigmoid(p) + 1e-6 : p);

      const double deviation = std::exp(o_.to_the_letter ? 0.5 * step.posterior_spread[k] : step.posterior_spread[k]);
      step.z.push_back(noise.empty() ? encoded[k] : encoded[k] + deviation * noise[k]);

      // torch's divergence of two Normals, which looks at the squares of their deviations only
      const double of_q = o_.to_the_letter ? step.posterior_spread[k] : std::exp(step.posterior_spread[k]);
      const double of_p = o_.to_the_letter ? step.prior_spread[k] : std::exp(step.prior_spread[k]);
      const double ratio = of_q * of_q / (of_p * of_p);
      const double apart = (encoded[k] - prior[k]) / of_p;
      step.kl += 0.5 * (ratio + apart * apart - 1 - std::log(ratio));
    }
  }

  [[nodiscard]] Doubles region_of(const Doubles& z) const {
    if (!o_.to_the_letter) return {o_.largest * sigmoid(z[0]), std::tanh(z[1]), std::tanh(z[2])};
    const double divisor = std::max(std::abs(z[0]), 1 / o_.largest);
    return {1 / divisor, -z[1] / divisor, -z[2] / divisor};
  }

  [[nodiscard]] static double bernoulli_log_likelihood(const Doubles& logits, const Doubles& pixels) {
    double sum = 0;
    for (std::size_t i = 0; i < logits.size(); ++i) {
      sum += pixels[i] * std::log(sigmoid(logits[i])) + (1 - pixels[i]) * std::log(sigmoid(-logits[i]));
    }
    return sum;
  }

  Weights weights_;
  PublishedNetworkOptions o_;
};

}  // namespace fovea_test
