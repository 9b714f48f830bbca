// SPDX-License-Identifier: MIT
/// \file
/// Weights from PyTorch, by name: a state_dict saved as safetensors (docs/weights.md), and a list that says which of its
/// tensors is which of our parameters, and how its axes lie (nlohmann-json; CMake component `json`).
///
///     const train::SafetensorsFile file("model.safetensors");
///     namespace pt = interop::pytorch;
///     interop::import_pytorch(file, weights, pt::join({pt::convolution("features.conv1", "features.0"),
///                                                      pt::group_norm("features.norm1", "features.1"),
///                                                      pt::dense("head", "classifier")}));
///
/// What differs: a convolution has [O, I, KH, KW] there and [KH, KW, I, O] here; a dense layer and the gates of a recurrent
/// cell [O, I] there and [I, O] here; features are NCHW there and NHWC here, which is seen where they are flattened. The gates
/// of GRU and LSTM and their two biases are the same (kernel/gates.hpp), and so are the norms.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/parameters.hpp>
#include <fovea/core/view.hpp>
#include <fovea/train/safetensors.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <numeric>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fovea::inline FOVEA_ABI {
namespace interop {
namespace pytorch {

/// How a tensor of theirs becomes one of ours: first parts of one axis are taken, then the axes are put in order.
struct Rule {
  /// Axis i of ours is axis axes[i] of theirs; those that are not named must be of length 1. Empty: all, as they are.
  std::vector<std::size_t> axes = {};
  /// Their axis `axis` is cut into `parts` of equal length, of which those named by `order` are taken, one behind the other:
  /// {parts 4, order 0 1 3 2} exchanges the last two of four gates, {parts 3, order 1} takes the middle third.
  std::size_t axis = 0;
  Index parts = 1;
  std::vector<Index> order = {0};
  /// The first element of each part, then the second of each, ...: with a part for each channel, CHW to HWC.
  bool interleaved = false;
};

struct NameMapping {
  /// A parameter of ours, or several: a * stands for one or more characters, as few as fit.
  std::string ours;
  /// The tensor of theirs, with a * for what each * of `ours` stands for, in that order. Where there are several, they are of
  /// one shape, and their sum is taken: two biases of theirs for one of ours.
  std::vector<std::string> theirs;
  Rule rule = {};
};

/// Of a dense layer (nn::Dense, torch.nn.Linear); there it may be a convolution of 1 x 1 on a single place.
[[nodiscard]] inline std::vector<NameMapping> dense(const std::string& ours, const std::string& theirs) {
  return {{ours + ".w", {theirs + ".weight"}, {.axes = {1, 0}}}, {ours + ".b", {theirs + ".bias"}}};
}
/// Their axis `axis` is a flattened map of `channels`, C x H x W, which is H x W x C here. Throws Error on fewer than 1
/// channel.
[[nodiscard]] inline Rule flattened(Rule rule, std::size_t axis, Index channels) {
  require(channels >= 1, "pytorch: at least 1 channel expected, ", channels, " came");
  rule.axis = axis;
  rule.parts = channels;
  rule.order.resize(static_cast<std::size_t>(channels));
  std::iota(rule.order.begin(), rule.order.end(), Index{0});
  rule.interleaved = true;
  return rule;
}
/// Of the dense layer that reads such a map.
[[nodiscard]] inline std::vector<NameMapping> dense_after_flatten(const std::string& ours, const std::string& theirs,
                                                                  Index channels) {
  std::vector<NameMapping> names = dense(ours, theirs);
  names[0].rule = flattened(names[0].rule, 1, channels);
  return names;
}
/// Of a convolution (nn::Conv2d, torch.nn.Conv2d without groups).
[[nodiscard]] inline std::vector<NameMapping> convolution(const std::string& ours, const std::string& theirs) {
  return {{ours + ".w", {theirs + ".weight"}, {.axes = {2, 3, 1, 0}}}, {ours + ".b", {theirs + ".bias"}}};
}
/// Of a group norm (nn::GroupNorm, torch.nn.GroupNorm).
[[nodiscard]] inline std::vector<NameMapping> group_norm(const std::string& ours, const std::string& theirs) {
  return {{ours + ".gamma", {theirs + ".weight"}}, {ours + ".beta", {theirs + ".bias"}}};
}
/// Of a GRU or LSTM cell (nn::GruCell, nn::LstmCell; torch.nn.GRUCell, torch.nn.LSTMCell, or layer k of torch.nn.GRU and
/// torch.nn.LSTM with `suffix` "_l<k>").
[[nodiscard]] inline std::vector<NameMapping> recurrent(const std::string& ours, const std::string& theirs,
                                                        const std::string& suffix = "") {
  return {{ours + ".w_x", {theirs + ".weight_ih" + suffix}, {.axes = {1, 0}}},
          {ours + ".w_h", {theirs + ".weight_hh" + suffix}, {.axes = {1, 0}}},
          {ours + ".b_x", {theirs + ".bias_ih" + suffix}},
          {ours + ".b_h", {theirs + ".bias_hh" + suffix}}};
}

/// The lists one behind the other.
[[nodiscard]] inline std::vector<NameMapping> join(std::initializer_list<std::vector<NameMapping>> lists) {
  std::vector<NameMapping> all;
  for (const auto& list : lists) all.insert(all.end(), list.begin(), list.end());
  return all;
}

namespace detail {

/// Whether the pattern fits; what each * stands for is put into `stars`.
[[nodiscard]] inline bool fits(std::string_view pattern, std::string_view name, std::vector<std::string_view>& stars) {
  const std::size_t plain = std::min(pattern.find('*'), pattern.size());
  if (name.substr(0, plain) != pattern.substr(0, plain)) return false;
  name.remove_prefix(plain);
  pattern.remove_prefix(plain);
  if (pattern.empty()) return name.empty();
  for (std::size_t size = 1; size <= name.size(); ++size) {
    stars.push_back(name.substr(0, size));
    if (fits(pattern.substr(1), name.substr(size), stars)) return true;
    stars.pop_back();
  }
  return false;
}

/// The pattern with its stars filled in. Throws Error where it has more or fewer.
[[nodiscard]] inline std::string filled(const std::string& pattern, const std::vector<std::string_view>& stars) {
  require(static_cast<std::size_t>(std::count(pattern.begin(), pattern.end(), '*')) == stars.size(), "pytorch: \"", pattern,
          "\": ", stars.size(), " * expected, as there are in the name of ours");
  std::string name;
  std::size_t star = 0;
  for (const char c : pattern) {
    if (c == '*') {
      name += stars[star++];
    } else {
      name += c;
    }
  }
  return name;
}

/// Where the elements of ours are in theirs: for each of our axes, the offset of each place along it. Nothing where the rule
/// does not make `ours` of `theirs`.
[[nodiscard]] inline std::optional<std::vector<std::vector<Index>>> places(const Rule& rule, std::span<const Index> theirs,
                                                                           const Shape& ours) {
  std::vector<std::size_t> axes = rule.axes;
  if (axes.empty()) {
    axes.resize(theirs.size());
    std::iota(axes.begin(), axes.end(), std::size_t{0});
  }
  if (axes.size() != ours.rank()) return std::nullopt;
  for (std::size_t a = 0; a < theirs.size(); ++a) {
    const auto named = std::count(axes.begin(), axes.end(), a);
    if (named > 1 || (named == 0 && theirs[a] != 1)) return std::nullopt;
  }
  const auto count = static_cast<Index>(rule.order.size());
  const bool cut = rule.parts != 1 || count != 1;
  if (cut && (rule.axis >= theirs.size() || rule.parts < 1 || theirs[rule.axis] % rule.parts != 0)) return std::nullopt;
  for (const Index part : rule.order) {
    if (part < 0 || part >= rule.parts) return std::nullopt;
  }
  std::vector<std::vector<Index>> all;
  for (std::size_t i = 0; i < axes.size(); ++i) {
    if (axes[i] >= theirs.size()) return std::nullopt;
    Index stride = 1;
    for (std::size_t a = axes[i] + 1; a < theirs.size(); ++a) stride *= theirs[a];
    const bool cut_here = cut && axes[i] == rule.axis;
    const Index part = cut_here ? theirs[axes[i]] / rule.parts : theirs[axes[i]];
    const Index parts = cut_here ? count : 1;
    if (part * parts != ours[i]) return std::nullopt;
    std::vector<Index>& at = all.emplace_back();
    for (Index j = 0; j < ours[i]; ++j) {
      const Index which = rule.interleaved ? j % parts : j / part;
      const Index within = rule.interleaved ? j / parts : j % part;
      at.push_back(((cut_here ? rule.order[static_cast<std::size_t>(which)] : 0) * part + within) * stride);
    }
  }
  return all;
}

}  // namespace detail

/// The published code's names for model::Saccader::reference() and published(), with a proxy of `channels`: the modules of
/// github.com/jramapuram/variational_saccading at 88edf60 with its submodules helpers 622d941 and vae 77f336b, trained with
/// `--encoder-layer-type resnet --decoder-layer-type dense --disable-gated --conv-normalization groupnorm
/// --dense-normalization none --reparam-type isotropic_gaussian --continuous-size 6 --nll-type bernoulli` on one device
/// (docs/weights.md has the table).
[[nodiscard]] inline std::vector<NameMapping> reference_mapping(Index channels = 1) {
  const auto encoder = [](const std::string& ours, const std::string& theirs) {
    return join(
        {convolution(ours + ".block*.conv1", theirs + ".*.conv1.0"), group_norm(ours + ".block*.norm1", theirs + ".*.conv1.1"),
         convolution(ours + ".block*.conv2", theirs + ".*.conv2.0"), group_norm(ours + ".block*.norm2", theirs + ".*.conv2.1"),
         convolution(ours + ".block*.shortcut.conv", theirs + ".*.downsample.0"),
         group_norm(ours + ".block*.shortcut.norm", theirs + ".*.downsample.1"), dense(ours + ".dense", theirs + ".7")});
  };
  const auto two_layers = [](const std::string& ours, const std::string& theirs) {
    return join({dense(ours + ".dense1", theirs + ".l0.0"), dense(ours + ".dense2", theirs + ".output")});
  };
  std::vector<NameMapping> names =
      join({encoder("proxy_network", "vae.phi_x.0"), two_layers("policy", "vae.encoder"), two_layers("prior", "vae.prior"),
            two_layers("location_features", "vae.phi_z.0"), dense("decoder.dense1", "vae.decoder.l0.0"),
            dense("decoder.dense2", "vae.decoder.l1.0"), dense("decoder.dense3", "vae.decoder.output"),
            encoder("glimpse_network", "latent_projector.conv"), recurrent("cell.lower", "vae.rnn", "_l0"),
            recurrent("cell.upper", "vae.rnn", "_l1"), two_layers("head.step", "latent_projector.state_proj.0"),
            two_layers("head.classes", "latent_projector.out_proj")});
  for (NameMapping& name : names) {
    // They read [h, features of the glimpse], we the features first; both halves are as long.
    if (name.ours == "head.step.dense1.w") name.rule = {.axes = {1, 0}, .axis = 1, .parts = 2, .order = {1, 0}};
    if (name.ours.starts_with("decoder.dense3.")) name.rule = flattened(name.rule, 0, channels);
  }
  return names;
}

}  // namespace pytorch

/// Fills `parameters` from the file. Each parameter must fit one of `names`, and its tensors be there, of the right shape, in
/// F16, BF16, F32 or F64; each tensor of the file must be used, or fit one of `unused` ("*.num_batches_tracked"). A mapping
/// that fits no parameter is no mistake. Throws Error with both names otherwise; then no parameter is changed.
template <std::floating_point T>
void import_pytorch(const train::SafetensorsFile& file, Parameters<T>& parameters, std::span<const pytorch::NameMapping> names,
                    std::initializer_list<std::string_view> unused = {}) {
  Parameters<T> imported = parameters;
  std::set<std::string, std::less<>> used;
  imported.visit([&](const std::string& name, const Shape& shape, View<T, 1> to) {
    const pytorch::NameMapping* mapping = nullptr;
    std::vector<std::string_view> stars;
    for (const pytorch::NameMapping& m : names) {
      std::vector<std::string_view> found;
      if (!pytorch::detail::fits(m.ours, name, found)) continue;
      require(mapping == nullptr, "pytorch: parameter \"", name, "\": one mapping expected, \"",
              mapping == nullptr ? "" : mapping->ours, "\" and \"", m.ours, "\" fit");
      mapping = &m;
      stars = std::move(found);
    }
    require(mapping != nullptr && !mapping->theirs.empty(), "pytorch: parameter \"", name,
            "\": a mapping expected, there is none");
    std::fill_n(to.data(), to.size(), T{});
    for (const std::string& pattern : mapping->theirs) {
      const std::string theirs = pytorch::detail::filled(pattern, stars);
      require(file.contains(theirs), file.path(), ": a tensor \"", theirs, "\" expected for parameter \"", name,
              "\", there is none");
      const std::span<const Index> extents = file.shape(theirs);
      const auto places = pytorch::detail::places(mapping->rule, extents, shape);
      require(places.has_value(), file.path(), ": tensor \"", theirs, "\" for parameter \"", name, "\": a shape that becomes ",
              shape.to_string(), " expected, ", train::detail::shown(extents), " came");
      Index size = 1;
      for (const Index e : extents) size *= e;
      Tensor<T, 1> elements({size});
      file.read(theirs, elements.view());
      // Row-major over ours: the last axis runs fastest.
      for (Index i = 0; i < to.size(); ++i) {
        Index from = 0;
        Index rest = i;
        for (std::size_t a = shape.rank(); a-- > 0; rest /= shape[a])
          from += (*places)[a][static_cast<std::size_t>(rest % shape[a])];
        to[i] += elements.data()[from];
      }
      used.insert(theirs);
    }
  });
  for (const std::string& theirs : file.names()) {
    std::vector<std::string_view> stars;
    const bool known = used.contains(theirs) || std::any_of(unused.begin(), unused.end(), [&](std::string_view pattern) {
                         return pytorch::detail::fits(pattern, theirs, stars);
                       });
    require(known, file.path(), ": tensor \"", train::detail::shown(theirs), "\" fits no parameter");
  }
  parameters = std::move(imported);
}

}  // namespace interop
}  // namespace fovea::inline FOVEA_ABI
