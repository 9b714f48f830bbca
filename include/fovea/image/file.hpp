// SPDX-License-Identifier: MIT
/// \file
/// A picture in a file as something to look at: decodes what is looked at, and says exactly what that was.
///
/// The levels of a BasicImageFile are those of a Pyramid of the decoded picture, seen upright.
///
/// Levels that the file stores are decoded by tiles, which a cache keeps for the next glimpse.
///
/// The overview, a level of at most ImageFileOptions::overview_pixels, is kept whole, and with it everything coarser. It is
/// made when it is first looked at, usually by the proxy.
///
/// What lies between is averaged from the next finer stored level whenever it is read: exactly, and it costs the pixels under
/// it. A file with no more than the picture itself therefore costs more the wider one looks; examples/make_pyramid helps.
///
/// Files that can only be decoded from the top (most PNG) are decoded in one pass for all boxes that `prepare` names.
#pragma once

#include <fovea/core/config.hpp>
#include <fovea/core/error.hpp>
#include <fovea/core/view.hpp>
#include <fovea/image/decoder.hpp>
#include <fovea/image/pyramid.hpp>
#include <fovea/image/source.hpp>
#include <fovea/image/tile_cache.hpp>
#include <fovea/image/view.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <numbers>
#include <span>
#include <utility>
#include <vector>

namespace fovea::inline FOVEA_ABI {

/// What to spare where a file can only be decoded from the top. It makes no difference to other files.
enum class ReadPolicy : std::uint8_t {
  /// Every look at what is not in memory decodes the file down to there; only the overview and the cache are kept.
  least_memory,
  /// The file is decoded once, when it is first looked at, and the picture kept. Where it would take more than
  /// ImageFileOptions::whole_bytes, as least_memory.
  least_time,
};

struct ImageFileOptions {
  /// Channels wanted: 1 (grey), 3 (RGB) or 4 (RGBA), converted as image/color.hpp says; 0: 1 or 3, as the file has.
  Index channels = 0;
  ReadPolicy policy = ReadPolicy::least_memory;
  /// For decoded tiles.
  std::size_t cache_bytes = std::size_t{4} << 20U;
  /// The finest level stored with at most so many pixels is kept whole, with all coarser ones; where none is stored, one is
  /// made. More pixels make proxies more exact: with seven times the rows and columns of a proxy, values of it are within 1/255
  /// of the average of all pixels (a photograph of 12 megapixels, claims-images).
  Index overview_pixels = Index{1} << 20;
  /// The most that ReadPolicy::least_time may keep.
  std::size_t whole_bytes = std::size_t{1} << 30U;
  /// Pictures are turned upright as the file asks for; otherwise seen as they are stored.
  bool honour_orientation = true;
};

/// A picture in a file: an ImageSource. Keeps what it decoded, behind `const` too: not for several threads at a time.
/// Its functions throw Error where the file turns out damaged.
template <kernel::Pixel P>
class BasicImageFile {
 public:
  using PixelType = P;

  /// Throws Error on a decoder whose image is empty or whose levels are not ordered fine to coarse.
  explicit BasicImageFile(std::unique_ptr<ImageDecoder<P>> decoder, const ImageFileOptions& options = {})
      : state_(std::make_unique<State>(std::move(decoder), options)) {}

  /// {height, width} of the picture as it is seen.
  [[nodiscard]] Extents<2> extent() const noexcept { return state_->layers.front().extent; }
  [[nodiscard]] Index channels() const noexcept { return state_->channels; }
  [[nodiscard]] int levels() const noexcept { return static_cast<int>(state_->layers.size()); }
  [[nodiscard]] Extents<2> level_extent(int level) const noexcept { return state_->layer(level).extent; }
  [[nodiscard]] const std::array<double, 2>& ratios(int level) const noexcept { return state_->layer(level).ratio; }
  [[nodiscard]] double ratio(int level) const noexcept { return std::max(ratios(level)[0], ratios(level)[1]); }
  /// Levels from this one on are kept in memory as a whole.
  [[nodiscard]] int overview_level() const noexcept { return state_->overview_level; }

  [[nodiscard]] PixelWindow<P> read(int level, const PixelBox& box) const { return state_->read(level, box); }
  /// Decodes what the boxes need and the cache has room for, each part of the file once.
  void prepare(std::span<const LevelBox> boxes) const { state_->prepare(boxes); }

  [[nodiscard]] Decoded decoded() const noexcept { return state_->decoder->decoded(); }
  [[nodiscard]] const TileCache<P>& cache() const noexcept { return state_->cache; }
  /// Bytes of pixels kept: the overview, the picture under ReadPolicy::least_time, the cache, and the last window.
  [[nodiscard]] std::size_t memory() const noexcept {
    const State& s = *state_;
    return s.cache.bytes() + sizeof(P) * (s.whole.size() + s.overview.size() + s.window.size());
  }

 private:
  struct Layer {
    Extents<2> extent{};  ///< as seen
    std::array<double, 2> ratio{};
    int stored = 0;   ///< the decoder's level it comes from
    int octaves = 0;  ///< how often that is halved
  };

  struct State {
    std::unique_ptr<ImageDecoder<P>> decoder;
    ImageFileOptions options;
    Orientation orientation = Orientation::upright;
    Index channels = 0;
    std::vector<Layer> layers;
    int overview_level = 0;
    bool keep_whole = false;
    TileCache<P> cache;
    std::vector<P> whole;     ///< level 0 as stored, under least_time
    std::vector<P> overview;  ///< its levels one behind the other, as seen
    std::vector<P> window;
    Pyramid<P> halved;  ///< of the window
    std::vector<LevelBox> wanted;
    std::vector<TileKey> keys;
    std::vector<Tile<P>> missing;

    State(std::unique_ptr<ImageDecoder<P>> d, const ImageFileOptions& o)
        : decoder(std::move(d)), options(o), cache(o.cache_bytes) {
      require(decoder != nullptr, "image file: a decoder expected");
      const ImageInfo& info = decoder->info();
      channels = info.channels;
      if (options.honour_orientation) orientation = info.orientation;
      require(channels >= 1 && !info.levels.empty(), "image file: at least 1 channel and 1 level expected, ", channels, " and ",
              info.levels.size(), " came");
      for (std::size_t i = 0; i < info.levels.size(); ++i) {
        const Extents<2> e = info.levels[i].extent;
        const Extents<2> tile = info.levels[i].tile;
        require(std::min({e[0], e[1], tile[0], tile[1]}) >= 1, "image file: levels and tiles of at least 1x1 expected");
        require(i == 0 || (e[0] <= info.levels[i - 1].extent[0] && e[1] <= info.levels[i - 1].extent[1]),
                "image file: levels from fine to coarse expected");
      }
      const std::size_t bytes = static_cast<std::size_t>(product(info.levels[0].extent) * channels) * sizeof(P);
      keep_whole = info.sequential && options.policy == ReadPolicy::least_time && bytes <= options.whole_bytes;
      choose_layers(info);
    }

    [[nodiscard]] const Layer& layer(int level) const noexcept {
      FOVEA_ASSERT(level >= 0 && level < static_cast<int>(layers.size()));
      return layers[static_cast<std::size_t>(level)];
    }
    [[nodiscard]] Extents<2> stored_extent(int stored) const noexcept {
      return decoder->info().levels[static_cast<std::size_t>(stored)].extent;
    }

    /// What the file stores, octaves in the gaps, and from the overview on nothing but octaves.
    void choose_layers(const ImageInfo& info) {
      const auto octave = [&](int stored, int octaves) {
        const StoredLevel& from = info.levels[static_cast<std::size_t>(stored)];
        Layer layer{oriented(orientation, from.extent), from.ratio, stored, octaves};
        if (swaps_axes(orientation)) std::swap(layer.ratio[0], layer.ratio[1]);
        for (int k = 0; k < octaves; ++k) layer.extent = {(layer.extent[0] + 1) / 2, (layer.extent[1] + 1) / 2};
        for (double& r : layer.ratio) r *= static_cast<double>(Index{1} << octaves);
        return layer;
      };
      const auto greater = [](const Layer& l) { return std::max(l.ratio[0], l.ratio[1]); };
      const auto longer = [](const Layer& l) { return std::max(l.extent[0], l.extent[1]); };
      const int stored = keep_whole ? 1 : static_cast<int>(info.levels.size());
      // The overview is a level that is stored, where one is small enough, or would be decoded as a whole anyway.
      int kept = 0;
      for (; kept < stored; ++kept) {
        const Index pixels = product(octave(kept, 0).extent);
        const bool decoded_whole = info.sequential && kept > 0 && kept + 1 == stored && pixels <= kMostOverview;
        if (decoded_whole || pixels <= options.overview_pixels) break;
      }
      bool done = false;
      for (int s = 0; s < stored && !done; ++s) {
        for (int k = 0;; ++k) {
          const Layer layer = octave(s, k);
          // The next stored level is nearer than this one.
          if (k > 0 && s + 1 < stored && greater(layer) * std::numbers::sqrt2 > greater(octave(s + 1, 0))) break;
          layers.push_back(layer);
          const bool small = kept == stored ? product(layer.extent) <= options.overview_pixels : s == kept && k == 0;
          done = small || longer(layer) <= kSmallest;
          if (done) break;
        }
      }
      overview_level = static_cast<int>(layers.size()) - 1;
      const Layer first = layers.back();
      for (int k = 1; longer(layers.back()) > kSmallest; ++k) layers.push_back(octave(first.stored, first.octaves + k));
      align();
    }
    /// Levels that are stored begin with a whole pixel at the edge that is stored first. Where that is seen last, and there is
    /// no whole number of pixels, the ratio makes the level cover the image all the same.
    void align() {
      const detail::Turn turn = detail::turn(orientation);
      for (std::size_t i = 1; i < layers.size(); ++i) {
        for (std::size_t axis = 0; axis < 2; ++axis) {
          if (axis == 0 ? turn.flip_rows : turn.flip_columns) {
            layers[i].ratio[axis] = static_cast<double>(layers[0].extent[axis]) / static_cast<double>(layers[i].extent[axis]);
          }
        }
      }
    }

    [[nodiscard]] PixelWindow<P> read(int level, const PixelBox& asked) {
      const Layer& from = layer(level);
      const PixelBox box = intersection(asked, {0, 0, from.extent[0], from.extent[1]});
      FOVEA_ASSERT(!box.empty());
      if (keep_whole || level >= overview_level) make_overview();
      if (level >= overview_level) {
        const P* pixels = overview.data() + overview_offset(static_cast<std::size_t>(level));
        return {ImageView<P>(pixels, {from.extent[0], from.extent[1], channels}), 0, 0};
      }
      const PixelBox fine = finer(from, box);
      const ImageView<P> pixels = fetch(from.stored, fine);
      if (from.octaves == 0) return {pixels, box.top, box.left};
      halved.assign(pixels, {.smallest = 1, .levels = from.octaves + 1});
      return {halved.level(std::min(from.octaves, halved.levels() - 1)), box.top, box.left};
    }

    void prepare(std::span<const LevelBox> boxes) {
      wanted.clear();
      bool overview_too = keep_whole;
      for (const LevelBox& b : boxes) {
        const Layer& from = layer(b.level);
        const PixelBox box = intersection(b.box, {0, 0, from.extent[0], from.extent[1]});
        if (box.empty()) continue;
        if (b.level >= overview_level) {
          overview_too = true;
        } else {
          wanted.push_back({from.stored, stored_box(orientation, finer(from, box), stored_extent(from.stored))});
        }
      }
      if (overview_too) make_overview();
      if (!keep_whole) load(wanted);
    }

    /// The pixels of the stored level, as seen, under a box of an octave of it.
    [[nodiscard]] PixelBox finer(const Layer& from, const PixelBox& box) const noexcept {
      const Index side = Index{1} << from.octaves;
      const Extents<2> extent = oriented(orientation, stored_extent(from.stored));
      return intersection({box.top * side, box.left * side, box.height * side, box.width * side}, {0, 0, extent[0], extent[1]});
    }

    /// Pixels of a stored level as they are seen; dense rows.
    [[nodiscard]] ImageView<P> fetch(int stored, const PixelBox& seen) {
      const Extents<2> extent = stored_extent(stored);
      const PixelBox box = stored_box(orientation, seen, extent);
      if (keep_whole) {
        const View<const P, 3> all(whole.data(), {extent[0], extent[1], channels});
        const View<const P, 3> part = sub_view(all, box);
        if (orientation == Orientation::upright) return part;
        return copy_oriented(part, box);
      }
      const Extents<2> tile = decoder->info().levels[static_cast<std::size_t>(stored)].tile;
      detail::grow(window, box.height * box.width * channels);
      const LevelBox request{stored, box};
      if (!fits(request)) {
        // Too much to keep: straight into the window.
        std::vector<P> pixels(
            orientation == Orientation::upright ? 0U : static_cast<std::size_t>(box.height * box.width * channels));
        P* place = orientation == Orientation::upright ? window.data() : pixels.data();
        const Tile<P> whole_box{box, View<P, 3>(place, {box.height, box.width, channels})};
        decoder->decode(stored, std::span(&whole_box, 1));
        if (orientation == Orientation::upright) return whole_box.pixels;
        return copy_oriented(whole_box.pixels, box);
      }
      load(std::span(&request, 1));
      // The window is laid out as it is seen; the tiles are written into it through the strides of what is stored.
      const Extents<2> shape = oriented(orientation, {box.height, box.width});
      const View<P, 3> out(window.data(), {shape[0], shape[1], channels});
      for (Index r = box.top / tile[0]; r * tile[0] < box.bottom(); ++r) {
        for (Index c = box.left / tile[1]; c * tile[1] < box.right(); ++c) {
          const PixelBox whole_tile = tile_box(extent, tile, r, c);
          const PixelBox common = intersection(whole_tile, box);
          const P* pixels = cache.read({stored, r, c});
          FOVEA_ASSERT(pixels != nullptr);
          const View<const P, 3> all(pixels, {whole_tile.height, whole_tile.width, channels});
          place_oriented(
              sub_view(all, {common.top - whole_tile.top, common.left - whole_tile.left, common.height, common.width}),
              {common.top - box.top, common.left - box.left, common.height, common.width}, {box.height, box.width}, out);
        }
      }
      return out;
    }

    [[nodiscard]] static View<const P, 3> sub_view(const View<const P, 3>& all, const PixelBox& box) noexcept {
      return {all.data() + box.top * all.stride(0) + box.left * all.stride(1),
              {box.height, box.width, all.extent(2)},
              all.strides()};
    }
    /// Copies what is stored at `at` of a box of {height, width} = `box` to where it is seen in `out`.
    void place_oriented(const View<const P, 3>& part, const PixelBox& at, Extents<2> box, const View<P, 3>& out) const {
      // Where the parts lie in `out` is the inverse of stored_box; turning the view of `part` turns the part alone.
      const View<const P, 3> seen = oriented(orientation, part);
      const detail::Turn turn = detail::turn(orientation);
      Index top = turn.transpose ? at.left : at.top;
      Index left = turn.transpose ? at.top : at.left;
      const Extents<2> shape = oriented(orientation, box);
      if (turn.flip_rows) top = shape[0] - top - seen.extent(0);
      if (turn.flip_columns) left = shape[1] - left - seen.extent(1);
      for (Index i = 0; i < seen.extent(0); ++i) {
        P* to = out.data() + (top + i) * out.stride(0) + left * out.stride(1);
        const P* from = seen.data() + i * seen.stride(0);
        if (seen.stride(1) == channels) {
          std::copy_n(from, seen.extent(1) * channels, to);
          continue;
        }
        for (Index j = 0; j < seen.extent(1); ++j) {
          for (Index c = 0; c < channels; ++c) *to++ = from[j * seen.stride(1) + c];
        }
      }
    }
    [[nodiscard]] ImageView<P> copy_oriented(const View<const P, 3>& part, const PixelBox& box) {
      detail::grow(window, box.height * box.width * channels);
      const Extents<2> shape = oriented(orientation, {box.height, box.width});
      const View<P, 3> out(window.data(), {shape[0], shape[1], channels});
      place_oriented(part, {0, 0, box.height, box.width}, {box.height, box.width}, out);
      return out;
    }

    [[nodiscard]] static PixelBox tile_box(Extents<2> extent, Extents<2> tile, Index row, Index column) noexcept {
      return intersection({row * tile[0], column * tile[1], tile[0], tile[1]}, {0, 0, extent[0], extent[1]});
    }
    /// True where the cache has room for all tiles of the box at once.
    [[nodiscard]] bool fits(const LevelBox& request) const noexcept { return tile_bytes(request) <= cache.capacity(); }
    [[nodiscard]] std::size_t tile_bytes(const LevelBox& request) const noexcept {
      const Extents<2> tile = decoder->info().levels[static_cast<std::size_t>(request.level)].tile;
      const PixelBox& box = request.box;
      const Index rows = (box.bottom() - 1) / tile[0] - box.top / tile[0] + 1;
      const Index columns = (box.right() - 1) / tile[1] - box.left / tile[1] + 1;
      return static_cast<std::size_t>(rows * columns * tile[0] * tile[1] * channels) * sizeof(P);
    }

    /// Brings the tiles under boxes of stored levels, as stored, into the cache; as many boxes as it has room for.
    void load(std::span<const LevelBox> requests) {
      std::size_t room = cache.capacity();
      std::size_t count = 0;
      for (; count < requests.size(); ++count) {
        const std::size_t bytes = tile_bytes(requests[count]);
        if (bytes > room) break;
        room -= bytes;
      }
      const std::span<const LevelBox> now = requests.first(count);
      // Those that are there become the most recently used first, so that none of them goes for another.
      for (int stored = 0; stored < static_cast<int>(decoder->info().levels.size()); ++stored) {
        missing.clear();
        keys.clear();
        const Extents<2> extent = stored_extent(stored);
        const Extents<2> tile = decoder->info().levels[static_cast<std::size_t>(stored)].tile;
        for (const LevelBox& request : now) {
          if (request.level != stored) continue;
          for (Index r = request.box.top / tile[0]; r * tile[0] < request.box.bottom(); ++r) {
            for (Index c = request.box.left / tile[1]; c * tile[1] < request.box.right(); ++c) {
              const TileKey key{stored, r, c};
              if (!cache.touch(key)) keys.push_back(key);
            }
          }
        }
        std::sort(keys.begin(), keys.end(),
                  [](const TileKey& a, const TileKey& b) { return a.row != b.row ? a.row < b.row : a.column < b.column; });
        keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
        for (const TileKey& key : keys) {
          const PixelBox box = tile_box(extent, tile, key.row, key.column);
          P* pixels = cache.insert(key, box.height * box.width * channels);
          missing.push_back({box, View<P, 3>(pixels, {box.height, box.width, channels})});
        }
        if (missing.empty()) continue;
        try {
          decoder->decode(stored, missing);
        } catch (...) {
          for (const TileKey& key : keys) cache.erase(key);
          throw;
        }
      }
    }

    void make_overview() {
      if (!overview.empty()) return;
      const Layer& from = layer(overview_level);
      const auto first = static_cast<std::size_t>(overview_level);
      const Extents<2> extent = stored_extent(from.stored);
      const Index row = extent[1] * channels;
      PyramidBuilder<P> builder;
      builder.start(extent, channels, from.octaves + levels_from(first));
      std::vector<P> pixels(static_cast<std::size_t>(overview_offset(layers.size())));
      if (keep_whole) whole.resize(static_cast<std::size_t>(extent[0] * row));
      const auto place = [&](int k, Index i) -> P* {
        if (k < from.octaves) return nullptr;
        return pixels.data() + overview_offset(first + static_cast<std::size_t>(k - from.octaves)) +
               i * builder.level_extent(k)[1] * channels;
      };
      std::vector<P> upper;
      decoder->scan(from.stored, [&](Index i, const P* p) {
        if (keep_whole) std::copy_n(p, row, whole.data() + i * row);
        if (from.octaves == 0) std::copy_n(p, row, place(0, i));
        if (i % 2 == 1) {
          builder.add_rows(upper.data(), p, place);
        } else if (i + 1 == extent[0]) {
          builder.add_rows(p, nullptr, place);
        } else {
          upper.assign(p, p + row);
        }
      });
      if (orientation != Orientation::upright) {
        std::vector<P> turned(pixels.size());
        for (std::size_t i = first; i < layers.size(); ++i) {
          const Extents<2> seen = layers[i].extent;
          const Extents<2> stored = oriented(orientation, seen);
          const Index at = overview_offset(i);
          place_oriented(View<const P, 3>(pixels.data() + at, {stored[0], stored[1], channels}), {0, 0, stored[0], stored[1]},
                         stored, View<P, 3>(turned.data() + at, {seen[0], seen[1], channels}));
        }
        pixels.swap(turned);
      }
      overview.swap(pixels);
    }
    [[nodiscard]] int levels_from(std::size_t level) const noexcept { return static_cast<int>(layers.size() - level); }
    /// Where a level of the overview begins in its memory.
    [[nodiscard]] Index overview_offset(std::size_t level) const noexcept {
      Index at = 0;
      for (auto i = static_cast<std::size_t>(overview_level); i < level; ++i) at += product(layers[i].extent) * channels;
      return at;
    }
  };

  /// Pixels of an overview that a file's own smallest level may have: what a few bytes can make us take.
  static constexpr Index kMostOverview = Index{1} << 22;
  /// Halving stops when the longer side of a level is at most this.
  static constexpr Index kSmallest = 16;

  std::unique_ptr<State> state_;
};

/// A picture of bytes, which 16-bit files are rounded to; BasicImageFile<std::uint16_t> keeps them whole.
using ImageFile = BasicImageFile<std::uint8_t>;

}  // namespace fovea::inline FOVEA_ABI
